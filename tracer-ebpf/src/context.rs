//! What a program is handed, the same for both attach kinds: the arguments of the function that it stands at, and the
//! result. A trampoline's context holds both at an exit; a return probe knows only the result, so the arguments come
//! from the probe that stands at the entry.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    maps::{SAVED, SavedKey},
    read::word,
};

/// Arguments that a return probe may ask for.
const SAVED_ARGUMENTS: usize = 4;

/// At a function's entry.
pub(crate) trait Entry {
    /// The `n`th argument; `n` is a constant.
    fn argument(&self, n: usize) -> u64;
}

/// At a function's exit.
pub(crate) trait Exit: Entry {
    /// The result; `arguments` says how many the function has.
    fn result(&self, arguments: u32) -> u64;
}

impl Entry for FEntryContext {
    #[inline(always)]
    fn argument(&self, n: usize) -> u64 {
        word(self, n as u32)
    }
}

impl Entry for FExitContext {
    #[inline(always)]
    fn argument(&self, n: usize) -> u64 {
        word(self, n as u32)
    }
}

impl Exit for FExitContext {
    #[inline(always)]
    fn result(&self, arguments: u32) -> u64 {
        word(self, arguments)
    }
}

impl Entry for ProbeContext {
    #[inline(always)]
    fn argument(&self, n: usize) -> u64 {
        self.arg(n).unwrap_or(0)
    }
}

/// A return probe with the arguments that were saved at the entry.
pub(crate) struct Return {
    arguments: [u64; SAVED_ARGUMENTS],
    result: u64,
}

impl Return {
    /// `None` when nothing was saved: the entry was missed.
    #[inline(always)]
    pub(crate) fn new(context: &RetProbeContext, hook: u32) -> Option<Self> {
        let key = key(hook);
        // SAFETY: a map value; only this thread writes it.
        let arguments = unsafe { *SAVED.get_ptr(key)? };
        let _ = SAVED.remove(key);
        Some(Self { arguments, result: context.ret() })
    }
}

impl Entry for Return {
    #[inline(always)]
    fn argument(&self, n: usize) -> u64 {
        self.arguments[n]
    }
}

impl Exit for Return {
    #[inline(always)]
    fn result(&self, _: u32) -> u64 {
        self.result
    }
}

/// Keeps the arguments for [`Return::new`] of the same hook.
#[inline(always)]
pub(crate) fn save(context: &ProbeContext, hook: u32) {
    let arguments = [context.argument(0), context.argument(1), context.argument(2), context.argument(3)];
    // A full map throws out its oldest entry: a return that was missed leaves one behind.
    let _ = SAVED.insert(key(hook), arguments, 0);
}

#[inline(always)]
fn key(hook: u32) -> SavedKey {
    SavedKey { thread: bpf_get_current_pid_tgid(), hook: u64::from(hook) }
}

/// The result of a system call's function, which has one argument.
#[inline(always)]
pub(crate) fn call_result(context: &impl EbpfContext) -> u64 {
    word(context, 1)
}

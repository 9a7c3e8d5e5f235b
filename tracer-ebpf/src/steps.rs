//! What is done again and again, as often as only the kernel knows. From 5.17 on a helper repeats a step, which the verifier looks at
//! once. Before that a program can only have a loop that the verifier follows turn by turn, and what takes more turns is cut.
//!
//! The object is built in both ways (the feature `repeat`); the agent loads the one that this kernel takes.

/// One step, and the next.
pub(crate) trait Steps: Sized {
    /// Turns of a loop that the verifier follows.
    const FEW: u32;
    /// Turns that the helper gives at most. Who holds the namespace semaphore walks what nobody changes; for anyone else a way that is
    /// changed meanwhile may lead round and round.
    const MANY: u32;

    /// Takes it; whether it was the last one.
    fn step(&mut self) -> bool;

    /// Takes one after the other; false when there were more of them.
    #[inline(always)]
    fn walk(&mut self) -> bool {
        const { assert!(Self::FEW <= Self::MANY && Self::MANY <= MAX_LOOPS) };
        repeat(self)
    }
}

/// `BPF_MAX_LOOPS` of `linux/bpf.h`.
pub(crate) const MAX_LOOPS: u32 = 8 << 20;

/// Whether steps are repeated by the helper.
pub(crate) const REPEATED: bool = cfg!(feature = "repeat");

#[cfg(not(feature = "repeat"))]
#[inline(always)]
fn repeat<S: Steps>(steps: &mut S) -> bool {
    for _ in 0..S::FEW {
        if steps.step() {
            return true;
        }
    }
    false
}

#[cfg(feature = "repeat")]
#[inline(always)]
fn repeat<S: Steps>(steps: &mut S) -> bool {
    let callback = turn::<S> as extern "C" fn(u64, *mut S) -> u64;
    // SAFETY: the callback takes what it is given here, as long as the helper runs.
    let turns = unsafe {
        aya_ebpf::helpers::generated::bpf_loop(S::MANY, callback as *mut _, core::ptr::from_mut(steps).cast(), 0)
    };
    turns >= 0 && turns < i64::from(S::MANY)
}

/// One turn, as the helper calls it: 1 ends the loop.
#[cfg(feature = "repeat")]
extern "C" fn turn<S: Steps>(_: u64, steps: *mut S) -> u64 {
    // SAFETY: the helper hands on what it was given.
    u64::from(unsafe { (*steps).step() })
}

//! Loads the eBPF object for the running kernel and attaches its programs, one by one, so that each failure can be
//! told apart.

use std::{collections::HashSet, fs, io};

use aya::{
    Btf as AyaBtf, BtfError as AyaBtfError, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::MapError,
    programs::{BtfTracePoint, Program, ProgramError},
};
use rustix::rand::{GetRandomFlags, getrandom};
use thiserror::Error;
use tracer_common::{
    fact::ABSENT,
    hook::DOORS,
    offset::{ARGUMENTS, IDENTITY, OFFSETS},
};

use super::{
    btf::{Btf, BtfError},
    hooks::{At, Candidate, HOOKS, Hook, Method, Needed},
    losses,
    options::Options,
    running::Probes,
};
use crate::host::preemption;

/// Where the kernel shows its types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";
/// Where debugfs is by custom, as pid 1 sees it: a container has none of its own.
const DEBUGFS: &str = "/proc/1/root/sys/kernel/debug";

/// For any kernel.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));
/// For one that has [`REPEAT`].
static OBJECT_REPEAT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf-repeat"));
/// The helper that repeats a step, 5.17 and newer: the kernel's types know it by its function.
const REPEAT: &str = "bpf_loop";

/// Why the programs are not in the kernel.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The kernel shows no BTF.
    #[error("cannot read the kernel's types at {BTF_PATH}")]
    NoBtf(#[source] io::Error),
    /// What it shows is not BTF.
    #[error("cannot understand the kernel's types at {BTF_PATH}")]
    BadBtf(#[source] BtfError),
    /// The loader cannot understand it.
    #[error("the loader cannot understand the kernel's types at {BTF_PATH}")]
    LoaderBtf(#[source] AyaBtfError),
    /// This kernel lacks a member that every program needs.
    #[error("this kernel's struct {base} has no member {member}")]
    NoMember {
        /// The struct.
        base: &'static str,
        /// The member.
        member: String,
    },
    /// This kernel lacks every function that could show what a hook is to see.
    #[error("this kernel has no function {} in its BTF", functions(hook))]
    NoFunction {
        /// The hook.
        hook: &'static Hook,
    },
    /// The maps could not be made, or the object is broken.
    #[error("cannot load the eBPF object and make its maps")]
    Load(#[source] EbpfError),
    /// The object lacks what the agent expects in it.
    #[error("the eBPF object has no {0}; agent and object are not of one build")]
    NoSymbol(&'static str),
    /// A map could not be opened.
    #[error("cannot open the eBPF map {name}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: MapError,
    },
    /// The kernel refused a program.
    #[error("the kernel refused the {kind} program for {target}")]
    Program {
        /// The kernel's word for the way it is attached.
        kind: &'static str,
        /// The function.
        target: &'static str,
        /// Why.
        #[source]
        source: ProgramError,
    },
}

fn functions(hook: &Hook) -> String {
    hook.candidates.iter().map(|candidate| candidate.target).collect::<Vec<_>>().join(" or ")
}

/// A hook that holds.
#[derive(Clone, Copy, Debug)]
pub struct Attached {
    /// Which.
    pub hook: &'static Hook,
    /// The function that was taken.
    pub candidate: &'static Candidate,
    /// How.
    pub method: Method,
    /// Whether the second program is there too.
    pub second: bool,
    /// How many instructions the verifier followed, where the kernel says it (5.16 and newer).
    pub instructions: Option<u32>,
}

impl Attached {
    /// The kernel's own word for the way it is attached.
    pub fn kind(&self) -> &'static str {
        self.candidate.kind(self.method, self.second)
    }

    /// The programs that are in the kernel for it, in the order of their attaching. Of two at one function the kernel runs
    /// the younger one first (`__bpf_trampoline_link_prog`, 5.5 and newer): so the second one comes before the first.
    pub(super) fn programs(&self) -> impl Iterator<Item = &'static str> {
        let save = match (self.candidate.at, self.method) {
            (At::Exit { save }, Method::Kprobe) => save,
            _ => None,
        };
        let second = self.candidate.second.filter(|_| self.second);
        second.into_iter().chain(save).chain([self.main_program()])
    }

    /// The program whose misses are misses, if no second one covers them.
    pub(super) fn main_program(&self) -> &'static str {
        match self.method {
            Method::Fentry => self.candidate.trampoline,
            Method::Kprobe => self.candidate.probe,
        }
    }
}

/// The maps are made; the programs are not in the kernel yet.
pub struct Loader {
    ebpf: Ebpf,
    types: AyaBtf,
    functions: HashSet<&'static str>,
    options: Options,
    preemptible: bool,
    attached: Vec<Attached>,
}

impl Loader {
    /// Makes the maps and resolves what differs from kernel to kernel; attaches nothing yet.
    pub fn new(options: Options) -> Result<Self, ProbeError> {
        let bytes = fs::read(BTF_PATH).map_err(ProbeError::NoBtf)?;
        let btf = Btf::parse(&bytes).map_err(ProbeError::BadBtf)?;
        let values = resolve(&btf)?;
        let targets = HOOKS.iter().flat_map(|hook| hook.candidates).map(|candidate| candidate.target);
        let functions = targets.filter(|target| btf.arguments(target).is_some()).collect();
        let object = if btf.arguments(REPEAT).is_some() { OBJECT_REPEAT } else { OBJECT };
        drop(bytes);
        let mut loader = EbpfLoader::new();
        for (symbol, value) in &values {
            loader.override_global(symbol, value, true);
        }
        let identity = identity_factor();
        loader.override_global(IDENTITY, &identity, true);
        loader.map_max_entries("TABLES", options.tables_bytes());
        loader.map_max_entries("CALLS", options.calls_bytes());
        let types = AyaBtf::from_sys_fs().map_err(ProbeError::LoaderBtf)?;
        // Else the loader parses them once more.
        let ebpf = loader.btf(Some(&types)).load(object).map_err(ProbeError::Load)?;
        let preemptible = preemption::is_preemptible(DEBUGFS.as_ref(), "/proc".as_ref());
        Ok(Self { ebpf, types, functions, options, preemptible, attached: Vec::new() })
    }

    /// Loads and attaches one hook's program, for the first function and by the first method that works; `None` for one
    /// that this kernel does not need.
    pub fn attach(&mut self, hook: &'static Hook) -> Result<Option<Attached>, ProbeError> {
        let there =
            |candidate: &&Candidate| candidate.at == At::Tracepoint || self.functions.contains(candidate.target);
        let candidates: Vec<&'static Candidate> = hook.candidates.iter().filter(there).collect();
        let needed = match hook.needed {
            Needed::Unless(function) => !self.functions.contains(function),
            Needed::For(call) => self.has_call(call) && !candidates.is_empty(),
            Needed::IfThere => !candidates.is_empty(),
            _ => true,
        };
        if !needed {
            return Ok(None);
        }
        let mut first_error = None;
        for candidate in candidates {
            for method in self.methods(candidate) {
                match self.attach_one(hook, candidate, method) {
                    Ok(attached) => {
                        self.attached.push(attached);
                        return Ok(Some(attached));
                    }
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
        }
        Err(first_error.unwrap_or(ProbeError::NoFunction { hook }))
    }

    fn has_call(&self, call: u32) -> bool {
        DOORS.iter().any(|door| door.syscall == call && self.functions.contains(door.function))
    }

    fn methods(&self, candidate: &Candidate) -> Vec<Method> {
        match self.options.method {
            _ if candidate.at == At::Tracepoint => vec![Method::Fentry],
            Some(method) => vec![method],
            None => vec![Method::Fentry, Method::Kprobe],
        }
    }

    fn attach_one(
        &mut self,
        hook: &'static Hook,
        candidate: &'static Candidate,
        method: Method,
    ) -> Result<Attached, ProbeError> {
        let second = self.preemptible && method == Method::Fentry && candidate.second.is_some();
        let mut attached = Attached { hook, candidate, method, second, instructions: None };
        let programs: Vec<&'static str> = attached.programs().collect();
        for name in &programs {
            let program = self.ebpf.program_mut(name).ok_or(ProbeError::NoSymbol(name))?;
            if let Err(source) = attach(program, candidate.target, &self.types) {
                unload(&mut self.ebpf, &programs);
                return Err(ProbeError::Program { kind: attached.kind(), target: candidate.target, source });
            }
            attached.instructions = program.info().ok().and_then(|info| info.verified_instruction_count());
        }
        if second {
            losses::forget_covered(&mut self.ebpf, hook)?;
        }
        Ok(attached)
    }

    /// Attaches every hook that is always needed and those that these need, but none of the name `without`, and lets go of the
    /// kernel's types; or what could not be attached, and why.
    pub fn attach_all(mut self, besides: &[Needed], without: Option<&str>) -> Result<Probes, Vec<ProbeError>> {
        let needed = HOOKS
            .iter()
            .filter(|hook| hook.needed.by_all() || besides.contains(&hook.needed))
            .filter(|hook| without != Some(hook.name()));
        let errors: Vec<ProbeError> = needed.filter_map(|hook| self.attach(hook).err()).collect();
        if errors.is_empty() { Ok(self.done()) } else { Err(errors) }
    }

    /// Lets go of the kernel's types; what was attached so far stays.
    pub fn done(self) -> Probes {
        Probes { ebpf: self.ebpf, attached: self.attached, tables_bytes: self.options.tables_bytes() as usize }
    }
}

/// What was loaded for a hook that does not hold has no business in the kernel.
pub(super) fn unload(ebpf: &mut Ebpf, programs: &[&'static str]) {
    for name in programs {
        // One that was not loaded need not be unloaded.
        let _ = match ebpf.program_mut(name) {
            Some(Program::FEntry(program)) => program.unload(),
            Some(Program::FExit(program)) => program.unload(),
            Some(Program::KProbe(program)) => program.unload(),
            _ => Ok(()),
        };
    }
}

fn attach(program: &mut Program, target: &str, types: &AyaBtf) -> Result<(), ProgramError> {
    match program {
        Program::FEntry(program) => {
            program.load(target, types)?;
            program.attach().map(drop)
        }
        Program::FExit(program) => {
            program.load(target, types)?;
            program.attach().map(drop)
        }
        Program::KProbe(program) => {
            program.load()?;
            program.attach(target, 0).map(drop)
        }
        other => {
            let program: &mut BtfTracePoint = other.try_into()?;
            program.load(target, types)?;
            program.attach().map(drop)
        }
    }
}

/// Makes identities of addresses: an odd number, so that no two addresses become one identity. Where no random one is to be had,
/// addresses are shown to root alone, who can read them elsewhere.
fn identity_factor() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(_) => u64::from_ne_bytes(bytes) | 1,
        Err(_) => 1,
    }
}

/// What goes into each global of the object.
fn resolve(btf: &Btf<'_>) -> Result<Vec<(&'static str, u32)>, ProbeError> {
    let offsets = OFFSETS.iter().map(|field| match btf.offset(field.base, field.members) {
        Some(offset) => Ok((field.symbol, offset)),
        None if field.required => Err(ProbeError::NoMember { base: field.base, member: field.members.join(".") }),
        None => Ok((field.symbol, ABSENT)),
    });
    // What has no such function is not attached to it.
    let arguments = ARGUMENTS.iter().map(|field| Ok((field.symbol, btf.arguments(field.function).unwrap_or(ABSENT))));
    offsets.chain(arguments).collect()
}

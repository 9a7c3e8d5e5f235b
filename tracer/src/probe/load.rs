//! Loads the eBPF object for the running kernel and attaches its programs, one by one, so that each failure can be
//! told apart.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use aya::{
    Btf as AyaBtf, BtfError as AyaBtfError, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{MapData, MapError, PerCpuArray, RingBuf},
    programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError},
};
use thiserror::Error;
use tracer_common::{
    fact::ABSENT,
    offset::{ARGUMENTS, OFFSETS},
};

use super::{
    btf::{Btf, BtfError},
    hooks::{Attach, HOOKS, Hook, Needed},
};

/// Where the kernel shows its types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

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
    /// This kernel lacks a function.
    #[error("this kernel has no function {0} in its BTF")]
    NoFunction(&'static str),
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
    #[error("the kernel refused the {} program for {}", hook.attach.name(), hook.target)]
    Program {
        /// The hook.
        hook: &'static Hook,
        /// Why.
        #[source]
        source: ProgramError,
    },
}

/// The maps are made; the programs are not in the kernel yet.
pub struct Loader {
    ebpf: Ebpf,
    types: AyaBtf,
    attached: Vec<&'static Hook>,
}

/// The programs in the kernel; they leave it when this is dropped.
pub struct Probes {
    ebpf: Ebpf,
    attached: Vec<&'static Hook>,
}

/// What the kernel counted as lost since the programs were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records that found no room in the ring.
    pub dropped: u64,
    /// Times that a program was not run because it was running already on that CPU; `None` before 5.12, which does
    /// not count them.
    pub missed: Option<u64>,
}

impl Loader {
    /// Makes the maps and resolves what differs from kernel to kernel; attaches nothing yet.
    pub fn new() -> Result<Self, ProbeError> {
        let bytes = fs::read(BTF_PATH).map_err(ProbeError::NoBtf)?;
        let values = resolve(&Btf::parse(&bytes).map_err(ProbeError::BadBtf)?)?;
        drop(bytes);
        let mut loader = EbpfLoader::new();
        for (symbol, value) in &values {
            loader.override_global(symbol, value, true);
        }
        let ebpf = loader.load(OBJECT).map_err(ProbeError::Load)?;
        let types = AyaBtf::from_sys_fs().map_err(ProbeError::LoaderBtf)?;
        Ok(Self { ebpf, types, attached: Vec::new() })
    }

    /// Loads and attaches one hook's program; how many instructions the verifier followed, where the kernel says it
    /// (5.16 and newer).
    pub fn attach(&mut self, hook: &'static Hook) -> Result<Option<u32>, ProbeError> {
        let program = self.ebpf.program_mut(hook.program).ok_or(ProbeError::NoSymbol(hook.program))?;
        attach(program, hook, &self.types).map_err(|source| ProbeError::Program { hook, source })?;
        self.attached.push(hook);
        Ok(program.info().ok().and_then(|info| info.verified_instruction_count()))
    }

    /// Attaches every hook and lets go of the kernel's types; or what could not be attached, and why.
    pub fn attach_all(mut self, limiter: bool) -> Result<Probes, Vec<ProbeError>> {
        let needed = HOOKS.iter().filter(|hook| limiter || hook.needed == Needed::Always);
        let errors: Vec<ProbeError> = needed.filter_map(|hook| self.attach(hook).err()).collect();
        if errors.is_empty() { Ok(Probes { ebpf: self.ebpf, attached: self.attached }) } else { Err(errors) }
    }
}

impl Probes {
    /// How the function probes are attached.
    pub fn kind(&self) -> &'static str {
        "fentry"
    }

    /// The ring's reader; there is one.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>, ProbeError> {
        let map = self.ebpf.take_map("RING").ok_or(ProbeError::NoSymbol("RING"))?;
        RingBuf::try_from(map).map_err(|source| ProbeError::Map { name: "RING", source })
    }

    /// What the kernel counted as lost.
    pub fn losses(&self) -> Result<Losses, ProbeError> {
        let map = self.ebpf.map("DROPS").ok_or(ProbeError::NoSymbol("DROPS"))?;
        let name = "DROPS";
        let drops: PerCpuArray<_, u64> =
            PerCpuArray::try_from(map).map_err(|source| ProbeError::Map { name, source })?;
        let mut dropped = 0;
        for hook in HOOKS {
            let counts = drops.get(&hook.number, 0).map_err(|source| ProbeError::Map { name, source })?;
            dropped += counts.iter().sum::<u64>();
        }
        Ok(Losses { dropped, missed: self.missed() })
    }

    /// The kernel's counts of skipped runs, from each program's fdinfo (`recursion_misses`, 5.12 and newer).
    fn missed(&self) -> Option<u64> {
        self.attached
            .iter()
            .map(|hook| {
                let fd = self.ebpf.program(hook.program)?.fd().ok()?.as_fd().as_raw_fd();
                let info = fs::read_to_string(Path::new("/proc/self/fdinfo").join(fd.to_string())).ok()?;
                let line = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
                line.trim().parse::<u64>().ok()
            })
            .sum()
    }
}

fn attach(program: &mut Program, hook: &Hook, types: &AyaBtf) -> Result<(), ProgramError> {
    match hook.attach {
        Attach::Fentry => {
            let program: &mut FEntry = program.try_into()?;
            program.load(hook.target, types)?;
            program.attach()?;
        }
        Attach::Fexit => {
            let program: &mut FExit = program.try_into()?;
            program.load(hook.target, types)?;
            program.attach()?;
        }
        Attach::Tracepoint => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(hook.target, types)?;
            program.attach()?;
        }
    }
    Ok(())
}

/// What goes into each global of the object.
fn resolve(btf: &Btf<'_>) -> Result<Vec<(&'static str, u32)>, ProbeError> {
    let offsets = OFFSETS.iter().map(|field| match btf.offset(field.base, field.members) {
        Some(offset) => Ok((field.symbol, offset)),
        None if field.required => Err(ProbeError::NoMember { base: field.base, member: field.members.join(".") }),
        None => Ok((field.symbol, ABSENT)),
    });
    let arguments = ARGUMENTS.iter().map(|field| {
        let count = btf.arguments(field.function).ok_or(ProbeError::NoFunction(field.function))?;
        Ok((field.symbol, count))
    });
    offsets.chain(arguments).collect()
}

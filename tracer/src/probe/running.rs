//! The probes in the kernel, and what they are asked while they run.

use aya::{
    Ebpf,
    maps::{Array, MapData, RingBuf},
};

use super::{
    hooks::{At, Method},
    load::{Attached, ProbeError, unload},
    losses::{self, Losses},
    reading::Reading,
    throttled,
};
use crate::operation::{Namespace, Throttled};

/// The programs in the kernel; they leave it when this is dropped.
pub struct Probes {
    pub(super) ebpf: Ebpf,
    pub(super) attached: Vec<Attached>,
    pub(super) tables_bytes: usize,
}

impl Probes {
    /// What is attached.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Lets go of hooks of which nothing comes: the kernel need not call them.
    pub fn detach(&mut self, idle: &[u32]) {
        for gone in self.attached.extract_if(.., |one| idle.contains(&one.hook.number)) {
            unload(&mut self.ebpf, &gone.programs().collect::<Vec<_>>());
        }
    }

    /// How the function probes are attached: `fentry`, `kprobe`, or `fentry+kprobe`.
    pub fn kind(&self) -> String {
        let functions = || self.attached.iter().filter(|one| one.candidate.at != At::Tracepoint);
        [Method::Fentry, Method::Kprobe]
            .into_iter()
            .filter(|method| functions().any(|one| one.method == *method))
            .map(Method::name)
            .collect::<Vec<_>>()
            .join("+")
    }

    /// Bytes of the ring of table facts.
    pub fn tables_bytes(&self) -> usize {
        self.tables_bytes
    }

    /// How many records the ring of table facts can hold at most: the shortest has 56 bytes there.
    pub fn ring_records(&self) -> usize {
        self.tables_bytes / 56
    }

    /// The ring of table facts; there is one reader.
    pub fn take_tables(&mut self) -> Result<RingBuf<MapData>, ProbeError> {
        self.take_ring("TABLES")
    }

    /// The ring of calls; there is one reader.
    pub fn take_calls(&mut self) -> Result<RingBuf<MapData>, ProbeError> {
        self.take_ring("CALLS")
    }

    fn take_ring(&mut self, name: &'static str) -> Result<RingBuf<MapData>, ProbeError> {
        let map = self.ebpf.take_map(name).ok_or(ProbeError::NoSymbol(name))?;
        RingBuf::try_from(map).map_err(|source| ProbeError::Map { name, source })
    }

    /// What says which thread reads a mount table; there is one reader.
    pub fn take_reading(&mut self) -> Result<Reading, ProbeError> {
        let name = "READING";
        let map = self.ebpf.take_map(name).ok_or(ProbeError::NoSymbol(name))?;
        Array::try_from(map).map(Reading::new).map_err(|source| ProbeError::Map { name, source })
    }

    /// What was lost since the programs were attached.
    pub fn losses(&self) -> Result<Losses, ProbeError> {
        losses::read(&self.ebpf, &self.attached)
    }

    /// Whether there is something for [`Self::take_dirty`] or [`Self::take_throttled`]: asking costs little.
    pub fn has_noted(&self) -> Result<bool, ProbeError> {
        Ok(losses::is_dirty(&self.ebpf)? || throttled::any(&self.ebpf)?)
    }

    /// Takes out the failing calls that were only counted, those of the seconds that were over by then (`CLOCK_BOOTTIME` in nanoseconds).
    pub fn take_throttled(&mut self, until_ns: u64) -> Result<Vec<Throttled>, ProbeError> {
        throttled::take(&mut self.ebpf, until_ns)
    }

    /// Takes the namespaces out that lost facts were about; `None` when it may be any.
    pub fn take_dirty(&mut self) -> Result<Option<Vec<Namespace>>, ProbeError> {
        losses::take_dirty(&mut self.ebpf)
    }
}

//! Carries out the limiter's orders: reads the node through `host`, writes through `limit::apply`, prints decisions.
//!
//! What was looked at stays open until it is written or let go of, so that both are the same cgroup.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{AgentError, boot_ns};
use crate::{
    correlate::Sighting,
    device::Dev,
    engine::Input,
    host::{
        Facts, Protected,
        block::{Block, BlockError},
        volume,
    },
    limit::{
        Limits,
        apply::{ApplyError, CgroupRoot, Inspection},
        decide::{Decision, Reason},
        order::{Found, Inspected, Order, Ticket, Written},
    },
    output::say::{chain, line, note},
    pods::PodCgroup,
};

/// The node's own processes.
const PROC: &str = "/proc";

/// Does what the limiter orders.
pub(super) struct Hands {
    block: Block,
    cgroups: CgroupRoot,
    kubelet_dir: PathBuf,
    open: HashMap<Ticket, Inspection>,
}

impl Hands {
    pub(super) fn new(cgroup_root: &Path, kubelet_dir: PathBuf) -> Result<Self, AgentError> {
        let cgroups = CgroupRoot::open(cgroup_root)?;
        let block = Block::new("/sys", PROC);
        Ok(Self { block, cgroups, kubelet_dir, open: HashMap::new() })
    }

    /// Does it; what it answers to the engine.
    pub(super) fn carry_out(&mut self, order: Order) -> Result<Option<Input<'static>>, AgentError> {
        match order {
            Order::LookUp { ticket, sighting } => Ok(Some(Input::LookedUp(ticket, Box::new(self.look_up(&sighting))))),
            Order::Inspect { ticket, cgroup, dev } => {
                let inspected = self.inspect(ticket, &cgroup, dev);
                Ok(Some(Input::Inspected(ticket, Box::new(inspected))))
            }
            Order::Write { ticket, limits } => {
                let in_force = self.write(ticket, limits);
                Ok(Some(Input::Written(ticket, Written { in_force, read_back_ns: boot_ns() })))
            }
            Order::Close(ticket) => {
                self.open.remove(&ticket);
                Ok(None)
            }
            Order::Decide(decision) => {
                report(&decision)?;
                Ok(None)
            }
        }
    }

    /// What cannot be told is said, since a rule that needs it will not match.
    fn look_up(&self, sighting: &Sighting) -> Facts {
        let devices = self.block.names(sighting.dev).unwrap_or_else(|error| {
            if !matches!(error, BlockError::NoDisk { .. } | BlockError::Gone { .. }) {
                note(format_args!("note: no rule can match a device of volume {}: {}", sighting.volume, chain(&error)));
            }
            Vec::new()
        });
        let plugin = sighting.plugin.as_deref();
        let driver = volume::driver(Path::new(PROC), &self.kubelet_dir, &sighting.pod_uid, plugin, &sighting.volume);
        let driver = driver.unwrap_or_else(|error| {
            note(format_args!("note: no rule can match the driver of volume {}: {}", sighting.volume, chain(&error)));
            None
        });
        Facts { devices, driver }
    }

    fn inspect(&mut self, ticket: Ticket, cgroup: &PodCgroup, dev: Dev) -> Inspected {
        let disk = self.block.whole_disk(dev).map_err(|error| (error.kind(), chain(&error)));
        let protected = match &disk {
            Ok(_) => self.block.protected(std::slice::from_ref(&self.kubelet_dir)).map_err(|error| chain(&error)),
            Err(_) => Ok(Protected::new()),
        };
        let refused = match (&disk, &protected) {
            (Ok(disk), Ok(protected)) => protected.contains_key(&disk.dev),
            _ => true,
        };
        let cgroup = match &disk {
            Ok(disk) if !refused => Some(self.open(ticket, cgroup, disk.dev).map_err(|error| why(&error))),
            _ => None,
        };
        Inspected { disk, protected, cgroup }
    }

    fn open(&mut self, ticket: Ticket, cgroup: &PodCgroup, disk: Dev) -> Result<Found, ApplyError> {
        let inspection = self.cgroups.inspect(&cgroup.path, cgroup.id, disk)?;
        let found = Found { cgroup_id: inspection.cgroup_id(), current: inspection.current() };
        self.open.insert(ticket, inspection);
        Ok(found)
    }

    fn write(&mut self, ticket: Ticket, limits: Limits) -> Result<Limits, (Reason, String)> {
        match self.open.get_mut(&ticket) {
            Some(inspection) => inspection.write(limits).map_err(|error| why(&error)),
            None => Err((Reason::CgroupGone, "the cgroup was let go of before the write".to_owned())),
        }
    }
}

/// One line for a decision. Limits matter more than their report: a reader that has gone away does not end the agent.
fn report(decision: &Decision) -> Result<(), AgentError> {
    line(serde_json::to_string(decision).map_err(AgentError::Json)?);
    Ok(())
}

fn why(error: &ApplyError) -> (Reason, String) {
    (error.reason(), chain(error))
}

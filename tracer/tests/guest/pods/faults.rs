//! A container runtime that is not there, hangs, or restarts: ids stand in place of names, why is said once, and names come back.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::super::ground;
use super::super::program::Program;
use super::{DONE, Lives, owner};

/// The twin of the names: the same, with a socket that is none, says ids, and says once why.
pub(super) fn a_runtime_that_is_not_there_leaves_ids() -> Result<()> {
    ground::base()?;
    let live = Lives::start(3001)?;
    for (socket, why) in [("/nowhere/cri.sock", "nothing is there"), ("/etc/hostname", "it is no socket")] {
        let mut trace = Program::trace(&["--cri-socket", socket])?;
        for _ in 0..2 {
            live.mount_inside()?;
        }
        let shown = trace.drain()?;
        let entered = shown.iter().find(|one| one.at("/effects/0/source") == "entered").context("it is shown")?;
        entered.expect("/effects/0/owner/container_id", live.started.container.as_str())?;
        entered.expect("/effects/0/owner/pod_uid", live.pod.uid.as_str())?;
        entered.expect("/effects/0/owner/pod", Value::Null)?;
        let finished = trace.terminate()?;
        let said: Vec<&String> =
            finished.errors.iter().filter(|line| line.contains("are shown by their ids")).collect();
        ensure!(
            said.len() == 1 && said[0].contains(socket) && said[0].contains(why),
            "{socket}: {:#?}",
            finished.errors
        );
        ensure!(finished.stat("unnamed")? >= 4, "{:?}", finished.errors);
    }
    Ok(())
}

/// containerd's own process, which stands still as long as this lives.
struct Stopped(Pid);

impl Stopped {
    fn containerd() -> Result<Self> {
        let asked = Command::new("systemctl").args(["show", "--property=MainPID", "--value", "containerd"]).output()?;
        let pid = String::from_utf8_lossy(&asked.stdout).trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("containerd has no process: {asked:?}"))?;
        rustix::process::kill_process(pid, Signal::STOP).context("cannot stop containerd")?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, Signal::CONT);
    }
}

pub(super) fn a_runtime_that_hangs_is_met_again() -> Result<()> {
    ground::base()?;
    let live = Lives::start(4001)?;
    let stopped = Stopped::containerd()?;
    let mut trace = Program::trace(&[])?;
    let unnamed = live.entered(&mut trace)?;
    unnamed.expect("/effects/0/owner/container_id", live.started.container.as_str())?;
    unnamed.expect("/effects/0/owner/pod", Value::Null)?;
    drop(stopped);
    let deadline = Instant::now() + DONE;
    while live.entered(&mut trace)?.at("/effects/0/owner") != &owner(&live.pod, &live.started, "container") {
        ensure!(
            Instant::now() < deadline,
            "containerd goes on, and gives no names within {DONE:?}: {:#?}",
            trace.errors()
        );
        thread::sleep(Duration::from_secs(1));
    }
    let finished = trace.terminate()?;
    let said: Vec<&String> = finished.errors.iter().filter(|line| line.contains("are shown by their ids")).collect();
    ensure!(said.len() == 1 && said[0].contains("no answer within"), "{:#?}", finished.errors);
    Ok(())
}

pub(super) fn a_runtime_that_restarts_is_met_again() -> Result<()> {
    ground::base()?;
    let before = Lives::start(5001)?;
    let mut trace = Program::trace(&[])?;
    before.entered(&mut trace)?.expect("/effects/0/owner", owner(&before.pod, &before.started, "container"))?;
    let status = Command::new("systemctl").args(["restart", "containerd"]).status()?;
    ensure!(status.success(), "containerd does not start again: {status}");
    let after = Lives::start(5002)?;
    for live in [&before, &after] {
        live.entered(&mut trace)?.expect("/effects/0/owner", owner(&live.pod, &live.started, "container"))?;
    }
    Ok(())
}

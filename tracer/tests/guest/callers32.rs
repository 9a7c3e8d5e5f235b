//! 32-bit programs enter the kernel by other functions: what they do is shown as if a 64-bit one had done it.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;

use super::expect::{Wanted, expect_effects};
use super::ground::{self, Mounted};
use super::missing::expect_claimed_only;
use super::operation::{Operation, expect_path};
use super::operations::expect_own_actor;
use super::program::Lasting;
use super::raw::{self, LowMemory, NOWHERE};
use super::trial::trial;

const MS_BIND: u32 = 4096;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("callers32::mount_and_umount2", mount_and_umount2),
        trial("callers32::bind_and_the_old_umount", bind_and_the_old_umount),
        trial("callers32::at_nothing", at_nothing),
        trial("callers32::busy", busy),
        trial("callers32::with_an_address_that_leads_nowhere", with_an_address_that_leads_nowhere),
    ]
}

fn mount_and_umount2() -> Result<()> {
    let target = ground::directory("i386")?;
    let mut memory = LowMemory::new()?;
    let (source, at, fstype) = (memory.text("the-source")?, memory.path(&target)?, memory.text("tmpfs")?);
    let mut trace = Lasting::trace()?;
    raw::mount_32(source, at, fstype, 0, 0).context("mount by int 0x80")?;
    let mounted = Mounted::adopt(&target);
    let attached = trace.drain_one()?;
    expect_effects(&attached, "mount", "mount", &[Wanted::own("attach", &target)?])?;
    attached.expect("/claimed/source", "the-source")?;
    attached.expect("/claimed/fstype", "tmpfs")?;
    expect_typed(&attached, &target)?;
    let wanted = Wanted::own("detach", &target)?;
    raw::umount2_32(at, 0).context("umount2 by int 0x80")?;
    let detached = trace.drain_one()?;
    expect_effects(&detached, "umount", "umount2", &[wanted])?;
    expect_typed(&detached, &target)?;
    mounted.forget();
    Ok(())
}

fn bind_and_the_old_umount() -> Result<()> {
    let (source, target) = (ground::directory("source")?, ground::directory("i386")?);
    let mut memory = LowMemory::new()?;
    let (from, at) = (memory.path(&source)?, memory.path(&target)?);
    let mut trace = Lasting::trace()?;
    raw::mount_32(from, at, 0, MS_BIND, 0).context("a bind by int 0x80")?;
    let mounted = Mounted::adopt(&target);
    let attached = trace.drain_one()?;
    expect_effects(&attached, "bind", "mount", &[Wanted::own("attach", &target)?])?;
    expect_path(&attached, "/claimed/source", &source)?;
    let wanted = Wanted::own("detach", &target)?;
    raw::old_umount_32(at).context("umount by int 0x80")?;
    expect_effects(&trace.drain_one()?, "umount", "umount2", &[wanted])?;
    mounted.forget();
    Ok(())
}

fn expect_typed(operation: &Operation, target: &Path) -> Result<()> {
    expect_path(operation, "/claimed/target", target)?;
    expect_own_actor(operation)
}

/// One each of the calls, at a path where nothing is.
fn at_nothing() -> Result<()> {
    let target = ground::directory("i386")?.join("not-there");
    let mut memory = LowMemory::new()?;
    let (source, at, fstype) = (memory.text("the-source")?, memory.path(&target)?, memory.text("tmpfs")?);
    let mut trace = Lasting::trace()?;
    let calls = [
        ("mount", raw::mount_32(source, at, fstype, 0, 0)),
        ("umount", raw::umount2_32(at, 0)),
        ("umount", raw::old_umount_32(at)),
    ];
    let operations = trace.drain()?;
    ensure!(operations.len() == calls.len(), "three calls failed, shown are {operations:#?}");
    for ((op, answer), operation) in calls.iter().zip(&operations) {
        ensure!(*answer == Err(Errno::NOENT), "{op} by int 0x80 at nothing gave {answer:?}");
        expect_claimed_only(operation, op, 2, "ENOENT")?;
        expect_typed(operation, &target)?;
    }
    operations[0].expect("/claimed/source", "the-source")
}

fn busy() -> Result<()> {
    let target = ground::directory("i386")?;
    let mounted = Mounted::tmpfs(&target)?;
    let open = File::create_new(target.join("open"))?;
    let mut memory = LowMemory::new()?;
    let at = memory.path(&target)?;
    let mut trace = Lasting::trace()?;
    let refused = raw::umount2_32(at, 0);
    ensure!(refused == Err(Errno::BUSY), "umount2 by int 0x80 of a busy mount gave {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("umount", 16, "EBUSY")?;
    expect_path(&operation, "/target/path", &target)?;
    drop(open);
    mounted.unmount()
}

fn with_an_address_that_leads_nowhere() -> Result<()> {
    let nowhere = u32::try_from(NOWHERE)?;
    let target = ground::directory("i386")?;
    let mut memory = LowMemory::new()?;
    let (at, fstype) = (memory.path(&target)?, memory.text("tmpfs")?);
    let mut trace = Lasting::trace()?;
    let refused = raw::mount_32(nowhere, at, fstype, 0, 0);
    ensure!(refused == Err(Errno::FAULT), "an address that leads nowhere gave {refused:?}");
    let operation = trace.drain_one()?;
    expect_claimed_only(&operation, "mount", 14, "EFAULT")?;
    operation.expect("/claimed/source", serde_json::Value::Null)
}

//! 32-bit programs enter the kernel by other functions: what they do is shown as if a 64-bit one had done it.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::expect::{Wanted, expect_effects};
use super::ground::{self, Mounted};
use super::missing::expect_claimed_only;
use super::operation::{Operation, expect_path};
use super::operations::expect_own_actor;
use super::oracle;
use super::program::Lasting;
use super::raw::NOWHERE;
use super::raw32::{self, LowMemory};
use super::trial::trial;

const MS_BIND: u32 = 4096;
/// Numbers of `asm/unistd_32.h`.
const PIVOT_ROOT: u32 = 217;
const OPEN_TREE: u32 = 428;
const MOVE_MOUNT: u32 = 429;
const FSOPEN: u32 = 430;
const FSCONFIG: u32 = 431;
const FSMOUNT: u32 = 432;
const FSPICK: u32 = 433;
const MOUNT_SETATTR: u32 = 442;
const OPEN_TREE_ATTR: u32 = 467;
/// `linux/mount.h` and `linux/fcntl.h`.
const OPEN_TREE_CLONE: u32 = 1;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
const CMD_CREATE: u32 = 6;
const CMD_RECONFIGURE: u32 = 7;
const MOUNT_ATTR_NOSUID: u64 = 2;
const ATTR_BYTES: u32 = 32;
const AT_EMPTY_PATH: u32 = 0x1000;
/// `AT_FDCWD`: the paths are absolute.
const NO_DIRECTORY: u32 = (-100i32).cast_unsigned();

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("callers32::mount_and_umount2", mount_and_umount2),
        trial("callers32::bind_and_the_old_umount", bind_and_the_old_umount),
        trial("callers32::at_nothing", at_nothing),
        trial("callers32::busy", busy),
        trial("callers32::with_an_address_that_leads_nowhere", with_an_address_that_leads_nowhere),
        trial("callers32::a_copy_made_and_attached", a_copy_made_and_attached),
        trial("callers32::a_new_mount_made_and_attached", a_new_mount_made_and_attached),
        trial("callers32::a_file_system_reconfigured", a_file_system_reconfigured),
        trial("callers32::attributes_set", attributes_set),
        trial("callers32::a_root_that_cannot_be", a_root_that_cannot_be),
    ]
}

fn mount_and_umount2() -> Result<()> {
    let target = ground::directory("i386")?;
    let mut memory = LowMemory::new()?;
    let (source, at, fstype) = (memory.text("the-source")?, memory.path(&target)?, memory.text("tmpfs")?);
    let mut trace = Lasting::trace()?;
    raw32::mount(source, at, fstype, 0, 0).context("mount by int 0x80")?;
    let mounted = Mounted::adopt(&target);
    let attached = trace.drain_one()?;
    expect_effects(&attached, "mount", "mount", &[Wanted::own("attach", &target)?])?;
    attached.expect("/claimed/source", "the-source")?;
    attached.expect("/claimed/fstype", "tmpfs")?;
    expect_typed(&attached, &target)?;
    let wanted = Wanted::own("detach", &target)?;
    raw32::umount2(at, 0).context("umount2 by int 0x80")?;
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
    raw32::mount(from, at, 0, MS_BIND, 0).context("a bind by int 0x80")?;
    let mounted = Mounted::adopt(&target);
    let attached = trace.drain_one()?;
    expect_effects(&attached, "bind", "mount", &[Wanted::own("attach", &target)?])?;
    expect_path(&attached, "/claimed/source", &source)?;
    let wanted = Wanted::own("detach", &target)?;
    raw32::old_umount(at).context("umount by int 0x80")?;
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
        ("mount", raw32::mount(source, at, fstype, 0, 0)),
        ("umount", raw32::umount2(at, 0)),
        ("umount", raw32::old_umount(at)),
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
    let refused = raw32::umount2(at, 0);
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
    let refused = raw32::mount(nowhere, at, fstype, 0, 0);
    ensure!(refused == Err(Errno::FAULT), "an address that leads nowhere gave {refused:?}");
    let operation = trace.drain_one()?;
    expect_claimed_only(&operation, "mount", 14, "EFAULT")?;
    operation.expect("/claimed/source", serde_json::Value::Null)
}

fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// `move_mount(2)` of a descriptor.
fn attach(memory: &mut LowMemory, mount: &OwnedFd, target: &Path) -> Result<Mounted> {
    let (empty, at) = (memory.text("")?, memory.path(target)?);
    raw32::newer(MOVE_MOUNT, [number(mount), empty, NO_DIRECTORY, at, MOVE_MOUNT_F_EMPTY_PATH])
        .context("move_mount by int 0x80")?;
    Ok(Mounted::adopt(target))
}

fn a_copy_made_and_attached() -> Result<()> {
    let (source, target) = (ground::directory("source")?, ground::directory("i386")?);
    let mut memory = LowMemory::new()?;
    let from = memory.path(&source)?;
    let mut trace = Lasting::trace()?;
    let copy = raw32::open(OPEN_TREE, [NO_DIRECTORY, from, OPEN_TREE_CLONE]).context("open_tree by int 0x80")?;
    let made = trace.drain_one()?;
    made.expect_success("detached_copy", 0)?;
    made.expect("/syscall", "open_tree")?;
    expect_path(&made, "/claimed/source", &source)?;
    let mounted = attach(&mut memory, &copy, &target)?;
    expect_effects(&trace.drain_one()?, "bind", "move_mount", &[Wanted::own("attach", &target)?])?;
    drop(copy);
    mounted.unmount()
}

fn a_new_mount_made_and_attached() -> Result<()> {
    let target = ground::directory("i386")?;
    let mut memory = LowMemory::new()?;
    let fstype = memory.text("tmpfs")?;
    let context = raw32::open(FSOPEN, [fstype, 0, 0]).context("fsopen by int 0x80")?;
    let mut trace = Lasting::trace()?;
    raw32::newer(FSCONFIG, [number(&context), CMD_CREATE, 0, 0, 0]).context("fsconfig by int 0x80")?;
    let mount = raw32::open(FSMOUNT, [number(&context), 0, 2]).context("fsmount by int 0x80")?;
    let made = trace.drain_one()?;
    made.expect_success("fsmount", 0)?;
    made.expect("/claimed/attributes", vec!["MOUNT_ATTR_NOSUID"])?;
    let mounted = attach(&mut memory, &mount, &target)?;
    expect_effects(&trace.drain_one()?, "mount", "move_mount", &[Wanted::own("attach", &target)?])?;
    drop(mount);
    mounted.unmount()
}

fn a_file_system_reconfigured() -> Result<()> {
    let target = ground::directory("i386")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut memory = LowMemory::new()?;
    let at = memory.path(&target)?;
    let picked = raw32::open(FSPICK, [NO_DIRECTORY, at, 0]).context("fspick by int 0x80")?;
    let mut trace = Lasting::trace()?;
    raw32::newer(FSCONFIG, [number(&picked), CMD_RECONFIGURE, 0, 0, 0]).context("fsconfig by int 0x80")?;
    let operation = trace.drain_one()?;
    operation.expect_success("reconfigure", 0)?;
    operation.expect("/superblock/dev", oracle::dev_of(&target)?)?;
    drop(picked);
    mounted.unmount()
}

/// By `mount_setattr(2)`, and by `open_tree_attr(2)` where the kernel has them.
fn attributes_set() -> Result<()> {
    let target = ground::directory("i386")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut memory = LowMemory::new()?;
    let (empty, at) = (memory.text("")?, memory.path(&target)?);
    let attributes = memory.attributes(MOUNT_ATTR_NOSUID)?;
    let opened = raw32::open(OPEN_TREE, [NO_DIRECTORY, at, 0]).context("open_tree by int 0x80")?;
    let mut trace = Lasting::trace()?;
    let by_mount_setattr = [number(&opened), empty, AT_EMPTY_PATH, attributes, ATTR_BYTES];
    let by_open_tree_attr = [NO_DIRECTORY, at, 0, attributes, ATTR_BYTES];
    for (call, arguments, syscall) in
        [(MOUNT_SETATTR, by_mount_setattr, "mount_setattr"), (OPEN_TREE_ATTR, by_open_tree_attr, "open_tree_attr")]
    {
        match raw32::newer(call, arguments) {
            // What open_tree_attr(2) returns is a descriptor of its own, and is closed at the end of this process.
            Ok(()) => {
                let wanted = Wanted::own("change", &target)?;
                expect_effects(&trace.drain_one()?, "setattr", syscall, &[wanted])?;
            }
            Err(errno) => ensure!(errno == Errno::NOSYS, "{syscall} by int 0x80 gave {errno}"),
        }
    }
    drop(opened);
    mounted.unmount_with(UnmountFlags::DETACH)
}

fn a_root_that_cannot_be() -> Result<()> {
    let directory = ground::directory("i386")?;
    let mut memory = LowMemory::new()?;
    let at = memory.path(&directory)?;
    let mut trace = Lasting::trace()?;
    let refused = raw32::newer(PIVOT_ROOT, [at, at, 0, 0, 0]);
    ensure!(refused == Err(Errno::INVAL), "pivot_root by int 0x80 to a plain directory gave {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("pivot_root", 22, "EINVAL")?;
    expect_path(&operation, "/target/path", &directory)
}

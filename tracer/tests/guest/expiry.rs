//! A mount that the kernel made by itself and takes away again because nobody uses it: NFS, where the server has another file system below
//! the one that was mounted. The server is the guest's own kernel, over loopback.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, UnmountFlags};

use super::ground::{self, Mounted};
use super::operation::{Operation, expect_path};
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

/// Where the server is told what to do (nfsd(7)).
const CONTROL: &str = "/proc/fs/nfsd";
const ADDRESS: &str = "127.0.0.1:2049";
/// Of `linux/nfsd/export.h`: `NFSEXP_INSECURE_PORT`, `_NOHIDE`, `_NOSUBTREECHECK`, `_FSID` and `_CROSSMOUNT`.
const EXPORT: u32 = 0x2 | 0x200 | 0x400 | 0x2000 | 0x4000;
/// When an entry of the server's caches ends, in seconds: not while this runs.
const NEVER: u32 = i32::MAX as u32;
/// Seconds after which the client looks for mounts that nobody uses; those that it finds twice go.
const TIMEOUT: (&str, &str) = ("/proc/sys/fs/nfs/nfs_mountpoint_timeout", "1");
const EXPIRED: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("expiry::of_an_automount", of_an_automount)]
}

fn of_an_automount() -> Result<()> {
    let (root, client) = (ground::directory("served")?, ground::directory("client")?);
    let top = Mounted::tmpfs(&root)?;
    ground::make_directory(&root.join("below"))?;
    let below = Mounted::tmpfs(&root.join("below"))?;
    let server = Server::start(&[&root, &root.join("below")])?;
    ground::write_file(Path::new(TIMEOUT.0), TIMEOUT.1)?;
    let data = c"vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1";
    rustix::mount::mount("127.0.0.1:/", &client, "nfs4", MountFlags::empty(), Some(data)).context("mount of nfs4")?;
    let mounted = Mounted::adopt(&client);

    let point = client.join("below");
    let mut trace = Lasting::trace()?;
    fs::read_dir(&point).with_context(|| format!("cannot list {}", point.display()))?;
    let automounted = oracle::own_mount_at(&point)?;
    let shown = trace.drain_one()?;
    shown.expect("/op", "automount")?;
    expect_only(&shown, "attach", &point, automounted.id)?;

    let expired = next(&mut trace)?;
    ensure!(oracle::mount_at(std::process::id(), &point)?.is_none(), "{} is still mounted", point.display());
    expired.expect("/op", "expired")?;
    expired.expect("/cause", "expiry")?;
    expired.expect("/syscall", serde_json::Value::Null)?;
    expired.expect("/result/errno", serde_json::Value::Null)?;
    expired.expect("/actor", serde_json::Value::Null)?;
    expect_only(&expired, "detach", &point, automounted.id)?;

    mounted.unmount_with(UnmountFlags::DETACH)?;
    server.stop()?;
    below.unmount_with(UnmountFlags::DETACH)?;
    top.unmount_with(UnmountFlags::DETACH)
}

fn expect_only(operation: &Operation, kind: &str, path: &Path, id: u64) -> Result<()> {
    ensure!(operation.effects().len() == 1, "one mount: {operation:?}");
    operation.expect("/effects/0/kind", kind)?;
    operation.expect("/effects/0/mount_id", id)?;
    operation.expect("/effects/0/fstype", "nfs4")?;
    operation.expect("/effects/0/mntns", oracle::own_namespace()?)?;
    expect_path(operation, "/effects/0/path", path)
}

/// The next operation, which nobody here makes.
fn next(trace: &mut Lasting) -> Result<Operation> {
    let deadline = Instant::now() + EXPIRED;
    while Instant::now() < deadline {
        let mut shown = trace.drain()?;
        match shown.len() {
            0 => thread::sleep(PAUSE),
            1 => return Ok(shown.remove(0)),
            _ => bail!("more than one operation: {shown:#?}"),
        }
    }
    bail!("nothing expired within {EXPIRED:?}")
}

/// The kernel's NFS server, without the programs that it is commonly run with: all that it would ask them is told it before.
pub(crate) struct Server {
    control: Mounted,
    _listener: TcpListener,
}

impl Server {
    /// Serves these directories, each the root of a file system; the first one is the root of all.
    pub(crate) fn start(roots: &[&PathBuf]) -> Result<Self> {
        rustix::mount::mount("nfsd", CONTROL, "nfsd", MountFlags::empty(), None).context("mount of nfsd")?;
        let control = Mounted::adopt(Path::new(CONTROL));
        tell("nfsd/versions", "-2 -3 +4 +4.1 +4.2")?;
        answer("auth.unix.ip", &format!("nfsd 127.0.0.1 {NEVER} guest"))?;
        for (id, root) in roots.iter().enumerate() {
            let root = root.to_str().context("the trials' own paths are UTF-8")?;
            answer("nfsd.export", &format!("guest {root} {NEVER} {EXPORT} 65534 65534 {id}"))?;
            // By `FSID_NUM`: a number of four bytes.
            let number = u32::try_from(id)?.to_be();
            answer("nfsd.fh", &format!("guest 1 \\x{number:08x} {NEVER} {root}"))?;
        }
        let listener = TcpListener::bind(ADDRESS).with_context(|| format!("cannot listen at {ADDRESS}"))?;
        tell("nfsd/portlist", &listener.as_raw_fd().to_string())?;
        tell("nfsd/threads", "2")?;
        Ok(Self { control, _listener: listener })
    }

    pub(crate) fn stop(self) -> Result<()> {
        tell("nfsd/threads", "0")?;
        self.control.unmount_with(UnmountFlags::DETACH)
    }
}

fn tell(file: &str, what: &str) -> Result<()> {
    let path = format!("/proc/fs/{file}");
    fs::write(&path, format!("{what}\n")).with_context(|| format!("cannot write {what:?} to {path}"))
}

/// What a cache of the server asks for.
fn answer(cache: &str, what: &str) -> Result<()> {
    let path = format!("/proc/net/rpc/{cache}/channel");
    fs::write(&path, format!("{what}\n")).with_context(|| format!("cannot write {what:?} to {path}"))
}

//! The emulator: starts QEMU, carries the guest's three ports (stdout, stderr, how it ended) over sockets, keeps the
//! console apart, and leaves nothing behind.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;
use super::labelled::Labelled;
use super::{Arch, Bus, End, GuestDisk, Outcome, Spec, System, initramfs, node};
use crate::host;

/// The first QEMU whose emulation of cmpxchg16b survives two vCPUs.
const GOOD_CMPXCHG16B: u32 = 10;
const PORTS: [&str; 3] = ["out", "err", "end"];
const APPEND: &str = "panic=-1 oops=panic rdinit=/init mitigations=off";
/// How long QEMU may take to open its sockets.
const CONNECT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

pub(super) fn run(spec: &Spec, kernel: &Kernel) -> Result<Outcome> {
    let room = Room::new()?;
    room.write("initramfs", &initramfs::build(spec, kernel)?)?;
    for (number, GuestDisk { mib, .. }) in spec.disks.iter().enumerate() {
        let disk = File::create(room.path(&format!("disk{number}"))).context("creating a guest's disk")?;
        disk.set_len(u64::from(*mib) << 20).context("sizing a guest's disk")?;
    }
    let listeners = listen(&room)?;
    let start = Instant::now();
    let mut qemu = Qemu { child: command(spec, kernel, &room)?.spawn().context("cannot start QEMU")?, room: &room };
    let [out, err, end] = accept(&listeners, &mut qemu)?;
    let out = collect(out, spec.live.then(|| through(std::io::stdout(), spec)));
    let err = collect(err, Some(through(std::io::stderr(), spec)));
    let (ended, boot_seconds) = wait(&mut qemu, &lines(end), start, spec.timeout);
    let seconds = start.elapsed().as_secs_f64();
    qemu.stop();
    let stdout = out.join().unwrap_or_default();
    let _ = err.join();
    let console = fs::read(room.path("console")).unwrap_or_default();
    Ok(Outcome {
        stdout,
        end: ended,
        seconds,
        boot_seconds,
        console: String::from_utf8_lossy(&console).replace('\r', ""),
    })
}

/// A temporary directory of one guest; goes with it.
struct Room(PathBuf);

const ROOM: &str = "mount-tracer-guest-";
static ROOMS: AtomicU32 = AtomicU32::new(0);

impl Room {
    fn new() -> Result<Self> {
        sweep();
        let number = ROOMS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{ROOM}{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self(dir))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, data: &[u8]) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, data).with_context(|| format!("writing {}", path.display()))
    }
}

/// Takes away what an interrupted run left: rooms whose process is gone.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(ROOM).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running emulator; never outlives its owner.
struct Qemu<'a> {
    child: Child,
    room: &'a Room,
}

impl Qemu<'_> {
    fn gone(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn complaint(&self) -> String {
        fs::read_to_string(self.room.path("qemu.log")).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Qemu<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn command(spec: &Spec, kernel: &Kernel, room: &Room) -> Result<Command> {
    let mut command = tied_to_us(spec.arch);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"]);
    command.args([
        "-machine",
        spec.arch.machine(),
        "-accel",
        "tcg,thread=multi",
        "-smp",
        "2",
        "-cpu",
        processor(spec.arch)?,
    ]);
    let append = format!("{} {APPEND}{}", spec.arch.kernel_options(), system_options(spec.system));
    command.args(["-m", &format!("{}M", spec.memory_mib), "-append", &append]);
    command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(room.path("initramfs"));
    command.args([
        "-chardev",
        &format!("file,id=console,path={}", shown(&room.path("console"))?),
        "-serial",
        "chardev:console",
    ]);
    command.args(["-device", "virtio-serial-pci"]);
    for (number, port) in PORTS.iter().enumerate() {
        let socket = shown(&room.path(port))?;
        command.args(["-chardev", &format!("socket,id={port},path={socket}")]);
        command.args(["-device", &format!("virtserialport,nr={},chardev={port},name={port}", number + 1)]);
    }
    if spec.disks.iter().any(|disk| disk.bus == Bus::Scsi) {
        command.args(["-device", "virtio-scsi-pci"]);
    }
    let mut serials = 0..;
    for (number, disk) in spec.disks.iter().enumerate() {
        let file = shown(&room.path(&format!("disk{number}")))?;
        let drive = format!("file={file},if=none,id=disk{number},format=raw,cache=unsafe,discard=unmap");
        let device = match disk.bus {
            // Their names by id count them alone.
            Bus::Nvme => format!("nvme,serial=disk{}", serials.next().unwrap_or(number)),
            Bus::Virtio => "virtio-blk-pci".to_owned(),
            Bus::Scsi => "scsi-hd".to_owned(),
        };
        command.args(["-drive", &drive, "-device", &format!("{device},drive=disk{number}")]);
    }
    if spec.system == System::Node {
        command.args(root_disk()?);
    }
    let log = File::create(room.path("qemu.log")).context("creating QEMU's log")?;
    command.stdout(Stdio::null()).stderr(log);
    Ok(command)
}

fn system_options(system: System) -> String {
    match system {
        System::Busybox => String::new(),
        System::Node => format!(" {}", node::KERNEL_OPTIONS),
    }
}

/// The root file system of a node; what the guest writes to it goes with the guest.
fn root_disk() -> Result<[String; 4]> {
    let (file, disk) = (shown(&node::rootfs::require()?)?, node::DISK);
    let drive = format!("file={file},if=none,id={disk},format=raw,cache=unsafe,discard=unmap,snapshot=on");
    Ok(["-drive".to_owned(), drive, "-device".to_owned(), format!("nvme,serial={disk},drive={disk}")])
}

/// QEMU, ended by the kernel when we end, however that happens.
fn tied_to_us(arch: Arch) -> Command {
    let (program, _) = arch.emulator();
    if host::find_program("setpriv").is_none() {
        return host::command(program);
    }
    let mut command = host::command("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// A path as part of a QEMU option, where a comma has a meaning.
fn shown(path: &Path) -> Result<String> {
    let text =
        path.to_str().with_context(|| format!("{} is not UTF-8; set TMPDIR to a path that is", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// All features, except what emulators get wrong, and what costs too much: signing pointers as the hardware does.
fn processor(arch: Arch) -> Result<&'static str> {
    if arch == Arch::Arm64 {
        return Ok("max,pauth-impdef=on");
    }
    let (program, _) = arch.emulator();
    let text = host::capture(host::command(program).arg("--version")).context("run `cargo xtask setup` for QEMU")?;
    Ok(if major(&text).is_some_and(|version| version >= GOOD_CMPXCHG16B) { "max" } else { "max,-cx16" })
}

fn major(version: &str) -> Option<u32> {
    version.split_once("version ")?.1.split('.').next()?.parse().ok()
}

fn listen(room: &Room) -> Result<Vec<UnixListener>> {
    let bind = |port: &&str| {
        let path = room.path(port);
        let listener = UnixListener::bind(&path).with_context(|| format!("binding {}", path.display()))?;
        listener.set_nonblocking(true).context("making a guest's socket non-blocking")?;
        Ok(listener)
    };
    PORTS.iter().map(bind).collect()
}

/// QEMU connects while it starts; if it ends first, its complaint is the error.
fn accept(listeners: &[UnixListener], qemu: &mut Qemu<'_>) -> Result<[UnixStream; 3]> {
    let deadline = Instant::now() + CONNECT;
    let mut streams = Vec::new();
    while streams.len() < listeners.len() {
        match listeners[streams.len()].accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("making a guest's socket blocking")?;
                streams.push(stream);
            }
            Err(_) if qemu.gone() => bail!("QEMU ended before the guest started: {}", qemu.complaint()),
            Err(_) if Instant::now() > deadline => bail!("QEMU did not open the guest's ports: {}", qemu.complaint()),
            Err(_) => thread::sleep(POLL),
        }
    }
    streams.try_into().ok().context("QEMU opened another number of ports than was asked for")
}

/// Where what a guest says is passed on.
fn through(to: impl Write + Send + 'static, spec: &Spec) -> Box<dyn Write + Send> {
    match &spec.label {
        Some(label) => Box::new(Labelled::new(to, label)),
        None => Box::new(to),
    }
}

/// Reads a port to its end, passing it on if wanted.
fn collect(mut stream: UnixStream, mut through: Option<Box<dyn Write + Send>>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
            if let Some(writer) = &mut through {
                let _ = writer.write_all(&buffer[..count]).and_then(|()| writer.flush());
            }
        }
        all
    })
}

fn lines(stream: UnixStream) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Until the command ended, the guest died, or time is up.
fn wait(qemu: &mut Qemu<'_>, lines: &Receiver<String>, start: Instant, timeout: Duration) -> (End, Option<f64>) {
    let mut booted = None;
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        match lines.recv_timeout(left.min(Duration::from_millis(100))) {
            Ok(line) if line == "started" => booted = Some(start.elapsed().as_secs_f64()),
            Ok(line) => {
                let status = line.strip_prefix("exited ").and_then(|status| status.parse().ok());
                return (status.map_or(End::Died, End::Exited), booted);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return (End::Died, booted),
            Err(mpsc::RecvTimeoutError::Timeout) if left.is_zero() => return (End::TimedOut, booted),
            Err(mpsc::RecvTimeoutError::Timeout) if qemu.gone() => return (End::Died, booted),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_with_and_without_a_package_name() {
        assert_eq!(major("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright"), Some(10));
        assert_eq!(major("QEMU emulator version 7.2.19"), Some(7));
        assert_eq!(major("something else"), None);
    }
}

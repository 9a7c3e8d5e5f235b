//! The disks of mounts: every kind of device as a real one, mounted all at once, and what `list` says of it compared with what
//! made it, with the kernel's ioctls, and with what `io.max` takes.

mod array;
mod births;
mod devices;
mod mapper;
mod nbd;
mod paths;
mod rows;

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use self::mapper::Mapped;
use self::rows::{BY_TYPE_ALONE, Made, ROWS, Truth, VIRTIO, btrfs, not_here};
use super::ground::{self, Mounted};
use super::list::objects;
use super::program::command;
use super::trial::trial;
use super::{kernel, oracle};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("disks::every_row", every_row),
        trial("disks::what_protects_a_disk", what_protects_a_disk),
        trial("disks::a_btrfs_that_nobody_reaches", a_btrfs_that_nobody_reaches),
        trial("disks::a_loop_device_that_is_used_again", births::a_loop_device_that_is_used_again),
        trial("disks::a_thousand_births_and_deaths", births::a_thousand_births_and_deaths),
        trial("disks::events_that_had_no_room", births::events_that_had_no_room),
    ]
}

fn every_row() -> Result<()> {
    let ground = ground::directory("disks")?;
    let mut made = Vec::new();
    let mut not_run: Vec<String> = BY_TYPE_ALONE.iter().map(|name| format!("{name} (by its type alone)")).collect();
    for row in &ROWS {
        if let Some(why) = not_here(row.name)? {
            not_run.push(format!("{} ({why})", row.name));
            continue;
        }
        let target = ground.join(row.name);
        ground::make_directory(&target)?;
        made.push((row.name, target.clone(), (row.make)(&target).with_context(|| format!("row {}", row.name))?));
    }
    let shown = objects(&[])?;
    let mut wrong = Vec::new();
    for (name, target, row) in &made {
        if let Err(error) = compare(&shown, target, &row.truth) {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    eprintln!("{}", printed(&ground)?);
    eprintln!(
        "disks: kernel={} rows={} made={} not_run={}: {}",
        kernel::read("/proc/sys/kernel/osrelease")?.trim_end(),
        ROWS.len() + BY_TYPE_ALONE.len(),
        made.len(),
        not_run.len(),
        not_run.join(", ")
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The twin: each row by the truth of another one.
    for (name, target, _) in &made {
        let others = made.iter().filter(|(other, _, row)| other != name && compare(&shown, target, &row.truth).is_ok());
        let others: Vec<&str> = others.map(|(other, ..)| *other).collect();
        ensure!(others.is_empty() || name.starts_with("fuse"), "{name} passes for {others:?}");
    }
    for (name, _, row) in made.into_iter().rev() {
        row.undo().with_context(|| format!("row {name}"))?;
    }
    Ok(())
}

/// The table as a user asks for it.
fn printed(ground: &Path) -> Result<String> {
    let below = format!("{}/*", ground.display());
    let columns = "TARGET,SOURCE,FSTYPE,MAJ:MIN,DISK,PROTECTED";
    let output = command(&["list", "--target", &below, "--columns", columns]).output().context("cannot run list")?;
    ensure!(output.status.success(), "list ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).replace(&format!("{}/", ground.display()), ""))
}

/// The object of the mount at a path.
fn at<'a>(shown: &'a [Value], path: &Path) -> Result<&'a Value> {
    let text = path.to_str().context("the trials' own paths are UTF-8")?;
    shown.iter().rfind(|object| object["path"] == text).with_context(|| format!("nothing is listed at {text}"))
}

fn compare(shown: &[Value], target: &Path, truth: &Truth) -> Result<()> {
    let object = at(shown, target)?;
    let (disks, no_disk) = (&object["disks"], &object["no_disk"]);
    let nodes = match truth {
        Truth::None(why) => {
            ensure!(*disks == Value::Array(Vec::new()) && no_disk == why, "it says {disks} and {no_disk}, not {why}");
            return Ok(());
        }
        Truth::Disks(nodes) => nodes,
    };
    ensure!(no_disk.is_null(), "it says {no_disk}");
    let disks = disks.as_array().with_context(|| format!("no disks: {object}"))?;
    ensure!(disks.len() == nodes.len(), "it says {} disks, there are {}: {disks:?}", disks.len(), nodes.len());
    for node in nodes {
        let number = oracle::rdev_of(node)?;
        let disk = disks.iter().find(|disk| disk["dev"] == number);
        let disk = disk.with_context(|| format!("{} ({number}) is not among {disks:?}", node.display()))?;
        let name = node.file_name().map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
        ensure!(disk["name"].as_str() == name.as_deref(), "the name of {} is {}", node.display(), disk["name"]);
        let diskseq = devices::diskseq(node)?.map_or(Value::Null, |seq| seq.to_string().into());
        ensure!(disk["diskseq"] == diskseq, "the diskseq of {} is {diskseq}: {disk}", node.display());
        ensure!(disk["protected"] == Value::Array(Vec::new()), "{} is not protected: {disk}", node.display());
        expect_io_max_takes(&number).with_context(|| format!("{}", node.display()))?;
    }
    Ok(())
}

/// Two partitions of a disk, as long as this lives.
struct Halves;

impl Halves {
    fn of(disk: &Path) -> Result<Self> {
        let open = devices::open(disk)?;
        let part = mapper::sectors(disk)? / 4 * 512;
        for (number, start) in [(1, part), (2, 2 * part)] {
            super::raw::partition(open.as_fd(), number, start, part).context("BLKPG_ADD_PARTITION")?;
            devices::appeared(&PathBuf::from(format!("{}{number}", disk.display())))?;
        }
        Ok(Self)
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        for number in [1, 2] {
            let _ = devices::open(Path::new(VIRTIO)).map(|disk| super::raw::partition(disk.as_fd(), number, 0, 0));
        }
    }
}

/// Covered, it is not known; once it can be reached elsewhere, it is, for both of its mounts.
fn a_btrfs_that_nobody_reaches() -> Result<()> {
    let (target, elsewhere) = (ground::directory("covered")?, ground::directory("elsewhere")?);
    let made = btrfs(&target, 2)?;
    let id = oracle::own_mount_at(&target)?.id;
    let binding = Mounted::bind(&target, &elsewhere)?;
    let cover = Mounted::tmpfs(&target)?;
    let covered = || -> Result<Value> {
        let shown = objects(&[])?;
        shown.into_iter().find(|object| object["mount_id"] == id).context("what is covered is not listed")
    };
    let known = covered()?;
    ensure!(known["disks"].as_array().is_some_and(|disks| disks.len() == 2), "reached elsewhere: {known}");
    binding.unmount()?;
    let unknown = covered()?;
    ensure!(unknown["disks"].is_null() && unknown["no_disk"] == "unreached", "nobody reaches it: {unknown}");
    cover.unmount()?;
    compare(&objects(&[])?, &target, &made.truth)?;
    made.undo()
}

/// A disk that the node needs, all that it is made of, and nothing else: a volume of LVM on a partition, below the runtime's directory,
/// whose disk has another partition, and one of two btrfs below the pods' logs.
fn what_protects_a_disk() -> Result<()> {
    let ground = ground::directory("protected")?;
    let target = |name: &str| {
        let path = ground.join(name);
        ground::make_directory(&path).map(|()| path)
    };
    let (below, lvm) = (target("below")?, target("lvm")?);
    let (logs, other) = (target("logs")?, target("other")?);
    let halves = Halves::of(Path::new(VIRTIO))?;
    let (first, second) = (PathBuf::from(format!("{VIRTIO}1")), PathBuf::from(format!("{VIRTIO}2")));
    let mapped = Mapped::new("vg-needed", "LVM-beef", "linear", "DEV 0", &first)?;
    let device = mapped.device.clone();
    let volume = Made::on(&device, &lvm, &[&device], vec![Box::new(halves), Box::new(mapped)])?;
    let neighbour = Made::on(&second, &below, &[Path::new(VIRTIO)], Vec::new())?;
    let (needed, spare) = (btrfs(&logs, 2)?, btrfs(&other, 1)?);
    let none = Value::Array(Vec::new());
    let says = |path: &Path| -> Result<Vec<Value>> {
        let shown = objects(&[])?;
        let disks = at(&shown, path)?["disks"].as_array().context("no disks")?.clone();
        Ok(disks.iter().map(|disk| disk["protected"].clone()).collect())
    };
    let all = [&lvm, &below, &logs, &other];
    for path in all {
        ensure!(says(path)?.iter().all(|why| *why == none), "nothing protects {}", path.display());
    }
    for (needs, runtime) in [(&all[..2], "/var/lib/containerd"), (&all[2..3], "/var/log/pods")] {
        let runtime = Path::new(runtime);
        ground::make_directory(runtime)?;
        let mounted = Mounted::bind(needs[0], runtime)?;
        let why = Value::from(vec![format!("holds {}", runtime.display())]);
        eprintln!("{}", printed(&ground)?);
        for path in all {
            let (wanted, said) = (if needs.contains(&path) { &why } else { &none }, says(path)?);
            ensure!(!said.is_empty() && said.iter().all(|one| one == wanted), "{}: {said:?}", path.display());
        }
        mounted.unmount()?;
    }
    [spare, needed, neighbour, volume].into_iter().try_for_each(Made::undo)
}
/// The kernel's last word: it takes a limit for this number, and shows it.
fn expect_io_max_takes(number: &str) -> Result<()> {
    let cgroup = Path::new("/sys/fs/cgroup/disks-trial");
    fs::create_dir(cgroup).context("cannot make a cgroup")?;
    let file = cgroup.join("io.max");
    let line = format!("{number} rbps=max wbps=1048576 riops=max wiops=max");
    let written = ground::write_file(&file, &line);
    let read = fs::read_to_string(&file);
    fs::remove_dir(cgroup)?;
    written?;
    ensure!(read.as_deref().is_ok_and(|read| read.trim_end() == line), "io.max says {read:?} after {line:?}");
    Ok(())
}

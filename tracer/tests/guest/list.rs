//! `mount-tracer list`: the tables that it prints are the kernel's, of whatever namespace, and no secret is in them.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, MountPropagationFlags};
use serde_json::Value;

use super::actor::{Actor, NOBODY, unshare};
use super::expect::mount_differences;
use super::ground::{self, Mounted};
use super::kernel;
use super::operation::bytes_of;
use super::oracle;
use super::program::command;
use super::trial::trial;

/// In no other text of the node.
const SECRET: &str = "S3cr3tOfTheList";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("list::own_table_is_the_kernels", own_table_is_the_kernels),
        trial("list::flags_and_propagation_that_were_asked_for", flags_and_propagation_that_were_asked_for),
        trial("list::names_of_every_byte", names_of_every_byte),
        trial("list::a_secret_in_the_options_is_counted", a_secret_in_the_options_is_counted),
        trial("list::a_secret_in_the_source_is_hidden", a_secret_in_the_source_is_hidden),
        trial("list::of_another_process", of_another_process),
        trial("list::of_a_process_with_another_root", of_a_process_with_another_root),
        trial("list::held_by_a_thread_alone", held_by_a_thread_alone),
        trial("list::held_by_a_bind_alone", held_by_a_bind_alone),
        trial("list::what_is_gone_or_refused_is_said", what_is_gone_or_refused_is_said),
        trial("list::filters", filters),
        trial("list::a_reader_that_goes_away", a_reader_that_goes_away),
        trial("list::wrong_words_are_answered", wrong_words_are_answered),
    ]
}

fn run(flags: &[&str]) -> Result<Output> {
    output(&mut command(&[&["list"], flags].concat()))
}

fn output(command: &mut Command) -> Result<Output> {
    command.output().context("cannot run mount-tracer list")
}

/// The objects of a run that succeeds.
pub(crate) fn objects(flags: &[&str]) -> Result<Vec<Value>> {
    let output = run(&[&["-o", "json"], flags].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "list {flags:?} ended with {}: {said}", output.status);
    let text = String::from_utf8(output.stdout).context("JSON that is not UTF-8")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

/// The one object with this path.
fn at<'a>(objects: &'a [Value], path: &Path) -> Result<&'a Value> {
    let is_it = |object: &&Value| {
        object["path"].as_str().and_then(|text| bytes_of(text).ok()).as_deref() == Some(path.as_os_str().as_bytes())
    };
    let found: Vec<&Value> = objects.iter().filter(is_it).collect();
    ensure!(found.len() == 1, "{} mounts at {}: {found:#?}", found.len(), path.display());
    Ok(found[0])
}

fn expect(object: &Value, pointer: &str, wanted: impl Into<Value>) -> Result<()> {
    let (found, wanted) = (object.pointer(pointer), wanted.into());
    ensure!(found == Some(&wanted), "{pointer} is {found:?}, expected {wanted}, in {object}");
    Ok(())
}

/// All that mountinfo says of a process's mounts, in its order, and nothing else.
pub(crate) fn expect_table(objects: &[Value], pid: u32) -> Result<()> {
    let mounts = oracle::mounts(pid)?;
    ensure!(objects.len() == mounts.len(), "{} mounts are listed, mountinfo has {}", objects.len(), mounts.len());
    for (object, mount) in objects.iter().zip(&mounts) {
        expect(object, "/mntns", oracle::namespace(pid)?)?;
        expect(object, "/mount_id", mount.id)?;
        let differences = mount_differences(object, mount)?;
        ensure!(differences.is_empty(), "{}, in {object}", differences.join("; "));
    }
    Ok(())
}

fn own_table_is_the_kernels() -> Result<()> {
    let shown = objects(&[])?;
    expect_table(&shown, std::process::id())?;
    for object in &shown {
        let known = [&object["mntns_id"], &object["mount_id_unique"], &object["parent_id_unique"]];
        let wanted = kernel::is_at_least(6, 11)?;
        ensure!(known.iter().all(|id| id.is_string() == wanted), "64-bit ids on this kernel: {object}");
    }
    let flat = run(&["--flat", "--no-headers", "--columns", "ID"])?;
    let ids: Vec<String> = oracle::mounts(std::process::id())?.iter().map(|mount| mount.id.to_string()).collect();
    ensure!(String::from_utf8_lossy(&flat.stdout).lines().eq(ids), "the flat list is not in the kernel's order");
    Ok(())
}

fn flags_and_propagation_that_were_asked_for() -> Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    let master = ground::directory("list-master")?;
    rustix::mount::mount("the source", &master, "tmpfs", flags, c"size=64k,mode=711")?;
    let mounted = Mounted::adopt(&master);
    ground::change(&master, MountPropagationFlags::SHARED)?;
    let slave = ground::directory("list-slave")?;
    let copy = Mounted::bind(&master, &slave)?;
    ground::change(&slave, MountPropagationFlags::DOWNSTREAM)?;
    let alone = ground::directory("list-alone")?;
    let unbindable = Mounted::tmpfs(&alone)?;
    ground::change(&alone, MountPropagationFlags::UNBINDABLE)?;
    let shown = objects(&[])?;
    let [first, second, third] = [at(&shown, &master)?, at(&shown, &slave)?, at(&shown, &alone)?];
    let mut names: Vec<&str> = first["attributes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.sort_unstable();
    let wanted = ["NOATIME", "NODEV", "NOEXEC", "NOSUID", "RDONLY"].map(|name| format!("MOUNT_ATTR_{name}"));
    ensure!(names == wanted, "attributes are {names:?}");
    expect(first, "/source", "the source")?;
    expect(first, "/fstype", "tmpfs")?;
    expect(first, "/propagation/kubernetes", "Bidirectional")?;
    expect(second, "/propagation/kubernetes", "HostToContainer")?;
    expect(second, "/propagation/shared", Value::Null)?;
    expect(second, "/propagation/master", first["propagation"]["shared"].clone())?;
    expect(third, "/propagation/unbindable", true)?;
    expect(third, "/propagation/kubernetes", "None")?;
    for option in ["size=64k", "mode=711"] {
        let shown = first["options"]["fs"].as_array().is_some_and(|options| options.iter().any(|one| one == option));
        ensure!(shown, "{option} is not among the options: {first}");
    }
    [copy, mounted, unbindable].into_iter().try_for_each(Mounted::unmount)
}

/// In the path and in the source: JSON gives each byte back, a terminal gets none that it would obey.
fn names_of_every_byte() -> Result<()> {
    let name: Vec<u8> = (1..=u8::MAX).filter(|byte| *byte != b'/').collect();
    let path = ground::directory("list-name")?.join(OsStr::from_bytes(&name));
    ground::make_directory(&path)?;
    // With an `@` behind a colon it would be hidden as a password.
    let given: Vec<u8> = name.iter().copied().filter(|byte| *byte != b'@').collect();
    rustix::mount::mount(given.as_slice(), &path, "tmpfs", MountFlags::empty(), None).context("mount")?;
    let mounted = Mounted::adopt(&path);
    let shown = objects(&[])?;
    let source = at(&shown, &path)?["source"].as_str().context("no source")?.to_owned();
    ensure!(bytes_of(&source)? == given, "the source is not given back: {source}");
    for form in ["table", "wide"] {
        let printed = run(&["-o", form])?.stdout;
        let text = String::from_utf8(printed).context("a table that is not UTF-8")?;
        let (lines, mounts) = (text.lines().count(), oracle::mounts(std::process::id())?.len());
        ensure!(lines == mounts + 1, "{lines} lines for {mounts} mounts in -o {form}");
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        ensure!(control.is_none(), "{control:?} in -o {form}");
        ensure!(text.contains(r"\x01\x02") && text.contains(r"\xfe\xff"), "no escapes in -o {form}: {text}");
    }
    mounted.unmount()
}

/// A named cgroup hierarchy shows whatever name it was given.
fn a_secret_in_the_options_is_counted() -> Result<()> {
    let path = ground::directory("list-secret")?;
    let data = std::ffi::CString::new(format!("none,name={SECRET},release_agent=/{SECRET}"))?;
    rustix::mount::mount("cgroup", &path, "cgroup", MountFlags::empty(), data.as_c_str()).context("named hierarchy")?;
    let mounted = Mounted::adopt(&path);
    let kernels = kernel::read("/proc/self/mountinfo")?;
    ensure!(kernels.contains(&format!("name={SECRET}")), "the kernel does not show the secret: nothing is tried here");
    expect(at(&objects(&[])?, &path)?, "/options/hidden", 2)?;
    let every = "TARGET,SOURCE,FSTYPE,OPTIONS,VFS-OPTIONS,FS-OPTIONS,FSROOT";
    for flags in [vec![], vec!["-o", "wide"], vec!["-o", "json"], vec!["--all"], vec!["--columns", every]] {
        expect_no_secret(&flags, "(2 hidden)", flags.contains(&"json"))?;
    }
    mounted.unmount()
}

fn a_secret_in_the_source_is_hidden() -> Result<()> {
    let path = ground::directory("list-source")?;
    for source in
        [format!("//u:{SECRET}@nas/share"), format!("https://nas/x?token={SECRET}"), format!("u:{SECRET}@nas:/x")]
    {
        rustix::mount::mount(source.as_str(), &path, "tmpfs", MountFlags::empty(), None).context("mount")?;
        let mounted = Mounted::adopt(&path);
        for flags in [vec![], vec!["-o", "wide"], vec!["-o", "json"], vec!["--all"]] {
            expect_no_secret(&flags, "***", false)?;
        }
        mounted.unmount()?;
    }
    Ok(())
}

/// Nowhere in both outputs; what is there instead is.
fn expect_no_secret(flags: &[&str], instead: &str, only_absence: bool) -> Result<()> {
    let output = run(flags)?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(!text.contains(SECRET), "a secret was printed by list {flags:?}: {text}");
    ensure!(only_absence || text.contains(instead), "no {instead} in list {flags:?}: {text}");
    Ok(())
}

fn of_another_process() -> Result<()> {
    let there = ground::directory("list-there")?;
    let mut child = Actor::private()?;
    child.must(&["tmpfs", text(&there)?])?;
    let (pid, inode) = (child.pid().to_string(), child.namespace()?);
    let shown = objects(&["--pid", &pid])?;
    expect_table(&shown, child.pid())?;
    at(&shown, &there)?;
    let inode = inode.to_string();
    expect_table(&objects(&["--mntns", &inode])?, child.pid())?;
    ensure!(at(&objects(&[])?, &there).is_err(), "a mount of another namespace is in the own table");
    let all = objects(&["--all"])?;
    let of = |pid: u32| -> Result<Vec<Value>> {
        let inode = oracle::namespace(pid)?;
        Ok(all.iter().filter(|object| object["mntns"] == inode).cloned().collect())
    };
    expect_table(&of(child.pid())?, child.pid())?;
    expect_table(&of(std::process::id())?, std::process::id())?;
    let table = String::from_utf8_lossy(&run(&["--all"])?.stdout).into_owned();
    ensure!(table.contains(&format!("mount namespace {inode}")), "no heading for {inode}: {table}");
    Ok(())
}

/// `--pid` shows what the process sees, and `--mntns` all that is there.
fn of_a_process_with_another_root() -> Result<()> {
    let root = ground::directory("list-root")?;
    let mounted = Mounted::tmpfs(&root)?;
    let mut child = Actor::start()?;
    child.must(&["chroot", text(&root)?])?;
    let pid = child.pid().to_string();
    let shown = objects(&["--pid", &pid])?;
    ensure!(shown.len() == 1, "the root alone is to be seen: {shown:#?}");
    expect(&shown[0], "/path", "/")?;
    let whole = objects(&["--mntns", &oracle::own_namespace()?.to_string()])?;
    expect_table(&whole, std::process::id())?;
    drop(child);
    mounted.unmount()
}

fn held_by_a_thread_alone() -> Result<()> {
    let there = ground::directory("list-thread")?;
    let (ready, told) = channel();
    let (end, ended) = channel::<()>();
    let path = there.clone();
    let thread = std::thread::spawn(move || -> Result<()> {
        unshare()?;
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        ground::mount_tmpfs(&path)?;
        let link = std::fs::read_link("/proc/thread-self/ns/mnt")?.to_string_lossy().into_owned();
        ready.send((link, rustix::thread::gettid().as_raw_nonzero().get()))?;
        // Until the trial has let go of the other end.
        let _ = ended.recv();
        Ok(())
    });
    let (link, tid) = told.recv().context("the thread has no namespace")?;
    let shown = objects(&["--mntns", &link])?;
    let mount = at(&shown, &there)?;
    expect(mount, "/process/tid", tid)?;
    expect(mount, "/process/pid", std::process::id())?;
    at(&objects(&["--pid", &tid.to_string()])?, &there)?;
    at(&objects(&["--all"])?, &there)?;
    ensure!(at(&objects(&[])?, &there).is_err(), "a mount of the thread's namespace is in the own table");
    drop(end);
    thread.join().map_err(|_| anyhow::anyhow!("the thread panicked"))?
}

/// A namespace without a process: there from 6.12 on, elsewhere said not to be seen.
fn held_by_a_bind_alone() -> Result<()> {
    let there = ground::directory("list-bind")?;
    let file = ground::directory("list-file")?.join("mnt");
    ground::write_file(&file, "")?;
    let mut child = Actor::private()?;
    child.must(&["tmpfs", text(&there)?])?;
    let wanted = oracle::mount_at(child.pid(), &there)?.context("the child has no mount")?;
    let inode = child.namespace()?;
    let held = Mounted::bind(&PathBuf::from(format!("/proc/{}/ns/mnt", child.pid())), &file)?;
    let before = objects(&["--mntns", &inode.to_string()])?;
    drop(child);
    if kernel::is_at_least(6, 12)? {
        let after = objects(&["--mntns", &inode.to_string()])?;
        ensure!(after.len() == before.len(), "{} mounts with a process, {} without", before.len(), after.len());
        let mount = at(&after, &there)?;
        let differences = mount_differences(mount, &wanted)?;
        ensure!(differences.is_empty(), "{}, in {mount}", differences.join("; "));
        expect(mount, "/mntns", inode)?;
        expect(mount, "/process", Value::Null)?;
        let source = if kernel::is_at_least(6, 13)? { "tmpfs".into() } else { Value::Null };
        expect(mount, "/source", source)?;
        expect_like(&before, &after)?;
        at(&objects(&["--all"])?, &there)?;
    } else {
        let one = run(&["--mntns", &inode.to_string()])?;
        ensure!(one.status.code() == Some(1), "list --mntns of a namespace that cannot be seen: {one:?}");
        let all = run(&["--all"])?;
        let said = String::from_utf8_lossy(&all.stderr).into_owned();
        ensure!(all.status.success() && said.contains("no process is in"), "nothing said: {said}");
    }
    held.unmount()
}

/// Both ways into a namespace tell the same of each mount, but for who was asked, and the source before 6.13.
fn expect_like(before: &[Value], after: &[Value]) -> Result<()> {
    let keys = "mntns_id mount_id mount_id_unique parent_id path root fstype dev attributes propagation options";
    for (one, other) in before.iter().zip(after) {
        for key in keys.split(' ') {
            ensure!(one[key] == other[key], "{key} is {} with a process and {} without: {one}", one[key], other[key]);
        }
    }
    Ok(())
}

fn what_is_gone_or_refused_is_said() -> Result<()> {
    let mut child = Actor::start()?;
    let (pid, inode) = (child.pid(), {
        child.must(&["unshare"])?;
        child.namespace()?
    });
    expect_table(&objects(&["--pid", &pid.to_string()])?, pid)?;
    drop(child);
    let nobody = |flags: &[&str]| output(command(&[&["list"], flags].concat()).uid(NOBODY).gid(NOBODY));
    for (output, words) in [
        (run(&["--pid", &pid.to_string()])?, [pid.to_string(), "no such process".to_owned()]),
        (run(&["--mntns", &inode.to_string()])?, [inode.to_string(), "no mount namespace".to_owned()]),
        (nobody(&["--pid", "1"])?, ["/proc/1/".to_owned(), "run as root".to_owned()]),
    ] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "ended with {}: {said}", output.status);
        ensure!(words.iter().all(|word| said.contains(word)), "{words:?} are not in: {said}");
        ensure!(said.lines().count() == 1 && output.stdout.is_empty(), "more than one line: {output:?}");
    }
    // The twin: one's own table is everybody's.
    let own = nobody(&[])?;
    ensure!(own.status.success() && !own.stdout.is_empty(), "nobody's own table: {own:?}");
    Ok(())
}

fn filters() -> Result<()> {
    let one = ground::directory("list-filter-one")?;
    let other = ground::directory("list-filter-other")?;
    let mounts = [Mounted::tmpfs(&one)?, Mounted::tmpfs(&other)?];
    let targets = format!("*/list-filter-*,!{}", text(&other)?);
    let shown = objects(&["-t", "tmp*,!proc", "--target", &targets, "--source", "tmpfs"])?;
    ensure!(shown.len() == 1, "one mount is asked for: {shown:#?}");
    at(&shown, &one)?;
    let table = String::from_utf8_lossy(&run(&["--target", &targets, "--no-headers"])?.stdout).into_owned();
    ensure!(table.starts_with(text(&one)?) && table.lines().count() == 1, "a flat line is wanted: {table}");
    mounts.into_iter().try_for_each(Mounted::unmount)
}

fn a_reader_that_goes_away() -> Result<()> {
    let dir = ground::directory("list-many")?;
    // More than a pipe holds.
    let many = (0..150).map(|number| {
        let path = dir.join(number.to_string());
        ground::make_directory(&path)?;
        Mounted::tmpfs(&path)
    });
    let many: Vec<Mounted> = many.collect::<Result<_>>()?;
    for flags in [["-o", "json"], ["-o", "wide"]] {
        let mut child = command(&[["list"].as_slice(), &flags].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start mount-tracer list")?;
        let mut first = String::new();
        BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut first)?;
        let mut said = String::new();
        child.stderr.take().context("no pipe")?.read_to_string(&mut said)?;
        let status = child.wait()?;
        ensure!(!first.is_empty() && status.success() && said.is_empty(), "list {flags:?} ended with {status}: {said}");
    }
    many.into_iter().try_for_each(Mounted::unmount)
}

fn wrong_words_are_answered() -> Result<()> {
    for (flags, status, word) in [
        (vec!["--columns", "TARGTE"], 2, "`TARGET`"),
        (vec!["--columns", "+PROPAGATON"], 2, "`PROPAGATION`"),
        (vec!["--target", "mnt"], 2, "`/mnt`"),
        (vec!["-o", "jsn"], 2, "json"),
        (vec!["--pid", "1", "--all"], 2, "--all"),
        (vec!["-t", "proo"], 1, "`--fstype proc`"),
    ] {
        let output = run(&flags)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(status), "list {flags:?} ended with {}: {said}", output.status);
        ensure!(said.contains(word), "{word} is not in what list {flags:?} says: {said}");
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the trials' own paths are UTF-8")
}

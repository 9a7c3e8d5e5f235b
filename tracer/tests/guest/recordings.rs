//! `trace --record` and `replay`: what was shown is shown again, line by line, and what is broken is named.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags};

use super::actor::Actor;
use super::ground::{self, Mounted};
use super::paths::Far;
use super::program::{Finished, Program, command};
use super::trial::trial;

const SECRET: &str = "hushhush";
const HOST: &str = "storage-host";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("recordings::show_the_same_again", show_the_same_again),
        trial("recordings::that_are_broken_say_where", that_are_broken_say_where),
        trial("recordings::have_no_secrets", have_no_secrets),
        trial("recordings::a_file_that_cannot_be_written", a_file_that_cannot_be_written),
    ]
}

/// Traces what `act` does into a file; what was shown, and the file.
fn recorded(act: impl FnOnce() -> Result<()>) -> Result<(Finished, PathBuf)> {
    let file = ground::directory("recording")?.join("trace.rec");
    let trace = Program::trace(&["--existing", "--record", text(&file)?])?;
    act()?;
    // What was done before it is told to end is shown.
    Ok((trace.terminate()?, file))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the trials' own paths are UTF-8")
}

/// Mounts that succeed, fail and propagate, a namespace that comes and goes, a tree that is never attached, a mount far down.
fn all_kinds() -> Result<()> {
    let (target, copy) = (ground::directory("target")?, ground::directory("copy")?);
    let mounted = Mounted::tmpfs(&target)?;
    let bound = Mounted::bind(&target, &copy)?;
    ensure!(rustix::mount::unmount(target.join("nothing"), UnmountFlags::empty()) == Err(Errno::NOENT));
    drop(Actor::private()?);
    drop(rustix::mount::open_tree(CWD, &target, OpenTreeFlags::OPEN_TREE_CLONE)?);
    bound.unmount()?;
    // Too deep for a probe: the kernel is asked, and its answer is recorded.
    let far = Far::make(&vec!["n".to_owned(); 300])?;
    far.mount()?;
    far.unmount()?;
    mounted.unmount()
}

/// The lines of a replay, its exit status and its standard error.
fn replay(file: &Path, flags: &[&str]) -> Result<(Vec<String>, Option<i32>, String)> {
    let output = command(&[&["replay", text(file)?], flags].concat()).output().context("cannot run replay")?;
    let lines = String::from_utf8(output.stdout).context("a replay is UTF-8")?.lines().map(str::to_owned).collect();
    Ok((lines, output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn show_the_same_again() -> Result<()> {
    let (finished, file) = recorded(all_kinds)?;
    ensure!(finished.lines.len() > 6, "too little was traced to compare: {:?}", finished.lines);
    let (again, status, errors) = replay(&file, &["-o", "json"])?;
    let differs = again.iter().zip(&finished.lines).position(|(one, other)| one != other);
    ensure!(differs.is_none() && again.len() == finished.lines.len(), "line {differs:?} differs: {again:#?}");
    ensure!(status == Some(0), "a whole recording ended with {status:?}: {errors}");
    // The same statistics too.
    let said = finished.errors.iter().find(|line| line.starts_with("stats:")).context("trace prints no statistics")?;
    ensure!(errors.contains(said.as_str()), "{errors} has not {said}");
    // The twin: a filter of its own shows less of it.
    let (fewer, ..) = replay(&file, &["-o", "json", "--event", "bind"])?;
    ensure!(fewer.len() == 1 && again.contains(&fewer[0]), "one bind was made, shown are {fewer:#?}");
    let (table, ..) = replay(&file, &[])?;
    ensure!(table.first().is_some_and(|head| head.starts_with("TIME")), "no table: {table:#?}");
    Ok(())
}

fn that_are_broken_say_where() -> Result<()> {
    let (finished, file) = recorded(all_kinds)?;
    let bytes = fs::read(&file)?;
    let broken = file.with_extension("broken");
    let mut shown_before = 0;
    for end in [bytes.len() / 2, bytes.len() - 1] {
        fs::write(&broken, &bytes[..end])?;
        let (lines, status, errors) = replay(&broken, &["-o", "json"])?;
        ensure!(status == Some(1), "cut at {end} it ended with {status:?}");
        ensure!(errors.contains("the recording was cut") && errors.contains("byte "), "cut at {end}: {errors}");
        ensure!(
            finished.lines.starts_with(&lines) || end < bytes.len() - 1,
            "what came before is not shown: {lines:#?}"
        );
        ensure!(lines.len() > shown_before, "cut at {end} it shows {} lines", lines.len());
        shown_before = lines.len();
    }
    ensure!(shown_before == finished.lines.len(), "without its end alone it shows {shown_before} lines");
    let newer = [b"mount-tracer recording 9".as_slice(), &bytes[24..]].concat();
    for (content, said) in [(newer.as_slice(), "has version 9"), (b"\x7fELF garbage\n", "this is no recording")] {
        fs::write(&broken, content)?;
        let (lines, status, errors) = replay(&broken, &[])?;
        ensure!(status == Some(1) && lines.is_empty() && errors.contains(said), "{status:?} {lines:?} {errors}");
    }
    let (.., status, errors) = replay(Path::new("/nowhere/at/all"), &[])?;
    ensure!(status == Some(1) && errors.contains("/nowhere/at/all"), "{status:?} {errors}");
    Ok(())
}

fn have_no_secrets() -> Result<()> {
    let target = ground::directory("secrets")?;
    let sources = [
        format!("https://user:{SECRET}@{HOST}/share"),
        format!("//{HOST}/share?token={SECRET}"),
        format!("user:{SECRET}@{HOST}:/share"),
    ];
    let (finished, file) = recorded(|| {
        for source in &sources {
            rustix::mount::mount(source, &target, "ramfs", MountFlags::empty(), None)?;
            ground::unmount(&target, UnmountFlags::empty())?;
            let failed = rustix::mount::mount(source, &target, "no-such-type", MountFlags::empty(), None);
            ensure!(failed == Err(Errno::NODEV), "a file system that does not exist gave {failed:?}");
        }
        Ok(())
    })?;
    let bytes = fs::read(&file)?;
    let has = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    ensure!(has(HOST), "the search finds not even what is no secret");
    ensure!(!has(SECRET), "a secret is in the recording");
    let (lines, ..) = replay(&file, &["-o", "json"])?;
    ensure!(lines == finished.lines, "with hidden secrets it shows something else");
    Ok(())
}

/// Nothing is traced in vain: it ends at once, and says which file.
fn a_file_that_cannot_be_written() -> Result<()> {
    let file = ground::directory("recording")?.join("no/such/directory");
    let output = command(&["trace", "--record", text(&file)?]).output().context("cannot run trace")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "it ended with {:?}", output.status);
    ensure!(errors.contains("cannot write the recording") && errors.contains(text(&file)?), "{errors}");
    Ok(())
}

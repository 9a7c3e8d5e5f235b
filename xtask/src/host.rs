//! What every room of the workshop asks of the machine it runs on: where the workspace is, and commands that explain
//! themselves when they fail.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The workspace's root: the nearest directory upwards that holds this crate and the lock file.
pub(crate) fn root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("reading the current directory")?;
    let found = here.ancestors().find(|dir| dir.join("Cargo.lock").is_file() && dir.join("xtask/Cargo.toml").is_file());
    found.map(Path::to_path_buf).with_context(|| {
        format!("{} is not inside the mount-tracer workspace; change into a checkout and run it again", here.display())
    })
}

/// Where guests' kernels and the private package state live: `target/guest`.
pub(crate) fn guest_dir() -> Result<PathBuf> {
    let dir = root()?.join("target/guest");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

/// Removes a directory with all that is in it, if there is one.
pub(crate) fn remove_directory(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a directory anew: it is filled as `work` beside it, and stays as it was when that fails.
pub(crate) fn replace_directory(dir: &Path, work: &Path, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    remove_directory(work)?;
    let done = fill().and_then(|()| {
        remove_directory(dir)?;
        fs::rename(work, dir).with_context(|| format!("renaming {} to {}", work.display(), dir.display()))
    });
    if done.is_err() {
        let _ = remove_directory(work);
    }
    done
}

/// Writes a file, and makes the directories above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().context("a file without a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// The full path of a program, as a shell would find it; the `sbin` directories are always searched.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fixed = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(fixed).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A command in the C locale, so that what it prints can be parsed.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(find_program(program).unwrap_or_else(|| program.into()));
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = program.file_name().into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs it quietly and returns its stdout; on failure the error carries what it wrote to stderr.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", shown(command), output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs it with its output shown as it comes.
pub(crate) fn stream(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status}); what it said is above", shown(command));
    }
    Ok(())
}

/// Runs it with its output shown as it comes; on failure the error carries the last line that it wrote to stderr.
pub(crate) fn stream_to_the_end(command: &mut Command) -> Result<()> {
    let mut child =
        command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    let said = echoed(child.stderr.take()).with_context(|| format!("reading what `{}` says", shown(command)))?;
    let status = child.wait().with_context(|| format!("waiting for `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status}): {}", shown(command), last_line(&said).unwrap_or("it said nothing"));
    }
    Ok(())
}

/// All that comes out of a child's pipe, if there is one, shown on the standard error as it comes.
pub(crate) fn echoed(pipe: Option<impl Read>) -> io::Result<String> {
    let mut text = String::new();
    for line in pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
        let line = line?;
        eprintln!("{line}");
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// The last line that says something: tools put the cause there.
pub(crate) fn last_line(said: &str) -> Option<&str> {
    said.lines().map(str::trim).rfind(|line| !line.is_empty())
}

/// Prints lines with the seconds since it was made.
pub(crate) struct Progress {
    start: Instant,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn say(&self, line: &str) {
        eprintln!("[{:6.1} s] {line}", self.start.elapsed().as_secs_f64());
    }
}

//! Reads the policy's file. Touches that one file and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::policy::{Policy, PolicyError};

/// The longest policy, in bytes: what a config map of Kubernetes may hold, 1 MiB.
pub const LONGEST: u64 = 1024 * 1024;

/// The policy in this file.
pub fn load(path: &Path) -> Result<Policy, PolicyError> {
    let bytes = read(path)?;
    Policy::parse(&bytes, &path.display().to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, PolicyError> {
    let unreadable = |operation| move |source| PolicyError::Unreadable { operation, path: path.to_owned(), source };
    let file = open(path)?;
    let metadata = file.metadata().map_err(unreadable("read"))?;
    if !metadata.is_file() {
        return Err(PolicyError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable("read"))?;
    if bytes.len() as u64 > LONGEST {
        return Err(PolicyError::TooLong { path: path.to_owned(), limit: LONGEST });
    }
    Ok(bytes)
}

/// Without waiting: a named pipe would block until somebody writes.
fn open(path: &Path) -> Result<File, PolicyError> {
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty());
    opened.map(File::from).map_err(io::Error::from).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => PolicyError::Missing { path },
            _ => PolicyError::Unreadable { operation: "open", path, source },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn message(path: &Path) -> String {
        load(path).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        fs::write(&path, "rules: []\n").unwrap();
        assert_eq!(load(&path).unwrap().rules, []);
        fs::write(&path, "rules: {}\n").unwrap();
        assert!(message(&path).starts_with(&format!("{}:1:8: `rules` must be a list", path.display())));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let shown = dir.path().display();
        assert_eq!(
            message(dir.path()),
            format!("cannot read the policy {shown}: it is not a regular file; name the policy's file in it")
        );
        let path = dir.path().join("none");
        assert_eq!(
            message(&path),
            format!("cannot open the policy {shown}/none: there is no such file; create it, or name another")
        );
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        assert!(message(&dir.path().join("pipe")).contains("not a regular file"));
        assert!(message(&dir.path().join("pipe/below")).starts_with("cannot open the policy"));
    }

    #[test]
    fn a_policy_is_at_most_a_mebibyte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        let mut text = b"rules: []\n#".to_vec();
        text.resize(usize::try_from(LONGEST).unwrap(), b'x');
        fs::write(&path, &text).unwrap();
        assert!(load(&path).is_ok());
        text.push(b'x');
        fs::write(&path, &text).unwrap();
        let shown = path.display();
        assert_eq!(
            message(&path),
            format!("cannot read the policy {shown}: it is longer than 1048576 bytes; name a policy file")
        );
    }
}

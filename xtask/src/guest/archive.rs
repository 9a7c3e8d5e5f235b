//! Debian's signed archive through a private apt state under `target/guest/apt`: the machine's own package state is
//! never touched, apt itself checks every signature. The archive's address and keys are the machine's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Arch, sources};
use crate::host;

/// Small indexes (a few hundred kilobytes each), which hold the newest kernel of every series.
const SMALL: [&str; 3] = ["trixie-backports", "bookworm-backports", "experimental"];
const SMALL_SECURITY: [&str; 3] = ["trixie-security", "bookworm-security", "bullseye-security"];
/// Large indexes (about ten megabytes each), asked only when the small ones do not have it.
const LARGE: [&str; 4] = ["trixie", "bookworm", "sid", "bullseye"];

/// A package the archive offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A private view of the archive.
pub(crate) struct Archive {
    root: PathBuf,
    arch: Arch,
}

impl Archive {
    /// The view with the small suites only, or with all; the indexes are fetched.
    pub(crate) fn open(arch: Arch, all: bool) -> Result<Self> {
        Self::with(arch, &suites(all)?)
    }

    /// The view with one suite.
    pub(crate) fn of_suite(arch: Arch, suite: &str) -> Result<Self> {
        Self::with(arch, &sources::serving(&sources::codename()?)?.stanza(&[suite]))
    }

    fn with(arch: Arch, suites: &str) -> Result<Self> {
        let archive = Self { root: host::guest_dir()?.join(format!("apt{}", arch.suffix())), arch };
        for dir in ["state/lists/partial", "cache/archives/partial", "parts"] {
            let dir = archive.root.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        archive.write("state/status", "")?;
        archive.write("apt.conf", &archive.configuration())?;
        archive.write("parts/suites.sources", suites)?;
        host::capture(archive.apt("apt-get").args(["-q", "update"]))
            .context("asking Debian's archive for its index")?;
        Ok(archive)
    }

    /// All packages whose name matches the regular expression.
    pub(crate) fn find(&self, regex: &str) -> Result<Vec<Package>> {
        let found = host::capture(self.apt("apt-cache").args(["--names-only", "search", regex]))?;
        let names: Vec<&str> = found.lines().filter_map(|line| line.split_whitespace().next()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let text = host::capture(self.apt("apt-cache").args(["--no-all-versions", "show"]).args(names))?;
        Ok(text.split("\n\n").filter_map(package).collect())
    }

    /// Downloads packages (verified by apt) into a directory.
    pub(crate) fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        host::capture(self.apt("apt-get").args(["-q", "download"]).args(packages).current_dir(into)).map(drop)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// An apt command that knows nothing but our suites and state. The machine's apt.conf.d (proxies) still holds where
    /// ours says nothing.
    fn apt(&self, program: &str) -> Command {
        let mut command = host::command(program);
        command.arg("-c").arg(self.root.join("apt.conf"));
        command
    }

    fn configuration(&self) -> String {
        let (root, arch) = (self.root.display(), self.arch.name());
        [
            format!("Dir::State \"{root}/state\";"),
            format!("Dir::State::status \"{root}/state/status\";"),
            format!("Dir::Cache \"{root}/cache\";"),
            String::from("Dir::Cache::pkgcache \"pkgcache.bin\";"),
            String::from("Dir::Etc::sourcelist \"/dev/null\";"),
            format!("Dir::Etc::sourceparts \"{root}/parts\";"),
            format!("APT::Architecture \"{arch}\";"),
            format!("#clear APT::Architectures;\nAPT::Architectures {{ \"{arch}\"; }};"),
            // Hooks of the machine act on the machine's own state.
            String::from("#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;"),
            // Our directories belong to whoever runs this, not to apt's own user.
            String::from("APT::Sandbox::User \"\";"),
            String::from("Acquire::Languages \"none\";"),
            String::from("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";"),
        ]
        .join("\n")
            + "\n"
    }
}

/// The downloaded packages in a directory.
pub(crate) fn packages_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// One suite per stanza, so that one which the archive dropped does not hide the others.
fn suites(all: bool) -> Result<String> {
    let codename = sources::codename()?;
    let main = sources::serving(&codename)?;
    let large: &[&str] = if all { &LARGE } else { &[] };
    let mut text: String = SMALL.iter().chain(large).map(|suite| main.stanza(&[suite])).collect();
    if let Ok(security) = sources::serving(&format!("{codename}-security")) {
        text.extend(SMALL_SECURITY.iter().map(|suite| security.stanza(&[suite])));
    }
    Ok(text)
}

fn package(record: &str) -> Option<Package> {
    let field = |key: &str| record.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned());
    Some(Package { name: field("Package:")?, version: field("Version:")? })
}

//! Guest kernels: a series ("6.1", "6.18", "newest") resolved to what Debian's archive holds today, downloaded once,
//! unpacked to `target/guest/kernels/<series>/`, or `<series>-arm64/`, as `vmlinuz`, `modules/`, `config` and `resolved`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Arch;
use super::archive::{Archive, Package, packages_in};
use crate::host;

/// The series that follows the archive.
pub(crate) const NEWEST: &str = "newest";

/// A kernel that is there.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) dir: PathBuf,
    /// As `uname -r` says it.
    pub(crate) release: String,
    /// The package's version.
    pub(crate) version: String,
}

impl Kernel {
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub(crate) fn modules(&self) -> PathBuf {
        self.dir.join("modules")
    }
}

/// The kernel of a series, or an error that says how to get it.
pub(crate) fn require(arch: Arch, series: &str) -> Result<Kernel> {
    installed(arch, series)?.with_context(|| {
        let arch = arch.name();
        format!("kernel {series} for {arch} is not in target/guest/kernels; the set-up has to fetch it first")
    })
}

/// The kernel of a series if it is there, complete.
pub(crate) fn installed(arch: Arch, series: &str) -> Result<Option<Kernel>> {
    let dir = dir(arch, series)?;
    let Ok(text) = fs::read_to_string(dir.join("resolved")) else { return Ok(None) };
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    let (Some(release), Some(version)) = (field("release "), field("version ")) else { return Ok(None) };
    Ok(Some(Kernel { dir, release, version }))
}

/// Resolves, downloads and unpacks a series.
pub(crate) fn install(arch: Arch, series: &str) -> Result<Kernel> {
    let dir = dir(arch, series)?;
    let work = dir.with_file_name(format!("{series}{}.new", arch.suffix()));
    host::replace_directory(&dir, &work, || {
        create(&work)?;
        fill(&work, arch, series)
    })?;
    require(arch, series)
}

fn fill(work: &Path, arch: Arch, series: &str) -> Result<()> {
    let (archive, packages) = resolve(arch, series)?;
    let release = release(arch, &packages[0].name).unwrap_or_default().to_owned();
    let names: Vec<String> = packages.iter().map(|package| package.name.clone()).collect();
    archive.download(&names, work)?;
    unpack(work, &release).with_context(|| format!("unpacking kernel {release} in {}", work.display()))?;
    let resolved = format!("release {release}\nversion {}\n", packages[0].version);
    fs::write(work.join("resolved"), resolved).context("writing the kernel's `resolved` file")
}

fn dir(arch: Arch, series: &str) -> Result<PathBuf> {
    let numeric = !series.is_empty() && series.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !numeric && series != NEWEST {
        bail!("`{series}` is not a kernel series; use one like 6.1 or 6.18, or `{NEWEST}`");
    }
    Ok(host::guest_dir()?.join("kernels").join(format!("{series}{}", arch.suffix())))
}

/// The packages of the newest kernel of a series; first in the small suites, then in all.
fn resolve(arch: Arch, series: &str) -> Result<(Archive, Vec<Package>)> {
    for all in [false, true] {
        let archive = Archive::open(arch, all)?;
        let found = archive.find(&pattern(arch, series))?;
        if let Some(best) = best(arch, &found) {
            let release = release(arch, &best.name).unwrap_or_default();
            let pieces = format!("^linux-(binary|image|modules|base)-{}$", release.replace('+', "\\+"));
            let mut packages: Vec<Package> = archive.find(&pieces)?;
            packages.retain(|package| package.version == best.version);
            packages.sort_by_key(|package| package.name.clone());
            return Ok((archive, packages));
        }
    }
    bail!("Debian's archive offers no kernel of series {series} today; another series may do: try `{NEWEST}`")
}

/// Names like linux-image-6.1.0-56-cloud-amd64, and linux-binary-7.3.4+deb13-cloud-amd64 since images are a package apart.
fn pattern(arch: Arch, series: &str) -> String {
    let version = if series == NEWEST { String::from("[0-9]+\\.[0-9]+") } else { series.replace('.', "\\.") };
    format!("^linux-(image|binary)-{version}(\\.[^ ]*)?{}$", flavour(arch))
}

/// The end of the names of kernels for clouds, which have few drivers and are small.
fn flavour(arch: Arch) -> String {
    format!("-cloud-{}", arch.name())
}

/// The highest version that is a release: candidates (`7.3~rc7`) do not count.
fn best(arch: Arch, found: &[Package]) -> Option<&Package> {
    let released =
        found.iter().filter(|package| !package.version.contains("~rc") && release(arch, &package.name).is_some());
    released.max_by_key(|package| numbers(&package.version))
}

fn release(arch: Arch, name: &str) -> Option<&str> {
    let kinds = ["linux-image-", "linux-binary-", "linux-base-", "linux-modules-"];
    let release = kinds.iter().find_map(|kind| name.strip_prefix(kind))?;
    // `linux-image-6.1-cloud-amd64` and its like are meta packages: their release has two numbers only.
    let first = release.strip_suffix(flavour(arch).as_str())?;
    (numbers(first).len() > 2 && first.starts_with(|first: char| first.is_ascii_digit())).then_some(release)
}

/// All numbers of a version, in order: enough to rank versions of one archive.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|byte: char| !byte.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Unpacks the downloaded packages in `work` and leaves only what a guest needs.
fn unpack(work: &Path, release: &str) -> Result<()> {
    let tree = work.join("tree");
    create(&tree.join("usr/lib"))?;
    std::os::unix::fs::symlink("usr/lib", tree.join("lib")).context("linking lib to usr/lib")?;
    for package in packages_in(work)? {
        // Not `dpkg-deb -x`: a `lib` directory in the package would replace our link.
        host::capture(host::command("dpkg-deb").arg("-R").arg(&package).arg(package.with_extension("d")))?;
        merge(&package.with_extension("d"), &tree)?;
        fs::remove_file(&package).context("removing an unpacked package")?;
    }
    host::capture(host::command("depmod").arg("-b").arg(&tree).arg(release)).context("indexing the modules")?;
    let modules = work.join("modules");
    let from = tree.join("usr/lib/modules").join(release);
    fs::rename(&from, &modules).with_context(|| format!("the packages hold no {}", from.display()))?;
    // Up to 7.1 in /boot, then beside the modules.
    let places = |name: &str| [tree.join("boot").join(format!("{name}-{release}")), modules.join(name)];
    move_first(&places("vmlinuz"), &work.join("vmlinuz")).context("the packages hold no vmlinuz")?;
    // A guest does without its configuration.
    let _ = move_first(&places("config"), &work.join("config"));
    host::remove_directory(&tree)
}

fn move_first(from: &[PathBuf], to: &Path) -> Result<()> {
    let found = from.iter().find(|path| path.is_file());
    let found = found.with_context(|| format!("none of {from:?} is there"))?;
    fs::rename(found, to).with_context(|| format!("renaming {} to {}", found.display(), to.display()))
}

/// Moves an unpacked package into the tree, `lib` into `usr/lib`.
fn merge(package: &Path, tree: &Path) -> Result<()> {
    for (from, to) in [("boot", "boot"), ("lib", "usr/lib"), ("usr/lib", "usr/lib")] {
        let from = package.join(from);
        if from.is_dir() {
            let target = tree.join(to);
            create(&target)?;
            host::capture(host::command("cp").args(["-a", "--link", "-T"]).arg(&from).arg(&target))?;
        }
    }
    host::remove_directory(package)
}

fn create(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package { name: name.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn the_newest_release_wins_over_candidates_and_meta_packages() {
        let found = [
            package("linux-image-6.1-cloud-amd64", "6.1.192-2"),
            package("linux-image-6.1.0-55-cloud-amd64", "6.1.190-1"),
            package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2"),
            package("linux-image-6.1.0-0.deb11.52-cloud-amd64", "6.1.176-1~deb11u1"),
            package("linux-binary-7.3-cloud-amd64", "7.3~rc7-1~exp1"),
        ];
        assert_eq!(
            best(Arch::Amd64, &found).map(|package| package.name.as_str()),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
    }

    #[test]
    fn a_series_does_not_match_its_longer_namesakes() {
        assert_eq!(pattern(Arch::Amd64, "6.1"), "^linux-(image|binary)-6\\.1(\\.[^ ]*)?-cloud-amd64$");
        let release = |name| release(Arch::Amd64, name);
        assert_eq!(release("linux-binary-7.3.4+deb13-cloud-amd64"), Some("7.3.4+deb13-cloud-amd64"));
        assert_eq!(release("linux-image-6.1-cloud-amd64"), None);
        assert_eq!(release("linux-image-cloud-amd64"), None);
    }

    #[test]
    fn a_kernel_is_of_its_own_architecture() {
        let (amd64, arm64) = ("linux-image-6.12.9-cloud-amd64", "linux-image-6.12.9-cloud-arm64");
        assert_eq!(pattern(Arch::Arm64, "6.12"), "^linux-(image|binary)-6\\.12(\\.[^ ]*)?-cloud-arm64$");
        assert_eq!(release(Arch::Arm64, arm64), Some("6.12.9-cloud-arm64"));
        assert_eq!((release(Arch::Arm64, amd64), release(Arch::Amd64, arm64)), (None, None));
    }
}

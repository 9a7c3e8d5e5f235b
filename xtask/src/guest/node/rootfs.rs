//! The root file system of a node: Debian with systemd and container runtimes, made once from Debian's archive as
//! `target/guest/node/image`, and again when the recipe changes. Guests start from it and leave it as it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::image;
use crate::guest::sources;
use crate::host;

const SUITE: &str = "trixie";
/// What a node of a cluster has, and what trials need to make file systems and to look at things. What they depend on comes along,
/// what they recommend does not.
const PACKAGES: [&str; 14] = [
    "btrfs-progs",
    "containerd",
    "crun",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "kmod",
    "mount",
    "netavark",
    "podman",
    "procps",
    "runc",
    "systemd",
    "util-linux",
];
const SCRIPT: &str = include_str!("rootfs.sh");
/// What is put on top of the packages.
const FILES: [(&str, &str); 8] = [
    ("etc/systemd/system/container-image.service", include_str!("container-image.service")),
    ("etc/systemd/system/guest.service", include_str!("guest.service")),
    ("etc/containerd/config.toml", include_str!("config.toml")),
    ("etc/hostname", "node\n"),
    ("etc/hosts", "127.0.0.1 localhost node\n"),
    // Without one each boot is a first one, which takes its time.
    ("etc/machine-id", "6d6f756e747472616365726e6f646531\n"),
    ("etc/resolv.conf", ""),
    ("etc/systemd/journald.conf.d/guest.conf", "[Journal]\nStorage=volatile\nRateLimitBurst=0\n"),
];

/// The image, or an error that says how to get it.
pub(crate) fn require() -> Result<PathBuf> {
    installed()?.context("the root file system of a node is not in target/guest/node; the set-up has to make it first")
}

/// The image, if it is there and of today's recipe.
pub(crate) fn installed() -> Result<Option<PathBuf>> {
    let dir = dir()?;
    let Ok(made) = fs::read_to_string(dir.join("recipe")) else { return Ok(None) };
    Ok((made == recipe()).then(|| dir.join("image")))
}

/// Makes the image, and says how large it is.
pub(crate) fn install() -> Result<String> {
    let dir = dir()?;
    let work = dir.with_extension("new");
    host::replace_directory(&dir, &work, || fill(&work))?;
    let size = host::capture(host::command("du").arg("-h").arg(dir.join("image")))?;
    Ok(format!("Debian {SUITE}, {}", size.split_whitespace().next().unwrap_or_default()))
}

fn dir() -> Result<PathBuf> {
    Ok(host::guest_dir()?.join("node"))
}

/// All that decides what is in it, except what the archive and the machine have today.
fn recipe() -> String {
    let files = files().into_iter().map(|(name, text)| format!("{name}\n{text}"));
    [SUITE, &PACKAGES.join(","), SCRIPT].into_iter().map(str::to_owned).chain(files).collect::<Vec<_>>().join("\n")
}

/// Our files, which name the container image.
fn files() -> [(&'static str, String); 8] {
    let filled = |text: &str| text.replace("@IMAGE_NAME@", image::NAME).replace("@IMAGE_FILE@", image::PATH);
    FILES.map(|(name, text)| (name, filled(text)))
}

fn fill(work: &Path) -> Result<()> {
    let (build, made) = (work.join("build"), work.join("image"));
    let on_top = build.join("files");
    for (name, text) in files() {
        host::write(&on_top.join(name), text.as_bytes())?;
    }
    host::write(&on_top.join(image::PATH.trim_start_matches('/')), &image::build()?)?;
    host::write(&build.join("sources"), sources::serving(&sources::codename()?)?.stanza(&[SUITE]).as_bytes())?;
    host::write(&build.join("apt.conf"), of_the_machine()?.as_bytes())?;
    let script = build.join("rootfs.sh");
    host::write(&script, SCRIPT.as_bytes())?;
    // A mount namespace of its own: nothing that is mounted in it stays, however this ends.
    let mut command = host::command("unshare");
    command.args(["--mount", "--", "sh"]).args([&script, &build, &made]).args([SUITE, &PACKAGES.join(",")]);
    host::capture(&mut command).context("making the root file system of a node, which needs root")?;
    host::remove_directory(&build)?;
    host::write(&work.join("recipe"), recipe().as_bytes())
}

/// How the machine reaches the archive: its proxies, and what it says of the archive's signatures.
fn of_the_machine() -> Result<String> {
    host::capture(host::command("apt-config").args(["dump", "--format", "%F \"%v\";%n", "Acquire"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_names_all_that_goes_in() {
        let recipe = recipe();
        let ours = ["ExecStart=", "SystemdCgroup = true", image::NAME, image::PATH];
        for part in PACKAGES.iter().chain(&ours) {
            assert!(recipe.contains(part), "{part}");
        }
        assert!(!recipe.contains("@IMAGE_"), "a place for the container image that nothing was put into");
    }
}

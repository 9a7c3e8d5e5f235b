//! The container image of a node: a static busybox that waits until it is ended, which serves as a pod's sandbox and as its
//! containers.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::guest::Arch;
use crate::image::oci::Parts;
use crate::image::tar::Tar;

/// How containerd knows it. No registry has it: whoever lacks it must fail, and not fetch another.
pub(super) const NAME: &str = "localhost/busybox:1";
/// Where it lies in a node.
pub(super) const PATH: &str = "/usr/share/mount-tracer/busybox.tar";
/// Process 1 is not ended by a signal that it does not handle.
const COMMAND: &str = "trap 'exit 0' INT TERM; while :; do sleep 3600 & wait $!; done";
/// What containers call by name; everything else is `busybox NAME`.
const APPLETS: [&str; 24] = [
    "cat", "chmod", "cp", "dd", "df", "echo", "env", "false", "id", "ln", "ls", "mkdir", "mount", "mv", "ps",
    "readlink", "rm", "sh", "sleep", "stat", "sync", "touch", "true", "umount",
];
const EMPTY: [&str; 6] = ["dev/", "etc/", "proc/", "sys/", "tmp/", "var/"];

/// The image of this machine's static busybox.
pub(super) fn build() -> Result<Vec<u8>> {
    let path = Arch::Amd64.busybox()?;
    let busybox = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let parts = Parts {
        name: NAME,
        arch: Arch::Amd64,
        config: json!({"Env": ["PATH=/bin"], "Cmd": ["/bin/sh", "-c", COMMAND]}),
        annotations: json!({}),
        layer: layer(&busybox),
    };
    Ok(parts.image()?.bytes)
}

fn layer(busybox: &[u8]) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.directory("bin/", 0o755);
    tar.file("bin/busybox", 0o755, busybox);
    for applet in APPLETS {
        tar.link(&format!("bin/{applet}"), "busybox");
    }
    for name in EMPTY {
        tar.directory(name, 0o755);
    }
    tar.finish()
}

//! The container image of a node: a static busybox that waits until it is ended, which serves as a pod's sandbox and as its
//! containers. An archive in OCI's layout with one layer, as containerd and podman import it.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::tar::Tar;
use crate::guest::Arch;
use crate::host;

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
    let layer = Blob::new("application/vnd.oci.image.layer.v1.tar", layer(&busybox))?;
    let config = Blob::of("application/vnd.oci.image.config.v1+json", &config(&layer.digest))?;
    let parts = json!({"schemaVersion": 2, "config": config.descriptor(), "layers": [layer.descriptor()]});
    let manifest = Blob::of("application/vnd.oci.image.manifest.v1+json", &parts)?;
    Ok(layout(&index(&manifest), &[&layer, &config, &manifest]))
}

/// A part of the image, known by its digest.
struct Blob {
    kind: &'static str,
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(kind: &'static str, bytes: Vec<u8>) -> Result<Self> {
        Ok(Self { kind, digest: digest(&bytes)?, bytes })
    }

    fn of(kind: &'static str, value: &Value) -> Result<Self> {
        Self::new(kind, value.to_string().into_bytes())
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.kind, "digest": format!("sha256:{}", self.digest), "size": self.bytes.len()})
    }
}

/// The SHA-256 of some bytes: once a set-up, which is no reason for a crate.
fn digest(bytes: &[u8]) -> Result<String> {
    let mut command = host::command("sha256sum");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start `sha256sum`")?;
    child.stdin.take().context("`sha256sum` has no input")?.write_all(bytes).context("writing to `sha256sum`")?;
    let output = child.wait_with_output().context("waiting for `sha256sum`")?;
    if !output.status.success() {
        bail!("`sha256sum` failed ({})", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
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

/// An uncompressed layer is its own difference to nothing.
fn config(layer: &str) -> Value {
    json!({
        "architecture": Arch::Amd64.name(),
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh", "-c", COMMAND]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
    })
}

/// containerd takes the name from an annotation of its own, podman from that of OCI.
fn index(manifest: &Blob) -> Value {
    let mut descriptor = manifest.descriptor();
    descriptor["annotations"] = json!({"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": NAME});
    json!({"schemaVersion": 2, "manifests": [descriptor]})
}

fn layout(index: &Value, blobs: &[&Blob]) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.file("oci-layout", 0o644, json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes());
    tar.file("index.json", 0o644, index.to_string().as_bytes());
    tar.directory("blobs/", 0o755);
    tar.directory("blobs/sha256/", 0o755);
    for blob in blobs {
        tar.file(&format!("blobs/sha256/{}", blob.digest), 0o644, &blob.bytes);
    }
    tar.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_published_one() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc").unwrap(), abc);
    }

    #[test]
    fn blobs_are_named_by_what_is_in_them() {
        let blob = Blob::of("k", &json!({"a": 1})).unwrap();
        assert_eq!(blob.descriptor()["size"], json!(7));
        let index = index(&blob);
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], json!(NAME));
        let bytes = layout(&index, &[&blob]);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(&format!("blobs/sha256/{}", blob.digest)) && text.contains(r#"{"a":1}"#));
    }

    #[test]
    fn a_layer_is_the_same_each_time() {
        assert_eq!(layer(b"x"), layer(b"x"));
    }
}

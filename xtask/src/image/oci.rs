//! A container image as one archive, in OCI's layout: one layer, its configuration, its manifest, and an index that names it. Made in memory
//! and without a container engine; nothing in it depends on when or where it is made. containerd, podman and skopeo take it.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::tar::Tar;
use crate::guest::Arch;
use crate::host;

/// What an image is made of.
pub(crate) struct Parts<'a> {
    /// How whoever imports it knows it.
    pub(crate) name: &'a str,
    pub(crate) arch: Arch,
    /// How a container of it is run: OCI's `config` of an image configuration.
    pub(crate) config: Value,
    /// What the manifest tells people: OCI's annotations.
    pub(crate) annotations: Value,
    /// The only layer, a tar archive.
    pub(crate) layer: Vec<u8>,
}

/// An image.
pub(crate) struct Image {
    /// SHA-256 of its manifest: what `NAME@sha256:` means.
    pub(crate) digest: String,
    /// The archive.
    pub(crate) bytes: Vec<u8>,
}

impl Parts<'_> {
    pub(crate) fn image(self) -> Result<Image> {
        let layer = Blob::new("application/vnd.oci.image.layer.v1.tar", self.layer)?;
        // An uncompressed layer is its own difference to nothing.
        let config = json!({
            "architecture": self.arch.name(),
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)]},
        });
        let config = Blob::of("application/vnd.oci.image.config.v1+json", &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
            "annotations": self.annotations,
        });
        let manifest = Blob::of(MANIFEST, &manifest)?;
        let bytes = layout(&index(self.name, self.arch, &manifest), &[&layer, &config, &manifest]);
        Ok(Image { digest: manifest.digest, bytes })
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

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

/// The SHA-256 of some bytes: a few times an image, which is no reason for a crate.
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

/// containerd takes the name from an annotation of its own, podman from that of OCI.
fn index(name: &str, arch: Arch, manifest: &Blob) -> Value {
    let mut descriptor = manifest.descriptor();
    descriptor["platform"] = json!({"architecture": arch.name(), "os": "linux"});
    descriptor["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor]})
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

    fn image(layer: &[u8]) -> Image {
        let layer = layer.to_vec();
        let (config, annotations) = (json!({"Cmd": ["/a"]}), json!({"org.opencontainers.image.title": "a"}));
        Parts { name: "localhost/a:1", arch: Arch::Amd64, config, annotations, layer }.image().unwrap()
    }

    #[test]
    fn a_digest_is_the_published_one() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc").unwrap(), abc);
    }

    #[test]
    fn blobs_are_named_by_what_is_in_them() {
        let made = image(b"abc");
        let text = String::from_utf8_lossy(&made.bytes);
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let layer =
            format!(r#""layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{abc}","size":3}}]"#);
        let parts = [
            layer.as_str(),
            &format!(r#""diff_ids":["{abc}"]"#),
            &format!("blobs/sha256/{}", made.digest),
            r#""io.containerd.image.name":"localhost/a:1","org.opencontainers.image.ref.name":"localhost/a:1""#,
            r#""org.opencontainers.image.title":"a""#,
        ];
        for part in parts {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[test]
    fn the_same_content_gives_the_same_image() {
        assert_eq!(image(b"x").bytes, image(b"x").bytes);
        assert_ne!(image(b"x").digest, image(b"y").digest);
    }
}

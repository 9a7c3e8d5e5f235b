//! `cargo xtask image`: the agent's container image as an OCI archive, made without a container engine: the static binary on nothing, and the
//! licences of what is linked into it. Writes one file.
//!
//! The layer is not compressed: an archive is the same whatever compressor a machine has, and clients compress what they push.

mod licences;
pub(crate) mod oci;
pub(crate) mod tar;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use self::oci::{Image, Parts};
use self::tar::Tar;
use crate::guest::Arch;
use crate::{build, host, setup};

/// How the manifests in `deploy` name it. No registry has it: a node that lacks it must not fetch another of that name.
pub(crate) const NAME: &str = concat!("localhost/mount-tracer:", env!("CARGO_PKG_VERSION"));
/// The binary in the image.
const BINARY: &str = "usr/bin/mount-tracer";
/// Our licences, from the workspace's root, and where those of others are.
const OURS: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
const DOCS: &str = "usr/share/doc/mount-tracer";
const OTHERS: &str = "THIRD-PARTY";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to write the archive [default: target/image/mount-tracer-ARCH.tar]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The architecture that it is for
    #[arg(long, value_enum, default_value = "amd64")]
    arch: Arch,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let made = make(options.arch, options.output.as_deref())?;
    println!("image: {NAME} for {}", options.arch.name());
    println!("digest: sha256:{}", made.digest);
    println!("size: {} bytes, of which the binary {}", made.bytes, made.binary);
    println!("archive: {}", made.file.display());
    Ok(ExitCode::SUCCESS)
}

/// An archive that was written.
pub(crate) struct Made {
    pub(crate) file: PathBuf,
    digest: String,
    bytes: usize,
    binary: usize,
}

/// Builds the binary and writes the archive, into `target/image` unless told otherwise.
pub(crate) fn make(arch: Arch, output: Option<&Path>) -> Result<Made> {
    setup::ensure_toolchain(arch)?;
    let built = build::guest_tracer(arch)?;
    let path = built.first().context("cargo built `mount-tracer` but named no executable for it")?;
    let binary = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let Image { digest, bytes } = image(arch, &binary)?;
    let file = match output {
        Some(file) => file.to_owned(),
        None => host::root()?.join(format!("target/image/mount-tracer-{}.tar", arch.name())),
    };
    host::write(&file, &bytes)?;
    Ok(Made { file, digest, bytes: bytes.len(), binary: binary.len() })
}

fn image(arch: Arch, binary: &[u8]) -> Result<Image> {
    let root = host::root()?;
    let mut docs = Vec::new();
    for name in OURS {
        let path = root.join(name);
        docs.push((name, fs::read(&path).with_context(|| format!("reading {}", path.display()))?));
    }
    docs.push((OTHERS, licences::of_what_is_linked(&root, arch)?.into_bytes()));
    let layer = layer(binary, &docs);
    Parts { name: NAME, arch, config: config(), annotations: annotations(), layer }.image()
}

/// No directory for temporary files, no certificates, no users: the agent needs none of them.
fn layer(binary: &[u8], docs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Tar::default();
    for directory in ["usr/", "usr/bin/"] {
        tar.directory(directory, 0o755);
    }
    tar.file(BINARY, 0o755, binary);
    for directory in ["usr/share/", "usr/share/doc/", &format!("{DOCS}/")] {
        tar.directory(directory, 0o755);
    }
    for (name, text) in docs {
        tar.file(&format!("{DOCS}/{name}"), 0o644, text);
    }
    tar.finish()
}

/// A path to find it by, for whoever runs another command of it in the container.
fn config() -> Value {
    json!({"Env": ["PATH=/usr/bin"], "Entrypoint": [format!("/{BINARY}")], "WorkingDir": "/"})
}

/// OCI's predefined annotations, those that are the same on each machine.
fn annotations() -> Value {
    json!({
        "org.opencontainers.image.title": "mount-tracer",
        "org.opencontainers.image.description":
            "Sees every mount of a Linux node as it happens, and limits the disks of pods' volumes",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_has_nothing_but_the_binary_and_licences() {
        let bytes = layer(b"binary", &[("LICENSE-MIT", b"text".to_vec())]);
        let names = bytes.chunks(512).filter(|block| block[257..].starts_with(b"ustar"));
        let name = |block: &[u8]| String::from_utf8_lossy(&block[..100]).trim_end_matches('\0').to_owned();
        let expected = [
            "usr/",
            "usr/bin/",
            BINARY,
            "usr/share/",
            "usr/share/doc/",
            "usr/share/doc/mount-tracer/",
            "usr/share/doc/mount-tracer/LICENSE-MIT",
        ];
        assert_eq!(names.map(name).collect::<Vec<_>>(), expected);
        assert_eq!(bytes, layer(b"binary", &[("LICENSE-MIT", b"text".to_vec())]));
    }

    #[test]
    fn the_manifest_asks_for_this_image() {
        let manifest = include_str!("../../deploy/kustomize/base/daemonset.yaml");
        let images: Vec<&str> = manifest.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
        assert_eq!(images, [NAME]);
    }

    #[test]
    fn it_begins_with_what_the_layer_has() {
        assert_eq!(config()["Entrypoint"], json!(["/usr/bin/mount-tracer"]));
    }
}

//! Reads the machine's own apt sources (both formats), so that a suite of ours can be asked from the same archive with
//! the same keys. Reads files, changes none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Where a suite comes from: what we take over from the machine's source list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    uri: String,
    /// The whole value: a path, or a key in place over several lines.
    signed_by: Option<String>,
    suites: Vec<String>,
}

impl Source {
    /// A deb822 stanza that asks this archive for other suites.
    pub(crate) fn stanza(&self, suites: &[&str]) -> String {
        let signed = self.signed_by.as_ref().map(|keys| format!("Signed-By: {keys}\n")).unwrap_or_default();
        format!("Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n{signed}\n", self.uri, suites.join(" "))
    }
}

/// The release this machine runs, like `bookworm`.
pub(crate) fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("reading /etc/os-release: is this Debian?")?;
    let value = |key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim_matches('"').to_owned()));
    if value("ID=").as_deref() != Some("debian") {
        bail!("this machine is not Debian; packages and kernels come from Debian's archive only");
    }
    value("VERSION_CODENAME=").context("/etc/os-release has no VERSION_CODENAME; set it to the Debian release's name")
}

/// The source that serves a suite on this machine.
pub(crate) fn serving(suite: &str) -> Result<Source> {
    let all = all();
    all.into_iter().find(|source| source.suites.iter().any(|name| name == suite)).with_context(|| {
        format!("no apt source of this machine serves `{suite}`; add Debian's archive to /etc/apt/sources.list.d")
    })
}

/// The files in `sources.list.d` that apt reads.
pub(crate) fn parts() -> Vec<PathBuf> {
    let entries = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_source(path)).collect();
    files.sort();
    files
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "list" || extension == "sources")
}

fn all() -> Vec<Source> {
    let mut files = parts();
    files.push(PathBuf::from("/etc/apt/sources.list"));
    let parse = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "sources") { deb822(&text) } else { one_line(&text) }
    };
    files.iter().flat_map(parse).collect()
}

fn deb822(text: &str) -> Vec<Source> {
    let clean: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    clean.split(|line| line.trim().is_empty()).filter_map(stanza).collect()
}

fn stanza(lines: &[&str]) -> Option<Source> {
    let off = field(lines, "enabled").is_some_and(|value| value == "no");
    let binary = field(lines, "types")?.split_whitespace().any(|kind| kind == "deb");
    let uri = field(lines, "uris")?.split_whitespace().next()?.to_owned();
    let suites = field(lines, "suites")?.split_whitespace().map(String::from).collect();
    (binary && !off).then(|| Source { uri, signed_by: field(lines, "signed-by"), suites })
}

/// A field with its continuation lines.
fn field(lines: &[&str], key: &str) -> Option<String> {
    let matches = |line: &&str| line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case(key));
    let at = lines.iter().position(matches)?;
    let first = lines[at].split_once(':')?.1.trim().to_owned();
    let more = lines[at + 1..].iter().take_while(|line| line.starts_with([' ', '\t']));
    Some(more.fold(first, |text, line| format!("{text}\n{line}")))
}

fn one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_source).collect()
}

fn one_source(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb ")?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(tail) => tail.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(String::from);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(String::from);
    Some(Source { uri: words.next()?, signed_by, suites: vec![words.next()?] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_deb822_with_comments_and_two_stanzas() {
        let text = "Types: deb\n# old\nURIs: http://a/debian\nSuites: x x-updates\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://b\nSuites: y\n";
        let found = deb822(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].suites, ["x", "x-updates"]);
        assert!(found[0].stanza(&["z"]).contains("URIs: http://a/debian\nSuites: z\n"));
        assert!(found[0].stanza(&["z"]).contains("Signed-By: /k.gpg\n"));
        assert!(!found[1].stanza(&["z"]).contains("Signed-By"));
    }

    #[test]
    fn keeps_a_key_in_place_and_skips_disabled_and_source_stanzas() {
        let text = "Types: deb\nURIs: u\nSuites: s\nSigned-By:\n -----BEGIN\n .\n -----END\n\nEnabled: no\nTypes: deb\nURIs: v\nSuites: t\n\nTypes: deb-src\nURIs: w\nSuites: s\n";
        let found = deb822(text);
        assert_eq!(found.len(), 1);
        assert!(found[0].stanza(&["z"]).contains("Signed-By: \n -----BEGIN\n .\n -----END\n"));
    }

    #[test]
    fn reads_one_line_sources() {
        let found = one_line(
            "# c\ndeb [arch=amd64 signed-by=/k] http://a/debian x main\ndeb http://b y main\ndeb-src http://b y main\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].signed_by.as_deref(), Some("/k"));
        assert_eq!(found[1].uri, "http://b");
    }
}

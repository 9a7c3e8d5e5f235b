//! Filters as typed -> a [`Filter`]; one that can match nothing is refused, with what may be meant.

use std::path::{Component, PathBuf};

mod labels;

use self::labels::{LabelPattern, label, labels};
use super::nearest::{nearest, or_one_of};
use crate::{
    glob::Glob,
    operation::Op,
    output::{
        escape::escape,
        filter::{Filter, List},
    },
};

/// How lists are written, under the flags in `--help`.
macro_rules! lists {
    ($more:literal) => {
        concat!(
            "A list is separated by commas, and one of its items must match; with `!` in front, an item excludes. All \
             filters that are given must match. In names and paths `*` stands for any characters, `/` among them, and `?` for one; \
             both are compared with the text as it is printed.",
            $more
        )
    };
}

/// Under the flags of `trace`.
pub const HELP: &str = lists!(" A loss (`gap`) is hidden by --event alone.");
/// Under the flags of a subcommand that shows mounts alone.
pub const MOUNTS_HELP: &str = lists!("");

/// The largest process id: `PID_MAX_LIMIT` of `linux/threads.h`.
const PID_MAX: u32 = 4 << 20;
/// Bytes of a thread's name that the kernel keeps: `TASK_COMM_LEN` of `linux/sched.h` without its end.
const COMM_MAX: usize = 15;
/// Operations of no call: they cannot fail.
const NEVER_FAIL: [Op; 4] = [Op::NamespaceCreated, Op::NamespaceDestroyed, Op::Automount, Op::Expired];

/// The flags.
// Flattened into another struct of this name, whose group it would take.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters")]
#[group(skip)]
pub struct Args {
    /// The process that acts, by its id in the initial pid namespace
    #[arg(short, long, value_delimiter = ',', value_name = "PID", value_parser = item(pid))]
    pid: Vec<Item<u32>>,
    /// The name of the thread that acts, at most 15 bytes: kubelet, 'runc*'
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = item(comm))]
    comm: Vec<Item<Pattern>>,
    /// A mount namespace that is touched, by inode number as in /proc/PID/ns/mnt
    #[arg(long, value_delimiter = ',', value_name = "INODE", value_parser = item(inode))]
    mntns: Vec<Item<u32>>,
    #[command(flatten)]
    mounts: MountArgs,
    /// The kind of operation: mount, bind, umount, 'namespace_*'
    #[arg(short, long, value_delimiter = ',', value_name = "EVENT", value_parser = item(event))]
    event: Vec<Item<Vec<Op>>>,
    /// Only calls that failed
    #[arg(short = 'x', long)]
    failed: bool,
}

/// The flags about mounts, of every subcommand that shows some.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters")]
#[group(skip)]
pub struct MountArgs {
    /// The file system: ext4, 'fuse*', '!tmpfs'
    #[arg(short = 't', long, value_delimiter = ',', value_name = "TYPE", value_parser = item(pattern))]
    fstype: Vec<Item<Pattern>>,
    /// What is mounted: /dev/sdb, 'nas:*'
    #[arg(long, value_delimiter = ',', value_name = "SOURCE", value_parser = item(pattern))]
    source: Vec<Item<Pattern>>,
    /// Where it is, from its namespace's root: /mnt, '/var/lib/kubelet/*'
    #[arg(long, value_delimiter = ',', value_name = "PATH", value_parser = item(path))]
    target: Vec<Item<Pattern>>,
    /// The namespace of the pod whose it is: default, 'team-*'
    #[arg(short, long, value_delimiter = ',', value_name = "NAMESPACE", value_parser = item(pattern))]
    namespace: Vec<Item<Pattern>>,
    /// The pod whose it is, by its name or uid
    #[arg(long, value_delimiter = ',', value_name = "POD", value_parser = item(pattern))]
    pod: Vec<Item<Pattern>>,
    /// The container whose it is, by its name, its id or the first twelve digits of that
    #[arg(short, long, value_delimiter = ',', value_name = "CONTAINER", value_parser = item(pattern))]
    container: Vec<Item<Pattern>>,
    /// A label of the pod whose it is: app=web, 'tier=b*', app for any value
    #[arg(short = 'l', long, value_delimiter = ',', value_name = "KEY[=VALUE]", value_parser = item(label))]
    label: Vec<Item<LabelPattern>>,
}

/// An item of a list.
#[derive(Clone, Debug)]
struct Item<T> {
    excludes: bool,
    what: T,
}

/// A glob that can match something.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    glob: Glob,
}

impl Args {
    /// What they say, or why they cannot be meant.
    pub fn validated(&self) -> Result<Filter, String> {
        let filter = Filter {
            pid: list("--pid", &self.pid, u32::eq)?,
            comm: globs("--comm", &self.comm)?,
            mntns: list("--mntns", &self.mntns, u32::eq)?,
            event: events(&self.event)?,
            failed: self.failed,
            ..self.mounts.validated()?
        };
        let include = &filter.event.include;
        if self.failed && !include.is_empty() && include.iter().all(|op| NEVER_FAIL.contains(op)) {
            return Err("--failed leaves nothing of --event: what it names is no call and cannot fail".to_owned());
        }
        Ok(filter)
    }
}

impl MountArgs {
    /// What they say, or why they cannot be meant.
    pub fn validated(&self) -> Result<Filter, String> {
        Ok(Filter {
            fstype: globs("--fstype", &self.fstype)?,
            source: globs("--source", &self.source)?,
            target: globs("--target", &self.target)?,
            namespace: globs("--namespace", &self.namespace)?,
            label: labels(&self.label)?,
            pod: globs("--pod", &self.pod)?,
            container: globs("--container", &self.container)?,
            ..Filter::default()
        })
    }

    /// The file system that may be meant by one that is not among these.
    pub fn meant<'a>(&self, fstypes: &[&'a str]) -> Option<&'a str> {
        let unknown = |item: &&Item<Pattern>| !item.excludes && !fstypes.iter().any(|one| item.what.glob.matches(one));
        self.fstype.iter().filter(unknown).find_map(|item| nearest(&item.what.text, fstypes))
    }
}

/// A parser for one item: `!` in front excludes.
fn item<T>(parse: impl Fn(&str) -> Result<T, String> + Clone) -> impl Fn(&str) -> Result<Item<T>, String> + Clone {
    move |text| match text.strip_prefix('!') {
        Some("") => Err("nothing stands behind the `!`; write what to exclude".to_owned()),
        None if text.is_empty() => Err("an item of the list is empty; leave out one comma".to_owned()),
        Some(what) => Ok(Item { excludes: true, what: parse(what)? }),
        None => Ok(Item { excludes: false, what: parse(text)? }),
    }
}

/// The items of a flag, unless those that exclude take away all that it names.
fn list<T: Clone>(flag: &str, items: &[Item<T>], covers: impl Fn(&T, &T) -> bool) -> Result<List<T>, String> {
    let (exclude, include): (Vec<_>, Vec<_>) = items.iter().cloned().partition(|item| item.excludes);
    let what = |items: Vec<Item<T>>| items.into_iter().map(|item| item.what).collect();
    let list: List<T> = List { include: what(include), exclude: what(exclude) };
    let gone = |one: &T| list.exclude.iter().any(|other| covers(other, one));
    if !list.include.is_empty() && list.include.iter().all(gone) {
        return Err(format!("{flag} can match nothing: it excludes all that it names; leave out one of the two"));
    }
    Ok(list)
}

fn globs(flag: &str, items: &[Item<Pattern>]) -> Result<List<Glob>, String> {
    let List { include, exclude } = list(flag, items, Pattern::covers)?;
    let globs = |patterns: Vec<Pattern>| patterns.into_iter().map(|pattern| pattern.glob).collect();
    Ok(List { include: globs(include), exclude: globs(exclude) })
}

/// A pattern names several.
fn events(items: &[Item<Vec<Op>>]) -> Result<List<Op>, String> {
    let each = |item: &Item<Vec<Op>>| {
        let excludes = item.excludes;
        item.what.iter().map(move |op| Item { excludes, what: *op }).collect::<Vec<_>>()
    };
    let list = list("--event", &items.iter().flat_map(each).collect::<Vec<_>>(), Op::eq)?;
    if Op::ALL.iter().all(|op| list.exclude.contains(op)) {
        return Err("--event can match nothing: it excludes every kind of operation; leave out one".to_owned());
    }
    Ok(list)
}

impl Pattern {
    /// Whether all texts that the other matches are certainly among those that this one does.
    fn covers(&self, other: &Self) -> bool {
        // The other's wildcards stand for themselves here; only a `?` would wrongly take a `*` for one character.
        self.text == other.text
            || !(self.text.contains('?') && other.text.contains('*')) && self.glob.matches(&other.text)
    }
}

fn pid(text: &str) -> Result<u32, String> {
    number(text, &format!("did you mean `--comm {text}`?"))
}

/// A process id, or why it is none, with the remedy for what is no number.
pub(super) fn number(text: &str, remedy: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(pid @ 1..=PID_MAX) => Ok(pid),
        Ok(_) => Err(format!("no process has this id; write a number from 1 to {PID_MAX}")),
        Err(_) => Err(format!("a process id is a number from 1 to {PID_MAX}; {remedy}")),
    }
}

pub(super) fn inode(text: &str) -> Result<u32, String> {
    // As `readlink /proc/PID/ns/mnt` prints it.
    let number = text.strip_prefix("mnt:[").and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    number.parse().map_err(|_| "write the number that `readlink /proc/PID/ns/mnt` shows in brackets".to_owned())
}

fn event(text: &str) -> Result<Vec<Op>, String> {
    let glob = Glob::new(text);
    let named: Vec<Op> = Op::ALL.iter().copied().filter(|op| glob.matches(op.name())).collect();
    if named.is_empty() {
        let known: Vec<&str> = Op::ALL.iter().map(|op| op.name()).collect();
        return Err(format!("there is no such event; {}", or_one_of(text, &known)));
    }
    Ok(named)
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let printed = as_printed(text);
    if printed != text {
        return Err(format!("backslashes and control characters are printed as \\xNN; did you mean `{printed}`?"));
    }
    Ok(Pattern { text: text.to_owned(), glob: Glob::new(text) })
}

fn comm(text: &str) -> Result<Pattern, String> {
    let pattern = pattern(text)?;
    let bytes = text.replace('*', "").len() - 3 * text.matches("\\x").count();
    if bytes <= COMM_MAX {
        return Ok(pattern);
    }
    let mut kept = String::new();
    kept.extend(text.chars().scan(0, |bytes, c| {
        *bytes += c.len_utf8();
        (*bytes <= COMM_MAX).then_some(c)
    }));
    Err(format!("the kernel keeps {COMM_MAX} bytes of a name; did you mean `{kept}`?"))
}

fn path(text: &str) -> Result<Pattern, String> {
    if !text.starts_with(['/', '*', '?']) {
        let rest = text.trim_start_matches("./");
        return Err(format!("paths begin at the namespace's root; did you mean `/{rest}` or `*/{rest}`?"));
    }
    let path = PathBuf::from(text);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("the kernel's paths have no `..`; write the directory itself".to_owned());
    }
    // Without slashes that are doubled or at the end: no path of the kernel has them.
    pattern(&path.components().collect::<PathBuf>().to_string_lossy())
}

/// As [`escape`] prints it, with what is escaped already left alone.
fn as_printed(text: &str) -> String {
    let mut parts = text.split("\\x");
    let mut printed = escape(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        match part.split_at_checked(2) {
            Some((digits, rest)) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                printed = format!("{printed}\\x{}{}", digits.to_lowercase(), escape(rest.as_bytes()));
            }
            _ => printed += &escape(format!("\\x{part}").as_bytes()),
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        filter: Args,
    }

    fn typed(flags: &[&str]) -> Result<Filter, String> {
        let words = ["trace"].iter().chain(flags);
        Typed::try_parse_from(words).map_err(|error| error.to_string())?.filter.validated()
    }

    fn refusal(flags: &[&str]) -> String {
        typed(flags).expect_err(&format!("{flags:?} must be refused"))
    }

    #[test]
    fn lists_and_exclusions_are_read() {
        let filter = typed(&["-p", "1,!2", "--pid", "3", "-e", "mount,namespace_*,!gap", "-x"]).unwrap();
        assert_eq!((filter.pid.include, filter.pid.exclude), (vec![1, 3], vec![2]));
        assert_eq!(filter.event.include, [Op::Mount, Op::NamespaceCreated, Op::NamespaceDestroyed]);
        assert_eq!(filter.event.exclude, [Op::Gap]);
        assert!(filter.failed);
        let filter = typed(&["--mntns", "4026531841,mnt:[4026532444]"]).unwrap();
        assert_eq!(filter.mntns.include, [4_026_531_841, 4_026_532_444]);
    }

    #[test]
    fn what_can_match_nothing_is_refused_with_what_may_be_meant() {
        for (flags, remedy) in [
            (vec!["-e", "mounts"], "did you mean `mount`?"),
            (vec!["-e", "unmount"], "did you mean `umount`?"),
            (vec!["-e", "x*"], "write one of: mount, bind"),
            (vec!["-p", "kubelet"], "did you mean `--comm kubelet`?"),
            (vec!["-p", "0"], "from 1 to 4194304"),
            (vec!["-p", "4194305"], "from 1 to 4194304"),
            (vec!["-p", "1,,2"], "leave out one comma"),
            (vec!["--mntns", "host"], "readlink /proc/PID/ns/mnt"),
            (vec!["--comm", "kube-controller-manager"], "did you mean `kube-controller`?"),
            (vec!["--comm", "!"], "write what to exclude"),
            (vec!["--target", "mnt/data"], "did you mean `/mnt/data` or `*/mnt/data`?"),
            (vec!["--target", "/mnt/../data"], "no `..`"),
            (vec!["--source", "a\\b"], "did you mean `a\\x5cb`?"),
            (vec!["--source", "a\tb\\xFF"], "did you mean `a\\x09b\\xff`?"),
            (vec!["--fstype", ""], "leave out one comma"),
            (vec!["-l", "a*=web"], "only the value may have wildcards"),
            (vec!["-l", "=web"], "write a label's key"),
            (vec!["-l", "app=web,!app"], "--label can match nothing"),
            (vec!["-n", "team-a,!team-*"], "--namespace can match nothing"),
            (vec!["-p", "1,!1"], "--pid can match nothing"),
            (vec!["-t", "fuse.*,ext4,!ext4,!fuse*"], "--fstype can match nothing"),
            (vec!["-e", "mount,!*"], "--event can match nothing"),
            (vec!["-e", "!*"], "--event can match nothing"),
            (vec!["-x", "-e", "namespace_*"], "--failed leaves nothing of --event"),
        ] {
            let why = refusal(&flags);
            assert!(why.contains(remedy), "{flags:?}: {why}");
        }
    }

    #[test]
    fn what_can_match_something_is_not_refused() {
        for flags in [
            vec!["--comm", "kube-controller"],
            vec!["--comm", "kube-con*manager"],
            vec!["--comm", "\\x1b\\x1b\\x1b\\x1b\\x1b"],
            vec!["-t", "fuse*,!fuse.?"],
            vec!["-t", "f*,!f?"],
            vec!["-x", "-e", "namespace_*,mount"],
            vec!["-x", "-e", "gap"],
            vec!["--target", "*/mount"],
            vec!["-l", "app,!app=web"],
            vec!["--source", "[fe80::1]:/export"],
        ] {
            assert!(typed(&flags).is_ok(), "{flags:?}: {}", refusal(&flags));
        }
    }

    #[test]
    fn a_path_loses_the_slashes_that_mean_nothing() {
        assert!(typed(&["--target", "/mnt//data/"]).unwrap().target.include[0].matches("/mnt/data"));
        assert!(typed(&["--target", "/"]).unwrap().target.include[0].matches("/"));
    }
}

//! `mount-tracer list`: flags -> which mount tables, and how they look. Needs no probes.

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
    process::ExitCode,
};

use super::{
    EXIT_USAGE, filter,
    look::{self, Form, Output},
};
use crate::{
    agent::{self, CGROUP_ROOT},
    host::{
        block::Block,
        mount_disks,
        mount_tables::{self, Roots, Tables, Which},
    },
    listed::MountTable,
    output::{
        columns,
        escape::escape,
        filter::Filter,
        grid::{Choice, Look},
        json,
        listing::{self, Frame, Mounts},
        say::{chain, line, note},
        show::{print, terminal_width},
    },
};

/// Where the kubelet keeps its volumes unless it was told otherwise: its disk is one that the node needs.
const KUBELET_DIR: &str = "/var/lib/kubelet";

/// Flags of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = filter::MOUNTS_HELP)]
pub struct Args {
    /// The mount table of this process or thread, as it sees it
    #[arg(short, long, value_name = "PID", value_parser = pid, conflicts_with_all = ["mntns", "all"])]
    pid: Option<u32>,
    /// That of a mount namespace, by inode number as in /proc/PID/ns/mnt
    #[arg(long, value_name = "INODE", value_parser = filter::inode, conflicts_with = "all")]
    mntns: Option<u32>,
    /// Those of every mount namespace of the node
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    runtime: super::node::Runtime,
    #[command(flatten)]
    form: Form,
    /// Only these columns: TARGET,OPTIONS; or, with a plus, these too: +ID,PARENT
    #[arg(long, value_name = "COLUMNS", value_parser = look::choice::<Mounts>)]
    columns: Option<Choice<Mounts>>,
    /// No tree, in the kernel's order; a filter makes it flat too
    #[arg(long)]
    flat: bool,
    #[command(flatten)]
    filter: filter::MountArgs,
}

/// Runs it.
pub fn run(args: &Args) -> ExitCode {
    if args.form.list_columns {
        columns::list::<Mounts>().iter().for_each(line);
        return ExitCode::SUCCESS;
    }
    let validated = args.filter.validated().and_then(|filter| Ok((args.look(&filter)?, filter)));
    let (look, filter) = match validated {
        Ok(validated) => validated,
        Err(why) => {
            note(format_args!("mount-tracer: {why}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let roots = Roots { proc: Path::new("/proc"), cgroups: Path::new(CGROUP_ROOT) };
    match mount_tables::read(roots, args.which()) {
        Ok(tables) => args.show(tables, &look, &filter),
        Err(error) => {
            note(format_args!("mount-tracer: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn which(&self) -> Which {
        match (self.all, self.mntns, self.pid) {
            (true, ..) => Which::All,
            (_, Some(inum), _) => Which::Namespace(inum),
            (.., Some(pid)) => Which::Process(pid),
            _ => Which::Own,
        }
    }

    /// Where a filter takes mounts away, nothing is left to stand below.
    fn look(&self, filter: &Filter) -> Result<Look<Mounts>, String> {
        let tree = !self.flat && filter.wants_all_mounts();
        self.form.look(self.columns.as_ref(), tree, &[("--flat", self.flat)])
    }

    fn show(&self, Tables { mut tables, mut notes }: Tables, look: &Look<Mounts>, filter: &Filter) -> ExitCode {
        if self.needs_names(look, filter) {
            agent::name_all(tables.iter_mut().filter_map(|table| table.task.as_mut()), self.runtime.socket());
        }
        if self.needs_disks(look) {
            let block = Block::new("/sys", "/proc");
            notes.extend(mount_disks::look_up(&mut tables, Path::new("/proc"), &block, Path::new(KUBELET_DIR)));
        }
        for words in &notes {
            note(format_args!("mount-tracer: {words}"));
        }
        if let Some(words) = self.leave_wanted(&mut tables, filter) {
            note(format_args!("mount-tracer: {words}"));
            return ExitCode::FAILURE;
        }
        match self.print(&tables, look) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                note(format_args!("mount-tracer: cannot write the list to the standard output: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    /// Whether anything of a runtime is shown or asked for: it may be slow to answer.
    fn needs_names(&self, look: &Look<Mounts>, filter: &Filter) -> bool {
        let of_owner = ["NAMESPACE", "POD", "CONTAINER"];
        let (Choice::Only(columns) | Choice::Plus(columns)) = &look.choice;
        let shown = columns.iter().any(|column| of_owner.contains(&column.name));
        let headed = self.all && look.tree;
        shown || headed || self.form.output == Output::Json || !filter.wants_everybody()
    }

    /// Whether any disk is shown: they are looked up in sysfs.
    fn needs_disks(&self, look: &Look<Mounts>) -> bool {
        let of_disks = ["DISK", "PROTECTED"];
        let (Choice::Only(columns) | Choice::Plus(columns)) = &look.choice;
        let shown = columns.iter().any(|column| of_disks.contains(&column.name));
        let wide = look.wide && matches!(look.choice, Choice::Plus(_));
        shown || wide || self.form.output == Output::Json
    }

    /// Takes away what the filter does not want; what to say when nothing is left, as findmnt fails then too.
    fn leave_wanted(&self, tables: &mut Vec<MountTable>, filter: &Filter) -> Option<String> {
        if filter.wants_all_mounts() {
            return None;
        }
        let mounts = tables.iter().flat_map(|table| &table.mounts);
        let fstypes: Vec<String> = mounts.map(|listed| escape(&listed.mount.fstype)).collect();
        let owner = |table: &MountTable| {
            let owners: Vec<_> = table.task.iter().map(|task| (&task.owner, task.named.as_ref())).collect();
            filter.wants_owners(&owners)
        };
        tables.retain(owner);
        for table in tables.iter_mut() {
            table.mounts.retain(|listed| filter.wants(&listed.mount));
        }
        tables.retain(|table| !table.mounts.is_empty());
        if !tables.is_empty() {
            return None;
        }
        let known: Vec<&str> = fstypes.iter().map(String::as_str).collect();
        let meant = self.filter.meant(&known).map(|word| format!("; did you mean `--fstype {word}`?"));
        Some(format!("no mount of {} is what the filters ask for{}", known.len(), meant.unwrap_or_default()))
    }

    fn print(&self, tables: &[MountTable], look: &Look<Mounts>) -> io::Result<()> {
        let frame = Frame { several: self.all, head: !self.form.no_headers, width: terminal_width() };
        let lines = match self.form.output {
            Output::Json => objects(tables)?,
            Output::Table | Output::Wide => listing::lines(tables, look, frame),
        };
        let mut out = BufWriter::new(io::stdout());
        print(&mut out, lines)?;
        match out.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

fn pid(text: &str) -> Result<u32, String> {
    filter::number(text, &format!("`pgrep {text}` prints those of a name"))
}

fn objects(tables: &[MountTable]) -> io::Result<Vec<String>> {
    let each = |table: &MountTable| {
        let task = table.task.clone();
        table.mounts.iter().map(move |listed| json::listed_line(listed, task.as_ref())).collect::<Vec<_>>()
    };
    tables.iter().flat_map(each).map(|line| line.map_err(io::Error::from)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        list: Args,
    }

    fn typed(flags: &[&str]) -> Result<Args, String> {
        let words = ["list"].iter().chain(flags);
        Ok(Typed::try_parse_from(words).map_err(|error| error.to_string())?.list)
    }

    fn look(flags: &[&str]) -> Result<Look<Mounts>, String> {
        let args = typed(flags)?;
        args.look(&args.filter.validated()?)
    }

    #[test]
    fn one_of_the_namespaces_is_chosen() {
        assert_eq!(typed(&[]).unwrap().which(), Which::Own);
        assert_eq!(typed(&["-p", "7"]).unwrap().which(), Which::Process(7));
        assert_eq!(typed(&["--mntns", "mnt:[4026532444]"]).unwrap().which(), Which::Namespace(4_026_532_444));
        assert_eq!(typed(&["--all"]).unwrap().which(), Which::All);
        for both in [vec!["-p", "7", "--all"], vec!["-p", "7", "--mntns", "8"], vec!["--all", "--mntns", "8"]] {
            assert!(typed(&both).unwrap_err().contains("cannot be used with"), "{both:?}");
        }
    }

    #[test]
    fn a_tree_unless_something_makes_it_flat() {
        assert!(look(&[]).unwrap().tree);
        assert!(!look(&["--flat"]).unwrap().tree);
        assert!(!look(&["-t", "ext4"]).unwrap().tree);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_may_be() {
        for (flags, remedy) in [
            (vec!["--columns", "TARGTE"], "did you mean `TARGET`?"),
            (vec!["--target", "mnt"], "did you mean `/mnt`"),
            (vec!["-t", "ext4,!ext4"], "--fstype can match nothing"),
            (vec!["-p", "0"], "from 1 to"),
            (vec!["-p", "kubelet"], "`pgrep kubelet`"),
            (vec!["--mntns", "host"], "readlink /proc/PID/ns/mnt"),
            (vec!["-o", "json", "--flat"], "leave out --flat"),
            (vec!["-o", "json", "--columns", "ID"], "leave out --columns"),
        ] {
            let why = look(&flags).expect_err("it must be refused");
            assert!(why.contains(remedy), "{flags:?}: {why}");
        }
    }

    #[test]
    fn a_file_system_that_is_not_there_has_a_neighbour() {
        let filter = typed(&["-t", "xt4,!proc"]).unwrap().filter;
        assert_eq!(filter.meant(&["proc", "ext4"]), Some("ext4"));
        assert_eq!(typed(&["-t", "e*"]).unwrap().filter.meant(&["proc", "ext4"]), None);
    }
}

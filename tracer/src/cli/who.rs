//! `mount-tracer who`: flags -> what is asked about, and how its holders look. Needs no probes.

mod claims;
mod sought;

use std::{
    io::{self, BufWriter},
    path::Path,
    process::ExitCode,
};

use self::sought::{Sought, SoughtError};
use super::{
    EXIT_USAGE,
    look::{self, Form, Output},
};
use crate::{
    agent::{self, CGROUP_ROOT},
    holders::{self, Holder, Process, Seen, Target},
    host::{
        block_users,
        mount_tables::{self, Roots, TableError, Which},
        namespaces, references,
    },
    listed::{Listed, MountTable},
    output::{
        columns,
        grid::{Choice, Look},
        holding::{self, Asked, Holders},
        json,
        say::{chain, line, note},
        show::{print, terminal_width},
    },
};

const PROC: &str = "/proc";
const SYS: &str = "/sys";

/// Flags of `who`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("sought").required(true).args(["name", "path", "device", "mount", "claim", "list_columns"]))]
pub struct Args {
    /// A path, or the node of a block device: both begin with a slash
    #[arg(value_name = "PATH|DEVICE")]
    name: Option<String>,
    /// The mount that this path lies on, as this process sees it
    #[arg(long)]
    path: Option<String>,
    /// A block device with its partitions, by its node or as MAJOR:MINOR
    #[arg(long)]
    device: Option<String>,
    /// A mount in any namespace, by its id: of mountinfo, or the one that is never used again
    #[arg(long, value_name = "ID")]
    mount: Option<u64>,
    /// A PersistentVolumeClaim of a pod of this node, as a running agent knows it
    #[arg(long, value_name = "NAMESPACE/NAME")]
    claim: Option<String>,
    #[command(flatten)]
    runtime: super::node::Runtime,
    #[command(flatten)]
    form: Form,
    /// Only these columns: PID,PATH; or, with a plus, these too: +DO
    #[arg(long, value_name = "COLUMNS", value_parser = look::choice::<Holders>)]
    columns: Option<Choice<Holders>>,
}

/// Runs it.
pub fn run(args: &Args) -> ExitCode {
    if args.form.list_columns {
        columns::list::<Holders>().iter().for_each(line);
        return ExitCode::SUCCESS;
    }
    let validated = args.form.look(args.columns.as_ref(), false, &[]).and_then(|look| Ok((look, args.sought()?)));
    let (look, sought) = match validated {
        Ok(validated) => validated,
        Err(why) => {
            note(format_args!("mount-tracer: {why}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match args.look_for(&sought, &look) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("mount-tracer: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum WhoError {
    /// What was asked about is not there.
    #[error(transparent)]
    Sought(#[from] SoughtError),
    /// The mount tables cannot be read.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// The node cannot be looked at.
    #[error("cannot look through {what}; run as root with the host's /proc and /sys (hostPID: true)")]
    Look {
        /// `/proc` or `/sys/class/block`.
        what: &'static str,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// Nobody reads the answer.
    #[error("cannot write the answer to the standard output")]
    Output(#[source] io::Error),
}

impl Args {
    fn sought(&self) -> Result<Sought, String> {
        if let Some(claim) = &self.claim {
            return Sought::of_claim(claim);
        }
        match (&self.name, &self.path, &self.device, self.mount) {
            (Some(name), ..) => Sought::of_name(name),
            (_, Some(path), ..) => Sought::of_path(path),
            (_, _, Some(device), _) => Sought::of_device(device),
            (.., Some(id)) => Ok(Sought::Mount(id)),
            // One of them is required.
            _ => Err("say what is held: a path, a device, --mount ID or --claim NAMESPACE/NAME".to_owned()),
        }
    }

    fn look_for(&self, sought: &Sought, look: &Look<Holders>) -> Result<(), WhoError> {
        let roots = Roots { proc: Path::new(PROC), cgroups: Path::new(CGROUP_ROOT) };
        let tables = mount_tables::read(roots, Which::All)?;
        for words in &tables.notes {
            note(format_args!("mount-tracer: {words}"));
        }
        let target = sought.find(&tables.tables, Path::new(SYS))?;
        let mut seen = see(roots, &target, tables.tables)?;
        let of_tables = seen.tables.iter_mut().filter_map(|table| table.task.as_mut());
        agent::name_all(
            of_tables.chain(seen.processes.iter_mut().map(|process| &mut process.task)),
            self.runtime.socket(),
        );
        let holders = holders::holders(&target, &seen);
        self.print(
            &Asked { typed: &sought.typed(), target: &target, mount: meant(&target, &seen.tables) },
            &holders,
            look,
        )
    }

    fn print(&self, asked: &Asked<'_>, holders: &[Holder<'_>], look: &Look<Holders>) -> Result<(), WhoError> {
        let lines = match self.form.output {
            Output::Json => holders
                .iter()
                .map(|holder| json::holder_line(asked.typed, asked.target, holder))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| WhoError::Output(error.into()))?,
            Output::Table | Output::Wide => {
                holding::lines(asked, holders, look, !self.form.no_headers, terminal_width())
            }
        };
        print(&mut BufWriter::new(io::stdout()), lines).map_err(WhoError::Output)?;
        Ok(())
    }
}

fn meant<'a>(target: &Target, tables: &'a [MountTable]) -> Option<(&'a MountTable, &'a Listed)> {
    let Target::Mount(id) = target else { return None };
    tables.iter().find_map(|table| Some((table, table.mounts.iter().find(|listed| listed.mount.id == *id)?)))
}

/// Everything on the node that may hold it.
fn see(roots: Roots<'_>, target: &Target, tables: Vec<MountTable>) -> Result<Seen, WhoError> {
    let wanted = holders::wanted(target, &tables);
    let failed = |what| move |source| WhoError::Look { what, source };
    let references = references::scan(roots.proc, &wanted).map_err(failed(PROC))?;
    let users = block_users::users(Path::new(SYS), roots.proc).map_err(failed("/sys/class/block"))?;
    if references.refused > 0 {
        note(format_args!(
            "mount-tracer: {} threads may not be looked into, and may hold it; run as root with CAP_SYS_PTRACE",
            references.refused
        ));
    }
    let processes = references.found.into_iter().map(|(task, references)| Process {
        namespace: namespaces::mount_namespace_of(&task.dir(roots.proc)).ok(),
        task: roots.named(task),
        references,
    });
    Ok(Seen { processes: processes.collect(), users, tables })
}

//! What became of a table, as an input; and a loss, as a line.

use crate::{agent::reader::Read, engine::Input, operation::Gap, output::say::note};

/// What became of a table, for the engine; `None` for a part of one.
pub(super) fn table_input(read: Read) -> Option<Input<'static>> {
    Some(match read {
        Read::Part => return None,
        Read::Whole { inum, began_ns } => Input::TableRead { inum, began_ns },
        Read::Gone(inum) => Input::TableGone(inum),
        Read::Hangs(inum) => Input::TableFailed(inum),
        Read::Failed(inum, error) => {
            note(format_args!("note: the table of mount namespace {inum} cannot be read this time: {error}"));
            Input::TableFailed(inum)
        }
    })
}

/// A loss as a line for people.
pub(super) fn loss(gap: &Gap) -> String {
    let records: u64 = gap.dropped.iter().map(|one| one.records).sum();
    let by_hook: Vec<String> =
        gap.dropped.iter().map(|one| format!("{} {}: {}", one.hook, one.reason, one.records)).collect();
    let dropped = (records > 0).then(|| format!("{records} records were dropped ({})", by_hook.join(", ")));
    let missed = (gap.missed > 0).then(|| format!("the kernel skipped {} runs of programs", gap.missed));
    let full = gap.dropped.iter().any(|one| one.reason == "ring_full");
    let remedy = if full { "; a larger --ring-size helps" } else { "" };
    format!("loss: {}{remedy}", dropped.into_iter().chain(missed).collect::<Vec<_>>().join(", and "))
}

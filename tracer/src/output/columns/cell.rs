//! PURE: the text of each column in a row. `-` is what does not apply or is not known; `?` behind a value: only the caller says
//! so, from its own memory.

use crate::{
    clock::Clock,
    operation::{Actor, CallEnd, Claimed, Effect, EffectKind, Mount, Namespace, Op, Operation, Walked},
    output::{
        colour::Paint,
        escape::{escape, escape_source},
        flags::{attributes, call_flags, errno_name},
        words::{self, Called},
    },
};

/// The text of a column in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Escaped already.
    pub text: String,
    /// How it is painted.
    pub paint: Paint,
    /// Which end of it stays.
    pub keeps: Keeps,
}

/// Which end of a text stays when it is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeps {
    /// Its beginning.
    #[default]
    Beginning,
    /// Its end, which tells paths apart.
    End,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The operation that it belongs to.
    pub operation: &'a Operation,
    /// The effect that it shows, if any.
    pub effect: Option<&'a Effect>,
    /// The effect stands below the operation's own line.
    pub below: bool,
    /// From boot time to wall time.
    pub clock: Clock,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// In this colour.
    #[must_use]
    pub fn painted(self, paint: Paint) -> Self {
        Self { paint, ..self }
    }

    /// Its end stays.
    #[must_use]
    pub fn cut_on_the_left(self) -> Self {
        Self { keeps: Keeps::End, ..self }
    }
}

impl Row<'_> {
    /// A cell that only the operation's own line has.
    fn first(&self, cell: impl Fn(&Self) -> String) -> Cell {
        if self.below { Cell::default() } else { cell(self).into() }
    }

    fn call(&self, cell: impl Fn(&CallEnd) -> String) -> Cell {
        self.first(|row| row.operation.call.as_ref().map_or_else(unknown, &cell))
    }

    fn actor(&self, cell: impl Fn(&Actor) -> String) -> Cell {
        self.first(|row| row.operation.actor.as_ref().map_or_else(unknown, &cell))
    }

    fn claimed(&self, cell: impl Fn(&Claimed) -> Option<String>) -> Cell {
        self.first(|row| row.operation.claimed().and_then(&cell).unwrap_or_else(unknown))
    }

    /// Of the mount that the line is about.
    fn mount(&self, cell: impl Fn(&Mount) -> String) -> Cell {
        self.about().map_or_else(unknown, cell).into()
    }

    fn about(&self) -> Option<&Mount> {
        self.effect.map(|effect| &effect.mount).or_else(|| self.operation.subject())
    }

    /// Where the line is about.
    fn place(&self) -> Option<&Mount> {
        self.effect.map(|effect| &effect.mount).or_else(|| self.operation.target())
    }

    fn namespace(&self) -> Option<Namespace> {
        match self.operation.namespace {
            Some(change) if self.effect.is_none() => Some(change.namespace),
            _ => self.place().and_then(|mount| mount.namespace),
        }
    }

    fn is_gone(&self) -> bool {
        match self.effect {
            Some(effect) => effect.kind == EffectKind::Detach,
            None => self.operation.op == Op::NamespaceDestroyed,
        }
    }

    /// Whose the namespace is, or the cgroup of who acted where no table changed.
    fn owner(&self) -> Called<'_> {
        let of_namespace = self.namespace().and_then(|namespace| self.operation.whose.namespaces.get(&namespace.inum));
        let home = of_namespace.or_else(|| self.operation.home_of(self.place()?));
        let has_place = self.effect.is_some() || self.operation.namespace.is_some();
        let actor = || self.operation.whose.actor.as_deref().filter(|_| !has_place);
        let owner = home.map(|home| home.owner.as_ref()).or_else(actor)?;
        Some((owner, self.operation.whose.named(owner)))
    }

    /// It is in no process's namespace yet.
    fn is_detached(&self) -> bool {
        matches!(self.operation.op, Op::Fsmount | Op::DetachedCopy) && !self.operation.failed()
    }

    /// Its own text, or what the caller claimed where no kernel object says it.
    fn or_claimed(
        &self,
        text: impl Fn(&Mount) -> Option<String>,
        claimed: impl Fn(&Claimed) -> Option<String>,
    ) -> Cell {
        match self.about() {
            Some(mount) => text(mount).unwrap_or_else(unknown).into(),
            None => self.operation.claimed().and_then(claimed).map_or_else(|| unknown().into(), doubtful),
        }
    }
}

pub(in crate::output) fn unknown() -> String {
    "-".to_owned()
}

fn doubtful(text: String) -> Cell {
    (text + "?").into()
}

pub(super) fn time(row: &Row<'_>) -> Cell {
    row.first(|row| row.clock.time_of_day(row.operation.end_ns))
}

pub(super) fn syscall(row: &Row<'_>) -> Cell {
    row.first(|row| row.operation.syscall().map_or_else(unknown, |syscall| syscall.name().to_owned()))
}

pub(super) fn cause(row: &Row<'_>) -> Cell {
    row.first(|row| row.operation.cause.map_or_else(unknown, |cause| cause.name().to_owned()))
}

pub(super) fn duration(row: &Row<'_>) -> Cell {
    row.call(|call| call.duration_ns().map_or_else(unknown, words::duration))
}

pub(super) fn flags(row: &Row<'_>) -> Cell {
    row.call(|call| joined(&call_flags(call.syscall, call.claimed.flags)))
}

pub(super) fn pid(row: &Row<'_>) -> Cell {
    row.actor(|actor| actor.pid.to_string())
}

pub(super) fn tid(row: &Row<'_>) -> Cell {
    row.actor(|actor| actor.tid.to_string())
}

pub(super) fn comm(row: &Row<'_>) -> Cell {
    row.actor(|actor| escape(&actor.comm))
}

pub(super) fn uid(row: &Row<'_>) -> Cell {
    row.actor(|actor| actor.uid.to_string())
}

pub(super) fn cgroup_id(row: &Row<'_>) -> Cell {
    row.actor(|actor| actor.cgroup_id.to_string())
}

pub(super) fn caller_ns(row: &Row<'_>) -> Cell {
    row.actor(|actor| inum(actor.namespace))
}

pub(super) fn claimed_source(row: &Row<'_>) -> Cell {
    row.claimed(|claimed| claimed.source.as_deref().map(escape_source)).cut_on_the_left()
}

pub(super) fn claimed_target(row: &Row<'_>) -> Cell {
    row.claimed(|claimed| claimed.target.as_deref().map(escape)).cut_on_the_left()
}

pub(super) fn claimed_fstype(row: &Row<'_>) -> Cell {
    row.claimed(|claimed| claimed.fstype.as_deref().map(escape))
}

pub(super) fn pod(row: &Row<'_>) -> Cell {
    words::pod(row.owner()).into()
}

pub(super) fn pod_namespace(row: &Row<'_>) -> Cell {
    words::pod_namespace(row.owner()).into()
}

pub(super) fn container(row: &Row<'_>) -> Cell {
    words::container(row.owner()).into()
}

pub(super) fn kind(row: &Row<'_>) -> Cell {
    row.effect.map_or_else(unknown, |effect| effect.kind.name().to_owned()).into()
}

pub(super) fn dev(row: &Row<'_>) -> Cell {
    let superblock = row.operation.superblock().map(|superblock| superblock.dev.to_string());
    superblock.map_or_else(|| row.mount(|mount| mount.dev.to_string()), Cell::from)
}

pub(super) fn rdev(row: &Row<'_>) -> Cell {
    row.mount(|mount| mount.rdev.map_or_else(unknown, |dev| dev.to_string()))
}

pub(super) fn root(row: &Row<'_>) -> Cell {
    row.mount(|mount| walked(&mount.root)).cut_on_the_left()
}

pub(super) fn mount_id(row: &Row<'_>) -> Cell {
    row.mount(|mount| mount.id.to_string())
}

pub(super) fn unique_id(row: &Row<'_>) -> Cell {
    row.mount(|mount| number(mount.id_unique))
}

pub(super) fn parent_id(row: &Row<'_>) -> Cell {
    row.mount(|mount| number(mount.parent_id_unique))
}

pub(super) fn attributes_of(row: &Row<'_>) -> Cell {
    row.mount(|mount| {
        let names = attributes(mount.flags);
        joined(&names.iter().map(|name| name.trim_start_matches("MOUNT_ATTR_")).collect::<Vec<_>>())
    })
}

pub(super) fn op(row: &Row<'_>) -> Cell {
    let gone = if row.is_gone() { Paint::Gone } else { Paint::Plain };
    if row.below {
        return Cell::from(mark(row)).painted(gone);
    }
    let operation = row.operation;
    let doubt = if operation.complete || operation.gap.is_some() { "" } else { "?" };
    let paint = if operation.gap.is_some() { Paint::Lost } else { gone };
    Cell::from(format!("{}{doubt}", operation.op.name())).painted(paint)
}

/// In place of the operation's name; the kind follows where it is not that of the operation's own line.
fn mark(row: &Row<'_>) -> String {
    let Some(effect) = row.effect else { return String::new() };
    let sign = if effect.propagated == Some(true) { "+" } else { "." };
    let first = row.operation.effects.iter().flatten().next();
    if row.operation.namespace.is_none() && first.is_some_and(|first| first.kind == effect.kind) {
        return sign.to_owned();
    }
    format!("{sign} {}", effect.kind.name())
}

pub(super) fn result(row: &Row<'_>) -> Cell {
    let paint = if row.operation.failed() { Paint::Failed } else { Paint::Plain };
    row.call(|call| errno_name(call.errno)).painted(paint)
}

pub(super) fn mntns(row: &Row<'_>) -> Cell {
    inum(row.namespace()).into()
}

pub(super) fn mntns_id(row: &Row<'_>) -> Cell {
    number(row.namespace().map(|namespace| namespace.id).filter(|id| *id != 0)).into()
}

/// A namespace that is no process's has no inode up to 6.18.
pub(in crate::output) fn inum(namespace: Option<Namespace>) -> String {
    namespace.filter(|namespace| namespace.inum != 0).map_or_else(unknown, |namespace| namespace.inum.to_string())
}

fn joined(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { unknown() } else { names.join("|") }
}

/// A number, where it is known.
pub(in crate::output) fn number(number: Option<u64>) -> String {
    number.map_or_else(unknown, |number| number.to_string())
}

pub(super) fn fstype(row: &Row<'_>) -> Cell {
    let superblock = row.operation.superblock().map(|superblock| escape(&superblock.fstype));
    let mounts =
        || row.or_claimed(|mount| Some(escape(&mount.fstype)), |claimed| claimed.fstype.as_deref().map(escape));
    superblock.map_or_else(mounts, Cell::from)
}

pub(super) fn source(row: &Row<'_>) -> Cell {
    row.or_claimed(
        |mount| mount.source.as_deref().map(escape_source),
        |claimed| claimed.source.as_deref().map(escape_source),
    )
    .cut_on_the_left()
}

pub(super) fn propagation(row: &Row<'_>) -> Cell {
    row.mount(groups)
}

/// The peer groups of a mount.
pub(in crate::output) fn groups(mount: &Mount) -> String {
    let words = [
        mount.shared.map(|group| format!("shared:{group}")),
        mount.master.map(|group| format!("master:{group}")),
        mount.unbindable.then(|| "unbindable".to_owned()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { "private".to_owned() } else { words.join(",") }
}

/// A path, or why there is none.
pub(in crate::output) fn walked(path: &Walked) -> String {
    path.as_deref().map_or_else(|gap| words::no_path(*gap), escape)
}

pub(super) fn path(row: &Row<'_>) -> Cell {
    let paint = if row.is_gone() { Paint::Gone } else { Paint::Plain };
    if let (Some(change), None) = (&row.operation.namespace, row.effect) {
        return words::namespace(change).into();
    }
    let claimed = row.operation.claimed().and_then(place_claimed).filter(|_| !row.below);
    let claimed = claimed.map(|place| doubtful(escape(place)).text);
    let doubted = |words: String| claimed.iter().cloned().chain([words]).collect::<Vec<_>>().join(" ");
    let later = row.place().and_then(|mount| row.operation.later.get(&mount.id_unique?));
    let text = match row.place().map(|mount| &mount.path) {
        // In no namespace there is no path; `/` would only be the root of a tree of its own.
        Some(_) if row.is_detached() => doubted("(detached)".to_owned()),
        Some(Ok(path)) => escape(path),
        Some(Err(gap)) => match later {
            Some(path) => format!("{} {}", escape(path), words::no_path(*gap)),
            None => doubted(words::no_path(*gap)),
        },
        None => claimed.unwrap_or_else(unknown),
    };
    Cell::from(text).painted(paint).cut_on_the_left()
}

/// Where a call was to act. `open_tree(2)` has no target: it copies what is at its source.
fn place_claimed(claimed: &Claimed) -> Option<&[u8]> {
    claimed.target.as_deref().or(claimed.source.as_deref().filter(|_| claimed.fstype.is_none()))
}

//! A recording: everything that went into the engine, so that it can go in again, elsewhere and later.
//!
//! A line of text with the version, a line of JSON with what does not change, then frames: one byte that says the kind, the
//! time in nanoseconds and the length as little-endian numbers of eight and four bytes, the content. The last frame is the
//! end. Sources are kept as they are shown: without what may be a secret in them.

mod hidden;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::hidden::without_secrets;
use super::json::Origin;
use crate::{
    clock::Clock,
    engine::Input,
    operation::{Dropped, Gap, Namespace, Throttled},
    pods::{named::Named, owners::Inhabitant, runtimes::ContainerId},
    probe::{
        hooks::{HOOKS, Hook},
        losses::REASONS,
    },
};

/// The version of what is written.
const VERSION: u32 = 6;
/// What every recording begins with; the version and the end of the line follow.
const MAGIC: &str = "mount-tracer recording ";
/// Bytes of the first line at most, and of the second.
const LINE_BYTES: usize = 64 << 10;
/// Bytes of a frame's content at most: no record and no loss is as long.
const FRAME_BYTES: u32 = 1 << 20;
/// Bytes in front of a frame's content.
const FRAME_HEAD: usize = 13;

mod kind {
    pub(super) const RECORD: u8 = b'R';
    pub(super) const LOSS: u8 = b'L';
    pub(super) const THROTTLED: u8 = b'H';
    pub(super) const DEADLINE: u8 = b'D';
    pub(super) const TABLE: u8 = b'T';
    pub(super) const ANSWERED: u8 = b'P';
    pub(super) const INHABITED: u8 = b'I';
    pub(super) const NAMED: u8 = b'N';
    pub(super) const END: u8 = b'E';
    pub(super) const ALL: [u8; 9] = [RECORD, LOSS, THROTTLED, DEADLINE, TABLE, ANSWERED, INHABITED, NAMED, END];
}

/// Why a recording could not be read on. Offsets are in bytes from its beginning.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// It is something else.
    #[error("byte 0: this is no recording: it does not begin with `{}`", MAGIC.trim_end())]
    NotOne,
    /// This version does not know how.
    #[error(
        "byte {}: the recording has version {found}, and this mount-tracer reads version {VERSION}; use one that is as new",
        MAGIC.len()
    )]
    Version {
        /// Its version.
        found: String,
    },
    /// The second line says nothing.
    #[error("byte {offset}: the recording does not say where it was made")]
    Head {
        /// Where the line begins.
        offset: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no such file, or it is not ours to read.
    #[error("cannot open it")]
    Open(#[source] io::Error),
    /// It ends too early.
    #[error("byte {offset}: the recording was cut: it has no end")]
    Cut {
        /// Where what is not whole begins.
        offset: u64,
    },
    /// A frame is of no kind.
    #[error("byte {offset}: the recording is broken: a frame has the unknown kind {kind:#04x}")]
    Kind {
        /// Where the frame begins.
        offset: u64,
        /// What it says.
        kind: u8,
    },
    /// A frame is longer than any can be.
    #[error("byte {offset}: the recording is broken: a frame has {bytes} bytes")]
    TooLong {
        /// Where the frame begins.
        offset: u64,
        /// What it says.
        bytes: u32,
    },
    /// A frame says nothing.
    #[error("byte {offset}: the recording is broken: the content of a frame cannot be read")]
    Content {
        /// Where the frame begins.
        offset: u64,
    },
    /// The file cannot be read.
    #[error("byte {offset}: cannot read on")]
    Read {
        /// How far it was read.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What does not change in a recording.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    node: String,
    boot_id: Option<String>,
    agent_start: String,
    /// Wall time when the node booted, nanoseconds since 1970.
    boot_at_ns: String,
    #[serde(flatten)]
    known: Known,
}

/// What the engine was told before anything happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The process that recorded.
    pub own_pid: u32,
    /// The kubelet's directory.
    pub kubelet_dir: String,
}

/// What was lost in all, as the end of a recording says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Operations of which nothing came through.
    pub dropped: u64,
    /// Records that were dropped, those of operations that were seen in part among them.
    pub records_lost: u64,
    /// Runs of programs that the kernel skipped; `None` where it does not count them.
    pub missed: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct LossContent {
    dropped: Vec<(String, String, u64)>,
    missed: u64,
    namespaces: Option<Vec<(u32, u64)>>,
}

/// Writes a recording.
pub struct Recorder<W> {
    out: W,
}

impl<W: Write> Recorder<W> {
    /// Begins one.
    pub fn new(mut out: W, origin: &Origin, known: Known) -> io::Result<Self> {
        let head = Head {
            node: origin.node.clone(),
            boot_id: origin.boot_id.clone(),
            agent_start: origin.agent_start.clone(),
            boot_at_ns: origin.clock.boot_at_ns().to_string(),
            known,
        };
        writeln!(out, "{MAGIC}{VERSION}\n{}", serde_json::to_string(&head)?)?;
        Ok(Self { out })
    }

    /// Writes what goes into the engine now. What only the limiter takes is not recorded.
    pub fn input(&mut self, input: &Input<'_>, now_ns: u64) -> io::Result<()> {
        match input {
            Input::Record(record) => self.frame(kind::RECORD, now_ns, &without_secrets(record)),
            Input::Loss(gap) => self.frame(kind::LOSS, now_ns, &serde_json::to_vec(&content_of(gap))?),
            Input::Throttled(all) => self.frame(kind::THROTTLED, now_ns, &serde_json::to_vec(all)?),
            Input::Deadline(read_until_ns) => self.frame(kind::DEADLINE, now_ns, &read_until_ns.to_le_bytes()),
            Input::TableRead { inum, began_ns } => {
                self.frame(kind::TABLE, now_ns, &[&inum.to_le_bytes()[..], &began_ns.to_le_bytes()].concat())
            }
            Input::Answered(paths) => self.frame(kind::ANSWERED, now_ns, &bytes_of(paths)),
            Input::Inhabited(found) => self.frame(kind::INHABITED, now_ns, &serde_json::to_vec(found)?),
            Input::Named(id, named) => self.frame(kind::NAMED, now_ns, &serde_json::to_vec(&(id, named))?),
            _ => Ok(()),
        }
    }

    /// Hands on what was written so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends it.
    pub fn end(&mut self, totals: Totals, now_ns: u64) -> io::Result<()> {
        self.frame(kind::END, now_ns, &serde_json::to_vec(&totals)?)?;
        self.flush()
    }

    fn frame(&mut self, kind: u8, now_ns: u64, content: &[u8]) -> io::Result<()> {
        let bytes = u32::try_from(content.len()).map_err(io::Error::other)?;
        self.out.write_all(&[kind])?;
        self.out.write_all(&now_ns.to_le_bytes())?;
        self.out.write_all(&bytes.to_le_bytes())?;
        self.out.write_all(content)
    }
}

/// What a frame holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A record of the ring.
    Record(Vec<u8>),
    /// Something was lost.
    Loss(Gap),
    /// Failing calls that were only counted.
    Throttled(Vec<Throttled>),
    /// Time had come; all that was stamped up to this time had been put in.
    Deadline(u64),
    /// A mount table was read: of the namespace with this inode number, from this time on.
    TableRead(u32, u64),
    /// What the node said: the paths of mounts and of cgroups.
    Answered(Vec<Option<Vec<u8>>>),
    /// Who was in the mount namespaces that were there.
    Inhabited(Vec<Inhabitant>),
    /// What the runtime said of a container.
    Named(ContainerId, Option<Box<Named>>),
    /// Nothing more comes; what was lost in all.
    End(Totals),
}

/// Reads a recording.
pub struct Recording<R> {
    from: R,
    /// Bytes read so far.
    offset: u64,
    /// Where it was made.
    pub origin: Origin,
    /// What the engine was told.
    pub known: Known,
}

impl<R: Read> Recording<R> {
    /// Reads its beginning.
    pub fn open(from: R) -> Result<Self, RecordingError> {
        let origin = Origin { node: String::new(), boot_id: None, agent_start: String::new(), clock: Clock::new(0, 0) };
        let mut recording = Self { from, offset: 0, origin, known: Known::default() };
        let first = recording.line()?;
        let version = first.strip_prefix(MAGIC.as_bytes()).ok_or(RecordingError::NotOne)?;
        if version != VERSION.to_string().as_bytes() {
            return Err(RecordingError::Version { found: version.escape_ascii().to_string() });
        }
        let offset = recording.offset;
        let second = recording.line()?;
        let head: Head = serde_json::from_slice(&second).map_err(|source| RecordingError::Head { offset, source })?;
        let clock = head.boot_at_ns.parse().map(|boot_at_ns| Clock::new(boot_at_ns, 0));
        let clock = clock.map_err(|_| RecordingError::Content { offset })?;
        recording.origin = Origin { node: head.node, boot_id: head.boot_id, agent_start: head.agent_start, clock };
        recording.known = head.known;
        Ok(recording)
    }

    /// The next frame, and when it went in. There is one until the end was read.
    pub fn frame(&mut self) -> Result<(u64, Frame), RecordingError> {
        let offset = self.offset;
        let mut head = [0; FRAME_HEAD];
        self.fill(&mut head, offset)?;
        let ([kind, time @ .., _, _, _, _], [.., a, b, c, d]) = (head, head);
        let (now_ns, bytes) = (u64::from_le_bytes(time), u32::from_le_bytes([a, b, c, d]));
        if !kind::ALL.contains(&kind) {
            return Err(RecordingError::Kind { offset, kind });
        }
        if bytes > FRAME_BYTES {
            return Err(RecordingError::TooLong { offset, bytes });
        }
        let mut content = vec![0; bytes as usize];
        self.fill(&mut content, offset)?;
        let frame = match kind {
            kind::RECORD => Some(Frame::Record(content)),
            kind::LOSS => serde_json::from_slice(&content).ok().and_then(gap_of).map(Frame::Loss),
            kind::THROTTLED => serde_json::from_slice(&content).ok().map(Frame::Throttled),
            kind::DEADLINE => content.try_into().ok().map(u64::from_le_bytes).map(Frame::Deadline),
            kind::TABLE => table_of(&content),
            kind::ANSWERED => paths_of(&content).map(Frame::Answered),
            kind::NAMED => serde_json::from_slice(&content).ok().map(|(id, named)| Frame::Named(id, named)),
            kind::INHABITED => serde_json::from_slice(&content).ok().map(Frame::Inhabited),
            _ => serde_json::from_slice(&content).ok().map(Frame::End),
        };
        frame.map(|frame| (now_ns, frame)).ok_or(RecordingError::Content { offset })
    }

    /// Fills a buffer with what begins at `offset`.
    fn fill(&mut self, buffer: &mut [u8], offset: u64) -> Result<(), RecordingError> {
        self.from.read_exact(buffer).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => RecordingError::Cut { offset },
            _ => RecordingError::Read { offset: self.offset, source },
        })?;
        self.offset += buffer.len() as u64;
        Ok(())
    }

    /// A line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, RecordingError> {
        let (offset, mut line) = (self.offset, Vec::new());
        loop {
            let mut byte = [0];
            self.fill(&mut byte, offset)?;
            match byte {
                [b'\n'] => return Ok(line),
                // What is no recording may have no lines.
                _ if line.len() >= LINE_BYTES => return Err(RecordingError::NotOne),
                [byte] => line.push(byte),
            }
        }
    }
}

fn table_of(content: &[u8]) -> Option<Frame> {
    let (inum, began) = content.split_first_chunk()?;
    Some(Frame::TableRead(u32::from_le_bytes(*inum), u64::from_le_bytes(began.try_into().ok()?)))
}

/// Paths, each behind its length as a little-endian number of four bytes; a path that is not known has none.
fn bytes_of(paths: &[Option<Vec<u8>>]) -> Vec<u8> {
    let bytes = |path: &Option<Vec<u8>>| {
        let path = path.as_deref().unwrap_or_default();
        [&u32::try_from(path.len()).unwrap_or_default().to_le_bytes(), path].concat()
    };
    paths.iter().flat_map(bytes).collect()
}

fn paths_of(mut content: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut paths = Vec::new();
    while let Some((bytes, rest)) = content.split_first_chunk() {
        let (path, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*bytes)).ok()?)?;
        paths.push((!path.is_empty()).then(|| path.to_vec()));
        content = rest;
    }
    content.is_empty().then_some(paths)
}

fn content_of(gap: &Gap) -> LossContent {
    let dropped = |one: &Dropped| (one.hook.to_owned(), one.reason.to_owned(), one.records);
    LossContent {
        dropped: gap.dropped.iter().map(dropped).collect(),
        missed: gap.missed,
        namespaces: gap.namespaces.as_ref().map(|all| all.iter().map(|one| (one.inum, one.id)).collect()),
    }
}

/// `None` when it names a hook or a reason that is none.
fn gap_of(content: LossContent) -> Option<Gap> {
    let known = |(hook, reason, records): (String, String, u64)| {
        let hook = HOOKS.iter().map(Hook::name).find(|known| *known == hook)?;
        let reason = REASONS.into_iter().find(|known| *known == reason)?;
        Some(Dropped { hook, reason, records })
    };
    let namespace = |(inum, id)| Namespace { inum, id };
    Some(Gap {
        dropped: content.dropped.into_iter().map(known).collect::<Option<_>>()?,
        missed: content.missed,
        namespaces: content.namespaces.map(|all| all.into_iter().map(namespace).collect()),
        // What is in doubt follows from the rest.
        doubt: None,
    })
}

#[cfg(test)]
mod tests;

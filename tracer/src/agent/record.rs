//! The file of `trace --record`: everything that goes into the engine goes there too.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::AgentError;
use crate::{
    engine::Input,
    output::{
        json::Origin,
        recording::{Known, Recorder, Totals},
    },
};

/// Paths and names of every namespace are in it: it is its owner's alone.
const MODE: u32 = 0o600;

/// A file that is open for a recording.
#[derive(Debug)]
pub struct RecordFile {
    file: PathBuf,
    open: File,
}

impl RecordFile {
    /// Opens it before anything else is done; what it held is gone.
    pub fn create(file: &Path) -> Result<Self, AgentError> {
        let open = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(file);
        let open = open.map_err(|source| AgentError::Record { file: file.to_owned(), source })?;
        Ok(Self { file: file.to_owned(), open })
    }

    /// Begins the recording.
    pub(super) fn begin(self, origin: &Origin, known: Known) -> Result<Record, AgentError> {
        let Self { file, open } = self;
        match Recorder::new(BufWriter::new(open), origin, known) {
            Ok(recorder) => Ok(Record { file, recorder }),
            Err(source) => Err(AgentError::Record { file, source }),
        }
    }
}

/// A recording that is being made.
pub(super) struct Record {
    file: PathBuf,
    recorder: Recorder<BufWriter<File>>,
}

impl Record {
    pub(super) fn input(&mut self, input: &Input<'_>, now_ns: u64) -> Result<(), AgentError> {
        let written = self.recorder.input(input, now_ns);
        self.said(written)
    }

    pub(super) fn flush(&mut self) -> Result<(), AgentError> {
        let written = self.recorder.flush();
        self.said(written)
    }

    pub(super) fn end(&mut self, totals: Totals, now_ns: u64) -> Result<(), AgentError> {
        let written = self.recorder.end(totals, now_ns);
        self.said(written)
    }

    fn said(&self, written: io::Result<()>) -> Result<(), AgentError> {
        written.map_err(|source| AgentError::Record { file: self.file.clone(), source })
    }
}

//! Takes a recording through the engine: the same inputs at the same times give the same operations.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    process::ExitCode,
};

use super::{AgentError, stats::Stats, terminal_width};
use crate::{
    cli::trace::Settings,
    engine::{Effect, Engine, Input},
    output::{
        recording::{Frame, Recording, RecordingError, Totals},
        say::note,
        show::{Flow, Show},
    },
};

/// Shows what was recorded in a file, `-` for the standard input. What came before a recording breaks off is shown.
pub fn replay(file: &Path, settings: Settings) -> Result<ExitCode, AgentError> {
    let broken = |source| AgentError::Recording { file: file.to_owned(), source };
    let from: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).map_err(|source| broken(RecordingError::Open(source)))?)
    };
    let mut recording = Recording::open(BufReader::new(from)).map_err(broken)?;
    let mut show = Show::new(settings, recording.origin.clone(), terminal_width());
    let mut engine = Engine::new(recording.own_pid, None);
    if show.head().map_err(AgentError::Output)? == Flow::End {
        return Ok(ExitCode::SUCCESS);
    }
    let mut last_ns = 0;
    let (ended, totals) = loop {
        let (now_ns, frame) = match recording.frame() {
            Ok(frame) => frame,
            Err(error) => break (Err(broken(error)), Totals::default()),
        };
        last_ns = now_ns;
        let input = match &frame {
            Frame::Record(record) => Input::Record(record),
            Frame::Loss(gap) => Input::Loss(gap.clone()),
            Frame::Throttled(all) => Input::Throttled(all.clone()),
            Frame::Deadline(read_until_ns) => Input::Deadline(*read_until_ns),
            Frame::TableRead(inum, began_ns) => Input::TableRead { inum: *inum, began_ns: *began_ns },
            Frame::End(totals) => break (Ok(()), *totals),
        };
        if show_all(&mut show, engine.step(input, now_ns))? == Flow::End {
            return Ok(ExitCode::SUCCESS);
        }
    };
    if show_all(&mut show, engine.step(Input::End, last_ns))? == Flow::End {
        return Ok(ExitCode::SUCCESS);
    }
    ended?;
    note(Stats { counts: engine.counts(), totals });
    Ok(ExitCode::SUCCESS)
}

fn show_all(show: &mut Show, effects: Vec<Effect>) -> Result<Flow, AgentError> {
    for effect in effects {
        if let Effect::Emit { seq, operation } = effect
            && show.operation(seq, &operation).map_err(AgentError::Output)? == Flow::End
        {
            return Ok(Flow::End);
        }
    }
    Ok(Flow::On)
}

//! Takes a recording through the engine: the same inputs at the same times give the same operations.

use std::{
    collections::VecDeque,
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
        recording::{Frame, Known, Recording, RecordingError, Totals},
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
    let show = Show::new(settings, recording.origin.clone(), terminal_width());
    let Known { own_pid, kubelet_dir } = recording.known.clone();
    let engine = Engine::new(own_pid, None).with_kubelet_dir(kubelet_dir.into_bytes());
    let mut replay = Replay { engine, show, waiting: VecDeque::new() };
    if replay.show.head().map_err(AgentError::Output)? == Flow::End {
        return Ok(ExitCode::SUCCESS);
    }
    let mut last_ns = 0;
    let (ended, totals) = loop {
        let (now_ns, frame) = match recording.frame() {
            Ok(frame) => frame,
            Err(error) => break (Err(broken(error)), Totals::default()),
        };
        last_ns = now_ns;
        let input = match frame {
            Frame::Record(ref record) => Input::Record(record),
            Frame::Loss(gap) => Input::Loss(gap),
            Frame::Throttled(all) => Input::Throttled(all),
            Frame::Deadline(read_until_ns) => Input::Deadline(read_until_ns),
            Frame::Named(id, named) => Input::Named(id, named),
            Frame::Inhabited(found) => Input::Inhabited(found),
            Frame::TableRead(inum, began_ns) => Input::TableRead { inum, began_ns },
            Frame::Answered(paths) => {
                // The last operations are shown because nothing more comes, and that is no frame.
                if !replay.waits() && replay.take(Input::End, now_ns)? == Flow::End {
                    return Ok(ExitCode::SUCCESS);
                }
                Input::Answered(paths)
            }
            Frame::End(totals) => break (Ok(()), totals),
        };
        if replay.take(input, now_ns)? == Flow::End {
            return Ok(ExitCode::SUCCESS);
        }
    };
    if replay.end(last_ns)? == Flow::End {
        return Ok(ExitCode::SUCCESS);
    }
    ended?;
    note(Stats { counts: replay.engine.counts(), totals });
    Ok(ExitCode::SUCCESS)
}

struct Replay {
    engine: Engine,
    show: Show,
    /// What the engine wants done and was not done yet: it stands behind a question whose answer is the next frame.
    waiting: VecDeque<Effect>,
}

impl Replay {
    fn waits(&self) -> bool {
        matches!(self.waiting.front(), Some(Effect::Ask(_)))
    }

    /// Takes an input, and shows everything up to the next question.
    fn take(&mut self, input: Input<'_>, now_ns: u64) -> Result<Flow, AgentError> {
        let is_answer = matches!(input, Input::Answered(_));
        let effects = self.engine.step(input, now_ns);
        if is_answer && self.waits() {
            self.waiting.pop_front();
            effects.into_iter().rev().for_each(|effect| self.waiting.push_front(effect));
        } else {
            self.waiting.extend(effects);
        }
        while !self.waits()
            && let Some(effect) = self.waiting.pop_front()
        {
            if let Effect::Emit { seq, operation } = effect
                && self.show.operation(seq, &operation).map_err(AgentError::Output)? == Flow::End
            {
                return Ok(Flow::End);
            }
        }
        Ok(Flow::On)
    }

    /// Shows the last operations. Where a recording breaks off, an answer may be missing.
    fn end(&mut self, now_ns: u64) -> Result<Flow, AgentError> {
        let mut flow = self.take(Input::End, now_ns)?;
        while flow == Flow::On && self.waits() {
            flow = self.take(Input::Answered(Vec::new()), now_ns)?;
        }
        Ok(flow)
    }
}

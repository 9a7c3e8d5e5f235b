//! Trials by name, and which of them to run: a function that returns `anyhow::Result` becomes a trial whose failure shows
//! the whole chain of causes.

use std::time::{Duration, Instant};

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

/// One that takes as long says so: the run has an hour.
const LONG: Duration = Duration::from_secs(20);

/// Names a test.
pub(crate) fn trial(name: &str, test: fn() -> Result<()>) -> Trial {
    let told = name.to_owned();
    Trial::test(name, move || {
        let start = Instant::now();
        let result = test().map_err(|error| Failed::from(format!("{error:#}")));
        if start.elapsed() >= LONG {
            eprintln!("{told} took {} s", start.elapsed().as_secs());
        }
        result
    })
}

/// Which subjects to run, when the environment says it: their names with commas between them.
const SUBJECTS: &str = "GUEST_TRIALS";

/// Subjects that need a container runtime, and run only where they are asked for.
const OF_A_NODE: [&str; 2] = ["pods", "deployed"];

/// Those that were asked for. A subject without a trial is a failed one, so that a misspelt list does not pass.
pub(crate) fn chosen(all: Vec<Trial>) -> Vec<Trial> {
    let is_of = |trial: &Trial, subject: &str| trial.name().split("::").next() == Some(subject);
    let Ok(subjects) = std::env::var(SUBJECTS) else {
        return all.into_iter().filter(|trial| !OF_A_NODE.iter().any(|subject| is_of(trial, subject))).collect();
    };
    let unknown: Vec<Trial> = subjects
        .split(',')
        .filter(|subject| !all.iter().any(|trial| is_of(trial, subject)))
        .map(|subject| Trial::test(format!("{subject}::is_no_subject"), || Err(Failed::without_message())))
        .collect();
    let wanted = all.into_iter().filter(|trial| subjects.split(',').any(|subject| is_of(trial, subject)));
    wanted.chain(unknown).collect()
}

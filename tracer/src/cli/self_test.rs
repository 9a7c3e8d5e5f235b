//! `mount-tracer self-test`, hidden: the process that the self-test watches. It changes nothing but a mount namespace of
//! its own.

use std::process::ExitCode;

use crate::{
    output::say::{chain, note},
    probe::self_test,
};

/// Makes each kind of change once.
pub fn run() -> ExitCode {
    match self_test::act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(chain(&error));
            ExitCode::FAILURE
        }
    }
}

//! The binary `mount-tracer`.

use std::process::ExitCode;

use clap::Parser as _;
use tracer::{
    cli::{self, Cli},
    output::say::{chain, note},
};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(status) => status,
        Err(error) => {
            note(format_args!("mount-tracer: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

//! The binary `mount-tracer`.

use std::process::ExitCode;

use clap::Parser as _;
use tracer::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("mount-tracer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! THE AGENT: what the kernel side saw, made into operations, decisions and limits.
//!
//! The route: `probe` -> ring -> `stream` -> `decode` -> `sections` -> `assemble` -> `correlate` -> `limit` -> `output`.
//! `docs/architecture.md` draws it.

pub mod agent;
pub mod assemble;
pub mod cli;
pub mod clock;
pub mod control;
pub mod correlate;
pub mod decode;
pub mod device;
pub mod engine;
pub mod existing;
pub mod glob;
pub mod holders;
pub mod host;
pub mod limit;
pub mod listed;
pub mod mirror;
pub mod mountinfo;
pub mod operation;
pub mod options;
pub mod output;
pub mod pods;
pub mod probe;
pub mod sections;
pub mod stream;
pub mod tally;
pub mod waiting;

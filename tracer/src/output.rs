//! OUT: operations as users read them. Nothing here decides anything.

pub mod colour;
pub mod columns;
pub mod cut;
pub mod escape;
pub mod filter;
pub mod flags;
pub mod grid;
pub mod holding;
pub mod json;
pub mod listing;
pub mod metrics;
pub mod recording;
pub mod say;
pub mod show;
pub mod table;
pub mod tree;
pub mod words;

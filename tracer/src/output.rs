//! OUT: operations as users read them. Nothing here decides anything.

pub mod escape;
pub mod flags;
pub mod json;
pub mod say;
pub mod show;
pub mod table;

//! The binary `mount-tracer`.

fn main() {}

//! The workshop of mount-tracer.

fn main() {}

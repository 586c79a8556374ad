//! The binary `hayate`.

fn main() {}

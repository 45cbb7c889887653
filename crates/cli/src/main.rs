//! The one binary: parses flags and hands over to a component.

fn main() {}

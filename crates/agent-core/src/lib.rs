//! The decisions of an agent, without I/O.

//! The stored form of commands and snapshots.

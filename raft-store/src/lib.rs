//! Replication: openraft, log engines, snapshots, peer transport.

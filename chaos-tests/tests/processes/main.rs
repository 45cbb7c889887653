//! What must hold when real processes die. Run by `cargo test` like any other test.

mod agents;
mod api;
mod autopilot;
mod blackout;
mod churn;
mod command_lines;
mod constraints;
mod convert;
mod failover;
mod frozen;
mod groups;
mod local;
mod malformed;
mod members;
mod quota;
mod restore;
mod snapshots;
mod stalled;
mod starts;
mod starved;
mod too_large;
mod upgrade;
mod volumes;
mod watching;

//! The agent: attachment to the leading master, tasks as processes, checkpoints.
//!
//! What an agent decides is in `regency-agent-core`; this crate does it. One loop (`driver`)
//! feeds the machine with everything that happens and carries out what it asks for, records
//! first. Around it:
//!
//! * `flags` and `description`: what the operator and the machine say about this agent.
//! * `directory`: its work directory; `checkpoint`: its memory there.
//! * `attach`: the stream to whichever master leads; `convert`: the messages on it.
//! * `tasks`: sandboxes and processes; `shim`: the process beside each command.
//! * `fetch`: files that tasks ask for.
//! * `checks`: looking at running tasks again and again.
//! * `containers`: those that operators and executors launch beside all that.
//! * `volumes`: the data of persistent volumes.
//! * `executors`: the executor API, for the processes of frameworks that run tasks themselves.
//! * `http`: what others may ask it; `operator`: what operators may.

mod attach;
mod checkpoint;
mod checks;
mod containers;
mod convert;
mod description;
mod directory;
mod driver;
mod executors;
mod fetch;
mod files;
mod flags;
mod http;
pub mod metrics;
mod operator;
mod refused;
mod run;
pub mod shim;
mod tasks;
mod volumes;

pub use flags::AgentFlags;
pub use operator::OperatorFlags;
pub use run::{run, run_until};

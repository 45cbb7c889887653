//! The decisions of an agent, without I/O.
//!
//! [`Core`] is a machine: inputs go in (messages of the leading master, events of task processes,
//! the passing of time), a [`Step`] comes out (records to make durable, then actions to carry
//! out). It reads no clock, mints no id and touches no file, so that every interleaving of
//! crashes and messages can be tried in memory.
//!
//! What it keeps true:
//!
//! * A launch generation is started at most once, whatever crashes in between: its intent is
//!   durable before anything is started, and an intent found after a crash is never started.
//! * Every launch that was noted ends in exactly one terminal update.
//! * An update leaves only by its acknowledgement, or with its framework.
//! * The tasks of a group are started together or not at all, and one that ends otherwise than by
//!   finishing takes the rest of them with it (unless their executor is one that decides itself).
//! * A task is handed to its executor at most once, unless the executor itself says that it does not
//!   know of it; an executor is started at most once.
//! * `report_seq` never goes back, and a report is durable before it is sent.
//! * Nothing of a term lower than the highest one ever attached under is acted on.
//!
//! It deliberately does not know protobuf, sockets or what a process is.
//!
//! Reading order: [`launch`], [`check`] and [`update`] (the nouns), [`durable`] (what survives a crash),
//! [`message`] (what the master and the agent say), [`step`] (what comes out), [`machine`] (the
//! rules).

pub mod check;
pub mod durable;
pub mod executor;
pub mod exit;
pub mod launch;
pub mod machine;
pub mod message;
pub mod step;
pub mod update;

pub use check::{CheckStatus, Finding, HealthRule, KillCause};
pub use durable::{Durable, Phase, ProcessRef, Record, Task};
pub use executor::{
    Executor, ExecutorEvent, ExecutorPhase, ExecutorUpdate, InstanceId, Subscription,
};
pub use exit::Exit;
pub use launch::{ContainerId, Launch, LaunchId};
pub use machine::{Core, Input, ProcessFact, Timing};
pub use message::{
    Adoption, AgentMessage, Command, Drain, Fence, MasterMessage, Member, Numbered, Refusal,
};
pub use step::{Action, Cx, Mint, Step, StopReason, StreamNo};
pub use update::{Reason, Source, Update};

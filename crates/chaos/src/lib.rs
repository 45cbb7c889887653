//! `regency chaos`: faults for a cluster of real processes, and what must hold all the same.
//!
//! A [`scenario`] is a file that says which faults strike; [`schedule`] draws from a seed when. A
//! [`driver`] starts and ends processes: [`command`] by somebody's commands, and the program has one
//! for processes of its own. [`links`] are between masters, where messages can be lost or late.
//! [`faults`] carries the faults out and says whether they really struck.
//!
//! Meanwhile [`workload`] writes, reads, launches and watches through the public APIs, and all of
//! that is the [`history`] on which [`invariants`] are checked, [`linearizable`] among them. [`run`]
//! puts it together; [`report`] is what comes of it, [`page`] the same for people, [`live`] what is
//! seen meanwhile.

pub mod command;
pub mod driver;
pub mod events;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod linearizable;
pub mod links;
pub mod live;
pub mod page;
pub mod process;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod status;
pub mod workload;

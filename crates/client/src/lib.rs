//! SDK for authors of Mesos v1 frameworks.
//!
//! A framework is a *scheduler*: it subscribes at the leading master, is offered resources,
//! accepts offers with tasks to launch, and is told how the tasks go. Masters die, leaders
//! change, connections break; this crate keeps all of that out of a framework's way:
//!
//! - it finds the leader among the masters it was given, by asking all of them at once;
//! - when the stream of events breaks, falls silent, or its master is no longer the leader, it
//!   subscribes again under the same framework id and goes on;
//! - a call that meets a lost connection or a master without a quorum is sent again until it is
//!   answered. That is safe at a Regency master, since every call has a natural key: an ACCEPT
//!   that was applied already is answered with its first verdict and launches nothing twice.
//!
//! What a framework still has to bear, as with any Mesos master: the same status update may be
//! delivered more than once (compare `uuid`), and an offer may be rescinded at any moment.
//!
//! ```no_run
//! use regency_client::{Event, Framework, TaskBuilder};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (framework, mut events) = Framework::builder("hello")
//!     .masters(["10.0.0.1:5050", "10.0.0.2:5050", "10.0.0.3:5050"])
//!     .role("batch")
//!     .failover_timeout(std::time::Duration::from_secs(3600))
//!     .connect()?;
//!
//! let mut launched = false;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Offers(offers) => {
//!             for offer in offers {
//!                 if launched {
//!                     framework.decline([offer.id], None).await?;
//!                 } else {
//!                     let task = TaskBuilder::shell("task-1", "echo hello")
//!                         .cpus(0.1)
//!                         .mem_mb(32.0)
//!                         .on(&offer);
//!                     framework.launch([offer.id], [task], None).await?;
//!                     launched = true;
//!                 }
//!             }
//!         }
//!         Event::Update(status) if regency_client::is_terminal(&status) => {
//!             framework.teardown().await?;
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Status updates are acknowledged when the framework asks for the next event, unless it wants to do
//! that itself ([`Acknowledge::Manual`]). A larger example, with books on every task and offer, is
//! `examples/demo`: the framework that `regency local` runs.
//!
//! Reading order: [`FrameworkBuilder`], [`Framework`] for the calls, [`Event`] for what comes
//! back, or [`Scheduler`] for a framework as an object; [`OfferExt`] and [`TaskBuilder`], [`reserve`]
//! and [`create`] for resources. [`MasterStatus`] is for operators' tools. The messages themselves
//! ([`v1`]) are those of the Mesos v1 API.

mod builder;
mod calls;
mod event;
mod executors;
mod http;
mod leader;
mod resources;
mod scheduler;
mod session;
mod status;
mod stream;
mod subscription;
mod task;

pub use builder::{Acknowledge, BuildError, FrameworkBuilder};
pub use calls::{CallError, Framework};
pub use event::{Event, Events};
pub use http::{Answer, Http, RequestError};
pub use regency_wire::{ContentType, v1};
pub use resources::{OfferExt, create, destroy, ports, reserve, reserved, unreserve, volume};
pub use scheduler::{RunError, Scheduler, run};
pub use session::Break;
pub use status::{LeaderAddress, MasterStatus, Role, StatusError};
pub use task::{TaskBuilder, is_terminal, scalar};

//! A face that looks like ZooKeeper to those who look there for the leader.
//!
//! Frameworks, agents and tools are often told where the masters are as `zk://a,b,c/mesos`. Every
//! master can answer that, with no ZooKeeper anywhere: below the path there is exactly one child,
//! `json.info_` and ten digits, with the leader's `MasterInfo` as JSON. Nothing is stored here; what
//! is shown is a view of what the masters replicate, so all of them show the same.
//!
//! | rule | why |
//! |---|---|
//! | the child's number and the zxid are the term | it grows with every leader, and is the same on all masters |
//! | a client that has seen a higher zxid is disconnected | it would go back in time |
//! | a name never changes its data | readers fetch the data after the name, without a watch |
//! | watches fire before any reply that shows what they watch for | as ZooKeeper promises |
//! | any session id is taken and none expires | a session owns nothing here, so a client may go on at any master |
//! | connections are closed while no leader is known for half a session | an old answer is worse than none |
//! | the list is never empty | to readers an empty list means that nobody leads |
//!
//! Clients that keep state of their own in ZooKeeper still need one: every write is refused with
//! an error that ZooKeeper 3.4 has.
//!
//! | part | what it knows |
//! |---|---|
//! | `jute` | how values are written |
//! | `protocol` | requests and replies |
//! | `tree` | which nodes a [`View`] has |
//! | `watches` | which events a change causes |
//! | `session` | what a client is answered; no clock and no socket up to here |
//! | `words` | commands of four letters, for people and monitors |
//! | `server` | connections, time-outs, bounds |

mod jute;
pub mod metrics;
mod protocol;
mod server;
mod session;
mod tree;
mod watches;
mod words;

pub use server::{Limits, Shown, Source, serve};
pub use tree::{BasePath, BasePathError, View};

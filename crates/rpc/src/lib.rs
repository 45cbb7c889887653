//! gRPC between the processes of a cluster: how channels and servers are built, and the code
//! generated from `proto/internal`.
//!
//! Knows nothing about what is said. Every setting here answers one question: how soon does one
//! side notice that the other is gone, without being fooled by a busy moment.

pub mod channel;
pub mod proto;
pub mod server;
#[cfg(feature = "simulation")]
mod simulation;
pub mod status;

pub use channel::{AddressError, ChannelSettings, channel, knock};
pub use server::{BindError, Listener, serve};

/// Largest message either side accepts, in bytes. Senders stay far below it: this bound only keeps
/// a broken peer from filling memory.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

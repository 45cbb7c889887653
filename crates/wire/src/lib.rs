//! The Mesos v1 messages, their two encodings, RecordIO, validation and conversions.
//!
//! Bytes in, messages or domain values out: no sockets, no clock, no state. Everything that
//! speaks Mesos (the master's HTTP edge, the agent, the client SDK) goes through here, so that
//! the names and tolerances of the wire are known in one place only.
//!
//! Reading order: [`proto`] holds the generated types, [`content`] turns bodies into them and
//! back, [`json`] is the JSON mapping behind that, [`recordio`] frames streams, [`validate`]
//! answers malformed calls in Mesos' words, [`events`] and [`status`] build messages, and
//! [`resources`] converts to the algebra the rules are written in, and [`flags`] reads what Mesos'
//! flags have in JSON.

pub mod content;
pub mod events;
pub mod flags;
mod ids;
pub mod json;
mod message;
pub mod proto;
pub mod recordio;
mod required;
pub mod resources;
pub mod status;
pub mod validate;

pub use content::{ContentType, DecodeError, decode, encode};
pub use message::WireMessage;
pub use proto::mesos::v1;
#[doc(hidden)]
pub use required::{FieldShape, Occurs, Shape};

//! The edge that speaks gRPC with agents.

mod attach;
mod convert;
mod drain;
mod executor;
mod group;

pub(crate) use attach::AttachService;

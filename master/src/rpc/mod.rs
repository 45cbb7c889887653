//! The edge that speaks gRPC with agents.

mod attach;
mod convert;
mod executor;
mod group;

pub(crate) use attach::AttachService;

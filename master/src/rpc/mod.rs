//! The edge that speaks gRPC with agents.

mod attach;
mod convert;
mod executor;

pub(crate) use attach::AttachService;

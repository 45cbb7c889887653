//! The edge that speaks gRPC with agents.

mod attach;
mod convert;

pub(crate) use attach::AttachService;

//! The generated messages and services, one module per package of `proto/internal`:
//! `proto::regency::raft::v1` for package `regency.raft.v1`, and so on.
#![allow(
    missing_docs,
    clippy::all,
    unreachable_pub,
    reason = "generated; the comments are in the .proto files"
)]

include!(concat!(env!("OUT_DIR"), "/internal.rs"));

//! The generated types, in the module tree of their packages: `mesos::v1`,
//! `mesos::v1::scheduler`, `mesos::v1::master` and so on.
//!
//! They are what the `.proto` files say and nothing else; no rule reads them. A field that is an
//! enum holds the number, because a newer peer may send one that is not known here.

#![allow(
    missing_docs,
    rustdoc::all,
    clippy::all,
    reason = "generated from proto/mesos"
)]

include!(concat!(env!("OUT_DIR"), "/mesos_modules.rs"));

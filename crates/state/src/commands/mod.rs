//! One file per command family; each function is one arm of `apply`.

pub(crate) mod agent;
pub(crate) mod ancestry;
pub(crate) mod description;
pub(crate) mod drain;
pub(crate) mod executor;
pub(crate) mod framework;
pub(crate) mod group;
pub(crate) mod hash;
pub(crate) mod inventory;
pub(crate) mod inverse_offer;
pub(crate) mod level;
pub(crate) mod maintenance;
pub(crate) mod offer;
pub(crate) mod operation;
pub(crate) mod report;
pub(crate) mod role;
pub(crate) mod task;
pub(crate) mod term;

#[cfg(test)]
pub(crate) mod fixture;

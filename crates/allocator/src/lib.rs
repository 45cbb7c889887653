//! Dominant resource fairness as a pure function.
//!
//! [`allocate`] looks at a picture of the cluster and says which offers to make. It keeps nothing
//! between two calls, reads no clock and draws no random numbers: the same view, options and cycle
//! give the same plans in the same order, on any master. Plans are proposals; whoever applies them
//! checks them again against the newest state.
//!
//! Reading order: [`view`] is the vocabulary, `allocate` the two stages, `tree` the order in which
//! frameworks are served, `share` what that order is made of, `filters` who is passed over, and
//! `quota` what is held back for others. [`constraints`] says which agents a framework wants at all.

pub mod constraints;
pub mod view;

mod allocate;
mod amounts;
mod filters;
mod quota;
mod remainder;
mod share;
mod shuffle;
mod tree;

pub use allocate::allocate;
pub use filters::suits;
pub use view::{
    AgentCapabilities, AgentView, ClusterView, Cycle, DeclineFilter, FrameworkCapabilities,
    FrameworkRole, FrameworkView, OfferPlan, Options, RoleView,
};

#[cfg(test)]
mod tests;

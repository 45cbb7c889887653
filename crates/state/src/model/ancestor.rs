//! A cluster whose state this was before.

use regency_types::{ClusterId, WallTime};

/// A cluster that this state was restored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestor {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The last entry that was made under its id, as far as it is known.
    pub index: u64,
    /// When the state went on under another id, for display.
    pub wall: WallTime,
    /// Numbers of frameworks it had given out, as far as this state knows: a framework with a
    /// higher one came later, and may come here.
    pub n_frameworks: u64,
}

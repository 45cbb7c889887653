//! How many captured exchanges are compared, and how many are equal. The tests that compare fail when
//! they find others; `docs/mesos-differences.md` is written from these.

/// Figures of one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Exchanges, and kinds of events.
    pub(crate) compared: usize,
    /// Those that do not differ in anything that counts; the others differ in what is listed.
    pub(crate) equal: usize,
}

/// Exchanges that were captured; `examples/golden_shapes.rs` counts them when it derives the shapes.
pub(crate) const CAPTURED: usize = 255;

/// Of `tests/golden` here.
pub(crate) const OPERATORS: Figures = Figures {
    compared: 165,
    equal: 149,
};

/// Of `src/api/golden.rs`.
pub(crate) const FRAMEWORKS: Figures = Figures {
    compared: 91,
    equal: 90,
};

/// Of the agent's `tests/golden.rs`.
pub(crate) const AGENTS: Figures = Figures {
    compared: 9,
    equal: 7,
};

//! Points between the steps that make something durable, at which tests end the process.
//!
//! Compiled only with the feature `failpoints`, which only tests ask for. Without it a point is
//! nothing at all.

/// Marks a point. A test may have anything done there, by name.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        ::fail::fail_point!($name);
    };
}

pub(crate) use failpoint;

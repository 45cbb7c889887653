//! Dominant resource fairness as a pure function.

//! Fixed-point resource algebra.

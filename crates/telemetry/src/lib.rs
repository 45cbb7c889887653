//! Tracing set-up and metrics exposition.

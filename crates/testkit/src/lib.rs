//! Builders and fake clock for tests.

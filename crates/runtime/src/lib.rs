//! Clock, id mint, task set and backoff.

//! The agent: attachment, tasks as processes, checkpoints.

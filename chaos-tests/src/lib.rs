//! Real processes, faults, traffic and invariants.

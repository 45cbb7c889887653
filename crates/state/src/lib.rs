//! The replicated state machine: State, Command, apply, Effect.

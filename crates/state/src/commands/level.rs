//! The feature level.

use crate::apply::Applied;
use crate::command::RaiseFeatureLevel;
use crate::state::State;

/// Raises the level. It never goes back; a lower one is no error, so that it may be proposed twice.
pub(crate) fn raise(state: &mut State, command: RaiseFeatureLevel) -> Applied {
    state.levels_raised = state.levels_raised.max(command.level.saturating_sub(1));
    Applied::done(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::commands::fixture::Given;

    #[test]
    fn the_level_only_rises() {
        let mut given = Given::new();
        let mut seen = vec![given.state.feature_level()];
        for level in [0, 1, 3, 2, 3] {
            given.ok(Command::RaiseFeatureLevel(RaiseFeatureLevel { level }));
            seen.push(given.state.feature_level());
        }
        assert_eq!(seen, [1, 1, 1, 3, 3, 3]);
    }
}

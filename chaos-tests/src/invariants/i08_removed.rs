//! I8: an agent that was removed comes back only under a new id, and what it ran ends. The second is
//! checked where the model heals.

use regency_state::State;
use regency_types::AgentId;

use super::{Broken, Checked};

pub(super) fn attached(state: &State, id: &AgentId, deposed: bool) -> Checked {
    if deposed || state.agent(id).is_some() {
        return Ok(());
    }
    Err(Broken::new("I8", format!("{id} was removed and is let in")))
}

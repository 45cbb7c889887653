//! Which agents are silent, for how long, and what follows.
//!
//! Silence is measured by this leader's own clock from its own last contact, or from its own
//! beginning: nobody is condemned for what an earlier leader did not hear. That an agent was
//! silent before is kept in the state, so that a leader dying every half minute cannot keep a dead
//! agent alive for ever.

use std::time::Duration;

use regency_mutants::{Mutant, on};
use regency_state::{
    ClearSuspicion, Command, MarkAgentUnreachable, RescindOffers, State, SuspectAgents,
};
use regency_types::{AgentId, ClusterTime};

/// How long an agent whose stream broke may take to come back before its offers are rescinded.
const OFFER_GRACE: Duration = Duration::from_secs(5);
/// Agents marked unreachable per period: a slow leader must not condemn a cluster at once.
pub const MARKED_MAX: usize = 20;

/// What this leader knows of an agent's presence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presence {
    /// For how long it was not heard.
    pub silent: Duration,
    /// Whether it was attached to this leader and is not any more.
    pub left: bool,
}

/// What to propose about agents.
#[must_use]
pub fn judge(
    state: &State,
    now: ClusterTime,
    timeout: Duration,
    presence: impl Fn(&AgentId) -> Presence,
) -> Vec<Command> {
    let grace = timeout / 3;
    let (mut suspect, mut clear, mut marked) = (Vec::new(), Vec::new(), Vec::new());
    let mut offers = Vec::new();
    for agent in state.agents().filter(|a| a.is_registered()) {
        let Presence { silent, left } = presence(&agent.id);
        match agent.suspect_since {
            None if silent >= grace => {
                let ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
                suspect.push((agent.id.clone(), ClusterTime(now.0.saturating_sub(ms))));
            }
            Some(since)
                if (silent >= grace || on(Mutant::CondemnUnheard))
                    && now.since(since).to_std() >= timeout =>
            {
                marked.push((since, agent.id.clone()));
            }
            Some(_) if silent < grace && !on(Mutant::SuspectForever) => {
                clear.push(agent.id.clone())
            }
            Some(_) | None => {}
        }
        if left && silent >= OFFER_GRACE {
            offers.extend(agent.offers.iter().chain(&agent.inverse_offers).copied());
        }
    }
    let mut commands = Vec::new();
    if !suspect.is_empty() {
        commands.push(Command::SuspectAgents(SuspectAgents { agents: suspect }));
    }
    if !clear.is_empty() {
        commands.push(Command::ClearSuspicion(ClearSuspicion { agents: clear }));
    }
    if !offers.is_empty() {
        commands.push(Command::RescindOffers(RescindOffers { offers }));
    }
    marked.sort();
    commands.extend(
        marked
            .into_iter()
            .take(MARKED_MAX)
            .map(|(_, agent)| Command::MarkAgentUnreachable(MarkAgentUnreachable { agent })),
    );
    commands
}

/// For how long a leader has not heard an agent: since it last did, or since it began to serve, and
/// never since before it stood still itself. All in milliseconds of its own monotonic clock.
#[must_use]
pub fn silence(heard_ms: Option<u64>, began_ms: u64, stalled_ms: u64, now_ms: u64) -> Duration {
    let began_ms = if on(Mutant::SilenceBeforeTerm) {
        0
    } else {
        began_ms
    };
    let since_ms = heard_ms.unwrap_or(began_ms).max(stalled_ms);
    Duration::from_millis(now_ms.saturating_sub(since_ms))
}

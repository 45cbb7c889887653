//! Frameworks that are awaited after a change of leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regency_mutants::{Mutant, on};
use regency_state::model::Framework;
use regency_state::{Command, FrameworkDisconnected, RescindOffers, State};
use regency_types::{FrameworkId, StreamId};

/// Frameworks that are subscribed in the state and have no stream here: which subscription is
/// missing, and since when in monotonic milliseconds.
///
/// Counted per subscription, so that one which was committed a moment ago, and whose stream is about
/// to be opened, is not taken for one that has been awaited since this leader's beginning.
#[derive(Debug, Default)]
pub struct Awaited(BTreeMap<FrameworkId, (StreamId, u64)>);

impl Awaited {
    /// Looks at the state again, and says what to do about who is missing for too long.
    pub fn look(
        &mut self,
        state: &State,
        streams: &BTreeSet<FrameworkId>,
        now_ms: u64,
        offer_grace: Duration,
        framework_grace: Duration,
    ) -> Vec<Command> {
        let before = std::mem::take(&mut self.0);
        let mut commands = Vec::new();
        for framework in state.frameworks() {
            if on(Mutant::AwaitNobody) {
                break;
            }
            let Some(stream) = missing(framework, streams) else {
                continue;
            };
            let since_ms = match before.get(&framework.id) {
                Some((known, since_ms)) if *known == stream => *since_ms,
                _ => now_ms,
            };
            self.0.insert(framework.id.clone(), (stream, since_ms));
            let missed = Duration::from_millis(now_ms.saturating_sub(since_ms));
            if missed >= framework_grace {
                commands.push(Command::FrameworkDisconnected(FrameworkDisconnected {
                    framework: framework.id.clone(),
                    stream,
                }));
            } else if missed >= offer_grace {
                let asked = framework.inverse_offers.iter();
                let offers: Vec<_> = framework.offers.iter().chain(asked).copied().collect();
                if !offers.is_empty() {
                    commands.push(Command::RescindOffers(RescindOffers { offers }));
                }
            }
        }
        commands
    }
}

fn missing(framework: &Framework, streams: &BTreeSet<FrameworkId>) -> Option<StreamId> {
    framework
        .stream()
        .filter(|_| !streams.contains(&framework.id))
}

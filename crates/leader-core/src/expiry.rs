//! What is due by cluster time. The state checks each deadline again.

use regency_mutants::{Mutant, on};
use regency_state::model::FrameworkPhase;
use regency_state::{Command, ExpireFramework, ExpireOffers, State};
use regency_types::{ClusterTime, OfferId};

/// Offers in one entry.
const OFFERS_MAX: usize = 1000;

/// What is due at `now`.
#[must_use]
pub fn due(state: &State, now: ClusterTime) -> Vec<Command> {
    let mut commands = Vec::new();
    for framework in state.frameworks() {
        if let FrameworkPhase::Disconnected { deadline, .. } = framework.phase
            && (deadline <= now || on(Mutant::ExpireFrameworksEarly))
        {
            commands.push(Command::ExpireFramework(ExpireFramework {
                framework: framework.id.clone(),
            }));
        }
    }
    let is_due = |deadline: Option<ClusterTime>| {
        deadline.is_some_and(|d| d <= now || on(Mutant::ExpireOffersEarly))
    };
    let offers = state.offers().filter(|o| is_due(o.deadline)).map(|o| o.id);
    let inverse = state.inverse_offers().filter(|o| is_due(o.deadline));
    let offers: Vec<OfferId> = offers.chain(inverse.map(|o| o.id)).collect();
    for offers in offers.chunks(OFFERS_MAX) {
        commands.push(Command::ExpireOffers(ExpireOffers {
            offers: offers.to_vec(),
        }));
    }
    commands
}

/// Whether any decline filter is over.
#[must_use]
pub fn filters_due(state: &State, now: ClusterTime) -> bool {
    state.frameworks().any(|f| {
        f.filters
            .values()
            .flatten()
            .any(|filter| filter.until <= now)
    })
}

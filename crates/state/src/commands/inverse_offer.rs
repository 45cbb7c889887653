//! Inverse offers: frameworks are asked to leave agents whose machines are going to be unavailable.

use std::collections::{BTreeMap, BTreeSet};

use regency_types::{AgentId, ClusterTime, FrameworkId, OfferId};

use crate::apply::Applied;
use crate::bounds;
use crate::command::{AnswerInverseOffers, IssueInverseOffers};
use crate::effect::Effect;
use crate::model::{Agent, InverseAnswer, InverseOffer};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

impl State {
    /// The frameworks that are to be asked at `now` to leave this agent: they have something on it, were
    /// not asked yet, or answered so long ago that they want to be asked again.
    #[must_use]
    pub fn to_be_asked(&self, agent: &Agent, now: ClusterTime) -> BTreeSet<FrameworkId> {
        if !agent.is_active() || self.unavailability_of(&agent.spec).is_none() {
            return BTreeSet::new();
        }
        let tasks = agent.tasks.iter().filter(|key| {
            let task = self.tasks.get(*key);
            task.is_some_and(|task| !task.is_terminal())
        });
        let offers = agent.offers.iter().filter_map(|id| self.offers.get(id));
        let mut there: BTreeSet<&FrameworkId> = tasks.map(|key| &key.framework).collect();
        there.extend(agent.executors.keys().map(|key| &key.framework));
        there.extend(offers.map(|offer| &offer.framework));
        let asked = agent.inverse_offers.iter();
        for offer in asked.filter_map(|id| self.inverse_offers.get(id)) {
            there.remove(&offer.framework);
        }
        let listens = |id: &&FrameworkId| {
            let subscribed = self.frameworks.get(*id).is_some_and(|f| f.is_subscribed());
            let quiet = agent.answers.get(*id).is_some_and(|a| a.until > now);
            subscribed && !quiet
        };
        there.into_iter().filter(listens).cloned().collect()
    }
}

/// Makes the inverse offers that still fit; plans were made against an older state.
pub(crate) fn issue(state: &mut State, command: &IssueInverseOffers) -> Applied {
    let mut made: BTreeMap<FrameworkId, Vec<OfferId>> = BTreeMap::new();
    let mut issued = Vec::new();
    for (framework, agent) in &command.plans {
        let Some(record) = state.agents.get(agent) else {
            continue;
        };
        let Some(unavailability) = state.unavailability_of(&record.spec) else {
            continue;
        };
        if !state.to_be_asked(record, state.now).contains(framework) {
            continue;
        }
        let id = OfferId(state.counters.offer);
        state.counters.offer += 1;
        state.insert_inverse_offer(InverseOffer {
            id,
            framework: framework.clone(),
            agent: agent.clone(),
            unavailability,
            deadline: command.timeout.map(|t| state.now + t),
            made: state.wall,
        });
        issued.push(id);
        made.entry(framework.clone()).or_default().push(id);
    }
    let n_skipped = (command.plans.len() - issued.len()) as u64;
    let effects = made
        .into_iter()
        .map(|(framework, offers)| Effect::SendInverseOffers { framework, offers })
        .collect();
    Applied::ok(
        Outcome::OffersIssued {
            offers: issued,
            n_skipped,
        },
        effects,
    )
}

/// Notes what a framework answered, for operators to see; nothing else follows from it.
pub(crate) fn answer(state: &mut State, command: &AnswerInverseOffers) -> Applied {
    if !state.frameworks.contains_key(&command.framework) {
        return Refusal::FrameworkUnknown(command.framework.clone()).into();
    }
    let answer = InverseAnswer {
        accepted: command.accepted,
        wall: state.wall,
        until: state.now + command.refuse.min(bounds::REFUSE_MAX),
    };
    let mut n = 0;
    for id in &command.offers {
        let own = state.inverse_offers.get(id);
        if own.is_none_or(|offer| offer.framework != command.framework) {
            continue;
        }
        if let Some(offer) = state.remove_inverse_offer(*id)
            && let Some(agent) = state.agent_mut(&offer.agent)
        {
            agent.answers.insert(command.framework.clone(), answer);
            n += 1;
        }
    }
    Applied::ok(Outcome::Removed { n }, Vec::new())
}

/// Ends an inverse offer that was not answered, and tells its framework.
pub(crate) fn take_back(state: &mut State, id: OfferId, effects: &mut Vec<Effect>) {
    if let Some(offer) = state.remove_inverse_offer(id) {
        effects.push(Effect::SendRescindInverse {
            framework: offer.framework.clone(),
            offer: id,
        });
    }
}

/// A framework left for now: it is asked anew when it is back.
pub(crate) fn leave(state: &mut State, framework: &FrameworkId) {
    withdraw(state, framework);
    ask_again(state, framework);
}

/// A framework ended: nothing of it is left.
pub(crate) fn forget_framework(state: &mut State, framework: &FrameworkId) {
    withdraw(state, framework);
    for agent in agents_with_answers(state, framework) {
        if let Some(agent) = state.agent_mut(&agent) {
            agent.answers.remove(framework);
        }
    }
}

/// A framework wants to be asked again, whatever it said before. Its answers stand until it says
/// something else.
pub(crate) fn ask_again(state: &mut State, framework: &FrameworkId) {
    let now = state.now;
    for agent in agents_with_answers(state, framework) {
        if let Some(agent) = state.agent_mut(&agent)
            && let Some(answer) = agent.answers.get_mut(framework)
        {
            answer.until = answer.until.min(now);
        }
    }
}

fn withdraw(state: &mut State, framework: &FrameworkId) {
    let Some(record) = state.frameworks.get(framework).cloned() else {
        return;
    };
    for offer in &record.inverse_offers {
        state.remove_inverse_offer(*offer);
    }
}

fn agents_with_answers(state: &State, framework: &FrameworkId) -> Vec<AgentId> {
    if state.machines.is_empty() {
        // Answers are about windows of the schedule.
        return Vec::new();
    }
    let agents = state.agents.values();
    agents
        .filter(|agent| agent.answers.contains_key(framework))
        .map(|agent| agent.id.clone())
        .collect()
}

#[cfg(test)]
mod tests;

//! I2: an offer is used at most once, and one that ended never comes back.

use std::collections::{BTreeMap, BTreeSet};

use regency_state::model::Consumption;
use regency_state::{AcceptOffers, Command, Outcome, Refusal, Verdict};
use regency_types::{FrameworkId, OfferId};

use super::Step;

/// Offers that ended, and what the calls that used them were told.
#[derive(Debug, Default)]
pub struct Offers {
    ended: BTreeSet<OfferId>,
    used: BTreeSet<OfferId>,
    first_verdicts: BTreeMap<(FrameworkId, u64), Verdict>,
}

impl Offers {
    /// Follows an entry.
    ///
    /// # Errors
    /// What the entry breaks.
    pub fn follow(&mut self, step: &Step<'_>) -> Result<(), String> {
        for offer in step.before.offers() {
            if step.after.offer(offer.id).is_none() {
                self.ended.insert(offer.id);
            }
        }
        for offer in step.after.offers() {
            if self.ended.contains(&offer.id) {
                return Err(format!("offer {} is outstanding again", offer.id.0));
            }
            let new = step.before.offer(offer.id).is_none();
            if new && offer.id.0 < step.before.counters().offer {
                return Err(format!("offer {} has a number of the past", offer.id.0));
            }
        }
        match &step.proposal.command {
            Command::AcceptOffers(accept) => self.accept(step, accept),
            // Leaves numbers out, and launches nothing.
            Command::ChangeCluster(_) => Ok(()),
            _ if step.after.counters().generation != step.before.counters().generation => {
                Err("something was launched without an offer".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn accept(&mut self, step: &Step<'_>, accept: &AcceptOffers) -> Result<(), String> {
        let call = (accept.framework.clone(), accept.content);
        let fresh = accept
            .offers
            .iter()
            .flatten()
            .any(|id| step.before.offer(*id).is_some());
        let numbered = step.after.counters().generation - step.before.counters().generation;
        let launched = numbered - n_new_executors(step);
        match &step.applied.verdict {
            Ok(Outcome::Accepted { n_launched, .. }) if fresh => {
                if *n_launched != launched {
                    return Err(format!("{n_launched} told as launched, {launched} were"));
                }
                self.use_all(step, accept)?;
            }
            verdict => {
                if launched > 0 {
                    return Err("a call that is void or repeated launched tasks".to_owned());
                }
                let repeated = accept.offers.iter().all(|id| {
                    id.and_then(|id| step.before.consumed(id)).is_some_and(|c| {
                        c.framework == accept.framework
                            && matches!(c.consumption, Consumption::Call { content, .. } if content == accept.content)
                    })
                });
                let removed = step.before.framework(&accept.framework).is_none();
                let known = self
                    .first_verdicts
                    .get(&call)
                    .filter(|_| repeated && !removed);
                if known.is_some_and(|first| first != verdict) {
                    return Err(format!("a repetition of {known:?} is told {verdict:?}"));
                }
                if known.is_some() && !step.applied.effects.is_empty() {
                    return Err(format!(
                        "a repetition has effects: {:?}",
                        step.applied.effects
                    ));
                }
                if verdict.is_ok() && known.is_none() && !accept.offers.is_empty() {
                    return Err("offers that ended were used".to_owned());
                }
            }
        }
        if !matches!(step.applied.verdict, Err(Refusal::FrameworkUnknown(_))) {
            self.first_verdicts
                .entry(call)
                .or_insert_with(|| step.applied.verdict.clone());
        }
        Ok(())
    }

    fn use_all(&mut self, step: &Step<'_>, accept: &AcceptOffers) -> Result<(), String> {
        for id in &accept.offers {
            let Some(id) = *id else {
                return Err("an id of another cluster was used".to_owned());
            };
            let owned = step
                .before
                .offer(id)
                .is_some_and(|o| o.framework == accept.framework);
            if !owned || !self.used.insert(id) {
                return Err(format!("offer {} could not be used, but was", id.0));
            }
            let remembered = step.after.consumed(id).is_some_and(|c| {
                c.consumption
                    == Consumption::Call {
                        content: accept.content,
                        verdict: step.applied.verdict.clone(),
                    }
            });
            if !remembered {
                return Err(format!("the use of offer {} is not remembered", id.0));
            }
        }
        Ok(())
    }
}

/// Executors that came with this entry; they have numbers of launches, too.
fn n_new_executors(step: &Step<'_>) -> u64 {
    let newest = step.before.counters().generation;
    let agents = step.after.agents();
    let executors = agents.flat_map(|agent| agent.executors.values());
    executors.filter(|e| e.instance.0 > newest).count() as u64
}

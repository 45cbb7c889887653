//! I6: ids are stable for life and never used again.

use std::collections::{BTreeMap, BTreeSet};

use regency_types::{AgentEpoch, AgentId, FrameworkId};

use super::Step;

/// Ids ever seen.
#[derive(Debug, Default)]
pub struct Ids {
    agents: BTreeMap<AgentId, AgentEpoch>,
    removed_agents: BTreeSet<AgentId>,
    removed_frameworks: BTreeSet<FrameworkId>,
}

impl Ids {
    /// Follows an entry.
    ///
    /// # Errors
    /// What the entry breaks.
    pub fn follow(&mut self, step: &Step<'_>) -> Result<(), String> {
        let (old, new) = (step.before.counters(), step.after.counters());
        if new.framework < old.framework
            || new.agent < old.agent
            || new.offer < old.offer
            || new.generation < old.generation
        {
            return Err(format!("a counter went back from {old:?} to {new:?}"));
        }
        for agent in step.before.agents() {
            if step.after.agent(&agent.id).is_none() {
                self.removed_agents.insert(agent.id.clone());
            }
        }
        for framework in step.before.frameworks() {
            if step.after.framework(&framework.id).is_none() {
                self.removed_frameworks.insert(framework.id.clone());
                if !step.after.is_removed(&framework.id) {
                    return Err(format!("that {} was removed is forgotten", framework.id));
                }
            }
        }
        for agent in step.after.agents() {
            let epoch = self.agents.entry(agent.id.clone()).or_insert(agent.epoch);
            if *epoch != agent.epoch || self.removed_agents.contains(&agent.id) {
                return Err(format!("agent id {} is used again", agent.id));
            }
            if step.after.agent_of_epoch(agent.epoch).map(|a| &a.id) != Some(&agent.id) {
                return Err(format!("the epoch of agent {} leads elsewhere", agent.id));
            }
        }
        for framework in step.after.frameworks() {
            if self.removed_frameworks.contains(&framework.id) {
                return Err(format!("framework id {} is used again", framework.id));
            }
        }
        Ok(())
    }
}

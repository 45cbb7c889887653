//! The loop that looks at the members and does what [`plan`] says.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use regency_types::NodeId;

use super::autopilot::{Plan, plan};
use super::decide::{self, Health, Ids};
use super::{MemberError, Members};
use crate::consensus::Consensus;
use crate::metrics;

/// How often the leader looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Consensus {
    /// How the cluster stands, as this leader sees it; on others nobody answers.
    #[must_use]
    pub fn health(&self) -> (Members, Health) {
        let (members, term) = self.members_in_term();
        let health = self.health_of(&members, term);
        (members, health)
    }

    /// How many entries a healthy member may be behind, and one that gets a vote.
    #[must_use]
    pub fn lag_entries_max(&self) -> u64 {
        self.autopilot_config().max_trailing_entries
    }

    fn health_of(&self, members: &Members, term: u64) -> Health {
        let config = self.autopilot_config();
        let seats = members.seats();
        let mut health = decide::health(&seats, members.joint, config.max_trailing_entries);
        let record = self.record();
        let now = Instant::now();
        for member in &mut health.members {
            member.lasting = record.lasting(term, member.node, now);
        }
        health
    }

    /// As leader, looks after the members, for ever: tells the metrics how they are, gives votes to
    /// stable learners that were added for that, and takes those of dead voters; see
    /// [`AutopilotConfig`](super::autopilot::AutopilotConfig). Idles while another master leads.
    /// To be run once.
    pub async fn autopilot(&self) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = BTreeSet::new();
        let mut said = None;
        loop {
            tick.tick().await;
            let (members, term) = self.members_in_term();
            if !members.leads {
                metrics::autopilot_idle(&std::mem::take(&mut told));
                said = None;
                continue;
            }
            let (seats, now) = (members.seats(), Instant::now());
            let config = self.autopilot_config();
            let plan = {
                let mut record = self.record();
                record.note(term, &seats, config.max_trailing_entries, now);
                plan(&seats, &members.wanted(), &record, config, now)
            };
            self.tell(&self.health_of(&members, term), &mut told);
            let say = self.act(&plan).await;
            if say != said {
                if let Some(text) = &say {
                    tracing::info!("autopilot: {text}");
                }
                said = say;
            }
        }
    }

    /// Makes the change, if there is one. Gives what an operator should know.
    async fn act(&self, plan: &Plan) -> Option<String> {
        let ids = |all: &BTreeSet<NodeId>| Ids(all.clone()).to_string();
        let change = match plan {
            Plan::Nothing => return None,
            Plan::Wait(ready) => {
                return Some(format!(
                    "node {} is ready for a vote, and waits because the number of voters would \
                     become even; add one more, or replace a voter by it",
                    ids(ready)
                ));
            }
            Plan::Make(change) => change,
        };
        let (promoted, removed) = (ids(&change.promote), ids(&change.remove));
        match self.change_members(change, &BTreeSet::new()).await {
            Ok(()) => {
                metrics::autopilot_changed("made");
                tracing::warn!(promoted, removed, "autopilot changed who votes");
                None
            }
            // Another leader decides for itself.
            Err(MemberError::NotLeader) => None,
            Err(error) => {
                metrics::autopilot_changed("failed");
                Some(format!(
                    "to promote '{promoted}' and remove '{removed}' was not possible: {error}"
                ))
            }
        }
    }

    fn tell(&self, health: &Health, told: &mut BTreeSet<NodeId>) {
        let now: BTreeSet<NodeId> = health.members.iter().map(|member| member.node).collect();
        metrics::autopilot_left(told.difference(&now));
        metrics::autopilot_health(health);
        *told = now;
    }
}

//! Measuring a failover from outside: what the surviving masters say, polled closely, and what the
//! framework sees.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use regency_client::{Http, MasterStatus, Role};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::demo::Sight;

/// Pause between two looks at a master during a failover: the error of detection and election.
const PAUSE: Duration = Duration::from_millis(3);
/// How long a master may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// One failover, in milliseconds since the leader was killed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failover {
    /// Number of the master that was killed.
    pub(crate) killed: u16,
    /// The new leader and its term.
    pub(crate) leader: Option<u64>,
    pub(crate) term: Option<u64>,
    /// A survivor campaigned, or knew of no leader any more.
    pub(crate) detection_ms: Option<u64>,
    /// A survivor knew the new leader.
    pub(crate) election_ms: Option<u64>,
    /// The new leader had committed and applied its first entry.
    pub(crate) first_commit_ms: Option<u64>,
    /// The framework, subscribed again, was sent offers.
    pub(crate) first_offer_ms: Option<u64>,
    /// Every agent was attached to the new leader.
    pub(crate) agents_back_ms: Option<u64>,
}

impl Failover {
    /// Titles of [`Self::row`].
    pub(crate) const HEADER: &'static str = "failover  killed    leads     term  \
        detection  election  first commit  first offer  agents back  (ms)";

    /// One line of a table.
    pub(crate) fn row(&self, number: usize) -> String {
        format!(
            "{number:<9} {:<9} {:<9} {:<5} {:>9}  {:>8}  {:>12}  {:>11}  {:>11}",
            format!("master {}", self.killed),
            format!("master {}", shown(self.leader)),
            shown(self.term),
            shown(self.detection_ms),
            shown(self.election_ms),
            shown(self.first_commit_ms),
            shown(self.first_offer_ms),
            shown(self.agents_back_ms),
        )
    }

    /// The figures in one line.
    pub(crate) fn in_short(&self) -> String {
        format!(
            "detection {} ms, election {} ms, first commit {} ms, first offer {} ms, \
             agents back {} ms",
            shown(self.detection_ms),
            shown(self.election_ms),
            shown(self.first_commit_ms),
            shown(self.first_offer_ms),
            shown(self.agents_back_ms),
        )
    }

    /// Whether a new leader took over at all.
    pub(crate) fn is_over(&self) -> bool {
        self.first_commit_ms.is_some()
    }
}

fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "failover from master {} to master {}: {}",
            self.killed,
            shown(self.leader),
            self.in_short()
        )
    }
}

/// A leader that was just killed, and who is watched now.
pub(crate) struct Measurement<'a> {
    pub(crate) http: &'a Http,
    pub(crate) killed: u16,
    pub(crate) killed_at: Instant,
    /// The term it led.
    pub(crate) term: u64,
    /// `host:port` of the masters that are alive.
    pub(crate) survivors: Vec<String>,
    /// How many agents are alive.
    pub(crate) n_agents: u64,
    /// What the framework sees; absent without one.
    pub(crate) sight: Option<watch::Receiver<Sight>>,
}

impl Measurement<'_> {
    /// Watches until everything is back, or `limit` has passed since the kill.
    pub(crate) async fn run(mut self, limit: Duration) -> Failover {
        let mut failover = Failover {
            killed: self.killed,
            leader: None,
            term: None,
            detection_ms: None,
            election_ms: None,
            first_commit_ms: None,
            first_offer_ms: None,
            agents_back_ms: None,
        };
        while self.killed_at.elapsed() < limit {
            for address in &self.survivors {
                if let Ok(status) = MasterStatus::get(self.http, address, ANSWER_TIMEOUT).await {
                    note(&mut failover, &self, &status, ms(self.killed_at.elapsed()));
                }
            }
            self.note_offers(&mut failover);
            let offers_seen = self.sight.is_none() || failover.first_offer_ms.is_some();
            if failover.agents_back_ms.is_some() && offers_seen {
                break;
            }
            sleep(PAUSE).await;
        }
        failover
    }

    fn note_offers(&mut self, failover: &mut Failover) {
        let Some(sight) = &mut self.sight else {
            return;
        };
        let sight = *sight.borrow_and_update();
        if let (Some(subscribed), Some(offers)) = (sight.subscribed_at, sight.first_offers_at)
            && subscribed > self.killed_at
        {
            let after = ms(offers.duration_since(self.killed_at));
            failover.first_offer_ms.get_or_insert(after);
        }
    }
}

/// Notes what one master says, `now_ms` after the kill.
fn note(failover: &mut Failover, on: &Measurement<'_>, status: &MasterStatus, now_ms: u64) {
    let killed = u64::from(on.killed);
    let newer = status.term > on.term;
    let leader = status.leader.as_ref().map(|leader| leader.id);
    if status.role == Role::Candidate || leader.is_none() || newer {
        failover.detection_ms.get_or_insert(now_ms);
    }
    // Alone, the killed master itself comes back, in a later term.
    let elected = leader.filter(|leader| newer && (*leader != killed || on.survivors.len() == 1));
    if let Some(leader) = elected {
        failover.election_ms.get_or_insert(now_ms);
        if failover.term.is_none_or(|term| term <= status.term) {
            (failover.leader, failover.term) = (Some(leader), Some(status.term));
        }
    }
    if newer && status.leads() {
        // It knows better than we do when it began.
        let since = now_ms.saturating_sub(status.serving_ms.unwrap_or_default());
        let first_commit = *failover.first_commit_ms.get_or_insert(since);
        // What came before was seen late, between two looks.
        for before in [&mut failover.detection_ms, &mut failover.election_ms] {
            *before = before.map(|ms| ms.min(first_commit));
        }
        if status.agents_attached >= on.n_agents {
            failover.agents_back_ms.get_or_insert(now_ms);
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> MasterStatus {
        serde_json::from_str(text).expect("a status")
    }

    #[test]
    fn the_steps_are_noted_once_in_the_order_in_which_masters_tell_them() {
        let http = Http::default();
        let on = Measurement {
            http: &http,
            killed: 1,
            killed_at: Instant::now(),
            term: 5,
            survivors: vec!["a".into(), "b".into()],
            n_agents: 2,
            sight: None,
        };
        let mut failover = Failover {
            killed: 1,
            leader: None,
            term: None,
            detection_ms: None,
            election_ms: None,
            first_commit_ms: None,
            first_offer_ms: None,
            agents_back_ms: None,
        };
        let told = [
            r#"{"node_id":2,"term":5,"role":"follower","leader":{"id":1,"http":"x"}}"#,
            r#"{"node_id":2,"term":5,"role":"follower","leader":null}"#,
            r#"{"node_id":3,"term":6,"role":"candidate","leader":null}"#,
            r#"{"node_id":3,"term":6,"role":"leader","leader":{"id":3,"http":"x"}}"#,
            r#"{"node_id":3,"term":6,"role":"leader","leader":{"id":3,"http":"x"},
                "serving":true,"serving_ms":4,"agents_attached":1}"#,
            r#"{"node_id":3,"term":6,"role":"leader","leader":{"id":3,"http":"x"},
                "serving":true,"serving_ms":9,"agents_attached":2}"#,
        ];
        for (i, text) in told.iter().enumerate() {
            note(&mut failover, &on, &status(text), 10 * (i as u64 + 1));
        }
        assert_eq!(
            [
                failover.detection_ms,
                failover.election_ms,
                failover.first_commit_ms,
                failover.agents_back_ms,
                failover.leader,
                failover.term,
            ],
            [Some(20), Some(40), Some(46), Some(60), Some(3), Some(6)]
        );
        assert!(
            failover
                .row(1)
                .starts_with("1         master 1  master 3  6 ")
        );
    }
}

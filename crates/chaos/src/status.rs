//! What a master says about itself, as far as it matters here.

use std::time::Duration;

use regency_client::Http;
use serde::Deserialize;
use tokio::task::JoinSet;

/// How long a master may take to answer.
const TIMEOUT: Duration = Duration::from_millis(700);

/// The answer to `GET /regency/status`.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// Its id.
    pub node_id: u64,
    /// Its term.
    pub term: u64,
    /// `leader`, `follower`, `candidate`.
    pub role: String,
    /// Whether it leads and its duties run.
    pub serving: bool,
    /// The last entry that it applied.
    pub applied_index: u64,
    /// Agents connected to it.
    pub agents_attached: u64,
    /// Updates that frameworks have not acknowledged.
    pub updates_unacknowledged: u64,
    /// The newest comparison of states.
    pub state_hash: Option<StateHash>,
    /// Why it takes part in nothing any more.
    pub halted: Option<String>,
    /// Who leads, as far as it knows.
    pub leader: Option<LeaderId>,
}

/// A digest of a state.
#[derive(Debug, Clone, Deserialize)]
pub struct StateHash {
    /// After this entry.
    pub index: u64,
    /// The digest.
    pub digest: String,
}

/// A leader as another master knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeaderId {
    /// Its id.
    pub id: u64,
}

impl Status {
    /// Asks a master.
    pub async fn of(http: &Http, address: &str) -> Option<Self> {
        let answer = http.get(address, "/regency/status", TIMEOUT).await.ok()?;
        answer
            .status
            .is_success()
            .then(|| serde_json::from_slice(&answer.body).ok())
            .flatten()
    }

    /// Asks all of them at once.
    pub async fn of_all(http: &Http, addresses: Vec<String>) -> Vec<Self> {
        let mut asked = JoinSet::new();
        for address in addresses {
            let http = http.clone();
            asked.spawn(async move { Self::of(&http, &address).await });
        }
        asked.join_all().await.into_iter().flatten().collect()
    }

    /// Whether it leads and answers as such.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.role == "leader" && self.serving
    }
}

/// The one that leads the highest term.
#[must_use]
pub fn leader(statuses: &[Status]) -> Option<&Status> {
    let leading = statuses.iter().filter(|status| status.leads());
    leading.max_by_key(|status| status.term)
}

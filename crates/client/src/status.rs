//! What a master says about itself: `GET /regency/status`.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::http::{Http, RequestError};

/// Path of a master's status.
const STATUS_PATH: &str = "/regency/status";

/// What a master is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It leads, or is about to; see [`MasterStatus::serving`].
    Leader,
    /// It follows a leader or waits for one.
    Follower,
    /// It asks the others to elect it.
    Candidate,
    /// It copies the log and has no vote.
    Learner,
    /// Something newer than this crate.
    #[serde(other)]
    Other,
}

/// A leader as another master knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeaderAddress {
    /// Its number in the cluster.
    pub id: u64,
    /// Its `host:port` for clients.
    pub http: String,
}

/// A master's own view of itself and its cluster, at the moment of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MasterStatus {
    /// Number of the master in its cluster.
    pub node_id: u64,
    /// The term it is in.
    pub term: u64,
    /// What it is in that term.
    pub role: Role,
    /// The leader it knows, itself included.
    pub leader: Option<LeaderAddress>,
    /// Whether it answers what only a leader can answer.
    #[serde(default)]
    pub serving: bool,
    /// Index of the last log entry it applied.
    #[serde(default)]
    pub applied_index: u64,
    /// Index of the last log entry it knows to be committed.
    #[serde(default)]
    pub committed_index: Option<u64>,
    /// For how many milliseconds it has served as leader, if it does.
    #[serde(default)]
    pub serving_ms: Option<u64>,
    /// Agents connected to it.
    #[serde(default)]
    pub agents_attached: u64,
    /// Agents that belong to the cluster.
    #[serde(default)]
    pub agents_registered: u64,
    /// Offers that frameworks hold.
    #[serde(default)]
    pub offers_outstanding: u64,
    /// Tasks that have not ended.
    #[serde(default)]
    pub tasks_active: u64,
    /// Identity of the process, new at every start.
    #[serde(default)]
    pub process: String,
    /// Why it takes part in nothing any more, if so.
    #[serde(default)]
    pub halted: Option<String>,
}

/// Why a master's status is not known.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// It does not answer.
    #[error(transparent)]
    NoAnswer(#[from] RequestError),
    /// It answers something else.
    #[error("{address} answers {STATUS_PATH} with {status}")]
    NotOk {
        /// Who answers.
        address: String,
        /// What.
        status: StatusCode,
    },
    /// The answer is no status.
    #[error("{address} answers {STATUS_PATH} with something else than a status")]
    Unreadable {
        /// Who answers.
        address: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl MasterStatus {
    /// Asks a master.
    ///
    /// # Errors
    /// When it does not answer within `timeout`, or is not a Regency master.
    pub async fn get(http: &Http, address: &str, timeout: Duration) -> Result<Self, StatusError> {
        let answer = http.get(address, STATUS_PATH, timeout).await?;
        if answer.status != StatusCode::OK {
            return Err(StatusError::NotOk {
                address: address.to_owned(),
                status: answer.status,
            });
        }
        serde_json::from_slice(&answer.body).map_err(|source| StatusError::Unreadable {
            address: address.to_owned(),
            source,
        })
    }

    /// Whether it is the leader and answers as such.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.role == Role::Leader && self.serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_and_without_what_is_optional() {
        let full = r#"{"node_id":1,"term":5,"role":"leader","leader":{"id":1,"http":"h:1"},
            "serving":true,"serving_ms":40,"applied_index":123,"committed_index":124,
            "agents_attached":2,"agents_registered":3,"offers_outstanding":3,"tasks_active":4,
            "process":"uuid","halted":null,"something_newer":1}"#;
        let status: MasterStatus = serde_json::from_str(full).unwrap();
        assert!(status.leads());
        assert_eq!(status.committed_index, Some(124));
        assert_eq!(status.serving_ms, Some(40));

        let short = r#"{"node_id":2,"term":5,"role":"candidate","leader":null}"#;
        let status: MasterStatus = serde_json::from_str(short).unwrap();
        assert!(!status.leads() && status.leader.is_none());
    }
}

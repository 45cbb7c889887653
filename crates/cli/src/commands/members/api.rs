//! The calls below `/regency/members`, and who answers them.

use std::time::Duration;

use regency_client::{Http, MasterStatus, RequestError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::commands::ask::{elsewhere, named};

const PATH: &str = "/regency/members";
/// How long a master may take to say who leads.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the leader may take for a call: a change waits for its commit.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a leader is looked for, and a change repeated whose outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Who belongs to the cluster, as the master that answered knows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Members {
    /// Who answered.
    pub(super) node_id: u64,
    pub(super) leader: Option<u64>,
    pub(super) joint: bool,
    /// Masters of older versions do not tell.
    #[serde(default)]
    pub(super) feature_level: Option<u32>,
    pub(super) members: Vec<Member>,
    /// Numbers that are used up; masters of older versions do not tell.
    #[serde(default)]
    pub(super) former_ids: Vec<u64>,
    /// The whole answer.
    #[serde(skip)]
    pub(super) raw: Value,
}

/// One of them.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) raft: String,
    pub(super) http: String,
    pub(super) agent: String,
    pub(super) voter: bool,
    pub(super) leader: bool,
    pub(super) alive: Option<bool>,
    pub(super) lag_entries: Option<u64>,
    pub(super) last_contact_ms: Option<u64>,
    #[serde(default)]
    pub(super) promote: bool,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) lasting_ms: Option<u64>,
    #[serde(default)]
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) feature_level_max: Option<u32>,
    #[serde(default)]
    pub(super) snapshot_sending: Option<SnapshotSending>,
}

/// A snapshot on its way to a member.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SnapshotSending {
    pub(super) percent: u64,
    pub(super) bytes: u64,
}

/// The leader's judgement.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Health {
    pub(super) healthy: bool,
    pub(super) problems: Vec<String>,
    pub(super) voters: usize,
    pub(super) voters_alive: usize,
    pub(super) failure_tolerance: usize,
    pub(super) failure_tolerance_at_best: usize,
    #[serde(flatten)]
    pub(super) members: Members,
}

#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: String,
    message: String,
}

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody leads, or nobody who was asked knows.
    #[error(
        "no leader found among {asked}: {why}; name masters that run with --masters, and see that \
         a majority of the voters runs"
    )]
    NoLeader {
        /// Who was asked.
        asked: String,
        /// What they said.
        why: String,
    },
    /// The leader says no.
    #[error("{message}")]
    Refused {
        /// A word for programs.
        code: String,
        /// Why, and what to do.
        message: String,
    },
    /// No answer, or none that tells.
    #[error(
        "it is not known whether this was carried out: {0}; look at 'regency members list' and \
         repeat it"
    )]
    Unknown(String),
    /// Something that is no Regency master, or an older one.
    #[error("{address} answers {path} with {answer}; is it a Regency master of this version?")]
    Strange {
        /// Who.
        address: String,
        /// What was asked.
        path: String,
        /// What it says.
        answer: String,
    },
}

impl Failure {
    /// Whether waiting may help: somebody has not caught up.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "behind" || code == "silent")
    }

    fn is_refusal(&self, word: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == word)
    }
}

/// The masters that are asked.
#[derive(Debug)]
pub(super) struct Cluster {
    masters: Vec<String>,
    http: Http,
}

/// What to do after one attempt.
enum Attempt {
    Answered(Value),
    /// Another master has to be asked.
    Elsewhere(String),
    /// Certainly nothing was done.
    NotDone(String),
    /// Something may have been done.
    Unknown(String),
}

impl Cluster {
    pub(super) fn new(masters: Vec<String>) -> Self {
        Self {
            masters: named(&masters),
            http: Http::default(),
        }
    }

    /// The members as the leader knows them, or as anybody does when there is no leader.
    pub(super) async fn list(&self) -> Result<Members, Failure> {
        let leader = self.leader().await;
        let others = self.masters.iter().cloned();
        for address in leader.iter().cloned().chain(others) {
            let answer = self.http.get(&address, PATH, STATUS_TIMEOUT).await;
            if let Ok(answer) = answer {
                return members(read_ok(
                    &address,
                    PATH,
                    answer.status.as_u16(),
                    &answer.body,
                )?);
            }
        }
        Err(self.no_leader("none of them answers".to_owned()))
    }

    /// What the leader thinks of the cluster.
    pub(super) async fn health(&self) -> Result<Health, Failure> {
        let raw = self.ask("/health", None).await?;
        let mut health: Health = parse(raw.clone())?;
        health.members.raw = raw;
        Ok(health)
    }

    /// Makes a change, and gives the members after it. Repeats it while its outcome is unknown:
    /// every change may be repeated.
    pub(super) async fn change(&self, change: &str, body: &Value) -> Result<Members, Failure> {
        let path = if change.is_empty() {
            String::new()
        } else {
            format!("/{change}")
        };
        members(self.ask(&path, Some(body)).await?)
    }

    /// Hands leadership over, and gives the members as the next leader knows them.
    pub(super) async fn transfer_leader(&self, to: Option<u64>) -> Result<Members, Failure> {
        let before = self.list().await?;
        if to.is_some() && to == before.leader {
            return Ok(before);
        }
        self.change("transfer-leader", &json!({"to": to})).await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let now = self.list().await?;
            if now.leader.is_some_and(|leader| leader == now.node_id) {
                return Ok(now);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(self.no_leader("nobody took over yet".to_owned()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks the leader, whoever it is, until it answers.
    async fn ask(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let path = format!("{PATH}{path}");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut sent_to: Option<String> = None;
        let mut unknown: Option<String> = None;
        loop {
            let address = match sent_to.take() {
                Some(address) => Some(address),
                None => self.leader().await,
            };
            let attempt = match &address {
                Some(address) => self.attempt(address, &path, body).await,
                None => Ok(Attempt::NotDone("nobody knows a leader".to_owned())),
            };
            let why = match attempt {
                Ok(Attempt::Answered(answer)) => return Ok(answer),
                // It was done by an attempt whose answer was lost.
                Err(failure) if unknown.is_some() && failure.is_refusal("unknown_member") => {
                    return Ok(self.list().await?.raw);
                }
                Err(failure) => return Err(failure),
                Ok(Attempt::Elsewhere(address)) => {
                    let why = format!("leadership moves to {address}");
                    sent_to = Some(address);
                    why
                }
                Ok(Attempt::NotDone(why)) => why,
                Ok(Attempt::Unknown(why)) => {
                    unknown = Some(why.clone());
                    why
                }
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(match unknown {
                    Some(why) => Failure::Unknown(why),
                    None => self.no_leader(why),
                });
            }
            if sent_to.is_none() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    async fn attempt(
        &self,
        address: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Attempt, Failure> {
        let answer = match body {
            None => self.http.get(address, path, CALL_TIMEOUT).await,
            Some(body) => {
                let headers = [("content-type", "application/json")];
                let body = body.to_string().into();
                self.http
                    .post(address, path, &headers, body, CALL_TIMEOUT)
                    .await
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.was_not_sent() => {
                return Ok(Attempt::NotDone(error.to_string()));
            }
            Err(error @ (RequestError::Lost { .. } | RequestError::Timeout { .. })) => {
                return Ok(Attempt::Unknown(error.to_string()));
            }
            Err(error) => return Ok(Attempt::NotDone(error.to_string())),
        };
        if answer.status.as_u16() == 307 {
            return Ok(match elsewhere(&answer) {
                Some(elsewhere) => Attempt::Elsewhere(elsewhere),
                None => Attempt::NotDone(format!("{address} names no leader")),
            });
        }
        match read_ok(address, path, answer.status.as_u16(), &answer.body) {
            Ok(value) => Ok(Attempt::Answered(value)),
            Err(Failure::Refused { code, message }) if code == "no_leader" => {
                Ok(Attempt::NotDone(message))
            }
            Err(Failure::Refused { code, message }) if code == "outcome_unknown" => {
                Ok(Attempt::Unknown(message))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Who leads: asks all at once; the leader's own word counts more than that of others.
    async fn leader(&self) -> Option<String> {
        let mut asked = tokio::task::JoinSet::new();
        for master in &self.masters {
            let (http, address) = (self.http.clone(), master.clone());
            asked.spawn(async move {
                let status = MasterStatus::get(&http, &address, STATUS_TIMEOUT)
                    .await
                    .ok();
                (address, status)
            });
        }
        let mut named = None;
        while let Some(answer) = asked.join_next().await {
            let Ok((address, Some(status))) = answer else {
                continue;
            };
            if status.leads() {
                return Some(address);
            }
            named = named.or(status.leader.map(|leader| leader.http));
        }
        named
    }

    fn no_leader(&self, why: String) -> Failure {
        Failure::NoLeader {
            asked: self.masters.join(","),
            why,
        }
    }
}

/// The body of a good answer, or what a bad one says.
fn read_ok(address: &str, path: &str, status: u16, body: &[u8]) -> Result<Value, Failure> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    match (status, value) {
        (200, Some(value)) => Ok(value),
        (_, Some(value)) if status != 200 => {
            let error: ErrorBody = parse(value)?;
            Err(Failure::Refused {
                code: error.error,
                message: error.message,
            })
        }
        (_, _) => Err(Failure::Strange {
            address: address.to_owned(),
            path: path.to_owned(),
            answer: format!("status {status}"),
        }),
    }
}

fn members(raw: Value) -> Result<Members, Failure> {
    let mut members: Members = parse(raw.clone())?;
    members.raw = raw;
    Ok(members)
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| Failure::Strange {
        address: "the master".to_owned(),
        path: PATH.to_owned(),
        answer: format!("something unexpected ({error})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_leader() {
        let body = br#"{"error": "behind", "message": "node 2 is 7 entries behind"}"#;
        let failure = read_ok("m1:5050", PATH, 409, body).expect_err("refused");
        assert_eq!(failure.to_string(), "node 2 is 7 entries behind");
        assert!(failure.may_pass() && !failure.is_refusal("even"));
    }

    #[test]
    fn what_is_no_master_is_named() {
        let failure = read_ok("m1:5050", PATH, 404, b"404 Not Found.").expect_err("strange");
        let text = failure.to_string();
        assert!(text.contains("m1:5050") && text.contains("404"), "{text}");
        assert!(!failure.may_pass());
    }
}

//! Finding the leader: everybody is asked at once, the first useful answer counts.

use std::time::Duration;

use http::StatusCode;
use regency_runtime::Backoff;
use tokio::task::JoinSet;

use crate::http::{Http, redirected_to};
use crate::status::{MasterStatus, StatusError};

/// How long one master may take to say who leads.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Delays between rounds in which nobody knew a leader. Short at first, because an election takes
/// about as long.
const ROUND_DELAY_FIRST: Duration = Duration::from_millis(10);
const ROUND_DELAY_MAX: Duration = Duration::from_millis(500);

/// A master to subscribe at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    /// Its `host:port`.
    pub(crate) address: String,
    /// The term it leads in; zero when unknown, at a master that is not of this project.
    pub(crate) term: u64,
}

/// The masters a framework was given, and which of them is not believed in for now.
#[derive(Debug, Clone)]
pub(crate) struct Masters {
    addresses: Vec<String>,
    http: Http,
    /// A leader that failed. The others go on naming it until they noticed too, and a machine
    /// that is gone costs a timeout, so until then only its own word counts.
    failed: Option<String>,
    backoff: Backoff,
}

impl Masters {
    pub(crate) fn new(addresses: Vec<String>, http: Http) -> Self {
        Self {
            addresses,
            http,
            failed: None,
            backoff: Backoff::new(ROUND_DELAY_FIRST, ROUND_DELAY_MAX),
        }
    }

    /// Says that the subscription at this leader ended or failed.
    pub(crate) fn leader_failed(&mut self, address: &str) {
        self.failed = Some(address.to_owned());
    }

    /// Says that a leader was found and serves.
    pub(crate) fn leader_works(&mut self) {
        self.failed = None;
        self.backoff.reset();
    }

    /// Waits a little before the next attempt.
    pub(crate) async fn pause(&mut self) {
        self.backoff.wait().await;
    }

    /// Asks until somebody names a leader.
    pub(crate) async fn find(&mut self) -> Leader {
        loop {
            if let Some(leader) = self.ask_all().await {
                return leader;
            }
            self.pause().await;
        }
    }

    /// One round: the first master that leads, or the first that names another which is not the
    /// one that failed.
    async fn ask_all(&self) -> Option<Leader> {
        let mut asked = JoinSet::new();
        for address in &self.addresses {
            let (http, address) = (self.http.clone(), address.clone());
            asked.spawn(async move { ask(&http, &address).await });
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Some(Word::Own(leader))) => return Some(leader),
                Ok(Some(Word::OfAnother(leader)))
                    if self.failed.as_ref() != Some(&leader.address) =>
                {
                    return Some(leader);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "asking a master for the leader failed"),
            }
        }
        None
    }

    /// Whether some master knows a leader newer than the one a framework is subscribed at. Asks
    /// one master at a time, others at the next call.
    pub(crate) async fn newer_than(&self, current: &Leader, turn: usize) -> Option<Leader> {
        let others: Vec<&String> = self
            .addresses
            .iter()
            .filter(|address| **address != current.address)
            .collect();
        let address = others.get(turn % others.len().max(1))?;
        match ask(&self.http, address).await? {
            Word::Own(leader) | Word::OfAnother(leader) => {
                (leader.term > current.term && leader.address != current.address).then_some(leader)
            }
        }
    }
}

/// Who says that somebody leads.
enum Word {
    Own(Leader),
    OfAnother(Leader),
}

async fn ask(http: &Http, address: &str) -> Option<Word> {
    match MasterStatus::get(http, address, ANSWER_TIMEOUT).await {
        Ok(status) if status.leads() => Some(Word::Own(Leader {
            address: address.to_owned(),
            term: status.term,
        })),
        Ok(status) => status.leader.and_then(|leader| {
            // A leader that does not serve yet names itself; that is no news.
            (leader.id != status.node_id).then_some(Word::OfAnother(Leader {
                address: leader.http,
                term: status.term,
            }))
        }),
        // A Mesos master has no such page, but redirects.
        Err(StatusError::NotOk { status, .. }) if status == StatusCode::NOT_FOUND => {
            let answer = http
                .get(address, "/master/redirect", ANSWER_TIMEOUT)
                .await
                .ok()?;
            let leader = Leader {
                address: redirected_to(&answer.headers)?,
                term: 0,
            };
            Some(if leader.address == address {
                Word::Own(leader)
            } else {
                Word::OfAnother(leader)
            })
        }
        Err(error) => {
            tracing::debug!(%error, "a master does not say who leads");
            None
        }
    }
}

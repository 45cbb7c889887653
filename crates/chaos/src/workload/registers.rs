//! Writes and reads of registers: weights of roles that nobody else uses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use regency_client::{Http, RequestError};
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::history::{Call, Operation, Outcome};
use crate::record::Record;

/// How long an answer is awaited. Short, because clients that wait for a frozen leader would look as
/// if nobody could write.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often a write is sent elsewhere.
const REDIRECTS_MAX: u32 = 3;
/// New registers are begun so often: what nobody knows of old ones does not add up.
const KEY_LIFE_US: u64 = 15_000_000;
/// Pause after a master that does not answer.
const BACKOFF: Duration = Duration::from_millis(30);
/// How many reads of a reader are consistent ones: one of so many is not.
const STALE_ONE_OF: u32 = 3;

/// Somebody who writes or reads.
pub(super) struct Client {
    pub(super) id: u32,
    pub(super) writes: bool,
    pub(super) record: Arc<Record>,
    pub(super) keys: u32,
    pub(super) pause: Duration,
    pub(super) run: String,
    pub(super) rng: StdRng,
    /// The highest index it was told.
    pub(super) seen: u64,
}

#[derive(Deserialize)]
struct Weight {
    role: String,
    weight: f64,
}

impl Client {
    /// Never returns.
    pub(super) async fn run(mut self) {
        let http = Http::default();
        let mut master = self.any();
        loop {
            let from_us = self.record.now_us();
            let key = format!(
                "{}-{}-{}",
                self.run,
                self.rng.random_range(0..self.keys),
                from_us / KEY_LIFE_US
            );
            let call = self.choose();
            let start = self.start(master);
            let (outcome, at) = match call {
                Call::Write(value) => self.write(&http, master, &key, value).await,
                Call::Read => (self.read(&http, master, &key, None, start).await, master),
                Call::ReadStale(min) => {
                    let told = self.read(&http, master, &key, Some(min), start).await;
                    (told, master)
                }
            };
            self.record.done(Operation {
                client: self.id,
                key,
                call,
                master: at,
                from_us,
                to_us: self.record.now_us(),
                outcome,
            });
            let mut pause = self.pause;
            match outcome {
                // Writers stay where they were sent; readers ask everybody.
                Outcome::Written => master = at,
                Outcome::Told { index, .. } => {
                    self.seen = self.seen.max(index);
                    master = self.any();
                }
                Outcome::Failed | Outcome::Unknown => {
                    master = self.any();
                    pause = pause.max(BACKOFF);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn choose(&mut self) -> Call {
        if self.writes {
            Call::Write(self.record.value())
        } else if self.rng.random_range(0..STALE_ONE_OF) > 0 {
            Call::Read
        } else if self.rng.random() {
            Call::ReadStale(self.seen)
        } else {
            Call::ReadStale(0)
        }
    }

    fn any(&mut self) -> u64 {
        let masters = self.record.masters();
        let n = self.rng.random_range(0..masters.len().max(1));
        masters.keys().nth(n).copied().unwrap_or_default()
    }

    fn start(&self, master: u64) -> Option<u32> {
        Some(self.record.masters().get(&master)?.start)
    }

    fn address(&self, master: u64) -> Option<String> {
        self.record.masters().get(&master).map(|at| at.http.clone())
    }

    async fn write(&self, http: &Http, first: u64, key: &str, value: u64) -> (Outcome, u64) {
        let body = serde_json::json!({
            "type": "UPDATE_WEIGHTS",
            "update_weights": {"weight_infos": [{"role": key, "weight": value}]},
        });
        let body = Bytes::from(body.to_string());
        let mut master = first;
        for _ in 0..=REDIRECTS_MAX {
            let Some(address) = self.address(master) else {
                return (Outcome::Failed, master);
            };
            let json = [
                ("content-type", "application/json"),
                ("accept", "application/json"),
            ];
            let answer = http.post(&address, "/api/v1", &json, body.clone(), TIMEOUT);
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(error) => return (without_answer(&error), master),
            };
            if answer.status.is_success() {
                return (Outcome::Written, master);
            }
            if answer.status.as_u16() == 307 {
                let location = answer.headers.get("location");
                let location = location.and_then(|value| value.to_str().ok());
                let there = location
                    .and_then(|text| text.split_once("//"))
                    .and_then(|(_, rest)| rest.split('/').next())
                    .and_then(|address| self.record.at(address));
                match there {
                    Some(there) => master = there,
                    None => return (Outcome::Failed, master),
                }
                continue;
            }
            // 503 may be said of a write that is on its way; anything else is a refusal.
            let outcome = match answer.status.is_server_error() {
                true => Outcome::Unknown,
                false => Outcome::Failed,
            };
            return (outcome, master);
        }
        (Outcome::Failed, master)
    }

    /// What `/weights` shows; stale when there is a least index.
    async fn read(
        &self,
        http: &Http,
        master: u64,
        key: &str,
        min_index: Option<u64>,
        start: Option<u32>,
    ) -> Outcome {
        let Some(address) = self.address(master) else {
            return Outcome::Failed;
        };
        let text = min_index.unwrap_or_default().to_string();
        let (path, headers) = match min_index {
            None => ("/weights?consistent=true", Vec::new()),
            Some(0) => ("/weights", Vec::new()),
            Some(_) => ("/weights", vec![("x-regency-min-index", text.as_str())]),
        };
        let answer = http.get_with(&address, path, &headers, TIMEOUT).await;
        let Ok(answer) = answer else {
            return Outcome::Failed;
        };
        if !answer.status.is_success() {
            return Outcome::Failed;
        }
        let index = answer.headers.get("x-regency-index");
        let index = index.and_then(|value| value.to_str().ok()?.parse().ok());
        let weights = serde_json::from_slice::<Vec<Weight>>(&answer.body);
        let (Some(index), Ok(weights)) = (index, weights) else {
            // A read without its index is one that shows nothing of any entry: I11 finds it.
            return Outcome::Told {
                value: None,
                index: 0,
                digest: xxh3_64(&answer.body),
                start,
            };
        };
        let of_key: BTreeMap<&str, f64> = weights
            .iter()
            .map(|one| (one.role.as_str(), one.weight))
            .collect();
        let same_start = start.is_some() && self.start(master) == start;
        Outcome::Told {
            value: of_key.get(key).map(|weight| *weight as u64),
            index,
            digest: xxh3_64(&answer.body),
            start: start.filter(|_| same_start),
        }
    }
}

fn without_answer(error: &RequestError) -> Outcome {
    match error.was_not_sent() {
        true => Outcome::Failed,
        false => Outcome::Unknown,
    }
}

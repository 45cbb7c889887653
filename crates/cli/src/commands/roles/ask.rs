//! Calls of an operator, sent until a master answers.

use std::time::Duration;

use regency_client::{Http, RequestError};
use serde_json::Value;

use crate::commands::members::authority;

/// How long a master may take: a write waits for its commit.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long masters are asked again.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Somebody who asks masters.
#[derive(Debug)]
pub(super) struct Operator {
    masters: Vec<String>,
    http: Http,
}

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody answered, or nobody led.
    #[error("no answer from {asked}: {why}; name masters that run with --masters")]
    NoAnswer {
        /// Who was asked.
        asked: String,
        /// What the last one said.
        why: String,
    },
    /// The leader says no.
    #[error("{0}")]
    Refused(String),
    /// Something that is no Regency master.
    #[error("{0} answers with what is not understood; is it a Regency master?")]
    Strange(String),
}

impl Operator {
    pub(super) fn new(masters: &[String]) -> Self {
        let masters = masters.iter().map(|master| master.trim().to_owned());
        Self {
            masters: masters.filter(|master| !master.is_empty()).collect(),
            http: Http::default(),
        }
    }

    /// What a path shows, with every write in it that was answered before.
    pub(super) async fn read(&self, path: &str) -> Result<Value, Failure> {
        let path = format!("{path}?consistent=true");
        let (master, body) = self.until_answered(&path, None).await?;
        serde_json::from_slice(&body).map_err(|_| Failure::Strange(master))
    }

    /// Makes a call of the v1 API that writes. It may be sent more than once, so it must be one that
    /// can be repeated.
    pub(super) async fn write(&self, call: &Value) -> Result<(), Failure> {
        self.until_answered("/api/v1", Some(call)).await?;
        Ok(())
    }

    /// Asks one after the other, and whom they name, until one answers.
    async fn until_answered(
        &self,
        path: &str,
        call: Option<&Value>,
    ) -> Result<(String, bytes::Bytes), Failure> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut why = "there are none".to_owned();
        loop {
            for master in &self.masters {
                let mut address = master.clone();
                // A master that was just told who leads may be wrong once.
                for _ in 0..3 {
                    match self.attempt(&address, path, call).await? {
                        Ok(body) => return Ok((address, body)),
                        Err(Elsewhere::At(leader)) => address = leader,
                        Err(Elsewhere::Nowhere(reason)) => {
                            why = reason;
                            break;
                        }
                    }
                }
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Failure::NoAnswer {
                    asked: self.masters.join(","),
                    why,
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn attempt(
        &self,
        address: &str,
        path: &str,
        call: Option<&Value>,
    ) -> Result<Result<bytes::Bytes, Elsewhere>, Failure> {
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json"),
        ];
        let answer = match call {
            None => self.http.get(address, path, CALL_TIMEOUT).await,
            Some(call) => {
                let body = call.to_string().into();
                self.http
                    .post(address, path, &headers, body, CALL_TIMEOUT)
                    .await
            }
        };
        let nowhere = |error: RequestError| Err(Elsewhere::Nowhere(error.to_string()));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Ok(nowhere(error)),
        };
        match answer.status.as_u16() {
            200 => Ok(Ok(answer.body)),
            307 => {
                let location = answer.headers.get("location");
                let leader = location.and_then(|at| authority(at.to_str().ok()?));
                Ok(Err(leader.map_or_else(
                    || Elsewhere::Nowhere(format!("{address} names no leader")),
                    Elsewhere::At,
                )))
            }
            503 => Ok(Err(Elsewhere::Nowhere(answer.text()))),
            404 => Err(Failure::Strange(address.to_owned())),
            _ => Err(Failure::Refused(answer.text())),
        }
    }
}

/// Whom to ask instead.
enum Elsewhere {
    At(String),
    Nowhere(String),
}

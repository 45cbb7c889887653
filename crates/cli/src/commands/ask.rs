//! Calls of an operator, sent until a master answers, and what commands that make them share.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use regency_client::{Answer, Http, RequestError};
use serde_json::Value;

/// The v1 operator API.
const CALLS: &str = "/api/v1";
/// Asks for every write that was answered before, whichever master tells.
const CONSISTENT: &str = "?consistent=true";
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
    #[error("{why}")]
    Refused {
        /// Why.
        why: String,
        /// An earlier attempt got no answer, and may be what is in the way.
        may_be_done: bool,
    },
    /// Something that is no Regency master.
    #[error("{0} answers with what is not understood; is it a Regency master?")]
    Strange(String),
}

impl Operator {
    pub(super) fn new(masters: &[String]) -> Self {
        Self {
            masters: named(masters),
            http: Http::default(),
        }
    }

    /// What a path shows, with every write in it that was answered before.
    pub(super) async fn read(&self, path: &str) -> Result<Value, Failure> {
        self.read_value(&format!("{path}{CONSISTENT}"), None).await
    }

    /// What a call of the v1 API that reads tells, with every write in it that was answered before.
    pub(super) async fn ask(&self, call: &Value) -> Result<Value, Failure> {
        self.read_value(&format!("{CALLS}{CONSISTENT}"), Some(call))
            .await
    }

    /// Makes a call of the v1 API that writes. It may be sent more than once, so it must be one that
    /// can be repeated.
    pub(super) async fn write(&self, call: &Value) -> Result<(), Failure> {
        self.until_answered(CALLS, Some(call)).await?;
        Ok(())
    }

    async fn read_value(&self, path: &str, call: Option<&Value>) -> Result<Value, Failure> {
        let (master, body) = self.until_answered(path, call).await?;
        serde_json::from_slice(&body).map_err(|_| Failure::Strange(master))
    }

    /// Asks one after the other, and whom they name, until one answers.
    async fn until_answered(
        &self,
        path: &str,
        call: Option<&Value>,
    ) -> Result<(String, bytes::Bytes), Failure> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut why = "there are none".to_owned();
        let mut may_be_done = false;
        loop {
            for master in &self.masters {
                let mut address = master.clone();
                // A master that was just told who leads may be wrong once.
                for _ in 0..3 {
                    let answer = match self.send(&address, path, call).await {
                        Ok(answer) => answer,
                        Err(error) => {
                            may_be_done |= !error.was_not_sent();
                            why = error.to_string();
                            break;
                        }
                    };
                    match answer.status.as_u16() {
                        200 => return Ok((address, answer.body)),
                        307 => match elsewhere(&answer) {
                            Some(leader) => address = leader,
                            None => {
                                why = format!("{address} names no leader");
                                break;
                            }
                        },
                        503 => {
                            why = answer.text();
                            // Also said of a change whose outcome the master does not know.
                            may_be_done = true;
                            break;
                        }
                        404 if call.is_none() => return Err(Failure::Strange(address)),
                        _ => {
                            return Err(Failure::Refused {
                                why: answer.text(),
                                may_be_done,
                            });
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

    async fn send(
        &self,
        address: &str,
        path: &str,
        call: Option<&Value>,
    ) -> Result<Answer, RequestError> {
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json"),
        ];
        match call {
            None => self.http.get(address, path, CALL_TIMEOUT).await,
            Some(call) => {
                let body = call.to_string().into();
                let sent = self.http.post(address, path, &headers, body, CALL_TIMEOUT);
                sent.await
            }
        }
    }
}

/// The masters of a list in which somebody may have left blanks.
pub(super) fn named(masters: &[String]) -> Vec<String> {
    let masters = masters.iter().map(|master| master.trim().to_owned());
    masters.filter(|master| !master.is_empty()).collect()
}

/// The master that a redirect names.
pub(super) fn elsewhere(answer: &Answer) -> Option<String> {
    authority(answer.headers.get("location")?.to_str().ok()?)
}

/// The `host:port` of a redirect: `//host:port/path`.
fn authority(location: &str) -> Option<String> {
    let authority = location.split_once("//")?.1.split('/').next()?;
    (!authority.is_empty()).then(|| authority.to_owned())
}

/// Runs what an action asks of masters.
pub(super) fn block_on(
    action: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(action)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what was asked for.
pub(super) fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_a_master() {
        assert_eq!(authority("//h:5050/regency/members"), Some("h:5050".into()));
        assert_eq!(authority("http://h:5050"), Some("h:5050".into()));
        assert_eq!(authority("/regency/members"), None);
    }
}

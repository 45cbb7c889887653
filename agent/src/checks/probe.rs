//! One look at a task.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use regency_agent_core::{CheckStatus, ContainerId, Exit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::plan::Probe;
use crate::shim::{self, Spec};
use crate::tasks::Ground;

/// Longest word of the process that runs a command.
const ANSWER_BYTES_MAX: u64 = 64;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// The command exited with this status.
    Exited(i32),
    /// This was the status of the answer.
    Answered(u16),
    /// There was a connection.
    Connected,
}

impl Sight {
    /// Whether a health check passes.
    pub(super) fn is_healthy(self) -> bool {
        match self {
            Self::Exited(status) => status == 0,
            Self::Answered(status) => (200..400).contains(&status),
            Self::Connected => true,
        }
    }

    /// What a check tells.
    pub(super) fn status(self) -> CheckStatus {
        match self {
            Self::Exited(status) => CheckStatus::Command(Some(status)),
            Self::Answered(status) => CheckStatus::Http(Some(u32::from(status))),
            Self::Connected => CheckStatus::Tcp(Some(true)),
        }
    }
}

/// Makes the client of all HTTP checks. They go to the machine itself and look whether somebody
/// answers, not who: certificates are not verified, and no proxy is asked.
///
/// # Errors
/// When there is no TLS.
pub(super) fn http_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .danger_accept_invalid_certs(true)
        .pool_max_idle_per_host(0)
        .build()
}

/// Looks once; `spec` is what to run for a command. Dropped before it is done, it leaves nothing
/// behind.
pub(super) async fn look(
    probe: &Probe,
    http: &reqwest::Client,
    ground: &Arc<Ground>,
    container: ContainerId,
    spec: Option<&Spec>,
) -> anyhow::Result<Sight> {
    match probe {
        Probe::Tcp(address) => {
            tokio::net::TcpStream::connect(address)
                .await
                .with_context(|| format!("cannot connect to {address}"))?;
            Ok(Sight::Connected)
        }
        Probe::Http(url) => {
            // The body is of no interest; dropping the answer closes the connection.
            let answer = http.get(url).send().await;
            let answer = answer.with_context(|| format!("no answer of {url}"))?;
            Ok(Sight::Answered(answer.status().as_u16()))
        }
        Probe::Command(_) => {
            let spec = spec.context("the check's command cannot be run")?;
            run(ground, container, spec).await
        }
    }
}

/// Runs a command in a process that kills all of it when the socket to it closes.
async fn run(ground: &Ground, container: ContainerId, spec: &Spec) -> anyhow::Result<Sight> {
    let (ours, theirs) = UnixStream::pair().context("no socket")?;
    ours.set_nonblocking(true)?;
    // Of the temporary command nothing stays but the child: the other end of the socket is only
    // its.
    let mut child = tokio::process::Command::from(crate::tasks::shim_command(ground, container))
        .arg(shim::CHECK_FLAG)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", ground.shim.display()))?;
    let mut socket = tokio::net::UnixStream::from_std(ours)?;
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    socket.write_all(&line).await?;
    let mut answer = String::new();
    let mut socket = socket.take(ANSWER_BYTES_MAX);
    socket.read_to_string(&mut answer).await?;
    child.wait().await?;
    match shim::parse_exit(&answer) {
        Some(Exit::Exited(status)) => Ok(Sight::Exited(status)),
        Some(exit) => anyhow::bail!("{}", exit.message()),
        None => anyhow::bail!("the check's process ended without a word"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_exit_code_zero_an_answer_without_error_a_connection() {
        for (sight, healthy) in [
            (Sight::Exited(0), true),
            (Sight::Exited(1), false),
            (Sight::Answered(200), true),
            (Sight::Answered(399), true),
            (Sight::Answered(199), false),
            (Sight::Answered(404), false),
            (Sight::Connected, true),
        ] {
            assert_eq!(sight.is_healthy(), healthy, "{sight:?}");
        }
    }
}

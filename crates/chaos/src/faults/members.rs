//! Changes of who leads and who belongs, and copies of the state.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Arena, Done};
use crate::driver::{Candidate, Driver, Kind, Member, Process};
use crate::schedule::Step;

/// How long a call about members may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a change of members may take altogether.
const CHANGE_WITHIN: Duration = Duration::from_secs(60);
/// How long a snapshot may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause before a change is tried again.
const AGAIN: Duration = Duration::from_millis(200);

impl<D: Driver> Arena<'_, D> {
    /// Hands leadership over.
    pub(super) async fn transfer(&mut self) -> anyhow::Result<Done> {
        let Some(before) = self.leader().await else {
            return Ok(Done::not("nobody led"));
        };
        let said = self.ask_leader("/transfer-leader", &json!({})).await;
        let deadline = Instant::now() + super::SETTLES_WITHIN;
        while Instant::now() < deadline {
            if let Some(now) = self.leader().await
                && now.term > before.term
            {
                let moved = now.node_id != before.node_id;
                return Ok(Done {
                    targets: vec![format!("master {}", before.node_id)],
                    confirmed: u64::from(moved),
                    evidence: format!(
                        "from master {} in term {} to master {} in term {}",
                        before.node_id, before.term, now.node_id, now.term
                    ),
                });
            }
            sleep(super::LOOK_AGAIN).await;
        }
        Ok(Done::not(match said {
            Ok(()) => "the term did not change".to_owned(),
            Err(why) => why,
        }))
    }

    /// One call about members to the leader; what it says when it says no.
    async fn ask_leader(&self, path: &str, body: &Value) -> Result<(), String> {
        let leader = self.leader().await.ok_or("nobody leads")?;
        let masters = self.record.masters();
        let at = masters.get(&leader.node_id).ok_or("an unknown leader")?;
        let json = [("content-type", "application/json")];
        let path = format!("/regency/members{path}");
        let body = Bytes::from(body.to_string());
        let answer = self.http.post(&at.http, &path, &json, body, CALL_TIMEOUT);
        match answer.await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The same, until it is done.
    async fn change(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let deadline = Instant::now() + CHANGE_WITHIN;
        loop {
            match self.ask_leader(path, body).await {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() >= deadline => {
                    anyhow::bail!("members{path} {body} for {CHANGE_WITHIN:?}: {why}")
                }
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// Puts a new master in the place of another, dead or alive.
    pub(super) async fn replace(&mut self, old: u64) -> anyhow::Result<Candidate> {
        let new = self.driver.candidate().await?;
        let body = json!({
            "id": new.id, "raft": new.raft, "http": new.http, "agent": new.agent, "promote": false,
        });
        self.change("", &body).await?;
        let body = json!({"old": old, "new": new.id});
        self.change("/replace", &body).await?;
        self.record.replaced(old, new.id, new.http.clone());
        self.driver.forget(Member::master(old)).await?;
        Ok(new)
    }

    /// Replaces a master that is well.
    pub(super) async fn churn(&mut self, pick: u64) -> anyhow::Result<Done> {
        let old = self.pick(Kind::Master, pick, 1);
        let Some(old) = old.first() else {
            return Ok(Done::not("there is no master"));
        };
        let new = self.replace(old.id).await?;
        Ok(Done {
            targets: vec![old.to_string()],
            confirmed: 1,
            evidence: format!("master {} took the place of {old}", new.id),
        })
    }

    /// Kills a master, removes its data, and puts a new one in its place.
    pub(super) async fn lose_data(&mut self, pick: u64, lasts: Duration) -> anyhow::Result<Done> {
        let old = self.pick(Kind::Master, pick, 1);
        let Some(old) = old.first().copied() else {
            return Ok(Done::not("there is no master"));
        };
        let dir = self.driver.data_dir(old).context("no data directory")?;
        self.driver.kill(old).await?;
        let gone = self.settles(old, Process::Gone).await?;
        std::fs::remove_dir_all(&dir)
            .with_context(|| format!("cannot remove {}", dir.display()))?;
        let lost = gone && !dir.exists();
        sleep(lasts).await;
        let new = self.replace(old.id).await?;
        Ok(Done {
            targets: vec![old.to_string()],
            confirmed: u64::from(lost),
            evidence: format!("its directory is gone; master {} took its place", new.id),
        })
    }

    /// Saves the state with this program, which checks it, too.
    pub(super) async fn save_snapshot(&mut self, step: &Step) -> anyhow::Result<Done> {
        let file = self.scratch.join(format!("{}.snapshot", step.at_ms));
        let masters = self.record.addresses().join(",");
        let mut save = tokio::process::Command::new(&self.program);
        save.args(["snapshot", "save", "--consistent", "--masters", &masters])
            .arg(&file)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(SNAPSHOT_TIMEOUT, save.output()).await;
        let output = output.context("'snapshot save' takes too long")??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            return Ok(Done::not(text(&output.stderr)));
        }
        // It is of no use any more.
        std::fs::remove_file(&file).with_context(|| format!("no {}", file.display()))?;
        Ok(Done {
            targets: self.record.addresses(),
            confirmed: 1,
            evidence: text(&output.stdout),
        })
    }
}

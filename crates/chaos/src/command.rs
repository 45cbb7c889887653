//! A driver for somebody's own cluster: a file that names its members and the commands that kill,
//! freeze, thaw and start them. A command is a line of shell, so that it may be `ssh`, `systemctl`
//! or `docker`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use regency_client::Http;
use serde::Deserialize;
use tokio::time::Instant;

use crate::driver::{Driver, Kind, Member, Place, Process};
use crate::scenario::Nemesis;

/// How long a command may take unless the file says otherwise.
const COMMAND_TIMEOUT_SECS: u64 = 30;
/// How long a killed member may still answer.
const GONE_WITHIN: Duration = Duration::from_secs(15);
/// How long a member that runs may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(800);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// The masters.
    pub master: Vec<Commands>,
    /// The agents; may be left out.
    #[serde(default)]
    pub agent: Vec<Commands>,
    /// How long a command may take, in seconds.
    #[serde(default = "command_timeout")]
    pub command_timeout_secs: u64,
}

fn command_timeout() -> u64 {
    COMMAND_TIMEOUT_SECS
}

/// A member and what is done to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Its number; that of a master is its id in the cluster.
    pub id: u64,
    /// Its `host:port` for clients.
    pub http: String,
    /// Ends it at once, as `kill -9` does. Returns when that is done.
    pub kill: String,
    /// Starts it again, with its data.
    pub start: String,
    /// Lets it stand still, as `kill -STOP` does. Without it, nothing is frozen.
    pub freeze: Option<String>,
    /// Lets it go on.
    pub thaw: Option<String>,
    /// Prints `runs`, `frozen` or `gone`. Without it, a member that does not answer is taken for what
    /// was done to it.
    pub state: Option<String>,
}

/// The driver.
#[derive(Debug)]
pub struct CommandDriver {
    file: ClusterFile,
    http: Http,
    /// Members that were frozen and not thawed.
    frozen: Vec<Member>,
}

impl CommandDriver {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or names nobody, or somebody twice.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let file: ClusterFile = toml::from_str(text)?;
        anyhow::ensure!(!file.master.is_empty(), "'master' is empty");
        for (name, all) in [("master", &file.master), ("agent", &file.agent)] {
            let mut ids: Vec<u64> = all.iter().map(|one| one.id).collect();
            ids.sort_unstable();
            let twice = ids.windows(2).find(|two| two[0] == two[1]);
            anyhow::ensure!(
                twice.is_none(),
                "'id' {} of a {name} is there twice",
                twice.map_or(0, |t| t[0])
            );
            for one in all {
                anyhow::ensure!(
                    one.freeze.is_some() == one.thaw.is_some(),
                    "{name} {} has one of 'freeze' and 'thaw', and needs both or none",
                    one.id
                );
            }
        }
        Ok(Self {
            file,
            http: Http::default(),
            frozen: Vec::new(),
        })
    }

    fn of(&self, member: Member) -> anyhow::Result<&Commands> {
        let all = match member.kind {
            Kind::Master => &self.file.master,
            Kind::Agent => &self.file.agent,
        };
        let found = all.iter().find(|one| one.id == member.id);
        found.with_context(|| format!("{member} is not in the file"))
    }

    async fn sh(&self, member: Member, what: &str, line: &str) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new("/bin/sh");
        command
            .args(["-c", line])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let limit = Duration::from_secs(self.file.command_timeout_secs);
        let output = tokio::time::timeout(limit, command.output())
            .await
            .with_context(|| format!("'{what}' of {member} takes longer than {limit:?}"))?
            .with_context(|| format!("'{what}' of {member}"))?;
        anyhow::ensure!(
            output.status.success(),
            "'{what}' of {member}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    async fn answers(&self, http: &str) -> bool {
        // Agents and masters both know this one.
        self.http.get(http, "/health", ANSWER_TIMEOUT).await.is_ok()
    }
}

impl Driver for CommandDriver {
    fn members(&self) -> Vec<Place> {
        let places = |all: &[Commands], make: fn(u64) -> Member| -> Vec<Place> {
            let place = |one: &Commands| Place {
                member: make(one.id),
                http: one.http.clone(),
            };
            all.iter().map(place).collect()
        };
        let mut all = places(&self.file.master, Member::master);
        all.extend(places(&self.file.agent, Member::agent));
        all
    }

    fn lacks(&self, nemesis: Nemesis) -> Option<String> {
        let lacks = |why: &str| Some(why.to_owned());
        match nemesis {
            Nemesis::LeaderFreeze if self.file.master.iter().any(|one| one.freeze.is_none()) => {
                lacks("a master has no 'freeze'")
            }
            Nemesis::AgentKill if self.file.agent.is_empty() => lacks("the file names no agent"),
            Nemesis::CpuStarvation => lacks("its processors are elsewhere"),
            Nemesis::MembershipChurn | Nemesis::DeletedDataDir | Nemesis::BitFlip => {
                lacks("a driver of commands does not touch data or members")
            }
            on_links if on_links.on_links() => lacks("there are no proxies between its masters"),
            _ => None,
        }
    }

    async fn start(&mut self, member: Member) -> anyhow::Result<()> {
        self.sh(member, "start", &self.of(member)?.start).await?;
        Ok(())
    }

    async fn kill(&mut self, member: Member) -> anyhow::Result<()> {
        self.frozen.retain(|frozen| *frozen != member);
        self.sh(member, "kill", &self.of(member)?.kill).await?;
        let deadline = Instant::now() + GONE_WITHIN;
        while self.observe(member).await? != Process::Gone {
            anyhow::ensure!(
                Instant::now() < deadline,
                "{member} was killed and still answers after {GONE_WITHIN:?}; does something start \
                 it again?"
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn freeze(&mut self, member: Member) -> anyhow::Result<()> {
        let line = self.of(member)?.freeze.clone().context("no 'freeze'")?;
        self.sh(member, "freeze", &line).await?;
        self.frozen.push(member);
        Ok(())
    }

    async fn thaw(&mut self, member: Member) -> anyhow::Result<()> {
        let line = self.of(member)?.thaw.clone().context("no 'thaw'")?;
        self.sh(member, "thaw", &line).await?;
        self.frozen.retain(|frozen| *frozen != member);
        Ok(())
    }

    async fn observe(&mut self, member: Member) -> anyhow::Result<Process> {
        let commands = self.of(member)?.clone();
        if let Some(line) = &commands.state {
            let said = self.sh(member, "state", line).await?;
            return match said.as_str() {
                "runs" => Ok(Process::Runs),
                "frozen" => Ok(Process::Frozen),
                "gone" => Ok(Process::Gone),
                _ => anyhow::bail!("'state' of {member} prints '{said}', not runs, frozen or gone"),
            };
        }
        if self.answers(&commands.http).await {
            Ok(Process::Runs)
        } else if self.frozen.contains(&member) {
            Ok(Process::Frozen)
        } else {
            Ok(Process::Gone)
        }
    }

    fn crashes(&mut self) -> anyhow::Result<Vec<String>> {
        // Who else starts and ends its processes is not known here.
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path) -> String {
        let dir = dir.display();
        format!(
            "[[master]]\nid = 1\nhttp = \"127.0.0.1:1\"\n\
             kill = \"echo gone > {dir}/state\"\nstart = \"echo runs > {dir}/state\"\n\
             freeze = \"echo frozen > {dir}/state\"\nthaw = \"echo runs > {dir}/state\"\n\
             state = \"cat {dir}/state\"\n"
        )
    }

    #[tokio::test]
    async fn commands_are_run_and_what_they_did_is_looked_at() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut driver = CommandDriver::parse(&file(dir.path())).expect("a cluster");
        let one = Member::master(1);
        driver.start(one).await.expect("it starts");
        assert_eq!(driver.observe(one).await.expect("a state"), Process::Runs);
        driver.freeze(one).await.expect("it stands still");
        assert_eq!(driver.observe(one).await.expect("a state"), Process::Frozen);
        driver.thaw(one).await.expect("it goes on");
        driver.kill(one).await.expect("it ends");
        assert_eq!(driver.observe(one).await.expect("a state"), Process::Gone);
    }

    #[tokio::test]
    async fn a_command_that_fails_is_named_with_its_member() {
        let dir = tempfile::tempdir().expect("a directory");
        let text =
            file(dir.path()).replace("start = \"echo", "start = \"echo no >&2; exit 3; echo");
        let mut driver = CommandDriver::parse(&text).expect("a cluster");
        let error = driver.start(Member::master(1)).await.expect_err("it fails");
        let error = error.to_string();
        assert!(
            error.contains("'start' of master 1") && error.ends_with(": no"),
            "{error}"
        );
    }

    #[test]
    fn half_a_freeze_and_two_of_one_id_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = file(dir.path());
        let refused = |text: &str| CommandDriver::parse(text).expect_err("wrong").to_string();
        assert!(refused(&format!("{text}{text}")).contains("'id' 1 of a master"));
        let half: String = text
            .lines()
            .filter(|line| !line.starts_with("thaw"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(refused(&half).contains("master 1 has one of 'freeze' and 'thaw'"));
    }
}

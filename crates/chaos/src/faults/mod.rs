//! Carrying faults out, and saying whether they really struck.
//!
//! Each fault is undone before the next one begins. What a fault chooses comes from its step's
//! `pick` and from who leads; that it struck is observed, not believed.

mod clients;
mod files;
mod members;
mod network;
mod processes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use regency_client::Http;
use tokio::time::{Instant, sleep};

use crate::driver::{Driver, Kind, Member, Process};
use crate::record::Record;
use crate::report::Strike;
use crate::scenario::Nemesis;
use crate::schedule::Step;
use crate::status::{Status, leader};

/// How long a leader is awaited by a fault that needs one.
const LEADER_WITHIN: Duration = Duration::from_secs(20);
/// How long a process may take to be as it should be.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where faults strike.
#[derive(Debug)]
pub struct Arena<'a, D> {
    /// Who can start and end processes.
    pub driver: &'a mut D,
    /// What clients know.
    pub record: Arc<Record>,
    /// For calls to masters.
    pub http: Http,
    /// This program, for its other commands.
    pub program: PathBuf,
    /// A directory for files of faults.
    pub scratch: PathBuf,
}

/// What a fault did, before it is put into a [`Strike`].
#[derive(Debug, Default)]
struct Done {
    targets: Vec<String>,
    confirmed: u64,
    evidence: String,
}

impl Done {
    /// It did not strike.
    fn not(why: impl Into<String>) -> Self {
        Self {
            evidence: why.into(),
            ..Self::default()
        }
    }
}

impl<D: Driver> Arena<'_, D> {
    /// Carries out one step, and undoes it.
    ///
    /// # Errors
    /// When the harness cannot do what it has to, such as starting a member again.
    pub async fn strike(&mut self, number: usize, step: &Step) -> anyhow::Result<Strike> {
        let from_us = self.record.now_us();
        let done = self.carry_out(step).await;
        let done = done.with_context(|| format!("step {number}, {}", step.nemesis.name()))?;
        Ok(Strike {
            step: number,
            nemesis: step.nemesis,
            from_us,
            to_us: self.record.now_us(),
            targets: done.targets,
            confirmed: done.confirmed,
            evidence: done.evidence,
        })
    }

    async fn carry_out(&mut self, step: &Step) -> anyhow::Result<Done> {
        let lasts = Duration::from_millis(step.lasts_ms);
        match step.nemesis {
            Nemesis::LeaderKill => match self.leader().await {
                Some(status) => {
                    let done = self.kill(&[Member::master(status.node_id)], lasts).await?;
                    Ok(led(done, &status))
                }
                None => Ok(Done::not("nobody led")),
            },
            Nemesis::LeaderFreeze => match self.leader().await {
                Some(status) => {
                    let done = self.freeze(Member::master(status.node_id), lasts).await?;
                    Ok(led(done, &status))
                }
                None => Ok(Done::not("nobody led")),
            },
            Nemesis::AnyKill => {
                let victim = self.pick(Kind::Master, step.pick, 1);
                self.kill(&victim, lasts).await
            }
            Nemesis::MajorityKill => {
                let n = self.of(Kind::Master).len() / 2 + 1;
                let victims = self.pick(Kind::Master, step.pick, n);
                self.kill(&victims, lasts).await
            }
            Nemesis::WholeClusterKill => {
                let victims = self.of(Kind::Master);
                self.kill(&victims, lasts).await
            }
            Nemesis::AgentKill => {
                let victim = self.pick(Kind::Agent, step.pick, 1);
                if victim.is_empty() {
                    return Ok(Done::not("there is no agent"));
                }
                self.kill(&victim, lasts).await
            }
            Nemesis::RestartLoop => {
                let victim = self.pick(Kind::Master, step.pick, 1);
                self.restart_loop(&victim, lasts).await
            }
            Nemesis::LeaderTransfer => self.transfer().await,
            Nemesis::PartitionAsymmetric
            | Nemesis::PartitionLeader
            | Nemesis::PartitionBridge
            | Nemesis::ConnectionDrop
            | Nemesis::Delay
            | Nemesis::HalfOpen => self.network(step, lasts).await,
            Nemesis::CpuStarvation => self.starve(lasts).await,
            Nemesis::SlowReader => self.slow_readers(lasts).await,
            Nemesis::ReconnectStorm => self.storm(lasts).await,
            Nemesis::SnapshotSave => self.save_snapshot(step).await,
            Nemesis::MembershipChurn => self.churn(step.pick).await,
            Nemesis::DeletedDataDir => self.lose_data(step.pick, lasts).await,
            Nemesis::BitFlip => self.flip(step.pick, lasts).await,
        }
    }

    /// The members of a kind.
    fn of(&self, kind: Kind) -> Vec<Member> {
        let members = self.driver.members().into_iter().map(|place| place.member);
        members.filter(|member| member.kind == kind).collect()
    }

    /// Some of them, which `pick` chooses.
    fn pick(&self, kind: Kind, mut pick: u64, n: usize) -> Vec<Member> {
        let mut left = self.of(kind);
        let mut chosen = Vec::new();
        while chosen.len() < n && !left.is_empty() {
            let among = left.len() as u64;
            chosen.push(left.remove(usize::try_from(pick % among).unwrap_or_default()));
            pick /= among;
        }
        chosen
    }

    async fn statuses(&self) -> Vec<Status> {
        Status::of_all(&self.http, self.record.addresses()).await
    }

    /// Waits for a leader.
    async fn leader(&self) -> Option<Status> {
        let deadline = Instant::now() + LEADER_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = leader(&self.statuses().await) {
                return Some(status.clone());
            }
            sleep(LOOK_AGAIN).await;
        }
        None
    }

    /// Waits until a process is in some way.
    async fn settles(&mut self, member: Member, wanted: Process) -> anyhow::Result<bool> {
        let deadline = Instant::now() + SETTLES_WITHIN;
        loop {
            if self.driver.observe(member).await? == wanted {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Starts a member again, and waits until its process is there.
    async fn start(&mut self, member: Member) -> anyhow::Result<()> {
        if member.kind == Kind::Master {
            self.record.starts(member.id);
        }
        self.driver.start(member).await?;
        anyhow::ensure!(
            self.settles(member, Process::Runs).await?,
            "{member} was started and does not run"
        );
        Ok(())
    }
}

/// Adds what was led.
fn led(mut done: Done, status: &Status) -> Done {
    done.evidence = format!("led term {}; {}", status.term, done.evidence);
    done
}

//! The driver of a cluster that is started for a run: processes of this same program on loopback,
//! as `regency local` has them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use nix::sys::signal::Signal;
use regency_chaos::driver::{Candidate, Driver, Kind, Member, Place, Process};
use regency_chaos::links::Links;
use regency_chaos::process::observe;
use regency_chaos::run::Plan;
use regency_chaos::scenario::Nemesis;
use regency_client::Http;
use tokio::time::{Instant, sleep};

use crate::local::LocalFlags;
use crate::local::cluster::{self, Cluster, HOST};
use crate::local::conductor;
use crate::local::ports::MASTERS_MAX;

/// Masters that there is room for: those that join get ports of their own, in turn.
const SLOTS: u16 = MASTERS_MAX;
/// How long a master that was removed may take to end.
const LEAVES_WITHIN: Duration = Duration::from_secs(20);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What makes rare things frequent: comparisons of states, and snapshots.
const MASTER_FLAGS: [&str; 3] = [
    "--state-hash-every-entries=50",
    "--snapshot-every-entries=1000",
    "--log-keep-entries=500",
];

/// The cluster.
#[derive(Debug)]
pub(super) struct LocalDriver {
    cluster: Cluster,
    links: Option<Arc<Links>>,
    /// Ids of masters and which ports they have.
    slots: BTreeMap<u64, u16>,
    next_id: u16,
    next_slot: u16,
    /// Where clients find masters in all slots.
    http_of_slots: Vec<String>,
    ledger_dir: PathBuf,
}

/// For the defaults of the flags of `regency local`.
#[derive(Debug, clap::Parser)]
struct Defaults {
    #[command(flatten)]
    flags: LocalFlags,
}

impl LocalDriver {
    /// Starts it, and waits until a leader serves with all agents.
    pub(super) async fn start(
        plan: &Plan,
        log_filter: &str,
        master_flags: Vec<String>,
    ) -> anyhow::Result<Self> {
        let n_masters = plan.scenario.masters;
        anyhow::ensure!(
            (1..SLOTS).contains(&n_masters),
            "'masters' is {n_masters}, not within 1 and {}",
            SLOTS - 1
        );
        let mut flags = Defaults::try_parse_from(["local", "--port-base", "0"])?.flags;
        flags.masters = n_masters;
        flags.agents = plan.scenario.agents;
        flags.spare_masters = SLOTS - n_masters;
        flags.master_flag = MASTER_FLAGS.map(str::to_owned).to_vec();
        flags.master_flag.extend(master_flags);
        let mut proxies = Vec::new();
        if plan.scenario.needs_links() {
            for _ in 0..n_masters {
                proxies.push(Links::listen().await?);
            }
        }
        flags.raft_proxies = proxies.iter().map(|(_, port)| *port).collect();
        let mut cluster = Cluster::new(&plan.scratch, &plan.program, &flags, log_filter)?;
        let links = (!proxies.is_empty()).then(|| Arc::new(Links::default()));
        if let Some(links) = &links {
            for ((listener, _), master) in proxies.into_iter().zip(&cluster.masters) {
                links.forward(listener, u64::from(master.id), raft(master)?);
            }
        }
        // Who calls is asked of the system, so pids have to be known before anybody is elected.
        for member in cluster.masters.iter_mut().chain(&mut cluster.agents) {
            let pid = member.start()?;
            if let (Some(links), cluster::Kind::Master) = (&links, member.kind) {
                links.belongs(pid, u64::from(member.id));
            }
        }
        let ready = conductor::ready(&mut cluster, &Http::default()).await;
        let first: SocketAddr = cluster.masters[0].http.parse()?;
        let driver = Self {
            slots: (1..=n_masters).map(|id| (u64::from(id), id)).collect(),
            cluster,
            links,
            next_id: n_masters + 1,
            next_slot: n_masters + 1,
            http_of_slots: (0..SLOTS)
                .map(|slot| format!("{HOST}:{}", first.port() + slot))
                .collect(),
            ledger_dir: plan.scratch.clone(),
        };
        if let Err(error) = ready {
            driver.stop().await?;
            return Err(error);
        }
        Ok(driver)
    }

    /// Ends all processes.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.cluster.stop().await
    }

    fn of(&self, member: Member) -> Option<&cluster::Member> {
        let all = match member.kind {
            Kind::Master => &self.cluster.masters,
            Kind::Agent => &self.cluster.agents,
        };
        all.iter().find(|one| u64::from(one.id) == member.id)
    }

    fn of_mut(&mut self, member: Member) -> anyhow::Result<&mut cluster::Member> {
        let all = match member.kind {
            Kind::Master => &mut self.cluster.masters,
            Kind::Agent => &mut self.cluster.agents,
        };
        let mut found = all.iter_mut().filter(|one| u64::from(one.id) == member.id);
        found
            .next()
            .with_context(|| format!("there is no {member}"))
    }

    fn signal(&self, member: Member, signal: Signal) -> anyhow::Result<()> {
        let sent = self.of(member).and_then(|one| one.send(signal));
        sent.map(|_| ())
            .with_context(|| format!("{member} has no process"))
    }
}

/// Where a master listens for others.
fn raft(master: &cluster::Member) -> anyhow::Result<SocketAddr> {
    let raft = master
        .raft
        .as_ref()
        .context("a master without a port for others")?;
    Ok(raft.parse()?)
}

impl Driver for LocalDriver {
    fn members(&self) -> Vec<Place> {
        let masters = self.cluster.masters.iter();
        let all = masters.chain(&self.cluster.agents);
        all.map(|one| Place {
            member: match one.kind {
                cluster::Kind::Master => Member::master(u64::from(one.id)),
                cluster::Kind::Agent => Member::agent(u64::from(one.id)),
            },
            http: one.http.clone(),
        })
        .collect()
    }

    fn client_addresses(&self) -> Vec<String> {
        self.http_of_slots.clone()
    }

    fn lacks(&self, nemesis: Nemesis) -> Option<String> {
        (nemesis == Nemesis::AgentKill && self.cluster.agents.is_empty())
            .then(|| "the scenario has no agents".to_owned())
    }

    async fn start(&mut self, member: Member) -> anyhow::Result<()> {
        let pid = self.of_mut(member)?.start()?;
        if let (Some(links), Kind::Master) = (&self.links, member.kind) {
            links.belongs(pid, member.id);
        }
        Ok(())
    }

    async fn kill(&mut self, member: Member) -> anyhow::Result<()> {
        let member = self.of_mut(member)?;
        member.send_kill();
        member.wait_killed().await
    }

    async fn freeze(&mut self, member: Member) -> anyhow::Result<()> {
        self.signal(member, Signal::SIGSTOP)
    }

    async fn thaw(&mut self, member: Member) -> anyhow::Result<()> {
        self.signal(member, Signal::SIGCONT)
    }

    async fn observe(&mut self, member: Member) -> anyhow::Result<Process> {
        Ok(self.pid(member).map_or(Process::Gone, observe))
    }

    fn crashes(&mut self) -> anyhow::Result<Vec<String>> {
        let mut crashes = Vec::new();
        while let Some(death) = self.cluster.next_death()? {
            crashes.push(format!(
                "{} {} ended: {}; {}",
                death.kind.name(),
                death.id,
                death.status,
                // Errors are one line, and the last one.
                death.last_lines.lines().last().unwrap_or_default()
            ));
        }
        Ok(crashes)
    }

    fn links(&self) -> Option<&Arc<Links>> {
        self.links.as_ref()
    }

    fn data_dir(&self, member: Member) -> Option<PathBuf> {
        self.of(member).map(|one| one.dir.clone())
    }

    fn pid(&self, member: Member) -> Option<i32> {
        self.of(member)?.pid()
    }

    fn ledger_dir(&self) -> Option<PathBuf> {
        Some(self.ledger_dir.clone())
    }

    async fn candidate(&mut self) -> anyhow::Result<Candidate> {
        let taken = |slot: &u16| self.slots.values().any(|taken| taken == slot);
        let slots = (0..SLOTS).map(|n| (self.next_slot - 1 + n) % SLOTS + 1);
        let slot = slots.into_iter().find(|slot| !taken(slot));
        let slot = slot.context("no ports are left")?;
        let id = self.next_id;
        let proxy = match &self.links {
            Some(_) => Some(Links::listen().await?),
            None => None,
        };
        let port = proxy.as_ref().map(|(_, port)| *port);
        let master = self.cluster.add_master(id, slot, port)?;
        let target = raft(master)?;
        let pid = master.start()?;
        let candidate = Candidate {
            id: u64::from(id),
            raft: port.map_or_else(|| target.to_string(), |port| format!("{HOST}:{port}")),
            http: master.http.clone(),
            agent: master
                .grpc
                .clone()
                .context("a master without a port for agents")?,
        };
        if let (Some(links), Some((listener, _))) = (&self.links, proxy) {
            links.belongs(pid, u64::from(id));
            links.forward(listener, u64::from(id), target);
        }
        self.slots.insert(u64::from(id), slot);
        self.next_id += 1;
        self.next_slot = slot + 1;
        Ok(candidate)
    }

    async fn forget(&mut self, member: Member) -> anyhow::Result<()> {
        let deadline = Instant::now() + LEAVES_WITHIN;
        // One that was removed ends by itself.
        while self.observe(member).await? != Process::Gone && Instant::now() < deadline {
            sleep(LOOK_AGAIN).await;
        }
        let ended = self.observe(member).await? == Process::Gone;
        self.kill(member).await?;
        let all = &mut self.cluster.masters;
        all.retain(|one| u64::from(one.id) != member.id);
        self.slots.remove(&member.id);
        anyhow::ensure!(
            ended,
            "{member} was removed and still ran after {LEAVES_WITHIN:?}"
        );
        Ok(())
    }
}

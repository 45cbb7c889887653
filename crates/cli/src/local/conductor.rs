//! What happens to the cluster over time: leaders are killed and restarted, deaths are noticed,
//! failovers are measured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use regency_client::{Http, MasterStatus, Role};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::board::Board;
use super::cluster::{Cluster, Death, Kind};
use super::demo::Sight;
use super::event::Event;
use super::failover::Measurement;

/// How long a master may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// How often masters are asked while nothing special happens, and while something is awaited.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);
const AWAIT_PAUSE: Duration = Duration::from_millis(20);
/// How often it is checked whether a process ended.
const DEATH_INTERVAL: Duration = Duration::from_millis(20);
/// How long the cluster may take from start to a leader with all agents.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long a failover is watched.
const FAILOVER_LIMIT: Duration = Duration::from_secs(15);
/// For how long a killed process stays dead, at least.
const DEAD_FOR: Duration = Duration::from_secs(1);
/// How long a restarted master may take to catch up.
const REJOIN_LIMIT: Duration = Duration::from_secs(30);
/// How long the cluster is given between a recovery and the next kill, at least.
const CALM: Duration = Duration::from_secs(1);

/// Owns the processes while they run.
pub(crate) struct Conductor {
    pub(crate) cluster: Cluster,
    pub(crate) http: Http,
    pub(crate) board: Arc<Board>,
    /// What the framework sees; absent without one.
    pub(crate) sight: Option<watch::Receiver<Sight>>,
    /// Leave the dead alone.
    pub(crate) no_restart: bool,
    /// Members that died while another one was waited for; their turn comes next.
    pub(crate) waiting: VecDeque<Death>,
}

/// Starts the cluster and waits until it can be used: a leader serves, all agents are attached.
pub(crate) async fn start(cluster: &mut Cluster, http: &Http) -> anyhow::Result<()> {
    cluster.start()?;
    ready(cluster, http).await
}

/// Waits until a leader serves with all agents.
pub(crate) async fn ready(cluster: &mut Cluster, http: &Http) -> anyhow::Result<()> {
    let addresses: Vec<String> = cluster.masters.iter().map(|m| m.http.clone()).collect();
    let n_agents = cluster.agents.len() as u64;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        if let Some(death) = cluster.next_death()? {
            anyhow::bail!(
                "{} {} ended: {}; see {}\n{}",
                death.kind.name(),
                death.id,
                death.status,
                death.log.display(),
                death.last_lines
            );
        }
        let statuses = ask_all(http, &addresses).await;
        let mut statuses = statuses.iter().flatten();
        if statuses.any(|status| status.leads() && status.agents_attached >= n_agents) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            anyhow::bail!(
                "no leader with {n_agents} agents after {} s; see the logs next to {}",
                READY_LIMIT.as_secs(),
                cluster
                    .masters
                    .first()
                    .map_or("", |m| m.dir.to_str().unwrap_or_default())
            );
        }
        sleep(AWAIT_PAUSE).await;
    }
}

impl Conductor {
    /// Lets the cluster run until the future is dropped.
    pub(crate) async fn run(&mut self, kill_every: Option<Duration>) -> anyhow::Result<()> {
        let mut deaths = interval(DEATH_INTERVAL);
        deaths.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_kill = kill_every.map(|every| Instant::now() + every);
        loop {
            tokio::select! {
                () = at(next_kill) => {
                    self.kill_leader().await?;
                    let calm = Instant::now() + CALM;
                    next_kill = next_kill.zip(kill_every).map(|(last, every)| {
                        (last + every).max(calm)
                    });
                }
                _ = deaths.tick() => {
                    let death = match self.waiting.pop_front() {
                        Some(death) => Some(death),
                        None => self.cluster.next_death()?,
                    };
                    if let Some(death) = death {
                        self.on_death(death).await?;
                    }
                }
            }
        }
    }

    /// kill -9, measure, restart, and wait until the cluster can bear the next loss.
    async fn kill_leader(&mut self) -> anyhow::Result<()> {
        let leader = self.find_leader().await?;
        let id = u16::try_from(leader.node_id).context("a number of a master")?;
        let master = self
            .cluster
            .member_mut(Kind::Master, id)
            .context("an unknown leader")?;
        let killed_at = Instant::now();
        let pid = master.send_kill().context("the leader is not running")?;
        self.board.emit(Event::Killed {
            kind: Kind::Master,
            id,
            pid,
        });
        master.wait_killed().await?;
        self.recover(id, killed_at, leader.term).await
    }

    async fn on_death(&mut self, death: Death) -> anyhow::Result<()> {
        let died_at = Instant::now();
        let (kind, id) = (death.kind, death.id);
        let leader = self.board.model().leader().cloned();
        self.board.emit(Event::Died(death));
        if self.no_restart {
            return Ok(());
        }
        match leader.filter(|leader| kind == Kind::Master && leader.node_id == u64::from(id)) {
            Some(leader) => self.recover(id, died_at, leader.term).await,
            None => {
                sleep(DEAD_FOR).await;
                self.restart(kind, id).await
            }
        }
    }

    /// After the death of a leader.
    async fn recover(&mut self, id: u16, killed_at: Instant, term: u64) -> anyhow::Result<()> {
        let alone = self.cluster.masters.len() == 1;
        if alone {
            // Nobody takes over from the only one.
            sleep(DEAD_FOR).await;
            self.start_again(Kind::Master, id)?;
        }
        let alive = self
            .cluster
            .masters
            .iter()
            .filter(|master| master.pid().is_some());
        let measurement = Measurement {
            http: &self.http,
            killed: id,
            killed_at,
            term,
            survivors: alive.map(|master| master.http.clone()).collect(),
            n_agents: self
                .cluster
                .agents
                .iter()
                .filter(|a| a.pid().is_some())
                .count() as u64,
            sight: self.sight.clone(),
        };
        let failover = measurement.run(FAILOVER_LIMIT).await;
        let is_over = failover.is_over();
        self.board.emit(Event::Failover(failover));
        anyhow::ensure!(
            is_over,
            "no master took over within {} s",
            FAILOVER_LIMIT.as_secs()
        );
        if alone {
            return Ok(());
        }
        sleep_until(killed_at + DEAD_FOR).await;
        self.restart(Kind::Master, id).await
    }

    /// Starts a member again; a master is waited for until it has caught up.
    async fn restart(&mut self, kind: Kind, id: u16) -> anyhow::Result<()> {
        let since = Instant::now();
        self.start_again(kind, id)?;
        if kind == Kind::Agent {
            return Ok(());
        }
        timeout(REJOIN_LIMIT, self.caught_up(id))
            .await
            .with_context(|| {
                format!(
                    "master {id} did not catch up within {} s",
                    REJOIN_LIMIT.as_secs()
                )
            })??;
        let after_ms = u64::try_from(since.elapsed().as_millis())?;
        self.board.emit(Event::Rejoined { id, after_ms });
        Ok(())
    }

    fn start_again(&mut self, kind: Kind, id: u16) -> anyhow::Result<()> {
        let member = self
            .cluster
            .member_mut(kind, id)
            .context("an unknown member")?;
        let pid = member.start()?;
        self.board.emit(Event::Started { kind, id, pid });
        Ok(())
    }

    async fn caught_up(&mut self, id: u16) -> anyhow::Result<()> {
        let committed = self.find_leader().await?.applied_index;
        let master = self
            .cluster
            .member_mut(Kind::Master, id)
            .context("an unknown master")?;
        let address = master.http.clone();
        loop {
            if let Ok(status) = MasterStatus::get(&self.http, &address, STATUS_TIMEOUT).await
                && status.leader.is_some()
                && matches!(status.role, Role::Follower | Role::Leader)
                && status.applied_index >= committed
            {
                return Ok(());
            }
            match self.cluster.next_death()? {
                Some(death) if death.kind == Kind::Master && death.id == id => {
                    self.board.emit(Event::Died(death));
                    sleep(DEAD_FOR).await;
                    self.start_again(Kind::Master, id)?;
                }
                Some(death) => self.waiting.push_back(death),
                None => sleep(AWAIT_PAUSE).await,
            }
        }
    }

    async fn find_leader(&self) -> anyhow::Result<MasterStatus> {
        let addresses: Vec<String> = self
            .cluster
            .masters
            .iter()
            .map(|master| master.http.clone())
            .collect();
        let found = timeout(FAILOVER_LIMIT, async {
            loop {
                let statuses = ask_all(&self.http, &addresses).await;
                let leaders = statuses.into_iter().flatten().filter(MasterStatus::leads);
                if let Some(leader) = leaders.max_by_key(|status| status.term) {
                    return leader;
                }
                sleep(AWAIT_PAUSE).await;
            }
        });
        found
            .await
            .with_context(|| format!("no leader for {} s", FAILOVER_LIMIT.as_secs()))
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Keeps the board's figures current, and tells when the leader changes. Never returns.
pub(crate) async fn observe(http: Http, addresses: Vec<String>, board: Arc<Board>) {
    let mut known: Option<(u64, u64)> = None;
    loop {
        let statuses = ask_all(&http, &addresses).await;
        let leader = {
            let mut model = board.model();
            model.statuses = statuses;
            model.leader().cloned()
        };
        if let Some(leader) = leader
            && known.is_none_or(|(term, id)| leader.term > term || leader.node_id != id)
        {
            known = Some((leader.term, leader.node_id));
            let address = leader.leader.map(|leader| leader.http).unwrap_or_default();
            board.emit(Event::Leader {
                id: leader.node_id,
                term: leader.term,
                http: address,
            });
        }
        sleep(STATUS_INTERVAL).await;
    }
}

/// Asks all masters at once; the answers come in the order of the addresses.
async fn ask_all(http: &Http, addresses: &[String]) -> Vec<Option<MasterStatus>> {
    let mut asked = JoinSet::new();
    for (i, address) in addresses.iter().enumerate() {
        let (http, address) = (http.clone(), address.clone());
        asked.spawn(async move {
            (
                i,
                MasterStatus::get(&http, &address, STATUS_TIMEOUT)
                    .await
                    .ok(),
            )
        });
    }
    let mut statuses = vec![None; addresses.len()];
    while let Some(Ok((i, status))) = asked.join_next().await {
        statuses[i] = status;
    }
    statuses
}

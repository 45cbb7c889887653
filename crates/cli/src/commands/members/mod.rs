//! `regency members`: who belongs to a running cluster, and changes of that.
//!
//! Everything is asked of the leader, which is found among the masters that are named. What is
//! allowed is decided there; this command only waits where waiting helps, and shows.

mod api;
mod table;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use regency_master::Peer;
use serde_json::{Value, json};

use self::api::{Cluster, Failure, Health, Members};
use super::Common;

/// How long a master to add is awaited when it does not answer: it may just have been started.
const START_WAIT: Duration = Duration::from_secs(5);
/// Pause before a master that has not caught up is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Action,
}

/// What changes of votes take as well.
#[derive(Debug, Clone, clap::Args)]
struct Change {
    /// End at an even number of voters all the same; type the ids that are changed once more.
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        require_equals = true,
        num_args = 1..
    )]
    force: Vec<u64>,

    /// How long to wait for a new master to catch up before it gets a vote.
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Show who belongs to the cluster.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show who answers and how many failures the cluster survives now; exits with 0 only if it
    /// is healthy.
    Health {
        #[command(flatten)]
        common: Common,
    },
    /// Add a master that runs and waits to be added, without a vote.
    Add {
        /// The new master, as others reach it: ID=HOST:RAFT_PORT:HTTP_PORT:AGENT_PORT.
        #[arg(value_name = "MASTER")]
        master: Peer,
        /// Give it a vote by itself once it has been healthy for a while, instead of a dead voter
        /// if there is one, and only where the number of voters ends odd.
        #[arg(long)]
        promote: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Give votes to masters that were added; several at once to end at an odd number.
    Promote {
        /// Ids of masters.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<u64>,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        common: Common,
    },
    /// Remove masters, dead or alive; a leader hands leadership over first.
    Remove {
        /// Ids of masters.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<u64>,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        common: Common,
    },
    /// Add a master, wait until it caught up, and give it the vote of another, which is removed.
    Replace {
        /// Id of the master that leaves.
        #[arg(value_name = "OLD_ID")]
        old: u64,
        /// The new master, as others reach it: ID=HOST:RAFT_PORT:HTTP_PORT:AGENT_PORT.
        #[arg(value_name = "MASTER")]
        new: Peer,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        common: Common,
    },
    /// Hand leadership to another master.
    TransferLeader {
        /// Its id; the one that is furthest when left out.
        #[arg(value_name = "ID")]
        to: Option<u64>,
        #[command(flatten)]
        common: Common,
    },
}

/// Carries out what is asked for. A refusal is an error.
pub(crate) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(act(flags.action))
}

async fn act(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List { common } => {
            let cluster = Cluster::new(common.masters.clone());
            show(&common, &cluster.list().await?, "")
        }
        Action::Health { common } => {
            let cluster = Cluster::new(common.masters.clone());
            show_health(&common, &cluster.health().await?)
        }
        Action::Add {
            master,
            promote,
            common,
        } => {
            let cluster = Cluster::new(common.masters.clone());
            let members = add(&cluster, &master, promote).await?;
            let id = master.id;
            let done = if promote {
                format!("master {id} is a learner and gets a vote by itself; look at 'health'")
            } else {
                format!("master {id} is a learner; 'regency members promote {id}' gives it a vote")
            };
            show(&common, &members, &done)
        }
        Action::Promote {
            ids,
            change,
            common,
        } => {
            let cluster = Cluster::new(common.masters.clone());
            let body = json!({"ids": ids, "force": change.force});
            let members = when_ready(&cluster, "promote", &body, change.wait).await?;
            show(&common, &members, &format!("{} may vote", named(&ids)))
        }
        Action::Remove {
            ids,
            change,
            common,
        } => {
            let cluster = Cluster::new(common.masters.clone());
            let body = json!({"ids": ids, "force": change.force});
            let members = cluster.change("remove", &body).await?;
            let done = format!("{} left; its process ends by itself", named(&ids));
            show(&common, &members, &done)
        }
        Action::Replace {
            old,
            new,
            change,
            common,
        } => {
            let cluster = Cluster::new(common.masters.clone());
            replace(&cluster, old, &new, &change)
                .await
                .and_then(|members| {
                    let done = format!("master {} replaces master {old}", new.id);
                    show(&common, &members, &done)
                })
        }
        Action::TransferLeader { to, common } => {
            let cluster = Cluster::new(common.masters.clone());
            let members = cluster.transfer_leader(to).await?;
            show(&common, &members, "leadership was handed over")
        }
    }
}

async fn add(cluster: &Cluster, master: &Peer, promote: bool) -> Result<Members, Failure> {
    let spec = master.spec();
    let body = json!({
        "id": master.id,
        "raft": spec.raft,
        "http": spec.http,
        "agent": spec.agent,
        "promote": promote,
    });
    when_ready(cluster, "", &body, START_WAIT).await
}

async fn replace(
    cluster: &Cluster,
    old: u64,
    new: &Peer,
    change: &Change,
) -> anyhow::Result<Members> {
    let members = cluster.list().await?;
    anyhow::ensure!(
        members.members.iter().any(|member| member.id == old),
        "master {old} does not belong to this cluster, nothing was changed; look at 'regency \
         members list'"
    );
    let members = add(cluster, new, false).await?;
    let votes = |id| members.members.iter().any(|m| m.id == id && m.voter);
    let is_there = |id| members.members.iter().any(|m| m.id == id);
    if votes(new.id) && !is_there(old) {
        // An earlier attempt had been left half-way; adding completed it.
        return Ok(members);
    }
    let body = json!({"old": old, "new": new.id, "force": change.force});
    when_ready(cluster, "replace", &body, change.wait)
        .await
        .with_context(|| {
            format!(
                "master {} was added without a vote and {old} is still there",
                new.id
            )
        })
}

/// Carries out a change as soon as everybody it is about answers and has caught up.
async fn when_ready(
    cluster: &Cluster,
    change: &str,
    body: &Value,
    wait: Duration,
) -> Result<Members, Failure> {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        match cluster.change(change, body).await {
            Err(failure) if failure.may_pass() && tokio::time::Instant::now() < deadline => {}
            result => return result,
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn named(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    let masters = if ids.len() == 1 { "master" } else { "masters" };
    format!("{masters} {}", ids.join(", "))
}

fn show(common: &Common, members: &Members, done: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if common.json {
        writeln!(out, "{}", members.raw)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{}", table::members(members))?;
    if !done.is_empty() {
        writeln!(out, "{done}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_health(common: &Common, health: &Health) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if common.json {
        writeln!(out, "{}", health.members.raw)?;
    } else {
        writeln!(out, "{}", table::members(&health.members))?;
        writeln!(out, "{}", table::judgement(health))?;
    }
    Ok(if health.healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

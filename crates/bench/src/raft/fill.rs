//! Makes a state of a size that real clusters have: agents, frameworks, and tasks that run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use regency_raft_store::Consensus;
use regency_resources::{Milli, Resources};
use regency_state::model::{AgentSpec, Capabilities, FrameworkSpec};
use regency_state::{
    AcceptOffers, AcknowledgeUpdate, ApplyReports, Command, IssueOffers, LaunchSpec, OfferPlan,
    Operation, Outcome, RegisterAgent, ReportedUpdate, SubscribeFramework, TaskReport, TaskSpec,
};
use regency_types::{
    AgentEpoch, AgentId, BootId, DurationMs, FrameworkId, Generation, StreamId, TaskId, TaskKey,
    TaskState, UpdateUuid,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// Agents that are set up at once.
const AT_ONCE: usize = 128;
/// Epochs of these agents begin here, beyond those of the keys.
const EPOCHS_FROM: u128 = 1 << 64;
/// Longest wait for a verdict to show in the applied state.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How large.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) agents: u64,
    pub(crate) tasks: u64,
    pub(crate) frameworks: u64,
}

/// Makes it through this member, which must lead.
pub(crate) async fn fill(consensus: &Consensus, size: Size) -> anyhow::Result<()> {
    anyhow::ensure!(
        size.agents > 0 && size.frameworks > 0,
        "at least one agent and one framework"
    );
    let mut frameworks = Vec::new();
    for n in 0..size.frameworks {
        let outcome = propose(consensus, subscribe(n)).await?;
        let Outcome::Subscribed { framework } = outcome else {
            bail!("no subscription: {outcome:?}");
        };
        frameworks.push(framework);
    }
    let frameworks = Arc::new(frameworks);
    let mut setting_up = JoinSet::new();
    for n in 0..size.agents {
        if setting_up.len() >= AT_ONCE
            && let Some(done) = setting_up.join_next().await
        {
            done??;
        }
        let (consensus, frameworks) = (consensus.clone(), Arc::clone(&frameworks));
        // Spread as evenly as whole tasks can be.
        let tasks = size.tasks * n / size.agents..size.tasks * (n + 1) / size.agents;
        setting_up.spawn(async move {
            let framework = &frameworks[(n % frameworks.len() as u64) as usize];
            let agent = register(&consensus, n).await?;
            if tasks.is_empty() {
                return Ok(());
            }
            let tasks = launch(&consensus, n, &agent, framework, tasks).await?;
            run(&consensus, n, &agent, &tasks).await
        });
    }
    while let Some(done) = setting_up.join_next().await {
        done??;
    }
    Ok(())
}

async fn propose(consensus: &Consensus, command: Command) -> anyhow::Result<Outcome> {
    let verdict = consensus.propose(command).await?;
    verdict.map_err(|refusal| anyhow::anyhow!("refused: {refusal}"))
}

fn subscribe(n: u64) -> Command {
    Command::SubscribeFramework(SubscribeFramework {
        framework: None,
        spec: FrameworkSpec {
            info: description("framework", n),
            name: format!("framework-{n}"),
            user: "service".to_owned(),
            principal: Some(format!("principal-{n}")),
            roles: BTreeSet::from([format!("role-{}", n % 10)]),
            failover_timeout: DurationMs::from_secs(3600),
            checkpoint: true,
            capabilities: Capabilities::default(),
            offer_constraints: Bytes::new(),
        },
        suppressed: Vec::new(),
        stream: StreamId(u128::from(n) + 1),
        kept: None,
    })
}

fn epoch(n: u64) -> AgentEpoch {
    AgentEpoch(EPOCHS_FROM + u128::from(n))
}

fn cpus(n: i64) -> Resources {
    Resources::of_scalar("cpus", Milli::from_units(n))
        + Resources::of_scalar("mem", Milli::from_units(n * 256))
}

async fn register(consensus: &Consensus, n: u64) -> anyhow::Result<AgentId> {
    let command = Command::RegisterAgent(RegisterAgent {
        epoch: epoch(n),
        boot: BootId(1),
        spec: AgentSpec {
            info: description("agent", n),
            hostname: format!("host-{n}.example.com"),
            address: format!("10.{}.{}.{}:5051", n >> 16, (n >> 8) & 255, n & 255),
            total: cpus(1 << 20),
            version: "1.11.0".to_owned(),
        },
    });
    match propose(consensus, command).await? {
        Outcome::AgentRegistered { agent } => Ok(agent),
        other => bail!("no registration: {other:?}"),
    }
}

/// Launches tasks by one offer of the agent.
async fn launch(
    consensus: &Consensus,
    n: u64,
    agent: &AgentId,
    framework: &FrameworkId,
    tasks: std::ops::Range<u64>,
) -> anyhow::Result<Vec<(TaskKey, Generation)>> {
    let role = consensus
        .state()
        .get()
        .state
        .framework(framework)
        .and_then(|framework| framework.spec.roles.first().cloned())
        .context("the framework is not there")?;
    let offered = propose(
        consensus,
        Command::IssueOffers(IssueOffers {
            plans: vec![OfferPlan {
                framework: framework.clone(),
                role,
                agent: agent.clone(),
                resources: cpus(1 << 20),
                described: 0,
            }],
            timeout: None,
        }),
    )
    .await?;
    let Outcome::OffersIssued { offers, .. } = offered else {
        bail!("no offers: {offered:?}");
    };
    let mut keys = Vec::new();
    let mut specs = Vec::new();
    for task in tasks {
        let id = TaskId::new(format!("task-{task:07}"))?;
        keys.push(TaskKey {
            framework: framework.clone(),
            task: id.clone(),
        });
        specs.push(LaunchSpec::Valid(TaskSpec {
            task: id,
            agent: agent.clone(),
            name: format!("service-{}", task % 500),
            resources: cpus(1),
            info: description("task", task),
            executor: None,
        }));
    }
    let n_tasks = specs.len() as u64;
    let accepted = propose(
        consensus,
        Command::AcceptOffers(AcceptOffers {
            framework: framework.clone(),
            offers: offers.into_iter().map(Some).collect(),
            operations: vec![Operation::Launch(specs)],
            refuse: DurationMs(0),
            content: n,
        }),
    )
    .await?;
    anyhow::ensure!(
        matches!(accepted, Outcome::Accepted { n_launched, .. } if n_launched == n_tasks),
        "not all tasks were launched: {accepted:?}"
    );
    let mut launched = Vec::new();
    for key in keys {
        let generation = shown(consensus, &key).await?;
        launched.push((key, generation));
    }
    Ok(launched)
}

/// The launch of a task, as soon as readers see it.
async fn shown(consensus: &Consensus, key: &TaskKey) -> anyhow::Result<Generation> {
    let mut reader = consensus.state();
    let looking = async {
        loop {
            if let Some(task) = reader.get().state.task(key) {
                return anyhow::Ok(task.generation);
            }
            reader.changed().await?;
        }
    };
    tokio::time::timeout(SHOWN_TIMEOUT, looking).await?
}

/// The agent reports that all of them run, the framework acknowledges, the agent has noted it.
async fn run(
    consensus: &Consensus,
    n: u64,
    agent: &AgentId,
    tasks: &[(TaskKey, Generation)],
) -> anyhow::Result<()> {
    let uuid = |generation: Generation| UpdateUuid(u128::from(generation.0) + 1);
    let reports = (1..)
        .zip(tasks)
        .map(|(report_seq, (task, generation))| TaskReport {
            report_seq,
            task: task.clone(),
            generation: *generation,
            task_seq: 1,
            head: Some(ReportedUpdate {
                uuid: uuid(*generation),
                state: TaskState::Running,
                status: description("status", generation.0),
            }),
            latest_state: TaskState::Running,
        })
        .collect();
    let noted = tasks.len() as u64;
    let report = |command_seq, reports| {
        Command::ApplyReports(ApplyReports {
            agent: agent.clone(),
            epoch: epoch(n),
            command_seq,
            reports,
        })
    };
    propose(consensus, report(noted, reports)).await?;
    for (task, generation) in tasks {
        let acknowledge = Command::AcknowledgeUpdate(AcknowledgeUpdate {
            task: task.clone(),
            agent: agent.clone(),
            uuid: uuid(*generation),
        });
        propose(consensus, acknowledge).await?;
    }
    // As many commands again: the acknowledgements.
    propose(consensus, report(2 * noted, Vec::new())).await?;
    Ok(())
}

/// As much as an encoded description in real clusters: mostly words that repeat, and some that do
/// not.
fn description(of: &str, n: u64) -> Bytes {
    let unique = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        "{of}-{n:07} id={unique:016x} command=/usr/bin/service --config=/etc/service/service.toml \
         --port={} --log-level=info env=LANG=C.UTF-8,PATH=/usr/local/bin:/usr/bin:/bin \
         labels=team:{},tier:backend,region:eu-west-1",
        31_000 + n % 1_000,
        n % 40
    )
    .into()
}

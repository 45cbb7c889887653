//! Checks and health checks of running tasks.
//!
//! Looks at tasks again and again and tells what it finds; what follows from that is decided by
//! the machine. The agent itself makes them, so they pause while it is down and go on when it is
//! back.
//!
//! * `plan`: what is looked at, and when.
//! * `probe`: one look.

mod plan;
mod probe;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use regency_agent_core::{CheckStatus, ContainerId, Finding, Input, Launch, LaunchId};
use regency_types::AgentId;
use regency_wire::v1::TaskInfo;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::metrics;
use crate::tasks::{Ground, TaskEvent, check_spec};

pub(crate) use plan::Plans;
use plan::{Plan, Probe};
use probe::Sight;

/// All checks of this agent.
#[derive(Debug)]
pub(crate) struct Checks {
    ground: Arc<Ground>,
    events: mpsc::Sender<TaskEvent>,
    http: reqwest::Client,
    /// Dropping a set ends its checks, and kills what they run.
    going_on: BTreeMap<LaunchId, JoinSet<()>>,
}

/// What all looks at one task need.
#[derive(Debug, Clone)]
struct Target {
    agent_id: AgentId,
    launch: Launch,
    framework_info: Bytes,
}

/// What a check is for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Health,
    /// With the status that tells nothing.
    Check(CheckStatus),
}

impl Checks {
    /// # Errors
    /// When there is no TLS.
    pub(crate) fn new(
        ground: Arc<Ground>,
        events: mpsc::Sender<TaskEvent>,
    ) -> reqwest::Result<Self> {
        Ok(Self {
            ground,
            events,
            http: probe::http_client()?,
            going_on: BTreeMap::new(),
        })
    }

    /// Checks a task that has run for `age`, until [`Self::end`]. One that is being checked is
    /// left as it is.
    pub(crate) fn begin(
        &mut self,
        agent_id: AgentId,
        launch: Launch,
        framework_info: Bytes,
        age: Duration,
    ) {
        if self.going_on.contains_key(&launch.id) {
            return;
        }
        let task = TaskInfo::decode(launch.task_info.clone());
        let plans = match task.map(|task| Plans::of_task(&task)) {
            Ok(Ok(plans)) => plans,
            // A launch whose checks cannot be read is never started.
            Ok(Err(error)) => return tracing::error!(launch = %launch.id, error, "not checked"),
            Err(error) => return tracing::error!(launch = %launch.id, %error, "not checked"),
        };
        let health = plans.health.map(|(plan, _)| (plan, Kind::Health));
        let check = plans
            .check
            .map(|(plan, status)| (plan, Kind::Check(status)));
        let id = launch.id.clone();
        let target = Target {
            agent_id,
            launch,
            framework_info,
        };
        let mut set = JoinSet::new();
        for (plan, kind) in health.into_iter().chain(check) {
            let (ground, events) = (Arc::clone(&self.ground), self.events.clone());
            let (http, target) = (self.http.clone(), target.clone());
            set.spawn(async move {
                go_on(ground, http, target, plan, kind, age, events).await;
            });
        }
        self.going_on.insert(id, set);
    }

    /// Ends the checks of a task.
    pub(crate) fn end(&mut self, id: &LaunchId) {
        self.going_on.remove(id);
    }
}

/// Looks until it is dropped, or nobody listens.
async fn go_on(
    ground: Arc<Ground>,
    http: reqwest::Client,
    target: Target,
    plan: Plan,
    kind: Kind,
    age: Duration,
    events: mpsc::Sender<TaskEvent>,
) {
    let id = target.launch.id.clone();
    let container: ContainerId = target.launch.container;
    tokio::time::sleep(plan.delay.saturating_sub(age)).await;
    let spec = match &plan.probe {
        Probe::Command(command) => {
            let (ground, command) = (Arc::clone(&ground), command.clone());
            let made = tokio::task::spawn_blocking(move || {
                let Target {
                    agent_id,
                    launch,
                    framework_info,
                } = &target;
                check_spec(&ground, agent_id, launch, framework_info, &command)
            });
            match made.await.map_err(anyhow::Error::from).flatten() {
                Ok(spec) => Some(spec),
                Err(error) => {
                    tracing::warn!(launch = %id, error = format!("{error:#}"), "a check cannot run");
                    None
                }
            }
        }
        Probe::Http(_) | Probe::Tcp(_) => None,
    };
    loop {
        let look = probe::look(&plan.probe, &http, &ground, container, spec.as_ref());
        let sight = match tokio::time::timeout(plan.timeout, look).await {
            Ok(Ok(sight)) => Some(sight),
            Ok(Err(error)) => {
                tracing::info!(launch = %id, error = format!("{error:#}"), "a check failed");
                // That nobody listens is what such a check finds.
                None
            }
            Err(_) => {
                tracing::info!(launch = %id, timeout = ?plan.timeout, "a check took too long");
                None
            }
        };
        let finding = finding(kind, sight);
        count(kind, sight);
        let input = Input::Found(id.clone(), finding);
        if events.send(TaskEvent::Input(input)).await.is_err() {
            return;
        }
        tokio::time::sleep(plan.interval).await;
    }
}

fn finding(kind: Kind, sight: Option<Sight>) -> Finding {
    match (kind, sight) {
        (Kind::Health, sight) => Finding::Health(sight.is_some_and(Sight::is_healthy)),
        (Kind::Check(_), Some(sight)) => Finding::Check(sight.status()),
        // Not to be connected with is a result.
        (Kind::Check(CheckStatus::Tcp(_)), None) => Finding::Check(CheckStatus::Tcp(Some(false))),
        (Kind::Check(nothing), None) => Finding::Check(nothing),
    }
}

fn count(kind: Kind, sight: Option<Sight>) {
    let name = match kind {
        Kind::Health => "health_check",
        Kind::Check(_) => "check",
    };
    let result = match sight {
        Some(sight) if sight.is_healthy() => "passed",
        Some(_) => "failed",
        None => "error",
    };
    let labels = [(metrics::KIND, name), (metrics::RESULT, result)];
    ::metrics::counter!(metrics::CHECKS_TOTAL, &labels).increment(1);
}

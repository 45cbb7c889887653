//! `/state-summary`: agents and frameworks with counts of tasks instead of the tasks.

use std::collections::{BTreeMap, BTreeSet};

use regency_state::model::{Framework, Task};
use regency_types::TaskState;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::List;
use super::agent::{AgentJson, registered};
use super::framework::FrameworkShort;
use crate::query::View;
use crate::query::status::told;

/// The states that are counted, in the order of their keys. Others are not shown, as in Mesos.
const COUNTED: [TaskState; 10] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Killed,
    TaskState::Failed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Unreachable,
];

/// How many tasks there are in each state.
#[derive(Debug, Clone, Copy, Default)]
struct Counts([u64; COUNTED.len()]);

impl Counts {
    fn add(&mut self, state: TaskState) {
        if let Some(at) = COUNTED.iter().position(|counted| *counted == state) {
            self.0[at] += 1;
        }
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COUNTED.len()))?;
        for (state, n) in COUNTED.iter().zip(self.0) {
            map.serialize_entry(state.name(), &n)?;
        }
        map.end()
    }
}

/// Counts of one agent or framework, and who is on the other side.
#[derive(Default)]
struct Side<'a> {
    counts: Counts,
    others: BTreeSet<&'a str>,
}

/// Counts by agent and by framework, gathered in one pass over all tasks.
#[derive(Default)]
struct Tally<'a> {
    agents: BTreeMap<&'a str, Side<'a>>,
    frameworks: BTreeMap<&'a str, Side<'a>>,
}

impl<'a> Tally<'a> {
    fn of(view: &View<'a>) -> Self {
        let mut tally = Self::default();
        for framework in view.state.frameworks() {
            let live = view.state.tasks_of(framework);
            for task in live.chain(&framework.completed_tasks) {
                tally.add(framework, task);
            }
        }
        for ended in view.state.completed_frameworks() {
            for task in &ended.framework.completed_tasks {
                tally.add(&ended.framework, task);
            }
        }
        tally
    }

    fn add(&mut self, framework: &'a Framework, task: &'a Task) {
        let state = told(task.state, &framework.spec.capabilities);
        let (agent_id, framework_id) = (task.agent.as_str(), framework.id.as_str());
        let agent = self.agents.entry(agent_id).or_default();
        agent.counts.add(state);
        agent.others.insert(framework_id);
        let framework = self.frameworks.entry(framework_id).or_default();
        framework.counts.add(state);
        framework.others.insert(agent_id);
    }
}

/// The answer of `/state-summary`.
pub fn summary<'a>(view: &'a View<'a>) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Summary<'a, S, F> {
        hostname: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster: Option<&'a str>,
        slaves: S,
        frameworks: F,
    }
    #[derive(Serialize)]
    struct AgentSummary<'a> {
        #[serde(flatten)]
        agent: AgentJson<'a>,
        #[serde(flatten)]
        counts: Counts,
        framework_ids: BTreeSet<&'a str>,
    }
    #[derive(Serialize)]
    struct FrameworkSummary<'a> {
        #[serde(flatten)]
        framework: FrameworkShort<'a>,
        #[serde(flatten)]
        counts: Counts,
        slave_ids: BTreeSet<&'a str>,
    }
    let tally = std::rc::Rc::new(Tally::of(view));
    let of_agents = tally.clone();
    Summary {
        hostname: &view.identity.hostname,
        cluster: view.identity.cluster.as_deref(),
        slaves: List(move || {
            let tally = of_agents.clone();
            registered(view).map(move |agent| {
                let side = tally.agents.get(agent.id.as_str());
                AgentSummary {
                    agent: AgentJson::new(view, agent),
                    counts: side.map(|side| side.counts).unwrap_or_default(),
                    framework_ids: side.map(|side| side.others.clone()).unwrap_or_default(),
                }
            })
        }),
        frameworks: List(move || {
            let tally = tally.clone();
            view.state.frameworks().map(move |framework| {
                let side = tally.frameworks.get(framework.id.as_str());
                FrameworkSummary {
                    framework: FrameworkShort::new(view, framework),
                    counts: side.map(|side| side.counts).unwrap_or_default(),
                    slave_ids: side.map(|side| side.others.clone()).unwrap_or_default(),
                }
            })
        }),
    }
}

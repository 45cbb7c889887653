//! `/tasks`, and tasks within other answers.

use regency_state::model::{Capabilities, Framework, Task};
use regency_wire::v1::{
    CgroupInfo, ContainerId, ContainerInfo, DiscoveryInfo, HealthCheck, Label, NetworkInfo,
    TaskStatus,
};
use serde::Serialize;

use super::List;
use super::resources::Model;
use crate::query::View;
use crate::query::status::told;
use crate::query::task::{began, info, statuses};

#[derive(Serialize)]
pub(super) struct TaskJson<'a> {
    id: &'a str,
    name: &'a str,
    framework_id: &'a str,
    /// Empty for a command task.
    executor_id: String,
    slave_id: &'a str,
    state: &'static str,
    resources: Model,
    role: &'a str,
    statuses: Vec<StatusJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Label>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<DiscoveryInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<HealthCheck>,
}

impl<'a> TaskJson<'a> {
    pub(super) fn new(task: &'a Task, capabilities: &Capabilities) -> Self {
        let info = info(task);
        Self {
            id: task.key.task.as_str(),
            name: &task.name,
            framework_id: task.key.framework.as_str(),
            executor_id: info
                .executor
                .map(|executor| executor.executor_id.value)
                .unwrap_or_default(),
            slave_id: task.agent.as_str(),
            state: told(task.state, capabilities).name(),
            resources: Model(task.resources.clone()),
            role: &task.role,
            statuses: statuses(task, capabilities)
                .into_iter()
                .map(StatusJson::new)
                .collect(),
            user: info.command.and_then(|command| command.user),
            labels: info.labels.map(|labels| labels.labels),
            discovery: info.discovery.map(|discovery| *discovery),
            container: info.container,
            health_check: info.health_check.map(|check| *check),
        }
    }
}

#[derive(Serialize)]
struct StatusJson {
    state: &'static str,
    timestamp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Label>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_status: Option<ContainerJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
}

/// What these endpoints show of a container.
#[derive(Serialize)]
struct ContainerJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<ContainerId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    network_infos: Vec<NetworkInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_info: Option<CgroupInfo>,
}

impl StatusJson {
    fn new(status: TaskStatus) -> Self {
        Self {
            state: status.state().as_str_name(),
            timestamp: status.timestamp.unwrap_or_default(),
            labels: status.labels.map(|labels| labels.labels),
            container_status: status.container_status.map(|container| ContainerJson {
                container_id: container.container_id,
                network_infos: container.network_infos,
                cgroup_info: container.cgroup_info,
            }),
            healthy: status.healthy,
        }
    }
}

/// How many tasks `/tasks` gives when nothing else is asked for, as in Mesos.
pub const TASKS_LIMIT_DEFAULT: usize = 100;

/// By the time of their launch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    #[default]
    Descending,
}

/// What is asked of `/tasks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TasksQuery {
    /// At most so many; [`TASKS_LIMIT_DEFAULT`] when not given.
    pub limit: usize,
    /// Without the first so many.
    pub offset: usize,
    /// In which order.
    pub order: Order,
    /// Only of this framework.
    pub framework_id: Option<String>,
    /// Only of this id.
    pub task_id: Option<String>,
}

impl Default for TasksQuery {
    fn default() -> Self {
        Self {
            limit: TASKS_LIMIT_DEFAULT,
            offset: 0,
            order: Order::default(),
            framework_id: None,
            task_id: None,
        }
    }
}

/// The answer of `/tasks`: tasks of all frameworks, ended ones included as far as they are kept.
pub fn tasks<'a>(view: &View<'a>, query: &TasksQuery) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Tasks<T> {
        tasks: T,
    }
    let wanted = |framework: &Framework| {
        query
            .framework_id
            .as_deref()
            .is_none_or(|id| framework.id.as_str() == id)
    };
    let mut found: Vec<(&'a Task, &'a Capabilities)> = Vec::new();
    for framework in view.state.frameworks().filter(|f| wanted(f)) {
        let capabilities = &framework.spec.capabilities;
        let live = view.state.tasks_of(framework);
        let completed = framework.completed_tasks.iter();
        found.extend(
            live.chain(completed)
                .map(|task| (task.as_ref(), capabilities)),
        );
    }
    for ended in view
        .state
        .completed_frameworks()
        .filter(|c| wanted(&c.framework))
    {
        let framework = &ended.framework;
        let completed = framework.completed_tasks.iter();
        found.extend(completed.map(|task| (task.as_ref(), &framework.spec.capabilities)));
    }
    if let Some(id) = &query.task_id {
        found.retain(|(task, _)| task.key.task.as_str() == id);
    }
    let page = page(found, query);
    Tasks {
        tasks: List(move || page.clone().into_iter().map(|(t, c)| TaskJson::new(t, c))),
    }
}

/// The part asked for, sorting no more than is needed.
fn page<'a>(
    mut found: Vec<(&'a Task, &'a Capabilities)>,
    query: &TasksQuery,
) -> Vec<(&'a Task, &'a Capabilities)> {
    let order = |(one, _): &(&Task, &Capabilities), (other, _): &(&Task, &Capabilities)| {
        let ascending = (began(one), one.generation).cmp(&(began(other), other.generation));
        match query.order {
            Order::Ascending => ascending,
            Order::Descending => ascending.reverse(),
        }
    };
    let end = query.offset.saturating_add(query.limit);
    if end < found.len() {
        found.select_nth_unstable_by(end, order);
        found.truncate(end);
    }
    found.sort_unstable_by(order);
    found.split_off(query.offset.min(found.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Live;
    use crate::query::fixture::{Cluster, identity};
    use regency_types::TaskState;

    fn ids(cluster: &Cluster, query: &TasksQuery) -> Vec<String> {
        let (live, identity) = (Live::default(), identity());
        let view = View {
            state: &cluster.state,
            live: &live,
            identity: &identity,
        };
        let json = serde_json::to_value(tasks(&view, query)).expect("it is JSON");
        json["tasks"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|task| task["id"].as_str().expect("text").to_owned())
            .collect()
    }

    #[test]
    fn pages_are_cut_from_the_order_of_launches() {
        let (mut cluster, first) = Cluster::with_task();
        let agent = cluster.state.task(&first).expect("launched").agent.clone();
        for id in ["u", "v"] {
            let task = (Cluster::task_info(id), "cpus:0.5");
            cluster.launch(&first.framework, "eng", &agent, vec![task]);
        }
        cluster.run_through(&first, &[TaskState::Running, TaskState::Finished]);
        let ask = |limit, offset, order| TasksQuery {
            limit,
            offset,
            order,
            ..TasksQuery::default()
        };
        assert_eq!(ids(&cluster, &TasksQuery::default()), ["v", "u", "t"]);
        assert_eq!(ids(&cluster, &ask(2, 0, Order::Ascending)), ["t", "u"]);
        assert_eq!(ids(&cluster, &ask(1, 1, Order::Ascending)), ["u"]);
        assert_eq!(ids(&cluster, &ask(5, 2, Order::Descending)), ["t"]);
        assert_eq!(
            ids(&cluster, &ask(usize::MAX, 9, Order::Descending)),
            [""; 0]
        );
        assert_eq!(ids(&cluster, &ask(0, 0, Order::Descending)), [""; 0]);
        let one = TasksQuery {
            task_id: Some("u".into()),
            ..TasksQuery::default()
        };
        assert_eq!(ids(&cluster, &one), ["u"]);
        let stranger = TasksQuery {
            framework_id: Some("no-such".into()),
            ..TasksQuery::default()
        };
        assert_eq!(ids(&cluster, &stranger), [""; 0]);
    }

    #[test]
    fn an_unreachable_task_is_lost_to_who_knows_nothing_else() {
        for (aware, name) in [(true, "TASK_UNREACHABLE"), (false, "TASK_LOST")] {
            let (mut cluster, key) = Cluster::with_task_for(Capabilities {
                partition_aware: aware,
                ..Capabilities::default()
            });
            cluster.run_through(&key, &[TaskState::Running]);
            cluster.lose_agent(&key);
            let framework = cluster.state.framework(&key.framework).expect("there");
            let task = cluster.state.task(&key).expect("there");
            let json = serde_json::to_value(TaskJson::new(task, &framework.spec.capabilities))
                .expect("it is JSON");
            assert_eq!(json["state"], name);
            let states: Vec<_> = json["statuses"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|status| status["state"].clone())
                .collect();
            assert_eq!(states, ["TASK_RUNNING", name]);
        }
    }
}

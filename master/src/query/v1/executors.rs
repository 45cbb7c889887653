//! GET_EXECUTORS.

use regency_wire::v1::master::response::{GetExecutors, get_executors};

use crate::query::View;
use crate::query::executor::info;

/// All executors on registered agents. Those of command tasks are not shown, in Mesos neither, and
/// none is ever without its framework.
pub(super) fn get(view: &View<'_>) -> GetExecutors {
    let agents = view.state.agents().filter(|agent| agent.is_registered());
    let executors = agents.flat_map(|agent| {
        let executors = agent.executors.values();
        executors.map(|executor| get_executors::Executor {
            executor_info: info(executor),
            agent_id: (&agent.id).into(),
        })
    });
    GetExecutors {
        executors: executors.collect(),
        orphan_executors: Vec::new(),
    }
}

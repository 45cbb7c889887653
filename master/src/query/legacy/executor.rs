//! Executors within `/frameworks` and `/state`.

use regency_state::model::Executor;
use regency_types::AgentId;
use regency_wire::v1::{CommandInfo, ContainerInfo, DiscoveryInfo, Label};
use serde::Serialize;

use super::resources::Model;
use crate::query::executor::info;

#[derive(Serialize)]
pub(super) struct ExecutorJson<'a> {
    executor_id: &'a str,
    name: String,
    framework_id: &'a str,
    command: CommandInfo,
    resources: Model,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Label>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<DiscoveryInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerInfo>,
    slave_id: &'a str,
}

impl<'a> ExecutorJson<'a> {
    pub(super) fn new(agent: &'a AgentId, executor: &'a Executor) -> Self {
        let info = info(executor);
        Self {
            executor_id: executor.key.executor.as_str(),
            name: info.name.unwrap_or_default(),
            framework_id: executor.key.framework.as_str(),
            command: info.command.unwrap_or_default(),
            resources: Model(executor.resources.clone()),
            role: &executor.role,
            labels: info.labels.map(|labels| labels.labels),
            source: info.source,
            discovery: info.discovery.map(|discovery| *discovery),
            container: info.container.map(|container| *container),
            slave_id: agent.as_str(),
        }
    }
}

//! Frameworks, with what is kept of ended ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use regency_resources::Resources;
use regency_state::model::{
    Capabilities, CompletedFramework, Filter, Framework, FrameworkPhase, FrameworkSpec,
    MasterStatus, RefusedOperation, Task,
};
use regency_types::{AgentId, ClusterTime, DurationMs, StreamId, Term, WallTime};

use crate::StoredError;
use crate::field::{Stored, chosen, id, load_all, load_u128, required, store_all, store_u128};
use crate::proto;

impl Stored for Capabilities {
    type Message = proto::Capabilities;

    fn store(&self) -> proto::Capabilities {
        let Self {
            partition_aware,
            multi_role,
            gpu_resources,
            revocable_resources,
            shared_resources,
            reservation_refinement,
            task_killing_state,
            region_aware,
        } = *self;
        proto::Capabilities {
            partition_aware,
            multi_role,
            gpu_resources,
            revocable_resources,
            shared_resources,
            reservation_refinement,
            task_killing_state,
            region_aware,
        }
    }

    fn load(message: proto::Capabilities) -> Result<Self, StoredError> {
        let proto::Capabilities {
            partition_aware,
            multi_role,
            gpu_resources,
            revocable_resources,
            shared_resources,
            reservation_refinement,
            task_killing_state,
            region_aware,
        } = message;
        Ok(Self {
            partition_aware,
            multi_role,
            gpu_resources,
            revocable_resources,
            shared_resources,
            reservation_refinement,
            task_killing_state,
            region_aware,
        })
    }
}

impl Stored for FrameworkSpec {
    type Message = proto::FrameworkSpec;

    fn store(&self) -> proto::FrameworkSpec {
        proto::FrameworkSpec {
            info: self.info.clone(),
            name: self.name.clone(),
            user: self.user.clone(),
            principal: self.principal.clone(),
            roles: self.roles.iter().cloned().collect(),
            failover_timeout_ms: self.failover_timeout.0,
            checkpoint: self.checkpoint,
            capabilities: Some(self.capabilities.store()),
            offer_constraints: self.offer_constraints.clone(),
        }
    }

    fn load(message: proto::FrameworkSpec) -> Result<Self, StoredError> {
        Ok(Self {
            info: message.info,
            name: message.name,
            user: message.user,
            principal: message.principal,
            roles: load_roles(message.roles, "FrameworkSpec.roles")?,
            failover_timeout: DurationMs(message.failover_timeout_ms),
            checkpoint: message.checkpoint,
            capabilities: Capabilities::load(required(
                message.capabilities,
                "FrameworkSpec.capabilities",
            )?)?,
            offer_constraints: message.offer_constraints,
        })
    }
}

fn load_roles(roles: Vec<String>, field: &'static str) -> Result<BTreeSet<String>, StoredError> {
    let n = roles.len();
    let roles: BTreeSet<String> = roles.into_iter().collect();
    if roles.len() == n {
        Ok(roles)
    } else {
        Err(StoredError::malformed(field, "a role is named twice"))
    }
}

impl Stored for Filter {
    type Message = proto::Filter;

    fn store(&self) -> proto::Filter {
        proto::Filter {
            role: self.role.clone(),
            refused: Some(self.refused.store()),
            until_ms: self.until.0,
        }
    }

    fn load(message: proto::Filter) -> Result<Self, StoredError> {
        Ok(Self {
            role: message.role,
            refused: Resources::load(required(message.refused, "Filter.refused")?)?,
            until: ClusterTime(message.until_ms),
        })
    }
}

impl Stored for Framework {
    type Message = proto::Framework;

    fn store(&self) -> proto::Framework {
        // The lists and the count are derived from tasks and offers when the state is loaded.
        let Self {
            id,
            spec,
            suppressed,
            described,
            phase,
            confirmed,
            subscribed_term,
            registered,
            reregistered,
            tasks: _,
            offers: _,
            inverse_offers: _,
            filters,
            n_unacked: _,
            completed_tasks,
            retained,
            refused_operations,
        } = self;
        proto::Framework {
            id: id.as_str().to_owned(),
            spec: Some(spec.store()),
            suppressed: suppressed.iter().cloned().collect(),
            described: *described,
            phase: Some(match phase {
                FrameworkPhase::Subscribed { stream } => {
                    proto::framework::Phase::Subscribed(proto::framework::Subscribed {
                        stream: store_u128(stream.0),
                    })
                }
                FrameworkPhase::Disconnected { since, deadline } => {
                    proto::framework::Phase::Disconnected(proto::framework::Disconnected {
                        since_ms: since.0,
                        deadline_ms: deadline.0,
                    })
                }
            }),
            confirmed: *confirmed,
            subscribed_term: subscribed_term.0,
            registered_wall_ms: registered.0,
            reregistered_wall_ms: reregistered.map(|t| t.0),
            filters: filters
                .iter()
                .map(|(agent, filters)| proto::framework::AgentFilters {
                    agent: agent.as_str().to_owned(),
                    filters: store_all(filters),
                })
                .collect(),
            completed_tasks: completed_tasks.iter().map(|t| t.store()).collect(),
            retained: retained
                .iter()
                .map(|(at, status)| proto::framework::Retained {
                    at_ms: at.0,
                    status: Some(status.store()),
                })
                .collect(),
            refused_operations: refused_operations
                .iter()
                .map(|(at, refused)| proto::framework::RefusedOperation {
                    at_ms: at.0,
                    id: refused.id.clone(),
                    message: refused.message.clone(),
                })
                .collect(),
        }
    }

    fn load(message: proto::Framework) -> Result<Self, StoredError> {
        let phase = match chosen(message.phase, "Framework.phase")? {
            proto::framework::Phase::Subscribed(p) => FrameworkPhase::Subscribed {
                stream: StreamId(load_u128(&p.stream, "Framework.Subscribed.stream")?),
            },
            proto::framework::Phase::Disconnected(p) => FrameworkPhase::Disconnected {
                since: ClusterTime(p.since_ms),
                deadline: ClusterTime(p.deadline_ms),
            },
        };
        Ok(Self {
            id: id(message.id, "Framework.id")?,
            spec: FrameworkSpec::load(required(message.spec, "Framework.spec")?)?,
            suppressed: load_roles(message.suppressed, "Framework.suppressed")?,
            described: message.described,
            phase,
            confirmed: message.confirmed,
            subscribed_term: Term(message.subscribed_term),
            registered: WallTime(message.registered_wall_ms),
            reregistered: message.reregistered_wall_ms.map(WallTime),
            tasks: OrdSet::new(),
            offers: OrdSet::new(),
            inverse_offers: OrdSet::new(),
            filters: load_filters(message.filters)?,
            n_unacked: 0,
            completed_tasks: message
                .completed_tasks
                .into_iter()
                .map(|t| Task::load(t).map(Arc::new))
                .collect::<Result<_, _>>()?,
            retained: message
                .retained
                .into_iter()
                .map(load_retained)
                .collect::<Result<_, _>>()?,
            refused_operations: message
                .refused_operations
                .into_iter()
                .map(|m| {
                    let (id, message) = (m.id, m.message);
                    (ClusterTime(m.at_ms), RefusedOperation { id, message })
                })
                .collect(),
        })
    }
}

fn load_filters(
    messages: Vec<proto::framework::AgentFilters>,
) -> Result<OrdMap<AgentId, Vec<Filter>>, StoredError> {
    let mut filters = OrdMap::new();
    for message in messages {
        let agent = id(message.agent, "Framework.AgentFilters.agent")?;
        if filters.insert(agent, load_all(message.filters)?).is_some() {
            return Err(StoredError::malformed(
                "Framework.filters",
                "an agent is named twice",
            ));
        }
    }
    Ok(filters)
}

fn load_retained(
    message: proto::framework::Retained,
) -> Result<(ClusterTime, MasterStatus), StoredError> {
    let status = required(message.status, "Framework.Retained.status")?;
    Ok((ClusterTime(message.at_ms), MasterStatus::load(status)?))
}

impl Stored for CompletedFramework {
    type Message = proto::CompletedFramework;

    fn store(&self) -> proto::CompletedFramework {
        proto::CompletedFramework {
            framework: Some(self.framework.store()),
            unregistered_wall_ms: self.unregistered.0,
        }
    }

    fn load(message: proto::CompletedFramework) -> Result<Self, StoredError> {
        let framework = required(message.framework, "CompletedFramework.framework")?;
        Ok(Self {
            framework: Framework::load(framework)?,
            unregistered: WallTime(message.unregistered_wall_ms),
        })
    }
}

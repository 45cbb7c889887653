//! Answers of the v1 operator API, as messages.

mod agents;
mod frameworks;
mod master;
mod roles;
mod tasks;

use regency_wire::v1::agent_info::capability::Type as AgentCapability;
use regency_wire::v1::master::call::Type as CallType;
use regency_wire::v1::master::response::{self, Type};
use regency_wire::v1::master::{Response, response::GetState};
use regency_wire::v1::{maintenance, quota};

use super::View;

/// What our agents can do, in the words of `AgentInfo.Capability`.
pub(crate) const AGENT_CAPABILITIES: [AgentCapability; 3] = [
    AgentCapability::MultiRole,
    AgentCapability::HierarchicalRole,
    AgentCapability::ReservationRefinement,
];

/// Answers a call that only reads; `None` for any other call.
#[must_use]
pub fn answer(view: &View<'_>, call: CallType) -> Option<Response> {
    let response = match call {
        CallType::GetHealth => Response {
            get_health: Some(response::GetHealth { healthy: true }),
            ..of(Type::GetHealth)
        },
        CallType::GetFlags => Response {
            get_flags: Some(master::flags(view)),
            ..of(Type::GetFlags)
        },
        CallType::GetVersion => Response {
            get_version: Some(master::version()),
            ..of(Type::GetVersion)
        },
        CallType::GetMetrics => Response {
            get_metrics: Some(master::metrics(view)),
            ..of(Type::GetMetrics)
        },
        CallType::GetLoggingLevel => Response {
            get_logging_level: Some(response::GetLoggingLevel { level: 0 }),
            ..of(Type::GetLoggingLevel)
        },
        CallType::GetState => Response {
            get_state: Some(GetState {
                get_tasks: Some(tasks::get(view)),
                get_executors: Some(response::GetExecutors::default()),
                get_frameworks: Some(frameworks::get(view)),
                get_agents: Some(agents::get(view)),
            }),
            ..of(Type::GetState)
        },
        CallType::GetAgents => Response {
            get_agents: Some(agents::get(view)),
            ..of(Type::GetAgents)
        },
        CallType::GetFrameworks => Response {
            get_frameworks: Some(frameworks::get(view)),
            ..of(Type::GetFrameworks)
        },
        // Executors of command tasks are not shown, in Mesos neither, and there are no others.
        CallType::GetExecutors => Response {
            get_executors: Some(response::GetExecutors::default()),
            ..of(Type::GetExecutors)
        },
        CallType::GetOperations => Response {
            get_operations: Some(response::GetOperations::default()),
            ..of(Type::GetOperations)
        },
        CallType::GetTasks => Response {
            get_tasks: Some(tasks::get(view)),
            ..of(Type::GetTasks)
        },
        CallType::GetRoles => Response {
            get_roles: Some(roles::get(view)),
            ..of(Type::GetRoles)
        },
        CallType::GetWeights => Response {
            get_weights: roles::weights(view),
            ..of(Type::GetWeights)
        },
        CallType::GetMaster => Response {
            get_master: Some(master::get(view)),
            ..of(Type::GetMaster)
        },
        CallType::GetMaintenanceStatus => Response {
            get_maintenance_status: Some(response::GetMaintenanceStatus {
                status: maintenance::ClusterStatus::default(),
            }),
            ..of(Type::GetMaintenanceStatus)
        },
        CallType::GetMaintenanceSchedule => Response {
            get_maintenance_schedule: Some(response::GetMaintenanceSchedule {
                schedule: maintenance::Schedule::default(),
            }),
            ..of(Type::GetMaintenanceSchedule)
        },
        CallType::GetQuota => Response {
            get_quota: Some(response::GetQuota {
                status: quota::QuotaStatus::default(),
            }),
            ..of(Type::GetQuota)
        },
        CallType::Unknown
        | CallType::SetLoggingLevel
        | CallType::ListFiles
        | CallType::ReadFile
        | CallType::UpdateWeights
        | CallType::Subscribe
        | CallType::ReserveResources
        | CallType::UnreserveResources
        | CallType::CreateVolumes
        | CallType::DestroyVolumes
        | CallType::GrowVolume
        | CallType::ShrinkVolume
        | CallType::UpdateMaintenanceSchedule
        | CallType::StartMaintenance
        | CallType::StopMaintenance
        | CallType::DrainAgent
        | CallType::DeactivateAgent
        | CallType::ReactivateAgent
        | CallType::UpdateQuota
        | CallType::SetQuota
        | CallType::RemoveQuota
        | CallType::Teardown
        | CallType::MarkAgentGone => return None,
    };
    Some(response)
}

fn of(response_type: Type) -> Response {
    Response {
        r#type: Some(response_type as i32),
        ..Response::default()
    }
}

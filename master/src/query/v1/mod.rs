//! Answers of the v1 operator API, as messages.

mod agents;
pub mod events;
mod executors;
mod frameworks;
mod master;
mod quota;
mod roles;
mod tasks;

pub(in crate::query) use frameworks::offer_constraints;

use regency_wire::v1::agent_info::capability::Type as AgentCapability;
use regency_wire::v1::master::call::Type as CallType;
use regency_wire::v1::master::response::{self, Type};
use regency_wire::v1::master::{Response, response::GetState};

pub use quota::status as quota_status;

use super::{View, maintenance, operation};

/// What our agents can do, in the words of `AgentInfo.Capability`.
pub(crate) const AGENT_CAPABILITIES: [AgentCapability; 7] = [
    AgentCapability::MultiRole,
    AgentCapability::HierarchicalRole,
    AgentCapability::ReservationRefinement,
    // Without providers; frameworks ask for feedback only where they see it, as in Mesos.
    AgentCapability::ResourceProvider,
    AgentCapability::ResizeVolume,
    AgentCapability::AgentOperationFeedback,
    AgentCapability::AgentDraining,
];

/// What answers a call that only reads; `None` for any other call.
#[must_use]
pub fn answer_to(call: CallType) -> Option<Type> {
    match call {
        CallType::GetHealth => Some(Type::GetHealth),
        CallType::GetFlags => Some(Type::GetFlags),
        CallType::GetVersion => Some(Type::GetVersion),
        CallType::GetMetrics => Some(Type::GetMetrics),
        CallType::GetLoggingLevel => Some(Type::GetLoggingLevel),
        CallType::ListFiles => Some(Type::ListFiles),
        CallType::ReadFile => Some(Type::ReadFile),
        CallType::GetState => Some(Type::GetState),
        CallType::GetAgents => Some(Type::GetAgents),
        CallType::GetFrameworks => Some(Type::GetFrameworks),
        CallType::GetExecutors => Some(Type::GetExecutors),
        CallType::GetOperations => Some(Type::GetOperations),
        CallType::GetTasks => Some(Type::GetTasks),
        CallType::GetRoles => Some(Type::GetRoles),
        CallType::GetWeights => Some(Type::GetWeights),
        CallType::GetMaster => Some(Type::GetMaster),
        CallType::GetMaintenanceStatus => Some(Type::GetMaintenanceStatus),
        CallType::GetMaintenanceSchedule => Some(Type::GetMaintenanceSchedule),
        CallType::GetQuota => Some(Type::GetQuota),
        CallType::Unknown
        | CallType::SetLoggingLevel
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
        | CallType::MarkAgentGone => None,
    }
}

/// An answer. Of the types about files there is only the name: they are not in the state.
#[must_use]
pub fn answer(view: &View<'_>, what: Type) -> Response {
    let mut answer = Response {
        r#type: Some(what as i32),
        ..Response::default()
    };
    match what {
        Type::Unknown | Type::ListFiles | Type::ReadFile => {}
        Type::GetHealth => answer.get_health = Some(response::GetHealth { healthy: true }),
        Type::GetFlags => answer.get_flags = Some(master::flags(view)),
        Type::GetVersion => answer.get_version = Some(master::version()),
        Type::GetMetrics => answer.get_metrics = Some(master::metrics(view)),
        Type::GetLoggingLevel => {
            answer.get_logging_level = Some(response::GetLoggingLevel {
                level: view.live.log_level,
            });
        }
        Type::GetState => {
            answer.get_state = Some(GetState {
                get_tasks: Some(tasks::get(view)),
                get_executors: Some(executors::get(view)),
                get_frameworks: Some(frameworks::get(view)),
                get_agents: Some(agents::get(view)),
            });
        }
        Type::GetAgents => answer.get_agents = Some(agents::get(view)),
        Type::GetFrameworks => answer.get_frameworks = Some(frameworks::get(view)),
        Type::GetExecutors => answer.get_executors = Some(executors::get(view)),
        Type::GetOperations => answer.get_operations = Some(operation::get(view)),
        Type::GetTasks => answer.get_tasks = Some(tasks::get(view)),
        Type::GetRoles => answer.get_roles = Some(roles::get(view)),
        Type::GetWeights => answer.get_weights = roles::weights(view),
        Type::GetMaster => answer.get_master = Some(master::get(view)),
        Type::GetMaintenanceStatus => {
            answer.get_maintenance_status = Some(response::GetMaintenanceStatus {
                status: maintenance::status(view.state),
            });
        }
        Type::GetMaintenanceSchedule => {
            answer.get_maintenance_schedule = Some(response::GetMaintenanceSchedule {
                schedule: maintenance::schedule(view.state),
            });
        }
        Type::GetQuota => {
            answer.get_quota = Some(response::GetQuota {
                status: quota::status(view),
            });
        }
    }
    answer
}

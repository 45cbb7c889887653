//! Operations as frameworks and operators see them.
//!
//! An operation takes effect in the entry that applies the ACCEPT, so there is nothing pending: it
//! was carried out, or it was not.

use prost::Message;
use regency_state::State;
use regency_state::model::{AgentPhase, FinishedOperation, RefusedOperation};
use regency_types::{AgentId, FrameworkId, OperationId, OperationKey};
use regency_wire::v1::master::response::GetOperations;
use regency_wire::v1::{self, Operation, OperationState, OperationStatus, Uuid, offer};

use super::View;

/// A question of an explicit reconciliation, as the framework wrote it: the operation's id, and the
/// agent it believes the operation to be on.
pub type Item = (String, Option<String>);

/// That an operation was carried out, to be acknowledged.
#[must_use]
pub fn finished(operation: &FinishedOperation) -> OperationStatus {
    OperationStatus {
        uuid: Some(uuid(operation)),
        ..reconciled(operation)
    }
}

fn uuid(operation: &FinishedOperation) -> Uuid {
    Uuid {
        value: operation.uuid.to_bytes().to_vec().into(),
    }
}

fn reconciled(operation: &FinishedOperation) -> OperationStatus {
    OperationStatus {
        operation_id: Some(id(operation.key.operation.as_str())),
        state: OperationState::OperationFinished as i32,
        agent_id: Some((&operation.agent).into()),
        ..OperationStatus::default()
    }
}

fn id(text: &str) -> v1::OperationId {
    v1::OperationId {
        value: text.to_owned(),
    }
}

/// That an operation was not carried out. It cannot be acknowledged.
#[must_use]
pub fn refused(refused: &RefusedOperation) -> OperationStatus {
    OperationStatus {
        operation_id: Some(id(&refused.id)),
        state: OperationState::OperationError as i32,
        message: Some(refused.message.clone()),
        ..OperationStatus::default()
    }
}

/// Answers RECONCILE_OPERATIONS: one status per item, or one for each operation that is not
/// acknowledged when there are no items.
#[must_use]
pub fn reconcile(state: &State, framework: &FrameworkId, items: &[Item]) -> Vec<OperationStatus> {
    if items.is_empty() {
        let operations = state.operations_of(framework);
        return operations.map(|operation| reconciled(operation)).collect();
    }
    items
        .iter()
        .map(|(operation, agent)| {
            let key = OperationId::new(operation)
                .ok()
                .map(|operation| OperationKey {
                    framework: framework.clone(),
                    operation,
                });
            match key.and_then(|key| state.operation(&key)) {
                Some(operation) => reconciled(operation),
                None => stranger(state, operation, agent.as_deref()),
            }
        })
        .collect()
}

fn stranger(state: &State, operation: &str, agent: Option<&str>) -> OperationStatus {
    let known = agent
        .and_then(|agent| AgentId::new(agent).ok())
        .and_then(|agent| state.agent(&agent));
    let away = known.is_some_and(|agent| matches!(agent.phase, AgentPhase::Unreachable { .. }));
    OperationStatus {
        operation_id: Some(id(operation)),
        state: if away {
            OperationState::OperationUnreachable as i32
        } else {
            OperationState::OperationUnknown as i32
        },
        message: Some("Reconciliation: no such operation waits for an acknowledgement".to_owned()),
        agent_id: agent.map(|agent| v1::AgentId {
            value: agent.to_owned(),
        }),
        ..OperationStatus::default()
    }
}

/// The answer to GET_OPERATIONS.
pub(super) fn get(view: &View<'_>) -> GetOperations {
    GetOperations {
        operations: view
            .state
            .operations()
            .map(|operation| Operation {
                framework_id: Some((&operation.key.framework).into()),
                agent_id: Some((&operation.agent).into()),
                info: offer::Operation::decode(operation.info.clone()).unwrap_or_default(),
                latest_status: finished(operation),
                statuses: vec![finished(operation)],
                uuid: uuid(operation),
            })
            .collect(),
    }
}

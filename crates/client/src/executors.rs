//! What a framework asks of its executors and operations; the rest of [`Framework`]'s calls.

use std::time::Duration;

use regency_wire::v1::scheduler::Call;
use regency_wire::v1::scheduler::call::{
    Kill, ReconcileOperations, Shutdown, Type, reconcile_operations,
};
use regency_wire::v1::{AgentId, DurationInfo, ExecutorId, KillPolicy, OperationId, TaskId};

use crate::calls::{CallError, Framework};

impl Framework {
    /// As [`Self::kill`], but the task has this long to end by itself after it was asked to.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn kill_within(
        &self,
        task_id: TaskId,
        agent_id: Option<AgentId>,
        grace: Duration,
    ) -> Result<(), CallError> {
        let nanoseconds = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
        let kill_policy = KillPolicy {
            grace_period: Some(DurationInfo { nanoseconds }),
        };
        self.send(Call {
            r#type: Some(Type::Kill as i32),
            kill: Some(Kill {
                task_id,
                agent_id,
                kill_policy: Some(kill_policy),
            }),
            ..Call::default()
        })
        .await
    }

    /// Ends an executor with all its tasks. An executor that is not there is no error.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn shutdown_executor(
        &self,
        agent_id: AgentId,
        executor_id: ExecutorId,
    ) -> Result<(), CallError> {
        self.send(Call {
            r#type: Some(Type::Shutdown as i32),
            shutdown: Some(Shutdown {
                executor_id,
                agent_id,
            }),
            ..Call::default()
        })
        .await
    }

    /// Asks for the states of operations (of all that are known when empty), which come as
    /// [`crate::Event::OperationUpdate`] without `uuid`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn reconcile_operations(
        &self,
        operations: impl IntoIterator<Item = (OperationId, Option<AgentId>)>,
    ) -> Result<(), CallError> {
        let operations = operations.into_iter();
        let operations =
            operations.map(|(operation_id, agent_id)| reconcile_operations::Operation {
                operation_id,
                agent_id,
                resource_provider_id: None,
            });
        self.send(Call {
            r#type: Some(Type::ReconcileOperations as i32),
            reconcile_operations: Some(ReconcileOperations {
                operations: operations.collect(),
            }),
            ..Call::default()
        })
        .await
    }
}

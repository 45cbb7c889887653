//! Every call but SUBSCRIBE: convert, decide, carry out.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode, Uri};
use prost::Message;
use regency_runtime::IdMint;
use regency_state::model::ExecutorKey;
use regency_state::{
    AcceptOffers, AcknowledgeOperation, AcknowledgeUpdate, AnswerInverseOffers, Command,
    DeclineOffers, KillTask, Outcome, ReviveOffers, ShutdownExecutor, State, SuppressOffers,
    TeardownFramework, bounds,
};
use regency_types::{
    AgentId, DurationMs, ExecutorId, FrameworkId, OfferId, OperationId, OperationKey, TaskId,
    TaskKey, UpdateUuid,
};
use regency_wire::v1::scheduler::Call;
use regency_wire::v1::scheduler::Event;
use regency_wire::v1::scheduler::call::{self, Type};
use regency_wire::v1::{self, Filters, KillPolicy};

use super::{counted, launch};
use crate::api::answer;
use crate::api::cx::ApiCx;
use crate::leader::{Leader, ToExecutor};
use crate::query::{operation, reconcile};

/// What a call comes to.
#[derive(Debug)]
enum Decision {
    /// It is a command for the state.
    Propose(Command),
    /// It is answered by statuses of these tasks; of all, when there are none.
    Reconcile(Vec<reconcile::Item>),
    /// It is answered by statuses of these operations; of all, when there are none.
    ReconcileOperations(Vec<operation::Item>),
    /// It is passed on to an executor, as far as that can be done now.
    PassOn(AgentId, ToExecutor),
    /// There is nothing to do, as in Mesos.
    Nothing,
    /// This version does not know how.
    NotImplemented(String),
}

/// Carries out a call of a subscribed framework.
pub(super) async fn carry_out(
    cx: &ApiCx,
    leader: &Arc<Leader>,
    uri: &Uri,
    framework: FrameworkId,
    call: Call,
    call_type: Type,
) -> Response<Body> {
    let decision = decide(&leader.state().state, &*cx.ids, &framework, call, call_type);
    match decision {
        Decision::Nothing => answer::accepted(),
        Decision::PassOn(agent, message) => {
            leader.attachments.pass_on(&agent, message);
            answer::accepted()
        }
        Decision::NotImplemented(what) => answer::text(
            StatusCode::NOT_IMPLEMENTED,
            format!("{what} is not implemented by this version"),
        ),
        Decision::Reconcile(items) => reconcile(cx, leader, &framework, &items).await,
        Decision::ReconcileOperations(items) => {
            reconcile_operations(leader, &framework, &items).await
        }
        Decision::Propose(command) => propose(cx, leader, uri, &framework, command).await,
    }
}

async fn propose(
    cx: &ApiCx,
    leader: &Leader,
    uri: &Uri,
    framework: &FrameworkId,
    command: Command,
) -> Response<Body> {
    let used: Vec<OfferId> = match &command {
        Command::AcceptOffers(c) => c.offers.iter().flatten().copied().collect(),
        Command::DeclineOffers(c) => c.offers.clone(),
        Command::AnswerInverseOffers(c) => c.offers.clone(),
        _ => Vec::new(),
    };
    let killed = match &command {
        Command::KillTask(c) => Some((
            c.task.task.to_string(),
            c.agent.as_ref().map(ToString::to_string),
        )),
        _ => None,
    };
    let about = counted::About::of(&command);
    let proposed = leader.consensus.propose(command).await;
    if let Ok(verdict) = &proposed {
        about.verdict(framework, &leader.state().state, verdict);
    }
    match proposed {
        Err(error) => return answer::no_verdict(&error, uri),
        Ok(Ok(Outcome::TaskUnknown)) => {
            // A committed verdict, so it may be told.
            if let Some(item) = killed {
                answer_items(cx, leader, framework, &[item]);
            }
        }
        Ok(Ok(_)) => {}
        // The framework hears of it by events, or not at all, as in Mesos.
        Ok(Err(refusal)) => tracing::debug!(framework_id = %framework, %refusal, "call refused"),
    }
    if let Some(stream) = leader.streams.get(framework) {
        stream.forget_offers(used);
    }
    answer::accepted()
}

/// Answers a reconciliation once this master certainly leads: it may say that tasks are gone.
async fn reconcile(
    cx: &ApiCx,
    leader: &Leader,
    framework: &FrameworkId,
    items: &[reconcile::Item],
) -> Response<Body> {
    if leader.consensus.read_barrier().await.is_err() {
        return answer::no_leader();
    }
    answer_items(cx, leader, framework, items);
    answer::accepted()
}

/// Answers a reconciliation of operations, once this master certainly leads.
async fn reconcile_operations(
    leader: &Leader,
    framework: &FrameworkId,
    items: &[operation::Item],
) -> Response<Body> {
    if leader.consensus.read_barrier().await.is_err() {
        return answer::no_leader();
    }
    let state = leader.state().state.clone();
    if let Some(stream) = leader.streams.get(framework) {
        for status in operation::reconcile(&state, framework, items) {
            stream.send(&Event::update_operation_status(status));
        }
    }
    answer::accepted()
}

fn answer_items(cx: &ApiCx, leader: &Leader, framework: &FrameworkId, items: &[reconcile::Item]) {
    let state = leader.state().state.clone();
    let Some(record) = state.framework(framework) else {
        return;
    };
    let at = cx.clock.wall();
    let statuses = if items.is_empty() {
        reconcile::implicit(&state, record, at)
    } else {
        reconcile::explicit(&state, record, items, at)
    };
    let Some(stream) = leader.streams.get(framework) else {
        return;
    };
    for status in statuses {
        stream.send(&Event::update(status));
    }
}

fn decide(
    state: &State,
    ids: &dyn IdMint,
    framework: &FrameworkId,
    call: Call,
    call_type: Type,
) -> Decision {
    let framework = framework.clone();
    match call_type {
        Type::Teardown => {
            Decision::Propose(Command::TeardownFramework(TeardownFramework { framework }))
        }
        Type::Accept => accept(state, ids, framework, call.accept.unwrap_or_default()),
        Type::Decline => decline(state, framework, call.decline.unwrap_or_default()),
        Type::AcceptInverseOffers => {
            let call = call.accept_inverse_offers.unwrap_or_default();
            answer_inverse(
                state,
                framework,
                true,
                &call.inverse_offer_ids,
                call.filters,
            )
        }
        Type::DeclineInverseOffers => {
            let call = call.decline_inverse_offers.unwrap_or_default();
            answer_inverse(
                state,
                framework,
                false,
                &call.inverse_offer_ids,
                call.filters,
            )
        }
        Type::Revive => {
            let roles = call.revive.map(|c| c.roles).unwrap_or_default();
            Decision::Propose(Command::ReviveOffers(ReviveOffers { framework, roles }))
        }
        Type::Suppress => {
            let roles = call.suppress.map(|c| c.roles).unwrap_or_default();
            Decision::Propose(Command::SuppressOffers(SuppressOffers { framework, roles }))
        }
        Type::Kill => kill(framework, call.kill.unwrap_or_default()),
        Type::Acknowledge => acknowledge(framework, call.acknowledge.unwrap_or_default()),
        Type::AcknowledgeOperationStatus => acknowledge_operation(
            framework,
            call.acknowledge_operation_status.unwrap_or_default(),
        ),
        Type::ReconcileOperations => Decision::ReconcileOperations(
            call.reconcile_operations
                .unwrap_or_default()
                .operations
                .into_iter()
                .map(|item| (item.operation_id.value, item.agent_id.map(|id| id.value)))
                .collect(),
        ),
        Type::Reconcile => Decision::Reconcile(
            call.reconcile
                .unwrap_or_default()
                .tasks
                .into_iter()
                .map(|task| (task.task_id.value, task.agent_id.map(|id| id.value)))
                .collect(),
        ),
        Type::Shutdown => shutdown(framework, call.shutdown),
        Type::Message => message(framework, call.message),
        // Mesos' own allocator ignores it.
        Type::Request => Decision::Nothing,
        other => Decision::NotImplemented(other.as_str_name().to_owned()),
    }
}

fn accept(
    state: &State,
    ids: &dyn IdMint,
    framework: FrameworkId,
    accept: call::Accept,
) -> Decision {
    let content = xxhash_rust::xxh3::xxh3_64(&accept.encode_to_vec());
    let offers: Vec<Option<OfferId>> = accept
        .offer_ids
        .iter()
        .map(|id| offer_id(state, id))
        .collect();
    let role = offers
        .iter()
        .flatten()
        .find_map(|id| state.offer(*id))
        .map_or_else(|| "*".to_owned(), |offer| offer.role.clone());
    match launch::operations(accept.operations, &framework, &role, ids) {
        Ok(operations) => Decision::Propose(Command::AcceptOffers(AcceptOffers {
            framework,
            offers,
            operations,
            refuse: refuse(accept.filters.as_ref()),
            content,
        })),
        Err(operation) => Decision::NotImplemented(format!("The operation {operation}")),
    }
}

fn decline(state: &State, framework: FrameworkId, decline: call::Decline) -> Decision {
    Decision::Propose(Command::DeclineOffers(DeclineOffers {
        framework,
        offers: decline
            .offer_ids
            .iter()
            .filter_map(|id| offer_id(state, id))
            .collect(),
        refuse: refuse(decline.filters.as_ref()),
    }))
}

fn answer_inverse(
    state: &State,
    framework: FrameworkId,
    accepted: bool,
    ids: &[v1::OfferId],
    filters: Option<Filters>,
) -> Decision {
    Decision::Propose(Command::AnswerInverseOffers(AnswerInverseOffers {
        framework,
        offers: ids.iter().filter_map(|id| offer_id(state, id)).collect(),
        accepted,
        refuse: refuse(filters.as_ref()),
    }))
}

fn offer_id(state: &State, id: &v1::OfferId) -> Option<OfferId> {
    state.cluster()?.parse_offer_id(&id.value)
}

/// How long the same is not to be offered: 5 s where nothing valid is said (Mesos 1.11).
fn refuse(filters: Option<&Filters>) -> DurationMs {
    filters
        .and_then(|f| f.refuse_seconds)
        .map_or(Some(bounds::REFUSE_DEFAULT), DurationMs::from_secs_f64)
        .unwrap_or(bounds::REFUSE_DEFAULT)
        .min(bounds::REFUSE_MAX)
}

fn kill(framework: FrameworkId, kill: call::Kill) -> Decision {
    let given = kill.agent_id.map(|id| id.value);
    let Ok(task) = TaskId::new(&kill.task_id.value) else {
        // No task can have this id, so the answer needs no commit of its own.
        return Decision::Reconcile(vec![(kill.task_id.value, given)]);
    };
    let agent = match given.map(AgentId::new).transpose() {
        Ok(agent) => agent,
        // It is on no such agent: void, as in Mesos.
        Err(_) => return Decision::Nothing,
    };
    Decision::Propose(Command::KillTask(KillTask {
        task: TaskKey { framework, task },
        agent,
        grace: kill.kill_policy.as_ref().and_then(grace),
    }))
}

fn grace(policy: &KillPolicy) -> Option<DurationMs> {
    let nanoseconds = policy.grace_period.as_ref()?.nanoseconds;
    Some(DurationMs(u64::try_from(nanoseconds).ok()? / 1_000_000))
}

/// An executor's name; `None` when no executor can have it.
fn executor(framework: FrameworkId, id: &v1::ExecutorId) -> Option<ExecutorKey> {
    let executor = ExecutorId::new(&id.value).ok()?;
    Some(ExecutorKey {
        framework,
        executor,
    })
}

fn shutdown(framework: FrameworkId, shutdown: Option<call::Shutdown>) -> Decision {
    let command = shutdown.and_then(|call| {
        Some(Command::ShutdownExecutor(ShutdownExecutor {
            executor: executor(framework, &call.executor_id)?,
            agent: AgentId::new(&call.agent_id.value).ok()?,
        }))
    });
    // Void where there is no such executor, as in Mesos.
    command.map_or(Decision::Nothing, Decision::Propose)
}

fn message(framework: FrameworkId, message: Option<call::Message>) -> Decision {
    let told = message.and_then(|call| {
        let to = ToExecutor {
            executor: executor(framework, &call.executor_id)?,
            data: call.data,
        };
        Some((AgentId::new(&call.agent_id.value).ok()?, to))
    });
    told.map_or(Decision::Nothing, |(agent, to)| Decision::PassOn(agent, to))
}

fn acknowledge(framework: FrameworkId, acknowledge: call::Acknowledge) -> Decision {
    let ids = (
        TaskId::new(&acknowledge.task_id.value),
        AgentId::new(&acknowledge.agent_id.value),
        UpdateUuid::from_bytes(&acknowledge.uuid),
    );
    let (Ok(task), Ok(agent), Some(uuid)) = ids else {
        // It acknowledges nothing that was ever sent.
        return Decision::Nothing;
    };
    Decision::Propose(Command::AcknowledgeUpdate(AcknowledgeUpdate {
        task: TaskKey { framework, task },
        agent,
        uuid,
    }))
}

fn acknowledge_operation(
    framework: FrameworkId,
    acknowledge: call::AcknowledgeOperationStatus,
) -> Decision {
    let ids = (
        OperationId::new(&acknowledge.operation_id.value),
        UpdateUuid::from_bytes(&acknowledge.uuid),
    );
    let (Ok(operation), Some(uuid)) = ids else {
        // It acknowledges nothing that was ever sent.
        return Decision::Nothing;
    };
    Decision::Propose(Command::AcknowledgeOperation(AcknowledgeOperation {
        operation: OperationKey {
            framework,
            operation,
        },
        uuid,
    }))
}

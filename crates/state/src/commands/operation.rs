//! Operations on resources: reservations and persistent volumes, asked for by frameworks within an
//! ACCEPT or by operators.
//!
//! What they make belongs to the agent: it is kept beside what the agent says of itself, and comes
//! back with it.

use regency_resources::{Conversion, Resource, Resources};
use regency_types::{AgentId, FrameworkId, OfferId, OperationId, OperationKey};

use crate::apply::Applied;
use crate::bounds;
use crate::command::{
    AcknowledgeOperation, ApplyOperation, ConversionSpec, Feedback, ResourceOperation,
};
use crate::commands::offer::AcceptCx;
use crate::effect::Effect;
use crate::model::{
    AgentCommand, Consumption, FinishedOperation, Framework, Offer, RefusedOperation,
};
use crate::outcome::Refusal;
use crate::state::State;

pub(crate) mod conversion;

use conversion::{Requester, conversion_of};

/// Carries out one operation of an ACCEPT on what is left of its offers. When it cannot be, what
/// is left stays as it is, and the operations behind it are carried out nonetheless (Mesos 1.11).
pub(crate) fn convert(
    state: &mut State,
    framework: &Framework,
    cx: &mut AcceptCx,
    spec: &ConversionSpec,
) {
    let refused = match &spec.operation {
        Ok(operation) => carry_out(state, framework, cx, spec.feedback.as_ref(), operation).err(),
        Err(message) => Some(message.clone()),
    };
    match (refused, &spec.feedback) {
        (Some(message), feedback) => {
            refuse(
                state,
                &framework.id,
                feedback.as_ref(),
                message,
                &mut cx.effects,
            );
        }
        (None, Some(feedback)) => finish(state, &framework.id, cx, feedback),
        (None, None) => {}
    }
}

fn carry_out(
    state: &mut State,
    framework: &Framework,
    cx: &mut AcceptCx,
    feedback: Option<&Feedback>,
    operation: &ResourceOperation,
) -> Result<(), String> {
    if let Some(feedback) = feedback {
        check_feedback(state, &framework.id, feedback)?;
    }
    let agent = state
        .agents
        .get(&cx.agent)
        .ok_or_else(|| format!("Agent {} is not known", cx.agent))?;
    let by = Requester::Framework {
        role: &cx.role,
        principal: framework.spec.principal.as_deref(),
        capabilities: framework.spec.capabilities,
    };
    let conversion = conversion_of(operation, &by, &agent.total)?;
    let rest = cx
        .remaining
        .checked_sub(&conversion.consumed)
        .map_err(|shortage| {
            format!("The offered resources do not contain what it needs: {shortage}")
        })?;
    if holds_shared(&agent.allocated, &conversion.consumed) {
        return Err("A shared persistent volume is in use by a task".to_owned());
    }
    let agent = cx.agent.clone();
    change_agent(state, &agent, operation, &conversion)?;
    // Others may be offered what was shared, as in Mesos they hear that it is gone.
    take_back_shared(state, &agent, &conversion.consumed, &mut cx.effects);
    cx.remaining = rest.filter(|entry| {
        let gone = |consumed: &Resource| consumed.key == entry.key;
        !entry.key.shared || !conversion.consumed.entries().iter().any(gone)
    });
    cx.converted += &conversion.converted;
    // As in Mesos, a volume that changed its size is not used by what comes behind it.
    if !matches!(
        operation,
        ResourceOperation::GrowVolume { .. } | ResourceOperation::ShrinkVolume { .. }
    ) {
        cx.remaining += conversion.converted;
    }
    Ok(())
}

/// Whether any of the shared resources that shall go is in these.
fn holds_shared(these: &Resources, going: &Resources) -> bool {
    these.shared().shares_any(&going.shared())
}

/// Takes back every offer on the agent that has any of the shared resources that went.
fn take_back_shared(
    state: &mut State,
    agent: &AgentId,
    gone: &Resources,
    effects: &mut Vec<Effect>,
) {
    if gone.shared().is_empty() {
        return;
    }
    let offers: Vec<OfferId> = state
        .agents
        .get(agent)
        .map(|agent| agent.offers.iter().copied().collect())
        .unwrap_or_default();
    for id in offers {
        let has_it = |offer: &std::sync::Arc<Offer>| holds_shared(&offer.resources, gone);
        if state.offers.get(&id).is_some_and(has_it) {
            take_back(state, id, effects);
        }
    }
}

fn take_back(state: &mut State, offer: OfferId, effects: &mut Vec<Effect>) {
    if let Some(offer) = state.consume_offer(offer, Consumption::Rescinded) {
        effects.push(Effect::SendRescind {
            framework: offer.framework.clone(),
            offer: offer.id,
        });
    }
}

/// Whether the framework can be told under the id that it gave.
fn check_feedback(
    state: &State,
    framework: &FrameworkId,
    feedback: &Feedback,
) -> Result<OperationKey, String> {
    let id = OperationId::new(&feedback.id)
        .map_err(|error| format!("Operation has an invalid ID: {error}"))?;
    let key = OperationKey {
        framework: framework.clone(),
        operation: id,
    };
    if state.operations.contains_key(&key) {
        return Err(format!("Operation has duplicate ID: {}", feedback.id));
    }
    let waiting = state.operations_of(framework).count();
    if waiting >= bounds::OPERATIONS_UNACKED_MAX {
        return Err(format!(
            "the framework has {waiting} unacknowledged operations, as many as it may have"
        ));
    }
    Ok(key)
}

/// Keeps that the operation was carried out until the framework acknowledged it.
fn finish(state: &mut State, framework: &FrameworkId, cx: &mut AcceptCx, feedback: &Feedback) {
    let Ok(id) = OperationId::new(&feedback.id) else {
        return;
    };
    let key = OperationKey {
        framework: framework.clone(),
        operation: id,
    };
    // An earlier refusal under this id, told again after this, would be taken for its end.
    if let Some(framework) = state.framework_mut(framework) {
        framework
            .refused_operations
            .retain(|(_, refused)| refused.id != feedback.id);
    }
    state.operations.insert(
        key.clone(),
        std::sync::Arc::new(FinishedOperation {
            key: key.clone(),
            agent: cx.agent.clone(),
            uuid: feedback.uuid,
            info: feedback.info.clone(),
        }),
    );
    cx.effects.push(Effect::SendOperation { operation: key });
}

/// Tells the framework that the operation was not carried out, if it wants to hear of it and no
/// other operation waits for its acknowledgement under that id.
pub(crate) fn refuse(
    state: &mut State,
    framework: &FrameworkId,
    feedback: Option<&Feedback>,
    message: String,
    effects: &mut Vec<Effect>,
) {
    let Some(feedback) = feedback else {
        return;
    };
    let refused = RefusedOperation {
        id: feedback.id.clone(),
        message,
    };
    state.retain_refused_operation(framework, refused.clone());
    effects.push(Effect::SendRefusedOperation {
        framework: framework.clone(),
        refused,
    });
}

/// Gives the agent the resources that it has after the conversion, and has the data of destroyed
/// volumes removed.
fn change_agent(
    state: &mut State,
    id: &AgentId,
    operation: &ResourceOperation,
    conversion: &Conversion,
) -> Result<(), String> {
    let Some(agent) = state.agent_mut(id) else {
        return Err(format!("Agent {id} is not known"));
    };
    let checkpointed = agent
        .checkpointed
        .checked_sub(&conversion.consumed.checkpointed())
        .map_err(|shortage| format!("No operation made these resources: {shortage}"))?
        + conversion.converted.checkpointed();
    let total = agent
        .spec
        .total
        .with_checkpointed(&checkpointed)
        .map_err(|shortage| format!("The agent does not have these resources: {shortage}"))?;
    agent.checkpointed = checkpointed;
    agent.total = total;
    if let ResourceOperation::Destroy(volumes) = operation {
        for entry in volumes.entries() {
            agent.push(AgentCommand::DestroyVolume {
                volume: Resources::from(vec![entry.clone()]),
            });
        }
    }
    Ok(())
}

/// Whether an agent has room for a task of a former cluster that it runs. What operations made for
/// the task after this state was taken is made again, when the agent has what it was made of.
pub(crate) fn make_room(state: &mut State, id: &AgentId, needs: &Resources) -> bool {
    let Some(agent) = state.agents.get(id) else {
        return false;
    };
    let Ok(free) = agent.total.without_used(&agent.allocated) else {
        return false;
    };
    if free.contains(needs) {
        return true;
    }
    let unknown = needs
        .checkpointed()
        .filter(|entry| !free.contains(&Resources::from(vec![entry.clone()])));
    let conversion = Conversion {
        consumed: unknown.origin(),
        converted: unknown.clone(),
    };
    let fits = conversion
        .apply_to(&free)
        .is_ok_and(|free| free.contains(needs));
    let checkpointed = &agent.checkpointed + &unknown;
    let total = agent.spec.total.with_checkpointed(&checkpointed);
    let (true, true, Ok(total)) = (fits, conversion::are_unique(&checkpointed), total) else {
        return false;
    };
    if let Some(agent) = state.agent_mut(id) {
        agent.checkpointed = checkpointed;
        agent.total = total;
    }
    true
}

/// An operator changes the resources of an agent that nobody uses. As many offers are taken back as
/// that needs, as in Mesos.
pub(crate) fn apply_for_operator(state: &mut State, command: &ApplyOperation) -> Applied {
    let Some(agent) = state.agents.get(&command.agent).cloned() else {
        return Refusal::AgentUnknown(command.agent.clone()).into();
    };
    if !agent.is_registered() {
        return Refusal::AgentUnknown(command.agent.clone()).into();
    }
    let by = Requester::Operator {
        principal: command.principal.as_deref(),
    };
    let conversion = match conversion_of(&command.operation, &by, &agent.total) {
        Ok(conversion) => conversion,
        Err(message) => return Refusal::OperationInvalid(message).into(),
    };
    let unused = agent.total.without_used(&agent.allocated);
    if let Err(shortage) = unused.and_then(|unused| unused.checked_sub(&conversion.consumed)) {
        return Refusal::ResourcesInUse(shortage.to_string()).into();
    }
    if holds_shared(&agent.allocated, &conversion.consumed) {
        return Refusal::ResourcesInUse(conversion.consumed.to_string()).into();
    }
    let before = state.clone();
    let mut effects = Vec::new();
    for offer in &agent.offers {
        let is_free = state.agents.get(&command.agent).is_some_and(|a| {
            a.unpromised().contains(&conversion.consumed)
                && !holds_shared(&a.offered, &conversion.consumed)
        });
        if is_free {
            break;
        }
        let helps = state
            .offers
            .get(offer)
            .is_some_and(|o| o.resources.shares_any(&conversion.consumed));
        if helps {
            take_back(state, *offer, &mut effects);
        }
    }
    if let Err(message) = change_agent(state, &command.agent, &command.operation, &conversion) {
        // A refusal changes nothing but the time.
        *state = before;
        return Refusal::OperationInvalid(message).into();
    }
    effects.push(Effect::SyncAgent {
        agent: command.agent.clone(),
    });
    effects.push(Effect::WakeAllocator);
    Applied::done(effects)
}

/// The framework has heard that its operation was carried out: its id may be used again.
pub(crate) fn acknowledge(state: &mut State, command: &AcknowledgeOperation) -> Applied {
    let known = state
        .operations
        .get(&command.operation)
        .is_some_and(|o| o.uuid == command.uuid);
    if !known {
        return Refusal::UpdateUnknown.into();
    }
    state.operations.remove(&command.operation);
    Applied::done(Vec::new())
}

#[cfg(test)]
mod tests;

//! Carries out effects, in log order.
//!
//! Whatever is sent is read from the newest state: an effect says where to look, not what is true.

use std::sync::Arc;

use regency_raft_store::{EffectReceiver, EffectsLost};
use regency_state::model::AgentPhase;
use regency_state::{CloseReason, Effect, State};
use regency_wire::v1;
use regency_wire::v1::scheduler::Event;

use super::Leader;
use crate::metrics;
use crate::query;

/// Until this master stops applying.
pub(crate) async fn run(leader: Arc<Leader>, mut effects: EffectReceiver) {
    loop {
        match effects.recv().await {
            Ok(batch) => {
                let applied = leader.state();
                for effect in &batch.effects {
                    execute(&leader, &applied.state, effect);
                }
            }
            Err(EffectsLost::Lagged(n)) => {
                ::metrics::counter!(metrics::EFFECTS_LAGGED).increment(n);
                tracing::warn!(batches = n, "effects were dropped; everything is sent anew");
                sweep(&leader);
            }
            // The term ends with this master's end; until then there is nothing to do.
            Err(EffectsLost::Stopped) => return std::future::pending().await,
        }
    }
}

fn execute(leader: &Leader, state: &State, effect: &Effect) {
    match effect {
        Effect::SendOffers { framework, offers } => {
            if let Some(stream) = leader.streams.get(framework) {
                stream.send_offers(state, offers);
            }
        }
        Effect::SendRescind { framework, offer } => {
            if let Some(stream) = leader.streams.get(framework) {
                stream.rescind(*offer);
            }
        }
        Effect::SendInverseOffers { framework, offers } => {
            if let Some(stream) = leader.streams.get(framework) {
                stream.send_inverse_offers(state, offers);
            }
        }
        Effect::SendRescindInverse { framework, offer } => {
            if let Some(stream) = leader.streams.get(framework) {
                stream.rescind_inverse(*offer);
            }
        }
        Effect::SendUpdate { task } => {
            if let Some(stream) = leader.streams.get(&task.framework) {
                stream.send_update(state, task);
            }
        }
        Effect::SendStatus { framework, status } => {
            if let Some(stream) = leader.streams.get(framework)
                && let Some(framework) = state.framework(framework)
            {
                let capabilities = &framework.spec.capabilities;
                let status = query::status::of_master(status, capabilities, state.wall());
                stream.send(&Event::update(status));
            }
        }
        Effect::SendOperation { operation } => {
            if let Some(stream) = leader.streams.get(&operation.framework) {
                stream.send_operation(state, operation);
            }
        }
        Effect::SendRefusedOperation { framework, refused } => {
            if let Some(stream) = leader.streams.get(framework) {
                let status = query::operation::refused(refused);
                stream.send(&Event::update_operation_status(status));
            }
        }
        Effect::SendFailure { agent } => {
            let event = Event::agent_lost(v1::AgentId {
                value: agent.to_string(),
            });
            for stream in leader.streams.all() {
                stream.send(&event);
            }
        }
        Effect::SendExecutorExit {
            executor,
            agent,
            status,
        } => {
            if let Some(stream) = leader.streams.get(&executor.framework) {
                let id = (&executor.executor).into();
                stream.send(&Event::executor_ended(agent.into(), id, *status));
            }
        }
        Effect::SyncAgent { agent } => leader.attachments.sync(agent),
        Effect::DetachAgent { agent } => leader.attachments.remove(agent),
        Effect::CloseStream {
            framework,
            stream,
            reason,
        } => {
            if let Some(stream) = leader.streams.remove(framework, *stream) {
                stream.close(match reason {
                    CloseReason::FailedOver => Some("Framework failed over"),
                    CloseReason::Removed => None,
                });
            }
        }
        Effect::WakeAllocator => leader.allocate.notify_one(),
    }
}

/// Sends everything the state says should have been sent.
fn sweep(leader: &Leader) {
    let applied = leader.state();
    for stream in leader.streams.all() {
        let Some(framework) = applied.state.framework(&stream.framework) else {
            stream.close(None);
            continue;
        };
        let offers: Vec<_> = framework.offers.iter().copied().collect();
        stream.send_offers(&applied.state, &offers);
        let inverse: Vec<_> = framework.inverse_offers.iter().copied().collect();
        stream.send_inverse_offers(&applied.state, &inverse);
        for task in applied
            .state
            .tasks_of(framework)
            .filter(|t| t.unacked.is_some())
        {
            stream.send_update(&applied.state, &task.key);
        }
        for operation in applied.state.operations_of(&framework.id) {
            stream.send_operation(&applied.state, &operation.key);
        }
    }
    for agent in leader.attachments.attached() {
        let known = applied.state.agent(&agent);
        if known.is_none_or(|agent| matches!(agent.phase, AgentPhase::Down { .. })) {
            leader.attachments.remove(&agent);
        }
    }
    leader.attachments.sync_all();
    leader.allocate.notify_one();
}

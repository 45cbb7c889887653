//! What is planned for machines and agents, as clients see it.

use std::collections::BTreeMap;

use regency_state::State;
use regency_state::model::{self, Drain, DrainProgress, MachineId};
use regency_types::DurationMs;
use regency_wire::v1::allocator::{InverseOfferStatus, inverse_offer_status::Status};
use regency_wire::v1::maintenance::cluster_status::DrainingMachine;
use regency_wire::v1::maintenance::{ClusterStatus, Schedule, Window};
use regency_wire::v1::{
    self, DrainConfig, DrainInfo, DrainState, DurationInfo, OfferId, TimeInfo, Unavailability,
};

use super::offer::url;
use super::status::time;

/// When something is not there.
#[must_use]
pub fn unavailability(when: model::Unavailability) -> Unavailability {
    Unavailability {
        start: TimeInfo {
            nanoseconds: when.start_ns,
        },
        duration: when
            .duration_ns
            .map(|nanoseconds| DurationInfo { nanoseconds }),
    }
}

fn machine(name: &MachineId) -> v1::MachineId {
    v1::MachineId {
        hostname: name.hostname.clone(),
        ip: name.ip.clone(),
    }
}

/// The maintenance schedule.
#[must_use]
pub fn schedule(state: &State) -> Schedule {
    let windows = state.maintenance_windows().map(|window| Window {
        machine_ids: window.machines.iter().map(machine).collect(),
        unavailability: unavailability(window.unavailability),
    });
    Schedule {
        windows: windows.collect(),
    }
}

/// Machines that are down, and those that are going to be, with what frameworks answered.
#[must_use]
pub fn status(state: &State) -> ClusterStatus {
    let mut answers: BTreeMap<&MachineId, Vec<InverseOfferStatus>> = BTreeMap::new();
    for agent in state.agents().filter(|agent| !agent.answers.is_empty()) {
        let Some((name, _)) = state.machine_of(&agent.spec) else {
            continue;
        };
        let given = agent.answers.iter().map(|(framework, answer)| {
            let status = if answer.accepted {
                Status::Accept
            } else {
                Status::Decline
            };
            InverseOfferStatus {
                status: status as i32,
                framework_id: framework.into(),
                timestamp: time(answer.wall),
            }
        });
        answers.entry(name).or_default().extend(given);
    }
    let mut status = ClusterStatus::default();
    for (name, state) in state.machines() {
        if state.down {
            status.down_machines.push(machine(name));
        } else {
            status.draining_machines.push(DrainingMachine {
                id: machine(name),
                statuses: answers.remove(name).unwrap_or_default(),
            });
        }
    }
    status
}

/// Encodes an outstanding inverse offer; `None` when its agent is not in the state.
#[must_use]
pub fn inverse_offer(state: &State, offer: &model::InverseOffer) -> Option<v1::InverseOffer> {
    let agent = state.agent(&offer.agent)?;
    Some(v1::InverseOffer {
        id: OfferId {
            value: state.cluster()?.offer_id(offer.id),
        },
        url: Some(url(agent)),
        framework_id: (&offer.framework).into(),
        agent_id: Some((&offer.agent).into()),
        unavailability: unavailability(offer.unavailability),
        // All that it has there.
        resources: Vec::new(),
    })
}

/// How far the draining of an agent is.
#[must_use]
pub fn drain_info(drain: &Drain) -> DrainInfo {
    let state = match drain.progress {
        DrainProgress::Draining => DrainState::Draining,
        DrainProgress::Drained => DrainState::Drained,
    };
    DrainInfo {
        state: state as i32,
        config: DrainConfig {
            max_grace_period: drain.max_grace.map(duration),
            mark_gone: Some(drain.mark_gone),
        },
    }
}

fn duration(span: DurationMs) -> DurationInfo {
    let nanoseconds = span.0.saturating_mul(1_000_000);
    DurationInfo {
        nanoseconds: i64::try_from(nanoseconds).unwrap_or(i64::MAX),
    }
}

//! The maintenance schedule, inverse offers with their answers, agents that are gone or drained.

use imbl::OrdMap;
use regency_state::model::{
    Drain, DrainProgress, InverseAnswer, InverseOffer, MachineId, MaintenanceWindow, Unavailability,
};
use regency_types::{AgentId, ClusterTime, DurationMs, FrameworkId, OfferId, WallTime};

use crate::StoredError;
use crate::field::{Stored, id, load_all, required, store_all};
use crate::proto;

impl Stored for MachineId {
    type Message = proto::MachineId;

    fn store(&self) -> proto::MachineId {
        proto::MachineId {
            hostname: self.hostname.clone(),
            ip: self.ip.clone(),
        }
    }

    fn load(message: proto::MachineId) -> Result<Self, StoredError> {
        Ok(Self {
            hostname: message.hostname,
            ip: message.ip,
        })
    }
}

impl Stored for Unavailability {
    type Message = proto::Unavailability;

    fn store(&self) -> proto::Unavailability {
        proto::Unavailability {
            start_ns: self.start_ns,
            duration_ns: self.duration_ns,
        }
    }

    fn load(message: proto::Unavailability) -> Result<Self, StoredError> {
        Ok(Self {
            start_ns: message.start_ns,
            duration_ns: message.duration_ns,
        })
    }
}

impl Stored for MaintenanceWindow {
    type Message = proto::MaintenanceWindow;

    fn store(&self) -> proto::MaintenanceWindow {
        proto::MaintenanceWindow {
            machines: store_all(&self.machines),
            unavailability: Some(self.unavailability.store()),
        }
    }

    fn load(message: proto::MaintenanceWindow) -> Result<Self, StoredError> {
        let when = required(message.unavailability, "MaintenanceWindow.unavailability")?;
        Ok(Self {
            machines: load_all(message.machines)?,
            unavailability: Unavailability::load(when)?,
        })
    }
}

impl Stored for InverseOffer {
    type Message = proto::InverseOffer;

    fn store(&self) -> proto::InverseOffer {
        proto::InverseOffer {
            id: self.id.0,
            framework: self.framework.as_str().to_owned(),
            agent: self.agent.as_str().to_owned(),
            unavailability: Some(self.unavailability.store()),
            deadline_ms: self.deadline.map(|t| t.0),
            made_wall_ms: self.made.0,
        }
    }

    fn load(message: proto::InverseOffer) -> Result<Self, StoredError> {
        let when = required(message.unavailability, "InverseOffer.unavailability")?;
        Ok(Self {
            id: OfferId(message.id),
            framework: id(message.framework, "InverseOffer.framework")?,
            agent: id(message.agent, "InverseOffer.agent")?,
            unavailability: Unavailability::load(when)?,
            deadline: message.deadline_ms.map(ClusterTime),
            made: WallTime(message.made_wall_ms),
        })
    }
}

impl Stored for Drain {
    type Message = proto::agent::Drain;

    fn store(&self) -> proto::agent::Drain {
        let Self {
            progress,
            max_grace,
            mark_gone,
            since,
        } = self;
        proto::agent::Drain {
            drained: *progress == DrainProgress::Drained,
            max_grace_ms: max_grace.map(|g| g.0),
            mark_gone: *mark_gone,
            since_wall_ms: since.0,
        }
    }

    fn load(message: proto::agent::Drain) -> Result<Self, StoredError> {
        Ok(Self {
            progress: if message.drained {
                DrainProgress::Drained
            } else {
                DrainProgress::Draining
            },
            max_grace: message.max_grace_ms.map(DurationMs),
            mark_gone: message.mark_gone,
            since: WallTime(message.since_wall_ms),
        })
    }
}

pub(crate) fn store_answers(
    answers: &OrdMap<FrameworkId, InverseAnswer>,
) -> Vec<proto::agent::Answer> {
    let answers = answers.iter();
    answers
        .map(|(framework, answer)| proto::agent::Answer {
            framework: framework.as_str().to_owned(),
            accepted: answer.accepted,
            wall_ms: answer.wall.0,
            until_ms: answer.until.0,
        })
        .collect()
}

pub(crate) fn load_answers(
    messages: Vec<proto::agent::Answer>,
) -> Result<OrdMap<FrameworkId, InverseAnswer>, StoredError> {
    let mut answers = OrdMap::new();
    for message in messages {
        let answer = InverseAnswer {
            accepted: message.accepted,
            wall: WallTime(message.wall_ms),
            until: ClusterTime(message.until_ms),
        };
        let framework = id(message.framework, "Agent.Answer.framework")?;
        if answers.insert(framework, answer).is_some() {
            return Err(StoredError::malformed(
                "Agent.answers",
                "a framework is named twice",
            ));
        }
    }
    Ok(answers)
}

pub(crate) fn store_gone(agent: &AgentId, at: ClusterTime) -> proto::GoneAgent {
    proto::GoneAgent {
        agent: agent.as_str().to_owned(),
        at_ms: at.0,
    }
}

pub(crate) fn load_gone(message: proto::GoneAgent) -> Result<(AgentId, ClusterTime), StoredError> {
    let agent = id(message.agent, "GoneAgent.agent")?;
    Ok((agent, ClusterTime(message.at_ms)))
}

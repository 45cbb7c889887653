//! Whether an agent is let in, and what it is asked and sent first.

use regency_mutants::{Mutant, on};
use regency_state::model::{Agent, AgentSpec};
use regency_state::{Command, RegisterAgent, ReregisterAgent, State};
use regency_types::digest::{Digest, DigestBuilder};
use regency_types::{AgentEpoch, AgentId, BootId, ClusterId, Term};

/// What an agent says when it asks to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// The cluster it belongs to, once it attached to one.
    pub cluster: Option<ClusterId>,
    /// Its id, once it has one.
    pub agent: Option<AgentId>,
    /// Its checkpoint directory.
    pub epoch: AgentEpoch,
    /// Its machine's boot.
    pub boot: BootId,
    /// Highest term it ever attached under.
    pub highest_term: Term,
    /// What it says of itself.
    pub spec: AgentSpec,
    /// Whether it says in which fault domain it is.
    pub has_domain: bool,
    /// Highest report number it assigned.
    pub report_seq: u64,
    /// Highest command number it durably noted.
    pub command_seq: u64,
    /// Over its tasks and executors.
    pub digest: Option<Digest>,
}

impl Attach {
    /// The cluster it belongs to, when that is not `cluster`.
    #[must_use]
    pub fn former(&self, cluster: ClusterId) -> Option<ClusterId> {
        self.cluster.filter(|its| *its != cluster)
    }
}

/// The leader an agent asks.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its term.
    pub term: Term,
    /// Whether the masters were told in which fault domain they are.
    pub has_domain: bool,
}

/// Why an agent is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Another master leads, or will.
    NotLeader,
    /// The checkpoints belong to another cluster.
    WrongCluster,
    /// The agent id belongs to another checkpoint directory.
    WrongEpoch,
    /// The agent was removed for good, or its machine is down: it must end everything.
    Gone,
    /// Not now.
    Retry,
}

/// What becomes of an agent that asks to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is let in; nothing about it is new.
    Known(AgentId),
    /// It is let in once this is committed.
    Propose(Command),
    /// It is not let in; with a text for people.
    Refuse(Reason, String),
}

/// The answer to an [`Attach`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Whether the leader must be certain that it leads, by a read barrier that begins now, before it
    /// gives the answer.
    pub needs_barrier: bool,
    /// The answer.
    pub answer: Answer,
}

/// Decides about an agent, with a log entry only when something about it is new.
#[must_use]
pub fn admit(state: &State, host: Host, attach: &Attach) -> Admission {
    let refuse = |reason, message| Admission {
        needs_barrier: false,
        answer: Answer::Refuse(reason, message),
    };
    if attach.has_domain && !host.has_domain {
        let message = "the agent has a --domain, and the masters have none";
        return refuse(Reason::Retry, message.to_owned());
    }
    let former = attach.former(host.cluster);
    if let Some(cluster) = former
        && !state.ancestors().any(|a| a.cluster == cluster)
    {
        let message = format!(
            "the agent's checkpoints belong to cluster {cluster}, this is cluster {}, which was not \
             restored from it; give the agent the masters of its own cluster, or stop it and its \
             tasks and give it an empty --work-dir",
            host.cluster
        );
        return refuse(Reason::WrongCluster, message);
    }
    // Terms of another cluster say nothing about the terms of this one. Whoever is frozen and leads
    // no more must not take an agent over.
    let is_ahead = attach.highest_term > host.term && !on(Mutant::AdmitFromTheFuture);
    if former.is_none() && is_ahead {
        let message = format!("the agent knows of term {}", attach.highest_term);
        return refuse(Reason::NotLeader, message);
    }
    // That an agent must end everything is told only by a master that certainly leads.
    let refuse_for_good = |message| Admission {
        needs_barrier: true,
        answer: Answer::Refuse(Reason::Gone, message),
    };
    if let Some(id) = attach.agent.as_ref().filter(|id| state.is_gone(id)) {
        return refuse_for_good(format!("agent {id} was marked gone by an operator"));
    }
    let machine = state.machine_of(&attach.spec);
    if let Some((name, _)) = machine.filter(|(_, machine)| machine.down) {
        return refuse_for_good(format!("machine {name} is down for maintenance"));
    }
    let admission = |answer| Admission {
        needs_barrier: former.is_some(),
        answer,
    };
    let register = || {
        Answer::Propose(Command::RegisterAgent(RegisterAgent {
            epoch: attach.epoch,
            boot: attach.boot,
            spec: attach.spec.clone(),
        }))
    };
    let Some(agent) = known(state, attach, former.is_some()) else {
        return match &attach.agent {
            // Registered after the state was saved that this cluster goes on with.
            Some(_) if former.is_some() => admission(register()),
            None => admission(register()),
            Some(id) => refuse_for_good(format!(
                "agent {id} was removed; give it an empty --work-dir to come back"
            )),
        };
    };
    if agent.epoch != attach.epoch && !on(Mutant::DropEpochCheck) {
        let message = format!("agent {} has other checkpoints than these", agent.id);
        return admission(Answer::Refuse(Reason::WrongEpoch, message));
    }
    if is_current(agent, attach) {
        return admission(Answer::Known(agent.id.clone()));
    }
    admission(Answer::Propose(Command::ReregisterAgent(ReregisterAgent {
        agent: agent.id.clone(),
        epoch: attach.epoch,
        boot: attach.boot,
        spec: attach.spec.clone(),
    })))
}

fn known<'a>(state: &'a State, attach: &Attach, is_former: bool) -> Option<&'a Agent> {
    let of_epoch = || state.agent_of_epoch(attach.epoch);
    let known = match &attach.agent {
        // It may have been given another id here, and not have heard of it.
        Some(id) => state.agent(id).or_else(|| of_epoch().filter(|_| is_former)),
        None => of_epoch(),
    };
    known.map(AsRef::as_ref)
}

/// Whether nothing about the agent is new, so that its attachment needs no log entry.
fn is_current(agent: &Agent, attach: &Attach) -> bool {
    agent.is_registered() && agent.boot == attach.boot && agent.spec == attach.spec
}

/// Whether an attached agent must attach anew: it was given up while it was silent, and is heard
/// again on the stream it had.
#[must_use]
pub fn must_attach_again(state: &State, agent: &AgentId) -> bool {
    let known = state.agent(agent);
    known.is_some_and(|agent| !agent.is_registered()) && !on(Mutant::LeaveGivenUp)
}

/// What follows right after an agent was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Whether it is asked for its whole picture.
    pub resync: bool,
    /// Whether the picture must come with what was launched.
    pub inventory: bool,
    /// Whether its cursors agree with the state and its tasks do not, which is told to operators.
    pub digests_differ: bool,
    /// Commands above this one are sent. `None`: not before its picture told which numbers it has
    /// used.
    pub sent: Option<u64>,
}

/// Compares what an agent says with what the state has of it.
#[must_use]
pub fn opening(state: &State, record: &Agent, attach: &Attach, is_former: bool) -> Opening {
    // An agent that was not asked yet what it runs, or whose answer was lost, is asked.
    let inventory = record.inventory_due || is_former;
    let is_ahead = attach.command_seq > record.command_seq;
    let forgot = attach.report_seq < record.report_seq;
    let settled =
        attach.command_seq == record.command_seq && attach.report_seq == record.report_seq;
    let digests_differ = !inventory
        && settled
        && attach
            .digest
            .is_some_and(|theirs| theirs != digest(state, record));
    Opening {
        resync: inventory || is_ahead || forgot || digests_differ,
        inventory,
        digests_differ,
        sent: (!inventory && !is_ahead).then_some(if on(Mutant::CommandsFromNewest) {
            record.command_seq
        } else {
            attach.command_seq
        }),
    }
}

/// The digest over an agent's tasks and executors as the state has them.
#[must_use]
pub fn digest(state: &State, agent: &Agent) -> Digest {
    let mut digest = DigestBuilder::default();
    for key in &agent.tasks {
        if let Some(task) = state.task(key) {
            digest.task(
                key,
                task.generation,
                task.state_before_unreachable.unwrap_or(task.state),
                task.unacked.as_ref().map(|u| u.uuid),
            );
        }
    }
    for (key, executor) in &agent.executors {
        digest.executor(&key.framework, &key.executor, executor.instance);
    }
    digest.finish()
}

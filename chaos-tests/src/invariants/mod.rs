//! What must hold, one file for each rule. The numbers are those of `docs/ARCHITECTURE.md`.
//!
//! These are fed by the model run ([`crate::model`]): every committed entry with the state on either
//! side of it, what leaders tell agents and frameworks, and the end, when everything has healed.
//! Rules that only need entries are [`regency_testkit::rules`], which the replay test of the state
//! uses as well. I16 is checked where it is brought about, in the model's `heal`; I10, I11 and I17
//! need processes.

pub mod filters;
pub mod i01_launches;
pub mod i02_offers;
pub mod i03_promises;
pub mod i04_updates;
pub mod i05_states;
pub mod i06_ids;
pub mod i07_terms;
pub mod i08_removed;
pub mod i09_silence;
pub mod i12_streams;
pub mod i13_replicas;
pub mod i14_failover;
pub mod i15_frameworks;

use std::collections::BTreeSet;

use regency_agent_core::message::Report;
use regency_resources::Resources;
use regency_state::model::StatusReason;
use regency_state::{Command, State};
use regency_testkit::agent::Machine;
use regency_testkit::rules::Step;
use regency_types::{
    AgentId, ClusterTime, FrameworkId, Generation, OfferId, TaskId, TaskKey, Term, UpdateUuid,
};

use crate::model::framework::SimFramework;

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Broken {
    /// Which rule.
    pub invariant: &'static str,
    /// What breaks it.
    pub what: String,
}

impl Broken {
    /// A broken rule.
    #[must_use]
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self {
            invariant,
            what: what.into(),
        }
    }
}

/// What a check gives.
pub type Checked<T = ()> = Result<T, Broken>;

fn broken(invariant: &'static str) -> impl Fn(String) -> Broken {
    move |what| Broken { invariant, what }
}

/// What a leader saw of an agent when it proposed to give it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Which agent.
    pub agent: AgentId,
    /// For how long this leader did not hear it.
    pub silent_ms: u64,
    /// For how long no serving leader heard it, without the time in which nobody served.
    pub unheard_ms: u64,
}

/// A committed entry.
pub struct Entry<'a> {
    /// The entry, with the state on either side of it.
    pub step: Step<'a>,
    /// The term it was proposed under.
    pub term: Term,
    /// The newest term before it.
    pub newest_term: Term,
    /// What its proposer saw, when it gives an agent up.
    pub evidence: Option<&'a Evidence>,
}

/// All rules of one history, with what they have seen.
#[derive(Debug, Default)]
pub struct Invariants {
    launches: i01_launches::Launches,
    offers: i02_offers::Offers,
    ids: i06_ids::Ids,
    terms: i07_terms::Terms,
    silence: i09_silence::Silence,
}

impl Invariants {
    /// An entry was committed.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn entry(&mut self, entry: &Entry<'_>) -> Checked {
        i07_terms::check(entry)?;
        i03_promises::check(entry)?;
        regency_testkit::rules::refused_changes_nothing(&entry.step).map_err(broken("refusal"))?;
        i14_failover::check(entry)?;
        i05_states::check(entry)?;
        i04_updates::check(entry)?;
        i15_frameworks::check(entry)?;
        i09_silence::check(entry)?;
        filters::check(entry)?;
        self.ids.follow(entry)?;
        self.launches.follow(entry)?;
        self.offers.follow(entry)?;
        self.terms.follow(entry);
        Ok(())
    }

    /// A leader planned offers.
    ///
    /// # Errors
    /// When a filter is not heeded, or an agent is not there.
    pub fn planned(
        &self,
        state: &State,
        attached: &[AgentId],
        commands: &[Command],
        now: ClusterTime,
    ) -> Checked {
        filters::planned(state, attached, commands, now)
    }

    /// A machine is gone for good.
    pub fn machine_is_gone(&mut self, machine: &Machine) {
        self.launches.machine_is_gone(machine);
    }

    /// A serving leader heard an agent, when leaders had served for so long.
    pub fn heard(&mut self, agent: &AgentId, served_ms: u64) {
        self.silence.heard(agent, served_ms);
    }

    /// For how long no serving leader heard an agent.
    #[must_use]
    pub fn unheard_ms(&self, agent: &AgentId, served_ms: u64) -> u64 {
        self.silence.unheard_ms(agent, served_ms)
    }

    /// An agent said this.
    ///
    /// # Errors
    /// When it was not durable.
    pub fn reported(&self, machine: &Machine, reports: &[Report]) -> Checked {
        i04_updates::reported(machine, reports)
    }

    /// A leader lets an agent in.
    ///
    /// # Errors
    /// When its id is not committed, or a serving leader lets in who was removed.
    pub fn attached(&self, state: &State, id: &AgentId, deposed: bool) -> Checked {
        self.terms.attached(id)?;
        i08_removed::attached(state, id, deposed)
    }

    /// A leader sends an agent commands up to this one.
    ///
    /// # Errors
    /// When they are not committed.
    pub fn commands_sent(&self, state: &State, id: &AgentId, last: u64) -> Checked {
        i07_terms::commands_sent(state, id, last)
    }

    /// A leader sends offers.
    ///
    /// # Errors
    /// When they are not committed.
    pub fn offers_sent(&self, state: &State, offers: &[(OfferId, AgentId, Resources)]) -> Checked {
        i07_terms::offers_sent(state, offers)
    }

    /// A leader sends an update.
    ///
    /// # Errors
    /// When it is not committed.
    pub fn update_sent(&self, task: &TaskKey, uuid: UpdateUuid) -> Checked {
        self.terms.update_sent(task, uuid)
    }

    /// Which launch a status of the masters is about, if it is about one.
    #[must_use]
    pub fn launch_told(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
        reason: StatusReason,
    ) -> Option<Generation> {
        self.launches.launch_told(framework, task, reason)
    }

    /// A framework is told of an offer.
    ///
    /// # Errors
    /// When it was told on the same stream before.
    pub fn offer_heard(&self, on_stream: &mut BTreeSet<OfferId>, offer: OfferId) -> Checked {
        i12_streams::offer_heard(on_stream, offer)
    }

    /// Faults have ended and nothing is left to do.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn healed(
        &self,
        state: &State,
        machines: &[&Machine],
        frameworks: &[SimFramework],
    ) -> Checked {
        i04_updates::healed(state, machines, frameworks)?;
        self.launches.healed(state, machines, frameworks)
    }
}

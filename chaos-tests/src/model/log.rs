//! A model of the masters' log: what Raft promises of it and no more.
//!
//! Proposals of the present leader are in flight until they are committed, in any order. When the
//! leader dies or is deposed, each is committed before its successor begins, or lost for ever. What
//! a deposed leader proposes is lost.

use regency_state::{Applied, Command, Proposal, State};
use regency_types::{StreamId, Term};

use crate::invariants::Evidence;

/// Who proposed, and what is to be done with the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// One of the leader's duties. The next period tries again.
    Duty,
    /// An operator, who looks at what became of it and does not wait.
    Operator,
    /// An attachment waits to be let in.
    Admit(u64),
    /// An attachment wants to tell the agent how far its reports are committed.
    Reports(u64),
    /// An attachment committed which executors an agent has; its tasks come next.
    Executors(u64),
    /// An attachment committed an agent's picture.
    Picture(u64),
    /// A framework subscribes.
    Subscribe {
        /// Which framework of the model.
        framework: usize,
        /// The subscription.
        stream: StreamId,
    },
    /// A framework called.
    Call {
        /// Which framework of the model.
        framework: usize,
        /// Number of the call.
        call: u64,
    },
}

/// A proposal whose fate is open.
#[derive(Debug, Clone)]
pub struct InFlight {
    /// Numbers of one log ascend.
    pub number: u64,
    /// The term it was made under.
    pub term: Term,
    /// What is asked.
    pub proposal: Proposal,
    /// Who asks.
    pub caller: Caller,
    /// What the leader saw of the agent that is to be given up.
    pub evidence: Option<Evidence>,
}

/// The committed log with the state it leads to, and what is on its way into it.
#[derive(Debug, Default)]
pub struct Log {
    /// The state at the newest committed entry.
    pub state: State,
    /// Committed entries with what they gave.
    pub entries: Vec<(Proposal, Applied)>,
    /// What the present leader proposed and is not committed.
    pub in_flight: Vec<InFlight>,
    /// The term of the newest committed entry.
    pub term: Term,
    /// The state some entries ago, for a defect.
    pub earlier: State,
    n_proposed: u64,
}

impl Log {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.n_proposed += 1;
        self.n_proposed
    }
}

/// For a line of a trace: what a command is about, without its bulk.
#[must_use]
pub fn brief(command: &Command) -> String {
    match command {
        Command::AcceptOffers(c) => {
            let offers: Vec<_> = c.offers.iter().flatten().map(|o| o.0).collect();
            format!("accept_offers {offers:?}")
        }
        Command::DeclineOffers(c) => {
            let offers: Vec<_> = c.offers.iter().map(|o| o.0).collect();
            format!("decline_offers {offers:?}")
        }
        Command::RescindOffers(c) => {
            let offers: Vec<_> = c.offers.iter().map(|o| o.0).collect();
            format!("rescind_offers {offers:?}")
        }
        Command::IssueOffers(c) => {
            let plans: Vec<_> = c
                .plans
                .iter()
                .map(|p| {
                    format!(
                        "{} on {} to {}",
                        p.resources,
                        short(&p.agent),
                        short(&p.framework)
                    )
                })
                .collect();
            format!("issue_offers {}", plans.join("; "))
        }
        Command::KillTask(c) => format!("kill_task {}", c.task.task),
        Command::AcknowledgeUpdate(c) => {
            format!("acknowledge_update of {}, {}", c.task.task, c.uuid.0)
        }
        Command::ApplyReports(c) => {
            let reports: Vec<_> = c
                .reports
                .iter()
                .map(|r| {
                    let head = r.head.as_ref().map_or("-", |h| h.state.name());
                    let latest = r.latest_state.name();
                    format!(
                        "{}: {}#{} head {head}, now {latest}",
                        r.report_seq, r.task.task, r.generation
                    )
                })
                .collect();
            format!(
                "apply_reports of {}, noted {}: {}",
                short(&c.agent),
                c.command_seq,
                reports.join("; ")
            )
        }
        Command::ResyncAgent(c) => format!(
            "resync_agent {}, noted {}, reports {}, {} tasks",
            short(&c.agent),
            c.command_seq,
            c.report_seq,
            c.tasks.len()
        ),
        Command::DrainAgent(c) => format!("drain_agent {}", short(&c.agent)),
        Command::AgentDrained(c) => format!("agent_drained {}", short(&c.agent)),
        Command::MarkAgentGone(c) => format!("mark_agent_gone {}", short(&c.agent)),
        Command::MarkAgentUnreachable(c) => format!("mark_agent_unreachable {}", short(&c.agent)),
        Command::BeginTerm(c) => format!("begin_term {}", c.term),
        other => other.name().to_owned(),
    }
}

/// The last part of an id.
#[must_use]
pub fn short(id: &impl std::fmt::Display) -> String {
    let text = id.to_string();
    text.rsplit('-').next().unwrap_or(&text).to_owned()
}

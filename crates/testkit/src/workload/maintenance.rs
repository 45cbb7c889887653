//! Operators take agents and machines out of use and give them back; frameworks are asked to leave.

use regency_state::model::{MachineId, MaintenanceWindow, Unavailability};
use regency_state::{
    AgentDrained, AnswerInverseOffers, Command, DeactivateAgent, DrainAgent, ForgetAgents,
    IssueInverseOffers, MarkAgentGone, ReactivateAgent, StartMaintenance, State, StopMaintenance,
    UpdateMaintenance,
};
use regency_types::{AgentId, DurationMs, FrameworkId, OfferId};

use super::Workload;

impl Workload {
    /// An operator takes something out of use or gives it back, not always what can be.
    pub(super) fn operator_takes_out(&mut self, state: &State) -> Option<Command> {
        let agents: Vec<AgentId> = state.agents().map(|a| a.id.clone()).collect();
        let mut agent = self.rng.pick(&agents)?.clone();
        if self.rng.chance(3) {
            agent = AgentId::new("elsewhere").expect("a word is a valid id");
        }
        Some(match self.rng.below(20) {
            0..=3 => Command::UpdateMaintenance(UpdateMaintenance {
                windows: self.windows(state),
            }),
            4..=6 => Command::StartMaintenance(StartMaintenance {
                machines: self.machines(state, false),
            }),
            7..=8 => Command::StopMaintenance(StopMaintenance {
                machines: self.machines(state, true),
            }),
            9..=11 => Command::DrainAgent(DrainAgent {
                agent,
                max_grace: self.rng.maybe(|rng| DurationMs(1_000 * rng.below(3))),
                mark_gone: self.rng.chance(20),
            }),
            12..=13 => Command::DeactivateAgent(DeactivateAgent { agent }),
            14..=18 => {
                let out = state.agents().filter(|a| a.deactivated);
                let out: Vec<AgentId> = out.map(|a| a.id.clone()).collect();
                let agent = self.rng.pick(&out).cloned().unwrap_or(agent);
                Command::ReactivateAgent(ReactivateAgent { agent })
            }
            _ => Command::MarkAgentGone(MarkAgentGone { agent }),
        })
    }

    /// A schedule, mostly a good one that keeps what is down.
    fn windows(&mut self, state: &State) -> Vec<MaintenanceWindow> {
        let kept = state.machines().filter(|(_, machine)| machine.down);
        let mut machines: Vec<MachineId> = kept.map(|(name, _)| name.clone()).collect();
        if self.rng.chance(5) {
            machines.clear();
        }
        for n in 0..4 {
            let name = match self.rng.below(8) {
                0 => (Some(format!("host{n}")), Some(format!("10.0.0.{n}"))),
                1 => (Some(format!("host{n}")), None),
                2 => (None, Some(format!("10.0.0.{n}"))),
                _ => continue,
            };
            let name = MachineId {
                hostname: name.0,
                ip: name.1,
            };
            if !machines.contains(&name) || self.rng.chance(5) {
                machines.push(name);
            }
        }
        let start_ns = self.rng.below(3).cast_signed();
        let split = self.rng.index(machines.len() + 1);
        let rest = machines.split_off(split);
        let duration_ns = self.rng.maybe(|rng| rng.below(10).cast_signed() - 1);
        [(machines, start_ns), (rest, 7)]
            .into_iter()
            .filter(|(machines, _)| !machines.is_empty() || self.rng.chance(3))
            .map(|(machines, start_ns)| MaintenanceWindow {
                machines,
                unavailability: Unavailability {
                    start_ns,
                    duration_ns,
                },
            })
            .collect()
    }

    /// Some machines that are in this mode, sometimes with one that is not.
    fn machines(&mut self, state: &State, down: bool) -> Vec<MachineId> {
        let wrong = self.rng.chance(10);
        let fitting = state.machines().filter(|(_, m)| wrong || m.down == down);
        let all: Vec<MachineId> = fitting.map(|(name, _)| name.clone()).collect();
        all.into_iter().filter(|_| self.rng.chance(60)).collect()
    }

    /// The leader asks frameworks to leave, sometimes with a view that is old.
    pub(super) fn leader_asks(&mut self, state: &State) -> Option<Command> {
        let old = self.rng.chance(20).then(|| self.old_view.clone());
        let view = old.as_ref().unwrap_or(state);
        let asked = view.agents().flat_map(|agent| {
            let frameworks = view.to_be_asked(agent, view.now()).into_iter();
            frameworks.map(|framework| (framework, agent.id.clone()))
        });
        let plans: Vec<(FrameworkId, AgentId)> = asked.collect();
        (!plans.is_empty()).then(|| {
            Command::IssueInverseOffers(IssueInverseOffers {
                plans,
                timeout: self.rng.maybe(|rng| DurationMs(rng.below(60_000))),
            })
        })
    }

    /// The leader takes a draining agent for empty, mostly one that is.
    pub(super) fn leader_finds_empty(&mut self, state: &State) -> Option<Command> {
        let wrong = self.rng.chance(10);
        let drained = state
            .agents()
            .filter(|a| a.is_draining() && (wrong || state.is_empty_of_work(a)));
        let drained: Vec<AgentId> = drained.map(|a| a.id.clone()).collect();
        let agent = self.rng.pick(&drained)?.clone();
        Some(Command::AgentDrained(AgentDrained { agent }))
    }

    /// The leader takes agents for forgotten by all, sometimes one that is there.
    pub(super) fn leader_forgets(&mut self, state: &State) -> Option<Command> {
        let wrong = self.rng.chance(10);
        let away = state.agents().filter(|a| wrong || !a.is_registered());
        let mut agents: Vec<AgentId> = away.map(|a| a.id.clone()).collect();
        agents.extend(state.gone_agents().map(|(id, _)| id.clone()));
        let agent = self.rng.pick(&agents)?.clone();
        Some(Command::ForgetAgents(ForgetAgents {
            agents: vec![agent],
        }))
    }

    /// A framework answers what it is asked, sometimes what it is not.
    pub(super) fn answer_inverse(
        &mut self,
        framework: &FrameworkId,
        state: &State,
    ) -> Option<Command> {
        let asked = &state.framework(framework)?.inverse_offers;
        let mut offers: Vec<OfferId> = asked.iter().copied().collect();
        if self.rng.chance(10) {
            offers.extend(state.inverse_offers().map(|o| o.id));
        }
        (!offers.is_empty()).then(|| {
            Command::AnswerInverseOffers(AnswerInverseOffers {
                framework: framework.clone(),
                offers,
                accepted: self.rng.chance(70),
                refuse: DurationMs(self.rng.below(3) * 5_000),
            })
        })
    }

    /// Machines come up, and drains end.
    pub(super) fn heal_maintenance(&mut self, state: &State) -> Option<Command> {
        let down = state.machines().filter(|(_, machine)| machine.down);
        let machines: Vec<MachineId> = down.map(|(name, _)| name.clone()).collect();
        if !machines.is_empty() {
            return Some(Command::StopMaintenance(StopMaintenance { machines }));
        }
        let mut agents = state.agents();
        let empty =
            agents.find(|a| a.is_draining() && a.is_registered() && state.is_empty_of_work(a))?;
        Some(Command::AgentDrained(AgentDrained {
            agent: empty.id.clone(),
        }))
    }
}

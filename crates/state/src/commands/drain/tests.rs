use regency_types::{AgentEpoch, AgentId, BootId, DurationMs, TaskKey};

use super::*;
use crate::command::{
    AgentDrained, Command, DeactivateAgent, DrainAgent, ForgetAgents, KillTask, MarkAgentGone,
    ReactivateAgent, RegisterAgent, UpdateMaintenance,
};
use crate::commands::fixture::{Given, statuses};
use crate::model::{MachineId, MaintenanceWindow, Unavailability};
use crate::outcome::Outcome;

fn drain(agent: &AgentId, max_grace: Option<u64>, mark_gone: bool) -> Command {
    Command::DrainAgent(DrainAgent {
        agent: agent.clone(),
        max_grace: max_grace.map(DurationMs),
        mark_gone,
    })
}

fn drained(agent: &AgentId) -> Command {
    Command::AgentDrained(AgentDrained {
        agent: agent.clone(),
    })
}

fn reactivate(agent: &AgentId) -> Command {
    Command::ReactivateAgent(ReactivateAgent {
        agent: agent.clone(),
    })
}

fn deactivate(agent: &AgentId) -> Command {
    Command::DeactivateAgent(DeactivateAgent {
        agent: agent.clone(),
    })
}

fn mark_gone(agent: &AgentId) -> Command {
    Command::MarkAgentGone(MarkAgentGone {
        agent: agent.clone(),
    })
}

fn nobody() -> AgentId {
    AgentId::new("nobody").expect("a word is a valid id")
}

fn order(key: &TaskKey, max_grace: Option<u64>, gone: bool) -> AgentCommand {
    AgentCommand::DrainTask {
        task: key.clone(),
        generation: regency_types::Generation(1),
        max_grace: max_grace.map(DurationMs),
        gone,
    }
}

fn progress(given: &Given, agent: &AgentId) -> Option<DrainProgress> {
    let agent = given.state.agent(agent).expect("the agent is known");
    agent.drain.map(|drain| drain.progress)
}

#[test]
fn a_draining_agent_loses_its_offers_and_its_tasks_are_killed() {
    let (mut given, agent, framework, key) = Given::with_task();
    given.confirm_all(&agent);
    let offer = given.offer(&framework, &agent, "cpus:1");
    let (_, effects) = given.ok(drain(&agent, Some(2_000), false));
    assert!(given.state.offer(offer).is_none());
    let rescind = Effect::SendRescind {
        framework: framework.clone(),
        offer,
    };
    assert!(effects.contains(&rescind), "{effects:?}");
    assert_eq!(given.outbox(&agent), [order(&key, Some(2_000), false)]);
    assert!(!given.state.agent(&agent).expect("kept").is_active());

    // Nothing is offered there from now on.
    let plan = crate::command::OfferPlan {
        framework,
        role: "*".into(),
        agent: agent.clone(),
        resources: crate::commands::fixture::resources("cpus:1"),
        described: 0,
    };
    let issue = Command::IssueOffers(crate::command::IssueOffers {
        plans: vec![plan],
        timeout: None,
    });
    let (outcome, _) = given.ok(issue);
    assert!(matches!(
        outcome,
        Outcome::OffersIssued { n_skipped: 1, .. }
    ));
}

#[test]
fn it_is_drained_when_the_last_end_is_acknowledged_and_not_before() {
    let (mut given, agent, _, key) = Given::with_task();
    given.ok(drain(&agent, None, false));
    assert_eq!(
        given.refused(drained(&agent)),
        Refusal::AgentNotEmpty(agent.clone())
    );
    assert_eq!(
        given.refused(reactivate(&agent)),
        Refusal::AgentDraining(agent.clone())
    );
    given.report(&agent, &key, 1, TaskState::Killed);
    assert_eq!(
        given.refused(drained(&agent)),
        Refusal::AgentNotEmpty(agent.clone())
    );
    let acknowledged = given.acknowledge(&agent, &key, 1);
    assert!(acknowledged.verdict.is_ok());
    assert_eq!(progress(&given, &agent), Some(DrainProgress::Draining));
    given.ok(drained(&agent));
    assert_eq!(progress(&given, &agent), Some(DrainProgress::Drained));
    assert_eq!(
        given.refused(drained(&agent)),
        Refusal::AgentNotEmpty(agent.clone()),
        "once"
    );
    given.ok(reactivate(&agent));
    assert!(given.state.agent(&agent).expect("kept").is_active());
    assert_eq!(progress(&given, &agent), None);
    assert_eq!(
        given.refused(reactivate(&agent)),
        Refusal::AgentNotDeactivated(agent)
    );
}

#[test]
fn an_empty_agent_that_is_to_be_gone_then_is() {
    let (mut given, agent, _, key) = Given::with_task();
    given.confirm_all(&agent);
    given.ok(drain(&agent, None, true));
    // The framework is partition-aware, so it can be told so.
    assert_eq!(given.outbox(&agent), [order(&key, None, true)]);
    given.report(&agent, &key, 1, TaskState::GoneByOperator);
    let acknowledged = given.acknowledge(&agent, &key, 1);
    assert!(acknowledged.verdict.is_ok());
    let (_, effects) = given.ok(drained(&agent));
    assert!(given.state.agent(&agent).is_none());
    assert!(given.state.is_gone(&agent));
    assert!(effects.contains(&Effect::DetachAgent {
        agent: agent.clone()
    }));
}

#[test]
fn a_repeated_drain_changes_nothing_and_another_grace_is_told() {
    let (mut given, agent, _, key) = Given::with_task();
    given.confirm_all(&agent);
    given.ok(drain(&agent, Some(9_000), false));
    let since = given.state.agent(&agent).expect("kept").drain;
    given.later(50);
    given.ok(drain(&agent, Some(9_000), false));
    assert_eq!(given.state.agent(&agent).expect("kept").drain, since);
    assert_eq!(given.outbox(&agent), [order(&key, Some(9_000), false)]);
    given.ok(drain(&agent, Some(10), false));
    assert_eq!(
        given.outbox(&agent).last(),
        Some(&order(&key, Some(10), false))
    );
    // However often somebody changes his mind, and whoever kills besides.
    for grace in 11..40 {
        given.ok(drain(&agent, Some(grace), false));
        given.ok(Command::KillTask(KillTask {
            task: key.clone(),
            agent: None,
            grace: Some(DurationMs(grace)),
        }));
    }
    assert!(given.outbox(&agent).len() <= crate::bounds::KILLS_WAITING_MAX);
}

#[test]
fn an_agent_that_is_away_is_drained_when_it_is_back() {
    let (mut given, agent, _, key) = Given::with_task();
    given.confirm_all(&agent);
    given.give_up(&agent);
    given.ok(drain(&agent, None, false));
    assert_eq!(
        given.refused(drained(&agent)),
        Refusal::AgentNotEmpty(agent.clone())
    );
    assert!(given.reregister(&agent, "cpus:4;mem:1024").verdict.is_ok());
    assert_eq!(given.outbox(&agent), [order(&key, None, false)]);
    assert!(!given.state.agent(&agent).expect("kept").is_active());
    assert_eq!(progress(&given, &agent), Some(DrainProgress::Draining));
}

#[test]
fn what_is_planned_for_the_machine_or_not_known_is_not_drained() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    for command in [
        drain(&nobody(), None, false),
        deactivate(&nobody()),
        reactivate(&nobody()),
        drained(&nobody()),
        mark_gone(&nobody()),
    ] {
        assert_eq!(given.refused(command), Refusal::AgentUnknown(nobody()));
    }
    given.ok(Command::UpdateMaintenance(UpdateMaintenance {
        windows: vec![MaintenanceWindow {
            machines: vec![MachineId {
                hostname: Some("a".into()),
                ip: None,
            }],
            unavailability: Unavailability {
                start_ns: 1,
                duration_ns: None,
            },
        }],
    }));
    assert_eq!(
        given.refused(drain(&agent, None, false)),
        Refusal::AgentScheduled(agent)
    );
}

#[test]
fn a_deactivated_agent_keeps_its_tasks_and_stays_so_when_it_comes_back() {
    let (mut given, agent, framework, key) = Given::with_task();
    let offer = given.offer(&framework, &agent, "cpus:1");
    given.ok(deactivate(&agent));
    assert!(given.state.offer(offer).is_none());
    assert_eq!(given.task_state(&key), Some(TaskState::Staging));
    given.give_up(&agent);
    assert!(given.reregister(&agent, "cpus:4;mem:1024").verdict.is_ok());
    assert!(given.state.agent(&agent).expect("kept").deactivated);
    given.ok(deactivate(&agent));
    let (_, effects) = given.ok(reactivate(&agent));
    let sync = Effect::SyncAgent { agent };
    assert_eq!(effects, [sync, Effect::WakeAllocator]);
}

#[test]
fn tasks_of_an_agent_that_is_gone_are_told_so_and_it_never_comes_back() {
    let (mut given, agent, framework, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    let acknowledged = given.acknowledge(&agent, &key, 1);
    assert!(acknowledged.verdict.is_ok());
    let (_, effects) = given.ok(mark_gone(&agent));
    assert_eq!(statuses(&effects), [("t", TaskState::GoneByOperator)]);
    let status = effects.iter().find_map(|effect| match effect {
        Effect::SendStatus { status, .. } => Some(status.reason),
        _ => None,
    });
    assert_eq!(status, Some(StatusReason::AgentRemovedByOperator));
    assert_eq!(
        given.completed_as(&framework),
        Some(TaskState::GoneByOperator)
    );
    assert!(given.state.is_gone(&agent));
    let (_, again) = given.ok(mark_gone(&agent));
    assert_eq!(again, []);

    let back = given.reregister(&agent, "cpus:4;mem:1024").verdict;
    assert_eq!(back, Err(Refusal::AgentUnknown(agent.clone())));
    // The machine, set up anew, is another agent.
    let (outcome, _) = given.ok(Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(9),
        boot: BootId(1),
        spec: Given::spec("a1:5051", "cpus:4"),
    }));
    let Outcome::AgentRegistered { agent: new } = outcome else {
        panic!("{outcome:?}")
    };
    assert_ne!(new, agent);
    assert!(given.state.agent(&new).expect("kept").is_active());
}

#[test]
fn an_unreachable_agent_can_be_gone() {
    let (mut given, agent, _, key) = Given::with_task();
    given.give_up(&agent);
    assert_eq!(given.task_state(&key), Some(TaskState::Unreachable));
    let (_, effects) = given.ok(mark_gone(&agent));
    assert_eq!(statuses(&effects), [("t", TaskState::GoneByOperator)]);
}

fn forget(agents: &[&AgentId]) -> Command {
    Command::ForgetAgents(ForgetAgents {
        agents: agents.iter().copied().cloned().collect(),
    })
}

#[test]
fn an_unreachable_agent_is_given_up_for_good_and_a_gone_one_is_forgotten() {
    let (mut given, agent, framework, key) = Given::with_task();
    let other = given.agent(2, "cpus:1");
    given.ok(mark_gone(&other));
    given.give_up(&agent);
    let (outcome, effects) = given.ok(forget(&[&other, &agent, &nobody()]));
    assert_eq!(outcome, Outcome::Removed { n: 2 });
    assert_eq!(statuses(&effects), [("t", TaskState::Gone)]);
    assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
    assert!(given.state.task(&key).is_none());
    assert!(given.state.agent(&agent).is_none());
    assert!(!given.state.is_gone(&other));
    // Neither comes back.
    for id in [&agent, &other] {
        let back = given.reregister(id, "cpus:4;mem:1024").verdict;
        assert_eq!(back, Err(Refusal::AgentUnknown(id.clone())));
    }
}

#[test]
fn an_agent_that_is_back_is_not_forgotten() {
    let (mut given, agent, _, key) = Given::with_task();
    let (outcome, effects) = given.ok(forget(&[&agent]));
    assert_eq!((outcome, effects), (Outcome::Removed { n: 0 }, vec![]));
    assert_eq!(given.task_state(&key), Some(TaskState::Staging));
    assert!(given.state.agent(&agent).is_some());
}

#[test]
fn only_so_many_gone_agents_are_remembered() {
    let mut given = Given::new();
    let first = given.agent(1, "cpus:1");
    given.ok(mark_gone(&first));
    for n in 0..crate::bounds::GONE_AGENTS_MAX as u64 {
        given.state.now = regency_types::ClusterTime(n + 1);
        let id = AgentId::new(format!("gone-{n}")).expect("a valid id");
        given.state.note_gone(id);
    }
    assert_eq!(
        given.state.gone_agents().count(),
        crate::bounds::GONE_AGENTS_MAX
    );
    assert!(!given.state.is_gone(&first));
}

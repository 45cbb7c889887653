use super::*;
use crate::command::{Command, DeclineOffers, RaiseFeatureLevel};
use crate::commands::fixture::{Given, statuses};
use regency_types::{AgentEpoch, BootId, ClusterTime};

fn register(epoch: u128, address: &str) -> Command {
    Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(epoch),
        boot: BootId(1),
        spec: Given::spec(address, "cpus:4;mem:1024"),
    })
}

#[test]
fn asking_again_with_the_same_epoch_gives_the_same_id() {
    let mut given = Given::new();
    let id = given.agent(1, "cpus:4");
    let before = given.state.agent(&id).cloned();
    let (outcome, effects) = given.ok(register(1, "elsewhere:5051"));
    assert_eq!(outcome, Outcome::AgentRegistered { agent: id.clone() });
    assert_eq!(effects, Vec::new());
    assert_eq!(given.state.agent(&id).cloned(), before);
}

#[test]
fn nobody_registers_before_the_cluster_has_its_identity() {
    let mut given = Given {
        state: State::default(),
        at: ClusterTime(0),
    };
    assert_eq!(given.refused(register(1, "a:1")), Refusal::WrongCluster);
}

#[test]
fn a_new_epoch_on_a_known_address_takes_the_place_of_the_agent_there() {
    let (mut given, old, framework, key) = Given::with_task();
    let offer = given.offer(&framework, &old, "cpus:1");
    let (outcome, effects) = given.ok(register(2, "a1:5051"));
    let Outcome::AgentRegistered { agent: new } = outcome else {
        panic!("{outcome:?}");
    };
    assert_ne!(new, old);
    assert!(given.state.agent(&old).is_none());
    assert!(given.state.offer(offer).is_none());
    assert_eq!(statuses(&effects), [("t", TaskState::Gone)]);
    let gone = effects.last();
    assert_eq!(gone, Some(&Effect::WakeAllocator));
    for expected in [
        Effect::SendRescind {
            framework: framework.clone(),
            offer,
        },
        Effect::SendFailure { agent: old.clone() },
        Effect::DetachAgent { agent: old },
    ] {
        assert!(effects.contains(&expected), "{expected:?}");
    }
    assert!(given.state.task(&key).is_none());
    assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
    let framework = given.state.framework(&framework).expect("it is there");
    assert_eq!(framework.retained.len(), 1, "told again at a subscription");
}

#[test]
fn a_lost_task_waits_for_the_acknowledgement_of_what_was_told_before() {
    let (mut given, agent, framework, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    let (_, effects) = given.ok(register(2, "a1:5051"));
    assert_eq!(statuses(&effects), [("t", TaskState::Gone)]);
    assert_eq!(given.task_state(&key), Some(TaskState::Gone));
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert_eq!(given.task_state(&key), None);
    assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
}

#[test]
fn a_task_that_ended_before_its_agent_was_lost_keeps_its_end() {
    let (mut given, agent, framework, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Finished);
    let (_, effects) = given.ok(register(2, "a1:5051"));
    // The waiting update tells it.
    assert_eq!(statuses(&effects), []);
    assert_eq!(given.task_state(&key), Some(TaskState::Finished));
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert_eq!(given.completed_as(&framework), Some(TaskState::Finished));
}

#[test]
fn an_end_whose_update_never_came_is_told_when_the_agent_is_lost() {
    let (mut given, agent, framework, key) = Given::with_task();
    let mut news = Given::news(&key, 1, 1, TaskState::Running);
    news.latest_state = TaskState::Finished;
    given.resync(&agent, 1, vec![news]);
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert_eq!(given.task_state(&key), Some(TaskState::Finished));
    let (_, effects) = given.ok(register(2, "a1:5051"));
    assert_eq!(statuses(&effects), [("t", TaskState::Finished)]);
    assert_eq!(given.completed_as(&framework), Some(TaskState::Finished));
}

#[test]
fn a_stranger_cannot_attach_under_an_id() {
    let mut given = Given::new();
    let id = given.agent(1, "cpus:4");
    let reregister = |agent: &AgentId, epoch| {
        Command::ReregisterAgent(ReregisterAgent {
            agent: agent.clone(),
            epoch: AgentEpoch(epoch),
            boot: BootId(1),
            spec: Given::spec("a1:5051", "cpus:4"),
        })
    };
    assert_eq!(
        given.refused(reregister(&id, 2)),
        Refusal::AgentEpochDiffers(id.clone())
    );
    let nobody = AgentId::new("nobody").expect("a valid id");
    assert_eq!(
        given.refused(reregister(&nobody, 1)),
        Refusal::AgentUnknown(nobody)
    );
}

#[test]
fn an_agent_cannot_have_less_than_is_in_use_on_it() {
    let (mut given, agent, ..) = Given::with_task();
    let refusal = given.refused(Command::ReregisterAgent(ReregisterAgent {
        agent,
        epoch: AgentEpoch(1),
        boot: BootId(1),
        spec: Given::spec("a1:5051", "cpus:0.5;mem:1024"),
    }));
    let Refusal::TotalBelowUsed(shortage) = refusal else {
        panic!("{refusal:?}");
    };
    assert!(shortage.contains("cpus"), "{shortage}");
}

#[test]
fn a_changed_total_takes_the_offers_back_and_an_unchanged_one_keeps_them() {
    let (mut given, agent, framework, _) = Given::with_task();
    let offer = given.offer(&framework, &agent, "cpus:3");
    let same = given.reregister(&agent, "cpus:4;mem:1024");
    assert!(given.state.offer(offer).is_some());
    assert!(
        !same
            .effects
            .iter()
            .any(|e| matches!(e, Effect::SendRescind { .. }))
    );
    let changed = given.reregister(&agent, "cpus:2;mem:1024");
    assert!(changed.verdict.is_ok());
    assert!(given.state.offer(offer).is_none());
    assert!(
        changed
            .effects
            .contains(&Effect::SendRescind { framework, offer })
    );
}

#[test]
fn an_agent_that_says_something_else_of_itself_is_offered_again_to_who_declined_it() {
    let (mut given, agent, framework, _) = Given::with_task();
    given.ok(Command::RaiseFeatureLevel(RaiseFeatureLevel { level: 2 }));
    let offer = given.offer(&framework, &agent, "cpus:1");
    given.ok(Command::DeclineOffers(DeclineOffers {
        framework: framework.clone(),
        offers: vec![offer],
        refuse: regency_types::DurationMs::from_secs(3600),
    }));
    let n_filters = |given: &Given| {
        let framework = given.state.framework(&framework);
        framework.expect("it is there").filters.len()
    };
    given.reregister(&agent, "cpus:4;mem:1024");
    assert_eq!(n_filters(&given), 1, "it is what it was");
    let mut spec = Given::spec("a1:5051", "cpus:4;mem:1024");
    spec.info = bytes::Bytes::from_static(b"other attributes");
    let anew = given.apply(Command::ReregisterAgent(ReregisterAgent {
        agent: agent.clone(),
        epoch: AgentEpoch(1),
        boot: BootId(2),
        spec,
    }));
    assert!(anew.verdict.is_ok());
    assert_eq!(n_filters(&given), 0);
}

#[test]
fn silence_counts_from_its_beginning_and_never_from_the_future() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    given.later(100);
    let suspect = |since| {
        Command::SuspectAgents(SuspectAgents {
            agents: vec![(AgentId::clone(&agent), ClusterTime(since))],
        })
    };
    let since = |given: &Given| {
        given
            .state
            .agent(&agent)
            .and_then(|agent| agent.suspect_since)
    };
    given.ok(suspect(500));
    assert_eq!(since(&given), Some(ClusterTime(100)));
    given.later(100);
    assert_eq!(given.ok(suspect(150)).0, Outcome::Removed { n: 0 });
    assert_eq!(since(&given), Some(ClusterTime(100)));
    let (outcome, _) = given.ok(Command::ClearSuspicion(ClearSuspicion {
        agents: vec![agent.clone()],
    }));
    assert_eq!(outcome, Outcome::Removed { n: 1 });
    assert_eq!(since(&given), None);
    given.ok(suspect(150));
    given.confirm_all(&agent);
    assert_eq!(since(&given), None, "reports are a sign of life");
}

#[test]
fn only_an_agent_that_was_noted_as_silent_is_given_up() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let mark = |agent: &AgentId| {
        Command::MarkAgentUnreachable(MarkAgentUnreachable {
            agent: agent.clone(),
        })
    };
    let not_overdue = Refusal::AgentNotOverdue(agent.clone());
    assert_eq!(given.refused(mark(&agent)), not_overdue);
    given.give_up(&agent);
    assert_eq!(given.refused(mark(&agent)), not_overdue, "once is enough");
    let nobody = AgentId::new("nobody").expect("a valid id");
    assert_eq!(given.refused(mark(&nobody)), Refusal::AgentUnknown(nobody));
}

#[test]
fn giving_an_agent_up_tells_its_tasks_and_withdraws_what_it_did_not_confirm() {
    let (mut given, agent, framework, key) = Given::with_task();
    let offer = given.offer(&framework, &agent, "cpus:1");
    let effects = given.give_up(&agent);
    assert_eq!(statuses(&effects), [("t", TaskState::Unreachable)]);
    assert!(effects.contains(&Effect::SendFailure {
        agent: agent.clone()
    }));
    assert!(effects.contains(&Effect::SendRescind { framework, offer }));
    let task = given.state.task(&key).expect("it is there").clone();
    assert_eq!(task.state, TaskState::Unreachable);
    assert_eq!(task.state_before_unreachable, Some(TaskState::Staging));
    assert_eq!(task.unreachable, Some(given.state.wall()));
    assert_eq!(
        given.outbox(&agent),
        [AgentCommand::DropLaunch {
            task: key,
            generation: task.generation,
        }]
    );
    let agent = given.state.agent(&agent).expect("it is there");
    assert!(!agent.is_registered());
    assert_eq!(agent.allocated, task.resources, "the task may still run");
}

#[test]
fn a_task_that_ended_is_never_unreachable() {
    let (mut given, agent, _, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Failed);
    let effects = given.give_up(&agent);
    assert_eq!(statuses(&effects), []);
    assert_eq!(given.task_state(&key), Some(TaskState::Failed));
}

#[test]
fn an_agent_that_is_back_has_its_tasks_as_they_were() {
    let (mut given, agent, _, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    given.give_up(&agent);
    let applied = given.reregister(&agent, "cpus:4;mem:1024");
    assert_eq!(statuses(&applied.effects), [("t", TaskState::Running)]);
    let task = given.state.task(&key).expect("it is there");
    assert_eq!(task.state, TaskState::Running);
    assert_eq!(task.state_before_unreachable, None);
    assert_eq!(task.unreachable, None);
    let agent = given.state.agent(&agent).expect("it is there");
    assert!(agent.is_registered());
    assert_eq!(agent.suspect_since, None);
    assert!(agent.reregistered.is_some());
}

#[test]
fn a_withdrawn_launch_stays_withdrawn_when_the_agent_is_back() {
    let (mut given, agent, framework, key) = Given::with_task();
    given.give_up(&agent);
    let applied = given.reregister(&agent, "cpus:4;mem:1024");
    // Nobody has spoken of it yet, so there is nothing to tell.
    assert_eq!(statuses(&applied.effects), []);
    assert_eq!(given.task_state(&key), Some(TaskState::Staging));
    assert!(matches!(
        given.outbox(&agent)[..],
        [AgentCommand::DropLaunch { .. }]
    ));
    given.report(&agent, &key, 1, TaskState::Dropped);
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert_eq!(given.completed_as(&framework), Some(TaskState::Dropped));
    let agent = given.state.agent(&agent).expect("it is there");
    assert!(agent.allocated.is_empty());
}

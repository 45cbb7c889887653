use regency_types::{FrameworkId, TaskKey};

use super::*;
use crate::command::{
    Command, ExpireFramework, FrameworkDisconnected, TeardownFramework, UpdateFramework,
};
use crate::commands::fixture::Given;

/// What an entry changed.
fn changes(given: &mut Given, entry: impl FnOnce(&mut Given)) -> Vec<Change> {
    let before = given.state.clone();
    entry(given);
    given.state.changes_since(&before)
}

/// The changes, in short.
fn told(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            Change::AgentAdded(agent) => format!("+ {}", agent.id),
            Change::AgentRemoved(id) => format!("- {id}"),
            Change::FrameworkAdded(framework) => format!("+ {}", framework.id),
            Change::FrameworkUpdated(framework) => {
                format!("~ {} {}", framework.id, framework.is_subscribed())
            }
            Change::FrameworkRemoved(framework) => format!("- {}", framework.id),
            Change::TaskAdded(task) => format!("+ {} {:?}", task.key.task, task.state),
            Change::TaskUpdated { before, after } => {
                format!("~ {} {:?} {:?}", after.key.task, before.state, after.state)
            }
        })
        .collect()
}

fn disconnect(given: &mut Given, framework: &FrameworkId) {
    let stream = given.state.framework(framework).and_then(|f| f.stream());
    given.ok(Command::FrameworkDisconnected(FrameworkDisconnected {
        framework: framework.clone(),
        stream: stream.expect("it is subscribed"),
    }));
}

fn launch(given: &mut Given, framework: &FrameworkId, agent: &AgentId, tasks: &[&str]) {
    let offer = given.offer(framework, agent, "cpus:2;mem:64");
    let tasks = tasks
        .iter()
        .map(|id| Given::task(id, agent, "cpus:1;mem:32"))
        .collect();
    given.ok(Given::accept(framework, &[offer], tasks));
}

#[test]
fn who_comes_and_what_is_launched_is_told_and_offers_are_not() {
    let mut given = Given::new();
    let (mut agent, mut framework) = (None, None);
    let new = changes(&mut given, |given| {
        agent = Some(given.agent(1, "cpus:4;mem:1024"));
    });
    let agent = agent.expect("registered");
    assert_eq!(told(&new), [format!("+ {agent}")]);
    let new = changes(&mut given, |given| {
        framework = Some(given.subscribe(None, 1));
    });
    let framework = framework.expect("subscribed");
    assert_eq!(told(&new), [format!("+ {framework}")]);
    let new = changes(&mut given, |given| {
        given.offer(&framework, &agent, "cpus:2;mem:64");
    });
    assert_eq!(new, []);
    let new = changes(&mut given, |given| {
        launch(given, &framework, &agent, &["b", "a"]);
    });
    assert_eq!(told(&new), ["+ a Staging", "+ b Staging"]);
}

#[test]
fn a_framework_that_describes_itself_anew_is_told() {
    let mut given = Given::new();
    let framework = given.subscribe(None, 1);
    let new = changes(&mut given, |given| {
        given.ok(Command::UpdateFramework(UpdateFramework {
            framework: framework.clone(),
            spec: Given::framework_spec(),
            suppressed: vec!["*".to_owned()],
            kept: Vec::new(),
        }));
    });
    assert_eq!(told(&new), [format!("~ {framework} true")]);
}

#[test]
fn a_task_is_told_of_until_its_end_and_not_of_acknowledgements() {
    let (mut given, agent, framework, key) = Given::with_task();
    let new = changes(&mut given, |given| {
        given.report(&agent, &key, 1, TaskState::Running);
    });
    assert_eq!(told(&new), ["~ t Staging Running"]);
    let again = changes(&mut given, |given| {
        given.report(&agent, &key, 1, TaskState::Running);
    });
    assert_eq!(again, []);
    let acknowledged = changes(&mut given, |given| {
        given.acknowledge(&agent, &key, 1);
    });
    assert_eq!(acknowledged, []);
    let new = changes(&mut given, |given| {
        given.report(&agent, &key, 2, TaskState::Finished);
    });
    assert_eq!(told(&new), ["~ t Running Finished"]);
    let completed = changes(&mut given, |given| {
        given.acknowledge(&agent, &key, 2);
    });
    assert_eq!(completed, [], "its end was told");
    let again = changes(&mut given, |given| {
        launch(given, &framework, &agent, &["t"]);
    });
    assert_eq!(told(&again), ["+ t Staging"], "the id is used again");
}

#[test]
fn what_an_agent_takes_with_it_is_told_before_its_own_end() {
    let (mut given, agent, ..) = Given::with_task();
    let before = given.state.clone();
    given.give_up(&agent);
    let gone = given.state.changes_since(&before);
    let expected = ["~ t Staging Unreachable".to_owned(), format!("- {agent}")];
    assert_eq!(told(&gone), expected);
    let back = changes(&mut given, |given| {
        given.reregister(&agent, "cpus:4;mem:1024");
    });
    assert_eq!(told(&back)[0], format!("+ {agent}"));
    let same = changes(&mut given, |given| {
        given.reregister(&agent, "cpus:4;mem:1024");
    });
    assert_eq!(same, [], "it attached again as it was");
    let other = changes(&mut given, |given| {
        given.reregister(&agent, "cpus:8;mem:1024");
    });
    assert_eq!(told(&other), [format!("+ {agent}")]);
}

#[test]
fn a_framework_goes_comes_back_and_ends_with_its_tasks() {
    let (mut given, _, framework, key) = Given::with_task();
    let gone = changes(&mut given, |given| disconnect(given, &framework));
    assert_eq!(told(&gone), [format!("~ {framework} false")]);
    let back = changes(&mut given, |given| {
        given.subscribe(Some(framework.clone()), 2);
    });
    assert_eq!(told(&back), [format!("~ {framework} true")]);
    let ended = changes(&mut given, |given| {
        given.ok(Command::TeardownFramework(TeardownFramework {
            framework: framework.clone(),
        }));
    });
    let expected = ["~ t Staging Killed".to_owned(), format!("- {framework}")];
    assert_eq!(told(&ended), expected);
    assert!(given.state.task(&key).is_none());
}

#[test]
fn every_task_of_a_large_framework_is_told_as_killed() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4000;mem:1024");
    let framework = given.subscribe(None, 1);
    let n = crate::bounds::COMPLETED_TASKS_PER_FRAMEWORK_MAX + 3;
    let offer = given.offer(&framework, &agent, "cpus:4000");
    let tasks = (0..n)
        .map(|i| Given::task(&format!("t{i}"), &agent, "cpus:1"))
        .collect();
    given.ok(Given::accept(&framework, &[offer], tasks));
    disconnect(&mut given, &framework);
    given.later(3_600_000);
    let ended = changes(&mut given, |given| {
        given.ok(Command::ExpireFramework(ExpireFramework {
            framework: framework.clone(),
        }));
    });
    let killed = ended.iter().filter(|change| {
        matches!(change, Change::TaskUpdated { after, .. } if after.state == TaskState::Killed)
    });
    assert_eq!(killed.count(), n);
    assert_eq!(told(&ended[n..]), [format!("- {framework}")]);
}

/// Applying what is told to what one knew gives what there is.
#[test]
fn who_knows_the_state_and_the_changes_knows_the_next_state() {
    let (mut given, agent, framework, _) = Given::with_task();
    let first = given.state.clone();
    let known = |state: &State| -> Vec<(TaskKey, TaskState)> {
        state.tasks().map(|t| (t.key.clone(), t.state)).collect()
    };
    let mut book = known(&first);
    let mut last = first;
    let mut follow = |given: &Given| {
        for change in given.state.changes_since(&last) {
            match change {
                Change::TaskAdded(task) => book.push((task.key.clone(), task.state)),
                Change::TaskUpdated { after, .. } => {
                    let mut entries = book.iter_mut();
                    let entry = entries.find(|(key, _)| *key == after.key);
                    entry.expect("it was added").1 = after.state;
                }
                _ => {}
            }
        }
        last = given.state.clone();
        book.sort();
        assert_eq!(book, known(&given.state));
    };
    launch(&mut given, &framework, &agent, &["u", "v"]);
    follow(&given);
    for (seq, id, state) in [
        (1, "v", TaskState::Starting),
        (2, "t", TaskState::Running),
        (3, "u", TaskState::Failed),
    ] {
        let key = Given::key(&framework, id);
        given.report(&agent, &key, seq, state);
        follow(&given);
    }
    given.give_up(&agent);
    follow(&given);
}

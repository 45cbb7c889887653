use regency_types::{AgentEpoch, AgentId, BootId, DurationMs, TaskKey};

use super::*;
use crate::command::{Command, DrainAgent, RegisterAgent, ReregisterAgent};
use crate::commands::fixture::{Given, resources, statuses};
use crate::model::AgentSpec;

const HOUR: Unavailability = Unavailability {
    start_ns: 10,
    duration_ns: Some(3_600_000_000_000),
};

fn host(name: &str) -> MachineId {
    MachineId {
        hostname: Some(name.to_owned()),
        ip: None,
    }
}

fn window(machines: &[MachineId]) -> MaintenanceWindow {
    MaintenanceWindow {
        machines: machines.to_vec(),
        unavailability: HOUR,
    }
}

fn schedule(windows: Vec<MaintenanceWindow>) -> Command {
    Command::UpdateMaintenance(UpdateMaintenance { windows })
}

fn start(machines: &[MachineId]) -> Command {
    Command::StartMaintenance(StartMaintenance {
        machines: machines.to_vec(),
    })
}

fn stop(machines: &[MachineId]) -> Command {
    Command::StopMaintenance(StopMaintenance {
        machines: machines.to_vec(),
    })
}

fn wrong(given: &mut Given, command: Command) -> String {
    match given.refused(command) {
        Refusal::MaintenanceInvalid(why) => why,
        other => panic!("{other:?}"),
    }
}

fn spec(hostname: &str, address: &str) -> AgentSpec {
    AgentSpec {
        hostname: hostname.to_owned(),
        ..Given::spec(address, "cpus:4")
    }
}

#[test]
fn a_schedule_takes_the_place_of_the_last_one() {
    let mut given = Given::new();
    given.ok(schedule(vec![window(&[host("a"), host("b")])]));
    let second = vec![window(&[host("b")]), window(&[host("c")])];
    given.ok(schedule(second.clone()));
    assert!(given.state.maintenance_windows().eq(&second));
    let names: Vec<_> = given.state.machines().map(|(name, _)| name).collect();
    assert_eq!(names, [&host("b"), &host("c")]);
    given.ok(schedule(Vec::new()));
    assert_eq!(given.state.machines().count(), 0);
}

#[test]
fn what_is_no_schedule_is_refused_with_what_is_wrong() {
    let mut given = Given::new();
    let empty = wrong(&mut given, schedule(vec![window(&[])]));
    assert_eq!(empty, "List of machines in the maintenance window is empty");
    let nameless = wrong(&mut given, schedule(vec![window(&[MachineId::default()])]));
    assert_eq!(nameless, "Both 'hostname' and 'ip' for a machine are empty");
    let windows = vec![window(&[host("a")]), window(&[host("a")])];
    assert_eq!(
        wrong(&mut given, schedule(windows)),
        r#"Machine '{"hostname":"a"}' appears more than once in the schedule"#
    );
    let mut backwards = window(&[host("a")]);
    backwards.unavailability.duration_ns = Some(-1);
    let backwards = wrong(&mut given, schedule(vec![backwards]));
    assert_eq!(backwards, "Unavailability 'duration' is negative");
    let all: Vec<_> = (0..=bounds::MACHINES_MAX)
        .map(|n| host(&format!("h{n}")))
        .collect();
    let many = wrong(&mut given, schedule(vec![window(&all)]));
    assert!(many.starts_with("20001 machines are more"), "{many}");
}

#[test]
fn offers_on_machines_whose_time_changes_are_taken_back() {
    let (mut given, agent, framework, _) = Given::with_task();
    let offer = given.offer(&framework, &agent, "cpus:1");
    given.ok(schedule(vec![window(&[host("a")])]));
    assert!(given.state.offer(offer).is_none(), "it did not tell");
    let spec = &given.state.agent(&agent).expect("kept").spec;
    assert_eq!(given.state.unavailability_of(spec), Some(HOUR));

    let offer = given.offer(&framework, &agent, "cpus:1");
    given.ok(schedule(vec![window(&[host("b")]), window(&[host("a")])]));
    assert!(given.state.offer(offer).is_some(), "it tells what is true");
    given.ok(schedule(Vec::new()));
    assert!(given.state.offer(offer).is_none(), "that is not planned");
}

#[test]
fn machines_are_known_by_name_address_or_both() {
    let mut given = Given::new();
    let register = |given: &mut Given, epoch, spec| {
        given.ok(Command::RegisterAgent(RegisterAgent {
            epoch: AgentEpoch(epoch),
            boot: BootId(1),
            spec,
        }));
    };
    register(&mut given, 1, spec("One", "10.0.0.1:5051"));
    register(&mut given, 2, spec("two", "[::1]:5051"));
    let both = MachineId {
        hostname: Some("one".into()),
        ip: Some("10.0.0.1".into()),
    };
    let address = |ip: &str| MachineId {
        hostname: None,
        ip: Some(ip.to_owned()),
    };
    let elsewhere = MachineId {
        hostname: Some("one".into()),
        ip: Some("10.0.0.9".into()),
    };
    let planned = |given: &mut Given, name: MachineId| -> Vec<bool> {
        given.ok(schedule(vec![window(&[name])]));
        let agents = given.state.agents();
        agents
            .map(|a| given.state.unavailability_of(&a.spec).is_some())
            .collect()
    };
    assert_eq!(planned(&mut given, both), [true, false]);
    assert_eq!(planned(&mut given, host("one")), [true, false]);
    assert_eq!(planned(&mut given, address("::1")), [false, true]);
    assert_eq!(planned(&mut given, elsewhere), [false, false]);
}

/// An agent on machine `a` with a running task, and machine `a` down.
fn taken_down() -> (Given, AgentId, TaskKey, Vec<Effect>) {
    let (mut given, agent, _, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    let acknowledged = given.acknowledge(&agent, &key, 1);
    assert!(acknowledged.verdict.is_ok());
    given.confirm_all(&agent);
    given.ok(schedule(vec![window(&[host("a"), host("b")])]));
    let (_, effects) = given.ok(start(&[host("a")]));
    (given, agent, key, effects)
}

#[test]
fn what_runs_on_a_machine_that_goes_down_is_lost_and_ends() {
    let (given, agent, key, effects) = taken_down();
    assert_eq!(statuses(&effects), [("t", TaskState::Lost)]);
    assert_eq!(given.task_state(&key), None);
    let record = given.state.agent(&agent).expect("it is kept");
    assert!(matches!(record.phase, AgentPhase::Down { .. }));
    assert!(record.allocated.is_empty());
    for effect in [
        Effect::SendFailure {
            agent: agent.clone(),
        },
        Effect::DetachAgent {
            agent: agent.clone(),
        },
    ] {
        assert!(effects.contains(&effect), "{effect:?}");
    }
    // In case it never heard that it should end everything.
    assert!(matches!(&given.outbox(&agent)[..], [AgentCommand::Kill { task, .. }] if task == &key));
}

#[test]
fn nobody_registers_on_a_machine_that_is_down() {
    let (mut given, agent, ..) = taken_down();
    let again = Command::ReregisterAgent(ReregisterAgent {
        agent: agent.clone(),
        epoch: AgentEpoch(1),
        boot: BootId(2),
        spec: Given::spec("a1:5051", "cpus:4;mem:1024"),
    });
    let new = Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(5),
        boot: BootId(1),
        spec: Given::spec("a5:5051", "cpus:4"),
    });
    let down = Refusal::MachineDown(host("a").to_string());
    for command in [again.clone(), new.clone()] {
        assert_eq!(given.refused(command), down);
    }
    // What is down stays in the schedule.
    let gone = wrong(&mut given, schedule(vec![window(&[host("b")])]));
    assert_eq!(
        gone,
        r#"Machine '{"hostname":"a"}' is deactivated and cannot be removed from the schedule"#
    );
    given.ok(stop(&[host("a")]));
    let left: Vec<_> = given.state.machines().map(|(name, _)| name).collect();
    assert_eq!(left, [&host("b")]);
    for command in [again, new] {
        given.ok(command);
    }
    assert!(given.state.agent(&agent).expect("kept").is_active());
}

#[test]
fn a_reservation_outlives_the_maintenance_of_its_machine() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let reserved =
        resources("cpus:1").push_reservation(&regency_resources::Reservation::dynamic("eng", None));
    given.ok(Command::ApplyOperation(crate::command::ApplyOperation {
        agent: agent.clone(),
        operation: crate::command::ResourceOperation::Reserve(reserved.clone()),
        principal: None,
    }));
    given.ok(schedule(vec![window(&[host("a")])]));
    given.ok(start(&[host("a")]));
    given.ok(stop(&[host("a")]));
    assert!(given.reregister(&agent, "cpus:4").verdict.is_ok());
    let record = given.state.agent(&agent).expect("kept");
    assert_eq!(record.checkpointed, reserved);
}

#[test]
fn machines_go_down_and_up_all_or_none_and_in_this_order() {
    let mut given = Given::new();
    given.agent(1, "cpus:4");
    let unknown = r#"Machine '{"hostname":"x"}' is not part of a maintenance schedule"#;
    let not_draining =
        r#"Machine '{"hostname":"a"}' is not in DRAINING mode and cannot be brought down"#;
    let not_down = r#"Machine '{"hostname":"b"}' is not in DOWN mode and cannot be brought up"#;
    let twice = r#"Machine '{"hostname":"a"}' appears more than once in the list of machines"#;
    given.ok(schedule(vec![window(&[host("a"), host("b")])]));
    assert_eq!(wrong(&mut given, start(&[])), "List of machines is empty");
    assert_eq!(wrong(&mut given, start(&[host("a"), host("x")])), unknown);
    assert_eq!(wrong(&mut given, start(&[host("a"), host("a")])), twice);
    assert_eq!(wrong(&mut given, stop(&[host("x")])), unknown);
    given.ok(start(&[host("a")]));
    assert_eq!(wrong(&mut given, start(&[host("a")])), not_draining);
    assert_eq!(wrong(&mut given, stop(&[host("a"), host("b")])), not_down);
}

#[test]
fn an_agent_that_is_down_is_not_one_to_be_drained() {
    let (mut given, agent, ..) = taken_down();
    let drain = Command::DrainAgent(DrainAgent {
        agent: agent.clone(),
        max_grace: Some(DurationMs(1)),
        mark_gone: false,
    });
    assert_eq!(given.refused(drain), Refusal::AgentUnknown(agent));
}

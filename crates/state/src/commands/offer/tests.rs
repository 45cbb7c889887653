use super::*;
use crate::command::{Command, ExpireFilters, SuppressOffers};
use crate::commands::fixture::{Given, resources, statuses};
use crate::model::AgentCommand;
use regency_types::ClusterTime;

fn plan(framework: &FrameworkId, role: &str, agent: &AgentId, what: &str) -> OfferPlan {
    OfferPlan {
        framework: framework.clone(),
        role: role.to_owned(),
        agent: agent.clone(),
        resources: resources(what),
        described: 0,
    }
}

fn issue_command(plans: Vec<OfferPlan>, timeout_ms: Option<u64>) -> Command {
    Command::IssueOffers(IssueOffers {
        plans,
        timeout: timeout_ms.map(DurationMs),
    })
}

fn decline_command(framework: &FrameworkId, offers: Vec<OfferId>, refuse: DurationMs) -> Command {
    Command::DeclineOffers(DeclineOffers {
        framework: framework.clone(),
        offers,
        refuse,
    })
}

fn given() -> (Given, AgentId, FrameworkId) {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4;mem:1024");
    let framework = given.subscribe(None, 1);
    (given, agent, framework)
}

fn accepted(n_launched: u64, n_refused: u64) -> Outcome {
    Outcome::Accepted {
        n_launched,
        n_refused,
    }
}

/// An ACCEPT that must be refused as a whole; the statuses it gives.
fn invalid(given: &mut Given, command: Command) -> (String, Vec<Effect>) {
    let generation = given.state.counters().generation;
    let applied = given.apply(command);
    assert_eq!(given.state.counters().generation, generation, "a launch");
    match applied.verdict {
        Err(Refusal::OffersInvalid(reason)) => (reason, applied.effects),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plans_that_no_longer_fit_are_left_out() {
    let (mut given, agent, framework) = given();
    let away = given.agent(2, "cpus:4");
    given.give_up(&away);
    let gone = given.subscribe(None, 2);
    given.ok(Command::FrameworkDisconnected(
        crate::command::FrameworkDisconnected {
            framework: gone.clone(),
            stream: regency_types::StreamId(2),
        },
    ));
    let quiet = given.subscribe(None, 3);
    given.ok(Command::SuppressOffers(SuppressOffers {
        framework: quiet.clone(),
        roles: Vec::new(),
    }));
    let nobody = AgentId::new("nobody").expect("a valid id");
    let (outcome, effects) = given.ok(issue_command(
        vec![
            plan(&framework, "*", &agent, "cpus:3"),
            plan(&framework, "*", &agent, "cpus:1.001"),
            plan(&framework, "other", &agent, "cpus:1"),
            plan(&framework, "*", &away, "cpus:1"),
            plan(&framework, "*", &nobody, "cpus:1"),
            plan(&gone, "*", &agent, "cpus:1"),
            plan(&quiet, "*", &agent, "cpus:1"),
            plan(&framework, "*", &agent, ""),
            plan(&framework, "*", &agent, "cpus:1"),
        ],
        None,
    ));
    let Outcome::OffersIssued { offers, n_skipped } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!((offers.len(), n_skipped), (2, 7));
    assert_eq!(effects, [Effect::SendOffers { framework, offers }]);
}

#[test]
fn an_offer_expires_at_its_deadline_and_not_before() {
    let (mut given, agent, framework) = given();
    given.later(50);
    given.ok(issue_command(
        vec![plan(&framework, "*", &agent, "cpus:1")],
        Some(100),
    ));
    given.ok(issue_command(
        vec![plan(&framework, "*", &agent, "cpus:1")],
        None,
    ));
    let all: Vec<OfferId> = given.state.offers().map(|o| o.id).collect();
    let expire = |offers: &[OfferId]| {
        Command::ExpireOffers(ExpireOffers {
            offers: offers.to_vec(),
        })
    };
    given.later(99);
    assert_eq!(given.ok(expire(&all)).0, Outcome::Removed { n: 0 });
    given.later(1);
    let (outcome, effects) = given.ok(expire(&all));
    assert_eq!(outcome, Outcome::Removed { n: 1 });
    assert_eq!(
        effects,
        [Effect::SendRescind {
            framework,
            offer: all[0]
        }]
    );
    assert!(given.state.offer(all[1]).is_some(), "it has no deadline");
}

#[test]
fn an_accept_launches_on_the_offered_resources() {
    let (mut given, agent, framework) = given();
    let offer = given.offer(&framework, &agent, "cpus:4;mem:1024");
    let tasks = vec![
        Given::task("a", &agent, "cpus:1"),
        Given::task("b", &agent, "cpus:3;mem:1"),
    ];
    let (outcome, effects) = given.ok(Given::accept(&framework, &[offer], tasks));
    assert_eq!(outcome, accepted(2, 0));
    assert_eq!(
        effects,
        [Effect::SyncAgent {
            agent: agent.clone()
        }]
    );
    let keys = ["a", "b"].map(|id| Given::key(&framework, id));
    let launched = keys.clone().map(|key| {
        let task = given.state.task(&key).expect("it was launched");
        assert_eq!(task.state, TaskState::Staging);
        (task.generation.0, task.launch_seq)
    });
    assert_eq!(launched, [(1, 1), (2, 2)]);
    let commands = given.outbox(&agent);
    for (key, command) in keys.iter().zip(&commands) {
        assert!(matches!(command, AgentCommand::Launch { task, .. } if task == key));
    }
    let record = given.state.agent(&agent).expect("it is there");
    assert_eq!(record.allocated, resources("cpus:4;mem:1"));
    assert_eq!(record.available(), resources("mem:1023"));
}

#[test]
fn a_repeated_accept_gets_the_first_verdict_and_does_nothing() {
    let (mut given, agent, framework) = given();
    let offer = given.offer(&framework, &agent, "cpus:4");
    let call = Given::accept(
        &framework,
        &[offer],
        vec![Given::task("t", &agent, "cpus:1")],
    );
    let (first, _) = given.ok(call.clone());
    given.report(&agent, &Given::key(&framework, "t"), 1, TaskState::Finished);
    given
        .acknowledge(&agent, &Given::key(&framework, "t"), 1)
        .verdict
        .expect("the update waits");
    // The id is free again, and still the call is the one that was applied.
    let (again, effects) = given.ok(call);
    assert_eq!(again, first);
    assert_eq!(effects, Vec::new());
    assert_eq!(given.state.tasks().count(), 0);
}

#[test]
fn a_used_offer_cannot_be_used_by_another_call() {
    let (mut given, agent, framework) = given();
    let offer = given.offer(&framework, &agent, "cpus:4");
    let mut call = AcceptOffers {
        framework: framework.clone(),
        offers: vec![Some(offer)],
        operations: Vec::new(),
        refuse: DurationMs(0),
        content: 1,
    };
    given.ok(Command::AcceptOffers(call.clone()));
    call.content = 2;
    call.operations = vec![Operation::Launch(vec![Given::task("t", &agent, "cpus:1")])];
    let (reason, effects) = invalid(&mut given, Command::AcceptOffers(call));
    assert_eq!(reason, "an offer is no longer valid");
    assert_eq!(statuses(&effects), [("t", TaskState::Dropped)]);
}

#[test]
fn a_rescinded_offer_drops_the_tasks_and_gives_the_other_offers_up() {
    let (mut given, agent, framework) = given();
    let taken = given.offer(&framework, &agent, "cpus:1");
    let good = given.offer(&framework, &agent, "cpus:1");
    let (outcome, effects) = given.ok(Command::RescindOffers(RescindOffers {
        offers: vec![taken, OfferId(99)],
    }));
    assert_eq!(outcome, Outcome::Removed { n: 1 });
    assert_eq!(
        effects,
        [Effect::SendRescind {
            framework: framework.clone(),
            offer: taken
        }]
    );
    let call = Command::AcceptOffers(AcceptOffers {
        framework: framework.clone(),
        offers: vec![Some(taken), Some(good)],
        operations: vec![Operation::Launch(vec![
            Given::task("t", &agent, "cpus:1"),
            LaunchSpec::Invalid {
                task_id: "x/y".into(),
                agent: None,
                message: "bad".into(),
            },
        ])],
        refuse: DurationMs(60_000),
        content: 1,
    });
    let (_, effects) = invalid(&mut given, call);
    assert_eq!(
        statuses(&effects),
        [("t", TaskState::Dropped), ("x/y", TaskState::Dropped)]
    );
    assert!(effects.contains(&Effect::WakeAllocator));
    assert!(given.state.offer(good).is_none());
    let framework = given.state.framework(&framework).expect("it is there");
    assert!(framework.filters.is_empty());
    assert_eq!(framework.retained.len(), 2, "told again at a subscription");
    let reason = &framework.retained[0].1.reason;
    assert_eq!(*reason, StatusReason::InvalidOffers);
}

#[test]
fn offers_that_do_not_belong_together_are_refused() {
    let (mut given, agent, framework) = given();
    let other_agent = given.agent(2, "cpus:4");
    let other_framework = given.subscribe(None, 2);
    let foreign = given.offer(&other_framework, &agent, "cpus:1");
    for (case, reason) in [
        ("a foreign id", "an offer is no longer valid"),
        ("another framework's", "an offer is no longer valid"),
        ("twice", "an offer is named twice"),
        ("another agent", "the offers are of different agents"),
        ("none", "no offer is named"),
    ] {
        let first = given.offer(&framework, &agent, "cpus:1");
        let offers = match case {
            "a foreign id" => vec![Some(first), None],
            "another framework's" => vec![Some(first), Some(foreign)],
            "twice" => vec![Some(first), Some(first)],
            "another agent" => {
                let there = given.offer(&framework, &other_agent, "cpus:1");
                vec![Some(first), Some(there)]
            }
            _ => Vec::new(),
        };
        let call = Command::AcceptOffers(AcceptOffers {
            framework: framework.clone(),
            offers,
            operations: vec![Operation::Launch(vec![Given::task("t", &agent, "cpus:1")])],
            refuse: DurationMs(0),
            content: 1,
        });
        let (told, effects) = invalid(&mut given, call);
        assert_eq!(told, reason, "{case}");
        assert_eq!(statuses(&effects), [("t", TaskState::Dropped)], "{case}");
        let expected = u64::from(case == "none");
        assert_eq!(
            u64::from(given.state.offer(first).is_some()),
            expected,
            "{case}: only named offers are given up"
        );
        given.ok(Command::RescindOffers(RescindOffers {
            offers: vec![first],
        }));
    }
    assert!(
        given.state.offer(foreign).is_some(),
        "another framework's offer is not touched"
    );
}

#[test]
fn offers_for_different_roles_are_refused() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let mut spec = Given::framework_spec();
    spec.roles = ["a".to_owned(), "b".to_owned()].into();
    let (outcome, _) = given.ok(Command::SubscribeFramework(
        crate::command::SubscribeFramework {
            framework: None,
            spec,
            suppressed: Vec::new(),
            stream: regency_types::StreamId(1),
            kept: None,
        },
    ));
    let Outcome::Subscribed { framework } = outcome else {
        panic!("{outcome:?}");
    };
    given.ok(issue_command(
        vec![
            plan(&framework, "a", &agent, "cpus:1"),
            plan(&framework, "b", &agent, "cpus:1"),
        ],
        None,
    ));
    let offers: Vec<OfferId> = given.state.offers().map(|o| o.id).collect();
    let call = Given::accept(&framework, &offers, Vec::new());
    let (reason, _) = invalid(&mut given, call);
    assert_eq!(reason, "the offers are for different roles");
}

#[test]
fn a_stranger_uses_and_gives_back_nothing() {
    let (mut given, ..) = given();
    let stranger = FrameworkId::new("stranger").expect("a valid id");
    let unknown = Refusal::FrameworkUnknown(stranger.clone());
    let call = Given::accept(&stranger, &[OfferId(0)], Vec::new());
    assert_eq!(given.refused(call), unknown);
    let call = decline_command(&stranger, vec![OfferId(0)], DurationMs(0));
    assert_eq!(given.refused(call), unknown);
}

#[test]
fn a_refused_launch_of_a_live_task_tells_nothing() {
    let (mut given, agent, framework, key) = Given::with_task();
    let offer = given.offer(&framework, &agent, "cpus:1");
    let task = || vec![Given::task("t", &agent, "cpus:1")];
    let (outcome, effects) = given.ok(Given::accept(&framework, &[offer], task()));
    assert_eq!((outcome, effects), (accepted(0, 1), Vec::new()));
    let (_, effects) = invalid(
        &mut given,
        Given::accept(&framework, &[OfferId(77)], task()),
    );
    assert_eq!(statuses(&effects), []);
    assert_eq!(given.task_state(&key), Some(TaskState::Staging));
}

#[test]
fn a_refusal_is_not_told_once_a_task_of_that_id_lives() {
    let (mut given, agent, framework) = given();
    // Refused by an earlier call: would be told again at a subscription.
    let (_, effects) = invalid(
        &mut given,
        Given::accept(
            &framework,
            &[OfferId(77)],
            vec![Given::task("t", &agent, "cpus:1")],
        ),
    );
    assert_eq!(statuses(&effects), [("t", TaskState::Dropped)]);
    // Refused and launched within one call.
    let offer = given.offer(&framework, &agent, "cpus:4");
    let tasks = vec![
        Given::task("t", &agent, "cpus:5"),
        Given::task("t", &agent, "cpus:1"),
    ];
    let (outcome, effects) = given.ok(Given::accept(&framework, &[offer], tasks));
    assert_eq!(outcome, accepted(1, 1));
    assert_eq!(statuses(&effects), []);
    let framework = given.state.framework(&framework).expect("it is there");
    assert!(framework.retained.is_empty());
}

#[test]
fn tasks_that_cannot_be_launched_are_told_and_the_others_run() {
    let (mut given, agent, framework) = given();
    let elsewhere = AgentId::new("elsewhere").expect("a valid id");
    let offer = given.offer(&framework, &agent, "cpus:2;mem:64");
    let tasks = vec![
        Given::task("good", &agent, "cpus:1"),
        Given::task("much", &agent, "cpus:1.5"),
        Given::task("none", &agent, ""),
        Given::task("there", &elsewhere, "cpus:1"),
        LaunchSpec::Invalid {
            task_id: "x/y".into(),
            agent: Some(agent.clone()),
            message: "contains invalid characters".into(),
        },
        Given::task("also", &agent, "cpus:1"),
    ];
    let (outcome, effects) = given.ok(Given::accept(&framework, &[offer], tasks));
    assert_eq!(outcome, accepted(2, 4));
    let error = TaskState::Error;
    assert_eq!(
        statuses(&effects),
        [
            ("much", error),
            ("none", error),
            ("there", error),
            ("x/y", error)
        ]
    );
    let messages: Vec<String> = given
        .state
        .framework(&framework)
        .expect("it is there")
        .retained
        .iter()
        .map(|(_, s)| s.message.clone())
        .collect();
    assert!(messages[0].contains("more resources cpus:1.5 than available cpus:1; mem:64"));
    assert!(messages[1].contains("no resources"));
    assert!(messages[2].contains("elsewhere"));
    assert_eq!(messages[3], "contains invalid characters");
}

#[test]
fn what_an_accept_leaves_is_not_offered_again_for_a_while() {
    let (mut given, agent, framework) = given();
    let offer = given.offer(&framework, &agent, "cpus:4;mem:1024");
    given.ok(Command::AcceptOffers(AcceptOffers {
        framework: framework.clone(),
        offers: vec![Some(offer)],
        operations: vec![Operation::Launch(vec![Given::task("t", &agent, "cpus:4")])],
        refuse: DurationMs(5_000),
        content: 1,
    }));
    let framework = given.state.framework(&framework).expect("it is there");
    assert_eq!(
        framework.filters[&agent],
        [Filter {
            role: "*".into(),
            refused: resources("mem:1024"),
            until: given.at + DurationMs(5_000),
        }]
    );
}

#[test]
fn a_decline_frees_and_filters_and_ignores_what_is_not_its_own() {
    let (mut given, agent, framework) = given();
    let other = given.subscribe(None, 2);
    let mine = given.offer(&framework, &agent, "cpus:1");
    let foreign = given.offer(&other, &agent, "cpus:1");
    let (outcome, effects) = given.ok(decline_command(
        &framework,
        vec![mine, foreign, mine, OfferId(99)],
        DurationMs(u64::MAX),
    ));
    assert_eq!((outcome, effects), (Outcome::Removed { n: 1 }, Vec::new()));
    assert!(given.state.offer(mine).is_none());
    assert!(given.state.offer(foreign).is_some());
    let filters = &given
        .state
        .framework(&framework)
        .expect("it is there")
        .filters;
    assert_eq!(filters[&agent].len(), 1);
    assert_eq!(filters[&agent][0].until, given.at + bounds::REFUSE_MAX);
    let (reason, _) = invalid(&mut given, Given::accept(&framework, &[mine], Vec::new()));
    assert_eq!(reason, "an offer is no longer valid");
}

#[test]
fn a_decline_for_no_time_leaves_no_filter() {
    let (mut given, agent, framework) = given();
    let offer = given.offer(&framework, &agent, "cpus:1");
    given.ok(decline_command(&framework, vec![offer], DurationMs(0)));
    let framework = given.state.framework(&framework).expect("it is there");
    assert!(framework.filters.is_empty());
}

#[test]
fn filters_are_bounded_and_end() {
    let (mut given, agent, framework) = given();
    for n in 0..=bounds::FILTERS_PER_AGENT_MAX as u64 {
        let offer = given.offer(&framework, &agent, "cpus:1");
        given.ok(decline_command(
            &framework,
            vec![offer],
            DurationMs(1_000 + n),
        ));
    }
    let filters = |given: &Given| {
        let framework = given.state.framework(&framework).expect("it is there");
        framework.filters.get(&agent).cloned().unwrap_or_default()
    };
    assert_eq!(filters(&given).len(), bounds::FILTERS_PER_AGENT_MAX);
    assert_eq!(
        filters(&given)[0].until,
        ClusterTime(1_001),
        "the oldest went"
    );
    given.later(1_003);
    let (outcome, effects) = given.ok(Command::ExpireFilters(ExpireFilters));
    assert_eq!(outcome, Outcome::Removed { n: 3 });
    assert_eq!(effects, [Effect::WakeAllocator]);
    assert_eq!(filters(&given)[0].until, ClusterTime(1_004));
    given.later(1_000);
    given.ok(Command::ExpireFilters(ExpireFilters));
    let framework = given.state.framework(&framework).expect("it is there");
    assert!(framework.filters.is_empty());
}

#[test]
fn who_does_not_acknowledge_gets_no_more_launches() {
    let (mut given, agent, framework) = given();
    let offer = given.offer(&framework, &agent, "cpus:1");
    let record = given.state.framework_mut(&framework).expect("it is there");
    record.n_unacked = bounds::UNACKED_UPDATES_MAX + 1;
    let applied = given.state.apply(&crate::Proposal {
        proposed_at: given.at,
        wall: regency_types::WallTime(0),
        command: Given::accept(
            &framework,
            &[offer],
            vec![Given::task("t", &agent, "cpus:1")],
        ),
    });
    let Err(Refusal::OffersInvalid(reason)) = applied.verdict else {
        panic!("{:?}", applied.verdict);
    };
    assert!(reason.contains("10001 unacknowledged"), "{reason}");
    assert_eq!(statuses(&applied.effects), [("t", TaskState::Dropped)]);
}

#[test]
fn retained_refusals_are_bounded_in_number_and_age() {
    let (mut given, agent, framework) = given();
    let refuse = |given: &mut Given, id: String| {
        let task = Given::task(&id, &agent, "cpus:1");
        invalid(given, Given::accept(&framework, &[OfferId(99)], vec![task]));
    };
    let retained = |given: &Given| {
        let framework = given.state.framework(&framework).expect("it is there");
        framework.retained.len()
    };
    for n in 0..bounds::RETAINED_STATUSES_MAX + 3 {
        refuse(&mut given, format!("t{n}"));
    }
    assert_eq!(retained(&given), bounds::RETAINED_STATUSES_MAX);
    given.later(bounds::RETAINED_STATUS_AGE_MAX.0 + 1);
    refuse(&mut given, "late".to_owned());
    assert_eq!(retained(&given), 1);
}

#[test]
fn consumed_offers_are_bounded_and_the_oldest_are_forgotten() {
    let (mut given, agent, framework) = given();
    let offer = given.offer(&framework, &agent, "cpus:1");
    let used = crate::model::ConsumedOffer {
        framework: framework.clone(),
        consumption: Consumption::Rescinded,
    };
    // As after that many offers.
    let n = bounds::CONSUMED_OFFERS_MAX as u64;
    given.state.consumed = (1..=n).map(|id| (OfferId(id), used.clone())).collect();
    given.state.counters.offer = n + 1;
    given.ok(decline_command(&framework, vec![offer], DurationMs(0)));
    let second = given.offer(&framework, &agent, "cpus:1");
    given.ok(decline_command(&framework, vec![second], DurationMs(0)));
    assert_eq!(given.state.n_consumed(), bounds::CONSUMED_OFFERS_MAX);
    assert!(given.state.consumed(OfferId(1)).is_none());
    assert!(given.state.consumed(OfferId(2)).is_some());
    assert!(given.state.consumed(second).is_some());
}

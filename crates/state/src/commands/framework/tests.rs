use super::*;
use crate::command::{Command, DeclineOffers, IssueOffers, OfferPlan};
use crate::commands::fixture::{Given, begin_term, resources};
use crate::model::FrameworkSpec;
use regency_types::{ClusterId, ClusterTime, DurationMs, OfferId, StreamId};

fn subscribe(id: Option<&FrameworkId>, stream: u128, spec: FrameworkSpec) -> Command {
    Command::SubscribeFramework(SubscribeFramework {
        framework: id.cloned(),
        spec,
        suppressed: Vec::new(),
        stream: StreamId(stream),
        kept: None,
    })
}

fn spec_of(roles: &[&str]) -> FrameworkSpec {
    FrameworkSpec {
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        ..Given::framework_spec()
    }
}

fn offer_to(given: &mut Given, framework: &FrameworkId, role: &str, agent: &AgentId) -> OfferId {
    let (outcome, _) = given.ok(Command::IssueOffers(IssueOffers {
        plans: vec![OfferPlan {
            framework: framework.clone(),
            role: role.to_owned(),
            agent: agent.clone(),
            resources: resources("cpus:1"),
            described: 0,
        }],
        timeout: None,
    }));
    match outcome {
        Outcome::OffersIssued { offers, .. } => offers[0],
        other => panic!("{other:?}"),
    }
}

fn disconnect(framework: &FrameworkId, stream: u128) -> Command {
    Command::FrameworkDisconnected(FrameworkDisconnected {
        framework: framework.clone(),
        stream: StreamId(stream),
    })
}

fn expire(framework: &FrameworkId) -> Command {
    Command::ExpireFramework(ExpireFramework {
        framework: framework.clone(),
    })
}

fn teardown(framework: &FrameworkId) -> Command {
    Command::TeardownFramework(TeardownFramework {
        framework: framework.clone(),
    })
}

fn decline(given: &mut Given, framework: &FrameworkId, offer: OfferId, refuse: DurationMs) {
    given.ok(Command::DeclineOffers(DeclineOffers {
        framework: framework.clone(),
        offers: vec![offer],
        refuse,
    }));
}

fn deadline(given: &Given, framework: &FrameworkId) -> ClusterTime {
    match given.state.framework(framework).map(|f| f.phase.clone()) {
        Some(FrameworkPhase::Disconnected { deadline, .. }) => deadline,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_come_from_the_counter_and_are_never_given_twice() {
    let mut given = Given::new();
    let first = given.subscribe(None, 1);
    let second = given.subscribe(None, 2);
    assert_eq!(first, ClusterId(7).framework_id(0));
    assert_eq!(second, ClusterId(7).framework_id(1));
    given.ok(teardown(&second));
    assert_eq!(given.subscribe(None, 3), ClusterId(7).framework_id(2));
}

#[test]
fn nobody_subscribes_before_the_cluster_has_its_identity() {
    let mut given = Given {
        state: State::default(),
        at: ClusterTime(0),
    };
    assert_eq!(
        given.refused(subscribe(None, 1, Given::framework_spec())),
        Refusal::WrongCluster
    );
}

#[test]
fn an_id_from_elsewhere_is_adopted_and_later_ones_stay_clear_of_it() {
    let mut given = Given::new();
    let foreign = FrameworkId::new("marathon-1").expect("a valid id");
    assert_eq!(given.subscribe(Some(foreign.clone()), 1), foreign);
    let lost = ClusterId(7).framework_id(41);
    given.subscribe(Some(lost), 2);
    assert_eq!(given.subscribe(None, 3), ClusterId(7).framework_id(42));
    let last = ClusterId(7).framework_id(u64::MAX);
    assert_eq!(
        given.refused(subscribe(Some(&last), 4, Given::framework_spec())),
        Refusal::FrameworkUnknown(last)
    );
}

#[test]
fn a_newer_subscription_keeps_the_offers_and_closes_the_older_stream() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let id = given.subscribe(None, 1);
    let offer = offer_to(&mut given, &id, "*", &agent);
    let (outcome, effects) = given.ok(subscribe(Some(&id), 2, Given::framework_spec()));
    assert_eq!(
        outcome,
        Outcome::Subscribed {
            framework: id.clone()
        }
    );
    assert!(effects.contains(&Effect::CloseStream {
        framework: id.clone(),
        stream: StreamId(1),
        reason: CloseReason::FailedOver,
    }));
    assert!(given.state.offer(offer).is_some());
    let (_, effects) = given.ok(subscribe(Some(&id), 2, Given::framework_spec()));
    assert!(
        !effects
            .iter()
            .any(|e| matches!(e, Effect::CloseStream { .. })),
        "the same stream is not closed"
    );
    assert!(given.state.offer(offer).is_some());
}

#[test]
fn a_subscription_takes_back_offers_of_roles_that_are_dropped_or_suppressed() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let Outcome::Subscribed { framework: id } =
        given.ok(subscribe(None, 1, spec_of(&["a", "b", "c"]))).0
    else {
        panic!("a new framework is subscribed");
    };
    let [a, b, c] = ["a", "b", "c"].map(|role| offer_to(&mut given, &id, role, &agent));
    given.ok(Command::SubscribeFramework(SubscribeFramework {
        framework: Some(id.clone()),
        spec: spec_of(&["b", "c"]),
        suppressed: vec!["c".to_owned()],
        stream: StreamId(2),
        kept: None,
    }));
    assert!(given.state.offer(a).is_none(), "its role was dropped");
    assert!(given.state.offer(b).is_some());
    assert!(given.state.offer(c).is_none(), "its role is suppressed");
    // A subscription that suppresses nothing ends the suppression.
    given.ok(subscribe(Some(&id), 3, spec_of(&["b", "c"])));
    let framework = given.state.framework(&id).expect("it is there");
    assert!(framework.suppressed.is_empty());
}

#[test]
fn what_may_not_change_does_not() {
    let mut given = Given::new();
    let id = given.subscribe(None, 1);
    let other = FrameworkSpec {
        principal: Some("other".into()),
        ..Given::framework_spec()
    };
    assert_eq!(
        given.refused(subscribe(Some(&id), 2, other)),
        Refusal::PrincipalChanged
    );
    let other = FrameworkSpec {
        user: "other".into(),
        checkpoint: true,
        name: "other".into(),
        ..Given::framework_spec()
    };
    given.ok(subscribe(Some(&id), 2, other));
    let spec = &given.state.framework(&id).expect("it is there").spec;
    assert_eq!((spec.user.as_str(), spec.checkpoint), ("root", false));
    assert_eq!(spec.name, "other");
}

#[test]
fn only_roles_of_the_framework_can_be_suppressed_or_revived() {
    let mut given = Given::new();
    let id = given.subscribe(None, 1);
    let stranger = || vec!["*".to_owned(), "stranger".to_owned()];
    let refusal = Refusal::RoleNotSubscribed("stranger".into());
    for command in [
        Command::SubscribeFramework(SubscribeFramework {
            framework: None,
            spec: Given::framework_spec(),
            suppressed: stranger(),
            stream: StreamId(2),
            kept: None,
        }),
        Command::SuppressOffers(SuppressOffers {
            framework: id.clone(),
            roles: stranger(),
        }),
        Command::ReviveOffers(ReviveOffers {
            framework: id,
            roles: stranger(),
        }),
    ] {
        assert_eq!(given.refused(command), refusal);
    }
}

#[test]
fn a_removed_framework_never_comes_back() {
    let mut given = Given::new();
    let id = given.subscribe(None, 1);
    given.ok(teardown(&id));
    assert_eq!(
        given.refused(subscribe(Some(&id), 2, Given::framework_spec())),
        Refusal::FrameworkRemoved
    );
    assert_eq!(given.refused(teardown(&id)), Refusal::FrameworkRemoved);
    let stranger = FrameworkId::new("stranger").expect("a valid id");
    let unknown = Refusal::FrameworkUnknown(stranger.clone());
    for command in [
        teardown(&stranger),
        disconnect(&stranger, 1),
        expire(&stranger),
        Command::ReviveOffers(ReviveOffers {
            framework: stranger.clone(),
            roles: Vec::new(),
        }),
        Command::SuppressOffers(SuppressOffers {
            framework: stranger.clone(),
            roles: Vec::new(),
        }),
    ] {
        assert_eq!(given.refused(command), unknown);
    }
}

#[test]
fn a_disconnection_takes_offers_and_filters_and_starts_the_deadline() {
    let (mut given, agent, id, key) = Given::with_task();
    let declined = given.offer(&id, &agent, "cpus:1");
    decline(&mut given, &id, declined, DurationMs(60_000));
    let offer = given.offer(&id, &agent, "cpus:1");
    given.later(10);
    assert_eq!(
        given.refused(disconnect(&id, 9)),
        Refusal::StreamSuperseded,
        "another subscription counts"
    );
    given.ok(disconnect(&id, 1));
    assert!(given.state.offer(offer).is_none());
    let framework = given.state.framework(&id).expect("it is there");
    assert!(framework.filters.is_empty());
    assert_eq!(deadline(&given, &id), given.at + DurationMs(1000));
    assert!(given.state.task(&key).is_some(), "its tasks run on");
    assert_eq!(given.refused(disconnect(&id, 1)), Refusal::StreamSuperseded);
}

#[test]
fn filters_live_on_but_not_for_long_at_a_new_leader() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let id = given.subscribe(None, 1);
    let offer = given.offer(&id, &agent, "cpus:1");
    let long = DurationMs::from_secs(3600);
    decline(&mut given, &id, offer, long);
    let until = |given: &Given| {
        let framework = given.state.framework(&id).expect("it is there");
        framework.filters[&agent][0].until
    };
    let full = given.at + long;
    given.subscribe(Some(id.clone()), 2);
    assert_eq!(until(&given), full, "the same leader knows the scheduler");
    given.ok(Command::BeginTerm(begin_term(2)));
    given.later(5);
    given.subscribe(Some(id.clone()), 3);
    let capped = given.at + bounds::FILTER_LIFE_AT_FAILOVER_MAX;
    assert_eq!(until(&given), capped);
    given.later(5);
    given.subscribe(Some(id.clone()), 4);
    assert_eq!(until(&given), capped, "only the first subscription counts");
    let offer = given.offer(&id, &agent, "cpus:1");
    decline(&mut given, &id, offer, long);
    given.subscribe(Some(id.clone()), 5);
    let framework = given.state.framework(&id).expect("it is there");
    assert_eq!(framework.filters[&agent][1].until, given.at + long);
}

#[test]
fn a_framework_expires_at_its_deadline_and_not_before() {
    let mut given = Given::new();
    let id = given.subscribe(None, 1);
    assert_eq!(given.refused(expire(&id)), Refusal::DeadlineNotReached);
    given.ok(disconnect(&id, 1));
    given.later(999);
    assert_eq!(given.refused(expire(&id)), Refusal::DeadlineNotReached);
    given.later(1);
    given.ok(expire(&id));
    assert!(given.state.framework(&id).is_none());
    assert!(given.state.is_removed(&id));
    assert_eq!(given.refused(expire(&id)), Refusal::FrameworkUnknown(id));
}

#[test]
fn who_is_back_in_time_does_not_expire() {
    let mut given = Given::new();
    let id = given.subscribe(None, 1);
    given.ok(disconnect(&id, 1));
    given.later(999);
    given.subscribe(Some(id.clone()), 2);
    given.later(10_000);
    assert_eq!(given.refused(expire(&id)), Refusal::DeadlineNotReached);
}

#[test]
fn nobody_expires_right_after_an_election() {
    let mut given = Given::new();
    let id = given.subscribe(None, 1);
    given.ok(disconnect(&id, 1));
    given.later(5_000);
    given.ok(Command::BeginTerm(begin_term(2)));
    given.later(bounds::RESUBSCRIBE_GRACE.0 - 1);
    assert_eq!(given.refused(expire(&id)), Refusal::DeadlineNotReached);
    given.later(1);
    given.ok(expire(&id));
}

#[test]
fn a_disconnection_that_this_leader_saw_needs_no_grace() {
    let mut given = Given::new();
    let id = given.subscribe(None, 1);
    given.ok(Command::BeginTerm(begin_term(2)));
    given.ok(disconnect(&id, 1));
    given.later(1000);
    given.ok(expire(&id));
}

#[test]
fn a_teardown_ends_the_tasks_and_tells_their_agents() {
    let (mut given, agent, id, key) = Given::with_task();
    let offer = given.offer(&id, &agent, "cpus:1");
    let generation = given.state.task(&key).expect("it is there").generation;
    let (_, effects) = given.ok(teardown(&id));
    assert!(effects.contains(&Effect::CloseStream {
        framework: id.clone(),
        stream: StreamId(1),
        reason: CloseReason::Removed,
    }));
    assert!(effects.contains(&Effect::SyncAgent {
        agent: agent.clone()
    }));
    assert_eq!(
        given.outbox(&agent),
        [
            AgentCommand::DropLaunch {
                task: key.clone(),
                generation
            },
            AgentCommand::ShutdownFramework {
                framework: id.clone()
            },
        ]
    );
    assert!(given.state.offer(offer).is_none());
    assert!(given.state.task(&key).is_none());
    let agent = given.state.agent(&agent).expect("it is there");
    assert!(agent.allocated.is_empty() && agent.offered.is_empty());
    let completed: Vec<_> = given.state.completed_frameworks().collect();
    assert_eq!(completed.len(), 1);
    let last = completed[0].framework.completed_tasks.last();
    assert_eq!(last.map(|t| t.state), Some(TaskState::Killed));
}

#[test]
fn a_launch_that_the_agent_confirmed_is_shut_down_and_not_withdrawn() {
    let (mut given, agent, id, _) = Given::with_task();
    given.confirm_all(&agent);
    given.ok(teardown(&id));
    assert_eq!(
        given.outbox(&agent),
        [AgentCommand::ShutdownFramework { framework: id }]
    );
}

#[test]
fn a_teardown_leaves_the_ends_of_tasks_and_nothing_unacknowledged() {
    let (mut given, agent, id, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Finished);
    given.ok(teardown(&id));
    let completed = given.state.completed_frameworks().next();
    let framework = &completed.expect("it is kept").framework;
    assert_eq!(framework.n_unacked, 0);
    let task = framework.completed_tasks.last().expect("it is kept");
    assert_eq!(task.state, TaskState::Finished);
    assert_eq!(task.unacked, None);
}

#[test]
fn completed_frameworks_are_bounded_and_still_known_as_removed() {
    let mut given = Given::new();
    let first = given.subscribe(None, 0);
    given.ok(teardown(&first));
    for stream in 1..=bounds::COMPLETED_FRAMEWORKS_MAX {
        let id = given.subscribe(None, stream as u128);
        given.ok(teardown(&id));
    }
    let kept: Vec<_> = given.state.completed_frameworks().collect();
    assert_eq!(kept.len(), bounds::COMPLETED_FRAMEWORKS_MAX);
    assert!(kept.iter().all(|c| c.framework.id != first));
    assert!(given.state.is_removed(&first));
}

#[test]
fn suppressing_keeps_offers_and_reviving_ends_filters_of_the_named_roles() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let Outcome::Subscribed { framework: id } =
        given.ok(subscribe(None, 1, spec_of(&["a", "b"]))).0
    else {
        panic!("a new framework is subscribed");
    };
    for role in ["a", "b"] {
        let offer = offer_to(&mut given, &id, role, &agent);
        decline(&mut given, &id, offer, DurationMs(60_000));
    }
    let offer = offer_to(&mut given, &id, "a", &agent);
    given.ok(Command::SuppressOffers(SuppressOffers {
        framework: id.clone(),
        roles: Vec::new(),
    }));
    let roles = |given: &Given| {
        let framework = given.state.framework(&id).expect("it is there");
        let filters = framework.filters.values().flatten();
        (
            framework.suppressed.iter().cloned().collect::<Vec<_>>(),
            filters.map(|f| f.role.clone()).collect::<Vec<_>>(),
        )
    };
    let both = || vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(roles(&given), (both(), both()));
    assert!(given.state.offer(offer).is_some());
    let (_, effects) = given.ok(Command::ReviveOffers(ReviveOffers {
        framework: id.clone(),
        roles: vec!["a".to_owned()],
    }));
    assert_eq!(effects, [Effect::WakeAllocator]);
    assert_eq!(roles(&given), (vec!["b".to_owned()], vec!["b".to_owned()]));
    given.ok(Command::ReviveOffers(ReviveOffers {
        framework: id.clone(),
        roles: Vec::new(),
    }));
    assert_eq!(roles(&given), (Vec::new(), Vec::new()));
}

#[test]
fn suppressed_roles_go_through_a_change_of_leader_until_the_framework_says_otherwise() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let (outcome, _) = given.ok(subscribe(None, 1, spec_of(&["a", "b", "c"])));
    let Outcome::Subscribed { framework: id } = outcome else {
        panic!("{outcome:?}")
    };
    given.ok(Command::SuppressOffers(SuppressOffers {
        framework: id.clone(),
        roles: vec!["b".to_owned()],
    }));
    given.ok(Command::BeginTerm(begin_term(2)));
    let suppressed = |given: &Given| -> Vec<String> {
        let framework = given.state.framework(&id).expect("it is there");
        framework.suppressed.iter().cloned().collect()
    };
    assert_eq!(suppressed(&given), ["b"]);
    let plan = |role: &str| OfferPlan {
        framework: id.clone(),
        role: role.to_owned(),
        agent: agent.clone(),
        resources: resources("cpus:1"),
        described: 0,
    };
    let (outcome, _) = given.ok(Command::IssueOffers(IssueOffers {
        plans: vec![plan("a"), plan("b"), plan("c")],
        timeout: None,
    }));
    assert!(
        matches!(&outcome, Outcome::OffersIssued { offers, n_skipped: 1 } if offers.len() == 2),
        "{outcome:?}"
    );
    // What the subscription at the next leader says takes the place of what was said before.
    given.ok(Command::SubscribeFramework(SubscribeFramework {
        framework: Some(id.clone()),
        spec: spec_of(&["a", "b", "c"]),
        suppressed: vec!["c".to_owned()],
        stream: StreamId(2),
        kept: None,
    }));
    assert_eq!(suppressed(&given), ["c"]);
    let roles: Vec<&str> = given.state.offers().map(|o| o.role.as_str()).collect();
    assert_eq!(
        roles,
        ["a"],
        "the offer for the role now suppressed is gone"
    );
    given.ok(subscribe(Some(&id), 3, spec_of(&["a", "b", "c"])));
    assert!(suppressed(&given).is_empty(), "absent means none");
}

use super::*;
use crate::command::{
    Command, DeclineOffers, IssueOffers, OfferPlan, SubscribeFramework, SuppressOffers,
};
use crate::commands::fixture::{Given, resources};
use crate::model::FrameworkSpec;
use crate::outcome::Outcome;
use regency_types::{AgentId, DurationMs, StreamId};

fn spec(roles: &[&str]) -> FrameworkSpec {
    FrameworkSpec {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..Given::framework_spec()
    }
}

/// One agent, one framework with the roles `a` and `b`, and an offer for each of them.
fn world() -> (Given, AgentId, FrameworkId, [OfferId; 2]) {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4;mem:64");
    let framework = given.subscribe(None, 1);
    given.ok(subscribe(&framework, spec(&["a", "b"]), 2, None));
    let offers = ["a", "b"].map(|role| offers(&mut given, &framework, role, &agent, 0)[0]);
    (given, agent, framework, offers)
}

fn subscribe(
    framework: &FrameworkId,
    spec: FrameworkSpec,
    stream: u128,
    kept: Option<Vec<OfferId>>,
) -> Command {
    Command::SubscribeFramework(SubscribeFramework {
        framework: Some(framework.clone()),
        spec,
        suppressed: Vec::new(),
        stream: StreamId(stream),
        kept,
    })
}

/// The offers that were made of a plan for this description.
fn offers(
    given: &mut Given,
    framework: &FrameworkId,
    role: &str,
    agent: &AgentId,
    described: u64,
) -> Vec<OfferId> {
    let (outcome, _) = given.ok(Command::IssueOffers(IssueOffers {
        plans: vec![OfferPlan {
            framework: framework.clone(),
            role: role.to_owned(),
            agent: agent.clone(),
            resources: resources("cpus:1"),
            described,
        }],
        timeout: None,
    }));
    match outcome {
        Outcome::OffersIssued { offers, .. } => offers,
        other => panic!("{other:?}"),
    }
}

fn update_to(framework: &FrameworkId, spec: FrameworkSpec, kept: &[OfferId]) -> Command {
    Command::UpdateFramework(UpdateFramework {
        framework: framework.clone(),
        spec,
        suppressed: Vec::new(),
        kept: kept.to_vec(),
    })
}

fn rescinded(effects: &[Effect]) -> Vec<OfferId> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendRescind { offer, .. } => Some(*offer),
            _ => None,
        })
        .collect()
}

#[test]
fn an_update_takes_back_what_does_not_fit_and_tells_it() {
    let (mut given, _, framework, [a, b]) = world();
    // The role `a` is left, whatever the leader thinks of the offer.
    let (_, effects) = given.ok(update_to(&framework, spec(&["b", "c"]), &[a, b]));
    assert_eq!(rescinded(&effects), [a]);
    assert!(given.state.offer(b).is_some());
    // The offer for `b` is not among those that fit.
    let (_, effects) = given.ok(update_to(&framework, spec(&["b", "c"]), &[]));
    assert_eq!(rescinded(&effects), [b]);
    let record = given.state.framework(&framework).expect("known");
    assert_eq!(record.spec, spec(&["b", "c"]));
    assert!(record.confirmed, "it is a call of the framework");
}

#[test]
fn an_update_suppresses_roles_and_leaves_their_offers() {
    let (mut given, agent, framework, kept) = world();
    given.ok(Command::UpdateFramework(UpdateFramework {
        framework: framework.clone(),
        spec: spec(&["a", "b"]),
        suppressed: vec!["a".to_owned()],
        kept: kept.to_vec(),
    }));
    assert!(kept.iter().all(|offer| given.state.offer(*offer).is_some()));
    assert_eq!(offers(&mut given, &framework, "a", &agent, 1), []);
    assert_eq!(offers(&mut given, &framework, "b", &agent, 1).len(), 1);
    // The next one says nothing of suppressed roles: there are none.
    given.ok(update_to(&framework, spec(&["a", "b"]), &kept));
    assert_eq!(offers(&mut given, &framework, "a", &agent, 2).len(), 1);
}

#[test]
fn what_may_not_change_is_refused_by_name() {
    let (mut given, _, framework, kept) = world();
    let refused = |spec: FrameworkSpec, suppressed: &[&str]| {
        Command::UpdateFramework(UpdateFramework {
            framework: framework.clone(),
            spec,
            suppressed: suppressed.iter().map(|role| (*role).to_owned()).collect(),
            kept: kept.to_vec(),
        })
    };
    let roles = ["a", "b"];
    let cases = [
        (
            FrameworkSpec {
                principal: Some("p".into()),
                ..spec(&roles)
            },
            Refusal::PrincipalChanged,
        ),
        (
            FrameworkSpec {
                user: "u".into(),
                ..spec(&roles)
            },
            Refusal::FieldImmutable("user".into()),
        ),
        (
            FrameworkSpec {
                checkpoint: true,
                ..spec(&roles)
            },
            Refusal::FieldImmutable("checkpoint".into()),
        ),
    ];
    for (spec, refusal) in cases {
        assert_eq!(given.refused(refused(spec, &[])), refusal);
    }
    assert_eq!(
        given.refused(refused(spec(&roles), &["c"])),
        Refusal::RoleNotSubscribed("c".into())
    );
    let stranger = FrameworkId::new("stranger").expect("valid");
    assert_eq!(
        given.refused(update_to(&stranger, spec(&roles), &[])),
        Refusal::FrameworkUnknown(stranger)
    );
}

#[test]
fn an_offer_planned_for_an_earlier_description_is_not_made() {
    let (mut given, agent, framework, kept) = world();
    given.ok(update_to(&framework, spec(&["a", "b"]), &kept));
    assert_eq!(offers(&mut given, &framework, "a", &agent, 0), []);
    assert_eq!(offers(&mut given, &framework, "a", &agent, 1).len(), 1);
    // A subscription that says nothing new leaves plans as they are.
    given.ok(subscribe(&framework, spec(&["a", "b"]), 3, None));
    assert_eq!(offers(&mut given, &framework, "b", &agent, 1).len(), 1);
}

#[test]
fn a_subscription_that_says_something_new_keeps_what_fits_and_tells_nothing() {
    let (mut given, agent, framework, [a, b]) = world();
    let (_, effects) = given.ok(subscribe(&framework, spec(&["a", "b"]), 3, Some(vec![b])));
    assert_eq!(rescinded(&effects), [], "what is not sent again is gone");
    assert!(given.state.offer(a).is_none());
    assert!(given.state.offer(b).is_some());
    assert_eq!(offers(&mut given, &framework, "a", &agent, 0), []);
}

#[test]
fn filters_of_a_role_that_is_left_are_forgotten() {
    let (mut given, agent, framework, kept) = world();
    given.ok(Command::DeclineOffers(DeclineOffers {
        framework: framework.clone(),
        offers: kept.to_vec(),
        refuse: DurationMs::from_secs(60),
    }));
    given.ok(Command::SuppressOffers(SuppressOffers {
        framework: framework.clone(),
        roles: vec!["a".to_owned()],
    }));
    given.ok(update_to(&framework, spec(&["b"]), &[]));
    let record = given.state.framework(&framework).expect("known");
    let roles: Vec<&str> = record.filters[&agent]
        .iter()
        .map(|filter| filter.role.as_str())
        .collect();
    assert_eq!(roles, ["b"]);
    assert!(record.suppressed.is_empty());
}

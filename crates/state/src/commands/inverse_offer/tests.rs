use regency_types::{AgentId, DurationMs, FrameworkId, OfferId};

use super::*;
use crate::command::{
    Command, ExpireOffers, FrameworkDisconnected, ReviveOffers, TeardownFramework,
    UpdateMaintenance,
};
use crate::commands::fixture::Given;
use crate::model::{MachineId, MaintenanceWindow, Unavailability};

fn schedule(start_ns: i64) -> Command {
    Command::UpdateMaintenance(UpdateMaintenance {
        windows: vec![MaintenanceWindow {
            machines: vec![MachineId {
                hostname: Some("a".into()),
                ip: None,
            }],
            unavailability: Unavailability {
                start_ns,
                duration_ns: None,
            },
        }],
    })
}

fn issue(framework: &FrameworkId, agent: &AgentId, timeout: Option<u64>) -> Command {
    Command::IssueInverseOffers(IssueInverseOffers {
        plans: vec![(framework.clone(), agent.clone())],
        timeout: timeout.map(DurationMs),
    })
}

fn answer(framework: &FrameworkId, offer: OfferId, accepted: bool, refuse: u64) -> Command {
    Command::AnswerInverseOffers(AnswerInverseOffers {
        framework: framework.clone(),
        offers: vec![offer, OfferId(9_999)],
        accepted,
        refuse: DurationMs(refuse),
    })
}

/// A framework with a task on an agent whose machine is going to be unavailable, and asked to
/// leave it.
fn asked(timeout: Option<u64>) -> (Given, AgentId, FrameworkId, OfferId) {
    let (mut given, agent, framework, _) = Given::with_task();
    given.ok(schedule(5));
    let (outcome, effects) = given.ok(issue(&framework, &agent, timeout));
    let Outcome::OffersIssued { offers, n_skipped } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(n_skipped, 0);
    assert_eq!(
        effects,
        [Effect::SendInverseOffers {
            framework: framework.clone(),
            offers: offers.clone()
        }]
    );
    (given, agent, framework, offers[0])
}

fn to_be_asked(given: &Given, agent: &AgentId) -> usize {
    let agent = given.state.agent(agent).expect("the agent is known");
    given.state.to_be_asked(agent, given.at).len()
}

fn rescinded(framework: &FrameworkId, offer: OfferId) -> Effect {
    Effect::SendRescindInverse {
        framework: framework.clone(),
        offer,
    }
}

#[test]
fn a_framework_is_asked_once_and_its_answer_is_kept() {
    let (mut given, agent, framework, offer) = asked(None);
    let known = given.state.inverse_offer(offer).expect("outstanding");
    assert_eq!(known.unavailability.start_ns, 5);
    let (outcome, effects) = given.ok(issue(&framework, &agent, None));
    assert_eq!(
        outcome,
        Outcome::OffersIssued {
            offers: Vec::new(),
            n_skipped: 1
        }
    );
    assert_eq!(effects, []);
    given.later(7);
    let (outcome, _) = given.ok(answer(&framework, offer, true, 100));
    assert_eq!(outcome, Outcome::Removed { n: 1 });
    assert!(given.state.inverse_offer(offer).is_none());
    let kept = given.state.agent(&agent).expect("kept").answers[&framework];
    assert!(kept.accepted);
    assert_eq!(kept.wall.0, 7);
    // It is not asked again before the time it said.
    assert_eq!(to_be_asked(&given, &agent), 0);
    given.later(100);
    assert_eq!(to_be_asked(&given, &agent), 1);
    assert_eq!(given.ok(issue(&framework, &agent, None)).1.len(), 1);
    let (outcome, _) = given.ok(answer(&framework, offer, false, 100));
    assert_eq!(outcome, Outcome::Removed { n: 0 }, "an old one");
}

#[test]
fn only_who_has_something_there_is_asked() {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4");
    let framework = given.subscribe(None, 1);
    let offer = given.offer(&framework, &agent, "cpus:1");
    assert_eq!(to_be_asked(&given, &agent), 0, "nothing is planned");
    given.ok(schedule(5));
    assert!(given.state.offer(offer).is_none());
    assert_eq!(to_be_asked(&given, &agent), 0, "it has nothing there");
    given.offer(&framework, &agent, "cpus:1");
    assert_eq!(to_be_asked(&given, &agent), 1);
    let other = given.subscribe(None, 2);
    let (outcome, _) = given.ok(issue(&other, &agent, None));
    assert!(matches!(
        outcome,
        Outcome::OffersIssued { n_skipped: 1, .. }
    ));
}

#[test]
fn another_time_is_asked_anew() {
    let (mut given, agent, framework, first) = asked(None);
    given.ok(answer(&framework, first, false, 1_000_000));
    let answers = |given: &Given| given.state.agent(&agent).expect("kept").answers.len();
    assert_eq!(answers(&given), 1);
    given.ok(schedule(5));
    assert_eq!(answers(&given), 1, "nothing is new");
    given.ok(schedule(6));
    assert_eq!(answers(&given), 0, "it was about another time");
    given.ok(issue(&framework, &agent, None));
    let second = given.state.inverse_offers().next().expect("one").id;
    let (_, effects) = given.ok(schedule(7));
    assert!(effects.contains(&rescinded(&framework, second)));
}

#[test]
fn an_inverse_offer_ends_with_its_time_and_with_its_agent() {
    let (mut given, agent, framework, offer) = asked(Some(100));
    let expire = Command::ExpireOffers(ExpireOffers {
        offers: vec![offer],
    });
    given.later(99);
    let (outcome, _) = given.ok(expire.clone());
    assert_eq!(outcome, Outcome::Removed { n: 0 });
    given.later(1);
    let (_, effects) = given.ok(expire);
    assert_eq!(effects, [rescinded(&framework, offer)]);
    given.ok(issue(&framework, &agent, None));
    let offer = given.state.inverse_offers().next().expect("one").id;
    let effects = given.give_up(&agent);
    assert!(effects.contains(&rescinded(&framework, offer)));
    assert_eq!(to_be_asked(&given, &agent), 0);
}

#[test]
fn a_framework_that_leaves_or_revives_is_asked_anew_and_one_that_ends_is_forgotten() {
    let (mut given, agent, framework, offer) = asked(None);
    given.ok(answer(&framework, offer, true, 1_000_000));
    given.ok(Command::ReviveOffers(ReviveOffers {
        framework: framework.clone(),
        roles: Vec::new(),
    }));
    assert_eq!(to_be_asked(&given, &agent), 1);
    given.ok(issue(&framework, &agent, None));
    given.ok(Command::FrameworkDisconnected(FrameworkDisconnected {
        framework: framework.clone(),
        stream: regency_types::StreamId(1),
    }));
    assert_eq!(given.state.inverse_offers().count(), 0);
    assert_eq!(to_be_asked(&given, &agent), 0, "nobody is there");
    let answers = |given: &Given| given.state.agent(&agent).expect("kept").answers.len();
    assert_eq!(answers(&given), 1, "what it said stands");
    given.subscribe(Some(framework.clone()), 2);
    assert_eq!(to_be_asked(&given, &agent), 1);
    given.ok(issue(&framework, &agent, None));
    given.ok(Command::TeardownFramework(TeardownFramework {
        framework: framework.clone(),
    }));
    assert_eq!(given.state.inverse_offers().count(), 0);
    assert_eq!(answers(&given), 0);
    let gone = answer(&framework, offer, true, 0);
    assert_eq!(given.refused(gone), Refusal::FrameworkUnknown(framework));
}

#[test]
fn a_resubscription_keeps_inverse_offers() {
    let (mut given, _, framework, offer) = asked(None);
    given.subscribe(Some(framework), 2);
    assert!(given.state.inverse_offer(offer).is_some());
}

//! The SDK against masters that do what a test says.

#![allow(
    clippy::unwrap_used,
    reason = "a test may fail by a panic, and so may its helpers"
)]

mod fake;

use std::time::Duration;

use fake::{FakeMaster, PATIENCE, Part};
use regency_client::v1::scheduler::call::Type;
use regency_client::v1::{self, AgentId, OfferId, TaskId, TaskState, TaskStatus, scheduler};
use regency_client::{
    Acknowledge, Break, CallError, ContentType, Event, Events, Framework, FrameworkBuilder,
};

fn framework(masters: &[&FakeMaster]) -> FrameworkBuilder {
    Framework::builder("test")
        .masters(masters.iter().map(|master| master.address.clone()))
        .role("batch")
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(PATIENCE, events.next())
        .await
        .expect("an event should come")
        .expect("the stream of events goes on")
}

fn offer_id(value: &str) -> OfferId {
    OfferId {
        value: value.into(),
    }
}

fn update(task: &str, uuid: &'static [u8]) -> TaskStatus {
    TaskStatus {
        task_id: TaskId { value: task.into() },
        state: TaskState::TaskRunning as i32,
        agent_id: Some(AgentId { value: "a".into() }),
        uuid: Some(uuid.into()),
        ..TaskStatus::default()
    }
}

async fn leader(term: u64) -> FakeMaster {
    FakeMaster::start(Part::Leader { term }).await
}

async fn follower(term: u64, leader: Option<&FakeMaster>) -> FakeMaster {
    let leader = leader.map(|leader| leader.address.clone());
    FakeMaster::start(Part::Follower { term, leader }).await
}

#[tokio::test]
async fn the_leader_is_found_through_a_follower_and_calls_name_the_stream() {
    for content_type in [ContentType::Json, ContentType::Protobuf] {
        let mut leader = leader(3).await;
        let follower = follower(3, Some(&leader)).await;
        let builder = framework(&[&follower]).content_type(content_type);
        let (framework, mut events) = builder.connect().unwrap();

        let Event::Subscribed {
            framework_id,
            master,
            resumed,
        } = next(&mut events).await
        else {
            panic!("SUBSCRIBED comes first");
        };
        assert_eq!(
            (framework_id.value.as_str(), &master, resumed),
            ("framework-0", &leader.address, false)
        );
        let subscribe = leader.next_call().await;
        assert_eq!(
            (subscribe.call.framework_id, subscribe.stream_id),
            (None, None)
        );
        let info = subscribe.call.subscribe.unwrap().framework_info;
        assert_eq!(
            (info.name.as_str(), &info.roles[..]),
            ("test", &["batch".to_owned()][..])
        );

        leader.send(scheduler::Event::rescind(offer_id("o-1")));
        assert_eq!(next(&mut events).await, Event::Rescinded(offer_id("o-1")));

        framework.decline([offer_id("o-2")], None).await.unwrap();
        let decline = leader.next_call().await;
        assert_eq!(decline.stream_id.as_deref(), Some("stream-1"));
        assert_eq!(decline.call.framework_id, Some(framework_id));
        assert_eq!(decline.call.decline.unwrap().offer_ids, [offer_id("o-2")]);
    }
}

#[tokio::test]
async fn after_the_death_of_the_leader_the_framework_goes_on_at_the_next() {
    let mut first = leader(1).await;
    let mut second = follower(1, Some(&first)).await;
    let (framework, mut events) = framework(&[&first, &second]).connect().unwrap();
    assert!(matches!(next(&mut events).await, Event::Subscribed { .. }));
    framework.suppress(&[]).await.unwrap();
    first.next_call().await;

    first.kill();
    assert_eq!(next(&mut events).await, Event::Disconnected(Break::Closed));
    // Nobody leads: a call has to wait, and must neither fail nor get lost.
    let kill = tokio::spawn(async move {
        let task_id = TaskId { value: "t".into() };
        framework.kill(task_id, None).await
    });
    second.become_part(Part::Leader { term: 2 });

    let Event::Subscribed {
        framework_id,
        master,
        resumed,
    } = next(&mut events).await
    else {
        panic!("the framework subscribes again");
    };
    assert_eq!((&master, resumed), (&second.address, true));
    kill.await.unwrap().unwrap();

    let subscribe = second.next_call().await.call;
    assert_eq!(subscribe.framework_id.as_ref(), Some(&framework_id));
    let subscribe = subscribe.subscribe.unwrap();
    assert_eq!(subscribe.framework_info.id, Some(framework_id));
    assert_eq!(subscribe.suppressed_roles, ["batch"]);
    assert_eq!(
        second.next_call().await.call.kill.unwrap().task_id.value,
        "t"
    );
}

/// Roles and suppressed roles that a call or a subscription says.
fn said(info: &v1::FrameworkInfo, suppressed: &[String]) -> (Vec<String>, Vec<String>) {
    (info.roles.clone(), suppressed.to_vec())
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

fn constraints(role: &str) -> v1::scheduler::OfferConstraints {
    serde_json::from_str(&format!(
        r#"{{"role_constraints":{{"{role}":{{"groups":[{{"attribute_constraints":[{{
           "selector":{{"attribute_name":"rack"}},"predicate":{{"exists":{{}}}}}}]}}]}}}}}}"#
    ))
    .unwrap()
}

#[tokio::test]
async fn what_a_framework_says_of_itself_anew_is_said_by_later_subscriptions() {
    let mut first = leader(1).await;
    let mut second = follower(1, Some(&first)).await;
    let (framework, mut events) = framework(&[&first, &second]).connect().unwrap();
    next(&mut events).await;
    first.next_call().await;
    framework.suppress(&names(&["batch"])).await.unwrap();
    first.next_call().await;

    // A master that cannot tell is asked again, with the same.
    first.reply_next("503 Service Unavailable", "outcome unknown");
    first.reply_next("200 OK", "");
    framework
        .update(|info, wanted| {
            info.roles.push("web".into());
            *wanted = Some(constraints("web"));
        })
        .await
        .unwrap();
    let sent = first.calls_left();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].call, sent[1].call);
    let call = &sent[0].call;
    assert_eq!(call.r#type(), Type::UpdateFramework);
    let update = call.update_framework.clone().unwrap();
    // The master compares the two ids.
    assert_eq!(update.framework_info.id, call.framework_id);
    assert_eq!(
        said(&update.framework_info, &update.suppressed_roles),
        (names(&["batch", "web"]), names(&["batch"]))
    );
    assert_eq!(update.offer_constraints, Some(constraints("web")));

    // What is refused is not said again.
    first.reply_next(
        "400 Bad Request",
        "Changing framework's user is not allowed",
    );
    let user = update.framework_info.user;
    let refused = framework
        .update(|info, _| {
            info.user = "somebody".into();
            info.roles.clear();
        })
        .await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "UPDATE_FRAMEWORK refused with 400 Bad Request: Changing framework's user is not allowed"
    );

    first.kill();
    second.become_part(Part::Leader { term: 2 });
    assert_eq!(next(&mut events).await, Event::Disconnected(Break::Closed));
    assert!(matches!(next(&mut events).await, Event::Subscribed { .. }));
    let subscribe = second.next_call().await.call.subscribe.unwrap();
    assert_eq!(subscribe.framework_info.user, user);
    assert_eq!(
        said(&subscribe.framework_info, &subscribe.suppressed_roles),
        (names(&["batch", "web"]), names(&["batch"]))
    );
    assert_eq!(subscribe.offer_constraints, Some(constraints("web")));

    // A role that it leaves is not suppressed any more, also not when it comes back.
    for (roles, suppressed) in [(&["web"][..], &[][..]), (&["batch", "web"][..], &[][..])] {
        second.reply_next("200 OK", "");
        let update = framework.update(|info, _| info.roles = names(roles));
        update.await.unwrap();
        let update = second.next_call().await.call.update_framework.unwrap();
        assert_eq!(
            said(&update.framework_info, &update.suppressed_roles),
            (names(roles), names(suppressed))
        );
    }
}

#[tokio::test]
async fn a_call_is_repeated_while_the_master_cannot_tell_and_fails_when_it_refuses() {
    let mut master = leader(1).await;
    let (framework, mut events) = framework(&[&master]).connect().unwrap();
    next(&mut events).await;
    master.next_call().await;

    master.reply_next("503 Service Unavailable", "outcome unknown");
    master.reply_next("503 Service Unavailable", "no quorum");
    framework.decline([offer_id("o")], None).await.unwrap();
    let sent = master.calls_left();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|arrived| arrived.call == sent[0].call));

    master.reply_next("400 Bad Request", "Failed to validate scheduler::Call: no");
    let error = framework.decline([], None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "DECLINE refused with 400 Bad Request: Failed to validate scheduler::Call: no"
    );
}

#[tokio::test]
async fn a_call_that_is_never_answered_says_so_and_whether_it_was_sent() {
    let master = leader(1).await;
    let nobody = follower(1, None).await;
    let limit = Duration::from_millis(100);
    let (waiting, _events) = framework(&[&nobody]).call_timeout(limit).connect().unwrap();
    let error = waiting.revive(&[]).await.unwrap_err();
    assert!(
        matches!(error, CallError::Unanswered { sent: false, .. }),
        "{error}"
    );

    let (sending, mut events) = framework(&[&master]).call_timeout(limit).connect().unwrap();
    next(&mut events).await;
    for _ in 0..1000 {
        master.reply_next("503 Service Unavailable", "");
    }
    let error = sending.revive(&[]).await.unwrap_err();
    assert!(
        matches!(error, CallError::Unanswered { sent: true, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_refused_framework_is_told_once_and_its_calls_end() {
    let master = leader(1).await;
    let (framework, mut events) = framework(&[&master]).connect().unwrap();
    next(&mut events).await;
    master.send(scheduler::Event::error("Framework has been removed"));
    assert_eq!(
        next(&mut events).await,
        Event::Refused("Framework has been removed".into())
    );
    assert_eq!(events.next().await, None);
    let error = framework.revive(&[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "REVIVE not sent: Framework has been removed"
    );
}

#[tokio::test]
async fn after_a_teardown_the_events_end() {
    let mut master = leader(1).await;
    let (framework, mut events) = framework(&[&master]).connect().unwrap();
    next(&mut events).await;
    framework.teardown().await.unwrap();
    assert_eq!(events.next().await, None);
    master.next_call().await;
    assert_eq!(master.next_call().await.call.r#type(), Type::Teardown);
}

#[tokio::test]
async fn an_update_is_acknowledged_when_the_next_event_is_asked_for() {
    let mut master = leader(1).await;
    let (framework, mut events) = framework(&[&master]).connect().unwrap();
    next(&mut events).await;
    master.next_call().await;

    master.send(scheduler::Event::update(update("t-1", b"0123456789abcdef")));
    assert!(matches!(next(&mut events).await, Event::Update(_)));
    // A call of our own passes while the acknowledgement waits for the framework.
    framework.decline([], None).await.unwrap();
    assert_eq!(master.next_call().await.call.r#type(), Type::Decline);
    assert!(master.calls_left().is_empty());

    let mut without_uuid = update("t-2", b"");
    without_uuid.uuid = None;
    master.send(scheduler::Event::update(without_uuid));
    assert!(matches!(next(&mut events).await, Event::Update(_)));
    let acknowledge = master.next_call().await.call.acknowledge.unwrap();
    assert_eq!(acknowledge.task_id.value, "t-1");
    assert_eq!(
        acknowledge.uuid,
        v1::Uuid {
            value: "0123456789abcdef".into()
        }
        .value
    );

    master.send(scheduler::Event::rescind(offer_id("o")));
    next(&mut events).await;
    framework.decline([], None).await.unwrap();
    assert_eq!(master.next_call().await.call.r#type(), Type::Decline);
}

#[tokio::test]
async fn a_silent_master_is_left() {
    let master = leader(1).await;
    master.heartbeat_every(0.1);
    let (_framework, mut events) = framework(&[&master]).connect().unwrap();
    next(&mut events).await;
    assert_eq!(next(&mut events).await, Event::Disconnected(Break::Silent));
    assert!(matches!(
        next(&mut events).await,
        Event::Subscribed { resumed: true, .. }
    ));
}

#[tokio::test]
async fn a_leader_that_others_have_replaced_is_left_although_it_still_answers() {
    let frozen = leader(1).await;
    let other = follower(1, Some(&frozen)).await;
    let (_framework, mut events) = framework(&[&frozen, &other]).connect().unwrap();
    next(&mut events).await;
    // The old one goes on claiming to lead until it wakes up; the later term must win.
    let new = leader(2).await;
    other.become_part(Part::Follower {
        term: 2,
        leader: Some(new.address.clone()),
    });
    let leader = new.address.clone();
    assert_eq!(
        next(&mut events).await,
        Event::Disconnected(Break::Deposed {
            leader: leader.clone()
        })
    );
    let Event::Subscribed { master, .. } = next(&mut events).await else {
        panic!("the framework subscribes again");
    };
    assert_eq!(master, leader);
}

#[tokio::test]
async fn nothing_is_acknowledged_for_those_who_do_it_themselves() {
    let mut master = leader(1).await;
    let builder = framework(&[&master]).acknowledge(Acknowledge::Manual);
    let (framework, mut events) = builder.connect().unwrap();
    next(&mut events).await;
    master.next_call().await;
    master.send(scheduler::Event::update(update("t-1", b"0123456789abcdef")));
    let Event::Update(status) = next(&mut events).await else {
        panic!("an update comes");
    };
    master.send(scheduler::Event::rescind(offer_id("o")));
    next(&mut events).await;
    framework.decline([], None).await.unwrap();
    assert_eq!(master.next_call().await.call.r#type(), Type::Decline);
    framework.acknowledge(&status).await.unwrap();
    assert_eq!(master.next_call().await.call.r#type(), Type::Acknowledge);
}

/// Counts what it is told, and ends when its task has ended.
#[derive(Default)]
struct Counting {
    subscriptions: usize,
    others: usize,
}

impl regency_client::Scheduler for Counting {
    async fn subscribed(
        &mut self,
        _: &Framework,
        _: v1::FrameworkId,
        _: bool,
    ) -> Result<(), CallError> {
        self.subscriptions += 1;
        Ok(())
    }

    async fn update(&mut self, framework: &Framework, _: TaskStatus) -> Result<(), CallError> {
        framework.teardown().await
    }

    async fn other(&mut self, _: &Framework, _: Event) -> Result<(), CallError> {
        self.others += 1;
        Ok(())
    }
}

#[tokio::test]
async fn a_scheduler_is_called_until_its_framework_ends_and_its_offers_are_not_kept() {
    let mut master = leader(1).await;
    let (framework, mut events) = framework(&[&master]).connect().unwrap();
    let mut scheduler = Counting::default();
    let offer = v1::Offer {
        id: offer_id("o-1"),
        ..v1::Offer::default()
    };
    let script = async {
        assert_eq!(master.next_call().await.call.r#type(), Type::Subscribe);
        master.send(scheduler::Event::offers(vec![offer]));
        let declined = master.next_call().await.call.decline.unwrap();
        assert_eq!(declined.offer_ids, [offer_id("o-1")]);
        let mut last = update("t-1", b"");
        last.uuid = None;
        master.send(scheduler::Event::update(last));
        assert_eq!(master.next_call().await.call.r#type(), Type::Teardown);
    };
    let run = regency_client::run(&mut scheduler, &framework, &mut events);
    let (ended, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(run, script) })
        .await
        .unwrap();
    ended.unwrap();
    assert_eq!((scheduler.subscriptions, scheduler.others), (1, 0));
}

#[tokio::test]
async fn calls_about_executors_and_operations_say_what_they_mean() {
    let mut master = leader(1).await;
    let (framework, mut events) = framework(&[&master]).connect().unwrap();
    next(&mut events).await;
    master.next_call().await;
    let agent = AgentId { value: "a".into() };
    let executor = v1::ExecutorId { value: "e".into() };
    framework
        .shutdown_executor(agent.clone(), executor.clone())
        .await
        .unwrap();
    let shutdown = master.next_call().await.call.shutdown.unwrap();
    assert_eq!((shutdown.agent_id, shutdown.executor_id), (agent, executor));
    let operation = v1::OperationId { value: "op".into() };
    framework
        .reconcile_operations([(operation.clone(), None)])
        .await
        .unwrap();
    let asked = master.next_call().await.call.reconcile_operations.unwrap();
    assert_eq!(asked.operations[0].operation_id, operation);
    let task = TaskId { value: "t".into() };
    framework
        .kill_within(task, None, Duration::from_millis(2_500))
        .await
        .unwrap();
    let policy = master
        .next_call()
        .await
        .call
        .kill
        .unwrap()
        .kill_policy
        .unwrap();
    assert_eq!(policy.grace_period.unwrap().nanoseconds, 2_500_000_000);
}

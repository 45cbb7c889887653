use futures::FutureExt as _;
use regency_state::Command;
use regency_state::TeardownFramework;
use regency_types::TaskState;
use regency_wire::v1::master::Event;
use regency_wire::v1::master::event::Type;

use super::*;
use crate::query::fixture::{Cluster, identity};

const JSON: Form = Form {
    content: ContentType::Json,
    positions: true,
};
const LIMITS: EventLimits = EventLimits {
    streams: 3,
    kept: 1_000,
    waiting_bytes: 1 << 20,
};

/// A cluster in which much happened; each of its states is that after one entry.
fn story() -> Cluster {
    let (mut cluster, key) = Cluster::with_task();
    cluster.run_through(&key, &[TaskState::Starting, TaskState::Running]);
    let other = cluster.agent(2, "cpus:4;mem:1024");
    let framework = key.framework.clone();
    let more = ["u", "v"].map(|id| (Cluster::task_info(id), "cpus:1;mem:32"));
    cluster.launch(&framework, "eng", &other, more.to_vec());
    cluster.lose_agent(&key);
    cluster.run_through(
        &Cluster::key(&framework, "u"),
        &[TaskState::Running, TaskState::Failed],
    );
    cluster.ok(Command::TeardownFramework(TeardownFramework { framework }));
    cluster
}

fn hub(limits: EventLimits, cluster: &Cluster, index: usize) -> Arc<EventHub> {
    let state = cluster.states[index].clone();
    EventHub::new(Arc::new(identity()), limits, index as u64, state)
}

fn feed(hub: &EventHub, cluster: &Cluster, from: usize) {
    for (index, state) in cluster.states.iter().enumerate().skip(from) {
        hub.apply(index as u64, state.clone());
    }
}

/// Records that wait, and whether the stream has ended behind them.
fn drain(queue: &mut queue::Queue) -> (Vec<Bytes>, bool) {
    let mut records = Vec::new();
    loop {
        match queue.next().now_or_never() {
            Some(Some(record)) => records.push(record),
            Some(None) => return (records, true),
            None => return (records, false),
        }
    }
}

fn event(record: &[u8]) -> Event {
    let start = record.iter().position(|byte| *byte == b'\n');
    let json = &record[start.expect("a length before the event") + 1..];
    regency_wire::decode(ContentType::Json, json).expect("an event")
}

fn names(records: &[Bytes]) -> Vec<&'static str> {
    let names = records.iter().map(|record| event(record).r#type());
    names.map(|event_type| event_type.as_str_name()).collect()
}

/// The whole stream from behind `index`, record by record.
fn all(cluster: &Cluster, index: usize) -> Vec<Bytes> {
    let hub = hub(LIMITS, cluster, index);
    let mut watcher = hub.subscribe(JSON, None);
    feed(&hub, cluster, index + 1);
    let (records, ended) = drain(&mut watcher.queue);
    assert!(!ended);
    records
}

#[test]
fn what_happens_is_told_in_order() {
    let told = names(&all(&story(), 0));
    let expected = [
        "AGENT_ADDED",
        "FRAMEWORK_ADDED",
        "TASK_ADDED",
        "TASK_UPDATED",
        "TASK_UPDATED",
        "AGENT_ADDED",
        "TASK_ADDED",
        "TASK_ADDED",
        "TASK_UPDATED",
        "AGENT_REMOVED",
        "TASK_UPDATED",
        "TASK_UPDATED",
        "TASK_UPDATED",
        "TASK_UPDATED",
        "FRAMEWORK_REMOVED",
    ];
    assert_eq!(told, expected);
}

#[test]
fn who_comes_back_gets_exactly_the_rest_wherever_the_stream_broke_and_at_any_master() {
    let cluster = story();
    let whole = all(&cluster, 0);
    // One that was told of everything as it happened, and one that started later.
    for start in [0, 3] {
        let other = hub(LIMITS, &cluster, start);
        feed(&other, &cluster, start + 1);
        for n in 0..whole.len() {
            let position = event(&whole[n]).regency_position.expect("asked for");
            let after: Position = position.parse().expect("a position");
            let back = other.subscribe(JSON, Some(after));
            if after.index < start as u64 {
                assert!(back.state.is_some(), "{after} is from before its start");
                continue;
            }
            assert!(back.state.is_none());
            assert_eq!(back.position, after);
            let missed = back.missed.iter();
            let rest: Vec<Bytes> = missed
                .map(|kept| JSON.record(kept.told.event(), kept.position))
                .collect();
            assert_eq!(rest, whole[n + 1..], "after {position}");
        }
    }
}

#[test]
fn a_position_that_is_not_known_any_more_or_not_yet_begins_with_the_state() {
    let cluster = story();
    let few = EventLimits { kept: 2, ..LIMITS };
    let hub = hub(few, &cluster, 0);
    feed(&hub, &cluster, 1);
    let end = cluster.states.len() as u64 - 1;
    for (after, goes_on) in [
        (Some(Position::behind(0)), false),
        (Some(Position::behind(end)), true),
        (
            Some(Position {
                index: end,
                part: 0,
            }),
            true,
        ),
        (Some(Position::behind(end + 1)), false),
        (None, false),
    ] {
        let watcher = hub.subscribe(JSON, after);
        assert_eq!(watcher.state.is_none(), goes_on, "{after:?}");
    }
}

#[test]
fn a_watcher_that_does_not_read_is_let_go_and_others_are_not() {
    let cluster = story();
    let narrow = EventLimits {
        waiting_bytes: 3_000,
        ..LIMITS
    };
    let hub = hub(narrow, &cluster, 0);
    let mut slow = hub.subscribe(JSON, None);
    let mut quick = hub.subscribe(JSON, None);
    let mut read = Vec::new();
    for (index, state) in cluster.states.iter().enumerate().skip(1) {
        hub.apply(index as u64, state.clone());
        let (records, ended) = drain(&mut quick.queue);
        assert!(!ended);
        read.extend(records);
    }
    assert_eq!(read, all(&cluster, 0));
    let (records, ended) = drain(&mut slow.queue);
    assert!(ended, "its stream is closed");
    let bytes: usize = records.iter().map(Bytes::len).sum();
    assert!(bytes <= 3_000, "{bytes} bytes waited");
    assert_eq!(records, read[..records.len()], "and what it got is whole");
}

#[test]
fn one_watcher_too_many_ends_the_oldest_and_who_leaves_makes_room() {
    let cluster = story();
    let hub = hub(LIMITS, &cluster, 0);
    let mut watchers: Vec<_> = (0..4).map(|_| hub.subscribe(JSON, None)).collect();
    let ended: Vec<bool> = watchers.iter_mut().map(|w| drain(&mut w.queue).1).collect();
    assert_eq!(ended, [true, false, false, false]);
    drop(watchers.pop());
    let _new = hub.subscribe(JSON, None);
    assert!(!drain(&mut watchers[1].queue).1, "there was room");
}

#[test]
fn after_a_gap_everybody_begins_anew() {
    let cluster = story();
    let hub = hub(LIMITS, &cluster, 0);
    let mut watcher = hub.subscribe(JSON, None);
    feed(&hub, &cluster, 1);
    let end = cluster.states.len() as u64 + 100;
    hub.restart(end, cluster.state.clone());
    assert!(drain(&mut watcher.queue).1);
    let behind = Position::behind(cluster.states.len() as u64 - 1);
    assert!(hub.subscribe(JSON, Some(behind)).state.is_some());
    let next = hub.subscribe(JSON, Some(Position::behind(end)));
    assert!(next.state.is_none());
}

#[test]
fn an_end_that_another_update_waits_for_is_told_with_its_own() {
    let (mut cluster, key) = Cluster::with_task();
    let from = cluster.states.len() - 1;
    cluster.report_head(&key, 1, TaskState::Starting, TaskState::Starting);
    // The agent says that it runs, but that update waits behind the first.
    cluster.report_head(&key, 1, TaskState::Starting, TaskState::Running);
    cluster.acknowledge(&key, 1);
    cluster.report_head(&key, 2, TaskState::Running, TaskState::Running);
    // The same state again, with another uuid: Mesos tells only of another state.
    cluster.acknowledge(&key, 2);
    cluster.report_head(&key, 3, TaskState::Running, TaskState::Running);
    let records = all(&cluster, from);
    let told: Vec<_> = records.iter().map(|record| event(record)).collect();
    let states: Vec<_> = told
        .iter()
        .map(|event| {
            let update = event.task_updated.as_ref().expect("only updates");
            (update.status.state, update.status.uuid.is_some())
        })
        .collect();
    let expected = [TaskState::Starting, TaskState::Running].map(|s| (s.number(), true));
    assert_eq!(states, expected);
}

#[test]
fn heartbeats_say_how_far_a_watcher_is() {
    let cluster = story();
    let hub = hub(LIMITS, &cluster, 5);
    let mut watcher = hub.subscribe(JSON, None);
    let plain = Form {
        positions: false,
        ..JSON
    };
    let mut as_in_mesos = hub.subscribe(plain, None);
    hub.heartbeat();
    let (records, _) = drain(&mut watcher.queue);
    let beat = event(&records[0]);
    assert_eq!(beat.r#type(), Type::Heartbeat);
    assert_eq!(beat.regency_position.as_deref(), Some("5"));
    let (records, _) = drain(&mut as_in_mesos.queue);
    assert_eq!(
        records[0],
        Bytes::from_static(b"20\n{\"type\":\"HEARTBEAT\"}")
    );
}

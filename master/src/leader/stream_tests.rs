//! What is kept on a stream: each offer once, no end without a beginning, a bound on what waits.

use futures::StreamExt;
use regency_state::model::Capabilities;
use regency_state::{Command, RescindOffers};
use regency_types::{StreamId, TaskState};
use regency_wire::v1::scheduler::Event;
use regency_wire::{ContentType, decode, recordio};
use tokio::sync::mpsc;

use super::stream::{EventBody, FrameworkStream};
use crate::query::fixture::Cluster;

struct Opened {
    cluster: Cluster,
    stream: std::sync::Arc<FrameworkStream>,
    body: EventBody,
    departures: mpsc::UnboundedReceiver<super::frameworks::Departure>,
}

/// A stream with one offer outstanding before it was opened.
fn open(bytes_max: usize) -> Opened {
    let mut cluster = Cluster::new();
    let agent = cluster.agent(1, "cpus:4");
    let framework = cluster.subscribe("eng", Capabilities::default());
    cluster.offer(&framework, "eng", &agent, "cpus:1");
    let (sender, departures) = mpsc::unbounded_channel();
    let id = cluster.state.cluster().expect("a cluster");
    let (stream, body) = FrameworkStream::new(
        framework,
        StreamId(1),
        ContentType::Json,
        id,
        bytes_max,
        sender,
        std::sync::Arc::default(),
    );
    let state = cluster.state.clone();
    stream.open(&[Event::heartbeat()], || state);
    Opened {
        cluster,
        stream,
        body,
        departures,
    }
}

/// The types of the events that wait, each a record in a chunk of its own.
async fn events(body: &mut EventBody) -> Vec<&'static str> {
    let mut names = Vec::new();
    while let Some(Some(Ok(chunk))) = futures::FutureExt::now_or_never(body.next()) {
        let mut decoder = recordio::Decoder::new(1 << 20);
        decoder.feed(&chunk);
        let record = decoder.next_record().expect("framed").expect("whole");
        assert_eq!(
            decoder.next_record().expect("framed"),
            None,
            "one record, one chunk"
        );
        let event: Event = decode(ContentType::Json, &record).expect("an event");
        names.push(event.r#type().as_str_name());
    }
    names
}

#[tokio::test]
async fn the_end_of_a_task_that_was_lost_is_sent_with_the_update_that_waits() {
    let (mut cluster, key) = Cluster::with_task();
    cluster.report(&key, 1, TaskState::Running);
    let agent = cluster.state.agents().next().expect("an agent").clone();
    cluster.agent_at(2, &agent.spec.address, "cpus:1");
    let task = cluster.state.task(&key).expect("its update waits");
    assert!(task.is_terminal() && task.unacked.is_some());
    let (sender, _departures) = mpsc::unbounded_channel();
    let id = cluster.state.cluster().expect("a cluster");
    let framework = key.framework.clone();
    let json = ContentType::Json;
    let (stream, mut body) = FrameworkStream::new(
        framework,
        StreamId(1),
        json,
        id,
        1 << 20,
        sender,
        std::sync::Arc::default(),
    );
    let state = cluster.state.clone();
    stream.open(&[Event::heartbeat()], || state);
    assert_eq!(events(&mut body).await, ["HEARTBEAT", "UPDATE", "UPDATE"]);
}

#[tokio::test]
async fn an_offer_is_sent_once_and_its_end_only_after_it() {
    let mut opened = open(1 << 20);
    assert_eq!(events(&mut opened.body).await, ["HEARTBEAT", "OFFERS"]);
    let offer = opened.cluster.state.offers().next().expect("an offer").id;
    opened.stream.send_offers(&opened.cluster.state, &[offer]);
    assert_eq!(events(&mut opened.body).await, Vec::<&str>::new());
    opened.stream.rescind(regency_types::OfferId(99));
    assert_eq!(events(&mut opened.body).await, Vec::<&str>::new());
    opened.cluster.ok(Command::RescindOffers(RescindOffers {
        offers: vec![offer],
    }));
    opened.stream.rescind(offer);
    opened.stream.rescind(offer);
    assert_eq!(events(&mut opened.body).await, ["RESCIND"]);
    // What is gone is not sent, whatever an effect says.
    opened.stream.send_offers(&opened.cluster.state, &[offer]);
    assert_eq!(events(&mut opened.body).await, Vec::<&str>::new());
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_closed_at_its_bound() {
    let mut opened = open(2000);
    for _ in 0..200 {
        opened.stream.send(&Event::heartbeat());
    }
    let seen = events(&mut opened.body).await;
    assert!(seen.len() < 150, "{}", seen.len());
    assert_eq!(
        opened.body.next().await.map(|r| r.is_ok()),
        None,
        "the stream ended"
    );
}

#[tokio::test]
async fn whoever_drops_the_body_has_left() {
    let mut opened = open(1 << 20);
    assert!(opened.departures.try_recv().is_err());
    drop(opened.body);
    let departure = opened.departures.try_recv().expect("a departure");
    assert_eq!(departure.stream, StreamId(1));
}

#[tokio::test]
async fn a_close_with_an_error_says_it_last() {
    let mut opened = open(1 << 20);
    opened.stream.close(Some("Framework failed over"));
    opened.stream.send(&Event::heartbeat());
    assert_eq!(
        events(&mut opened.body).await,
        ["HEARTBEAT", "OFFERS", "ERROR"]
    );
}

#[tokio::test]
async fn a_stream_that_comes_after_the_end_of_the_term_ends_at_once() {
    let mut opened = open(1 << 20);
    let (departures, _) = mpsc::unbounded_channel();
    let streams = super::Streams::new(departures);
    streams.close_all();
    streams.insert(std::sync::Arc::clone(&opened.stream));
    assert!(streams.all().is_empty());
    assert_eq!(events(&mut opened.body).await, ["HEARTBEAT", "OFFERS"]);
    assert!(opened.body.next().await.is_none(), "the stream ended");
}

#[tokio::test]
async fn a_subscription_begins_with_what_is_outstanding_in_the_order_of_mesos() {
    let (mut cluster, key) = Cluster::with_task();
    cluster.report(&key, 1, regency_types::TaskState::Running);
    let agent = cluster.state.task(&key).expect("it runs").agent.clone();
    cluster.offer(&key.framework, "eng", &agent, "cpus:0.5");
    let (departures, _) = mpsc::unbounded_channel();
    let id = cluster.state.cluster().expect("a cluster");
    let framework = key.framework.clone();
    let (stream, mut body) = FrameworkStream::new(
        framework.clone(),
        StreamId(1),
        ContentType::Json,
        id,
        1 << 20,
        departures,
        std::sync::Arc::default(),
    );
    let term = cluster.state.term().expect("a term").clone();
    let master = crate::query::master::info(&term.master, None);
    let subscribed = Event::subscribed((&framework).into(), master);
    let state = cluster.state.clone();
    stream.open(&[subscribed, Event::heartbeat()], || state);
    assert_eq!(
        events(&mut body).await,
        ["SUBSCRIBED", "HEARTBEAT", "OFFERS", "UPDATE"]
    );
}

#[tokio::test]
async fn a_stream_that_this_leader_ended_itself_is_nobodys_departure() {
    let mut opened = open(1 << 20);
    let framework = opened.stream.framework.clone();
    let (departures, _) = mpsc::unbounded_channel();
    let streams = super::Streams::new(departures);
    streams.insert(std::sync::Arc::clone(&opened.stream));
    let id = opened.cluster.state.cluster().expect("a cluster");
    let (sender, _departed) = mpsc::unbounded_channel();
    let (newer, _body) = FrameworkStream::new(
        framework.clone(),
        StreamId(2),
        ContentType::Json,
        id,
        1 << 20,
        sender,
        std::sync::Arc::default(),
    );
    // A newer subscription takes its place: its end is not the framework's.
    streams.insert(newer);
    drop(opened.body);
    let departure = opened.departures.try_recv().expect("a departure");
    assert!(
        streams
            .remove(&departure.framework, departure.stream)
            .is_none()
    );
    assert!(streams.get(&framework).is_some());
    // And at the end of the term all are taken away before they end.
    streams.close_all();
    assert!(streams.remove(&framework, StreamId(2)).is_none());
}

//! The life of a subscription: find the leader, subscribe, read until it breaks, again.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use regency_wire::v1::FrameworkId;
use regency_wire::v1::scheduler::call::{Subscribe, Type};
use regency_wire::v1::scheduler::{Call, event};
use regency_wire::{ContentType, encode};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::calls::{SCHEDULER_PATH, STREAM_ID_HEADER};
use crate::event::{Event, Record};
use crate::http::{Http, RequestError, read_whole, redirected_to};
use crate::leader::{Leader, Masters};
use crate::session::{Break, Live, Session};
use crate::stream::EventStream;

/// How long a SUBSCRIBE may wait for its answer. A master that does not serve yet holds it up
/// for five seconds at most.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(6);
/// How many redirects of one SUBSCRIBE are followed before everybody is asked again.
const REDIRECTS_MAX: usize = 3;
/// Interval of heartbeats when the master does not tell.
const HEARTBEAT_INTERVAL_SECONDS: f64 = 15.0;
/// Bounds of what a master may tell.
const HEARTBEAT_INTERVAL_SECONDS_MIN: f64 = 0.1;
const HEARTBEAT_INTERVAL_SECONDS_MAX: f64 = 3_600.0;
/// How many intervals without any event make a stream a dead one.
const HEARTBEATS_MISSED_MAX: f64 = 3.0;
/// How often another master is asked whether our leader still is the one. This finds a leader
/// that is frozen, or cut off from the others but not from us, long before heartbeats do.
const LEADER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) content_type: ContentType,
    pub(crate) masters: Masters,
    pub(crate) http: Http,
    pub(crate) session: Arc<Session>,
    pub(crate) events: mpsc::Sender<Event>,
    /// Known from the first SUBSCRIBED on, or from an earlier process.
    pub(crate) framework_id: Option<FrameworkId>,
    /// How many subscriptions there were.
    pub(crate) generation: u64,
}

/// Why a SUBSCRIBE did not give a stream.
enum NotSubscribed {
    /// Worth another attempt, perhaps elsewhere.
    ForNow(String),
    /// The master understood, and refuses.
    Refused(String),
}

/// Why reading a stream ended.
enum StreamEnd {
    Broken(Break),
    Deposed { by: Leader },
    Refused(String),
}

impl Subscription {
    /// Runs until the framework is torn down or refused, or nobody reads its events.
    pub(crate) async fn run(mut self) {
        let (events, session) = (self.events.clone(), Arc::clone(&self.session));
        let refusal = tokio::select! {
            () = events.closed() => None,
            () = session.over() => return,
            refusal = self.subscribe_again_and_again() => refusal,
        };
        let Some(reason) = refusal else {
            return session.end("nobody reads the events");
        };
        session.end(reason.clone());
        // If nobody reads it any more, nobody has to know.
        let _closed = events.send(Event::Refused(reason)).await;
    }

    /// Gives the text of the master's refusal, or nothing when nobody reads the events.
    async fn subscribe_again_and_again(&mut self) -> Option<String> {
        let mut known = None;
        loop {
            // A leader that others have replaced may go on claiming to lead, so that whoever
            // replaced it is tried before everybody is asked.
            let leader = match known.take() {
                Some(leader) => leader,
                None => self.masters.find().await,
            };
            let opened = self.open(leader.clone()).await;
            let (leader, stream, stream_id) = match opened {
                Ok(opened) => opened,
                Err(NotSubscribed::Refused(reason)) => return Some(reason),
                Err(NotSubscribed::ForNow(reason)) => {
                    tracing::debug!(master = %leader.address, %reason, "not subscribed yet");
                    self.masters.leader_failed(&leader.address);
                    self.masters.pause().await;
                    continue;
                }
            };
            let end = self.read(&leader, stream, stream_id).await;
            let was_up = self.session.framework_id().is_some();
            self.session.down();
            self.masters.leader_failed(&leader.address);
            let why = match end {
                StreamEnd::Refused(reason) => return Some(reason),
                StreamEnd::Broken(why) => why,
                StreamEnd::Deposed { by } => {
                    let leader = by.address.clone();
                    known = Some(by);
                    Break::Deposed { leader }
                }
            };
            tracing::info!(master = %leader.address, %why, "subscription lost");
            if !was_up {
                self.masters.pause().await;
            } else if self.events.send(Event::Disconnected(why)).await.is_err() {
                return None;
            }
        }
    }

    /// Sends SUBSCRIBE, following redirects.
    async fn open(
        &self,
        mut leader: Leader,
    ) -> Result<(Leader, EventStream, String), NotSubscribed> {
        let content_type = self.content_type;
        let body = encode(content_type, &self.subscribe_call());
        let media_type = content_type.media_type();
        for _ in 0..=REDIRECTS_MAX {
            let response = self
                .http
                .post_for_stream(
                    &leader.address,
                    SCHEDULER_PATH,
                    &[("content-type", media_type), ("accept", media_type)],
                    body.clone(),
                    SUBSCRIBE_TIMEOUT,
                )
                .await
                .map_err(for_now)?;
            match response.status() {
                StatusCode::OK => {
                    let stream_id = response.headers().get(STREAM_ID_HEADER);
                    let stream_id = stream_id.and_then(|value| value.to_str().ok());
                    let Some(stream_id) = stream_id.map(str::to_owned) else {
                        let reason = format!("{} gives no stream id", leader.address);
                        return Err(NotSubscribed::ForNow(reason));
                    };
                    let stream = EventStream::new(response.into_body(), content_type);
                    return Ok((leader, stream, stream_id));
                }
                StatusCode::TEMPORARY_REDIRECT => match redirected_to(response.headers()) {
                    Some(address) => leader.address = address,
                    None => {
                        let reason = format!("{} redirects to nowhere", leader.address);
                        return Err(NotSubscribed::ForNow(reason));
                    }
                },
                status => {
                    let answer = read_whole(&leader.address, response);
                    let text = answer.await.map_err(for_now)?.text();
                    return Err(if status.is_client_error() {
                        NotSubscribed::Refused(format!("{status}: {text}"))
                    } else {
                        NotSubscribed::ForNow(format!("{status}: {text}"))
                    });
                }
            }
        }
        Err(NotSubscribed::ForNow("redirected in circles".to_owned()))
    }

    fn subscribe_call(&self) -> Call {
        let description = self.session.description();
        let mut framework_info = description.framework_info;
        framework_info.id.clone_from(&self.framework_id);
        Call {
            r#type: Some(Type::Subscribe as i32),
            framework_id: self.framework_id.clone(),
            subscribe: Some(Subscribe {
                framework_info,
                suppressed_roles: self.session.suppressed_roles(),
                offer_constraints: description.offer_constraints,
            }),
            ..Call::default()
        }
    }

    /// Hands out events until the stream ends or is not worth reading any more.
    async fn read(
        &mut self,
        leader: &Leader,
        mut stream: EventStream,
        stream_id: String,
    ) -> StreamEnd {
        let newer = newer_leader(self.masters.clone(), leader.clone());
        tokio::pin!(newer);
        let mut silence_max = SUBSCRIBE_TIMEOUT;
        loop {
            let record = tokio::select! {
                record = timeout(silence_max, stream.next()) => record,
                by = &mut newer => return StreamEnd::Deposed { by },
            };
            let event = match record {
                Err(_elapsed) => return StreamEnd::Broken(Break::Silent),
                Ok(Err(why)) => return StreamEnd::Broken(why),
                Ok(Ok(Record::Heartbeat)) => continue,
                Ok(Ok(Record::Unknown(number))) => {
                    tracing::debug!(number, "skipping an event of an unknown type");
                    continue;
                }
                Ok(Ok(Record::Event(Event::Refused(reason)))) => {
                    return StreamEnd::Refused(reason);
                }
                Ok(Ok(Record::Event(event))) => event,
                Ok(Ok(Record::Subscribed(subscribed))) => {
                    silence_max = silence(&subscribed);
                    self.subscribed(leader, stream_id.clone(), subscribed)
                }
            };
            if self.events.send(event).await.is_err() {
                return StreamEnd::Broken(Break::Closed);
            }
        }
    }

    fn subscribed(
        &mut self,
        leader: &Leader,
        stream_id: String,
        subscribed: event::Subscribed,
    ) -> Event {
        let framework_id = subscribed.framework_id;
        let resumed = self.framework_id.replace(framework_id.clone()).is_some();
        self.generation += 1;
        self.masters.leader_works();
        // Calls work from here on, so that they do when the framework reads the event.
        self.session.up(Live {
            generation: self.generation,
            leader: leader.address.clone(),
            stream_id,
            framework_id: framework_id.clone(),
        });
        tracing::info!(
            framework_id = %framework_id.value,
            master = %leader.address,
            resumed,
            "subscribed"
        );
        Event::Subscribed {
            framework_id,
            master: leader.address.clone(),
            resumed,
        }
    }
}

fn silence(subscribed: &event::Subscribed) -> Duration {
    let interval = subscribed
        .heartbeat_interval_seconds
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(HEARTBEAT_INTERVAL_SECONDS)
        .clamp(
            HEARTBEAT_INTERVAL_SECONDS_MIN,
            HEARTBEAT_INTERVAL_SECONDS_MAX,
        );
    Duration::from_secs_f64(interval * HEARTBEATS_MISSED_MAX)
}

fn for_now(error: RequestError) -> NotSubscribed {
    NotSubscribed::ForNow(error.to_string())
}

/// Waits until some master names a leader of a later term.
async fn newer_leader(masters: Masters, current: Leader) -> Leader {
    let mut turn = 0;
    loop {
        sleep(LEADER_CHECK_INTERVAL).await;
        if let Some(leader) = masters.newer_than(&current, turn).await {
            return leader;
        }
        turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_dead_after_three_intervals_within_bounds() {
        let told = |seconds| {
            silence(&event::Subscribed {
                heartbeat_interval_seconds: seconds,
                ..event::Subscribed::default()
            })
        };
        assert_eq!(told(Some(2.0)), Duration::from_secs(6));
        assert_eq!(told(None), Duration::from_secs(45));
        assert_eq!(told(Some(f64::NAN)), Duration::from_secs(45));
        assert_eq!(told(Some(-1.0)), Duration::from_millis(300));
    }
}

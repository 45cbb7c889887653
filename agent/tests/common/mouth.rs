//! Speaks the executor API for an executor whose process only sleeps.

use bytes::Bytes;
use regency_wire::v1::executor::event::Type;
use regency_wire::v1::executor::{Call, Event, call};
use regency_wire::{ContentType, decode, encode, recordio, v1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::agent::Agent;
use super::master::{FRAMEWORK, Master};

/// An open subscription.
pub(crate) struct Subscription {
    stream: TcpStream,
    raw: Vec<u8>,
    records: recordio::Decoder,
    content: ContentType,
}

/// A call of `executor` with nothing in it.
pub(crate) fn call(executor: &str, call_type: call::Type) -> Call {
    Call {
        executor_id: v1::ExecutorId {
            value: executor.to_owned(),
        },
        framework_id: v1::FrameworkId {
            value: FRAMEWORK.to_owned(),
        },
        r#type: Some(call_type as i32),
        ..Call::default()
    }
}

/// An update as an executor makes it.
pub(crate) fn update(executor: &str, task: &str, uuid: u8, state: v1::TaskState) -> Call {
    Call {
        update: Some(call::Update {
            status: status(task, uuid, state),
        }),
        ..call(executor, call::Type::Update)
    }
}

pub(crate) fn status(task: &str, uuid: u8, state: v1::TaskState) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: v1::TaskId {
            value: task.to_owned(),
        },
        state: state as i32,
        source: Some(v1::task_status::Source::Executor as i32),
        uuid: Some(Bytes::from(vec![uuid; 16])),
        data: Some(Bytes::from_static(b"data of the executor")),
        ..v1::TaskStatus::default()
    }
}

/// A task as a subscription names it.
pub(crate) fn task(id: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: id.to_owned(),
        task_id: v1::TaskId {
            value: id.to_owned(),
        },
        ..v1::TaskInfo::default()
    }
}

async fn open(
    agent: &Agent,
    master: &Master,
    call: &Call,
    content: ContentType,
    path: &str,
) -> TcpStream {
    let address = agent.address(master).await;
    let mut stream = TcpStream::connect(address).await.expect("a listener");
    let body = encode(content, call);
    let media = content.media_type();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: agent\r\nContent-Type: {media}\r\nAccept: {media}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("connected");
    stream.write_all(&body).await.expect("connected");
    stream
}

/// Status and text of the answer to a call.
pub(crate) async fn post(agent: &Agent, master: &Master, call: &Call) -> (u16, String) {
    let path = "/slave(1)/api/v1/executor";
    let mut stream = open(agent, master, call, ContentType::Json, path).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Subscribes; fails the test when that is refused.
pub(crate) async fn subscribe(
    agent: &Agent,
    master: &Master,
    executor: &str,
    content: ContentType,
    subscribe: call::Subscribe,
) -> Subscription {
    let call = Call {
        subscribe: Some(subscribe),
        ..call(executor, call::Type::Subscribe)
    };
    let stream = open(agent, master, &call, content, "/api/v1/executor").await;
    let mut subscription = Subscription {
        stream,
        raw: Vec::new(),
        records: recordio::Decoder::new(1 << 20),
        content,
    };
    let head = loop {
        if let Some(end) = find(&subscription.raw, b"\r\n\r\n") {
            break String::from_utf8_lossy(&subscription.raw.drain(..end + 4).collect::<Vec<_>>())
                .into_owned();
        }
        assert!(subscription.read().await, "the stream ended");
    };
    assert!(head.contains(" 200 "), "{head}");
    let rest = std::mem::take(&mut subscription.raw);
    subscription.records.feed(&rest);
    subscription
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|part| part == what)
}

impl Subscription {
    async fn read(&mut self) -> bool {
        let mut piece = [0; 4096];
        let read = self.stream.read(&mut piece);
        let n = tokio::time::timeout(super::PATIENCE, read).await;
        let n = n.expect("something in time").unwrap_or(0);
        self.raw.extend_from_slice(&piece[..n]);
        n > 0
    }

    /// The next event; `None` when the stream ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(record) = self.records.next_record().expect("records") {
                return Some(decode(self.content, &record).expect("an event"));
            }
            if !self.read().await {
                return None;
            }
            let piece = std::mem::take(&mut self.raw);
            self.records.feed(&piece);
        }
    }

    /// The next event, which must be of that type.
    pub(crate) async fn expect(&mut self, wanted: Type) -> Event {
        let event = self.next().await.expect("the stream goes on");
        assert_eq!(event.r#type(), wanted, "{event:?}");
        event
    }
}

//! A master that does what a test says, on loopback.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regency_client::v1::scheduler::{Call, Event};
use regency_client::v1::{FrameworkId, MasterInfo};
use regency_wire::recordio::frame;
use regency_wire::{ContentType, decode, encode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the master is.
#[derive(Clone)]
pub(crate) enum Part {
    Leader { term: u64 },
    Follower { term: u64, leader: Option<String> },
}

/// A call that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) call: Call,
    pub(crate) stream_id: Option<String>,
}

struct Script {
    part: Part,
    /// Status lines and bodies for calls to come; 202 when empty.
    replies: VecDeque<(&'static str, String)>,
    heartbeat_interval_seconds: f64,
    /// One per open stream.
    streams: Vec<mpsc::UnboundedSender<Event>>,
    subscriptions: u64,
}

pub(crate) struct FakeMaster {
    pub(crate) address: String,
    script: Arc<Mutex<Script>>,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    kill: watch::Sender<bool>,
}

impl FakeMaster {
    pub(crate) async fn start(part: Part) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Mutex::new(Script {
            part,
            replies: VecDeque::new(),
            heartbeat_interval_seconds: 15.0,
            streams: Vec::new(),
            subscriptions: 0,
        }));
        let (sender, arrived) = mpsc::unbounded_channel();
        let (kill, mut killed) = watch::channel(false);
        let shared = Arc::clone(&script);
        tokio::spawn(async move {
            // Dropped with the listener when killed: connections are reset in the middle.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        connections.spawn(serve(stream, Arc::clone(&shared), sender.clone()));
                    }
                    _ = killed.changed() => return,
                }
            }
        });
        Self {
            address,
            script,
            arrived,
            kill,
        }
    }

    /// Ends the listener and all connections.
    pub(crate) fn kill(&self) {
        self.kill.send_replace(true);
    }

    pub(crate) fn become_part(&self, part: Part) {
        self.script.lock().unwrap().part = part;
    }

    pub(crate) fn reply_next(&self, status: &'static str, body: &str) {
        let mut script = self.script.lock().unwrap();
        script.replies.push_back((status, body.to_owned()));
    }

    pub(crate) fn heartbeat_every(&self, seconds: f64) {
        self.script.lock().unwrap().heartbeat_interval_seconds = seconds;
    }

    pub(crate) fn send(&self, event: Event) {
        let script = self.script.lock().unwrap();
        script.streams.last().unwrap().send(event).unwrap();
    }

    /// The next call other than those already taken.
    pub(crate) async fn next_call(&mut self) -> Arrived {
        tokio::time::timeout(PATIENCE, self.arrived.recv())
            .await
            .expect("a call should arrive")
            .expect("the master is alive")
    }

    /// What arrived and was not taken.
    pub(crate) fn calls_left(&mut self) -> Vec<Arrived> {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).collect()
    }
}

async fn serve(
    stream: TcpStream,
    script: Arc<Mutex<Script>>,
    arrived: mpsc::UnboundedSender<Arrived>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await {
        if request.line.starts_with("GET /regency/status ") {
            let body = status_of(&script.lock().unwrap().part);
            answer(&mut stream, "200 OK", &body).await;
            continue;
        }
        let redirect = match &script.lock().unwrap().part {
            Part::Leader { .. } => None,
            Part::Follower { leader, .. } => Some(leader.clone()),
        };
        match redirect {
            None => {}
            Some(Some(leader)) => {
                let head = format!(
                    "HTTP/1.1 307 Temporary Redirect\r\nLocation: //{leader}/api/v1/scheduler\r\nContent-Length: 0\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                continue;
            }
            Some(None) => {
                answer(&mut stream, "503 Service Unavailable", "No leader elected").await;
                continue;
            }
        }
        let content_type = match request.header("content-type") {
            Some("application/json") => ContentType::Json,
            _ => ContentType::Protobuf,
        };
        let call: Call = decode(content_type, &request.body).expect("a call");
        let subscribe = call.subscribe.is_some();
        let framework_id = call.framework_id.clone();
        arrived
            .send(Arrived {
                call,
                stream_id: request.header("mesos-stream-id").map(str::to_owned),
            })
            .ok();
        if subscribe {
            return run_stream(stream, content_type, framework_id, script).await;
        }
        let reply = script.lock().unwrap().replies.pop_front();
        let (status, body) = reply.unwrap_or(("202 Accepted", String::new()));
        answer(&mut stream, status, &body).await;
    }
}

async fn run_stream(
    mut stream: BufReader<TcpStream>,
    content_type: ContentType,
    framework_id: Option<FrameworkId>,
    script: Arc<Mutex<Script>>,
) {
    let (sender, mut events) = mpsc::unbounded_channel();
    let framework_id = framework_id.unwrap_or(FrameworkId {
        value: "framework-0".into(),
    });
    let mut subscribed = Event::subscribed(framework_id, MasterInfo::default());
    let stream_id = {
        let mut script = script.lock().unwrap();
        if let Some(part) = subscribed.subscribed.as_mut() {
            part.heartbeat_interval_seconds = Some(script.heartbeat_interval_seconds);
        }
        sender.send(subscribed).unwrap();
        sender.send(Event::heartbeat()).unwrap();
        script.streams.push(sender);
        script.subscriptions += 1;
        format!("stream-{}", script.subscriptions)
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: {stream_id}\r\nContent-Type: {}\r\n\r\n",
        content_type.media_type()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    while let Some(event) = events.recv().await {
        let record = frame(&encode(content_type, &event));
        let chunk = [
            format!("{:x}\r\n", record.len()).as_bytes(),
            &record,
            b"\r\n",
        ]
        .concat();
        if stream.write_all(&chunk).await.is_err() {
            return;
        }
    }
}

fn status_of(part: &Part) -> String {
    match part {
        Part::Leader { term } => {
            format!(r#"{{"node_id":1,"term":{term},"role":"leader","serving":true,"leader":null}}"#)
        }
        Part::Follower { term, leader } => {
            let leader = leader.as_ref().map_or("null".to_owned(), |address| {
                format!(r#"{{"id":1,"http":"{address}"}}"#)
            });
            format!(r#"{{"node_id":2,"term":{term},"role":"follower","leader":{leader}}}"#)
        }
    }
}

async fn answer(stream: &mut BufReader<TcpStream>, status: &str, body: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // The client may have gone away; that is its right.
    stream.write_all(text.as_bytes()).await.ok();
}

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        line,
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length");
    request.body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

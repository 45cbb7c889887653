//! The facade over real sockets, byte by byte. A client of somebody else talks to it in the tests of
//! real processes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use regency_zookeeper::{Limits, Shown, Source, View, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

const CHILDREN: i32 = 8;
const SYNC: i32 = 9;
const CLOSE: i32 = -11;

#[derive(Clone)]
struct Fake(watch::Receiver<Shown>);

impl Source for Fake {
    fn shown(&self) -> watch::Receiver<Shown> {
        self.0.clone()
    }

    async fn barrier(&self) -> bool {
        self.0.borrow().leads
    }
}

fn view(term: u64) -> View {
    View {
        term,
        elected_ms: 1,
        master_info: Bytes::from_static(b"{}"),
    }
}

fn shown(term: u64) -> Shown {
    Shown {
        view: Some(view(term)),
        unsure_since: None,
        leads: false,
    }
}

struct Facade {
    at: SocketAddr,
    publish: watch::Sender<Shown>,
    _stop: watch::Sender<bool>,
}

async fn facade(first: Shown) -> Facade {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let (publish, shown) = watch::channel(first);
    let (stop, stopped) = watch::channel(false);
    let limits = Limits {
        connections: 2,
        watches: 3,
        request_bytes: 512,
    };
    let path = "/mesos".parse().expect("a path");
    tokio::spawn(serve(listener, Fake(shown), path, limits, stopped));
    Facade {
        at,
        publish,
        _stop: stop,
    }
}

struct Client(TcpStream);

impl Client {
    async fn to(facade: &Facade) -> Self {
        Self(TcpStream::connect(facade.at).await.expect("connected"))
    }

    /// Begins a session; gives its id and password.
    async fn begin(&mut self, last_zxid: i64, session: i64, password: &[u8]) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        frame.put_i32(0);
        frame.put_i64(last_zxid);
        frame.put_i32(10_000);
        frame.put_i64(session);
        frame.put_i32(i32::try_from(password.len()).expect("short"));
        frame.put_slice(password);
        self.send(&frame).await;
        self.receive().await.map(|frame| frame[8..].to_vec())
    }

    async fn send(&mut self, frame: &[u8]) {
        let mut bytes = Vec::new();
        bytes.put_u32(u32::try_from(frame.len()).expect("short"));
        bytes.put_slice(frame);
        self.0.write_all(&bytes).await.expect("sent");
    }

    /// Asks something about a path.
    async fn ask(&mut self, xid: i32, kind: i32, path: &str) {
        let mut frame = Vec::new();
        frame.put_i32(xid);
        frame.put_i32(kind);
        frame.put_i32(i32::try_from(path.len()).expect("short"));
        frame.put_slice(path.as_bytes());
        frame.put_u8(1);
        self.send(&frame).await;
    }

    /// The next frame; `None` when the other side has closed.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        let receiving = async {
            let length = self.0.read_u32().await.ok()?;
            let mut frame = vec![0; usize::try_from(length).expect("short")];
            self.0.read_exact(&mut frame).await.ok()?;
            Some(frame)
        };
        tokio::time::timeout(Duration::from_secs(20), receiving)
            .await
            .expect("an answer or the end")
    }
}

fn xid(frame: &[u8]) -> i32 {
    i32::from_be_bytes(frame[..4].try_into().expect("a header"))
}

fn contains(frame: &[u8], text: &str) -> bool {
    frame
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn a_client_finds_the_leader_and_is_told_of_the_next() {
    let facade = facade(shown(4)).await;
    let mut client = Client::to(&facade).await;
    client.begin(0, 0, &[0; 16]).await.expect("a session");
    client.ask(1, CHILDREN, "/mesos").await;
    let children = client.receive().await.expect("served");
    assert_eq!(xid(&children), 1);
    assert!(contains(&children, "json.info_0000000004"));
    facade.publish.send_replace(shown(6));
    let event = client.receive().await.expect("served");
    assert_eq!(xid(&event), -1);
    assert!(contains(&event, "/mesos"));
    client.ask(2, CHILDREN, "/mesos").await;
    let children = client.receive().await.expect("served");
    assert!(contains(&children, "json.info_0000000006"));
    client.ask(3, CLOSE, "").await;
    assert_eq!(xid(&client.receive().await.expect("a farewell")), 3);
    assert_eq!(client.receive().await, None);
}

#[tokio::test]
async fn a_session_of_another_master_is_taken_as_it_is() {
    let facade = facade(shown(4)).await;
    let mut client = Client::to(&facade).await;
    let echoed = client.begin(4, 0x1234, &[7; 16]).await.expect("a session");
    let mut expected = Vec::new();
    expected.put_i64(0x1234);
    expected.put_i32(16);
    expected.put_slice(&[7; 16]);
    assert_eq!(echoed, expected);
    let mut ahead = Client::to(&facade).await;
    assert_eq!(
        ahead.begin(5, 0x1234, &[7; 16]).await,
        None,
        "it saw term 5"
    );
}

#[tokio::test]
async fn nobody_is_served_before_the_first_leader_nor_long_after_the_last() {
    let facade = facade(Shown::default()).await;
    let begin = async |facade: &Facade| {
        let mut client = Client::to(facade).await;
        let begun = client.begin(0, 0, &[0; 16]).await.is_some();
        (client, begun)
    };
    assert!(!begin(&facade).await.1);
    let lost = |ago| Shown {
        unsure_since: Some(Instant::now() - Duration::from_secs(ago)),
        ..shown(2)
    };
    facade.publish.send_replace(lost(1));
    let (mut client, begun) = begin(&facade).await;
    assert!(begun, "half a session is 5 s");
    facade.publish.send_replace(lost(6));
    assert_eq!(client.receive().await, None, "it is closed");
    assert!(!begin(&facade).await.1);
    facade.publish.send_replace(shown(3));
    assert!(begin(&facade).await.1);
}

#[tokio::test]
async fn a_sync_that_cannot_be_had_is_not_answered() {
    let facade = facade(shown(1)).await;
    let mut client = Client::to(&facade).await;
    client.begin(0, 0, &[0; 16]).await.expect("a session");
    facade.publish.send_modify(|shown| shown.leads = true);
    client.ask(1, SYNC, "/mesos").await;
    assert!(contains(&client.receive().await.expect("served"), "/mesos"));
    facade.publish.send_modify(|shown| shown.leads = false);
    client.ask(2, SYNC, "/mesos").await;
    assert_eq!(client.receive().await, None);
}

#[tokio::test]
async fn connections_and_requests_are_bounded() {
    let facade = facade(shown(1)).await;
    let mut large = Client::to(&facade).await;
    large.begin(0, 0, &[0; 16]).await.expect("a session");
    large.ask(1, CHILDREN, &"/x".repeat(300)).await;
    assert_eq!(large.receive().await, None, "600 bytes are too many");
    let mut some = Vec::new();
    for _ in 0..2 {
        let mut client = Client::to(&facade).await;
        // The place of one that just ended is free a moment later.
        while client.begin(0, 0, &[0; 16]).await.is_none() {
            client = Client::to(&facade).await;
        }
        some.push(client);
    }
    let mut third = Client::to(&facade).await;
    assert!(matches!(third.0.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn words_of_four_letters_are_answered() {
    let facade = facade(shown(9)).await;
    let mut client = Client::to(&facade).await;
    client.0.write_all(b"srvr").await.expect("sent");
    let mut text = String::new();
    client.0.read_to_string(&mut text).await.expect("text");
    assert!(text.contains("Mode: follower\n"), "{text}");
    assert!(text.contains("Connections: 1\n"), "{text}");
}

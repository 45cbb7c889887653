//! Connections of clients: time-outs and bounds.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use metrics::{counter, gauge};
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::{Framed, FramedParts, LengthDelimitedCodec};

use crate::metrics::{CLOSED, CONNECTIONS, REASON, REQUESTS};
use crate::protocol::{Connect, PASSWORD_BYTES, Request};
use crate::session::Session;
use crate::tree::{BasePath, View};
use crate::words::{self, Facts};

/// Session timeouts that are granted: what ZooKeeper grants by default.
const SESSION_MS: std::ops::RangeInclusive<i32> = 4_000..=40_000;
/// How long a new connection may take to say what it wants.
const GREETING: Duration = Duration::from_secs(10);
/// How long a client may take to make room for an answer.
const SENDING: Duration = Duration::from_secs(4);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is shown at one moment.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The newest leader this master knows of. `None` before the first: nobody is served then. Its
    /// term never goes back.
    pub view: Option<View>,
    /// Since when it has not been known whether that one still leads.
    pub unsure_since: Option<Instant>,
    /// Whether this master leads.
    pub leads: bool,
}

/// Where the facade learns what to show.
pub trait Source: Clone + Send + Sync + 'static {
    /// What is shown, and each change of it.
    fn shown(&self) -> watch::Receiver<Shown>;

    /// Waits until everything that was committed anywhere before the call is shown here; `false`
    /// when that cannot be had.
    fn barrier(&self) -> impl Future<Output = bool> + Send;
}

/// What bounds memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; further ones are closed.
    pub connections: usize,
    /// Watches of each kind for each connection.
    pub watches: usize,
    /// Bytes of a request.
    pub request_bytes: usize,
}

/// Shared by all connections.
#[derive(Debug)]
struct Facade<S> {
    source: S,
    base: BasePath,
    limits: Limits,
    room: Arc<Semaphore>,
    received: AtomicU64,
    sent: AtomicU64,
}

/// Serves until `stop` is true, or its sender is gone.
pub async fn serve<S: Source>(
    listener: TcpListener,
    source: S,
    base: BasePath,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let facade = Arc::new(Facade {
        source,
        base,
        limits,
        room: Arc::new(Semaphore::new(limits.connections)),
        received: AtomicU64::new(0),
        sent: AtomicU64::new(0),
    });
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of a ZooKeeper client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => return,
        };
        let Ok(permit) = Arc::clone(&facade.room).try_acquire_owned() else {
            closed(&Close::TooManyConnections);
            continue;
        };
        // Small answers must not wait for each other; a failure only makes them slower.
        let _ = stream.set_nodelay(true);
        let facade = Arc::clone(&facade);
        let mut stop = stop.clone();
        tokio::spawn(async move {
            gauge!(CONNECTIONS).increment(1);
            let end = tokio::select! {
                end = facade.connection(stream) => end,
                () = stopped(&mut stop) => Ok(()),
            };
            gauge!(CONNECTIONS).decrement(1);
            if let Err(reason) = end {
                closed(&reason);
            }
            drop(permit);
        });
    }
}

/// Completes when the server is to stop; also when whoever would say so is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Why a connection ended that the client did not end.
#[derive(Debug, thiserror::Error)]
enum Close {
    #[error("too many connections")]
    TooManyConnections,
    #[error("more watches than one client may have")]
    TooManyWatches,
    #[error("malformed request: {0}")]
    Malformed(String),
    #[error("nothing heard for its session timeout")]
    Silent,
    #[error("it has seen a newer leader than this master")]
    Ahead,
    #[error("no leader is known")]
    NoLeader,
    /// The client went away, in whatever manner.
    #[error("{0}")]
    Gone(io::Error),
}

impl Close {
    fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyWatches => "too_many_watches",
            Self::Malformed(_) => "malformed",
            Self::Silent => "silent",
            Self::Ahead => "ahead",
            Self::NoLeader => "no_leader",
            Self::Gone(_) => return None,
        })
    }
}

impl From<io::Error> for Close {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A frame that is too long.
            io::ErrorKind::InvalidData => Self::Malformed(error.to_string()),
            _ => Self::Gone(error),
        }
    }
}

impl From<crate::jute::Malformed> for Close {
    fn from(error: crate::jute::Malformed) -> Self {
        Self::Malformed(error.to_string())
    }
}

fn closed(close: &Close) {
    let Some(reason) = close.reason() else {
        return;
    };
    tracing::debug!(reason = %close, "closed the connection of a ZooKeeper client");
    counter!(CLOSED, REASON => reason).increment(1);
}

type Frames = Framed<TcpStream, LengthDelimitedCodec>;

impl<S: Source> Facade<S> {
    async fn connection(&self, mut stream: TcpStream) -> Result<(), Close> {
        let mut first = [0; 4];
        match timeout(GREETING, stream.read_exact(&mut first)).await {
            Ok(read) => read?,
            Err(_) => return Err(Close::Silent),
        };
        let shown = self.source.shown().borrow().clone();
        if let Some(text) = words::answer(first, &self.facts(&shown)) {
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await?;
            return Ok(());
        }
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(self.limits.request_bytes)
            .new_codec();
        let mut parts = FramedParts::new::<Bytes>(stream, codec);
        parts.read_buf.extend_from_slice(&first);
        let mut frames = Framed::from_parts(parts);
        let connect = match timeout(GREETING, frames.next()).await {
            Ok(Some(frame)) => Connect::decode(&frame?)?,
            Ok(None) => return Ok(()),
            Err(_) => return Err(Close::Silent),
        };
        self.session(frames, &connect).await
    }

    fn facts<'a>(&'a self, shown: &'a Shown) -> Facts<'a> {
        Facts {
            view: shown.view.as_ref(),
            base: &self.base,
            leads: shown.leads,
            connections: self.limits.connections - self.room.available_permits(),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        }
    }

    async fn session(&self, mut frames: Frames, connect: &Connect) -> Result<(), Close> {
        let timeout_ms = connect
            .timeout_ms
            .clamp(*SESSION_MS.start(), *SESSION_MS.end());
        let session_timeout = Duration::from_millis(timeout_ms.unsigned_abs().into());
        let mut changes = self.source.shown();
        let shown = changes.borrow_and_update().clone();
        let view = shown.view.ok_or(Close::NoLeader)?;
        if connect.last_zxid > view.zxid() {
            return Err(Close::Ahead);
        }
        let lost = |since: Option<Instant>| since.map(|since| since + session_timeout / 2);
        let mut give_up = lost(shown.unsure_since);
        if give_up.is_some_and(|at| at <= Instant::now()) {
            return Err(Close::NoLeader);
        }
        // Nothing belongs to a session here, so one that another server gave is as good.
        let (session, password) = match connect.session {
            0 => {
                let mut random = rand::rng();
                let password: [u8; PASSWORD_BYTES] = random.random();
                (random.random_range(1..i64::MAX), password.to_vec())
            }
            known => (known, connect.password.clone()),
        };
        let accepted = connect.accepted(session, &password, timeout_ms);
        self.send(&mut frames, vec![accepted]).await?;

        let mut session = Session::new(self.base.clone(), view, self.limits.watches);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                frame = frames.next() => {
                    let Some(frame) = frame else { return Ok(()) };
                    heard = Instant::now();
                    let last = self.answer(&mut frames, &mut session, &changes, &frame?).await?;
                    if last {
                        return Ok(());
                    }
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let shown = changes.borrow_and_update().clone();
                    give_up = lost(shown.unsure_since);
                    if let Some(view) = &shown.view {
                        let events = session.see(view);
                        self.send(&mut frames, events).await?;
                    }
                }
                () = sleep_until(heard + session_timeout) => return Err(Close::Silent),
                () = sleep_until(give_up.unwrap_or(heard)), if give_up.is_some() => {
                    return Err(Close::NoLeader);
                }
            }
        }
    }

    /// Answers one request; `true` when it was the last.
    async fn answer(
        &self,
        frames: &mut Frames,
        session: &mut Session,
        changes: &watch::Receiver<Shown>,
        frame: &BytesMut,
    ) -> Result<bool, Close> {
        self.received.fetch_add(1, Ordering::Relaxed);
        counter!(REQUESTS).increment(1);
        let (xid, request) = Request::decode(frame)?;
        if matches!(request, Request::Sync { .. }) && !self.source.barrier().await {
            return Err(Close::NoLeader);
        }
        let now = changes.borrow().view.clone();
        let mut out = now.map_or_else(Vec::new, |view| session.see(&view));
        let answered = session.answer(xid, &request);
        out.extend(answered.map_err(|_| Close::TooManyWatches)?);
        self.send(frames, out).await?;
        Ok(request == Request::CloseSession)
    }

    async fn send(&self, frames: &mut Frames, out: Vec<Vec<u8>>) -> Result<(), Close> {
        let n = u64::try_from(out.len()).unwrap_or(u64::MAX);
        let sending = async {
            for frame in out {
                frames.feed(Bytes::from(frame)).await?;
            }
            SinkExt::<Bytes>::flush(frames).await
        };
        timeout(SENDING, sending)
            .await
            .map_err(|_| Close::Silent)??;
        self.sent.fetch_add(n, Ordering::Relaxed);
        Ok(())
    }
}

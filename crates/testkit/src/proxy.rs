//! A link between two processes that a test can break: a TCP proxy in front of one address.
//!
//! A link has one direction: from whoever connects to the address behind it. What comes back on
//! these connections belongs to it. Cutting two members from each other takes the links of both
//! directions.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Largest piece that is passed on at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that one direction of a connection may hold; then its sender has to wait, as it would
/// for a full window.
const PIECES_MAX: usize = 256;
/// Pause between attempts to listen again on a port that somebody else may still hold.
const LISTEN_RETRY: Duration = Duration::from_millis(5);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// What happens to bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Healed,
    Cut,
    BlackHole,
    Refusing,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections that were made before the last change of this number are reset.
    resets: u64,
    delay: Duration,
}

/// The proxy. It begins healed; dropping it resets its connections and closes its port.
///
/// What it cannot imitate: when the address behind it refuses a connection, the client sees one
/// that opens and is reset at once.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    carried_bytes: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free loopback port for what goes to `target`. Has to be called within a tokio
    /// runtime, which then does the work.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(State {
            mode: Mode::Healed,
            resets: 0,
            delay: Duration::ZERO,
        });
        let carried_bytes = Arc::<AtomicU64>::default();
        let carried = Arc::clone(&carried_bytes);
        tokio::spawn(serve(address, target, listener, seen, carried));
        Ok(Self {
            address,
            state,
            carried_bytes,
        })
    }

    /// Where clients connect to. Stays the same.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes passed on so far to the address behind it, on all connections.
    #[must_use]
    pub fn carried_bytes(&self) -> u64 {
        self.carried_bytes.load(Ordering::Relaxed)
    }

    /// Everything passes again. Connections that survived go on, with what they held back.
    pub fn heal(&self) {
        self.set(Mode::Healed);
    }

    /// Closes connections in order, and closes each new one at once.
    pub fn cut(&self) {
        self.set(Mode::Cut);
    }

    /// Passes nothing on in either direction, and says nothing: neither an end nor a reset. New
    /// connections open and stay silent.
    pub fn black_hole(&self) {
        self.set(Mode::BlackHole);
    }

    /// Resets all connections, and has new ones refused by the kernel.
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.mode = Mode::Refusing;
            state.resets += 1;
        });
    }

    /// Resets all present connections, once; new ones are treated as before.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Each byte is passed on this much later, in each direction. Zero at first.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Reset and closed connections of the past must not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(
    address: SocketAddr,
    target: SocketAddr,
    listener: TcpListener,
    mut state: watch::Receiver<State>,
    carried: Arc<AtomicU64>,
) {
    let mut listener = Some(listener);
    loop {
        let refusing = state.borrow_and_update().mode == Mode::Refusing;
        if refusing {
            listener = None;
        } else if listener.is_none() {
            match listen(address) {
                Ok(again) => listener = Some(again),
                Err(_) => {
                    tokio::time::sleep(LISTEN_RETRY).await;
                    continue;
                }
            }
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(connection(client, target, state.clone(), Arc::clone(&carried)));
                }
            }
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    InOrder,
    Reset,
}

/// One connection from its beginning to its end.
async fn connection(
    mut client: TcpStream,
    target: SocketAddr,
    state: watch::Receiver<State>,
    carried: Arc<AtomicU64>,
) {
    let resets = state.borrow().resets;
    let mut server = None;
    let end = tokio::select! {
        // First, so that not a byte passes a link that is cut.
        biased;
        end = over(state.clone(), resets) => end,
        end = carry(&mut client, target, &mut server, state, &carried) => end,
    };
    if end == End::Reset {
        for stream in [Some(client), server].into_iter().flatten() {
            // Best effort: the connection may be gone.
            let _ = stream.set_zero_linger();
        }
    }
}

/// Waits until the test ends this connection.
async fn over(mut state: watch::Receiver<State>, resets: u64) -> End {
    let closed = |state: &State| state.mode == Mode::Cut || state.resets != resets;
    match state.wait_for(closed).await {
        Ok(state) if state.resets == resets => End::InOrder,
        // Without a proxy there is no connection either.
        Ok(_) | Err(_) => End::Reset,
    }
}

/// Waits until something may pass.
async fn open(state: &mut watch::Receiver<State>) {
    if state
        .wait_for(|state| state.mode == Mode::Healed)
        .await
        .is_err()
    {
        // The proxy is gone, and `over` ends everything.
        std::future::pending::<()>().await;
    }
}

/// Carries a connection until both sides ended it or one broke it.
async fn carry(
    client: &mut TcpStream,
    target: SocketAddr,
    server: &mut Option<TcpStream>,
    mut state: watch::Receiver<State>,
    carried: &AtomicU64,
) -> End {
    open(&mut state).await;
    let Ok(connected) = TcpStream::connect(target).await else {
        return End::Reset;
    };
    let server = server.insert(connected);
    for stream in [&*client, &*server] {
        // Best effort: it is only faster with it.
        let _ = stream.set_nodelay(true);
    }
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let there = pump(client_read, server_write, state.clone(), carried);
    let back = AtomicU64::new(0);
    let back = pump(server_read, client_write, state, &back);
    match tokio::try_join!(there, back) {
        Ok(_) => End::InOrder,
        Err(_) => End::Reset,
    }
}

/// Passes on what one side says, until it says no more.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    carried: &AtomicU64,
) -> io::Result<()> {
    let (pieces, mut held) = mpsc::channel::<(Instant, io::Result<Bytes>)>(PIECES_MAX);
    let delays = state.clone();
    let read = async move {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            let read = from.read_buf(&mut piece).await;
            let due = Instant::now() + delays.borrow().delay;
            let last = !matches!(read, Ok(n) if n > 0);
            // Nobody takes it any more when writing failed; that ends both.
            if pieces
                .send((due, read.map(|_| piece.freeze())))
                .await
                .is_err()
                || last
            {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = held.recv().await {
            tokio::time::sleep_until(due).await;
            open(&mut state).await;
            let piece = piece?;
            if piece.is_empty() {
                break;
            }
            to.write_all(&piece).await?;
            carried.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        to.shutdown().await
    };
    tokio::pin!(write);
    tokio::select! {
        written = &mut write => return written,
        () = read => {}
    }
    write.await
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A server that says everything back, and a link to it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let target = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Proxy::start(target).expect("loopback")
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.address()).await.expect("connects")
    }

    async fn in_time<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(DEADLINE, what).await.expect("in time")
    }

    async fn says_back(stream: &mut TcpStream, word: &[u8; 4]) -> io::Result<()> {
        stream.write_all(word).await?;
        let mut answer = [0; 4];
        in_time(stream.read_exact(&mut answer)).await?;
        assert_eq!(answer, *word);
        Ok(())
    }

    /// Whether nothing comes for a while. A pause is all there is to see of silence.
    async fn silent(stream: &mut TcpStream) -> bool {
        let pause = Duration::from_millis(100);
        let read = tokio::time::timeout(pause, stream.read_u8()).await;
        read.is_err()
    }

    #[tokio::test]
    async fn a_healed_link_carries_everything_and_both_ends() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        let much: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        let (mut read, mut write) = stream.split();
        let mut answer = Vec::new();
        let sent = async {
            write.write_all(&much).await?;
            write.shutdown().await
        };
        let (sent, got) =
            in_time(async { tokio::join!(sent, read.read_to_end(&mut answer)) }).await;
        sent.expect("sent");
        got.expect("received");
        assert!(answer == much);
    }

    #[tokio::test]
    async fn a_cut_link_closes_and_a_healed_one_takes_new_connections() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        says_back(&mut stream, b"ping").await.expect("open");
        proxy.cut();
        assert_eq!(in_time(stream.read(&mut [0; 4])).await.expect("an end"), 0);
        let mut stream = connect(&proxy).await;
        assert!(says_back(&mut stream, b"ping").await.is_err());
        proxy.heal();
        let mut stream = connect(&proxy).await;
        says_back(&mut stream, b"pong").await.expect("open");
    }

    #[tokio::test]
    async fn a_black_hole_is_silent_and_gives_back_what_it_held() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        says_back(&mut stream, b"ping").await.expect("open");
        proxy.black_hole();
        let mut other = connect(&proxy).await;
        other.write_all(b"anew").await.expect("taken");
        stream.write_all(b"held").await.expect("taken");
        assert!(silent(&mut stream).await);
        assert!(silent(&mut other).await);
        proxy.heal();
        let mut answer = [0; 4];
        in_time(stream.read_exact(&mut answer)).await.expect("held");
        assert_eq!(&answer, b"held");
        in_time(other.read_exact(&mut answer)).await.expect("held");
        assert_eq!(&answer, b"anew");
    }

    #[tokio::test]
    async fn a_reset_breaks_what_is_there_and_nothing_else() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        says_back(&mut stream, b"ping").await.expect("open");
        proxy.reset();
        let error = in_time(stream.read_u8()).await.expect_err("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut stream = connect(&proxy).await;
        says_back(&mut stream, b"pong").await.expect("open");
    }

    #[tokio::test]
    async fn a_link_that_refuses_refuses_until_it_is_healed() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        says_back(&mut stream, b"ping").await.expect("open");
        proxy.refuse();
        let error = in_time(stream.read_u8()).await.expect_err("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let refused = async {
            loop {
                // The port may be open for a moment still.
                match TcpStream::connect(proxy.address()).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return,
                    Ok(_) | Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        in_time(refused).await;
        proxy.heal();
        let again = async {
            loop {
                if let Ok(mut stream) = TcpStream::connect(proxy.address()).await {
                    return says_back(&mut stream, b"pong").await;
                }
                tokio::task::yield_now().await;
            }
        };
        in_time(again).await.expect("open");
    }

    #[tokio::test]
    async fn a_delay_holds_back_each_direction() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        proxy.delay(Duration::from_millis(50));
        let begun = Instant::now();
        says_back(&mut stream, b"ping").await.expect("open");
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }
}

//! The links between masters, as proxies in this process: each master is known to the others by
//! the address of its proxy, so that what they say to each other can be lost, late, or silent.
//!
//! Who calls is told by the socket: it belongs to a process of this machine.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;

/// How much is read at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// What happens to bytes from one master to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// They arrive.
    #[default]
    Pass,
    /// They are lost, with new connections; both ends keep what they have and hear nothing.
    Lose,
    /// They arrive later by this.
    Delay(Duration),
    /// Connections are ended with the next bytes, and new ones at once.
    Reset,
}

/// How often rules struck.
#[derive(Debug, Default)]
pub struct Struck {
    /// Bytes that were lost.
    pub lost_bytes: AtomicU64,
    /// Bytes that were delayed.
    pub late_bytes: AtomicU64,
    /// Connections that were ended.
    pub resets: AtomicU64,
    /// Connections that were not let through.
    pub silenced: AtomicU64,
}

impl Struck {
    /// All of it in numbers: lost and late bytes, ended and silenced connections.
    #[must_use]
    pub fn numbers(&self) -> [u64; 4] {
        [
            self.lost_bytes.load(Relaxed),
            self.late_bytes.load(Relaxed),
            self.resets.load(Relaxed),
            self.silenced.load(Relaxed),
        ]
    }
}

type Rules = BTreeMap<(u64, u64), Rule>;

/// The links between the masters of a cluster on this machine.
#[derive(Debug, Default)]
pub struct Links {
    /// Pids of masters, to know who calls.
    pids: Mutex<BTreeMap<i32, u64>>,
    /// Rules by who sends and who is to hear it; the rest passes.
    rules: watch::Sender<Rules>,
    /// What was done.
    pub struck: Arc<Struck>,
    proxies: Mutex<Vec<JoinHandle<()>>>,
}

impl Links {
    /// Places in front of masters: listeners on free ports, and those.
    ///
    /// # Errors
    /// When there are no free ports.
    pub async fn listen() -> anyhow::Result<(TcpListener, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no port for a proxy")?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    /// Begins to hand on what comes to `listener` to a master.
    pub fn forward(self: &Arc<Self>, listener: TcpListener, to: u64, target: SocketAddr) {
        let links = Arc::clone(self);
        let proxy = tokio::spawn(async move {
            loop {
                let Ok((from, peer)) = listener.accept().await else {
                    // Out of descriptors for a moment.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let links = Arc::clone(&links);
                tokio::spawn(async move { links.carry(from, peer, to, target).await });
            }
        });
        lock(&self.proxies).push(proxy);
    }

    /// A master has this process id now.
    pub fn belongs(&self, pid: i32, master: u64) {
        let mut pids = lock(&self.pids);
        pids.retain(|_, of| *of != master);
        pids.insert(pid, master);
    }

    /// Puts rules on links, in place of those before.
    pub fn rule(&self, rules: impl IntoIterator<Item = ((u64, u64), Rule)>) {
        self.rules.send_replace(rules.into_iter().collect());
    }

    async fn carry(
        self: Arc<Self>,
        from: TcpStream,
        peer: SocketAddr,
        to: u64,
        target: SocketAddr,
    ) {
        let caller = Caller::new(Arc::clone(&self), peer);
        let mut rules = self.rules.subscribe();
        if !rules.borrow_and_update().is_empty() {
            let Some(caller) = caller.master().await else {
                // Somebody who looks whether the port is open, or is gone again.
                return;
            };
            let now = |rules: &Rules| {
                let there = rules.get(&(caller, to)).copied().unwrap_or_default();
                let back = rules.get(&(to, caller)).copied().unwrap_or_default();
                (there, back)
            };
            let rule = now(&rules.borrow());
            match rule {
                (Rule::Reset, _) | (_, Rule::Reset) => {
                    self.struck.resets.fetch_add(1, Relaxed);
                    return;
                }
                (Rule::Lose, _) | (_, Rule::Lose) => {
                    // A packet that opens a connection, or its answer, is lost. The caller waits.
                    self.struck.silenced.fetch_add(1, Relaxed);
                    let healed =
                        |rules: &Rules| !matches!(now(rules), (Rule::Lose, _) | (_, Rule::Lose));
                    if rules.wait_for(healed).await.is_err() {
                        return;
                    }
                }
                _ => {}
            }
        }
        let Ok(onward) = TcpStream::connect(target).await else {
            return;
        };
        // Small messages, each waited for.
        if from
            .set_nodelay(true)
            .and(onward.set_nodelay(true))
            .is_err()
        {
            return;
        }
        let (from_read, from_write) = from.into_split();
        let (onward_read, onward_write) = onward.into_split();
        let there = self.pump(from_read, onward_write, &caller, |caller| (caller, to));
        let back = self.pump(onward_read, from_write, &caller, |caller| (to, caller));
        // One that ends takes the other one along, as a process does that dies.
        tokio::select! {
            () = there => {}
            () = back => {}
        }
    }

    /// Hands bytes on under the rule of the moment.
    async fn pump(
        &self,
        mut read: OwnedReadHalf,
        mut write: OwnedWriteHalf,
        caller: &Caller,
        link: impl Fn(u64) -> (u64, u64),
    ) {
        let mut rules = self.rules.subscribe();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut lost = false;
        loop {
            let n = tokio::select! {
                read = read.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(n) => Some(n),
                },
                changed = rules.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return,
                },
            };
            let mut rule = Rule::Pass;
            let ruled = !rules.borrow_and_update().is_empty();
            if ruled && let Some(caller) = caller.master().await {
                rule = rules
                    .borrow()
                    .get(&link(caller))
                    .copied()
                    .unwrap_or_default();
            }
            if rule == Rule::Reset {
                self.struck.resets.fetch_add(1, Relaxed);
                return;
            }
            // Bytes are missing: as with a connection that was cut, nothing can go on.
            if lost && rule != Rule::Lose {
                return;
            }
            let Some(n) = n else {
                continue;
            };
            match rule {
                Rule::Lose => {
                    lost = true;
                    self.struck.lost_bytes.fetch_add(n as u64, Relaxed);
                    continue;
                }
                Rule::Delay(by) => {
                    self.struck.late_bytes.fetch_add(n as u64, Relaxed);
                    tokio::time::sleep(by).await;
                }
                Rule::Pass | Rule::Reset => {}
            }
            if write.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    }

    /// The master whose process has the socket at the other end.
    fn caller(&self, peer: SocketAddr) -> Option<u64> {
        let inode = inode_of(peer.port())?;
        let wanted = format!("socket:[{inode}]");
        let pids = lock(&self.pids).clone();
        pids.into_iter()
            .find(|(pid, _)| has_open(*pid, &wanted))
            .map(|(_, master)| master)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for proxy in lock(&self.proxies).iter() {
            proxy.abort();
        }
    }
}

/// Who opened a connection. That is asked once, and only when something depends on it: the system's
/// table of sockets can be long, and on a busy machine a proxy that reads it for every connection is
/// a fault of its own.
struct Caller {
    links: Arc<Links>,
    peer: SocketAddr,
    known: OnceCell<Option<u64>>,
}

impl Caller {
    fn new(links: Arc<Links>, peer: SocketAddr) -> Self {
        Self {
            links,
            peer,
            known: OnceCell::new(),
        }
    }

    /// The master; none for somebody else.
    async fn master(&self) -> Option<u64> {
        let ask = || async {
            let (links, peer) = (Arc::clone(&self.links), self.peer);
            let asked = tokio::task::spawn_blocking(move || links.caller(peer)).await;
            asked.ok().flatten()
        };
        *self.known.get_or_init(ask).await
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The inode of the socket that is bound to this port of the loopback and connected.
fn inode_of(port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let local = format!("0100007F:{port:04X}");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let found = *fields.get(1)? == local && *fields.get(3)? == "01";
        found.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

fn has_open(pid: i32, wanted: &str) -> bool {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
    open.into_iter()
        .flatten()
        .flatten()
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A master that answers what it hears, and a proxy in front of it. This process calls.
    async fn echoing() -> (Arc<Links>, SocketAddr) {
        let master = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = master.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = master.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let links = Arc::new(Links::default());
        links.belongs(i32::try_from(std::process::id()).expect("a pid"), 1);
        let (listener, port) = Links::listen().await.expect("a port");
        links.forward(listener, 2, target);
        (links, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    async fn answers(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 4];
        if stream.write_all(b"ping").await.is_err() {
            return false;
        }
        let read = stream.read_exact(&mut answer);
        let read = tokio::time::timeout(Duration::from_millis(300), read).await;
        matches!(read, Ok(Ok(_)))
    }

    #[tokio::test]
    async fn what_is_lost_one_way_is_lost_and_counted_and_a_healed_link_carries_again() {
        let (links, proxy) = echoing().await;
        let mut stream = TcpStream::connect(proxy).await.expect("a proxy");
        assert!(answers(&mut stream).await);
        assert_eq!(links.struck.numbers(), [0; 4]);

        links.rule([((2, 1), Rule::Lose)]);
        assert!(!answers(&mut stream).await);
        assert_eq!(links.struck.numbers()[0], 4, "the answer");
        let mut other = TcpStream::connect(proxy).await.expect("a proxy");
        assert!(!answers(&mut other).await, "a new one does not get through");
        assert_eq!(links.struck.numbers()[3], 1);

        links.rule([]);
        let mut fresh = TcpStream::connect(proxy).await.expect("a proxy");
        assert!(answers(&mut fresh).await);
        assert!(!answers(&mut stream).await, "bytes are missing on this one");
    }

    #[tokio::test]
    async fn connections_are_ended_and_delayed() {
        let (links, proxy) = echoing().await;
        let mut stream = TcpStream::connect(proxy).await.expect("a proxy");
        assert!(answers(&mut stream).await);
        links.rule([((1, 2), Rule::Delay(Duration::from_millis(50)))]);
        let since = std::time::Instant::now();
        assert!(answers(&mut stream).await);
        assert!(since.elapsed() >= Duration::from_millis(50));
        assert_eq!(links.struck.numbers()[1], 4);
        links.rule([((1, 2), Rule::Reset)]);
        assert!(!answers(&mut stream).await);
        assert!(links.struck.numbers()[2] >= 1);
    }
}

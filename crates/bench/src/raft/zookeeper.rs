//! ZooKeeper: how its members are started, and the least client of its protocol: sessions, nodes
//! and their values, without watches.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::client::ClientError;
use super::cluster::MEMBERS;
use super::pipe::Pipe;
use super::process::Program;

pub(crate) const JAVA: &str = "/usr/bin/java";
pub(crate) const JAR: &str = "/usr/share/java/zookeeper.jar";
pub(crate) const PACKAGE: &str = "zookeeper";

const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(2);

/// Types of requests.
const CREATE: i32 = 1;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const SYNC: i32 = 9;
const PING: i32 = 11;
/// The number that pings have instead of one of their own.
const PING_ID: u32 = -2_i32 as u32;
/// The error code of a node that exists already.
const NODE_EXISTS: i32 = -110;

/// How to start member `i`. Its configuration is written below `home`.
pub(crate) fn program(
    i: usize,
    tuned: bool,
    clients: &[SocketAddr],
    peers: &[SocketAddr],
    home: &Path,
) -> anyhow::Result<Program> {
    let data = home.join("data");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("myid"), format!("{}\n", i + 1))?;
    // Ticks, and how many of them a follower may take to join and may lag: as packaged, or the
    // shortest that ZooKeeper still runs with. A session may be as long as the client asks.
    let (tick_ms, init, sync) = if tuned { (100, 100, 5) } else { (2000, 10, 5) };
    let mut lines = vec![
        format!("tickTime={tick_ms}"),
        format!("initLimit={init}"),
        format!("syncLimit={sync}"),
        "maxSessionTimeout=40000".to_owned(),
        format!("dataDir={}", data.display()),
        format!("clientPort={}", clients[i].port()),
        "clientPortAddress=127.0.0.1".to_owned(),
        "4lw.commands.whitelist=srvr".to_owned(),
        "admin.enableServer=false".to_owned(),
    ];
    let (quorum, election) = peers.split_at(MEMBERS);
    for (n, (quorum, election)) in (1..).zip(quorum.iter().zip(election)) {
        lines.push(format!(
            "server.{n}=127.0.0.1:{}:{}",
            quorum.port(),
            election.port()
        ));
    }
    let config = home.join("zoo.cfg");
    std::fs::write(&config, lines.join("\n"))?;
    let mut args = vec!["-Xmx512m".to_owned()];
    if tuned {
        args.extend([
            "-Xms512m".to_owned(),
            "-XX:+UseParallelGC".to_owned(),
            // As many requests under way as the load has, and no snapshot during a run.
            "-Dzookeeper.globalOutstandingLimit=10000".to_owned(),
            "-Dzookeeper.snapCount=10000000".to_owned(),
        ]);
    }
    args.extend([
        "-cp".to_owned(),
        // The second is there with the package, and says why a member ended.
        format!("{JAR}:/usr/share/java/slf4j-simple.jar"),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned(),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned(),
        config.display().to_string(),
    ]);
    Ok(Program {
        file: JAVA.into(),
        args,
        log: home.join("log"),
    })
}

/// A session with one member.
#[derive(Debug)]
pub(crate) struct ZooKeeper {
    pipe: Arc<Pipe>,
    address: SocketAddr,
    pings: AbortHandle,
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.pings.abort();
    }
}

impl ZooKeeper {
    /// Begins a session, which is a committed write of its own.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        greet(&mut stream).await?;
        let pipe = Arc::new(Pipe::over(stream)?);
        let pinged = Arc::clone(&pipe);
        let pings = tokio::spawn(async move {
            let mut body = Vec::new();
            body.put_i32(PING);
            loop {
                tokio::time::sleep(PING_EVERY).await;
                if pinged.tell(PING_ID, &[&body]).await.is_err() {
                    return;
                }
            }
        })
        .abort_handle();
        Ok(Self {
            pipe,
            address,
            pings,
        })
    }

    /// Sends a request; gives the error code of the answer, 0 when all is well.
    async fn call(&self, body: &[u8]) -> Result<i32, ClientError> {
        let mut answer = self.pipe.call(&[body]).await?;
        // Before the code stands the number of the transaction.
        let code = answer.try_get_i64().and_then(|_| answer.try_get_i32());
        code.map_err(|error| ClientError::Failed(error.to_string()))
    }

    pub(crate) async fn put(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        let mut body = Vec::with_capacity(value.len() + 32);
        body.put_i32(SET_DATA);
        put_bytes(&mut body, name(key).as_bytes());
        put_bytes(&mut body, &value);
        body.put_i32(-1); // whatever its version
        well(self.call(&body).await?)
    }

    pub(crate) async fn create(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        let mut body = Vec::with_capacity(value.len() + 64);
        body.put_i32(CREATE);
        put_bytes(&mut body, name(key).as_bytes());
        put_bytes(&mut body, &value);
        // One entry: anybody may do anything.
        body.put_i32(1);
        body.put_i32(31);
        put_bytes(&mut body, b"world");
        put_bytes(&mut body, b"anyone");
        body.put_i32(0); // persistent
        match self.call(&body).await? {
            NODE_EXISTS => Ok(()),
            code => well(code),
        }
    }

    /// A read that is confirmed with a majority: after a sync with the leader.
    pub(crate) async fn read(&self) -> Result<(), ClientError> {
        let mut sync = Vec::new();
        sync.put_i32(SYNC);
        put_bytes(&mut sync, b"/");
        well(self.call(&sync).await?)?;
        let mut get = Vec::new();
        get.put_i32(GET_DATA);
        put_bytes(&mut get, b"/");
        get.put_u8(0); // no watch
        well(self.call(&get).await?)
    }

    /// Asked over a connection of its own, as ZooKeeper has it.
    pub(crate) async fn leads(&self) -> Result<bool, ClientError> {
        let asked = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(b"srvr").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            std::io::Result::Ok(text)
        };
        let text = asked
            .await
            .map_err(|e| ClientError::Failed(e.to_string()))?;
        Ok(text.lines().any(|line| line == "Mode: leader"))
    }
}

/// The exchange that begins a session.
async fn greet(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut hello = Vec::new();
    hello.put_i32(0); // version of the protocol
    hello.put_i64(0); // last transaction seen
    hello.put_i32(i32::try_from(SESSION_TIMEOUT.as_millis())?);
    hello.put_i64(0); // a new session
    put_bytes(&mut hello, &[0; 16]); // and its password
    hello.put_u8(0); // not for reading only
    stream
        .write_all(&u32::try_from(hello.len())?.to_be_bytes())
        .await?;
    stream.write_all(&hello).await?;
    let len = stream.read_u32().await?;
    anyhow::ensure!(len < 1024, "no answer of ZooKeeper: {len} bytes");
    let mut answer = vec![0; len as usize];
    stream.read_exact(&mut answer).await?;
    let mut answer = Bytes::from(answer);
    answer.try_get_i32()?;
    let granted_ms = answer.try_get_i32()?;
    anyhow::ensure!(granted_ms > 0, "ZooKeeper refused the session");
    Ok(())
}

fn name(key: u32) -> String {
    format!("/bench{key:06}")
}

fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    body.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    body.put_slice(bytes);
}

fn well(code: i32) -> Result<(), ClientError> {
    match code {
        0 => Ok(()),
        code => Err(ClientError::Failed(format!("error code {code}"))),
    }
}

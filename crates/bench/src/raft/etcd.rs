//! etcd: how its members are started, and a client of its gRPC API.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tonic::transport::{Channel, Endpoint};

use super::client::ClientError;
use super::process::Program;

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; documented in the .proto file"
)]
mod proto {
    tonic::include_proto!("etcdserverpb");
}

use proto::kv_client::KvClient;
use proto::maintenance_client::MaintenanceClient;

pub(crate) const PROGRAM: &str = "/usr/bin/etcd";
pub(crate) const PACKAGE: &str = "etcd-server";

/// Room for all the values of a long run: etcd keeps overwritten ones, and stops at 2 GiB unless
/// told otherwise.
const QUOTA_BYTES: u64 = 8 << 30;

/// How to start member `i`.
pub(crate) fn program(
    i: usize,
    tuned: bool,
    clients: &[SocketAddr],
    peers: &[SocketAddr],
    home: &Path,
) -> Program {
    let members: Vec<String> = (1..)
        .zip(peers)
        .map(|(n, peer)| format!("member{n}=http://{peer}"))
        .collect();
    let mut args = vec![
        format!("--name=member{}", i + 1),
        format!("--data-dir={}", home.join("data").display()),
        format!("--listen-client-urls=http://{}", clients[i]),
        format!("--advertise-client-urls=http://{}", clients[i]),
        format!("--listen-peer-urls=http://{}", peers[i]),
        format!("--initial-advertise-peer-urls=http://{}", peers[i]),
        format!("--initial-cluster={}", members.join(",")),
        "--initial-cluster-state=new".to_owned(),
        "--logger=zap".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--quota-backend-bytes={QUOTA_BYTES}"),
    ];
    if tuned {
        args.push("--heartbeat-interval=10".to_owned());
        args.push("--election-timeout=100".to_owned());
    }
    Program {
        file: PROGRAM.into(),
        args,
        log: home.join("log"),
    }
}

/// A connection to one member.
#[derive(Debug)]
pub(crate) struct Etcd(Channel);

impl Etcd {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .connect()
            .await?;
        Ok(Self(channel))
    }

    pub(crate) async fn put(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        let request = proto::PutRequest {
            key: name(key),
            value,
        };
        let mut client = KvClient::new(self.0.clone());
        client.put(request).await.map(drop).map_err(failed)
    }

    /// A read that is confirmed with a majority.
    pub(crate) async fn read(&self) -> Result<(), ClientError> {
        let request = proto::RangeRequest {
            key: name(0),
            serializable: false,
        };
        let mut client = KvClient::new(self.0.clone());
        client.range(request).await.map(drop).map_err(failed)
    }

    /// The number under which the others know this member.
    pub(crate) async fn id(&self) -> Result<u64, ClientError> {
        let mut client = MaintenanceClient::new(self.0.clone());
        let status = client.status(proto::StatusRequest {}).await;
        let header = status.map_err(failed)?.into_inner().header;
        let header = header.ok_or_else(|| ClientError::Failed("no header".to_owned()))?;
        Ok(header.member_id)
    }

    /// Asks the leader to hand over to another member.
    pub(crate) async fn transfer(&self, to: u64) -> Result<(), ClientError> {
        let mut client = MaintenanceClient::new(self.0.clone());
        let request = proto::MoveLeaderRequest { target_id: to };
        client.move_leader(request).await.map(drop).map_err(failed)
    }

    pub(crate) async fn leads(&self) -> Result<bool, ClientError> {
        let mut client = MaintenanceClient::new(self.0.clone());
        let status = client.status(proto::StatusRequest {}).await;
        let status = status.map_err(failed)?.into_inner();
        let own = status.header.map_or(0, |header| header.member_id);
        Ok(status.leader != 0 && status.leader == own)
    }
}

fn name(key: u32) -> Bytes {
    format!("bench/{key:06}").into_bytes().into()
}

fn failed(status: tonic::Status) -> ClientError {
    ClientError::Failed(format!("{}: {}", status.code(), status.message()))
}

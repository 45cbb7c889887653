//! Wiring: from flags to a running master.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use regency_raft_store::{Config, Consensus, Limits, LogConfig, Removed, Timing};
use regency_rpc::Listener;
use regency_rpc::proto::regency::agent::v1::agent_attachment_server::AgentAttachmentServer;
use regency_runtime::{Clock, IdMint, RandomIds, SystemClock, stop_signal};
use regency_types::NodeId;
use tokio::sync::watch;

use crate::api::operator::{EventHub, ShownFiles};
use crate::api::{self, ApiCx};
use crate::flags::MasterFlags;
use crate::leader::{LeaderConfig, supervise};
use crate::query::Identity;
use crate::rpc::AttachService;
use crate::{http_server, metrics, zk_facade};

/// Version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Threads that serve nothing but replication. What blocks or takes long there is done elsewhere or in
/// pieces; a second one would be woken up in vain with each commit (docs/adr/0022).
const RAFT_THREADS: usize = 1;
/// Threads that serve nothing but agents.
const AGENT_THREADS: usize = 1;

/// Runs a master until it is asked to stop, or cannot go on.
///
/// # Errors
/// When a flag cannot be, a port is taken, the data directory is another master's, or replication
/// stopped because of a failure.
pub async fn run(flags: MasterFlags) -> anyhow::Result<()> {
    let recorder = regency_telemetry::install_metrics()?;
    metrics::describe();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let ids: Arc<dyn IdMint> = Arc::new(RandomIds);
    let process = ids.uuid();
    let own = own_peer(&flags)?;
    let timing = flags.timing.timing()?;
    let hostname = flags.hostname.clone().unwrap_or_else(|| own.host.clone());
    let leader_config = LeaderConfig::new(&flags, allocator_options(&flags)?);
    let identity = Arc::new(Identity {
        process: uuid::Uuid::from_u128(process).to_string(),
        ip: advertised_ip(&own.host, flags.ip),
        port: own.http,
        hostname: hostname.clone(),
        version: VERSION.to_owned(),
        started: clock.wall(),
        cluster: flags.cluster.clone(),
        flags: shown_flags(&flags, &timing),
        domain: flags.domain.clone(),
    });

    let http = bind(flags.ip, flags.port, "--port")?;
    let agents = bind(flags.ip, flags.agent_port, "--agent-port")?;
    let raft = bind(flags.ip, flags.raft_port, "--raft-port")?;
    let zookeeper = match flags.zk_facade.zk_facade_port {
        Some(port) => Some(bind(flags.ip, port, "--zk-facade-port")?),
        None => None,
    };
    let config = Config {
        node: NodeId(flags.id),
        data_dir: flags.data_dir.clone(),
        listener: raft,
        hostname,
        peers: flags.peers.iter().map(crate::flags::Peer::spec).collect(),
        bootstrap: flags.bootstrap,
        process,
        version: VERSION.to_owned(),
        timing,
        log: LogConfig {
            rebuild_factor: flags.log_rebuild_factor,
            rebuild_bytes_min: flags.log_rebuild_min_bytes,
            ..flags.limits.log(flags.log_engine)
        },
        limits: Limits {
            disk_stall_max: flags.disk_stall_timeout,
            stall_abort_after: flags.stall_abort_timeout.0,
            start_abort_after: flags.start_abort_timeout.0,
            raft_nice: flags.raft_nice,
            ..flags.limits.limits()?
        },
        autopilot: flags.autopilot.config(),
        threads: RAFT_THREADS,
    };
    let consensus = Consensus::start(config, Arc::clone(&clock)).await?;

    let (current, leader) = watch::channel(None);
    let (stop, stopped) = watch::channel(false);
    let service = AttachService {
        leader: leader.clone(),
        consensus: consensus.clone(),
    };
    let agents = serve_agents(agents, service, stopped.clone())?;
    let cx = ApiCx {
        consensus: consensus.clone(),
        leader: leader.clone(),
        gate: consensus.gate(),
        identity,
        clock: Arc::clone(&clock),
        ids,
        recorder,
        max_request_bytes: flags.max_request_bytes,
        files: Arc::new(ShownFiles::of_master(flags.external_log_file.as_deref())),
        leader_age_max: timing.election_max,
    };
    let http = http
        .into_tokio()
        .context("cannot use the listener for clients")?;
    if let Some(zookeeper) = zookeeper {
        let (cx, flags) = (cx.clone(), flags.zk_facade.clone());
        zk_facade::start(zookeeper, flags, cx, stopped.clone())?;
    }
    let applied = consensus.state().get();
    let (index, state) = (applied.index, applied.state.clone());
    let events = EventHub::new(
        Arc::clone(&cx.identity),
        flags.events.limits(),
        index,
        state,
    );
    tokio::spawn(api::operator::events::follow(
        cx.clone(),
        Arc::clone(&events),
    ));
    let router = api::router(cx, events);
    let http = tokio::spawn(http_server::serve(http, router, leader, stopped));
    let supervisor = tokio::spawn(supervise(consensus.clone(), clock, leader_config, current));
    let mut autopilot = {
        let consensus = consensus.clone();
        tokio::spawn(async move { consensus.autopilot().await })
    };
    tracing::info!(node_id = flags.id, port = flags.port, "master started");

    let end = tokio::select! {
        signal = stop_signal() => {
            tracing::info!(signal = %signal.context("cannot wait for signals")?, "stopping");
            Ok(())
        }
        removed = consensus.removed() => match removed {
            Removed::Left { index } => {
                tracing::info!(
                    log_index = index,
                    "this master was removed from the cluster and stops; its data directory is of \
                     no use any more"
                );
                Ok(())
            }
            Removed::IdUsed { cluster, known } => Err(anyhow!(
                "--id {} was that of a member that was removed from cluster {cluster} (its data \
                 directory was {known}) and is never used again; start this master with an id \
                 never used before",
                flags.id
            )),
        },
        reason = consensus.halted() => Err(anyhow!("this master halted: {reason}")),
        ended = &mut autopilot => match ended {
            Ok(()) => Ok(()),
            Err(error) => Err(anyhow!(error).context("autopilot failed")),
        },
        ended = supervisor => match ended {
            Ok(()) => Ok(()),
            Err(error) => Err(anyhow!(error).context("the leader's supervisor failed")),
        },
    };
    autopilot.abort();
    // Leadership is handed over before any stream is cut.
    consensus.shutdown().await;
    stop.send_replace(true);
    let _ = http.await;
    // Its runtime ends with the process; a thread that hangs must not hold that up.
    drop(agents);
    end
}

fn own_peer(flags: &MasterFlags) -> anyhow::Result<crate::flags::Peer> {
    let own = flags.peers.iter().find(|peer| peer.id == flags.id).cloned();
    own.ok_or_else(|| {
        let ids: Vec<String> = flags.peers.iter().map(|p| p.id.to_string()).collect();
        anyhow!(
            "--id {} is not among --peers ({}); list this master there too",
            flags.id,
            ids.join(", ")
        )
    })
}

fn allocator_options(flags: &MasterFlags) -> anyhow::Result<regency_allocator::Options> {
    let sets = regency_resources::parse::quantity_sets(&flags.min_allocatable_resources)
        .with_context(|| {
            format!(
                "--min-allocatable-resources '{}'",
                flags.min_allocatable_resources
            )
        })?;
    Ok(regency_allocator::Options {
        min_allocatable: sets,
        filter_gpu_resources: flags.offers.filter_gpu_resources,
        fair_sharing_excluded: flags.offers.fair_sharing_excluded(),
    })
}

fn bind(ip: IpAddr, port: u16, flag: &str) -> anyhow::Result<Listener> {
    match Listener::bind(SocketAddr::new(ip, port)) {
        Ok(listener) => Ok(listener),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            bail!(
                "{error}: {}; choose another port with {flag}",
                cause.unwrap_or_else(|| "unknown cause".to_owned())
            )
        }
    }
}

/// The address that clients are shown: that of the advertised host where it has one.
fn advertised_ip(host: &str, listen: IpAddr) -> IpAddr {
    if let Ok(ip) = host.parse() {
        return ip;
    }
    let resolved = (host, 0)
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next());
    resolved.map_or(listen, |address| address.ip())
}

/// What `/flags` shows, under Mesos' names where it has them.
fn shown_flags(flags: &MasterFlags, timing: &Timing) -> BTreeMap<String, String> {
    let duration = |d| humantime::format_duration(d).to_string();
    let mut shown = BTreeMap::from([
        ("ip".to_owned(), flags.ip.to_string()),
        ("port".to_owned(), flags.port.to_string()),
        ("work_dir".to_owned(), flags.data_dir.display().to_string()),
        ("log_engine".to_owned(), flags.log_engine.to_string()),
        (
            "log_rebuild_factor".to_owned(),
            flags.log_rebuild_factor.to_string(),
        ),
        (
            "log_rebuild_min_bytes".to_owned(),
            flags.log_rebuild_min_bytes.to_string(),
        ),
        (
            "allocation_interval".to_owned(),
            duration(flags.allocation_interval),
        ),
        (
            "agent_ping_timeout".to_owned(),
            duration(flags.agent_ping_timeout),
        ),
        (
            "max_agent_ping_timeouts".to_owned(),
            flags.max_agent_ping_timeouts.to_string(),
        ),
        (
            "min_allocatable_resources".to_owned(),
            flags.min_allocatable_resources.clone(),
        ),
        ("timing".to_owned(), flags.timing.timing.to_string()),
        ("heartbeat_interval".to_owned(), duration(timing.heartbeat)),
        (
            "election_timeout_min".to_owned(),
            duration(timing.election_min),
        ),
        (
            "election_timeout_max".to_owned(),
            duration(timing.election_max),
        ),
        (
            "fast_election".to_owned(),
            if timing.fast_election { "on" } else { "off" }.to_owned(),
        ),
    ]);
    shown.insert(
        "disk_stall_timeout".to_owned(),
        duration(flags.disk_stall_timeout),
    );
    for (name, after) in [
        ("stall_abort_timeout", flags.stall_abort_timeout),
        ("start_abort_timeout", flags.start_abort_timeout),
    ] {
        let after = after.0.map_or_else(|| "off".to_owned(), duration);
        shown.insert(name.to_owned(), after);
    }
    shown.insert("raft_nice".to_owned(), flags.raft_nice.to_string());
    if let Some(cluster) = &flags.cluster {
        shown.insert("cluster".to_owned(), cluster.clone());
    }
    if let Some(domain) = &flags.domain {
        let json = regency_wire::encode(regency_wire::ContentType::Json, domain);
        let json = String::from_utf8_lossy(&json).into_owned();
        shown.insert("domain".to_owned(), json);
    }
    if let Some(timeout) = flags.offer_timeout {
        shown.insert("offer_timeout".to_owned(), duration(timeout));
    }
    for (name, value) in &flags.shown.0 {
        shown.entry(name.clone()).or_insert_with(|| value.clone());
    }
    shown
}

/// Serves agents on threads of their own: no flood of clients can starve a ping.
fn serve_agents(
    listener: Listener,
    service: AttachService,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(AGENT_THREADS)
        .thread_name("agents")
        .enable_all()
        .build()
        .context("cannot make the runtime that serves agents")?;
    let server = AgentAttachmentServer::new(service)
        .max_decoding_message_size(regency_rpc::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(regency_rpc::MESSAGE_BYTES_MAX);
    let thread = std::thread::Builder::new()
        .name("agents".to_owned())
        .spawn(move || {
            let routes = tonic::service::Routes::new(server);
            let served = runtime.block_on(async move {
                let over = async move {
                    // An error says that the master is gone, which is a stop as well.
                    let _ = stop.wait_for(|stop| *stop).await;
                };
                regency_rpc::serve(listener, routes, over).await
            });
            if let Err(error) = served {
                tracing::error!(%error, "agents cannot be served");
            }
        });
    thread.context("cannot start the thread that serves agents")
}

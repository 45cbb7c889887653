//! Shows the leader of the newest term to ZooKeeper clients.

use std::time::Duration;

use anyhow::Context as _;
use regency_raft_store::StateReader;
use regency_rpc::Listener;
use regency_state::State;
use regency_wire::content::{ContentType, encode};
use regency_zookeeper::{Shown, Source, View};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{ApiCx, Where};
use crate::flags::ZkFacadeFlags;
use crate::query;

/// How long a client's `sync` may take.
const BARRIER: Duration = Duration::from_secs(5);

/// What the facade is shown, and how it waits for more.
#[derive(Debug, Clone)]
struct Master {
    cx: ApiCx,
    shown: watch::Receiver<Shown>,
}

impl Source for Master {
    fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.clone()
    }

    async fn barrier(&self) -> bool {
        let barrier = tokio::time::timeout(BARRIER, self.cx.consensus.read_barrier()).await;
        let Ok(Ok(index)) = barrier else {
            return false;
        };
        // What is applied is shown a moment later.
        let term = self
            .cx
            .consensus
            .state()
            .wait_for(index, BARRIER)
            .await
            .ok()
            .and_then(|applied| term(&applied.state));
        let mut shown = self.shown.clone();
        let caught_up = shown.wait_for(|shown| shown.view.as_ref().map(|v| v.term) >= term);
        tokio::time::timeout(BARRIER, caught_up)
            .await
            .is_ok_and(|seen| seen.is_ok())
    }
}

/// Begins to serve, until `stop` is true.
///
/// # Errors
/// When the listener cannot be used.
pub(crate) fn start(
    listener: Listener,
    flags: ZkFacadeFlags,
    cx: ApiCx,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    regency_zookeeper::metrics::describe();
    let listener = listener
        .into_tokio()
        .context("cannot use the listener for ZooKeeper clients")?;
    let (publish, shown) = watch::channel(Shown::default());
    let master = Master {
        cx: cx.clone(),
        shown,
    };
    let limits = flags.limits();
    tokio::spawn(async move {
        tokio::select! {
            () = regency_zookeeper::serve(listener, master, flags.zk_facade_path, limits, stop) => {}
            () = follow(&cx, &publish) => {}
        }
    });
    Ok(())
}

/// Publishes what changes, until this master applies nothing any more.
async fn follow(cx: &ApiCx, publish: &watch::Sender<Shown>) {
    let mut states: StateReader = cx.consensus.state();
    let mut leadership = cx.consensus.leadership();
    let mut here = cx.leader.clone();
    // Contact with a leader is not published, so it is looked at now and then as well.
    let mut look = tokio::time::interval(cx.leader_age_max);
    loop {
        let applied = states.get();
        let known = cx.leader();
        publish.send_if_modified(|shown| update(shown, &applied.state, &known));
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            changed = leadership.changed() => if changed.is_err() { return },
            changed = here.changed() => if changed.is_err() { return },
            _ = look.tick() => {}
        }
    }
}

fn term(state: &State) -> Option<u64> {
    state.term().map(|record| record.term.0)
}

/// Brings what is shown up to date; tells whether that changed anything.
fn update(shown: &mut Shown, state: &State, leader: &Where) -> bool {
    let mut changed = false;
    let unsure = matches!(leader, Where::Nowhere);
    let seen = shown.view.as_ref().map(|view| view.term);
    let newer = state.term().filter(|record| Some(record.term.0) > seen);
    // A master that just started finds an old leader in its log: until somebody leads as far as it
    // knows, it shows nobody.
    if let Some(record) = newer.filter(|_| seen.is_some() || !unsure) {
        shown.view = Some(View {
            term: record.term.0,
            elected_ms: i64::try_from(record.wall.0).unwrap_or(i64::MAX),
            // Without its fault domain, which others do not know: all masters show the same.
            master_info: encode(
                ContentType::Json,
                &query::master::info(&record.master, None),
            ),
        });
        changed = true;
    }
    let leads = matches!(leader, Where::Here(_));
    changed |= leads != shown.leads;
    shown.leads = leads;
    if unsure != shown.unsure_since.is_some() {
        shown.unsure_since = unsure.then(Instant::now);
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use regency_raft_store::MasterAddress;
    use regency_types::NodeId;

    use super::*;
    use crate::query::fixture;

    fn there() -> Where {
        Where::There(MasterAddress {
            node: NodeId(2),
            hostname: "m2.example".into(),
            http: "10.0.0.2:5050".into(),
            agent: "10.0.0.2:5061".into(),
        })
    }

    #[test]
    fn a_leader_of_the_log_is_not_shown_before_one_of_today_is_known() {
        let state = fixture::Cluster::new().state;
        let mut shown = Shown::default();
        assert!(
            update(&mut shown, &state, &Where::Nowhere),
            "nobody is known"
        );
        assert!(shown.view.is_none(), "what the log tells may be long ago");
        assert!(update(&mut shown, &state, &there()));
        let term = state.term().expect("a term began").term.0;
        assert_eq!(shown.view.as_ref().map(|view| view.term), Some(term));
        assert!(shown.unsure_since.is_none());
        assert!(!update(&mut shown, &state, &there()), "nothing changed");
        assert!(update(&mut shown, &state, &Where::Nowhere));
        assert!(shown.view.is_some(), "it is shown while it may come back");
        assert!(shown.unsure_since.is_some());
    }
}

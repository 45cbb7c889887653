//! The operator side: health, metrics, the older read endpoints, `POST /api/v1`.
//!
//! | path (each also below `/master`) | what | where |
//! |---|---|---|
//! | `/state` `/state-summary` `/slaves` `/frameworks` `/tasks` `/roles` … | legacy JSON | `reads` |
//! | `/api/v1` | v1 operator calls | `calls` |
//! | … its SUBSCRIBE | what happens, as it happens | [`events`] |
//! | `/teardown` | ends a framework | `teardown` |
//! | `/reserve` `/unreserve` `/create-volumes` `/destroy-volumes` | change an agent's resources | `operations` |
//! | `/maintenance/schedule` `/maintenance/status` `/machine/down` `/machine/up` | what is planned for machines | `maintenance` |
//! | `/health` `/livez` `/readyz` `/redirect` `/metrics` | of this master alone | `health` |
//! | `/quota` `/weights` | what operators decide about roles | `quota`, `weights` |
//! | `/files/…` | the log of this master, where it has one in a file | [`files`] |
//! | `/logging/toggle` `/system/stats.json` | how much it logs; its machine | `logging`, `machine` |
//!
//! Every master answers reads from what it has applied; [`consistency`] tells how a client asks
//! for more than that. Only what must be written goes to the leader.
//!
//! Nothing here knows consensus: [`OperatorCx`] is all that these handlers reach, so they run in
//! tests over a state made by hand.

mod agents;
mod calls;
pub mod consistency;
pub mod events;
pub mod files;
mod health;
mod here;
mod jsonp;
mod logging;
mod machine;
mod maintenance;
mod operations;
mod quota;
mod reads;
mod refused;
mod reply;
mod teardown;
mod weights;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use self::events::{EventHub, EventLimits};
pub use self::files::ShownFiles;
pub(crate) use here::Here;

use axum::Router;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::routing::{MethodRouter, any};
use regency_raft_store::ProposeError;
use regency_state::{ApplyOperation, Command, State, Verdict};
use regency_types::FrameworkId;
use tower_http::compression::CompressionLayer;
use tower_http::compression::Predicate as _;
use tower_http::compression::predicate::SizeAbove;

use crate::api::answer::text;
use crate::query::{Identity, Live, View};

/// Smallest body that is compressed for clients that want it, in bytes, as in Mesos.
const COMPRESSED_BYTES_MIN: u16 = 1024;

/// A view that owns what it shows, so that it can be taken to another thread.
#[derive(Debug, Clone)]
pub struct OwnedView {
    /// The state; a cheap clone.
    pub state: State,
    /// Index of the last entry in it.
    pub index: u64,
    /// What this process knows beside it.
    pub live: Live,
    /// Who answers.
    pub identity: Arc<Identity>,
}

impl OwnedView {
    /// The same, borrowed.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            state: &self.state,
            live: &self.live,
            identity: &self.identity,
        }
    }
}

/// Where a write has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaderAt {
    /// Here.
    Here,
    /// To the master with this advertised `host:port` for clients.
    There(String),
    /// Nobody leads, as far as this master knows.
    Nowhere,
}

/// Why this master cannot answer now: 503, with this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// All that the handlers reach.
pub trait OperatorCx: Clone + Send + Sync + 'static {
    /// What there is to read here and now.
    fn view(&self) -> OwnedView;

    /// Whether what is applied here may be shown: a restarted master waits until it has applied
    /// what it knew to be committed and has heard a leader.
    ///
    /// # Errors
    /// What is waited for.
    fn ready(&self) -> Result<(), Unavailable>;

    /// Where a write has to go.
    fn leader(&self) -> LeaderAt;

    /// Waits until everything that was committed anywhere before the call is applied here, and
    /// gives the index of that.
    fn barrier(&self) -> impl Future<Output = Result<u64, Unavailable>> + Send;

    /// Waits until the entry with this index is applied here.
    fn applied(
        &self,
        index: u64,
        within: Duration,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Ends a framework; done when that is committed.
    fn teardown(
        &self,
        framework: FrameworkId,
    ) -> impl Future<Output = Result<Verdict, ProposeError>> + Send;

    /// Changes the resources of an agent; done when that is committed.
    fn apply_operation(
        &self,
        command: ApplyOperation,
    ) -> impl Future<Output = Result<Verdict, ProposeError>> + Send;

    /// Writes down what an operator decided; done when that is committed.
    fn propose(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Verdict, ProposeError>> + Send;

    /// What tells those who watch the cluster from this master.
    fn events(&self) -> &Arc<EventHub>;

    /// The files that are shown.
    fn files(&self) -> Arc<ShownFiles>;

    /// What this process counted under Mesos' keys, beside what follows from the state.
    fn counted(&self) -> BTreeMap<String, f64>;

    /// This process' metrics in the text form of Prometheus.
    fn metrics_text(&self) -> String;
}

/// All routes of the operator side. What is not found is for the caller to answer, with
/// [`not_found`] where nothing else is.
pub fn routes<C: OperatorCx>() -> Router<C> {
    let router = Router::new();
    let router = health::routes(router);
    let router = reads::routes(router);
    let router = calls::routes(router);
    let router = teardown::routes(router);
    let router = operations::routes(router);
    let router = quota::routes(router);
    let router = weights::routes(router);
    let router = files::routes(router);
    let router = logging::routes(router);
    let router = machine::routes(router);
    let router = maintenance::routes(router);
    let compressed = SizeAbove::new(COMPRESSED_BYTES_MIN).and(events::ends);
    router.layer(CompressionLayer::new().compress_when(compressed))
}

/// 404 in Mesos' words.
pub async fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 Not Found.")
}

/// Adds a path, the same below `/master`, and both with the suffix or the slash that tools put there.
fn aliased<C: OperatorCx>(
    router: Router<C>,
    path: &str,
    handler: impl Fn() -> MethodRouter<C>,
) -> Router<C> {
    ["", "/master"].iter().fold(router, |router, prefix| {
        router
            .route(&format!("{prefix}{path}"), handler())
            .route(&format!("{prefix}{path}/"), handler())
            .route(&format!("{prefix}{path}.json"), handler())
    })
}

/// Adds a path for any method, and the same below `/master`.
fn both<C, H, T>(router: Router<C>, path: &str, handler: H) -> Router<C>
where
    C: OperatorCx,
    H: axum::handler::Handler<T, C>,
    T: 'static,
{
    router
        .route(path, any(handler.clone()))
        .route(&format!("/master{path}"), any(handler))
}

//! What operators may ask of an agent: the older endpoints and `POST /api/v1`.
//!
//! | path (each also below `/slave(1)`) | what | where |
//! |---|---|---|
//! | `/health` `/version` `/state` `/flags` `/containers` `/monitor/statistics` `/metrics/snapshot` | JSON | `reads` |
//! | `/files/browse` `/files/read` `/files/download` `/files/debug` | sandboxes and the log | [`files`] |
//! | `/api/v1` | v1 calls | `calls`, `containers`, `streams` |
//! | `/metrics` | for Prometheus | `reads` |
//!
//! What runs and ran is arranged by [`model`]; [`history`] remembers what ended.

mod calls;
mod containers;
pub(crate) mod files;
mod flags;
mod history;
pub(crate) mod model;
mod reads;
mod reply;
mod shown;
mod snapshot;
mod state;
mod streams;
mod usage;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, any, get};
use tower_http::compression::CompressionLayer;
use tower_http::compression::Predicate as _;
use tower_http::compression::predicate::{NotForContentType, SizeAbove};

pub use flags::OperatorFlags;
pub(crate) use flags::shown as shown_flags;
pub(crate) use history::History;

use crate::http::Answers;

/// Smallest body that is compressed for clients that want it, in bytes, as in Mesos.
const COMPRESSED_BYTES_MIN: u16 = 1024;

/// All routes.
pub(crate) fn routes() -> Router<Arc<Answers>> {
    let endpoints: [(&str, MethodRouter<Arc<Answers>>); 13] = [
        ("/health", get(reads::health)),
        ("/version", get(reads::version)),
        ("/state", get(reads::state)),
        ("/flags", get(reads::flags)),
        ("/containers", get(reads::containers)),
        ("/monitor/statistics", get(reads::statistics)),
        ("/containerizer/debug", get(reads::containerizer_debug)),
        ("/metrics/snapshot", get(reads::metrics_snapshot)),
        ("/files/browse", get(files::http::browse)),
        ("/files/read", get(files::http::read)),
        ("/files/download", get(files::http::download)),
        ("/files/debug", get(files::http::debug)),
        ("/metrics", get(reads::metrics)),
    ];
    let mut router = Router::new();
    for (path, handler) in endpoints {
        for prefix in ["", "/slave(1)"] {
            for suffix in ["", ".json"] {
                router = router.route(&format!("{prefix}{path}{suffix}"), handler.clone());
            }
        }
    }
    // What streams, or is cut into ranges, stays as it is.
    let whole = SizeAbove::new(COMPRESSED_BYTES_MIN)
        .and(NotForContentType::const_new("application/octet-stream"));
    router = router.layer(CompressionLayer::new().compress_when(whole));
    for prefix in ["", "/slave(1)"] {
        // Mesos takes the longest prefix that is a route, so the slash arrives here, too.
        for path in ["/api/v1", "/api/v1/"] {
            router = router.route(&format!("{prefix}{path}"), any(calls::call));
        }
    }
    router
}

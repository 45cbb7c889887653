//! What operators may ask of an agent: the older endpoints and `POST /api/v1`.
//!
//! | path (each also below `/slave(1)`) | what | where |
//! |---|---|---|
//! | `/health` `/version` `/state` `/flags` `/containers` `/monitor/statistics` `/metrics/snapshot` | JSON | `reads` |
//! | `/logging/toggle` | how much it logs | `logging` |
//! | `/files/browse` `/files/read` `/files/download` `/files/debug` | sandboxes and the log | [`files`] |
//! | `/api/v1` | v1 calls | `calls`, `containers`, `streams` |
//! | `/metrics` | for Prometheus | `reads` |
//!
//! Any method reads, as in Mesos: only calls must be POSTed.
//!
//! What runs and ran is arranged by [`model`]; [`history`] remembers what ended.

mod calls;
mod containers;
mod drain;
pub(crate) mod files;
mod flags;
mod history;
mod logging;
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
use axum::routing::{MethodRouter, any};
use tower_http::compression::CompressionLayer;
use tower_http::compression::Predicate as _;
use tower_http::compression::predicate::{NotForContentType, SizeAbove};

pub use flags::OperatorFlags;
pub(crate) use flags::shown as shown_flags;
pub(crate) use history::History;

use crate::http::{Answers, PREFIXES};

/// Smallest body that is compressed for clients that want it, in bytes, as in Mesos.
const COMPRESSED_BYTES_MIN: u16 = 1024;

/// All routes.
pub(crate) fn routes() -> Router<Arc<Answers>> {
    let endpoints: [(&str, MethodRouter<Arc<Answers>>); 14] = [
        ("/health", any(reads::health)),
        ("/version", any(reads::version)),
        ("/state", any(reads::state)),
        ("/flags", any(reads::flags)),
        ("/containers", any(reads::containers)),
        ("/monitor/statistics", any(reads::statistics)),
        ("/containerizer/debug", any(reads::containerizer_debug)),
        ("/metrics/snapshot", any(reads::metrics_snapshot)),
        ("/logging/toggle", any(logging::toggle)),
        ("/files/browse", any(files::http::browse)),
        ("/files/read", any(files::http::read)),
        ("/files/download", any(files::http::download)),
        ("/files/debug", any(files::http::debug)),
        ("/metrics", any(reads::metrics)),
    ];
    let mut router = Router::new();
    for (path, handler) in endpoints {
        for prefix in PREFIXES {
            for suffix in ["", ".json"] {
                router = router.route(&format!("{prefix}{path}{suffix}"), handler.clone());
            }
        }
    }
    // What streams, or is cut into ranges, stays as it is.
    let whole = SizeAbove::new(COMPRESSED_BYTES_MIN)
        .and(NotForContentType::const_new("application/octet-stream"));
    router = router.layer(CompressionLayer::new().compress_when(whole));
    for prefix in PREFIXES {
        // Mesos takes the longest prefix that is a route, so the slash arrives here, too.
        for path in ["/api/v1", "/api/v1/"] {
            router = router.route(&format!("{prefix}{path}"), any(calls::call));
        }
    }
    router
}

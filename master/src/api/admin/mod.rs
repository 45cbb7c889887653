//! Calls for those who run the cluster, below `/regency`, in JSON.
//!
//! | path | what | where |
//! |---|---|---|
//! | `/regency/members` and below | who belongs to the cluster, and changes of that | `members` |
//! | `/regency/snapshot` | the whole state as a file | `snapshot` |

mod members;
mod snapshot;

use axum::Router;
use axum::routing::get;

use super::cx::ApiCx;

pub(super) fn routes() -> Router<ApiCx> {
    let router = members::routes(Router::new());
    router.route("/regency/snapshot", get(snapshot::get))
}

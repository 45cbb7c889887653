//! `/system/stats.json`: the machine that this master runs on.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::request::Parts;
use axum::routing::any;
use serde::Serialize;

use super::OperatorCx;
use super::consistency::parameters;
use super::jsonp::Callback;
use super::refused::Refused;

/// What is measured of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Machine {
    avg_load_15min: f64,
    avg_load_1min: f64,
    avg_load_5min: f64,
    cpus_total: u64,
    mem_free_bytes: u64,
    mem_total_bytes: u64,
}

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    let stats = |State(_): State<C>, parts: Parts| async move { stats(&parts) };
    ["/system/stats", "/system/stats.json"]
        .iter()
        .fold(router, |router, path| router.route(path, any(stats)))
}

fn stats(parts: &Parts) -> Result<Response<Body>, Refused> {
    let callback = Callback::of(&parameters(parts)?)?;
    let machine = Machine::measure().map_err(|error| {
        tracing::warn!(%error, "the machine cannot be measured");
        Refused::Failed("the machine cannot be measured")
    })?;
    Ok(callback.answer_with(&machine))
}

impl Machine {
    /// As it is now.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub(super) fn measure() -> Result<Self, sysinfo::Error> {
        let load = sysinfo::System::load_average()?;
        let mut system = sysinfo::System::new()?;
        system.refresh_memory_specifics(sysinfo::MemoryRefreshKind::nothing().with_ram());
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        Ok(Self {
            avg_load_15min: load.fifteen,
            avg_load_1min: load.one,
            avg_load_5min: load.five,
            cpus_total: cpus,
            mem_free_bytes: system.free_memory(),
            mem_total_bytes: system.total_memory(),
        })
    }

    /// The same under the keys of metrics.
    pub(super) fn keys(&self) -> BTreeMap<String, f64> {
        [
            ("system/load_15min", self.avg_load_15min),
            ("system/load_1min", self.avg_load_1min),
            ("system/load_5min", self.avg_load_5min),
            ("system/cpus_total", self.cpus_total as f64),
            ("system/mem_free_bytes", self.mem_free_bytes as f64),
            ("system/mem_total_bytes", self.mem_total_bytes as f64),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

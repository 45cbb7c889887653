//! Two ways to load a cluster: a fixed number of writes in flight, and a fixed rate.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::client::Client;
use super::cluster::{KEYS, VALUE_BYTES};
use super::latency::Latencies;

/// How often the pacer looks whether writes are due.
const PACE: Duration = Duration::from_micros(200);
/// How far the answers may lie behind the rate before a run is given up.
const BEHIND_MAX: Duration = Duration::from_secs(10);
/// Pause of a writer after an error, so that a broken system is not asked in a busy loop.
const AFTER_ERROR: Duration = Duration::from_millis(5);

/// Values of 256 bytes that do not compress, and the keys to put them under.
#[derive(Debug)]
pub(crate) struct Values {
    random: Bytes,
    next: AtomicU32,
}

impl Values {
    pub(crate) fn new() -> Self {
        let mut random = vec![0; 64 * 1024 + VALUE_BYTES];
        rand::fill(&mut random[..]);
        Self {
            random: random.into(),
            next: AtomicU32::new(0),
        }
    }

    pub(crate) fn next(&self) -> (u32, Bytes) {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let at = (n.wrapping_mul(61) as usize) % (64 * 1024);
        (n % KEYS, self.random.slice(at..at + VALUE_BYTES))
    }
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) latencies: Latencies,
    /// How long latencies were taken.
    pub(crate) span: Duration,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.span.as_secs_f64()
    }
}

/// Shared by the writers of a run.
#[derive(Debug, Default)]
struct Errors {
    n: AtomicU64,
    first: Mutex<Option<String>>,
}

impl Errors {
    fn note(&self, error: &dyn std::error::Error) {
        self.n.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| error.to_string());
    }

    fn outcome(&self, latencies: Latencies, span: Duration) -> Outcome {
        Outcome {
            latencies,
            span,
            errors: self.n.load(Ordering::Relaxed),
            first_error: self
                .first
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

/// One histogram for each connection: few enough to be small, enough not to be fought over.
fn histograms(n: usize) -> Vec<Arc<Mutex<Latencies>>> {
    (0..n)
        .map(|_| Arc::new(Mutex::new(Latencies::new())))
        .collect()
}

fn merged(histograms: &[Arc<Mutex<Latencies>>]) -> Latencies {
    let mut all = Latencies::new();
    for one in histograms {
        all.add(&one.lock().unwrap_or_else(PoisonError::into_inner));
    }
    all
}

/// Keeps `in_flight` writes going, spread over the connections, each writer sending its next one
/// when the last was acknowledged. What is acknowledged during `warm_up` is not counted.
pub(crate) async fn closed_loop(
    clients: &[Arc<Client>],
    in_flight: usize,
    warm_up: Duration,
    span: Duration,
    mut on_measuring: impl FnMut(),
) -> anyhow::Result<Outcome> {
    let values = Arc::new(Values::new());
    let errors = Arc::new(Errors::default());
    let histograms = histograms(clients.len());
    let measuring = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    // They end with it, also when this measurement is given up.
    let mut writers = JoinSet::new();
    for n in 0..in_flight {
        let client = Arc::clone(&clients[n % clients.len()]);
        let histogram = Arc::clone(&histograms[n % clients.len()]);
        let (values, errors) = (Arc::clone(&values), Arc::clone(&errors));
        let (measuring, stop) = (Arc::clone(&measuring), Arc::clone(&stop));
        writers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let (key, value) = values.next();
                let begun = Instant::now();
                match client.put(key, value).await {
                    Ok(()) if measuring.load(Ordering::Relaxed) => histogram
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .record(begun.elapsed()),
                    Ok(()) => {}
                    Err(error) => {
                        errors.note(&error);
                        tokio::time::sleep(AFTER_ERROR).await;
                    }
                }
            }
        });
    }
    tokio::time::sleep(warm_up).await;
    on_measuring();
    let begun = Instant::now();
    measuring.store(true, Ordering::Relaxed);
    tokio::time::sleep(span).await;
    measuring.store(false, Ordering::Relaxed);
    let measured = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    let given_up = tokio::time::Instant::now() + BEHIND_MAX;
    while let Some(ended) = tokio::time::timeout_at(given_up, writers.join_next())
        .await
        .context("a write is neither acknowledged nor refused")?
    {
        ended?;
    }
    Ok(errors.outcome(merged(&histograms), measured))
}

/// How often in a row a write may fail before [`write_many`] gives up, and the pause after each time:
/// an election is over long before.
const REPEATS_MAX: u32 = 100;
const REPEAT_PAUSE: Duration = Duration::from_millis(100);

/// Makes this many commits, `in_flight` at once, and returns how many writes had to be repeated because
/// a leader was lost. Each overwrites a value, so repeating one whose outcome is unknown does no harm; it
/// may be in the log twice then.
pub(crate) async fn write_many(
    clients: &[Arc<Client>],
    in_flight: usize,
    commits: u64,
) -> anyhow::Result<u64> {
    let values = Arc::new(Values::new());
    let left = Arc::new(AtomicU64::new(commits));
    let mut writers = JoinSet::new();
    for n in 0..in_flight {
        let client = Arc::clone(&clients[n % clients.len()]);
        let (values, left) = (Arc::clone(&values), Arc::clone(&left));
        writers.spawn(async move {
            let mut repeated = 0;
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
            {
                let (key, value) = values.next();
                let mut failures = 0;
                while let Err(error) = client.put(key, value.clone()).await {
                    failures += 1;
                    if failures > REPEATS_MAX {
                        return Err(error.into());
                    }
                    tokio::time::sleep(REPEAT_PAUSE).await;
                }
                repeated += u64::from(failures);
            }
            anyhow::Ok(repeated)
        });
    }
    let mut repeated = 0;
    while let Some(ended) = writers.join_next().await {
        repeated += ended??;
    }
    Ok(repeated)
}

/// Writes at a fixed rate, whether or not earlier ones were acknowledged. A latency counts from
/// the moment at which its write was due, so that a stall is seen by all writes that fell into it.
#[derive(Debug)]
pub(crate) struct FixedRate {
    stop: Arc<AtomicBool>,
    histograms: Vec<Arc<Mutex<Latencies>>>,
    errors: Arc<Errors>,
    in_flight: Arc<AtomicU64>,
    begun: Instant,
    /// `None` once it was waited for.
    pacer: Option<std::thread::JoinHandle<bool>>,
}

impl Drop for FixedRate {
    /// The pacer does not outlive a measurement that is given up.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl FixedRate {
    /// Starts writing `rate` values per second, spread over the connections.
    pub(crate) fn start(clients: Vec<Arc<Client>>, rate: u64) -> anyhow::Result<Self> {
        let histograms = histograms(clients.len());
        let errors = Arc::new(Errors::default());
        let in_flight = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let pacer = Pacer {
            clients,
            rate,
            begun,
            histograms: histograms.clone(),
            errors: Arc::clone(&errors),
            in_flight: Arc::clone(&in_flight),
            stop: Arc::clone(&stop),
            runtime: tokio::runtime::Handle::current(),
        };
        Ok(Self {
            stop,
            histograms,
            errors,
            in_flight,
            begun,
            pacer: Some(
                std::thread::Builder::new()
                    .name("pacer".to_owned())
                    .spawn(move || pacer.run())?,
            ),
        })
    }

    /// What was acknowledged since the start or the last call, and begins anew.
    pub(crate) fn take(&mut self) -> Outcome {
        let mut all = Latencies::new();
        for one in &self.histograms {
            let mut one = one.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(&std::mem::replace(&mut one, Latencies::new()));
        }
        let span = self.begun.elapsed();
        self.begun = Instant::now();
        self.errors.outcome(all, span)
    }

    /// Stops writing and waits for the answers that are missing; those still count.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Outcome> {
        let span = self.begun.elapsed();
        self.stop.store(true, Ordering::Relaxed);
        let pacer = self.pacer.take().context("a pacer")?;
        let given_up = Instant::now() + BEHIND_MAX * 2;
        while !pacer.is_finished() || self.in_flight.load(Ordering::Relaxed) > 0 {
            anyhow::ensure!(
                Instant::now() < given_up,
                "{} writes were never answered",
                self.in_flight.load(Ordering::Relaxed)
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut outcome = self.take();
        outcome.span = span;
        let kept_up = pacer
            .join()
            .map_err(|_| anyhow::anyhow!("the pacer panicked"))?;
        if !kept_up {
            outcome.errors += 1;
            outcome
                .first_error
                .get_or_insert_with(|| format!("more than {BEHIND_MAX:?} behind the rate"));
        }
        Ok(outcome)
    }
}

/// A thread of its own: the timers of the runtime are a millisecond wide.
struct Pacer {
    clients: Vec<Arc<Client>>,
    rate: u64,
    begun: Instant,
    histograms: Vec<Arc<Mutex<Latencies>>>,
    errors: Arc<Errors>,
    in_flight: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    runtime: tokio::runtime::Handle,
}

impl Pacer {
    /// Whether the system kept up with the rate.
    fn run(self) -> bool {
        let values = Values::new();
        let in_flight_max = self.rate * BEHIND_MAX.as_secs();
        let mut sent = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            let due = (self.begun.elapsed().as_secs_f64() * self.rate as f64) as u64;
            while sent < due {
                if self.in_flight.load(Ordering::Relaxed) >= in_flight_max {
                    return false;
                }
                let was_due = self.begun + Duration::from_secs_f64(sent as f64 / self.rate as f64);
                self.send(&values, sent, was_due);
                sent += 1;
            }
            std::thread::sleep(PACE);
        }
        true
    }

    fn send(&self, values: &Values, n: u64, was_due: Instant) {
        let at = (n % self.clients.len() as u64) as usize;
        let client = Arc::clone(&self.clients[at]);
        let histogram = Arc::clone(&self.histograms[at]);
        let (errors, in_flight) = (Arc::clone(&self.errors), Arc::clone(&self.in_flight));
        let (key, value) = values.next();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.runtime.spawn(async move {
            match client.put(key, value).await {
                Ok(()) => histogram
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .record(was_due.elapsed()),
                Err(error) => errors.note(&error),
            }
            in_flight.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

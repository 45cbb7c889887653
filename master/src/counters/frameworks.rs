//! What is counted for each framework, as long as it has not ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regency_state::State;
use regency_types::{FrameworkId, TaskState};
use regency_wire::v1::offer::operation::Type as OperationType;
use regency_wire::v1::scheduler::call::Type as CallType;
use regency_wire::v1::scheduler::event::Type as EventType;

/// Calls that have a key.
const CALLS: [CallType; 17] = [
    CallType::Subscribe,
    CallType::Teardown,
    CallType::Accept,
    CallType::Decline,
    CallType::AcceptInverseOffers,
    CallType::DeclineInverseOffers,
    CallType::Revive,
    CallType::Suppress,
    CallType::Kill,
    CallType::Shutdown,
    CallType::Acknowledge,
    CallType::AcknowledgeOperationStatus,
    CallType::Reconcile,
    CallType::ReconcileOperations,
    CallType::Message,
    CallType::Request,
    CallType::UpdateFramework,
];

/// Events that have a key.
const EVENTS: [EventType; 11] = [
    EventType::Subscribed,
    EventType::Offers,
    EventType::InverseOffers,
    EventType::Rescind,
    EventType::RescindInverseOffer,
    EventType::Update,
    EventType::UpdateOperationStatus,
    EventType::Message,
    EventType::Failure,
    EventType::Error,
    EventType::Heartbeat,
];

/// Operations that have a key.
const OPERATIONS: [OperationType; 10] = [
    OperationType::Launch,
    OperationType::LaunchGroup,
    OperationType::Reserve,
    OperationType::Unreserve,
    OperationType::Create,
    OperationType::Destroy,
    OperationType::GrowVolume,
    OperationType::ShrinkVolume,
    OperationType::CreateDisk,
    OperationType::DestroyDisk,
];

/// States of ended tasks that have a key.
const TERMINAL: [TaskState; 8] = [
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Dropped,
    TaskState::Gone,
    TaskState::GoneByOperator,
];

/// States of other tasks that have a key.
const ACTIVE: [TaskState; 6] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Unreachable,
    TaskState::Unknown,
];

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfferEnd {
    /// The framework got it.
    Sent,
    /// The framework used it.
    Accepted,
    /// The framework gave it back.
    Declined,
    /// It was taken back.
    Rescinded,
}

const OFFERS: [(&str, OfferEnd); 4] = [
    ("sent", OfferEnd::Sent),
    ("accepted", OfferEnd::Accepted),
    ("declined", OfferEnd::Declined),
    ("rescinded", OfferEnd::Rescinded),
];

/// The counts of one framework.
#[derive(Debug, Default)]
pub(crate) struct OfFramework {
    calls: [AtomicU64; CALLS.len()],
    events: [AtomicU64; EVENTS.len()],
    operations: [AtomicU64; OPERATIONS.len()],
    terminal: [AtomicU64; TERMINAL.len()],
    offers: [AtomicU64; OFFERS.len()],
}

/// Bounded: whoever is new makes room by forgetting those who ended.
static FRAMEWORKS: Mutex<BTreeMap<FrameworkId, Arc<OfFramework>>> = Mutex::new(BTreeMap::new());

fn lock() -> MutexGuard<'static, BTreeMap<FrameworkId, Arc<OfFramework>>> {
    FRAMEWORKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counts of a framework; of one that is not in the state they are nobody's.
pub(crate) fn of_framework(id: &FrameworkId, state: &State) -> Arc<OfFramework> {
    let mut all = lock();
    if let Some(counts) = all.get(id) {
        return Arc::clone(counts);
    }
    let counts = Arc::new(OfFramework::default());
    if state.framework(id).is_some() {
        all.retain(|id, _| state.framework(id).is_some());
        all.insert(id.clone(), Arc::clone(&counts));
    }
    counts
}

fn add<T: PartialEq>(counts: &[AtomicU64], of: &[T], one: &T, n: u64) {
    if let Some(at) = of.iter().position(|other| other == one) {
        counts[at].fetch_add(n, Ordering::Relaxed);
    }
}

impl OfFramework {
    /// A call that was taken.
    pub(crate) fn call(&self, call: CallType) {
        add(&self.calls, &CALLS, &call, 1);
    }

    /// An event that was sent.
    pub(crate) fn event(&self, event: EventType) {
        add(&self.events, &EVENTS, &event, 1);
    }

    /// An operation that was asked for.
    pub(crate) fn operation(&self, operation: OperationType) {
        add(&self.operations, &OPERATIONS, &operation, 1);
    }

    /// A task that ended.
    pub(crate) fn end_of_task(&self, state: TaskState) {
        add(&self.terminal, &TERMINAL, &state, 1);
    }

    /// What became of offers.
    pub(crate) fn offers(&self, end: OfferEnd, n: usize) {
        let ends = OFFERS.map(|(_, end)| end);
        add(&self.offers, &ends, &end, n as u64);
    }

    fn write(&self, prefix: &str, keys: &mut BTreeMap<String, f64>) {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let mut group = |name: &str, of: &mut dyn Iterator<Item = (String, f64)>| {
            let mut total = 0.0;
            for (one, n) in of {
                total += n;
                keys.insert(format!("{prefix}/{name}/{}", one.to_lowercase()), n);
            }
            total
        };
        let named = |name: &str| name.to_owned();
        let calls = group(
            "calls",
            &mut CALLS
                .iter()
                .zip(&self.calls)
                .map(|(c, n)| (named(c.as_str_name()), value(n))),
        );
        let events = group(
            "events",
            &mut EVENTS
                .iter()
                .zip(&self.events)
                .map(|(e, n)| (named(e.as_str_name()), value(n))),
        );
        let operations = OPERATIONS.iter().zip(&self.operations);
        let operations = group(
            "operations",
            &mut operations.map(|(o, n)| (named(o.as_str_name()), value(n))),
        );
        let terminal = TERMINAL.iter().zip(&self.terminal);
        group(
            "tasks/terminal",
            &mut terminal.map(|(state, n)| (named(state.name()), value(n))),
        );
        let offers = OFFERS.iter().zip(&self.offers);
        group(
            "offers",
            &mut offers.map(|((name, _), n)| (named(name), value(n))),
        );
        for (name, total) in [
            ("calls", calls),
            ("events", events),
            ("operations", operations),
        ] {
            keys.insert(format!("{prefix}/{name}"), total);
        }
    }
}

/// The keys of all frameworks that have not ended: what was counted, and what there is.
pub(super) fn write(state: &State, keys: &mut BTreeMap<String, f64>) {
    let all = lock().clone();
    let none = OfFramework::default();
    for framework in state.frameworks() {
        let prefix = format!(
            "master/frameworks/{}/{}",
            encoded(&framework.spec.name),
            framework.id
        );
        let counts = all.get(&framework.id).map_or(&none, Arc::as_ref);
        counts.write(&prefix, keys);
        let mut set = |key: &str, n: f64| keys.insert(format!("{prefix}/{key}"), n);
        set("subscribed", f64::from(u8::from(framework.is_subscribed())));
        for active in ACTIVE {
            let of_state = state
                .tasks_of(framework)
                .filter(|task| task.state == active);
            let key = format!("tasks/active/{}", active.name().to_lowercase());
            set(&key, of_state.count() as f64);
        }
        for role in &framework.spec.roles {
            let suppressed = framework.suppressed.contains(role);
            set(
                &format!("roles/{role}/suppressed"),
                f64::from(u8::from(suppressed)),
            );
        }
    }
}

/// A name that can stand between slashes.
fn encoded(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => {
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;

    #[test]
    fn a_framework_has_its_keys_from_its_beginning_to_its_end() {
        let (cluster, key) = Cluster::with_task();
        let counts = of_framework(&key.framework, &cluster.state);
        let mut keys = BTreeMap::new();
        write(&cluster.state, &mut keys);
        let name = &cluster
            .state
            .framework(&key.framework)
            .expect("there")
            .spec
            .name;
        let prefix = format!("master/frameworks/{name}/{}", key.framework);
        let before = keys[&format!("{prefix}/calls/kill")];
        assert_eq!(keys[&format!("{prefix}/subscribed")], 1.0);
        assert_eq!(keys[&format!("{prefix}/tasks/active/task_staging")], 1.0);
        counts.call(CallType::Kill);
        counts.call(CallType::Unknown);
        counts.offers(OfferEnd::Sent, 3);
        write(&cluster.state, &mut keys);
        assert_eq!(keys[&format!("{prefix}/calls/kill")], before + 1.0);
        assert!(keys[&format!("{prefix}/offers/sent")] >= 3.0);
        let mut after = BTreeMap::new();
        write(&State::default(), &mut after);
        assert!(after.is_empty());
    }

    #[test]
    fn names_of_frameworks_cannot_add_slashes_to_a_key() {
        assert_eq!(encoded("my app/1"), "my%20app%2F1");
    }
}

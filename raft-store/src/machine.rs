//! From committed entries to the applied state: decode, apply, publish, answer.
//!
//! Apply runs on a cheap clone of the state. If it panics, the clone is thrown away and the
//! proposer is told "refused": the same on every master, because the same entry meets the same
//! state there. An entry that does not decode is another matter: this program does not know what
//! the others will make of it, so this master stops.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use regency_state::{Applied, Command, Proposal, Refusal, State, Verdict};
use regency_types::Term;
use tokio::sync::watch;

use crate::audit::Audit;
use crate::effects::{EffectBatch, EffectSink};
use crate::entries::EntrySink;
use crate::failpoint::failpoint;
use crate::identity::{Identity, Skip};
use crate::level;
use crate::members::former::Former;
use crate::metrics;
use crate::priority;
use crate::reader::AppliedState;
use crate::snapshot::{self, Loaded, Outgoing, SnapshotFile, SnapshotStore};
use crate::types::{Answer, EntryPayload, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::watchdog::start::Progress;

/// Entries applied between two publications of the state, when that many are waiting.
const PUBLISH_EVERY: usize = 256;
/// Bytes of entries applied before others get a turn on this thread, heartbeats above all.
const TURN_BYTES: usize = 64 * 1024;
/// Bytes of an entry that does not decode which are logged.
const DUMP_BYTES: usize = 256;

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// The state machine.
pub(crate) struct Machine {
    state: State,
    applied: Option<LogId>,
    membership: StoredMembership,
    former: Former,
    /// Where the newest snapshot is, shared with the tasks that write and send them.
    outgoing: Arc<Outgoing>,
    published: watch::Sender<Arc<AppliedState>>,
    effects: EffectSink,
    entries: EntrySink,
    store: SnapshotStore,
    identity: Arc<Identity>,
    /// Entries that an operator decided not to apply.
    skips: Vec<Skip>,
    audit: Arc<Audit>,
    /// Entries that raise the level above it stop this master.
    feature_level_max: u32,
    /// Told how many entries were applied.
    progress: Progress,
    /// [`State::apply`], but for tests of what happens when it panics.
    apply: fn(&mut State, &Proposal) -> Applied,
}

impl Machine {
    /// A machine that continues from the newest snapshot, if there is one.
    pub(crate) fn new(
        store: SnapshotStore,
        newest: Option<(Loaded, SnapshotFile)>,
        identity: Arc<Identity>,
        effects: EffectSink,
        audit: Arc<Audit>,
        outgoing: Arc<Outgoing>,
    ) -> Self {
        let mut machine = Self {
            state: State::default(),
            applied: None,
            membership: StoredMembership::default(),
            former: Former::default(),
            outgoing,
            published: watch::Sender::new(Arc::new(AppliedState {
                index: 0,
                term: Term(0),
                state: State::default(),
                former: Former::default(),
            })),
            effects,
            entries: EntrySink::default(),
            store,
            skips: identity.skips(),
            identity,
            audit,
            feature_level_max: regency_state::FEATURE_LEVEL,
            progress: Progress::UNWATCHED,
            apply: State::apply,
        };
        if let Some((loaded, file)) = newest {
            machine.replace(loaded, file);
        }
        machine
    }

    /// The same, held at a feature level.
    pub(crate) fn with_feature_level_max(mut self, level: u32) -> Self {
        self.feature_level_max = level;
        self
    }

    /// The same, with the place where the state after each entry is put.
    pub(crate) fn with_entries(mut self, entries: EntrySink) -> Self {
        self.entries = entries;
        self
    }

    /// The same, watched while it starts.
    pub(crate) fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Where readers find the applied state.
    pub(crate) fn states(&self) -> watch::Receiver<Arc<AppliedState>> {
        self.published.subscribe()
    }

    fn replace(&mut self, loaded: Loaded, file: SnapshotFile) {
        self.state = loaded.state;
        self.applied = loaded.meta.last_log_id;
        self.membership = loaded.meta.last_membership.clone();
        self.former = loaded.former;
        self.outgoing.set_newest(loaded.meta, file);
        self.publish();
        let index = self.applied.map_or(0, |at| at.index);
        self.entries.put(index, self.state.clone(), false);
    }

    fn publish(&self) {
        metrics::feature_level(self.state.feature_level());
        self.published.send_replace(Arc::new(AppliedState {
            index: self.applied.map_or(0, |at| at.index),
            term: Term(self.applied.map_or(0, |at| at.leader_id.term)),
            state: self.state.clone(),
            former: self.former.clone(),
        }));
    }

    fn apply_proposal(&mut self, at: LogId, bytes: &[u8]) -> io::Result<Applied> {
        let told = self.skips.iter().find(|skip| skip.index == at.index);
        if told.is_some_and(|skip| skip.digest == Skip::digest_of(bytes)) {
            metrics::skipped();
            tracing::warn!(log_index = at.index, "an entry is not applied, as told");
            return Ok(Applied {
                verdict: poisoned(at),
                effects: Vec::new(),
            });
        }
        let proposal = regency_stored::decode_proposal(bytes).map_err(|error| {
            tracing::error!(
                log_index = at.index,
                term = at.leader_id.term,
                %error,
                bytes = %hex(bytes),
                "an entry does not decode; this master stops rather than skip it. If no program reads \
                 it, see 'regency recover --skip-index'"
            );
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("entry {} does not decode: {error}", at.index),
            )
        })?;
        if let Command::RaiseFeatureLevel(raise) = &proposal.command {
            check_level(raise.level, self.feature_level_max)?;
        }
        let mut next = self.state.clone();
        let apply = self.apply;
        match std::panic::catch_unwind(AssertUnwindSafe(|| apply(&mut next, &proposal))) {
            Ok(applied) => {
                self.state = next;
                if matches!(proposal.command, Command::ReportStateHash(_)) {
                    self.compare()?;
                }
                Ok(applied)
            }
            Err(panic) => {
                let message = regency_runtime::tasks::panic_message(panic.as_ref());
                metrics::poison();
                tracing::error!(
                    log_index = at.index,
                    term = at.leader_id.term,
                    command = proposal.command.name(),
                    panic = message,
                    bytes = %hex(bytes),
                    "an entry cannot be applied and is refused on all masters"
                );
                Ok(Applied {
                    verdict: poisoned(at),
                    effects: Vec::new(),
                })
            }
        }
    }

    /// Stops this master when the others have another state than it has.
    fn compare(&self) -> io::Result<()> {
        let compared = self.audit.check(&self.state, self.membership.membership());
        compared.map_err(|outvoted| {
            tracing::error!("{outvoted}");
            io::Error::new(io::ErrorKind::InvalidData, outvoted)
        })
    }
}

/// Stops this master before it meets entries that it does not know.
fn check_level(cluster: u32, supported: u32) -> io::Result<()> {
    level::fits(cluster, supported).map_err(|beyond| {
        tracing::error!("{beyond}");
        io::Error::new(io::ErrorKind::InvalidData, beyond)
    })
}

fn poisoned(at: LogId) -> Verdict {
    // The text must be the same on all masters, so it says nothing about the panic.
    Err(Refusal::Internal(format!(
        "entry {} broke an invariant",
        at.index
    )))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes.iter().take(DUMP_BYTES) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > DUMP_BYTES {
        text.push('…');
    }
    text
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut lots = entries.ready_chunks(PUBLISH_EVERY);
        while let Some(lot) = lots.next().await {
            let mut answers = Vec::with_capacity(lot.len());
            let mut effects = Vec::new();
            let mut turn_bytes = 0;
            let mut states = Vec::new();
            let all_wanted = self.entries.is_wanted();
            for item in lot {
                let (entry, responder) = item?;
                let at = entry.log_id;
                let mut verdict = None;
                match entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Membership(membership) => {
                        self.former.note(self.membership.membership(), &membership);
                        self.membership = StoredMembership::new(Some(at), membership);
                    }
                    EntryPayload::Normal(proposal) => {
                        turn_bytes += proposal.bytes.len();
                        let applied = self.apply_proposal(at, &proposal.bytes)?;
                        verdict = Some(applied.verdict);
                        effects.push(EffectBatch {
                            index: at.index,
                            term: Term(at.leader_id.term),
                            effects: applied.effects,
                        });
                    }
                }
                self.applied = Some(at);
                self.progress.made(1);
                self.audit.look(at.index, &self.state);
                if all_wanted {
                    states.push((at.index, self.state.clone()));
                }
                if let Some(responder) = responder {
                    answers.push((responder, Answer { verdict }));
                }
                if turn_bytes >= TURN_BYTES {
                    turn_bytes = 0;
                    tokio::task::yield_now().await;
                }
            }
            // Whoever gets an answer or an effect finds the state that belongs to it.
            self.publish();
            for (index, state) in states {
                self.entries.put(index, state, true);
            }
            for batch in effects {
                self.effects.put(batch);
            }
            for (responder, answer) in answers {
                responder.send(answer);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            state: self.state.clone(),
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
            },
            former: self.former.clone(),
            store: self.store.clone(),
            identity: Arc::clone(&self.identity),
            outgoing: Arc::clone(&self.outgoing),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let store = self.store.clone();
        let cluster = self.identity.cluster();
        let last = meta.last_log_id;
        let level_max = self.feature_level_max;
        let (loaded, file) = regency_runtime::spawn_blocking(move || -> io::Result<_> {
            let loaded = snapshot::load(&snapshot, cluster)?;
            check_level(loaded.state.feature_level(), level_max)?;
            failpoint!("snapshot.install.loaded");
            let file = store.adopt(&snapshot, last.as_ref())?;
            failpoint!("snapshot.install.adopted");
            Ok((loaded, file))
        })
        .await??;
        if loaded.meta.last_log_id != meta.last_log_id {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the snapshot ends with another entry than announced",
            ));
        }
        let old = (self.state.clone(), self.published.borrow().clone());
        self.replace(loaded, file);
        // Freeing it takes as long as it is large.
        regency_runtime::spawn_blocking(move || drop(old));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let current = self.outgoing.to_send();
        Ok(current.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Writes a snapshot of the moment it was made at, off the apply path.
pub(crate) struct Builder {
    state: State,
    meta: SnapshotMeta,
    former: Former,
    store: SnapshotStore,
    identity: Arc<Identity>,
    outgoing: Arc<Outgoing>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let Some(cluster) = self.identity.cluster() else {
            return Err(io::Error::other("a snapshot before there is a cluster"));
        };
        let (meta, store) = (self.meta.clone(), self.store.clone());
        // By then most of it is nobody else's, and freeing it takes as long as it is large.
        let state = std::mem::take(&mut self.state);
        let former = self.former.clone();
        let parents = self.identity.parents();
        let snapshot = {
            let meta = meta.clone();
            priority::give_way("raft-snapshot", move || {
                store.when_room("write a snapshot", || {
                    store.write_descended(cluster, &parents, &meta, &former, &state)
                })
            })
            .await??
        };
        // A newer one may have been installed meanwhile.
        self.outgoing.offer_newest(&meta, &snapshot);
        Ok(Snapshot { meta, snapshot })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use regency_runtime::CountingIds;
    use regency_state::{BeginTerm, ExpireFilters, MasterInfo, ReportStateHash};
    use regency_types::{ClusterId, ClusterTime, Incarnation, NodeId, WallTime};

    use super::*;
    use crate::config::EngineKind;
    use crate::types::{EncodedProposal, Entry, log_id};

    const AUDIT_EVERY: u64 = 4;

    fn machine(dir: &std::path::Path) -> Machine {
        let identity = Identity::open(dir, NodeId(1), EngineKind::Sled, &CountingIds::default())
            .expect("new directory");
        identity.join(ClusterId(1)).expect("joins");
        let store = SnapshotStore::open(&dir.join("snapshots"), "test").expect("opens");
        let (effects, audit) = (EffectSink::new(16), Audit::new(AUDIT_EVERY));
        let outgoing = Outgoing::new(|| None);
        Machine::new(store, None, Arc::new(identity), effects, audit, outgoing)
    }

    fn begin_term() -> Command {
        Command::BeginTerm(BeginTerm {
            cluster: ClusterId(1),
            term: Term(1),
            master: MasterInfo {
                node: NodeId(1),
                incarnation: Incarnation(1),
                process: 1,
                hostname: "h".into(),
                http: "h:1".into(),
                agent: "h:2".into(),
                version: "test".into(),
            },
        })
    }

    fn proposal(command: Command, at_ms: u64) -> Bytes {
        regency_stored::encode_proposal(&Proposal {
            proposed_at: ClusterTime(at_ms),
            wall: WallTime(0),
            command,
        })
        .into()
    }

    async fn apply(machine: &mut Machine, entries: Vec<(u64, Bytes)>) -> io::Result<()> {
        let entries = entries.into_iter().map(|(index, bytes)| {
            let entry = Entry {
                log_id: log_id(1, index),
                payload: EntryPayload::Normal(EncodedProposal { bytes }),
            };
            Ok((entry, None))
        });
        machine.apply(futures::stream::iter(entries)).await
    }

    fn poison(state: &mut State, proposal: &Proposal) -> Applied {
        let applied = state.apply(proposal);
        assert!(
            proposal.proposed_at != ClusterTime(66),
            "an invariant broke"
        );
        applied
    }

    #[tokio::test]
    async fn a_poison_entry_changes_nothing_and_the_next_one_is_applied() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut machine = machine(dir.path());
        machine.apply = poison;
        let states = machine.states();
        apply(&mut machine, vec![(0, proposal(begin_term(), 5))])
            .await
            .expect("applied");
        let before = regency_stored::state_digest(&states.borrow().state);
        apply(&mut machine, vec![(1, proposal(begin_term(), 66))])
            .await
            .expect("refused, not failed");
        assert_eq!(states.borrow().index, 1);
        assert_eq!(regency_stored::state_digest(&states.borrow().state), before);
        let refused = machine
            .apply_proposal(log_id(1, 2), &proposal(begin_term(), 66))
            .expect("refused, not failed");
        assert!(matches!(refused.verdict, Err(Refusal::Internal(_))));
        assert!(refused.effects.is_empty());
        apply(
            &mut machine,
            vec![(3, proposal(Command::ExpireFilters(ExpireFilters), 70))],
        )
        .await
        .expect("applied");
        assert_eq!(states.borrow().state.now(), ClusterTime(70));
    }

    #[tokio::test]
    async fn an_entry_that_does_not_decode_stops_the_machine_before_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut machine = machine(dir.path());
        let states = machine.states();
        apply(&mut machine, vec![(0, proposal(begin_term(), 5))])
            .await
            .expect("applied");
        let error = apply(&mut machine, vec![(1, Bytes::from_static(b"\xff\xff"))])
            .await
            .expect_err("stops");
        assert!(error.to_string().contains("entry 1"), "{error}");
        assert_eq!(states.borrow().index, 0);
        assert_eq!(machine.applied, Some(log_id(1, 0)));
    }

    #[tokio::test]
    async fn a_snapshot_is_of_the_moment_it_was_asked_for() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut machine = machine(dir.path());
        apply(&mut machine, vec![(0, proposal(begin_term(), 5))])
            .await
            .expect("applied");
        let mut builder = machine.get_snapshot_builder().await;
        apply(
            &mut machine,
            vec![(1, proposal(Command::ExpireFilters(ExpireFilters), 70))],
        )
        .await
        .expect("applied");
        let snapshot = builder.build_snapshot().await.expect("written");
        assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, 0)));
        let loaded = snapshot::load(&snapshot.snapshot, Some(ClusterId(1))).expect("whole");
        assert_eq!(loaded.state.now(), ClusterTime(5));
        let current = machine.get_current_snapshot().await.expect("read");
        assert_eq!(current.expect("there").meta, snapshot.meta);
    }

    /// A machine of three voters that has digested its state after entry [`AUDIT_EVERY`].
    async fn audited(dir: &std::path::Path) -> (Machine, u128) {
        let mut machine = machine(dir);
        let info = crate::types::MemberInfo::default();
        let members = (1..=3).map(|node| (node, info.clone()));
        let membership = crate::types::Membership::new(
            vec![std::collections::BTreeSet::from([1, 2, 3])],
            members.collect::<std::collections::BTreeMap<_, _>>(),
        );
        machine.membership =
            StoredMembership::new(Some(log_id(1, 0)), membership.expect("all are known"));
        let entries = (1..=AUDIT_EVERY).map(|index| (index, proposal(begin_term(), index)));
        apply(&mut machine, entries.collect())
            .await
            .expect("applied");
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while machine.audit.digest(AUDIT_EVERY).is_none() {
            assert!(tokio::time::Instant::now() < deadline, "no digest");
            tokio::task::yield_now().await;
        }
        let digest = regency_stored::state_digest(&machine.state);
        assert_eq!(machine.audit.digest(AUDIT_EVERY), Some(digest));
        (machine, digest)
    }

    fn report(index: u64, node: u64, digest: u128) -> (u64, Bytes) {
        let command = Command::ReportStateHash(ReportStateHash {
            node: NodeId(node),
            index: AUDIT_EVERY,
            schema: regency_stored::STATE_VERSION,
            digest,
        });
        (index, proposal(command, 100))
    }

    #[tokio::test]
    async fn a_master_whose_state_is_not_that_of_the_majority_stops() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (mut machine, own) = audited(dir.path()).await;
        apply(&mut machine, vec![report(5, 1, own), report(6, 2, own + 1)])
            .await
            .expect("nobody has a majority");
        assert_eq!(machine.audit.judged(), None);
        let error = apply(&mut machine, vec![report(7, 3, own + 1)])
            .await
            .expect_err("it is outvoted");
        assert!(error.to_string().contains("entry 4"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert_eq!(machine.applied, Some(log_id(1, 6)));
    }

    #[tokio::test]
    async fn a_master_with_the_majority_goes_on_whatever_one_says() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (mut machine, own) = audited(dir.path()).await;
        let said = vec![
            report(5, 2, own + 1),
            report(6, 1, own),
            report(7, 3, own),
            // Who has no vote does not count, nor does a second word.
            report(8, 4, own + 1),
            report(9, 1, own + 1),
        ];
        apply(&mut machine, said).await.expect("it is right");
        let judged = machine.audit.judged().expect("two agree");
        assert_eq!((judged.index, judged.digest), (AUDIT_EVERY, own));
        assert_eq!(judged.n_agree, 2);
    }
}

//! Bounds that every master must agree on, because `apply` reads them.
//!
//! They are constants of the format and not flags: two masters with different values would
//! disagree about the state. Changing one is a change of the cluster's feature level.

use regency_types::DurationMs;

/// Completed frameworks kept for display (Mesos' `max_completed_frameworks`).
pub const COMPLETED_FRAMEWORKS_MAX: usize = 50;
/// Completed tasks kept per framework (Mesos' `max_completed_tasks_per_framework`).
pub const COMPLETED_TASKS_PER_FRAMEWORK_MAX: usize = 1000;
/// Consumed offers remembered, so that a call repeated after a lost answer gets the first verdict.
pub const CONSUMED_OFFERS_MAX: usize = 100_000;
/// Refusal statuses retained per framework and sent again at its next subscription.
pub const RETAINED_STATUSES_MAX: usize = 1000;
/// How long a refusal status is retained.
pub const RETAINED_STATUS_AGE_MAX: DurationMs = DurationMs::from_secs(300);
/// Unacknowledged updates a framework may have before its ACCEPTs are refused.
pub const UNACKED_UPDATES_MAX: u64 = 10_000;
/// Operations of a framework that may wait for its acknowledgement; further ones with an id are
/// refused.
pub const OPERATIONS_UNACKED_MAX: usize = 1000;
/// Roles that may have a quota or a weight.
pub const ROLES_CONFIGURED_MAX: usize = 10_000;
/// Resources that one quota may name.
pub const QUOTA_RESOURCES_MAX: usize = 100;
/// Decline filters kept per framework and agent; the oldest goes first.
pub const FILTERS_PER_AGENT_MAX: usize = 16;
/// Remaining life a decline filter keeps at its framework's first subscription under a new
/// leader: the scheduler may have died with the master and will then never revive.
pub const FILTER_LIFE_AT_FAILOVER_MAX: DurationMs = DurationMs::from_secs(30);
/// The longest failover timeout of a framework that made no call after its first SUBSCRIBED: its
/// scheduler may never have seen that answer.
pub const UNCONFIRMED_LIFE_MAX: DurationMs = DurationMs::from_secs(60);
/// No failover deadline takes effect within this time of a `BeginTerm`.
pub const RESUBSCRIBE_GRACE: DurationMs = DurationMs::from_secs(15);
/// Highest command number believed to an agent that claims to have noted it: numbers must not run
/// out.
pub const COMMAND_SEQ_BELIEVED_MAX: u64 = u64::MAX / 2;
/// State changes remembered per task for display.
pub const STATUS_HISTORY_MAX: usize = 16;
/// Longest a decline filter may last (Mesos: 365 days).
pub const REFUSE_MAX: DurationMs = DurationMs::from_secs(365 * 24 * 3600);
/// Filter when a DECLINE or ACCEPT names none or an invalid one (Mesos: 5 s).
pub const REFUSE_DEFAULT: DurationMs = DurationMs::from_secs(5);
/// How far above its own counter a framework number may be to be adopted.
pub const FRAMEWORK_NUMBERS_ADOPTED_MAX: u64 = 1_000_000;
/// Kills of one task that may wait for its agent; a further one replaces the last.
pub const KILLS_WAITING_MAX: usize = 4;
/// Clusters whose state this was that are remembered.
pub const ANCESTORS_MAX: usize = 32;
/// Numbers of launches that are left out when the state goes on as that of another cluster: more
/// than the former one can have given out since.
pub const GENERATIONS_SKIPPED: u64 = 1 << 32;
/// Machines in a maintenance schedule.
pub const MACHINES_MAX: usize = 20_000;
/// Agents marked gone that are remembered; those marked first go first. One that is forgotten is
/// not known any more, and cannot come back either. As many as Mesos keeps; leaders forget earlier when
/// they are told to.
pub const GONE_AGENTS_MAX: usize = 102_400;
/// Digests of masters' states that are kept, the newest of all: several rounds of a large cluster.
pub const STATE_HASHES_MAX: usize = 64;

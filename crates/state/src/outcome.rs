//! The verdict on a proposal: what became true, or why nothing changed.

use regency_types::{AgentId, FrameworkId, OfferId};

/// What a proposal got: the same on every master.
pub type Verdict = Result<Outcome, Refusal>;

/// What became true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It became true; nothing more to tell.
    Done,
    /// The agent is registered under this id.
    AgentRegistered {
        /// The id, new or the one it had.
        agent: AgentId,
    },
    /// Reports up to this number are applied.
    ReportsApplied {
        /// Highest report number applied.
        report_seq: u64,
    },
    /// The framework is subscribed under this id.
    Subscribed {
        /// The id, new or the one it had.
        framework: FrameworkId,
    },
    /// These offers were made; plans that no longer fitted were left out.
    OffersIssued {
        /// In the order of the plans.
        offers: Vec<OfferId>,
        /// Plans left out.
        n_skipped: u64,
    },
    /// The offers were used.
    Accepted {
        /// Tasks launched.
        n_launched: u64,
        /// Tasks refused; their statuses are on the way.
        n_refused: u64,
    },
    /// The kill concerns no task the masters know; the framework is answered by a reconciliation.
    TaskUnknown,
    /// Resources freed or nothing to do, with how many items.
    Removed {
        /// How many.
        n: u64,
    },
}

/// Why nothing changed. A decision, not a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The entry was made by a master of another cluster.
    #[error("the command is for another cluster")]
    WrongCluster,
    /// The term is older than the state's.
    #[error("term {0} is over")]
    TermOver(u64),
    /// No agent with this id.
    #[error("agent {0} is not known")]
    AgentUnknown(AgentId),
    /// The agent id belongs to another checkpoint directory.
    #[error("agent {0} is another one")]
    AgentEpochDiffers(AgentId),
    /// The agent offers less than is in use on it.
    #[error("the agent has less than is in use on it: {0}")]
    TotalBelowUsed(String),
    /// The agent was heard since, or is already marked.
    #[error("agent {0} is not overdue")]
    AgentNotOverdue(AgentId),
    /// The machine the agent is on was taken down for maintenance.
    #[error("machine {0} is down for maintenance")]
    MachineDown(String),
    /// The machines or windows named do not make a schedule, or are not in the mode that is needed.
    #[error("{0}")]
    MaintenanceInvalid(String),
    /// The agent is on a machine that is in a maintenance schedule.
    #[error("agent {0} is on a machine that is in the maintenance schedule")]
    AgentScheduled(AgentId),
    /// The agent is still being drained.
    #[error("agent {0} is still draining")]
    AgentDraining(AgentId),
    /// The agent was not taken out of use.
    #[error("agent {0} is not deactivated")]
    AgentNotDeactivated(AgentId),
    /// The agent is not drained, or something is left on it.
    #[error("agent {0} is not empty")]
    AgentNotEmpty(AgentId),
    /// No framework with this id.
    #[error("framework {0} is not known")]
    FrameworkUnknown(FrameworkId),
    /// The framework ended; its id is never used again.
    #[error("Framework has been removed")]
    FrameworkRemoved,
    /// The principal of a framework may not change.
    #[error("Changing framework's principal is not allowed")]
    PrincipalChanged,
    /// This field of a `FrameworkInfo` may not change.
    #[error("Changing framework's {0} is not allowed")]
    FieldImmutable(String),
    /// The subscription spoken of is not the current one.
    #[error("the subscription is not the current one")]
    StreamSuperseded,
    /// The deadline spoken of has not come, or was moved.
    #[error("the deadline has not come")]
    DeadlineNotReached,
    /// A role named is not one of the framework's.
    #[error("role '{0}' is not one of the framework's")]
    RoleNotSubscribed(String),
    /// The offers are not (all) usable by this call. Tasks were told, nothing was launched.
    #[error("Offers are not valid: {0}")]
    OffersInvalid(String),
    /// The operation cannot be what is asked for.
    #[error("{0}")]
    OperationInvalid(String),
    /// What the operation needs is used by tasks, or not there.
    #[error("the resources are not there or in use: {0}")]
    ResourcesInUse(String),
    /// It cannot be the quota or the weight of a role.
    #[error("{0}")]
    RoleConfigInvalid(String),
    /// There would be more guarantees than the cluster has.
    #[error("{0}")]
    QuotaOvercommitted(String),
    /// A role has more for good than it may have.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The role has a quota already.
    #[error("Role '{0}' already has quota set")]
    QuotaExists(String),
    /// The role has no quota. The words are those that Mesos' masters were seen to answer with.
    #[error("Role '{0}' has no quota set")]
    QuotaUnknown(String),
    /// The update acknowledged is not the one at the head of the task's stream.
    #[error("no such update is waiting")]
    UpdateUnknown,
    /// Applying the entry hit a broken invariant; its changes were discarded on every master.
    #[error("internal error: {0}")]
    Internal(String),
}

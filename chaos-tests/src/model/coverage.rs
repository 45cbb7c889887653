//! How often each fault really struck: a run in which one never did proves nothing about it.

macro_rules! faults {
    ($($(#[doc = $what:literal])+ $name:ident,)+) => {
        /// Something that went wrong, or a rare thing that the rules are about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $what])+ $name,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What happened, for people.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($what,)+).trim(),)+
                }
            }
        }
    };
}

faults! {
    /// A leader died.
    LeaderDied,
    /// A leader was deposed and did not know.
    LeaderDeposed,
    /// A leader was elected.
    Failover,
    /// A proposal was lost with its leader.
    ProposalLost,
    /// A proposal was committed by the successor of its leader.
    ProposalInherited,
    /// A proposal was committed after a later one.
    ProposalOvertaken,
    /// A proposal did not get into the log.
    ProposalRefused,
    /// An entry was committed and its proposer did not hear of it.
    AnswerLost,
    /// An entry was committed and nobody was told before its leader died.
    CommittedUntold,
    /// A leader that was deposed said something to an agent.
    OldLeaderSpoke,
    /// A leader that was deposed wanted to commit something.
    OldLeaderProposed,
    /// An agent that knew of a higher term was not let in.
    OldLeaderRefused,
    /// Messages were lost with a connection.
    MessagesLost,
    /// A leader did not notice that a connection broke.
    HalfOpen,
    /// A newer attachment of an agent took over.
    AttachmentSuperseded,
    /// An agent was asked for its whole picture.
    PictureAsked,
    /// An agent died before its records were durable.
    CrashBeforeSync,
    /// An agent died when its records were durable and nothing was done.
    CrashAfterSync,
    /// An agent died while a command ran.
    CrashWhileRunning,
    /// A machine went down under a command.
    RebootWhileRunning,
    /// A machine was wiped, and its agent superseded.
    AgentSuperseded,
    /// Another machine came with the id of an agent.
    ImpostorRefused,
    /// An agent came back with other resources.
    ResourcesChanged,
    /// An agent was suspected.
    AgentSuspected,
    /// An agent was given up.
    AgentUnreachable,
    /// An agent that was given up was heard on the connection it had.
    HeardAfterGivenUp,
    /// An agent that was given up came back.
    AgentReturned,
    /// An agent was to be drained while it was away.
    DrainWaited,
    /// A draining agent was found empty.
    AgentDrained,
    /// An agent was given back to use.
    AgentReactivated,
    /// An agent was marked gone.
    AgentGone,
    /// A launch was withdrawn.
    LaunchWithdrawn,
    /// A task was lost by its agent.
    TaskGone,
    /// A launch was dropped by its agent.
    TaskDropped,
    /// A launch was refused.
    LaunchRefused,
    /// Offers were used that were no longer valid.
    InvalidOffersUsed,
    /// Offers made by one leader were used under another.
    OffersCarriedOver,
    /// An offer was taken back.
    OfferRescinded,
    /// An offer expired.
    OfferExpired,
    /// An offer was declined.
    OfferDeclined,
    /// A call was repeated, and known again.
    CallRepeated,
    /// A task was killed while it ran.
    KilledWhileRunning,
    /// A task was killed before it ran.
    KilledBeforeStart,
    /// A kill waited for an agent that was away.
    KillWaited,
    /// A task id was used again.
    TaskIdReused,
    /// An update was sent again.
    UpdateSentAgain,
    /// An update was carried over to another leader.
    UpdateCarriedOver,
    /// A framework's stream broke.
    StreamBroke,
    /// A newer subscription took over.
    FrameworkFailedOver,
    /// A framework was disconnected.
    FrameworkDisconnected,
    /// A framework was removed when its failover timeout ended.
    FrameworkExpired,
    /// A framework ended itself.
    FrameworkTornDown,
    /// An executor was started.
    ExecutorStarted,
    /// An executor ended.
    ExecutorEnded,
}

/// How often each fault struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    counts: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            counts: vec![0; Fault::ALL.len()],
        }
    }
}

impl Coverage {
    /// It struck.
    pub fn struck(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    /// How often it struck.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }

    /// Adds what another run saw.
    pub fn add(&mut self, other: &Self) {
        for (own, others) in self.counts.iter_mut().zip(&other.counts) {
            *own += others;
        }
    }

    /// What never struck.
    #[must_use]
    pub fn missing(&self) -> Vec<Fault> {
        let all = Fault::ALL.iter().copied();
        all.filter(|fault| self.count(*fault) == 0).collect()
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for fault in Fault::ALL {
            writeln!(f, "{:>12}  {}", self.count(*fault), fault.what())?;
        }
        Ok(())
    }
}

//! Defects that can be switched on, to test the tests.
//!
//! Each stands where a promise is kept, as `if on(Mutant::…)`. Without the feature `selectable`
//! that is a constant `false` and nothing of it is left in the program; with it, one of them can be
//! selected at run time, so that a single build has all of them. A build without debug assertions,
//! such as a release, does not compile with the feature.
//!
//! What a defect breaks must be found by the model run (`docs/chaos.md`); a defect that is not found
//! is a hole in it.

#[cfg(all(feature = "selectable", not(debug_assertions)))]
compile_error!(
    "mutants are for tests: the feature `selectable` is not for builds without debug assertions"
);

macro_rules! mutants {
    ($($(#[doc = $what:literal])+ $name:ident,)+) => {
        /// A defect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[doc = $what])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What is wrong with it.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($what,)+).trim(),)+
                }
            }
        }
    };
}

mutants! {
    // The replicated state.
    /// An accepted offer stays outstanding.
    OfferOutlivesAccept,
    /// A repeated ACCEPT is not known again.
    AcceptNotRemembered,
    /// The offers of others can be accepted.
    AcceptForeignOffers,
    /// The resources of an offer that ended are not given back.
    LeakOffer,
    /// The resources of a task that ended are not given back.
    LeakTask,
    /// The resources of an executor that ended are not given back.
    LeakExecutor,
    /// An executor is charged for each of its tasks.
    ChargeExecutorTwice,
    /// Offers are made without a look at what is left.
    OfferTwice,
    /// Offers are made to frameworks that are gone.
    OfferToTheAbsent,
    /// An offer expires before its deadline.
    ExpireOffersEarly,
    /// A report is believed about any launch of a task.
    DropGenerationCheck,
    /// An agent is believed whatever its checkpoint directory is.
    DropEpochCheck,
    /// Reports are applied again when they come again.
    ApplyReportsAgain,
    /// An end is not final.
    EndIsNotFinal,
    /// An acknowledgement counts whatever update it names.
    AcknowledgeAnyUpdate,
    /// An acknowledgement is not passed on to the agent.
    AcknowledgementNotPassedOn,
    /// A change of leader forgets the updates that wait.
    LoseUpdatesOnFailover,
    /// A change of leader forgets the offers.
    LoseOffersOnFailover,
    /// A change of leader forgets the filters.
    LoseFiltersOnFailover,
    /// A change of leader begins to count offers anew.
    ReuseOfferIds,
    /// A change of leader begins to count launches anew.
    ReuseGenerations,
    /// A framework id is given out again when its framework has ended.
    ReuseFrameworkIds,
    /// A change of leader lets cluster time jump.
    TimeRunsWithoutLeader,
    /// A kill is noted, but the agent is not told.
    ForgetKill,
    /// A kill for an agent that is away is dropped.
    DropKillForAbsent,
    /// Launches that an agent did not confirm are not withdrawn when it is given up.
    NoWithdrawal,
    /// A task of an agent that is given up has ended for good.
    UnreachableIsGone,
    /// A comparison of pictures takes launches that are on their way for lost.
    LoseLaunchesOnResync,
    /// Agents are not told that a framework is gone.
    TeardownNotPassedOn,
    /// A framework is removed before its failover timeout ended.
    ExpireFrameworksEarly,
    /// A framework is removed right after a change of leader.
    NoGraceAfterFailover,
    /// A filter never ends.
    FilterForever,
    /// REVIVE does not clear filters.
    ReviveKeepsFilters,

    // What leaders decide.
    /// An agent is given up for what an earlier leader did not hear.
    CondemnUnheard,
    /// Silence is counted from the beginning of time, not of the term.
    SilenceBeforeTerm,
    /// An agent that was heard again stays suspected.
    SuspectForever,
    /// An agent that was given up and is heard again stays given up.
    LeaveGivenUp,
    /// An agent that knows of a higher term is let in.
    AdmitFromTheFuture,
    /// Agents are sent their commands from the newest one on.
    CommandsFromNewest,
    /// Nobody waits for frameworks after a change of leader.
    AwaitNobody,
    /// An update is sent once and never again.
    NoRetries,

    // The allocator.
    /// Offers come from agents that are not there.
    OfferAbsentAgents,
    /// Filters are not heeded.
    IgnoreFilters,
    /// Nothing that was filtered once is offered again.
    FiltersNeverExpire,

    // The agent.
    /// A master of a lower term is followed.
    FollowLowerTerm,
    /// The highest term is not made durable.
    ForgetTerm,
    /// What is said on a stream that was left counts.
    HearLeftStreams,
    /// A launch is started again after a restart.
    StartAgain,
    /// A command is let run before that is recorded.
    GoBeforeRecord,
    /// A launch that was withdrawn leaves no tombstone.
    NoTombstone,
    /// The end of a process is told as often as it is heard.
    EndTwice,
    /// An update replaces those that wait.
    UpdateReplacesWaiting,
    /// Report numbers begin anew at a start.
    ReportNumbersRestart,
    /// A kill is forgotten by a restart.
    KillForgottenAtRestart,
    /// SIGTERM is never followed by SIGKILL.
    NoSigkill,
    /// The tasks of a framework that is gone run on.
    FrameworkTasksRunOn,
    /// What a leader said is done before it is durable.
    ActBeforeSync,

    // What stands for the log of the masters in the model.
    /// A leader tells what is not committed yet.
    TellBeforeCommit,
    /// A new leader lacks the newest committed entries.
    LoseCommitted,
    /// A deposed leader can still commit.
    CommitAfterDeposition,
}

#[cfg(feature = "selectable")]
mod selected {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Mutant;

    /// Of the selected one, its place in the list and one; 0: none.
    static SELECTED: AtomicUsize = AtomicUsize::new(0);

    /// Switches a defect on, in the whole process, and all others off.
    pub fn select(mutant: Option<Mutant>) {
        let at = mutant.map_or(0, |mutant| mutant as usize + 1);
        SELECTED.store(at, Ordering::SeqCst);
    }

    /// Whether this defect is switched on.
    #[must_use]
    pub fn on(mutant: Mutant) -> bool {
        SELECTED.load(Ordering::Relaxed) == mutant as usize + 1
    }
}

#[cfg(feature = "selectable")]
pub use selected::{on, select};

/// Whether this defect is switched on: never, without the feature `selectable`.
#[cfg(not(feature = "selectable"))]
#[must_use]
#[inline(always)]
pub const fn on(_mutant: Mutant) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "selectable"))]
    #[test]
    fn no_defect_can_be_switched_on_without_the_feature() {
        assert!(Mutant::ALL.iter().all(|mutant| !on(*mutant)));
    }

    #[cfg(feature = "selectable")]
    #[test]
    fn one_defect_is_switched_on_at_a_time() {
        for mutant in Mutant::ALL {
            select(Some(*mutant));
            let those: Vec<_> = Mutant::ALL.iter().filter(|m| on(**m)).collect();
            assert_eq!(those, [mutant]);
        }
        select(None);
        assert!(Mutant::ALL.iter().all(|mutant| !on(*mutant)));
    }

    #[test]
    fn every_defect_says_what_is_wrong() {
        for mutant in Mutant::ALL {
            assert!(!mutant.what().is_empty(), "{}", mutant.name());
        }
    }
}

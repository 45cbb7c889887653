//! The subscription as calls see it: up, down, or over for good.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use regency_wire::v1::scheduler::OfferConstraints;
use regency_wire::v1::{FrameworkId, FrameworkInfo};
use tokio::sync::watch;

/// Why a stream of events ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// The connection was closed or lost.
    Closed,
    /// Nothing was heard for several heartbeats.
    Silent,
    /// Another master leads now.
    Deposed {
        /// Its `host:port`.
        leader: String,
    },
    /// The stream carried something that is no event.
    Garbled(String),
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("connection lost"),
            Self::Silent => f.write_str("no heartbeat"),
            Self::Deposed { leader } => write!(f, "{leader} leads now"),
            Self::Garbled(reason) => f.write_str(reason),
        }
    }
}

/// One subscription that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    /// Counts the subscriptions of this framework.
    pub(crate) generation: u64,
    /// The leader's `host:port`.
    pub(crate) leader: String,
    /// What calls must carry in `Mesos-Stream-Id`.
    pub(crate) stream_id: String,
    pub(crate) framework_id: FrameworkId,
}

/// State of the subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// A leader is being looked for.
    Down,
    Up(Live),
    /// Torn down, refused, or the events are no longer wanted. Never up again.
    Over(String),
}

/// What a framework says of itself, with SUBSCRIBE and UPDATE_FRAMEWORK.
#[derive(Debug, Clone, Default)]
pub(crate) struct Description {
    pub(crate) framework_info: FrameworkInfo,
    pub(crate) offer_constraints: Option<OfferConstraints>,
}

/// What the subscription and the calls of one framework share.
#[derive(Debug)]
pub(crate) struct Session {
    state: watch::Sender<State>,
    description: Mutex<Description>,
    /// Roles that get no offers at the framework's own wish; a SUBSCRIBE has to repeat them.
    suppressed: Mutex<BTreeSet<String>>,
}

impl Session {
    pub(crate) fn new(description: Description) -> Self {
        Self {
            state: watch::Sender::new(State::Down),
            description: Mutex::new(description),
            suppressed: Mutex::default(),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn up(&self, live: Live) {
        self.replace(State::Up(live));
    }

    pub(crate) fn down(&self) {
        self.replace(State::Down);
    }

    pub(crate) fn end(&self, why: impl Into<String>) {
        self.replace(State::Over(why.into()));
    }

    /// The end is final, whatever a subscription in progress still reports.
    fn replace(&self, next: State) {
        self.state.send_if_modified(|state| {
            if matches!(state, State::Over(_)) {
                return false;
            }
            *state = next;
            true
        });
    }

    /// Waits for the end.
    pub(crate) async fn over(&self) {
        let mut state = self.watch();
        // The sender is part of `self`, so that waiting cannot fail.
        let _ended = state
            .wait_for(|state| matches!(state, State::Over(_)))
            .await;
    }

    pub(crate) fn framework_id(&self) -> Option<FrameworkId> {
        match &*self.state.borrow() {
            State::Up(live) => Some(live.framework_id.clone()),
            State::Down | State::Over(_) => None,
        }
    }

    pub(crate) fn description(&self) -> Description {
        let description = self.description.lock();
        description.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on the framework says this; roles that it does not have are not suppressed any more.
    pub(crate) fn describe(&self, description: Description) {
        let mut suppressed = self
            .suppressed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        suppressed.retain(|role| description.framework_info.roles.contains(role));
        drop(suppressed);
        let mut place = self
            .description
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *place = description;
    }

    pub(crate) fn suppressed_roles(&self) -> Vec<String> {
        let suppressed = self
            .suppressed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        suppressed.iter().cloned().collect()
    }

    pub(crate) fn suppress(&self, roles: &[String]) {
        let mut suppressed = self
            .suppressed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        suppressed.extend(roles.iter().cloned());
    }

    pub(crate) fn revive(&self, roles: &[String]) {
        let mut suppressed = self
            .suppressed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        suppressed.retain(|role| !roles.contains(role));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_is_final() {
        let session = Session::new(Description::default());
        session.end("torn down");
        session.down();
        session.over().await;
        assert_eq!(*session.watch().borrow(), State::Over("torn down".into()));
    }

    #[test]
    fn suppressed_roles_are_remembered_until_revived() {
        let session = Session::new(Description::default());
        session.suppress(&["a".into(), "b".into()]);
        session.revive(&["a".into(), "c".into()]);
        assert_eq!(session.suppressed_roles(), ["b"]);
        // A role that the framework left is not suppressed when it comes back.
        session.describe(Description::default());
        assert!(session.suppressed_roles().is_empty());
    }
}

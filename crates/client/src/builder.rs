//! Describing a framework and subscribing it.

use std::sync::Arc;
use std::time::Duration;

use regency_wire::ContentType;
use regency_wire::v1::scheduler::OfferConstraints;
use regency_wire::v1::{FrameworkId, FrameworkInfo, TaskStatus, framework_info};
use tokio::sync::{Semaphore, mpsc};

use crate::calls::Framework;
use crate::event::{Event, Events};
use crate::http::Http;
use crate::leader::Masters;
use crate::session::{Description, Session};
use crate::subscription::Subscription;

/// Events that wait to be read before the master is made to wait.
const EVENTS_WAITING_MAX: usize = 1024;
/// Acknowledgements that wait to be sent.
const ACKNOWLEDGEMENTS_WAITING_MAX: usize = 16 * 1024;
/// Acknowledgements that are on their way at the same time.
const ACKNOWLEDGEMENTS_SENT_MAX: usize = 32;
/// How long a call is tried by default.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Who acknowledges status updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// The framework does, with [`Framework::acknowledge`], when it has stored what it was told.
    Manual,
    /// This crate does, when the framework asks for the event after the update.
    #[default]
    Automatic,
}

/// Why a framework cannot be subscribed, found before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No masters were given.
    #[error("no masters given: expecting at least one host:port")]
    NoMasters,
    /// An address is not a host and a port.
    #[error("bad address '{0}' of a master: expecting host:port")]
    BadAddress(String),
}

/// A framework to be. See the example at the top of the crate.
#[derive(Debug, Clone)]
#[must_use]
pub struct FrameworkBuilder {
    framework_info: FrameworkInfo,
    offer_constraints: Option<OfferConstraints>,
    masters: Vec<String>,
    acknowledge: Acknowledge,
    content_type: ContentType,
    call_timeout: Duration,
}

impl FrameworkBuilder {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            framework_info: FrameworkInfo {
                name: name.into(),
                user: "root".to_owned(),
                capabilities: vec![capability(framework_info::capability::Type::MultiRole)],
                ..FrameworkInfo::default()
            },
            offer_constraints: None,
            masters: Vec::new(),
            acknowledge: Acknowledge::default(),
            content_type: ContentType::Protobuf,
            call_timeout: CALL_TIMEOUT,
        }
    }

    /// The masters, as `host:port`. Some are enough; a leader that is not among them is found
    /// through the others.
    pub fn masters<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.masters.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// The user that tasks run as; `root` by default.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.framework_info.user = user.into();
        self
    }

    /// Adds a role to get offers for. Without any there are none.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.framework_info.roles.push(role.into());
        self
    }

    /// Adds something the framework can deal with. `MULTI_ROLE` is always there.
    pub fn capability(mut self, one: framework_info::capability::Type) -> Self {
        let added = capability(one);
        if !self.framework_info.capabilities.contains(&added) {
            self.framework_info.capabilities.push(added);
        }
        self
    }

    /// How long the framework and its tasks live on when this process is gone. Zero, the default,
    /// ends them at once.
    pub fn failover_timeout(mut self, timeout: Duration) -> Self {
        self.framework_info.failover_timeout = Some(timeout.as_secs_f64());
        self
    }

    /// The id from an earlier process, to take over its tasks, offers and updates.
    pub fn framework_id(mut self, id: FrameworkId) -> Self {
        self.framework_info.id = Some(id);
        self
    }

    /// Changes any other field. The id belongs into [`Self::framework_id`].
    pub fn framework_info(mut self, change: impl FnOnce(&mut FrameworkInfo)) -> Self {
        change(&mut self.framework_info);
        self
    }

    /// Which agents to get offers of, by role; of all without it.
    pub fn offer_constraints(mut self, constraints: OfferConstraints) -> Self {
        self.offer_constraints = Some(constraints);
        self
    }

    /// Who acknowledges status updates; this crate by default.
    pub fn acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.acknowledge = acknowledge;
        self
    }

    /// The encoding of calls and events; protobuf by default.
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.content_type = content_type;
        self
    }

    /// How long a call is tried before it fails as unanswered; one minute by default.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Starts to subscribe. The first event tells when that worked out; until then calls wait.
    ///
    /// # Errors
    /// When there is no usable address of a master.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    pub fn connect(self) -> Result<(Framework, Events), BuildError> {
        if self.masters.is_empty() {
            return Err(BuildError::NoMasters);
        }
        if let Some(bad) = self.masters.iter().find(|address| !is_host_port(address)) {
            return Err(BuildError::BadAddress(bad.clone()));
        }
        let framework_id = self.framework_info.id.clone();
        let session = Arc::new(Session::new(Description {
            framework_info: self.framework_info,
            offer_constraints: self.offer_constraints,
        }));
        let http = Http::default();
        let framework = Framework {
            session: Arc::clone(&session),
            http: http.clone(),
            content_type: self.content_type,
            call_timeout: self.call_timeout,
        };
        let (event_sender, event_receiver) = mpsc::channel::<Event>(EVENTS_WAITING_MAX);
        let subscription = Subscription {
            framework_id,
            content_type: self.content_type,
            masters: Masters::new(self.masters, http.clone()),
            http,
            session,
            events: event_sender,
            generation: 0,
        };
        tokio::spawn(subscription.run());
        let acknowledge = match self.acknowledge {
            Acknowledge::Manual => None,
            Acknowledge::Automatic => Some(acknowledge_for(framework.clone())),
        };
        Ok((framework, Events::new(event_receiver, acknowledge)))
    }
}

fn capability(one: framework_info::capability::Type) -> framework_info::Capability {
    framework_info::Capability {
        r#type: Some(one as i32),
    }
}

fn is_host_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Acknowledges what it is given; ends when the other end is dropped. Updates of one task cannot
/// overtake each other, because the next is delivered only after the one before is acknowledged.
fn acknowledge_for(framework: Framework) -> mpsc::Sender<TaskStatus> {
    let (sender, mut statuses) = mpsc::channel::<TaskStatus>(ACKNOWLEDGEMENTS_WAITING_MAX);
    tokio::spawn(async move {
        let free = Arc::new(Semaphore::new(ACKNOWLEDGEMENTS_SENT_MAX));
        while let Some(status) = statuses.recv().await {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
                break;
            };
            let framework = framework.clone();
            tokio::spawn(async move {
                if let Err(error) = framework.acknowledge(&status).await {
                    // The master repeats the update, and it is acknowledged then.
                    tracing::debug!(task_id = %status.task_id.value, %error, "not acknowledged");
                }
                drop(permit);
            });
        }
    });
    sender
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_checked_before_anything_is_sent() {
        let connect = |masters: &[&str]| {
            Framework::builder("f")
                .masters(masters.iter().copied())
                .connect()
                .err()
        };
        assert_eq!(connect(&[]), Some(BuildError::NoMasters));
        for bad in ["localhost", ":5050", "host:", "host:99999"] {
            let error = connect(&["127.0.0.1:1", bad]);
            assert_eq!(error, Some(BuildError::BadAddress(bad.to_owned())));
        }
    }
}

//! What a framework asks of the master, sent until it is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use regency_runtime::Backoff;
use regency_wire::v1::offer::{Operation, operation};
use regency_wire::v1::scheduler::call::{
    Accept, AcceptInverseOffers, Acknowledge, AcknowledgeOperationStatus, Decline,
    DeclineInverseOffers, Kill, Message, Reconcile, Revive, Suppress, Type, UpdateFramework,
    reconcile,
};
use regency_wire::v1::scheduler::{Call, OfferConstraints};
use regency_wire::v1::{
    AgentId, ExecutorId, ExecutorInfo, Filters, FrameworkId, FrameworkInfo, OfferId,
    OperationStatus, TaskGroupInfo, TaskId, TaskInfo, TaskStatus,
};
use regency_wire::{ContentType, encode};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::builder::FrameworkBuilder;
use crate::http::{Http, RequestError};
use crate::session::{Live, Session, State};

/// Where schedulers' calls go.
pub(crate) const SCHEDULER_PATH: &str = "/api/v1/scheduler";
/// Names the subscription that a call belongs to.
pub(crate) const STREAM_ID_HEADER: &str = "mesos-stream-id";

/// How long one attempt of a call may take before it counts as lost.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Delays between attempts while the subscription looks sound; when it breaks, the next attempt
/// waits for the next subscription instead.
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(5);
const RETRY_DELAY_MAX: Duration = Duration::from_millis(500);
/// How often "framework is not subscribed" is taken for a sign that the subscription is about to
/// break, before it is believed.
const NOT_SUBSCRIBED_MAX: u32 = 10;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The master understood the call and refuses it.
    #[error("{call} refused with {status}: {message}")]
    Refused {
        /// The type of the call.
        call: &'static str,
        /// The status of the answer.
        status: StatusCode,
        /// Its text.
        message: String,
    },
    /// There was no answer until the time for calls was over (see
    /// [`FrameworkBuilder::call_timeout`]). If `sent`, the call may have been applied.
    #[error("{call} not answered within {timeout_ms} ms")]
    Unanswered {
        /// The type of the call.
        call: &'static str,
        /// The time for calls.
        timeout_ms: u128,
        /// Whether some master may have received it.
        sent: bool,
    },
    /// The framework is torn down or was refused.
    #[error("{call} not sent: {why}")]
    Over {
        /// The type of the call.
        call: &'static str,
        /// Why the subscription is over.
        why: String,
    },
    /// The status has no agent, so that nobody can be told.
    #[error("a status update without agent cannot be acknowledged")]
    NoAgent,
}

/// A framework at the leading master, whoever that is. Clones are the same framework.
///
/// Every call waits for a subscription if there is none, and returns when the master has
/// answered: then what was asked for is committed. It does not mean that it worked out; what
/// became of a task or an operation is told by events.
#[derive(Debug, Clone)]
pub struct Framework {
    pub(crate) session: Arc<Session>,
    pub(crate) http: Http,
    pub(crate) content_type: ContentType,
    pub(crate) call_timeout: Duration,
}

impl Framework {
    /// Starts to describe a framework with a name for people.
    pub fn builder(name: impl Into<String>) -> FrameworkBuilder {
        FrameworkBuilder::new(name)
    }

    /// The id, while subscribed.
    #[must_use]
    pub fn id(&self) -> Option<FrameworkId> {
        self.session.framework_id()
    }

    /// Launches tasks with the resources of offers, all of one agent. What the tasks leave over
    /// is declined with `filters`.
    ///
    /// # Errors
    /// See [`CallError`]. An offer that is gone is no error; its tasks are told as dropped.
    pub async fn launch(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        tasks: impl IntoIterator<Item = TaskInfo>,
        filters: Option<Filters>,
    ) -> Result<(), CallError> {
        let launch = Operation {
            r#type: Some(operation::Type::Launch as i32),
            launch: Some(operation::Launch {
                task_infos: tasks.into_iter().collect(),
            }),
            ..Operation::default()
        };
        self.accept(offers, [launch], filters).await
    }

    /// Launches tasks as one group in `executor`, which is started when there is none of its id on
    /// the agent: all of them or none. What they leave over is declined with `filters`.
    ///
    /// # Errors
    /// As [`Self::launch`].
    pub async fn launch_group(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        executor: ExecutorInfo,
        tasks: impl IntoIterator<Item = TaskInfo>,
        filters: Option<Filters>,
    ) -> Result<(), CallError> {
        let group = operation::LaunchGroup {
            executor,
            task_group: TaskGroupInfo {
                tasks: tasks.into_iter().collect(),
            },
        };
        let launch = Operation {
            r#type: Some(operation::Type::LaunchGroup as i32),
            launch_group: Some(Box::new(group)),
            ..Operation::default()
        };
        self.accept(offers, [launch], filters).await
    }

    /// Applies operations, in this order, to the resources of offers, all of one agent. What they
    /// leave over is declined with `filters`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn accept(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        operations: impl IntoIterator<Item = Operation>,
        filters: Option<Filters>,
    ) -> Result<(), CallError> {
        let accept = Accept {
            offer_ids: offers.into_iter().collect(),
            operations: operations.into_iter().collect(),
            filters,
        };
        self.send(Call {
            accept: Some(accept),
            ..of(Type::Accept)
        })
        .await
    }

    /// Gives offers back. The same resources are not offered again for `refuse_seconds`, five
    /// seconds when absent.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn decline(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        filters: Option<Filters>,
    ) -> Result<(), CallError> {
        let decline = Decline {
            offer_ids: offers.into_iter().collect(),
            filters,
        };
        self.send(Call {
            decline: Some(decline),
            ..of(Type::Decline)
        })
        .await
    }

    /// Agrees to give resources back for maintenance.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn accept_inverse(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
    ) -> Result<(), CallError> {
        let accept = AcceptInverseOffers {
            inverse_offer_ids: offers.into_iter().collect(),
            filters: None,
        };
        self.send(Call {
            accept_inverse_offers: Some(accept),
            ..of(Type::AcceptInverseOffers)
        })
        .await
    }

    /// Does not agree to give resources back for maintenance.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn decline_inverse(
        &self,
        offers: impl IntoIterator<Item = OfferId>,
        filters: Option<Filters>,
    ) -> Result<(), CallError> {
        let decline = DeclineInverseOffers {
            inverse_offer_ids: offers.into_iter().collect(),
            filters,
        };
        self.send(Call {
            decline_inverse_offers: Some(decline),
            ..of(Type::DeclineInverseOffers)
        })
        .await
    }

    /// Tells the master that an update has arrived, so that it need not be kept and repeated. An
    /// update without `uuid` needs none; nothing is sent then.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<(), CallError> {
        let Some(uuid) = status.uuid.clone() else {
            return Ok(());
        };
        let acknowledge = Acknowledge {
            agent_id: status.agent_id.clone().ok_or(CallError::NoAgent)?,
            task_id: status.task_id.clone(),
            uuid,
        };
        self.send(Call {
            acknowledge: Some(acknowledge),
            ..of(Type::Acknowledge)
        })
        .await
    }

    /// The same for an operation.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn acknowledge_operation(&self, status: &OperationStatus) -> Result<(), CallError> {
        let (Some(uuid), Some(operation_id)) = (status.uuid.clone(), status.operation_id.clone())
        else {
            return Ok(());
        };
        let acknowledge = AcknowledgeOperationStatus {
            agent_id: status.agent_id.clone(),
            resource_provider_id: status.resource_provider_id.clone(),
            uuid: uuid.value,
            operation_id,
        };
        self.send(Call {
            acknowledge_operation_status: Some(acknowledge),
            ..of(Type::AcknowledgeOperationStatus)
        })
        .await
    }

    /// Asks for the end of a task; its terminal update tells when it is there.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn kill(&self, task_id: TaskId, agent_id: Option<AgentId>) -> Result<(), CallError> {
        let kill = Kill {
            task_id,
            agent_id,
            kill_policy: None,
        };
        self.send(Call {
            kill: Some(kill),
            ..of(Type::Kill)
        })
        .await
    }

    /// Wants offers again for these roles (all when empty), also of what was declined.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn revive(&self, roles: &[String]) -> Result<(), CallError> {
        self.session.revive(&self.or_all(roles));
        let revive = Revive {
            roles: roles.to_vec(),
        };
        self.send(Call {
            revive: Some(revive),
            ..of(Type::Revive)
        })
        .await
    }

    /// Wants no more offers for these roles (all when empty), until revived.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn suppress(&self, roles: &[String]) -> Result<(), CallError> {
        self.session.suppress(&self.or_all(roles));
        let suppress = Suppress {
            roles: roles.to_vec(),
        };
        self.send(Call {
            suppress: Some(suppress),
            ..of(Type::Suppress)
        })
        .await
    }

    /// Asks for the states of tasks (of all that run when empty), which come as updates without
    /// `uuid`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn reconcile(
        &self,
        tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>,
    ) -> Result<(), CallError> {
        let tasks = tasks
            .into_iter()
            .map(|(task_id, agent_id)| reconcile::Task { task_id, agent_id })
            .collect();
        self.send(Call {
            reconcile: Some(Reconcile { tasks }),
            ..of(Type::Reconcile)
        })
        .await
    }

    /// Sends bytes to an executor, best effort: they may get lost.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn message(
        &self,
        agent_id: AgentId,
        executor_id: ExecutorId,
        data: impl Into<Bytes>,
    ) -> Result<(), CallError> {
        let message = Message {
            agent_id,
            executor_id,
            data: data.into(),
        };
        self.send(Call {
            message: Some(message),
            ..of(Type::Message)
        })
        .await
    }

    /// Changes what the framework says of itself: its roles, capabilities, offer constraints and
    /// more, but not its user, principal or checkpointing. Later subscriptions say the same. Offers
    /// that do not fit any more are rescinded.
    ///
    /// # Errors
    /// See [`CallError`]; refused with the status 400 and a reason when it cannot be.
    pub async fn update(
        &self,
        change: impl FnOnce(&mut FrameworkInfo, &mut Option<OfferConstraints>),
    ) -> Result<(), CallError> {
        let mut description = self.session.description();
        change(
            &mut description.framework_info,
            &mut description.offer_constraints,
        );
        let mut suppressed_roles = self.session.suppressed_roles();
        suppressed_roles.retain(|role| description.framework_info.roles.contains(role));
        let update_framework = UpdateFramework {
            framework_info: description.framework_info.clone(),
            suppressed_roles,
            offer_constraints: description.offer_constraints.clone(),
        };
        self.send(Call {
            update_framework: Some(update_framework),
            ..of(Type::UpdateFramework)
        })
        .await?;
        self.session.describe(description);
        Ok(())
    }

    /// Ends the framework for good: its tasks are killed, its events end.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn teardown(&self) -> Result<(), CallError> {
        self.send(of(Type::Teardown)).await?;
        self.session.end("torn down");
        Ok(())
    }

    /// Sends any call, as often as needed; the framework's id is filled in.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send(&self, mut call: Call) -> Result<(), CallError> {
        let name = call.r#type().as_str_name();
        let deadline = Instant::now() + self.call_timeout;
        let mut states = self.session.watch();
        let mut backoff = Backoff::new(RETRY_DELAY_FIRST, RETRY_DELAY_MAX);
        let (mut sent, mut not_subscribed) = (false, 0);
        let unanswered = |sent| CallError::Unanswered {
            call: name,
            timeout_ms: self.call_timeout.as_millis(),
            sent,
        };
        loop {
            let live = timeout_at(deadline, subscribed(&mut states, name))
                .await
                .map_err(|_elapsed| unanswered(sent))??;
            call.framework_id = Some(live.framework_id.clone());
            if let Some(update) = &mut call.update_framework {
                update.framework_info.id = Some(live.framework_id.clone());
            }
            let answer = timeout_at(deadline, self.attempt(&live, &call))
                .await
                .map_err(|_elapsed| unanswered(true))?;
            let reason = match answer {
                Ok(Reply::Done) => return Ok(()),
                Ok(Reply::TryAgain(reason)) => {
                    sent = true;
                    reason
                }
                Ok(Reply::No { status, message }) => {
                    // Its subscription may be gone already although we did not notice; the next
                    // one gives the answer that counts.
                    let replaced = !is_current(&states, &live);
                    not_subscribed += 1;
                    if replaced
                        || (status == StatusCode::FORBIDDEN && not_subscribed < NOT_SUBSCRIBED_MAX)
                    {
                        message
                    } else {
                        return Err(CallError::Refused {
                            call: name,
                            status,
                            message,
                        });
                    }
                }
                Err(error) => {
                    sent |= !error.was_not_sent();
                    error.to_string()
                }
            };
            tracing::debug!(call = name, master = %live.leader, %reason, "sending again");
            // Sooner when there is another subscription, since that is what it waits for.
            let pause = backoff.next_delay().min(deadline - Instant::now());
            let replaced = states.wait_for(|state| !is_live(state, &live));
            if tokio::time::timeout(pause, replaced).await.is_ok() {
                backoff.reset();
            }
            if Instant::now() >= deadline {
                return Err(unanswered(sent));
            }
        }
    }

    async fn attempt(&self, live: &Live, call: &Call) -> Result<Reply, RequestError> {
        let answer = self
            .http
            .post(
                &live.leader,
                SCHEDULER_PATH,
                &[
                    ("content-type", self.content_type.media_type()),
                    ("accept", self.content_type.media_type()),
                    (STREAM_ID_HEADER, &live.stream_id),
                ],
                encode(self.content_type, call),
                ATTEMPT_TIMEOUT,
            )
            .await?;
        let (status, message) = (answer.status, answer.text());
        Ok(
            if status == StatusCode::ACCEPTED || status == StatusCode::OK {
                Reply::Done
            } else if status.is_redirection() || status.is_server_error() {
                // Not the leader any more, or without a quorum, or it does not know the outcome.
                Reply::TryAgain(format!("{status}: {message}"))
            } else {
                Reply::No { status, message }
            },
        )
    }

    fn or_all(&self, roles: &[String]) -> Vec<String> {
        if roles.is_empty() {
            self.session.description().framework_info.roles
        } else {
            roles.to_vec()
        }
    }
}

/// What a master answered.
enum Reply {
    Done,
    TryAgain(String),
    No { status: StatusCode, message: String },
}

fn of(call_type: Type) -> Call {
    Call {
        r#type: Some(call_type as i32),
        ..Call::default()
    }
}

fn is_live(state: &State, live: &Live) -> bool {
    matches!(state, State::Up(current) if current.generation == live.generation)
}

fn is_current(states: &watch::Receiver<State>, live: &Live) -> bool {
    is_live(&states.borrow(), live)
}

/// Waits for a subscription.
async fn subscribed(
    states: &mut watch::Receiver<State>,
    call: &'static str,
) -> Result<Live, CallError> {
    let state = states.wait_for(|state| *state != State::Down).await;
    match state.as_deref() {
        Ok(State::Up(live)) => Ok(live.clone()),
        Ok(State::Over(why)) => Err(CallError::Over {
            call,
            why: why.clone(),
        }),
        Ok(State::Down) | Err(_) => Err(CallError::Over {
            call,
            why: "the subscription stopped".to_owned(),
        }),
    }
}

//! A framework as an object whose methods are called, for those who prefer that to a stream of events.

use std::future::Future;

use regency_wire::v1::{FrameworkId, Offer, OfferId, TaskStatus};

use crate::calls::{CallError, Framework};
use crate::event::{Event, Events};
use crate::session::Break;

/// What a framework does about events. Every method has a default that does nothing, but for offers,
/// which it declines: offers that nobody answers are kept from everybody else.
///
/// Methods are called one after the other, in the order of the events.
///
/// ```
/// use regency_client::{CallError, Framework, OfferExt as _, Scheduler, TaskBuilder, v1};
///
/// struct Once {
///     launched: bool,
/// }
///
/// impl Scheduler for Once {
///     async fn offers(
///         &mut self,
///         framework: &Framework,
///         offers: Vec<v1::Offer>,
///     ) -> Result<(), CallError> {
///         for offer in offers {
///             if self.launched || offer.cpus() < 0.1 {
///                 framework.decline([offer.id], None).await?;
///             } else {
///                 self.launched = true;
///                 let task = TaskBuilder::shell("once", "true").cpus(0.1).mem_mb(32.0).on(&offer);
///                 framework.launch([offer.id], [task], None).await?;
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Scheduler: Send {
    /// The framework is subscribed, for the first time or again (`resumed`).
    fn subscribed(
        &mut self,
        framework: &Framework,
        framework_id: FrameworkId,
        resumed: bool,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = (framework, framework_id, resumed);
        std::future::ready(Ok(()))
    }

    /// The subscription was lost; another attempt is under way.
    fn disconnected(
        &mut self,
        framework: &Framework,
        why: Break,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = (framework, why);
        std::future::ready(Ok(()))
    }

    /// Resources are offered.
    fn offers(
        &mut self,
        framework: &Framework,
        offers: Vec<Offer>,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        async move {
            let ids: Vec<OfferId> = offers.into_iter().map(|offer| offer.id).collect();
            framework.decline(ids, None).await
        }
    }

    /// An offer cannot be accepted any more.
    fn rescinded(
        &mut self,
        framework: &Framework,
        offer: OfferId,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = (framework, offer);
        std::future::ready(Ok(()))
    }

    /// A task changed its state.
    fn update(
        &mut self,
        framework: &Framework,
        status: TaskStatus,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = (framework, status);
        std::future::ready(Ok(()))
    }

    /// Anything else.
    fn other(
        &mut self,
        framework: &Framework,
        event: Event,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = (framework, event);
        std::future::ready(Ok(()))
    }
}

/// Why [`run`] ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A call of the scheduler's failed, and the scheduler did not go on without it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The master refuses the framework, or another process took over its id.
    #[error("the master refuses the framework: {0}")]
    Refused(String),
}

/// Calls the scheduler's methods until the framework is torn down.
///
/// # Errors
/// When a method returns an error, or the master refuses the framework.
pub async fn run<S: Scheduler>(
    scheduler: &mut S,
    framework: &Framework,
    events: &mut Events,
) -> Result<(), RunError> {
    while let Some(event) = events.next().await {
        match event {
            Event::Subscribed {
                framework_id,
                resumed,
                ..
            } => {
                scheduler
                    .subscribed(framework, framework_id, resumed)
                    .await?;
            }
            Event::Disconnected(why) => scheduler.disconnected(framework, why).await?,
            Event::Offers(offers) => scheduler.offers(framework, offers).await?,
            Event::Rescinded(offer) => scheduler.rescinded(framework, offer).await?,
            Event::Update(status) => scheduler.update(framework, status).await?,
            Event::Refused(reason) => return Err(RunError::Refused(reason)),
            other => scheduler.other(framework, other).await?,
        }
    }
    Ok(())
}

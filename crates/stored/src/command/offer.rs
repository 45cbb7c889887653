//! Offers: made, used, given back, taken back.

use std::collections::BTreeMap;

use regency_resources::Resources;
use regency_state::{
    AcceptOffers, ConversionSpec, DeclineOffers, ExecutorSpec, ExpireOffers, IssueOffers,
    LaunchSpec, OfferPlan, Operation, RescindOffers, TaskSpec,
};
use regency_types::{AgentId, DurationMs, FrameworkId, OfferId};

use crate::StoredError;
use crate::field::{
    Stored, chosen, id, load_all, load_offer_ids, optional_id, required, store_all, store_offer_ids,
};
use crate::proto;

/// Texts that are written once and named by their place, in the order of their first use.
#[derive(Default)]
struct Places<'a> {
    place: BTreeMap<&'a str, u32>,
    texts: Vec<String>,
}

impl<'a> Places<'a> {
    fn of(&mut self, text: &'a str) -> u32 {
        if let Some(place) = self.place.get(text) {
            return *place;
        }
        let place = u32::try_from(self.texts.len())
            .expect("a proposal of at most a megabyte holds fewer texts than u32 can count");
        self.place.insert(text, place);
        self.texts.push(text.to_owned());
        place
    }
}

fn at<T: Clone>(texts: &[T], place: u32, field: &'static str) -> Result<T, StoredError> {
    usize::try_from(place)
        .ok()
        .and_then(|place| texts.get(place))
        .cloned()
        .ok_or_else(|| {
            StoredError::malformed(field, format!("there is no place {place} in the list"))
        })
}

impl Stored for IssueOffers {
    type Message = proto::IssueOffers;

    fn store(&self) -> proto::IssueOffers {
        let mut frameworks = Places::default();
        let mut roles = Places::default();
        let mut agents = Places::default();
        let plans = self
            .plans
            .iter()
            .map(|plan| proto::issue_offers::Plan {
                framework: frameworks.of(plan.framework.as_str()),
                role: roles.of(&plan.role),
                agent: agents.of(plan.agent.as_str()),
                resources: Some(plan.resources.store()),
                described: plan.described,
            })
            .collect();
        proto::IssueOffers {
            frameworks: frameworks.texts,
            roles: roles.texts,
            agents: agents.texts,
            plans,
            timeout_ms: self.timeout.map(|t| t.0),
        }
    }

    fn load(message: proto::IssueOffers) -> Result<Self, StoredError> {
        let frameworks: Vec<FrameworkId> = message
            .frameworks
            .into_iter()
            .map(|text| id(text, "IssueOffers.frameworks"))
            .collect::<Result<_, _>>()?;
        let agents: Vec<AgentId> = message
            .agents
            .into_iter()
            .map(|text| id(text, "IssueOffers.agents"))
            .collect::<Result<_, _>>()?;
        let plans = message
            .plans
            .into_iter()
            .map(|plan| {
                let resources = required(plan.resources, "IssueOffers.Plan.resources")?;
                Ok(OfferPlan {
                    framework: at(&frameworks, plan.framework, "IssueOffers.Plan.framework")?,
                    role: at(&message.roles, plan.role, "IssueOffers.Plan.role")?,
                    agent: at(&agents, plan.agent, "IssueOffers.Plan.agent")?,
                    resources: Resources::load(resources)?,
                    described: plan.described,
                })
            })
            .collect::<Result<_, StoredError>>()?;
        Ok(Self {
            plans,
            timeout: message.timeout_ms.map(DurationMs),
        })
    }
}

impl Stored for AcceptOffers {
    type Message = proto::AcceptOffers;

    fn store(&self) -> proto::AcceptOffers {
        proto::AcceptOffers {
            framework: self.framework.as_str().to_owned(),
            offers: self
                .offers
                .iter()
                .map(|offer| proto::accept_offers::Named {
                    offer: offer.map(|o| o.0),
                })
                .collect(),
            operations: store_all(&self.operations),
            refuse_ms: self.refuse.0,
            content: self.content,
        }
    }

    fn load(message: proto::AcceptOffers) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "AcceptOffers.framework")?,
            offers: message
                .offers
                .into_iter()
                .map(|named| named.offer.map(OfferId))
                .collect(),
            operations: load_all(message.operations)?,
            refuse: DurationMs(message.refuse_ms),
            content: message.content,
        })
    }
}

impl Stored for Operation {
    type Message = proto::Operation;

    fn store(&self) -> proto::Operation {
        let operation = match self {
            Self::Launch(tasks) => proto::operation::Operation::Launch(proto::Launch {
                tasks: store_all(tasks),
            }),
            Self::LaunchGroup(tasks) => proto::operation::Operation::LaunchGroup(proto::Launch {
                tasks: store_all(tasks),
            }),
            Self::Convert(spec) => proto::operation::Operation::Conversion(spec.store()),
        };
        proto::Operation {
            operation: Some(operation),
        }
    }

    fn load(message: proto::Operation) -> Result<Self, StoredError> {
        Ok(match chosen(message.operation, "Operation.operation")? {
            proto::operation::Operation::Launch(launch) => Self::Launch(load_all(launch.tasks)?),
            proto::operation::Operation::LaunchGroup(launch) => {
                Self::LaunchGroup(load_all(launch.tasks)?)
            }
            proto::operation::Operation::Conversion(spec) => {
                Self::Convert(ConversionSpec::load(spec)?)
            }
        })
    }
}

impl Stored for LaunchSpec {
    type Message = proto::LaunchSpec;

    fn store(&self) -> proto::LaunchSpec {
        let task = match self {
            Self::Valid(spec) => proto::launch_spec::Task::Valid(spec.store()),
            Self::Invalid {
                task_id,
                agent,
                message,
            } => proto::launch_spec::Task::Invalid(proto::InvalidTask {
                task_id: task_id.clone(),
                agent: agent.as_ref().map(|a| a.as_str().to_owned()),
                message: message.clone(),
            }),
        };
        proto::LaunchSpec { task: Some(task) }
    }

    fn load(message: proto::LaunchSpec) -> Result<Self, StoredError> {
        Ok(match chosen(message.task, "LaunchSpec.task")? {
            proto::launch_spec::Task::Valid(spec) => Self::Valid(TaskSpec::load(spec)?),
            proto::launch_spec::Task::Invalid(m) => Self::Invalid {
                task_id: m.task_id,
                agent: optional_id(m.agent, "InvalidTask.agent")?,
                message: m.message,
            },
        })
    }
}

impl Stored for TaskSpec {
    type Message = proto::TaskSpec;

    fn store(&self) -> proto::TaskSpec {
        proto::TaskSpec {
            task: self.task.as_str().to_owned(),
            agent: self.agent.as_str().to_owned(),
            name: self.name.clone(),
            resources: Some(self.resources.store()),
            info: self.info.clone(),
            executor: self.executor.as_ref().map(Stored::store),
        }
    }

    fn load(message: proto::TaskSpec) -> Result<Self, StoredError> {
        Ok(Self {
            task: id(message.task, "TaskSpec.task")?,
            agent: id(message.agent, "TaskSpec.agent")?,
            name: message.name,
            resources: Resources::load(required(message.resources, "TaskSpec.resources")?)?,
            info: message.info,
            executor: message.executor.map(ExecutorSpec::load).transpose()?,
        })
    }
}

impl Stored for DeclineOffers {
    type Message = proto::DeclineOffers;

    fn store(&self) -> proto::DeclineOffers {
        proto::DeclineOffers {
            framework: self.framework.as_str().to_owned(),
            offers: store_offer_ids(&self.offers),
            refuse_ms: self.refuse.0,
        }
    }

    fn load(message: proto::DeclineOffers) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "DeclineOffers.framework")?,
            offers: load_offer_ids(message.offers),
            refuse: DurationMs(message.refuse_ms),
        })
    }
}

impl Stored for RescindOffers {
    type Message = proto::RescindOffers;

    fn store(&self) -> proto::RescindOffers {
        proto::RescindOffers {
            offers: store_offer_ids(&self.offers),
        }
    }

    fn load(message: proto::RescindOffers) -> Result<Self, StoredError> {
        Ok(Self {
            offers: load_offer_ids(message.offers),
        })
    }
}

impl Stored for ExpireOffers {
    type Message = proto::ExpireOffers;

    fn store(&self) -> proto::ExpireOffers {
        proto::ExpireOffers {
            offers: store_offer_ids(&self.offers),
        }
    }

    fn load(message: proto::ExpireOffers) -> Result<Self, StoredError> {
        Ok(Self {
            offers: load_offer_ids(message.offers),
        })
    }
}

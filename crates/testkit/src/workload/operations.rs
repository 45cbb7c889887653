//! Operations on resources: frameworks reserve what they are offered and make volumes of it, and
//! operators do the same to agents.

use bytes::Bytes;
use regency_resources::{
    DiskInfo, Milli, Persistence, Reservation, ReservationKind, Resource, Resources, Value, Volume,
    VolumeMode,
};
use regency_state::{
    AcknowledgeOperation, ApplyOperation, Command, ConversionSpec, Feedback, Operation,
    ResourceOperation, State,
};
use regency_types::{AgentId, FrameworkId, OperationId, UpdateUuid};

use super::Workload;

/// Few, so that ids are used again.
const IDS: u64 = 4;
const ROLES: [&str; 2] = ["eng", "eng/web"];

impl Workload {
    /// Some operation on what was offered to a role, mostly one that can be carried out.
    pub(super) fn conversion(
        &mut self,
        offered: &Resources,
        role: &str,
        principal: Option<&str>,
    ) -> Operation {
        let operation = if self.rng.chance(5) {
            Err("'resources' is not there".to_owned())
        } else {
            Ok(self.resource_operation(offered, role, principal))
        };
        let n = self.rng.below(IDS);
        let feedback = self.rng.chance(60).then(|| Feedback {
            id: if self.rng.chance(5) {
                format!("op{n}/")
            } else {
                format!("op{n}")
            },
            uuid: self.mint_uuid(),
            info: Bytes::from_static(b"operation"),
        });
        Operation::Convert(ConversionSpec {
            feedback,
            operation,
        })
    }

    fn resource_operation(
        &mut self,
        there: &Resources,
        role: &str,
        principal: Option<&str>,
    ) -> ResourceOperation {
        let principal = principal.filter(|_| self.rng.chance(95)).map(str::to_owned);
        let dynamic = there.filter(|e| e.key.is_dynamically_reserved());
        let plain = dynamic.filter(|e| !e.key.is_persistent_volume());
        let volumes = there.persistent_volumes();
        match self.rng.below(10) {
            0..=2 => {
                let reservation = Reservation::dynamic(role, principal);
                let part = self.some_of(&there.unreserved());
                ResourceOperation::Reserve(part.push_reservation(&reservation))
            }
            3..=5 => {
                let disk = self.some_of(&plain.named("disk"));
                ResourceOperation::Create(self.volumes_of(&disk, principal.as_deref()))
            }
            6 => {
                let some = self.some_of(&plain);
                ResourceOperation::Unreserve(if self.rng.chance(10) { dynamic } else { some })
            }
            7 => ResourceOperation::Destroy(self.one_of(&volumes)),
            8 => {
                let volume = self.one_of(&volumes);
                let same = |e: &Resource| {
                    volume
                        .single()
                        .is_some_and(|v| v.key.without_volume() == e.key)
                };
                let addition = self.some_of(&plain.filter(same));
                ResourceOperation::GrowVolume { volume, addition }
            }
            _ => ResourceOperation::ShrinkVolume {
                subtract: Milli(self.one_of(&volumes).scalar("disk").0 / 2),
                volume: self.one_of(&volumes),
            },
        }
    }

    /// A part of each scalar.
    fn some_of(&mut self, resources: &Resources) -> Resources {
        let part = 1 + self.rng.below(3) as i64;
        resources
            .iter()
            .filter_map(|(key, value)| {
                let amount = value.as_scalar()?;
                Some((key.clone(), Value::Scalar(Milli(amount.0 / part))))
            })
            .collect()
    }

    fn one_of(&mut self, resources: &Resources) -> Resources {
        let one = self.rng.pick(resources.entries()).cloned();
        one.into_iter().collect()
    }

    fn volumes_of(&mut self, disk: &Resources, principal: Option<&str>) -> Resources {
        disk.iter()
            .map(|(key, value)| {
                let mut key = key.clone();
                key.shared = self.rng.chance(30);
                key.disk = Some(Box::new(DiskInfo {
                    persistence: Some(Persistence {
                        id: format!("vol{}", self.rng.below(IDS)),
                        principal: principal.map(str::to_owned),
                    }),
                    volume: Some(Volume {
                        container_path: "data".to_owned(),
                        host_path: None,
                        mode: VolumeMode::ReadWrite,
                    }),
                    source: None,
                }));
                (key, value.clone())
            })
            .collect()
    }

    /// An operator changes what some agent has, whether it is free or not.
    pub(super) fn operator_acts(&mut self, state: &State) -> Option<Command> {
        let agents: Vec<_> = state.agents().cloned().collect();
        let agent = self.rng.pick(&agents)?;
        let role = ROLES[self.rng.index(ROLES.len())];
        let reserved = agent
            .total
            .filter(|e| e.key.is_dynamically_reserved() && !e.key.is_persistent_volume());
        let operation = if self.rng.chance(15) {
            let source = self.one_of(&reserved);
            let mut resources = source.pop_reservation();
            if self.rng.chance(80) {
                resources = resources.push_reservation(&Reservation::dynamic(role, None));
            }
            ResourceOperation::ReserveAnew { source, resources }
        } else if self.rng.chance(50) {
            let part = self.some_of(&agent.total.unreserved());
            let reservation = Reservation {
                kind: ReservationKind::Dynamic,
                role: role.to_owned(),
                principal: None,
                labels: Vec::new(),
            };
            ResourceOperation::Reserve(part.push_reservation(&reservation))
        } else {
            self.resource_operation(&agent.total, role, None)
        };
        let unknown = AgentId::new("elsewhere").expect("a word is a valid id");
        Some(Command::ApplyOperation(ApplyOperation {
            agent: if self.rng.chance(3) {
                unknown
            } else {
                agent.id.clone()
            },
            operation,
            principal: None,
        }))
    }

    /// A framework acknowledges one of its operations, sometimes a wrong one.
    pub(super) fn acknowledge_operation(
        &mut self,
        framework: &FrameworkId,
        state: &State,
    ) -> Option<Command> {
        let waiting: Vec<_> = state.operations_of(framework).cloned().collect();
        let operation = self.rng.pick(&waiting)?;
        let (mut key, mut uuid) = (operation.key.clone(), operation.uuid);
        match self.rng.below(20) {
            0 => uuid = UpdateUuid(uuid.0.wrapping_sub(1)),
            1 => key.operation = OperationId::new("another").expect("a word is a valid id"),
            _ => {}
        }
        Some(Command::AcknowledgeOperation(AcknowledgeOperation {
            operation: key,
            uuid,
        }))
    }
}

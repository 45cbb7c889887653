use bytes::Bytes;
use regency_resources::{
    DiskInfo, Milli, Persistence, Reservation, Resources, Value, Volume, VolumeMode,
};
use regency_types::{DurationMs, OfferId, StreamId, UpdateUuid};

use super::*;
use crate::command::{
    AcceptOffers, Command, IssueOffers, LaunchSpec, OfferPlan, Operation, ReregisterAgent,
    SubscribeFramework, TeardownFramework,
};
use crate::commands::fixture::{Given, resources};
use crate::model::FrameworkSpec;
use crate::outcome::Outcome;

const TOTAL: &str = "cpus:4;mem:1024;disk:100;cpus(ops):1";

struct World {
    given: Given,
    agent: AgentId,
    framework: FrameworkId,
}

fn reserved(text: &str) -> Resources {
    resources(text).push_reservation(&Reservation::dynamic("eng", Some("p".to_owned())))
}

fn volume(size: i64, id: &str) -> Resources {
    let mut key = reserved("disk:1").entries()[0].key.clone();
    key.disk = Some(Box::new(DiskInfo {
        persistence: Some(Persistence {
            id: id.to_owned(),
            principal: Some("p".to_owned()),
        }),
        volume: Some(Volume {
            container_path: "data".to_owned(),
            host_path: None,
            mode: VolumeMode::ReadWrite,
        }),
        source: None,
    }));
    std::iter::once((key, Value::units(size))).collect()
}

fn plain(operation: ResourceOperation) -> Operation {
    Operation::Convert(ConversionSpec {
        feedback: None,
        operation: Ok(operation),
    })
}

fn told(id: &str, uuid: u128, operation: ResourceOperation) -> Operation {
    Operation::Convert(ConversionSpec {
        feedback: Some(Feedback {
            id: id.to_owned(),
            uuid: UpdateUuid(uuid),
            info: Bytes::from_static(b"operation"),
        }),
        operation: Ok(operation),
    })
}

fn reserve(text: &str) -> ResourceOperation {
    ResourceOperation::Reserve(reserved(text))
}

/// The same volume, for many.
fn shared(size: i64, id: &str) -> Resources {
    let volume = volume(size, id);
    let entries = volume.iter().map(|(key, value)| {
        let mut key = key.clone();
        key.shared = true;
        (key, value.clone())
    });
    entries.collect()
}

impl World {
    /// One whose framework knows shared resources, with a shared volume `v`.
    fn with_shared_volume() -> Self {
        let mut world = Self::new();
        let mut spec = world.spec();
        spec.capabilities.shared_resources = true;
        world.subscribe(Some(world.framework.clone()), spec, 2);
        world.accept(vec![
            plain(reserve("disk:20")),
            plain(ResourceOperation::Create(shared(20, "v"))),
        ]);
        assert_eq!(world.agent().checkpointed, shared(20, "v"));
        world
    }

    /// What the framework says of itself.
    fn spec(&self) -> FrameworkSpec {
        let framework = self.given.state.framework(&self.framework);
        framework.expect("known").spec.clone()
    }

    fn subscribe(
        &mut self,
        id: Option<FrameworkId>,
        spec: FrameworkSpec,
        stream: u128,
    ) -> FrameworkId {
        let (outcome, _) = self
            .given
            .ok(Command::SubscribeFramework(SubscribeFramework {
                framework: id,
                spec,
                suppressed: Vec::new(),
                stream: StreamId(stream),
                kept: None,
            }));
        match outcome {
            Outcome::Subscribed { framework } => framework,
            other => panic!("{other:?}"),
        }
    }

    /// Offers made of a plan with exactly this.
    fn offers_of(&mut self, framework: &FrameworkId, what: &Resources) -> Vec<OfferId> {
        let (outcome, _) = self.given.ok(Command::IssueOffers(IssueOffers {
            plans: vec![OfferPlan {
                framework: framework.clone(),
                role: "eng".into(),
                agent: self.agent.clone(),
                resources: what.clone(),
                described: 0,
            }],
            timeout: None,
        }));
        match outcome {
            Outcome::OffersIssued { offers, .. } => offers,
            other => panic!("{other:?}"),
        }
    }

    fn new() -> Self {
        let mut given = Given::new();
        let agent = given.agent(1, TOTAL);
        let (outcome, _) = given.ok(Command::SubscribeFramework(SubscribeFramework {
            framework: None,
            spec: FrameworkSpec {
                roles: ["eng".to_owned()].into(),
                principal: Some("p".to_owned()),
                ..Given::framework_spec()
            },
            suppressed: Vec::new(),
            stream: StreamId(1),
            kept: None,
        }));
        let Outcome::Subscribed { framework } = outcome else {
            panic!("{outcome:?}")
        };
        Self {
            given,
            agent,
            framework,
        }
    }

    /// Offers all that the framework's role may use.
    fn offer(&mut self) -> OfferId {
        let available = self.agent().available().allocatable_to("eng");
        let (outcome, _) = self.given.ok(Command::IssueOffers(IssueOffers {
            plans: vec![OfferPlan {
                framework: self.framework.clone(),
                role: "eng".into(),
                agent: self.agent.clone(),
                resources: available,
                described: 0,
            }],
            timeout: None,
        }));
        match outcome {
            Outcome::OffersIssued { offers, .. } => offers[0],
            other => panic!("{other:?}"),
        }
    }

    fn accept(&mut self, operations: Vec<Operation>) -> Vec<Effect> {
        let offer = self.offer();
        let (_, effects) = self.given.ok(Command::AcceptOffers(AcceptOffers {
            framework: self.framework.clone(),
            offers: vec![Some(offer)],
            operations,
            refuse: DurationMs(5000),
            content: offer.0,
        }));
        effects
    }

    /// Why one operation of an ACCEPT is refused.
    fn refused(&mut self, operation: ResourceOperation) -> String {
        let before = self.agent().total.clone();
        let effects = self.accept(vec![told("refused", 9, operation)]);
        assert_eq!(self.agent().total, before);
        refusals(&effects)
            .pop()
            .map(|refused| refused.message)
            .expect("the operation is refused")
    }

    fn agent(&self) -> &crate::model::Agent {
        self.given.state.agent(&self.agent).expect("registered")
    }

    fn task(&self, id: &str, needs: &Resources) -> Operation {
        let LaunchSpec::Valid(mut spec) = Given::task(id, &self.agent, "cpus:1") else {
            panic!("valid")
        };
        spec.resources = needs.clone();
        Operation::Launch(vec![LaunchSpec::Valid(spec)])
    }

    fn for_operator(&mut self, operation: ResourceOperation) -> crate::apply::Applied {
        self.given.apply(Command::ApplyOperation(ApplyOperation {
            agent: self.agent.clone(),
            operation,
            principal: None,
        }))
    }
}

fn refusals(effects: &[Effect]) -> Vec<RefusedOperation> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendRefusedOperation { refused, .. } => Some(refused.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn operations_and_launches_of_one_accept_follow_each_other() {
    let mut world = World::new();
    let needs = reserved("cpus:1") + volume(20, "v");
    let task = world.task("t", &needs);
    let effects = world.accept(vec![
        plain(reserve("cpus:1;disk:20")),
        plain(ResourceOperation::Create(volume(20, "v"))),
        task,
    ]);
    assert!(effects.contains(&Effect::WakeAllocator));
    let agent = world.agent();
    assert_eq!(agent.allocated, needs);
    assert_eq!(agent.checkpointed, needs);
    assert_eq!(
        agent.total,
        resources("cpus:3;mem:1024;disk:80;cpus(ops):1") + needs
    );
    assert_eq!(agent.spec.total, resources(TOTAL));
}

#[test]
fn what_was_made_goes_back_the_same_way_and_the_data_goes_from_the_agent() {
    let mut world = World::new();
    world.accept(vec![
        plain(reserve("disk:20")),
        plain(ResourceOperation::Create(volume(20, "v"))),
    ]);
    let early = world.refused(ResourceOperation::Unreserve(volume(20, "v")));
    assert!(
        early.contains("destroy the persistent volume first"),
        "{early}"
    );
    let effects = world.accept(vec![
        plain(ResourceOperation::Destroy(volume(20, "v"))),
        plain(ResourceOperation::Unreserve(reserved("disk:20"))),
    ]);
    assert_eq!(world.agent().total, resources(TOTAL));
    assert!(world.agent().checkpointed.is_empty());
    let destroyed = AgentCommand::DestroyVolume {
        volume: volume(20, "v"),
    };
    assert_eq!(world.given.outbox(&world.agent), [destroyed]);
    assert!(effects.contains(&Effect::SyncAgent {
        agent: world.agent.clone()
    }));
}

#[test]
fn a_failed_operation_does_not_stop_those_behind_it() {
    let mut world = World::new();
    world.accept(vec![plain(reserve("cpus:99")), plain(reserve("cpus:1"))]);
    assert_eq!(world.agent().checkpointed, reserved("cpus:1"));
}

#[test]
fn a_filter_on_the_rest_does_not_hold_back_what_was_converted() {
    let mut world = World::new();
    world.accept(vec![plain(reserve("cpus:1"))]);
    let framework = world
        .given
        .state
        .framework(&world.framework)
        .expect("there");
    let filter = &framework.filters.get(&world.agent).expect("a filter")[0];
    assert_eq!(filter.refused, resources("cpus:3;mem:1024;disk:100"));
}

#[test]
fn reservations_are_for_the_role_and_principal_that_make_them() {
    let mut world = World::new();
    let with = |reservation: Reservation| {
        ResourceOperation::Reserve(resources("cpus:1").push_reservation(&reservation))
    };
    let p = Some("p".to_owned());
    for (operation, part) in [
        (
            with(Reservation::dynamic("ads", p.clone())),
            "allocated to role 'eng'",
        ),
        (with(Reservation::dynamic("eng", None)), "has no principal"),
        (
            with(Reservation::dynamic("eng", Some("q".to_owned()))),
            "has principal 'q'",
        ),
        (
            with(Reservation::fixed("eng")),
            "is not dynamically reserved",
        ),
        (
            ResourceOperation::Reserve(resources("cpus:1")),
            "is not dynamically reserved",
        ),
        (
            ResourceOperation::Reserve(Resources::new()),
            "names no resources",
        ),
        (reserve("cpus:5"), "do not contain"),
        (
            ResourceOperation::Unreserve(resources("cpus(ops):1")),
            "not dynamically reserved",
        ),
        (
            ResourceOperation::Unreserve(reserved("cpus:1")),
            "do not contain",
        ),
    ] {
        let refused = world.refused(operation);
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[test]
fn a_refined_reservation_needs_the_capability() {
    let mut world = World::new();
    world.given.ok(Command::ApplyOperation(ApplyOperation {
        agent: world.agent.clone(),
        operation: reserve("cpus:1"),
        principal: None,
    }));
    let refined =
        reserved("cpus:1").push_reservation(&Reservation::dynamic("eng", Some("p".to_owned())));
    let refused = world.refused(ResourceOperation::Reserve(refined));
    assert!(refused.contains("RESERVATION_REFINEMENT"), "{refused}");
}

#[test]
fn a_volume_is_made_once_of_reserved_disk() {
    let mut world = World::new();
    world.accept(vec![
        plain(reserve("disk:40;cpus:1")),
        plain(ResourceOperation::Create(volume(10, "v"))),
    ]);
    let change = |change: &dyn Fn(&mut regency_resources::ResourceKey)| {
        let mut entry = volume(10, "w").entries()[0].clone();
        change(&mut entry.key);
        ResourceOperation::Create(Resources::from(vec![entry]))
    };
    let on_volume = |edit: &dyn Fn(&mut Volume)| {
        change(&|key| {
            let disk = key.disk.as_mut().expect("a disk");
            edit(disk.volume.as_mut().expect("a volume"));
        })
    };
    for (operation, part) in [
        (ResourceOperation::Create(volume(10, "v")), "not unique"),
        (
            ResourceOperation::Create(volume(10, "w") + volume(10, "w")),
            "not unique",
        ),
        (ResourceOperation::Create(volume(10, "a/b")), "invalid"),
        (ResourceOperation::Create(volume(99, "w")), "do not contain"),
        (ResourceOperation::Create(reserved("disk:1")), "DiskInfo"),
        (
            change(&|key| key.reservations.clear()),
            "unreserved resources",
        ),
        (change(&|key| key.shared = true), "Shared"),
        (
            on_volume(&|volume| volume.mode = VolumeMode::ReadOnly),
            "read-write",
        ),
        (
            on_volume(&|volume| volume.host_path = Some("/".into())),
            "host_path",
        ),
        (
            on_volume(&|volume| volume.container_path = "a/../b".into()),
            "'..'",
        ),
    ] {
        let refused = world.refused(operation);
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[test]
fn a_volume_that_a_task_uses_cannot_be_destroyed() {
    let mut world = World::new();
    let task = world.task("t", &(resources("cpus:1") + volume(10, "v")));
    world.accept(vec![
        plain(reserve("disk:10")),
        plain(ResourceOperation::Create(volume(10, "v"))),
        task,
    ]);
    let destroy = ResourceOperation::Destroy(volume(10, "v"));
    let refused = world.refused(destroy.clone());
    assert!(refused.contains("do not contain"), "{refused}");
    let verdict = world.for_operator(destroy).verdict;
    assert!(
        matches!(verdict, Err(Refusal::ResourcesInUse(_))),
        "{verdict:?}"
    );
}

#[test]
fn a_volume_grows_and_shrinks_but_is_not_used_in_the_same_accept() {
    let mut world = World::new();
    world.accept(vec![
        plain(reserve("disk:40")),
        plain(ResourceOperation::Create(volume(10, "v"))),
    ]);
    let task = world.task("t", &(resources("cpus:1") + volume(15, "v")));
    world.accept(vec![
        plain(ResourceOperation::GrowVolume {
            volume: volume(10, "v"),
            addition: reserved("disk:5"),
        }),
        task,
    ]);
    assert_eq!(
        world.agent().checkpointed,
        reserved("disk:25") + volume(15, "v")
    );
    assert!(world.agent().tasks.is_empty());
    let shrink = |by: i64| ResourceOperation::ShrinkVolume {
        volume: volume(15, "v"),
        subtract: Milli::from_units(by),
    };
    for by in [0, 15, 16] {
        assert!(
            world.refused(shrink(by)).contains("cannot be taken"),
            "{by}"
        );
    }
    world.accept(vec![plain(shrink(5))]);
    assert_eq!(
        world.agent().checkpointed,
        reserved("disk:30") + volume(10, "v")
    );
}

#[test]
fn what_operations_made_comes_back_with_the_agent() {
    let mut world = World::new();
    world.accept(vec![plain(reserve("cpus:2"))]);
    let epoch = world.agent().epoch;
    let boot = world.agent().boot;
    let again = |total: &str| {
        Command::ReregisterAgent(ReregisterAgent {
            agent: world.agent.clone(),
            epoch,
            boot,
            spec: Given::spec("a1:5051", total),
        })
    };
    let (less, more) = (again("cpus:1;mem:64"), again("cpus:8;mem:64"));
    assert!(matches!(
        world.given.refused(less),
        Refusal::TotalBelowUsed(_)
    ));
    world.given.ok(more);
    assert_eq!(
        world.agent().total,
        resources("cpus:6;mem:64") + reserved("cpus:2")
    );
}

#[test]
fn feedback_waits_until_it_is_acknowledged() {
    let mut world = World::new();
    let effects = world.accept(vec![told("op", 7, reserve("cpus:1"))]);
    let key = OperationKey {
        framework: world.framework.clone(),
        operation: OperationId::new("op").expect("valid"),
    };
    assert!(effects.contains(&Effect::SendOperation {
        operation: key.clone()
    }));
    let duplicate = world.accept(vec![told("op", 8, reserve("cpus:1"))]);
    assert!(refusals(&duplicate)[0].message.contains("duplicate ID"));
    assert_eq!(world.agent().checkpointed, reserved("cpus:1"));
    let acknowledge = |uuid| {
        Command::AcknowledgeOperation(AcknowledgeOperation {
            operation: key.clone(),
            uuid: UpdateUuid(uuid),
        })
    };
    assert_eq!(world.given.refused(acknowledge(8)), Refusal::UpdateUnknown);
    world.given.ok(acknowledge(7));
    assert_eq!(world.given.refused(acknowledge(7)), Refusal::UpdateUnknown);
    world.accept(vec![told("op", 9, reserve("cpus:1"))]);
    assert!(world.given.state.operation(&key).is_some());
    world
        .given
        .ok(Command::TeardownFramework(TeardownFramework {
            framework: world.framework.clone(),
        }));
    assert!(world.given.state.operation(&key).is_none());
    assert_eq!(world.agent().checkpointed, reserved("cpus:2"));
}

#[test]
fn a_refusal_is_kept_for_the_next_subscription() {
    let mut world = World::new();
    world.accept(vec![told("op", 7, reserve("cpus:99"))]);
    let kept = |world: &World| {
        let framework = world.given.state.framework(&world.framework);
        framework.expect("there").refused_operations.len()
    };
    assert_eq!(kept(&world), 1);
    // It is carried out now: the refusal would be taken for its end.
    world.accept(vec![told("op", 8, reserve("cpus:1"))]);
    assert_eq!(kept(&world), 0);
}

#[test]
fn with_offers_that_are_not_valid_operations_are_refused() {
    let mut world = World::new();
    let applied = world.given.apply(Command::AcceptOffers(AcceptOffers {
        framework: world.framework.clone(),
        offers: vec![None],
        operations: vec![told("op", 7, reserve("cpus:1")), plain(reserve("cpus:1"))],
        refuse: DurationMs(0),
        content: 1,
    }));
    let refused = refusals(&applied.effects);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].message.contains("invalid offers"), "{refused:?}");
}

#[test]
fn an_operator_takes_back_just_the_offers_in_the_way() {
    let mut world = World::new();
    let plan = |what: &str| OfferPlan {
        framework: world.framework.clone(),
        role: "eng".into(),
        agent: world.agent.clone(),
        resources: resources(what),
        described: 0,
    };
    let plans = vec![plan("mem:512"), plan("cpus:2"), plan("cpus:2")];
    let (outcome, _) = world.given.ok(Command::IssueOffers(IssueOffers {
        plans,
        timeout: None,
    }));
    let Outcome::OffersIssued { offers, .. } = outcome else {
        panic!("{outcome:?}")
    };
    let applied = world.for_operator(reserve("cpus:1"));
    assert_eq!(applied.verdict, Ok(Outcome::Done));
    let rescinded: Vec<OfferId> = applied
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendRescind { offer, .. } => Some(*offer),
            _ => None,
        })
        .collect();
    assert_eq!(rescinded, [offers[1]]);
    assert_eq!(world.agent().checkpointed, reserved("cpus:1"));
}

#[test]
fn an_operator_is_told_what_cannot_be() {
    let mut world = World::new();
    let verdict = world.for_operator(reserve("cpus:5")).verdict;
    assert!(
        matches!(verdict, Err(Refusal::ResourcesInUse(_))),
        "{verdict:?}"
    );
    let destroy = ResourceOperation::Destroy(volume(1, "v"));
    let verdict = world.for_operator(destroy).verdict;
    assert!(
        matches!(verdict, Err(Refusal::OperationInvalid(_))),
        "{verdict:?}"
    );
    let nowhere = AgentId::new("nowhere").expect("valid");
    let refusal = world.given.refused(Command::ApplyOperation(ApplyOperation {
        agent: nowhere.clone(),
        operation: reserve("cpus:1"),
        principal: None,
    }));
    assert_eq!(refusal, Refusal::AgentUnknown(nowhere));
}

#[test]
fn a_shared_volume_is_made_only_by_a_framework_that_knows_them() {
    let mut world = World::new();
    world.accept(vec![plain(reserve("disk:20"))]);
    let why = world.refused(ResourceOperation::Create(shared(20, "v")));
    assert!(why.contains("SHARED_RESOURCES"), "{why}");
}

#[test]
fn a_shared_volume_is_offered_and_used_many_times() {
    let mut world = World::with_shared_volume();
    let needs = resources("cpus:1") + shared(20, "v");
    // Two tasks of one ACCEPT use the one copy that is offered.
    let (one, two) = (world.task("one", &needs), world.task("two", &needs));
    world.accept(vec![one, two]);
    assert_eq!(world.agent().tasks.len(), 2);
    assert_eq!(world.agent().allocated.shared().entries()[0].copies, 2);
    // It is available still, to others as well.
    assert!(world.agent().available().contains(&shared(20, "v")));
    let spec = world.spec();
    let other = world.subscribe(None, spec, 3);
    let framework = world.framework.clone();
    for framework in [&other, &framework] {
        let what = resources("mem:32") + shared(20, "v");
        assert_eq!(world.offers_of(framework, &what).len(), 1);
    }
    assert_eq!(world.agent().offered.shared().entries()[0].copies, 2);
    // A task that names it twice is wrong.
    let twice = shared(20, "v") + shared(20, "v");
    let task = world.task("three", &(resources("cpus:1") + twice));
    let effects = world.accept(vec![task]);
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::SendStatus { status, .. } if status.message.contains("duplicate persistence IDs")
    )));
}

#[test]
fn nothing_but_what_is_shared_is_offered_once_to_each_framework() {
    let mut world = World::with_shared_volume();
    let framework = world.framework.clone();
    assert_eq!(world.offers_of(&framework, &shared(20, "v")).len(), 1);
    assert_eq!(world.offers_of(&framework, &shared(20, "v")), []);
    let with_more = resources("cpus:1") + shared(20, "v");
    assert_eq!(world.offers_of(&framework, &with_more).len(), 1);
}

#[test]
fn a_shared_volume_is_destroyed_only_when_nobody_uses_it() {
    let mut world = World::with_shared_volume();
    let needs = resources("cpus:1") + shared(20, "v");
    let task = world.task("t", &needs);
    world.accept(vec![task]);
    let why = world.refused(ResourceOperation::Destroy(shared(20, "v")));
    assert!(why.contains("in use"), "{why}");
    let verdict = world.for_operator(ResourceOperation::Destroy(shared(20, "v")));
    assert!(matches!(verdict.verdict, Err(Refusal::ResourcesInUse(_))));
    // Its only task ends.
    let key = Given::key(&world.framework, "t");
    let (agent, generation) = (world.agent.clone(), world.given.state.task(&key));
    let generation = generation.expect("it runs").generation.0;
    world
        .given
        .ok(Command::ApplyReports(crate::command::ApplyReports {
            agent,
            epoch: world.agent().epoch,
            command_seq: world.agent().command_seq,
            reports: vec![Given::news(
                &key,
                generation,
                1,
                regency_types::TaskState::Finished,
            )],
        }));
    let spec = world.spec();
    let other = world.subscribe(None, spec, 3);
    let held = world.offers_of(&other, &(resources("mem:32") + shared(20, "v")))[0];
    // Another framework is offered it: that offer is taken back.
    let effects = world.accept(vec![told(
        "destroy",
        9,
        ResourceOperation::Destroy(shared(20, "v")),
    )]);
    assert_eq!(refusals(&effects), []);
    assert!(effects.contains(&Effect::SendRescind {
        framework: other,
        offer: held
    }));
    assert_eq!(world.agent().checkpointed, reserved("disk:20"));
    assert!(
        world
            .given
            .outbox(&world.agent)
            .iter()
            .any(|command| { matches!(command, AgentCommand::DestroyVolume { .. }) })
    );
}

#[test]
fn an_operator_destroys_a_shared_volume_that_is_only_offered() {
    let mut world = World::with_shared_volume();
    let framework = world.framework.clone();
    let what = resources("mem:32") + shared(20, "v");
    let (one, two) = (
        world.offers_of(&framework, &what)[0],
        world.offers_of(&framework, &what)[0],
    );
    let untouched = world.offers_of(&framework, &resources("cpus:1"))[0];
    let applied = world.for_operator(ResourceOperation::Destroy(shared(20, "v")));
    assert_eq!(applied.verdict, Ok(Outcome::Done));
    for offer in [one, two] {
        assert!(world.given.state.offer(offer).is_none());
    }
    assert!(world.given.state.offer(untouched).is_some());
}

#[test]
fn an_operator_changes_a_reservation_in_one_step() {
    let mut world = World::new();
    let by = |role: &str| Reservation::dynamic(role, None);
    let stacked = |text: &str, roles: &[&str]| {
        let plain = resources(text);
        roles
            .iter()
            .fold(plain, |r, role| r.push_reservation(&by(role)))
    };
    let anew = |source: Resources, resources: Resources| ResourceOperation::ReserveAnew {
        source,
        resources,
    };
    let apply = |world: &mut World, operation| world.for_operator(operation).verdict;
    let (eng, web) = (
        stacked("cpus:2", &["eng"]),
        stacked("cpus:2", &["eng", "eng/web"]),
    );
    let ads = stacked("cpus:2", &["ads"]);
    // From nothing, to another role, into the tree of that role, and back.
    for (source, resources) in [
        (resources("cpus:2"), eng.clone()),
        (eng.clone(), ads.clone()),
        (ads.clone(), web.clone()),
        (web.clone(), eng.clone()),
    ] {
        let verdict = apply(&mut world, anew(source, resources.clone()));
        assert_eq!(verdict, Ok(Outcome::Done));
        assert_eq!(world.agent().checkpointed, resources);
    }
    for (source, resources, part) in [
        (eng.clone(), resources("cpus:2"), "not reserved"),
        (eng.clone(), stacked("cpus:1", &["ads"]), "same amounts"),
        (&eng + &web, &eng + &ads, "in the same way"),
        (
            resources("cpus(ops):1"),
            stacked("cpus:1", &["eng"]),
            "'ops'",
        ),
        (Resources::new(), eng.clone(), "names no resources"),
    ] {
        match apply(&mut world, anew(source, resources)) {
            Err(Refusal::OperationInvalid(why)) => assert!(why.contains(part), "{part}: {why}"),
            other => panic!("{other:?}"),
        }
    }
    let why = world.refused(anew(eng, ads));
    assert!(why.contains("operators only"), "{why}");
}

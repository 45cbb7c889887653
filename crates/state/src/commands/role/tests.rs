use bytes::Bytes;
use regency_resources::Reservation;
use regency_types::{AgentId, DurationMs, FrameworkId, StreamId};

use super::*;
use crate::command::{
    ApplyOperation, Command, IssueOffers, OfferPlan, ResourceOperation, SubscribeFramework,
};
use crate::commands::fixture::{Given, resources};
use crate::model::FrameworkSpec;

const TOTAL: &str = "cpus:8;mem:1024;disk:100;ports:[1-100]";

fn amounts(text: &str) -> Quantities {
    Quantities::from(&resources(text))
}

fn config(role: &str, guarantees: &str, limits: &str) -> QuotaConfig {
    let mut quota = Quota {
        guarantees: amounts(guarantees),
        limits: amounts(limits).into(),
    };
    // Text of resources has no zero.
    if limits.contains("gpus:0.001") {
        quota.limits.insert("gpus".into(), Milli(0));
    }
    QuotaConfig {
        role: role.into(),
        quota,
    }
}

fn update(configs: &[QuotaConfig], force: bool) -> Command {
    Command::UpdateQuota(UpdateQuota {
        configs: configs.to_vec(),
        force,
    })
}

struct World {
    given: Given,
    agent: AgentId,
}

impl World {
    fn new() -> Self {
        let mut given = Given::new();
        let agent = given.agent(1, TOTAL);
        Self { given, agent }
    }

    fn framework(&mut self, stream: u128, role: &str) -> FrameworkId {
        let (outcome, _) = self
            .given
            .ok(Command::SubscribeFramework(SubscribeFramework {
                framework: None,
                spec: FrameworkSpec {
                    roles: [role.to_owned()].into(),
                    info: Bytes::new(),
                    ..Given::framework_spec()
                },
                suppressed: Vec::new(),
                stream: StreamId(stream),
                kept: None,
            }));
        match outcome {
            Outcome::Subscribed { framework } => framework,
            other => panic!("{other:?}"),
        }
    }

    fn plan(&self, framework: &FrameworkId, role: &str, what: &str) -> OfferPlan {
        OfferPlan {
            framework: framework.clone(),
            role: role.into(),
            agent: self.agent.clone(),
            resources: resources(what),
            described: 0,
        }
    }

    fn issue(&mut self, plans: Vec<OfferPlan>) -> Vec<OfferId> {
        let (outcome, _) = self.given.ok(Command::IssueOffers(IssueOffers {
            plans,
            timeout: None,
        }));
        match outcome {
            Outcome::OffersIssued { offers, .. } => offers,
            other => panic!("{other:?}"),
        }
    }

    fn offer(&mut self, framework: &FrameworkId, role: &str, what: &str) -> OfferId {
        let plan = self.plan(framework, role, what);
        self.issue(vec![plan])[0]
    }

    /// A task runs in the role.
    fn task(&mut self, framework: &FrameworkId, role: &str, id: &str, what: &str) {
        let offer = self.offer(framework, role, what);
        let task = Given::task(id, &self.agent, what);
        self.given
            .ok(Given::accept(framework, &[offer], vec![task]));
    }

    fn offers(&self) -> Vec<u64> {
        self.given.state.offers().map(|offer| offer.id.0).collect()
    }
}

#[test]
fn an_update_is_all_or_nothing() {
    let mut world = World::new();
    world.given.ok(update(
        &[config("a", "cpus:1", "cpus:2"), config("b", "", "mem:5")],
        false,
    ));
    let state = &world.given.state;
    assert_eq!(state.quota_of("a").guarantees, amounts("cpus:1"));
    assert_eq!(state.quota_of("b").limits_text(), "mem:5");
    let refusal = world.given.refused(update(
        &[config("a", "", "cpus:9"), config("b/c", "", "mem:5")],
        false,
    ));
    assert!(
        matches!(refusal, Refusal::RoleConfigInvalid(_)),
        "{refusal}"
    );
    // What is not named stays; what is empty goes.
    world.given.ok(update(&[config("a", "", "")], false));
    let names: Vec<&str> = world.given.state.role_configs().map(|c| &*c.role).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn what_cannot_be_a_quota_is_refused_also_by_force() {
    let mut world = World::new();
    for configs in [
        vec![config("a/b", "cpus:1", "")],
        vec![config("a", "cpus:2", "cpus:1")],
        vec![config("a", "cpus:1", ""), config("a", "cpus:2", "")],
    ] {
        let refusal = world.given.refused(update(&configs, true));
        assert!(
            matches!(refusal, Refusal::RoleConfigInvalid(_)),
            "{refusal}"
        );
    }
}

#[test]
fn guarantees_beyond_the_cluster_need_force() {
    let mut world = World::new();
    world
        .given
        .ok(update(&[config("a", "cpus:1;mem:64", "")], false));
    let big = [config("big", "cpus:100000", "")];
    assert_eq!(
        world.given.refused(update(&big, false)).to_string(),
        "total quota guarantees 'cpus:100001; mem:64' exceed cluster capacity 'cpus:8; disk:100; \
         mem:1024' (use 'force' flag to bypass this check)"
    );
    // What a role had before counts no more.
    world.given.ok(update(&[config("a", "cpus:8", "")], false));
    world.given.ok(update(&big, true));
}

#[test]
fn limits_below_what_is_used_or_reserved_need_force() {
    let mut world = World::new();
    let framework = world.framework(1, "a/x");
    world.task(&framework, "a/x", "t", "cpus:2");
    world.given.ok(Command::ApplyOperation(ApplyOperation {
        agent: world.agent.clone(),
        operation: ResourceOperation::Reserve(
            resources("cpus:1").push_reservation(&Reservation::dynamic("a", None)),
        ),
        principal: None,
    }));
    // What is only offered is no reason: it is taken back.
    let offer = world.offer(&framework, "a/x", "cpus:2");
    let refusal = world
        .given
        .refused(update(&[config("a", "", "cpus:2.9")], false));
    assert_eq!(
        refusal.to_string(),
        "role 'a' already consumes 'cpus:3', which exceeds the limits 'cpus:2.9' (use 'force' flag \
         to bypass this check)"
    );
    let (outcome, effects) = world.given.ok(update(&[config("a", "", "cpus:3")], false));
    assert_eq!(outcome, Outcome::Removed { n: 1 });
    let rescind = Effect::SendRescind { framework, offer };
    assert_eq!(effects, [rescind, Effect::WakeAllocator]);
    world.given.ok(update(&[config("a", "", "cpus:1")], true));
}

#[test]
fn only_as_many_offers_as_needed_are_taken_back_the_newest_first() {
    let mut world = World::new();
    let framework = world.framework(1, "a");
    for _ in 0..4 {
        world.offer(&framework, "a", "cpus:1;mem:10");
    }
    world.offer(&framework, "a", "disk:5");
    world
        .given
        .ok(update(&[config("a", "", "cpus:2;mem:1000")], false));
    assert_eq!(world.offers(), [0, 1, 4]);
}

#[test]
fn no_plan_gets_a_role_above_its_limit() {
    let mut world = World::new();
    let (first, second) = (world.framework(1, "a/x"), world.framework(2, "a/y"));
    let other = world.framework(3, "b");
    world
        .given
        .ok(update(&[config("a", "", "cpus:3;gpus:0.001")], false));
    world.task(&first, "a/x", "t", "cpus:1");
    // One entry, planned against a state that did not know of the limit.
    let plans = vec![
        world.plan(&first, "a/x", "cpus:1;mem:10"),
        world.plan(&second, "a/y", "cpus:1.5;mem:10"),
        world.plan(&second, "a/y", "mem:10;ports:[1-5]"),
        world.plan(&second, "a/y", "cpus:1"),
        world.plan(&other, "b", "cpus:2"),
        world.plan(&second, "a/y", "cpus:0.001"),
    ];
    assert_eq!(world.issue(plans).len(), 4);
    let refused = world.plan(&first, "a/x", "cpus:0.001");
    assert_eq!(world.issue(vec![refused]), []);
    let used = world.given.state.consumed_quotas(&BTreeSet::from(["a"]));
    assert_eq!(used["a"].promised().get("cpus"), Milli::from_units(3));
}

#[test]
fn offers_of_others_make_room_for_a_guarantee_and_no_more_of_them_than_needed() {
    let mut world = World::new();
    let (rich, kept) = (world.framework(1, "rich"), world.framework(2, "kept"));
    world
        .given
        .ok(update(&[config("kept", "cpus:2", "")], false));
    world.offer(&rich, "rich", "cpus:2");
    world.offer(&rich, "rich", "cpus:2");
    world.offer(&rich, "rich", "mem:100");
    world.offer(&kept, "kept", "cpus:2");
    world.offer(&rich, "rich", "disk:10");
    // Two cpus are free, one more is wanted.
    let (outcome, _) = world
        .given
        .ok(update(&[config("new", "cpus:3", "")], false));
    assert_eq!(outcome, Outcome::Removed { n: 1 });
    assert_eq!(world.offers(), [0, 2, 3, 4]);
    // More than all others have: nobody's guarantee is taken for it.
    world.given.ok(update(&[config("new", "cpus:8", "")], true));
    assert_eq!(world.offers(), [2, 3, 4]);
}

#[test]
fn the_older_form_sets_guarantee_and_limit_once() {
    let mut world = World::new();
    let set = |role: &str, guarantee: &str, force| {
        Command::SetQuota(SetQuota {
            role: role.into(),
            guarantee: amounts(guarantee),
            force,
        })
    };
    world.given.ok(set("a", "cpus:2", false));
    let quota = world.given.state.quota_of("a");
    assert_eq!(quota.guarantees, amounts("cpus:2"));
    assert_eq!(quota.limits_text(), "cpus:2");
    assert_eq!(
        world.given.refused(set("a", "cpus:1", true)),
        Refusal::QuotaExists("a".into())
    );
    for (role, guarantee) in [("a/b", "cpus:1"), ("b", "")] {
        let refusal = world.given.refused(set(role, guarantee, true));
        assert!(
            matches!(refusal, Refusal::RoleConfigInvalid(_)),
            "{refusal}"
        );
    }
    let refusal = world.given.refused(set("b", "cpus:7", false));
    assert!(
        matches!(refusal, Refusal::QuotaOvercommitted(_)),
        "{refusal}"
    );
    world.given.ok(set("b", "cpus:7", true));
    let remove = |role: &str| Command::RemoveQuota(RemoveQuota { role: role.into() });
    world.given.ok(remove("a"));
    assert_eq!(
        world.given.refused(remove("a")),
        Refusal::QuotaUnknown("a".into())
    );
}

#[test]
fn a_weight_that_changes_takes_all_offers_back() {
    let mut world = World::new();
    let framework = world.framework(1, "a/x");
    let weigh = |role: &str, weight, initial| {
        Command::UpdateWeights(UpdateWeights {
            weights: vec![(role.into(), Milli(weight))],
            initial,
        })
    };
    for (role, weight, taken_back) in [
        ("b", 2000, 0),
        ("a/x", 1000, 0),
        ("a/x", 2000, 1),
        ("a/x", 2000, 0),
        ("a", 500, 1),
    ] {
        world.offer(&framework, "a/x", "cpus:1");
        let before = world.offers().len() as u64;
        let (outcome, _) = world.given.ok(weigh(role, weight, false));
        let n = before * taken_back;
        assert_eq!(outcome, Outcome::Removed { n }, "{role}={weight}");
        assert_eq!(world.given.state.weight_of(role), Milli(weight));
    }
    let refusal = world.given.refused(weigh("a", 0, false));
    assert!(
        matches!(refusal, Refusal::RoleConfigInvalid(_)),
        "{refusal}"
    );
    // What a cluster begins with is too late now.
    world.given.ok(weigh("a", 9000, true));
    assert_eq!(world.given.state.weight_of("a"), Milli(500));
    let mut new = World::new();
    new.given.ok(weigh("a", 9000, true));
    assert_eq!(new.given.state.weight_of("a"), Milli(9000));
}

#[test]
fn what_is_on_an_agent_that_was_given_up_is_not_consumed() {
    let mut world = World::new();
    let framework = world.framework(1, "a");
    world.task(&framework, "a", "t", "cpus:2;mem:10");
    let consumed = |world: &World| {
        let all = world.given.state.consumed_quotas(&BTreeSet::from(["a"]));
        all["a"].for_good()
    };
    assert_eq!(consumed(&world), amounts("cpus:2;mem:10"));
    world.given.later(DurationMs(100_000).0);
    let agent = world.agent.clone();
    world.given.give_up(&agent);
    assert_eq!(consumed(&world), Quantities::new());
    assert_eq!(world.given.state.capacity(), Quantities::new());
}

#[test]
fn so_many_roles_are_remembered_and_no_more() {
    let mut world = World::new();
    let weigh = |from: usize, to: usize| {
        Command::UpdateWeights(UpdateWeights {
            weights: (from..to).map(|n| (format!("r{n}"), Milli(2000))).collect(),
            initial: false,
        })
    };
    world.given.ok(weigh(0, bounds::ROLES_CONFIGURED_MAX));
    let refusals = [
        world
            .given
            .refused(weigh(0, bounds::ROLES_CONFIGURED_MAX + 1)),
        world
            .given
            .refused(update(&[config("another", "cpus:1", "")], false)),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Refusal::RoleConfigInvalid(_)),
            "{refusal}"
        );
    }
    world.given.ok(update(&[config("r0", "cpus:1", "")], false));
}

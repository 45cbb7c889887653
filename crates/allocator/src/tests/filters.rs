use regency_resources::{Quantities, ResourceKey, Value};
use regency_types::DurationMs;

use super::*;
use crate::DeclineFilter;

/// One agent of `cpus:4;mem:1024` and one framework, changed by `change`; whether it gets an offer.
fn is_offered(change: impl Fn(&mut AgentView, &mut FrameworkView)) -> bool {
    let mut agent = agent("s1", "cpus:4;mem:1024");
    let mut framework = framework("f1", &["r/s"]);
    change(&mut agent, &mut framework);
    !run(&view(vec![agent], vec![framework])).is_empty()
}

fn declined(refused: &str, expires_at: ClusterTime) -> DeclineFilter {
    DeclineFilter {
        role: "r/s".to_owned(),
        agent: AgentId::new("s1").unwrap(),
        refused: text(refused),
        expires_at,
    }
}

#[test]
fn inactive_frameworks_and_suppressed_roles_get_nothing() {
    assert!(is_offered(|_, _| ()));
    assert!(!is_offered(|_, f| f.active = false));
    assert!(!is_offered(|_, f| f.roles[0].active = false));
    assert!(!is_offered(|_, f| f.roles.clear()));
    assert!(!is_offered(|_, f| f.new_offers_max = Some(0)));
    assert!(!is_offered(|a, _| a.candidate = false));
}

#[test]
fn a_decline_holds_for_as_much_or_less_until_it_expires() {
    let later = NOW + DurationMs(1);
    for (refused, expires_at, offered) in [
        ("cpus:4;mem:1024", later, false),
        ("cpus:8;mem:2048;disk:1", later, false),
        ("cpus:4;mem:1023", later, true),
        ("cpus:4", later, true),
        ("cpus:4;mem:1024", NOW, true),
    ] {
        assert_eq!(
            is_offered(|_, f| f.filters = vec![declined(refused, expires_at)]),
            offered,
            "{refused} until {expires_at}"
        );
    }
    // Any one of several filters is enough, one for another role or agent does not count.
    assert!(!is_offered(|_, f| f.filters = vec![
        declined("cpus:1", later),
        declined("cpus:9;mem:9000", later)
    ]));
    assert!(is_offered(|_, f| {
        let mut other = declined("cpus:4;mem:1024", later);
        other.role = "r".to_owned();
        f.filters = vec![other];
    }));
    assert!(is_offered(|_, f| {
        let mut other = declined("cpus:4;mem:1024", later);
        other.agent = AgentId::new("s2").unwrap();
        f.filters = vec![other];
    }));
}

#[test]
fn what_one_framework_declined_goes_to_the_next() {
    let mut first = framework("f1", &["r/s"]);
    first.filters = vec![declined("cpus:4", NOW + DurationMs(1))];
    let view = view(
        vec![agent("s1", "cpus:4")],
        vec![first, framework("f2", &["r/s"])],
    );
    assert_eq!(lines(&run(&view)), ["f2 r/s s1 cpus:4"]);
}

#[test]
fn agents_with_gpus_are_kept_for_those_who_ask_for_them() {
    let gpus = |a: &mut AgentView| *a = agent("s1", "cpus:4;mem:1024;gpus:1");
    assert!(!is_offered(|a, _| gpus(a)));
    assert!(is_offered(|a, f| {
        gpus(a);
        f.capabilities.gpu_resources = true;
    }));
    // Also when only the rest of such an agent is free.
    assert!(!is_offered(|a, _| {
        gpus(a);
        a.available = text("cpus:4;mem:1024");
    }));
    let options = Options {
        filter_gpu_resources: false,
        ..Options::default()
    };
    let view = view(
        vec![agent("s1", "cpus:4;gpus:1")],
        vec![framework("f1", &["r"])],
    );
    assert_eq!(allocate(&view, &options, &cycle(7)).len(), 1);
}

#[test]
fn agents_and_frameworks_must_understand_each_other() {
    assert!(!is_offered(|a, _| a.remote = true));
    assert!(is_offered(|a, f| {
        a.remote = true;
        f.capabilities.region_aware = true;
    }));
    assert!(!is_offered(|a, _| a.capabilities.hierarchical_role = false));
    assert!(is_offered(|a, _| a.capabilities.multi_role = false));
    assert!(!is_offered(|a, f| {
        a.capabilities.multi_role = false;
        f.capabilities.multi_role = true;
    }));
    assert!(!is_offered(|a, f| {
        f.roles[0].excluded_agents.insert(a.id.clone());
    }));
}

#[test]
fn revocable_resources_are_for_those_who_can_lose_them() {
    let revocable = |a: &mut AgentView| {
        let key = ResourceKey {
            revocable: true,
            ..ResourceKey::new("cpus")
        };
        a.total = [(key, Value::units(2))].into_iter().collect();
        a.available = a.total.clone();
    };
    assert!(!is_offered(|a, _| revocable(a)));
    assert!(is_offered(|a, f| {
        revocable(a);
        f.capabilities.revocable_resources = true;
    }));
}

#[test]
fn offers_too_small_to_be_of_use_are_not_made() {
    for (available, offered) in [
        ("cpus:0.01", true),
        ("cpus:0.009;mem:31;disk:5000;ports:[1-9]", false),
        ("mem:32", true),
        ("mem(r):32", true),
    ] {
        assert_eq!(
            is_offered(|a, _| a.available = text(available)),
            offered,
            "{available}"
        );
    }
    let disk: Quantities = parse::quantities("disk:10").unwrap();
    assert!(!is_offered(
        |_, f| f.roles[0].min_allocatable = Some(vec![disk.clone()])
    ));
    assert!(is_offered(|a, f| {
        a.available = text("disk:10");
        f.roles[0].min_allocatable = Some(vec![disk.clone()]);
    }));
    assert!(is_offered(|a, f| {
        a.available = text("ports:[1-2]");
        f.roles[0].min_allocatable = Some(Vec::new());
    }));
}

#[test]
fn a_framework_gets_no_more_new_offers_than_it_may() {
    let agents = (0..5).map(|n| agent(&format!("s{n}"), "cpus:1")).collect();
    let mut framework = framework("f1", &["r"]);
    framework.new_offers_max = Some(2);
    assert_eq!(run(&view(agents, vec![framework])).len(), 2);
}

use regency_resources::{Milli, parse};

use super::*;

#[test]
fn the_first_framework_takes_a_whole_agent() {
    let view = view(
        vec![agent("s1", "cpus:4;mem:1024;ports:[1-9]")],
        vec![framework("f2", &["r"]), framework("f1", &["r"])],
    );
    assert_eq!(
        lines(&run(&view)),
        ["f1 r s1 cpus:4; mem:1024; ports:[1-9]"]
    );
}

#[test]
fn agents_go_round_frameworks_of_equal_need() {
    let agents = (0..6)
        .map(|n| agent(&format!("s{n}"), "cpus:4;mem:1024"))
        .collect();
    let view = view(
        agents,
        vec![
            framework("f1", &["a"]),
            framework("f2", &["b"]),
            framework("f3", &["b"]),
        ],
    );
    let n_offers = n_offers(&run(&view));
    // The roles share alike, and so do the frameworks of one role.
    assert_eq!(n_offers["f1"], 3);
    assert_eq!(n_offers["f2"] + n_offers["f3"], 3);
    assert!(n_offers["f2"].abs_diff(n_offers["f3"]) == 1);
}

#[test]
fn what_a_framework_holds_puts_it_behind() {
    let mut rich = framework("f1", &["a"]);
    rich.roles[0].charge(&text("cpus:8"));
    let mut big = agent("s0", "cpus:8");
    big.available = Resources::empty();
    let view = view(
        vec![
            big,
            agent("s1", "cpus:4"),
            agent("s2", "cpus:4"),
            agent("s3", "cpus:4"),
        ],
        vec![rich, framework("f2", &["b"])],
    );
    let n_offers = n_offers(&run(&view));
    // At eight each the name decides, but f2 was allocated twice and f1 once.
    assert_eq!(n_offers["f2"], 2);
    assert_eq!(n_offers["f1"], 1);
}

#[test]
fn the_dominant_share_counts_not_the_sum() {
    // f1 holds half of the cpus, f2 a tenth of each: f2 is served first though it holds more mem.
    let mut cpus = framework("f1", &["a"]);
    cpus.roles[0].charge(&text("cpus:50"));
    let mut little = framework("f2", &["b"]);
    little.roles[0].charge(&text("cpus:10;mem:100"));
    let mut used = agent("s0", "cpus:90;mem:990");
    used.available = Resources::empty();
    let mut view = view(
        vec![used, agent("s1", "cpus:10;mem:10")],
        vec![cpus, little],
    );
    assert_eq!(n_offers(&run(&view)).keys().collect::<Vec<_>>(), ["f2"]);
    // Without cpus in the reckoning f1 holds nothing.
    let options = Options {
        fair_sharing_excluded: ["cpus".to_owned()].into(),
        ..Options::default()
    };
    let plans = allocate(&view, &options, &cycle(7));
    assert_eq!(n_offers(&plans).keys().collect::<Vec<_>>(), ["f1"]);
    // Nor does a tenth weigh more than a half divided by ten.
    view.roles = vec![RoleView {
        weight: Milli::from_units(10),
        ..RoleView::new("a")
    }];
    assert_eq!(n_offers(&run(&view)).keys().collect::<Vec<_>>(), ["f1"]);
}

#[test]
fn weights_hold_on_a_long_run() {
    let agents = (0..400)
        .map(|n| agent(&format!("s{n}"), "cpus:1;mem:100"))
        .collect();
    let mut view = view(
        agents,
        vec![
            framework("f1", &["a"]),
            framework("f2", &["b"]),
            framework("f3", &["b"]),
            framework("f4", &["c/d"]),
        ],
    );
    for (name, weight) in [("a", 1), ("b", 2), ("c", 5)] {
        view.roles.push(RoleView {
            weight: Milli::from_units(weight),
            ..RoleView::new(name)
        });
    }
    let n_offers = n_offers(&run(&view));
    for (id, expected) in [("f1", 50_usize), ("f2", 50), ("f3", 50), ("f4", 250)] {
        assert!(n_offers[id].abs_diff(expected) <= 1, "{n_offers:?}");
    }
}

#[test]
fn the_seed_decides_which_agents_but_not_how_many() {
    let agents = (0..20).map(|n| agent(&format!("s{n}"), "cpus:1")).collect();
    let view = view(
        agents,
        vec![framework("f1", &["a"]), framework("f2", &["a"])],
    );
    let options = Options::default();
    let one = allocate(&view, &options, &cycle(1));
    let two = allocate(&view, &options, &cycle(2));
    assert_eq!(n_offers(&one), n_offers(&two));
    assert_ne!(lines(&one), lines(&two));
}

#[test]
fn reservations_go_to_their_role_and_below_it_only() {
    let view = view(
        vec![agent(
            "s1",
            "cpus:1;mem:100;cpus(eng):2;cpus(ops):4;cpus(eng/db):8",
        )],
        vec![
            framework("f1", &["eng/web"]),
            framework("f2", &["art"]),
            framework("f3", &["ops"]),
        ],
    );
    // `art` comes first and gets what is not reserved; the others get what is theirs.
    assert_eq!(
        lines(&run(&view)),
        [
            "f1 eng/web s1 cpus(eng):2",
            "f2 art s1 cpus:1; mem:100",
            "f3 ops s1 cpus(ops):4",
        ]
    );
}

#[test]
fn a_framework_of_two_roles_gets_one_offer_for_each() {
    let view = view(
        vec![agent("s1", "cpus(a):1;cpus(b):2"), agent("s2", "cpus:4")],
        vec![framework("f1", &["a", "b"])],
    );
    let plans = run(&view);
    let on_s1: Vec<String> = lines(&plans)
        .into_iter()
        .filter(|l| l.contains(" s1 "))
        .collect();
    assert_eq!(on_s1, ["f1 a s1 cpus(a):1", "f1 b s1 cpus(b):2"]);
    assert_eq!(plans.len(), 3);
}

#[test]
fn a_shared_volume_is_offered_to_one_framework_in_a_run_even_when_in_use() {
    let key = regency_resources::ResourceKey {
        shared: true,
        ..regency_resources::ResourceKey::fixed("disk", "r")
    };
    let shared: Resources = [(key, regency_resources::Value::units(100))]
        .into_iter()
        .collect();
    let mut with_volume = agent("s1", "cpus:4;cpus(r):1");
    with_volume.total += &shared;
    with_volume.available = text("cpus(r):1") + &shared;
    let mut frameworks = vec![framework("f1", &["r"]), framework("f2", &["r"])];
    for framework in &mut frameworks {
        framework.capabilities = EVERYTHING;
    }
    let mut view = view(vec![with_volume], frameworks);
    view.frameworks[0].roles[0].charge(&text("cpus:4"));
    assert_eq!(
        lines(&run(&view)),
        ["f2 r s1 cpus(r):1; disk(r)<SHARED>:100"]
    );
    view.frameworks[1].capabilities.shared_resources = false;
    assert_eq!(lines(&run(&view)), ["f2 r s1 cpus(r):1"]);
}

#[test]
fn agents_that_are_no_candidates_count_for_totals_only() {
    let mut hidden = agent("s0", "cpus:100");
    hidden.candidate = false;
    let view = view(
        vec![hidden, agent("s1", "cpus:1")],
        vec![framework("f1", &["a"])],
    );
    assert_eq!(lines(&run(&view)), ["f1 a s1 cpus:1"]);
}

#[test]
fn an_empty_cluster_gives_nothing() {
    assert_eq!(run(&ClusterView::default()), []);
    assert_eq!(run(&view(vec![agent("s1", "cpus:1")], Vec::new())), []);
    assert_eq!(run(&view(Vec::new(), vec![framework("f1", &["a"])])), []);
}

#[test]
fn charging_counts_what_shares_and_quotas_count() {
    let mut role = crate::FrameworkRole::new("r");
    role.charge(&text("cpus:1;cpus(r):2;ports:[1-2]"));
    role.charge(&text("cpus:4;mem:8"));
    assert_eq!(role.allocated, parse::quantities("cpus:7;mem:8").unwrap());
    assert_eq!(role.charged, parse::quantities("cpus:5;mem:8").unwrap());
    assert_eq!(role.allocations, 2);
}

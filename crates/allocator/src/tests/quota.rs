use super::*;

fn offered(plans: &[OfferPlan], framework: &str) -> Resources {
    plans
        .iter()
        .filter(|p| p.framework.as_str() == framework)
        .map(|p| &p.resources)
        .sum()
}

fn agents(n: usize, total: &str) -> Vec<AgentView> {
    (0..n).map(|i| agent(&format!("s{i}"), total)).collect()
}

#[test]
fn guarantees_are_served_before_fair_shares() {
    // By fair share each would get three agents.
    let mut view = view(
        agents(6, "cpus:1;mem:100"),
        vec![framework("f1", &["a"]), framework("f2", &["b"])],
    );
    assert_eq!(n_offers(&run(&view))["f2"], 3);
    view.roles = vec![role("b", "cpus:5;mem:500", "")];
    assert_eq!(offered(&run(&view), "f2"), text("cpus:5;mem:500"));
    assert_eq!(offered(&run(&view), "f1"), text("cpus:1;mem:100"));
}

#[test]
fn headroom_for_guarantees_is_kept_from_others() {
    // The role with the guarantee has no framework yet; of ten cpus it is owed six.
    let mut view = view(agents(10, "cpus:1;mem:100"), vec![framework("f1", &["a"])]);
    view.roles = vec![role("b", "cpus:6", "")];
    let plans = run(&view);
    assert_eq!(
        offered(&plans, "f1").scalar("cpus"),
        text("cpus:4").scalar("cpus")
    );
    // Nothing of mem is owed to anybody, so it is not held back.
    assert_eq!(
        offered(&plans, "f1").scalar("mem"),
        text("mem:1000").scalar("mem")
    );
}

#[test]
fn a_guarantee_that_is_met_holds_nothing_back() {
    let mut owed = framework("f2", &["b"]);
    owed.roles[0].charge(&text("cpus:6"));
    owed.active = false;
    let mut used = agent("used", "cpus:6");
    used.available = Resources::empty();
    let mut all = agents(4, "cpus:1");
    all.push(used);
    let mut view = view(all, vec![framework("f1", &["a"]), owed]);
    view.roles = vec![role("b", "cpus:6", "")];
    assert_eq!(offered(&run(&view), "f1"), text("cpus:4"));
}

#[test]
fn reservations_count_towards_a_guarantee() {
    let mut all = agents(4, "cpus:1");
    all.push(agent("kept", "cpus(b/c):6"));
    let mut view = view(all, vec![framework("f1", &["a"])]);
    view.roles = vec![role("b", "cpus:6", "")];
    assert_eq!(offered(&run(&view), "f1"), text("cpus:4"));
}

#[test]
fn a_limit_is_never_exceeded_and_cuts_an_offer_short() {
    let mut view = view(agents(3, "cpus:4;mem:100"), vec![framework("f1", &["a"])]);
    view.roles = vec![role("a", "", "cpus:6")];
    assert_eq!(offered(&run(&view), "f1"), text("cpus:6;mem:300"));
    view.roles = vec![role("a", "", "cpus:0;mem:0")];
    assert_eq!(run(&view), []);
}

#[test]
fn a_limit_binds_the_roles_below_it_together() {
    let mut view = view(
        agents(8, "cpus:1"),
        vec![framework("f1", &["a/x"]), framework("f2", &["a/y"])],
    );
    view.frameworks[0].roles[0].charge(&text("cpus:2"));
    view.roles = vec![role("a", "", "cpus:5")];
    let plans = run(&view);
    assert_eq!(plans.len(), 3);
}

#[test]
fn a_guarantee_is_exceeded_within_limit_and_headroom_only() {
    // One agent; towards a guarantee of two the whole of it goes out, as far as the limit allows.
    let mut view = view(
        agents(1, "cpus:8;mem:100;ports:[1-9]"),
        vec![framework("f1", &["a"])],
    );
    view.roles = vec![role("a", "cpus:2", "")];
    assert_eq!(
        offered(&run(&view), "f1"),
        text("cpus:8;mem:100;ports:[1-9]")
    );
    view.roles = vec![role("a", "cpus:2", "cpus:3;mem:10")];
    assert_eq!(
        offered(&run(&view), "f1"),
        text("cpus:3;mem:10;ports:[1-9]")
    );
    // Another role is owed four of the eight.
    view.roles = vec![role("a", "cpus:2", ""), role("b", "cpus:4", "")];
    assert_eq!(
        offered(&run(&view), "f1"),
        text("cpus:4;mem:100;ports:[1-9]")
    );
}

#[test]
fn what_a_guarantee_lacks_is_not_kept_from_the_roles_below_it() {
    let mut view = view(
        agents(4, "cpus:1"),
        vec![framework("f1", &["a/x"]), framework("f2", &["b"])],
    );
    view.roles = vec![role("a", "cpus:3", "")];
    let plans = run(&view);
    assert_eq!(
        offered(&plans, "f1").scalar("cpus"),
        text("cpus:3").scalar("cpus")
    );
    assert_eq!(
        offered(&plans, "f2").scalar("cpus"),
        text("cpus:1").scalar("cpus")
    );
}

#[test]
fn the_last_bit_of_surplus_is_offered() {
    // Of four cpus all but three tenths are owed to somebody else.
    let mut view = view(agents(4, "cpus:1"), vec![framework("f1", &["a"])]);
    view.roles = vec![role("b", "cpus:3.7", "")];
    assert_eq!(offered(&run(&view), "f1"), text("cpus:0.3"));
    view.roles = vec![role("b", "cpus:3.99", "")];
    assert_eq!(offered(&run(&view), "f1"), text("cpus:0.01"));
    view.roles = vec![role("b", "cpus:3.991", "")];
    assert_eq!(run(&view), []);
}

#[test]
fn guarantees_beyond_the_cluster_are_served_as_far_as_it_goes() {
    let mut view = view(
        agents(2, "cpus:1"),
        vec![framework("f1", &["a"]), framework("f2", &["b"])],
    );
    view.roles = vec![role("a", "cpus:5", ""), role("b", "cpus:5", "")];
    let plans = run(&view);
    assert_eq!(offered(&plans, "f1"), text("cpus:1"));
    assert_eq!(offered(&plans, "f2"), text("cpus:1"));
}

#[test]
fn a_limit_does_not_bind_what_is_revocable_or_reserved() {
    let key = regency_resources::ResourceKey {
        revocable: true,
        ..regency_resources::ResourceKey::new("cpus")
    };
    let revocable: Resources = [(key, regency_resources::Value::units(2))]
        .into_iter()
        .collect();
    let mut framework = framework("f1", &["a"]);
    framework.capabilities = EVERYTHING;
    let mut view = view(agents(1, "cpus:4"), vec![framework]);
    view.agents[0].available += &revocable;
    view.agents[0].total += &revocable;
    view.roles = vec![role("a", "", "cpus:0;mem:0")];
    assert_eq!(offered(&run(&view), "f1"), revocable);
    // Nor when it was already seen on another agent that the limit leaves the role nothing.
    view.agents.push(agent("plain", "cpus:4"));
    for seed in 0..8 {
        let plans = allocate(&view, &Options::default(), &cycle(seed));
        assert_eq!(offered(&plans, "f1"), revocable);
    }
    view.agents.pop();
    view.agents[0].available = text("cpus:4;cpus(a):1");
    assert_eq!(offered(&run(&view), "f1"), text("cpus(a):1"));
}

#[test]
fn both_stages_add_up_to_one_offer() {
    // Towards its guarantee the framework gets cpus only as mem is owed elsewhere; when that
    // changes within the run, the rest comes by fair share, in the same offer.
    let mut view = view(
        agents(2, "cpus:1;mem:100"),
        vec![framework("f1", &["a"]), framework("f2", &["b"])],
    );
    view.roles = vec![role("a", "cpus:1", ""), role("b", "mem:150", "")];
    for seed in 0..20 {
        let plans = allocate(&view, &Options::default(), &cycle(seed));
        let mut seen: Vec<_> = plans
            .iter()
            .map(|p| (&p.framework, &p.role, &p.agent))
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), plans.len(), "{:?}", lines(&plans));
        assert_eq!(
            offered(&plans, "f1") + &offered(&plans, "f2"),
            text("cpus:2;mem:200"),
            "{:?}",
            lines(&plans)
        );
    }
}

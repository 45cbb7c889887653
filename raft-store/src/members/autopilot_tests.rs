use super::*;

const STABLE: Duration = Duration::from_secs(10);

fn voter(node: u64) -> Seat {
    Seat {
        node: NodeId(node),
        voter: true,
        alive: true,
        lag_entries: Some(0),
    }
}

fn dead(node: u64) -> Seat {
    Seat {
        alive: false,
        ..voter(node)
    }
}

fn learner(node: u64) -> Seat {
    Seat {
        voter: false,
        ..voter(node)
    }
}

fn ids(all: &[u64]) -> BTreeSet<NodeId> {
    all.iter().copied().map(NodeId).collect()
}

fn make(promote: &[u64], remove: &[u64]) -> Plan {
    Plan::Make(Change {
        promote: ids(promote),
        remove: ids(remove),
    })
}

/// What is done when everybody has been as they are for `lasting`, with `wanted` to be promoted.
fn after(lasting: Duration, seats: &[Seat], wanted: &[u64], config: &AutopilotConfig) -> Plan {
    let begun = Instant::now();
    let mut record = Record::default();
    record.note(1, seats, config.max_trailing_entries, begun);
    plan(seats, &ids(wanted), &record, config, begun + lasting)
}

fn plan_for(seats: &[Seat], wanted: &[u64]) -> Plan {
    after(STABLE, seats, wanted, &AutopilotConfig::default())
}

#[test]
fn a_dead_voter_goes_only_when_a_stable_learner_has_its_vote() {
    let five = [voter(1), voter(2), voter(3), voter(4), dead(5)];
    assert_eq!(plan_for(&five, &[]), Plan::Nothing);
    let with_learner = [&five[..], &[learner(6)]].concat();
    assert_eq!(plan_for(&with_learner, &[6]), make(&[6], &[5]));
    // Nobody asked for a vote for it.
    assert_eq!(plan_for(&with_learner, &[]), Plan::Nothing);
    // Neither has been like that for long enough.
    let config = AutopilotConfig::default();
    let soon = STABLE.saturating_sub(Duration::from_millis(1));
    assert_eq!(after(soon, &with_learner, &[6], &config), Plan::Nothing);
    // The learner is dead, or far behind.
    let silent = Seat {
        alive: false,
        ..learner(6)
    };
    let behind = Seat {
        lag_entries: Some(LAG_ENTRIES_MAX + 1),
        ..learner(6)
    };
    let empty = Seat {
        lag_entries: None,
        ..learner(6)
    };
    for bad in [silent, behind, empty] {
        let seats = [&five[..], &[bad]].concat();
        assert_eq!(plan_for(&seats, &[6]), Plan::Nothing, "{bad:?}");
    }
}

#[test]
fn cleaning_up_can_be_switched_off_and_wants_enough_voters() {
    let seats = [voter(1), voter(2), dead(3), learner(4)];
    assert_eq!(plan_for(&seats, &[4]), make(&[4], &[3]));
    let off = AutopilotConfig {
        cleanup_dead_servers: false,
        ..AutopilotConfig::default()
    };
    // With its vote the voters would be four.
    assert_eq!(after(STABLE, &seats, &[4], &off), Plan::Wait(ids(&[4])));
    let five = AutopilotConfig {
        min_quorum: 5,
        ..AutopilotConfig::default()
    };
    assert_eq!(after(STABLE, &seats, &[4], &five), Plan::Wait(ids(&[4])));
    let two = [voter(1), voter(2), learner(3)];
    assert_eq!(after(STABLE, &two, &[3], &five), make(&[3], &[]));
}

#[test]
fn votes_are_given_when_the_number_of_voters_ends_odd() {
    assert_eq!(
        plan_for(&[voter(1), learner(2)], &[2]),
        Plan::Wait(ids(&[2]))
    );
    let one = [voter(1), learner(2), learner(3)];
    assert_eq!(plan_for(&one, &[2]), Plan::Wait(ids(&[2])));
    assert_eq!(plan_for(&one, &[2, 3]), make(&[2, 3], &[]));
    let three = [voter(1), voter(2), voter(3)];
    let with = |n: u64| -> Vec<Seat> { three.into_iter().chain((4..4 + n).map(learner)).collect() };
    assert_eq!(plan_for(&with(1), &[4]), Plan::Wait(ids(&[4])));
    assert_eq!(plan_for(&with(2), &[4, 5]), make(&[4, 5], &[]));
    assert_eq!(plan_for(&with(3), &[4, 5, 6]), make(&[4, 5], &[]));
    // A number that is even already may become odd.
    let four = [voter(1), voter(2), voter(3), voter(4), learner(5)];
    assert_eq!(plan_for(&four, &[5]), make(&[5], &[]));
}

#[test]
fn nothing_is_done_without_a_living_majority() {
    let seats = [voter(1), dead(2), dead(3), learner(4), learner(5)];
    assert_eq!(plan_for(&seats, &[4, 5]), Plan::Nothing);
    // Two of five may be replaced at once.
    let seats = [
        voter(1),
        voter(2),
        voter(3),
        dead(4),
        dead(5),
        learner(6),
        learner(7),
    ];
    assert_eq!(plan_for(&seats, &[6, 7]), make(&[6, 7], &[4, 5]));
    // Or one, if that is what there is for it.
    assert_eq!(plan_for(&seats, &[6]), make(&[6], &[4]));
}

#[test]
fn whoever_changes_begins_anew_and_so_does_everybody_under_a_new_leader() {
    let config = AutopilotConfig::default();
    let lag = config.max_trailing_entries;
    let well = [voter(1), voter(2), dead(3), learner(4)];
    let begun = Instant::now();
    let mut record = Record::default();
    record.note(1, &well, lag, begun);
    let at = |seconds| begun + Duration::from_secs(seconds);

    // The dead one answered once.
    let mut back = well;
    back[2].alive = true;
    record.note(1, &back, lag, at(8));
    record.note(1, &well, lag, at(9));
    let decide = |record: &Record, now| plan(&well, &ids(&[4]), record, &config, now);
    assert_eq!(decide(&record, at(12)), Plan::Wait(ids(&[4])));
    assert_eq!(
        record.lasting(1, NodeId(3), at(12)),
        Some(Duration::from_secs(3))
    );
    assert_eq!(decide(&record, at(19)), make(&[4], &[3]));

    record.note(2, &well, lag, at(20));
    assert_eq!(decide(&record, at(25)), Plan::Nothing);
    assert_eq!(record.lasting(1, NodeId(3), at(25)), None, "another term");
    assert_eq!(decide(&record, at(30)), make(&[4], &[3]));

    // Whoever left is forgotten.
    record.note(2, &well[..2], lag, at(31));
    assert_eq!(record.lasting(2, NodeId(3), at(31)), None);
}

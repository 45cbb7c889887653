use super::*;

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

fn learner(node: u64, lag_entries: Option<u64>) -> Seat {
    Seat {
        voter: false,
        lag_entries,
        ..voter(node)
    }
}

fn ids(all: &[u64]) -> BTreeSet<NodeId> {
    all.iter().copied().map(NodeId).collect()
}

fn decide(
    seats: &[Seat],
    promote: &[u64],
    remove: &[u64],
    forced: &[u64],
) -> Result<BTreeSet<NodeId>, Objection> {
    let change = Change {
        promote: ids(promote),
        remove: ids(remove),
    };
    check(seats, &change, &ids(forced), LAG_ENTRIES_MAX)
}

fn code(result: Result<BTreeSet<NodeId>, Objection>) -> &'static str {
    result.map_or_else(|objection| objection.code(), |_| "allowed")
}

#[test]
fn a_majority_is_more_than_half() {
    for (voters, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)] {
        assert_eq!(quorum(voters), needed, "{voters}");
    }
    assert!(!would_lose_quorum(&[voter(1), voter(2), dead(3)]));
    assert!(would_lose_quorum(&[voter(1), dead(2)]));
    assert!(would_lose_quorum(&[]));
}

#[test]
fn one_becomes_three_in_one_step_but_not_two() {
    let seats = [voter(1), learner(2, Some(0)), learner(3, Some(5))];
    assert_eq!(decide(&seats, &[2, 3], &[], &[]), Ok(ids(&[1, 2, 3])));
    assert_eq!(code(decide(&seats, &[2], &[], &[])), "even");
    assert_eq!(decide(&seats, &[2], &[], &[2]), Ok(ids(&[1, 2])));
}

#[test]
fn a_forced_change_names_exactly_who_is_changed() {
    let seats = [voter(1), voter(2), voter(3)];
    assert_eq!(code(decide(&seats, &[], &[3], &[])), "even");
    let wrong = decide(&seats, &[], &[3], &[2]).expect_err("another is named");
    assert!(wrong.to_string().contains("--force=3"), "{wrong}");
    assert_eq!(code(decide(&seats, &[], &[3], &[1, 3])), "forced_other");
    assert_eq!(decide(&seats, &[], &[3], &[3]), Ok(ids(&[1, 2])));
}

#[test]
fn what_would_lose_the_majority_cannot_be_forced() {
    let seats = [voter(1), voter(2), dead(3)];
    assert_eq!(code(decide(&seats, &[], &[2], &[2])), "would_lose_quorum");
    // The dead one may go.
    assert_eq!(decide(&seats, &[], &[3], &[3]), Ok(ids(&[1, 2])));
    // Five with two dead: two of the living cannot go, the two dead can.
    let seats = [voter(1), voter(2), voter(3), dead(4), dead(5)];
    assert_eq!(code(decide(&seats, &[], &[1, 2], &[])), "would_lose_quorum");
    assert_eq!(decide(&seats, &[], &[4, 5], &[]), Ok(ids(&[1, 2, 3])));
}

#[test]
fn a_vote_is_given_only_to_who_answers_and_has_caught_up() {
    let too_far = LAG_ENTRIES_MAX + 1;
    let with = |two: Seat| [voter(1), two, learner(3, Some(0))];
    let promote = |two| code(decide(&with(two), &[2, 3], &[], &[]));
    assert_eq!(promote(learner(2, Some(LAG_ENTRIES_MAX))), "allowed");
    assert_eq!(promote(learner(2, Some(too_far))), "behind");
    assert_eq!(promote(learner(2, None)), "behind");
    let silent = Seat {
        alive: false,
        ..learner(2, Some(0))
    };
    assert_eq!(promote(silent), "silent");
    // Force is about numbers, not about this.
    let seats = [voter(1), learner(2, Some(too_far))];
    assert_eq!(code(decide(&seats, &[2], &[], &[2])), "behind");
}

#[test]
fn a_dead_voter_is_replaced_without_an_even_number_in_between() {
    let seats = [voter(1), voter(2), dead(3), learner(4, Some(1))];
    assert_eq!(decide(&seats, &[4], &[3], &[]), Ok(ids(&[1, 2, 4])));
    assert_eq!(code(decide(&seats, &[4], &[4], &[])), "itself");
    // Also where the number is even already.
    let seats = [voter(1), voter(2), learner(3, Some(0))];
    assert_eq!(decide(&seats, &[3], &[2], &[]), Ok(ids(&[1, 3])));
}

#[test]
fn learners_leave_freely_and_the_last_voter_never() {
    let seats = [voter(1), dead(2), learner(3, None)];
    // No vote is touched, so it does not matter who is dead.
    assert_eq!(decide(&seats, &[], &[3], &[]), Ok(ids(&[1, 2])));
    assert_eq!(code(decide(&[voter(1)], &[], &[1], &[1])), "last_voter");
    assert_eq!(code(decide(&[voter(1)], &[], &[7], &[])), "unknown_member");
    assert_eq!(code(decide(&[voter(1)], &[], &[], &[])), "nobody_named");
}

#[test]
fn what_is_so_already_is_allowed() {
    let seats = [voter(1), voter(2)];
    assert_eq!(decide(&seats, &[2], &[], &[]), Ok(ids(&[1, 2])));
}

#[test]
fn health_counts_what_may_fail_now_and_names_what_is_wrong() {
    let well = |seats: &[Seat], joint| health(seats, joint, LAG_ENTRIES_MAX);
    let all_well = well(&[voter(1), voter(2), voter(3)], false);
    assert_eq!((all_well.tolerates, all_well.tolerates_at_best), (1, 1));
    assert_eq!(all_well.problems, Vec::<String>::new());

    let one_dead = well(&[voter(1), voter(2), dead(3)], false);
    assert_eq!((one_dead.tolerates, one_dead.tolerates_at_best), (0, 1));
    assert_eq!(one_dead.problems.len(), 1);
    assert!(one_dead.problems[0].contains("node 3"), "{one_dead:?}");

    let lost = well(&[voter(1), dead(2), dead(3)], false);
    assert!(lost.problems[0].contains("1 of 3"), "{lost:?}");

    let behind = Seat {
        lag_entries: Some(LAG_ENTRIES_MAX + 1),
        ..voter(2)
    };
    assert_eq!(well(&[voter(1), behind], false).problems.len(), 1);
    // A learner that catches up is nothing to worry about.
    let catching_up = learner(2, Some(LAG_ENTRIES_MAX + 1));
    let judged = well(&[voter(1), catching_up], false);
    assert_eq!(judged.problems.len(), 0);
    // But it says so of itself.
    let reasons: Vec<_> = judged.members.iter().map(|m| m.reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("is 101 entries behind")]);
    assert_eq!(well(&[voter(1)], true).problems.len(), 1);
}

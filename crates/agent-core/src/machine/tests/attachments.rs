//! Whom the agent follows, and how it catches up.

use regency_types::{ClusterId, DurationMs, NodeId, Term, WallTime};

use super::{Bench, FENCE, STREAM, attached_at, launch, launch_id};
use crate::{
    Action, Adoption, AgentMessage, Drain, Exit, Fence, Input, MasterMessage, Numbered, Refusal,
    StopReason,
};

fn left(bench: &mut Bench) -> bool {
    let deeds = bench.take_deeds();
    deeds
        .iter()
        .any(|deed| matches!(deed, Action::Reattach { .. }))
}

#[test]
fn a_lower_term_another_cluster_and_another_name_are_refused() {
    for (fence, message) in [
        (
            Fence {
                term: Term(2),
                ..FENCE
            },
            attached_at(0),
        ),
        (
            Fence {
                cluster: ClusterId(8),
                ..FENCE
            },
            attached_at(0),
        ),
    ] {
        let mut bench = Bench::attached();
        bench.input(Input::StreamOpened(STREAM));
        bench.say(fence, message);
        assert!(left(&mut bench), "{fence:?}");
        assert_eq!(bench.core.attached_to(), None);
    }
    let mut bench = Bench::attached();
    bench.input(Input::StreamOpened(STREAM));
    let mut renamed = attached_at(0);
    if let MasterMessage::Attached { agent_id, .. } = &mut renamed {
        *agent_id = FENCE.cluster.agent_id(9);
    }
    bench.say(FENCE, renamed);
    assert!(left(&mut bench));
}

#[test]
fn what_another_master_or_term_says_on_a_stream_is_not_followed() {
    for fence in [
        Fence {
            term: Term(4),
            ..FENCE
        },
        Fence {
            leader: NodeId(2),
            ..FENCE
        },
    ] {
        let mut bench = Bench::attached();
        let command = launch(&launch_id("t", 1));
        let batch = vec![Numbered { seq: 1, command }];
        bench.say(fence, MasterMessage::Commands(batch));
        assert!(left(&mut bench), "{fence:?}");
        assert!(bench.core.durable().tasks.is_empty());
    }
}

#[test]
fn a_gap_in_the_commands_ends_the_attachment() {
    let mut bench = Bench::attached();
    let command = launch(&launch_id("t", 1));
    let batch = vec![Numbered { seq: 2, command }];
    bench.say(FENCE, MasterMessage::Commands(batch));
    assert!(left(&mut bench));
    assert_eq!(bench.core.durable().command_seq, 0);
    assert!(bench.core.durable().tasks.is_empty());
}

#[test]
fn a_silent_leader_and_one_without_proof_are_left() {
    let mut bench = Bench::attached();
    bench.wait(5_999);
    assert!(!left(&mut bench));
    bench.wait(1);
    assert!(left(&mut bench));

    let mut bench = Bench::attached();
    let ping = |ms| MasterMessage::Ping {
        quorum_ack_age: DurationMs(ms),
    };
    bench.say(FENCE, ping(4_000));
    let pong = AgentMessage::Pong { command_seq: 0 };
    assert_eq!(bench.take_sent(), [pong]);
    bench.say(FENCE, ping(4_001));
    assert!(left(&mut bench));
}

#[test]
fn reports_above_the_applied_one_are_sent_again_and_no_others() {
    let mut bench = Bench::attached();
    let first = bench.running("a");
    let second = bench.running("b");
    let seq_of = |bench: &Bench, id| bench.core.durable().tasks[id].report_seq;
    let applied = seq_of(&bench, &first);
    bench.input(Input::StreamClosed(STREAM));
    bench.input(Input::StreamOpened(STREAM));
    bench.actions.clear();
    bench.say(FENCE, attached_at(applied));
    let sent = bench.take_sent();
    let [AgentMessage::Reports { reports, .. }] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (&reports[0].id, reports[0].report_seq),
        (&second, seq_of(&bench, &second))
    );
}

#[test]
fn masters_that_are_ahead_are_told_everything_above_what_they_applied() {
    let mut bench = Bench::attached();
    let id = bench.running("a");
    bench.input(Input::StreamClosed(STREAM));
    bench.input(Input::StreamOpened(STREAM));
    bench.actions.clear();
    bench.say(FENCE, attached_at(1_000));
    let sent = bench.take_sent();
    let [AgentMessage::Reports { reports, .. }] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((&reports[0].id, reports[0].report_seq), (&id, 1_001));
    bench.input(Input::Ended(id.clone(), Exit::Exited(0)));
    assert_eq!(bench.core.durable().report_seq, 1_002);
}

#[test]
fn refusals_lead_on_or_end_the_agent() {
    let refused = |refusal| MasterMessage::Refused {
        refusal,
        message: "why".to_owned(),
        leader_address: Some("other:1".to_owned()),
    };
    let mut bench = Bench::attached();
    bench.input(Input::StreamOpened(STREAM));
    bench.say(FENCE, refused(Refusal::NotLeader));
    let deeds = bench.take_deeds();
    let [Action::Reattach { hint, .. }] = &deeds[..] else {
        panic!("{deeds:?}");
    };
    assert_eq!(hint.as_deref(), Some("other:1"));
    for refusal in [Refusal::WrongCluster, Refusal::Superseded, Refusal::Retry] {
        let mut bench = Bench::attached();
        bench.say(FENCE, refused(refusal));
        assert!(left(&mut bench), "{refusal:?}");
    }
    for (refusal, reason) in [
        (Refusal::BadInfo, StopReason::BadInfo("why".to_owned())),
        (
            Refusal::WrongEpoch,
            StopReason::WrongEpoch("why".to_owned()),
        ),
        (Refusal::Gone, StopReason::Removed("why".to_owned())),
    ] {
        let mut bench = Bench::attached();
        bench.say(FENCE, refused(refusal));
        assert!(
            bench.take_deeds().contains(&Action::Stop(reason)),
            "{refusal:?}"
        );
    }
}

#[test]
fn a_stale_or_strange_master_cannot_end_the_agent() {
    for refusal in [Refusal::BadInfo, Refusal::WrongEpoch, Refusal::Gone] {
        for fence in [
            Fence {
                term: Term(2),
                ..FENCE
            },
            Fence {
                cluster: ClusterId(8),
                ..FENCE
            },
        ] {
            let mut bench = Bench::attached();
            bench.running("t");
            bench.input(Input::StreamOpened(STREAM));
            bench.actions.clear();
            let message = "why".to_owned();
            bench.say(
                fence,
                MasterMessage::Refused {
                    refusal,
                    message,
                    leader_address: None,
                },
            );
            let deeds = bench.take_deeds();
            assert!(
                matches!(deeds[..], [Action::Reattach { .. }]),
                "{refusal:?}: {deeds:?}"
            );
        }
    }
}

#[test]
fn a_removed_agent_kills_first_and_ends_when_nothing_runs() {
    let mut bench = Bench::attached();
    let id = bench.running("t");
    bench.say(FENCE, MasterMessage::Shutdown("why".to_owned()));
    assert_eq!(bench.take_deeds(), [Action::Terminate(id.clone())]);
    let late = launch_id("late", 9);
    bench.command(launch(&late));
    assert_eq!(bench.take_deeds(), []);
    bench.input(Input::Ended(id, Exit::Signaled(15)));
    let stop = Action::Stop(StopReason::Removed("why".to_owned()));
    assert_eq!(bench.take_deeds(), [stop]);
}

#[test]
fn what_a_master_said_of_draining_holds_until_the_next_attachment() {
    let mut bench = Bench::attached();
    let drain = Drain {
        max_grace: Some(DurationMs(5)),
        mark_gone: true,
        since: WallTime(7),
    };
    bench.say(FENCE, MasterMessage::DrainNotice(Some(drain)));
    assert_eq!(bench.core.drain(), Some(drain));
    bench.input(Input::StreamClosed(STREAM));
    assert_eq!(bench.core.drain(), Some(drain), "nobody said otherwise");
    bench.input(Input::StreamOpened(STREAM));
    bench.say(FENCE, attached_at(0));
    assert_eq!(bench.core.drain(), None);
    bench.say(FENCE, MasterMessage::DrainNotice(Some(drain)));
    bench.say(FENCE, MasterMessage::DrainNotice(None));
    assert_eq!(bench.core.drain(), None);
}

/// The masters of [`FENCE`] were restored as another cluster, in an earlier term.
const NEXT: Fence = Fence {
    cluster: ClusterId(77),
    term: Term(1),
    leader: NodeId(3),
};

fn adopted_from(former: ClusterId) -> MasterMessage {
    MasterMessage::Attached {
        agent_id: NEXT.cluster.agent_id(4),
        applied_report_seq: 0,
        ping_interval: DurationMs(2_000),
        ping_timeout: DurationMs(6_000),
        adoption: Some(Adoption {
            former,
            command_seq: 40,
        }),
    }
}

#[test]
fn an_agent_goes_over_to_the_cluster_that_descends_from_its_own_and_never_back() {
    let mut bench = Bench::attached();
    let id = bench.running("t");
    bench.input(Input::StreamOpened(STREAM));
    bench.say(NEXT, adopted_from(FENCE.cluster));
    assert_eq!(bench.core.attached_to(), Some(NEXT));
    let durable = bench.core.durable();
    assert_eq!(durable.cluster, Some(NEXT.cluster));
    assert_eq!(durable.agent_id, Some(NEXT.cluster.agent_id(4)));
    assert_eq!((durable.highest_term, durable.command_seq), (NEXT.term, 40));
    bench.actions.clear();

    // What runs goes on and is told with what was launched.
    bench.say(NEXT, MasterMessage::ResyncRequest { inventory: true });
    let sent = bench.take_sent();
    let [
        AgentMessage::Resync {
            tasks,
            command_seq: 40,
            inventory: true,
            ..
        },
    ] = &sent[..]
    else {
        panic!("{sent:?}")
    };
    assert_eq!((&tasks[0].id, &tasks[0].task_info[..]), (&id, &b"t"[..]));
    let command = launch(&launch_id("u", 50));
    let batch = vec![Numbered { seq: 41, command }];
    bench.say(NEXT, MasterMessage::Commands(batch));
    assert_eq!(bench.core.durable().command_seq, 41);

    for message in [attached_at(0), adopted_from(ClusterId(5))] {
        bench.actions.clear();
        bench.input(Input::StreamOpened(STREAM));
        bench.say(FENCE, message);
        assert!(left(&mut bench));
        assert_eq!(bench.core.durable().cluster, Some(NEXT.cluster));
    }
}

#[test]
fn an_agent_does_not_go_over_to_a_cluster_that_descends_from_another_one() {
    let mut bench = Bench::attached();
    bench.input(Input::StreamOpened(STREAM));
    bench.say(NEXT, adopted_from(ClusterId(5)));
    assert!(left(&mut bench));
    assert_eq!(bench.core.durable().cluster, Some(FENCE.cluster));
    assert_eq!(bench.core.attached_to(), None);
}

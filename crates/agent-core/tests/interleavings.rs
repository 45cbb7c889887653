//! Any interleaving of commands, process events, broken streams and crashes of the agent: each
//! generation starts at most once, ends in exactly one fate that is true, and no update is lost
//! before its acknowledgement.

mod world;

use proptest::prelude::*;

use world::{Crash, Op, World};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let index = any::<u8>();
    let op = prop_oneof![
        4 => (0u8..3, 0u8..4, any::<bool>()).prop_map(|(f, t, defect)| Op::Launch {
            framework: f, task: t, defect: defect && t == 3,
        }),
        3 => (0u8..3, 0u8..4).prop_map(|(f, t)| Op::LaunchInside(f, t)),
        4 => (0u8..3, 0u8..4, 0u8..3, any::<bool>(), 0u8..8).prop_map(|(f, first, n, built_in, d)| {
            Op::LaunchGroup { framework: f, first, n, built_in, defect: d == 0 }
        }),
        1 => (0u8..3, 0u8..4).prop_map(|(f, t)| Op::DropGroupUnseen(f, t)),
        3 => index.prop_map(Op::ExecutorSubscribes),
        1 => index.prop_map(Op::ExecutorBreaks),
        4 => (index, any::<u8>()).prop_map(|(i, what)| Op::ExecutorTells(i, what)),
        2 => index.prop_map(Op::Kill),
        1 => (0u8..3, 0u8..4).prop_map(|(f, t)| Op::KillUnseen(f, t)),
        1 => (0u8..3, 0u8..4).prop_map(|(f, t)| Op::DropUnseen(f, t)),
        1 => index.prop_map(Op::LaunchAgain),
        1 => index.prop_map(Op::AcknowledgeStranger),
        2 => index.prop_map(Op::LateNews),
        1 => (0u8..3).prop_map(Op::ShutdownFramework),
        4 => index.prop_map(Op::AcknowledgeHead),
        6 => Just(Op::Deliver),
        3 => Just(Op::Connect),
        1 => Just(Op::Disconnect),
        1 => Just(Op::NewTerm),
        1 => Just(Op::StaleMaster),
        1 => Just(Op::Repeat),
        5 => index.prop_map(Op::PrepareDone),
        1 => index.prop_map(Op::PrepareFails),
        5 => index.prop_map(Op::RunningSeen),
        3 => (index, any::<bool>()).prop_map(|(i, good)| Op::Found(i, good)),
        4 => (index, any::<u8>()).prop_map(|(i, status)| Op::Exit(i, status)),
        1 => index.prop_map(Op::WatcherDies),
        2 => Just(Op::Tick),
        2 => prop_oneof![
            Just(Crash::BeforeSync), Just(Crash::AfterSync), Just(Crash::Idle), Just(Crash::Reboot)
        ].prop_map(Op::Crash),
        1 => Just(Op::Resync),
    ];
    prop::collection::vec(op, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_launch_has_one_true_fate_and_no_update_is_lost(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.follow(op);
            world.check();
        }
        world.heal();
        world.check();
        world.check_healed();
    }
}

//! How the other members are, in their own words: what a leader has to know before it promises
//! anything in their name. Whoever calls the roll writes it here (`roll_call`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use regency_types::NodeId;

use crate::consensus::Consensus;
use crate::level::Program;
use crate::space::{Room, RoomLevel, Space};
use crate::status::MemberStatus;

/// What was said longer ago is not known any more.
const BELIEVED: Duration = Duration::from_secs(5);

/// What a member said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// `None` when its version does not tell.
    pub(crate) room: Option<Room>,
    pub(crate) program: Program,
    pub(crate) heard: Instant,
}

/// The newest [`Condition`] of each member; this master's own program and room are always known.
pub(crate) struct Conditions {
    own: NodeId,
    program: Program,
    space: Arc<Space>,
    others: RwLock<BTreeMap<NodeId, Condition>>,
}

impl Conditions {
    pub(crate) fn new(own: NodeId, program: Program, space: Arc<Space>) -> Arc<Self> {
        Arc::new(Self {
            own,
            program,
            space,
            others: RwLock::default(),
        })
    }

    /// This master.
    pub(crate) fn own(&self) -> NodeId {
        self.own
    }

    /// The room at a member, when it is known.
    pub(crate) fn room(&self, node: NodeId) -> Option<Room> {
        if node == self.own {
            return Some(self.space.room());
        }
        self.heard(node).and_then(|condition| condition.room)
    }

    /// What a member runs, when it is known.
    pub(crate) fn program(&self, node: NodeId) -> Option<Program> {
        if node == self.own {
            return Some(self.program.clone());
        }
        self.heard(node).map(|condition| condition.program)
    }

    /// What this master runs.
    pub(crate) fn own_program(&self) -> &Program {
        &self.program
    }

    /// The highest feature level that all of them support; `None` while one of them is not known.
    pub(crate) fn level_supported(&self, members: impl Iterator<Item = NodeId>) -> Option<u32> {
        let levels = members.map(|node| Some(self.program(node)?.feature_level_max));
        // `None` is less than any level.
        levels.min().flatten()
    }

    fn heard(&self, node: NodeId) -> Option<Condition> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        let condition = others.get(&node);
        condition
            .filter(|condition| condition.heard.elapsed() <= BELIEVED)
            .cloned()
    }

    /// Whether a member is known to have room.
    pub(crate) fn has_room(&self, node: NodeId) -> bool {
        self.room(node)
            .is_some_and(|room| room.level == RoomLevel::Enough)
    }

    /// Why no client may write now: the members without room, when what is left of `voters` is no
    /// majority of each set. Who is not known is taken to have room.
    ///
    /// A leader that lacks room itself goes on while it has somebody to hand over to.
    pub(crate) fn no_room(&self, voters: &[BTreeSet<u64>]) -> Option<BTreeMap<NodeId, Room>> {
        let own = self.space.room();
        let all: BTreeSet<u64> = voters.iter().flatten().copied().collect();
        let lacking: BTreeMap<NodeId, Room> = all
            .iter()
            .map(|node| NodeId(*node))
            .chain([self.own])
            .filter_map(|node| Some((node, self.room(node)?)))
            .filter(|(_, room)| room.level != RoomLevel::Enough)
            .collect();
        let may_hand_over = || {
            let others = all.iter().map(|node| NodeId(*node));
            others
                .filter(|node| *node != self.own)
                .any(|node| self.has_room(node))
        };
        let own_refuses = match own.level {
            RoomLevel::Enough => false,
            RoomLevel::Low => !may_hand_over(),
            RoomLevel::Full => true,
        };
        let full = |set: &BTreeSet<u64>| {
            let lack = set
                .iter()
                .filter(|node| lacking.contains_key(&NodeId(**node)));
            (set.len() - lack.count()) * 2 <= set.len()
        };
        (own_refuses || voters.iter().any(full)).then_some(lacking)
    }

    /// Whether nobody is known to lack room, which is nearly always so.
    pub(crate) fn all_have_room(&self) -> bool {
        let lacks = |room: Room| room.level != RoomLevel::Enough;
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        !lacks(self.space.room()) && !others.values().any(|other| other.room.is_some_and(lacks))
    }

    /// What a member said just now.
    pub(crate) fn note(&self, node: NodeId, condition: Condition) {
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        others.insert(node, condition);
    }
}

impl Consensus {
    /// What an operator must do about the disks of the members that are known, in words. Empty when all
    /// have room.
    #[must_use]
    pub fn disk_alarms(&self) -> Vec<String> {
        let members = self.status().members.into_iter();
        let alarm = |member: MemberStatus| {
            let room = member.disk_room?;
            let (node, level) = (member.node, room.level.name());
            (room.level != RoomLevel::Enough).then(|| {
                format!(
                    "the disk of node {node} is {level}: {} bytes are free, {} more are needed; free \
                     some, or replace the member",
                    room.free_bytes,
                    room.missing_bytes()
                )
            })
        };
        members.filter_map(alarm).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const RESERVE: u64 = 800;

    fn conditions() -> (Arc<AtomicU64>, Arc<Conditions>) {
        let free = Arc::new(AtomicU64::new(RESERVE * 2));
        let probed = Arc::clone(&free);
        let probe = move || Ok(probed.load(Ordering::Relaxed));
        let space = Space::with_probe(Path::new("unused"), RESERVE, Box::new(probe));
        (free, Conditions::new(NodeId(1), program(3), space))
    }

    fn program(feature_level_max: u32) -> Program {
        Program {
            version: "test".to_owned(),
            feature_level_max,
        }
    }

    fn hear(conditions: &Conditions, node: u64, level: RoomLevel) {
        let room = Room {
            level,
            free_bytes: 0,
            reserve_bytes: RESERVE,
        };
        let condition = Condition {
            room: Some(room),
            program: program(u32::try_from(node).expect("small")),
            heard: Instant::now(),
        };
        conditions.note(NodeId(node), condition);
    }

    fn lacking(conditions: &Conditions, voters: &[&[u64]]) -> Vec<u64> {
        let voters: Vec<BTreeSet<u64>> = voters
            .iter()
            .map(|set| set.iter().copied().collect())
            .collect();
        let lacking = conditions.no_room(&voters).unwrap_or_default();
        lacking.keys().map(|node| node.0).collect()
    }

    #[test]
    fn the_level_is_that_of_the_oldest_and_unknown_while_somebody_is_silent() {
        let (_free, conditions) = conditions();
        let supported =
            |nodes: &[u64]| conditions.level_supported(nodes.iter().map(|node| NodeId(*node)));
        assert_eq!(supported(&[1]), Some(3));
        assert_eq!(supported(&[1, 2]), None);
        hear(&conditions, 2, RoomLevel::Enough);
        hear(&conditions, 7, RoomLevel::Enough);
        assert_eq!(supported(&[1, 7]), Some(3));
        assert_eq!(supported(&[1, 2, 7]), Some(2));
        assert_eq!(supported(&[1, 2, 4]), None);
    }

    #[test]
    fn a_minority_without_room_stops_nobody() {
        let (_free, conditions) = conditions();
        let voters: &[&[u64]] = &[&[1, 2, 3]];
        // Nobody was heard yet.
        assert!(lacking(&conditions, voters).is_empty());
        hear(&conditions, 2, RoomLevel::Full);
        assert!(lacking(&conditions, voters).is_empty());
        hear(&conditions, 3, RoomLevel::Low);
        assert_eq!(lacking(&conditions, voters), [2, 3]);
        // While the voters change, each set has to have a majority.
        assert!(lacking(&conditions, &[&[1, 4, 5]]).is_empty());
        assert_eq!(lacking(&conditions, &[&[1, 4, 5], &[1, 2, 3]]), [2, 3]);
        hear(&conditions, 3, RoomLevel::Enough);
        assert!(lacking(&conditions, voters).is_empty());
    }

    #[test]
    fn a_leader_without_room_goes_on_only_while_it_can_hand_over() {
        let (free, conditions) = conditions();
        let voters: &[&[u64]] = &[&[1, 2, 3]];
        free.store(RESERVE / 2, Ordering::Relaxed);
        conditions.space.look();
        assert_eq!(
            lacking(&conditions, voters),
            [1],
            "nobody is known to have room"
        );
        hear(&conditions, 2, RoomLevel::Enough);
        assert!(lacking(&conditions, voters).is_empty());
        free.store(0, Ordering::Relaxed);
        conditions.space.look();
        assert_eq!(lacking(&conditions, voters), [1]);
    }
}

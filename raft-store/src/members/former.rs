//! Members that left.
//!
//! A node id stands for one data directory for ever: a master that lost its disk forgot whom it
//! voted for, and one that was removed may come back years later from a forgotten machine. So every
//! master remembers who left. Each works it out from the memberships it applies, in the same order
//! as all others, and keeps it with its snapshots: nobody has to write it, and no crash between two
//! writes can lose it.

use std::collections::BTreeMap;
use std::sync::Arc;

use regency_rpc::proto::regency::raft::v1 as proto;
use regency_types::{Incarnation, NodeId};

use crate::convert::{self, ConvertError};
use crate::types::{Member, Membership};

/// Everybody who was a member once and is none any more. Cheap to clone; grows by one for every
/// member that leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Former(Arc<BTreeMap<NodeId, Incarnation>>);

impl Former {
    /// The data directory that `node` stood for, when it left.
    pub(crate) fn get(&self, node: NodeId) -> Option<Incarnation> {
        self.0.get(&node).copied()
    }

    /// Everybody, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Member> + '_ {
        self.0.iter().map(|(node, incarnation)| Member {
            node: *node,
            incarnation: *incarnation,
        })
    }

    /// Notes who is in `before` and not in `after`.
    pub(crate) fn note(&mut self, before: &Membership, after: &Membership) {
        for (node, info) in before.nodes() {
            let stays = after
                .get_node(node)
                .is_some_and(|known| known.incarnation == info.incarnation);
            if !stays {
                Arc::make_mut(&mut self.0).insert(NodeId(*node), info.incarnation);
            }
        }
    }

    pub(crate) fn to_proto(&self) -> Vec<proto::Member> {
        self.iter().map(convert::member_to_proto).collect()
    }

    pub(crate) fn from_proto(members: &[proto::Member]) -> Result<Self, ConvertError> {
        let members = members.iter().map(|member| {
            let member = convert::member_from_proto(member)?;
            Ok((member.node, member.incarnation))
        });
        Ok(Self(Arc::new(
            members.collect::<Result<_, ConvertError>>()?,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MemberInfo;

    fn membership(voters: &[u64], members: &[(u64, u128)]) -> Membership {
        let info = |incarnation: u128| MemberInfo {
            incarnation: Incarnation(incarnation),
            ..MemberInfo::default()
        };
        let members = members.iter().map(|(node, inc)| (*node, info(*inc)));
        let voters = vec![voters.iter().copied().collect()];
        Membership::new(voters, members.collect::<BTreeMap<_, _>>()).expect("valid")
    }

    fn nodes(former: &Former) -> Vec<u64> {
        former.iter().map(|member| member.node.0).collect()
    }

    #[test]
    fn who_leaves_is_remembered_for_ever_voter_or_not() {
        let mut former = Former::default();
        let three = membership(&[1, 2, 3], &[(1, 11), (2, 22), (3, 33)]);
        former.note(&Membership::default(), &three);
        assert_eq!(nodes(&former), Vec::<u64>::new());
        let with_learner = membership(&[1, 2, 3], &[(1, 11), (2, 22), (3, 33), (4, 44)]);
        former.note(&three, &with_learner);
        assert_eq!(nodes(&former), Vec::<u64>::new());
        let replaced = membership(&[1, 2, 5], &[(1, 11), (2, 22), (5, 55)]);
        former.note(&with_learner, &replaced);
        assert_eq!(nodes(&former), [3, 4]);
        former.note(&replaced, &membership(&[1], &[(1, 11)]));
        assert_eq!(nodes(&former), [2, 3, 4, 5]);
        assert_eq!(former.get(NodeId(3)), Some(Incarnation(33)));
        assert_eq!(former.get(NodeId(1)), None);
    }

    #[test]
    fn it_survives_being_stored() {
        let mut former = Former::default();
        let two = membership(&[1, 2], &[(1, 11), (2, 22)]);
        former.note(&two, &membership(&[1], &[(1, 11)]));
        assert_eq!(Former::from_proto(&former.to_proto()), Ok(former));
        assert!(Former::from_proto(&[proto::Member::default()]).is_err());
    }
}

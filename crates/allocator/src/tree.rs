//! The order in which frameworks are served.
//!
//! One tree over everything: roles nest as their paths say, and the frameworks of a role hang below
//! a leaf of that role, next to its child roles. Siblings are served by ascending share, then by
//! fewer allocations, then by name; a node's share is that of all that lies below it. Whoever
//! wants no offers still weighs on the shares above, but is never visited.
//!
//! Each node keeps its children in an ordered set, so that an allocation moves only the nodes on
//! one path to the root.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use regency_resources::Milli;

use crate::amounts::Amounts;
use crate::share::Share;

/// What siblings are ordered by. The rank stands for the name.
type Order = (Share, u64, u32);

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    weight: Milli,
    allocated: Amounts,
    allocations: u64,
    rank: u32,
    order: Order,
    /// Whether anything below wants offers.
    active: bool,
    /// Active children, in order.
    children: BTreeSet<(Order, usize)>,
    /// Set on the leaf of a role; its children are clients.
    role: Option<usize>,
    /// Set on a client.
    client: Option<usize>,
}

/// A framework in a role, as the tree needs it.
pub(crate) struct Client<'a> {
    pub(crate) role: &'a str,
    /// Order of its framework's id among all.
    pub(crate) rank: u32,
    pub(crate) active: bool,
    pub(crate) allocated: Amounts,
    pub(crate) allocations: u64,
}

/// The ordered tree of roles and clients.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    nodes: Vec<Node>,
    /// Names of the roles with clients, by role number, in order.
    roles: Vec<&'a str>,
    leaf_of_role: Vec<usize>,
    node_of_client: Vec<usize>,
    totals: Amounts,
}

const ROOT: usize = 0;

impl<'a> Tree<'a> {
    /// Builds the tree. Clients are known by their position in `clients` from then on.
    pub(crate) fn new(
        clients: &[Client<'a>],
        weights: &BTreeMap<&str, Milli>,
        totals: Amounts,
        zero: &Amounts,
    ) -> Self {
        let names: BTreeSet<&'a str> = clients.iter().map(|c| c.role).collect();
        let roles: Vec<&'a str> = names.into_iter().collect();
        let mut tree = Self {
            nodes: vec![Node::new(None, Milli::from_units(1), zero.clone(), 0)],
            leaf_of_role: Vec::with_capacity(roles.len()),
            node_of_client: Vec::with_capacity(clients.len()),
            roles,
            totals,
        };
        tree.grow_roles(weights, zero);
        for (number, client) in clients.iter().enumerate() {
            tree.grow_client(number, client, zero);
        }
        tree.settle();
        tree
    }

    fn grow_roles(&mut self, weights: &BTreeMap<&str, Milli>, zero: &Amounts) {
        // The leaf of a role is named `.` below it, which gives it its place among child roles.
        let mut paths: BTreeMap<String, Option<usize>> = BTreeMap::new();
        for (number, role) in self.roles.iter().enumerate() {
            paths.insert(format!("{role}/."), Some(number));
            paths.insert((*role).to_owned(), None);
            for ancestor in regency_resources::role::ancestors(role) {
                paths.insert(ancestor.to_owned(), None);
            }
        }
        self.leaf_of_role = vec![ROOT; self.roles.len()];
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        // A path sorts after each of its ancestors, so a parent is there before its children.
        for (rank, (path, role)) in paths.iter().enumerate() {
            let parent = regency_resources::role::parent(path)
                .and_then(|parent| known.get(parent).copied())
                .unwrap_or(ROOT);
            let weight = weights
                .get(path.as_str())
                .copied()
                .unwrap_or(Milli::from_units(1));
            let at = self.nodes.len();
            let mut node = Node::new(Some(parent), weight, zero.clone(), rank as u32);
            node.role = *role;
            self.nodes.push(node);
            known.insert(path, at);
            if let Some(role) = role {
                self.leaf_of_role[*role] = at;
            }
        }
    }

    fn grow_client(&mut self, number: usize, client: &Client<'a>, zero: &Amounts) {
        let role = self
            .roles
            .binary_search(&client.role)
            .expect("the roles were taken from the clients");
        let leaf = self.leaf_of_role[role];
        let at = self.nodes.len();
        let mut node = Node::new(Some(leaf), Milli::from_units(1), zero.clone(), client.rank);
        node.client = Some(number);
        self.nodes.push(node);
        self.node_of_client.push(at);
        let mut next = Some(at);
        while let Some(at) = next {
            let node = &mut self.nodes[at];
            node.allocated.add(&client.allocated);
            node.allocations += client.allocations;
            node.active |= client.active;
            next = node.parent;
        }
    }

    /// Puts every active node in its place among its siblings.
    fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            let order = self.nodes[at].current_order(&self.totals);
            self.nodes[at].order = order;
            if let (true, Some(parent)) = (self.nodes[at].active, self.nodes[at].parent) {
                self.nodes[parent].children.insert((order, at));
            }
        }
    }

    /// Counts an allocation to a client and moves it and all above it to their new places.
    pub(crate) fn allocate(&mut self, client: usize, amounts: &Amounts) {
        let mut next = Some(self.node_of_client[client]);
        while let Some(at) = next {
            let node = &mut self.nodes[at];
            node.allocated.add(amounts);
            node.allocations += 1;
            let old = node.order;
            let new = node.current_order(&self.totals);
            node.order = new;
            let (active, parent) = (node.active, node.parent);
            if let (true, Some(parent)) = (active, parent) {
                let siblings = &mut self.nodes[parent].children;
                siblings.remove(&(old, at));
                siblings.insert((new, at));
            }
            next = parent;
        }
    }

    /// Visits the roles that have active clients, in order, until told to stop.
    pub(crate) fn visit_roles(
        &self,
        mut visit: impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.visit_below(ROOT, &mut visit)
    }

    fn visit_below(
        &self,
        at: usize,
        visit: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for (_, child) in &self.nodes[at].children {
            match self.nodes[*child].role {
                Some(role) => visit(role)?,
                None => self.visit_below(*child, visit)?,
            }
        }
        ControlFlow::Continue(())
    }

    /// The active clients of a role, in order.
    pub(crate) fn clients(&self, role: usize) -> impl Iterator<Item = usize> + '_ {
        self.nodes[self.leaf_of_role[role]]
            .children
            .iter()
            .filter_map(|(_, at)| self.nodes[*at].client)
    }

    /// The names of the roles with clients, by number.
    pub(crate) fn roles(&self) -> &[&'a str] {
        &self.roles
    }

    /// Whether a role has active clients.
    pub(crate) fn is_active(&self, role: usize) -> bool {
        self.nodes[self.leaf_of_role[role]].active
    }
}

impl Node {
    fn new(parent: Option<usize>, weight: Milli, allocated: Amounts, rank: u32) -> Self {
        Self {
            parent,
            weight,
            allocated,
            allocations: 0,
            rank,
            order: (Share::default(), 0, rank),
            active: false,
            children: BTreeSet::new(),
            role: None,
            client: None,
        }
    }

    fn current_order(&self, totals: &Amounts) -> Order {
        (
            Share::new(&self.allocated, totals, self.weight),
            self.allocations,
            self.rank,
        )
    }
}

#[cfg(test)]
mod tests {
    use regency_resources::parse;

    use super::*;
    use crate::amounts::Names;

    /// Clients as (role, framework rank, active, cpus held) of a cluster of 100 cpus.
    fn served(clients: &[(&str, u32, bool, i64)], weights: &[(&str, i64)]) -> Vec<String> {
        let mut names = Names::default();
        names.note("cpus");
        let cpus = |n: i64| names.of_quantities(&parse::quantities(&format!("cpus:{n}")).unwrap());
        let list: Vec<Client<'_>> = clients
            .iter()
            .map(|(role, rank, active, held)| Client {
                role,
                rank: *rank,
                active: *active,
                allocated: cpus(*held),
                allocations: u64::from(*held > 0),
            })
            .collect();
        let weights = weights
            .iter()
            .map(|(r, w)| (*r, Milli::from_units(*w)))
            .collect();
        let tree = Tree::new(&list, &weights, cpus(100), &names.zero());
        let mut order = Vec::new();
        let all = tree.visit_roles(|role| {
            order.extend(
                tree.clients(role)
                    .map(|c| format!("{}#{}", list[c].role, list[c].rank)),
            );
            ControlFlow::Continue(())
        });
        assert!(all.is_continue());
        order
    }

    #[test]
    fn the_smallest_share_is_first_and_names_decide_ties() {
        assert_eq!(
            served(
                &[
                    ("b", 0, true, 0),
                    ("a", 1, true, 10),
                    ("a", 0, true, 5),
                    ("c", 0, true, 0)
                ],
                &[]
            ),
            ["b#0", "c#0", "a#0", "a#1"]
        );
    }

    #[test]
    fn weights_divide_the_share() {
        let clients = [("a", 0, true, 20), ("b", 0, true, 15)];
        assert_eq!(served(&clients, &[]), ["b#0", "a#0"]);
        assert_eq!(served(&clients, &[("a", 2)]), ["a#0", "b#0"]);
    }

    #[test]
    fn a_role_stands_for_all_below_it_and_competes_with_its_children() {
        assert_eq!(
            served(
                &[
                    ("eng/web", 0, true, 30),
                    ("eng/db", 0, true, 1),
                    ("eng", 0, true, 2),
                    ("ops", 0, true, 20),
                ],
                &[]
            ),
            ["ops#0", "eng/db#0", "eng#0", "eng/web#0"]
        );
    }

    #[test]
    fn who_wants_nothing_is_not_visited_but_weighs_on_its_role() {
        assert_eq!(
            served(
                &[
                    ("a", 0, false, 50),
                    ("a", 1, true, 0),
                    ("b", 0, true, 10),
                    ("c", 0, false, 0)
                ],
                &[]
            ),
            ["b#0", "a#1"]
        );
    }

    #[test]
    fn an_allocation_moves_the_client_and_its_role() {
        let mut names = Names::default();
        names.note("cpus");
        let cpus = |n: i64| names.of_quantities(&parse::quantities(&format!("cpus:{n}")).unwrap());
        let list: Vec<Client<'_>> = ["a", "a", "b"]
            .into_iter()
            .zip([0, 1, 0])
            .map(|(role, rank)| Client {
                role,
                rank,
                active: true,
                allocated: cpus(0),
                allocations: 0,
            })
            .collect();
        let mut tree = Tree::new(&list, &BTreeMap::new(), cpus(100), &names.zero());
        let first = |tree: &Tree<'_>| {
            let mut first = None;
            let _ = tree.visit_roles(|role| {
                first = tree.clients(role).next();
                ControlFlow::Break(())
            });
            first
        };
        let mut served = Vec::new();
        for _ in 0..4 {
            let client = first(&tree).unwrap();
            tree.allocate(client, &cpus(10));
            served.push(client);
        }
        assert_eq!(served, [0, 2, 1, 2]);
    }
}

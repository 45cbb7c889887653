//! What one client watches. Each watch fires once.

use std::collections::HashSet;

use crate::protocol::{Happened, SetWatches};
use crate::tree::{BasePath, View};

/// More watches than one client may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more watches than one client may have")]
pub(crate) struct TooMany;

/// A watch that fired: what is to be told.
pub(crate) type Fired = (Happened, String);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Watches {
    /// Set by exists and getData.
    data: HashSet<String>,
    /// Set by getChildren.
    child: HashSet<String>,
    max: usize,
}

impl Watches {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            data: HashSet::new(),
            child: HashSet::new(),
            max,
        }
    }

    pub(crate) fn data(&mut self, path: &str) -> Result<(), TooMany> {
        Self::add(&mut self.data, path, self.max)
    }

    pub(crate) fn child(&mut self, path: &str) -> Result<(), TooMany> {
        Self::add(&mut self.child, path, self.max)
    }

    fn add(to: &mut HashSet<String>, path: &str, max: usize) -> Result<(), TooMany> {
        if to.len() >= max && !to.contains(path) {
            return Err(TooMany);
        }
        to.insert(path.to_owned());
        Ok(())
    }

    /// What fires when the leader changes.
    pub(crate) fn changed(&mut self, base: &BasePath, old: &View, new: &View) -> Vec<Fired> {
        let mut fired = Vec::new();
        let (gone, come) = (base.leader(old), base.leader(new));
        // Both kinds of watch tell of a node's end, and once is enough.
        let (by_data, by_child) = (self.data.remove(&gone), self.child.remove(&gone));
        if by_data || by_child {
            fired.push((Happened::Deleted, gone));
        }
        if self.data.remove(&come) {
            fired.push((Happened::Created, come));
        }
        if self.child.remove(base.path()) {
            fired.push((Happened::ChildrenChanged, base.path().to_owned()));
        }
        fired
    }

    /// Sets the watches of a client that comes back. What changed since it saw `set.zxid` fires.
    pub(crate) fn set(
        &mut self,
        base: &BasePath,
        view: &View,
        set: &SetWatches,
    ) -> Result<Vec<Fired>, TooMany> {
        let mut fired = Vec::new();
        for path in &set.data {
            match base.node(view, path) {
                None => fired.push((Happened::Deleted, path.clone())),
                Some(node) if node.stat.created_zxid > set.zxid => {
                    fired.push((Happened::DataChanged, path.clone()));
                }
                Some(_) => self.data(path)?,
            }
        }
        for path in &set.exist {
            match base.node(view, path) {
                Some(_) => fired.push((Happened::Created, path.clone())),
                None => self.data(path)?,
            }
        }
        for path in &set.child {
            match base.node(view, path) {
                None => fired.push((Happened::Deleted, path.clone())),
                Some(node) if node.stat.children_zxid > set.zxid => {
                    fired.push((Happened::ChildrenChanged, path.clone()));
                }
                Some(_) => self.child(path)?,
            }
        }
        Ok(fired)
    }
}

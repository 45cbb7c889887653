//! The nodes there are.

use std::str::FromStr;

use bytes::Bytes;

use crate::protocol::Stat;

/// Who leads, as it is shown. The same on every master that knows of the same leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The term of this leader: number of its node, and zxid of all that is shown of it.
    pub term: u64,
    /// When it was elected, in milliseconds of the wall clock.
    pub elected_ms: i64,
    /// Its `MasterInfo` as JSON.
    pub master_info: Bytes,
}

impl View {
    pub(crate) fn zxid(&self) -> i64 {
        i64::try_from(self.term).unwrap_or(i64::MAX)
    }

    /// The name of the leader's node.
    pub(crate) fn name(&self) -> String {
        format!("json.info_{:010}", self.term)
    }
}

/// The node below which the leader is shown, such as `/mesos`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath(String);

/// Why a path cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no path of a node: it begins with / and has names between its slashes, such as /mesos"
)]
pub struct BasePathError(String);

impl FromStr for BasePath {
    type Err = BasePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.strip_prefix('/').is_some_and(|names| {
            names
                .split('/')
                .all(|name| !matches!(name, "" | "." | "..") && !name.chars().any(char::is_control))
        });
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BasePathError(text.to_owned()))
        }
    }
}

impl std::fmt::Display for BasePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) children: Vec<String>,
    pub(crate) data: Bytes,
    pub(crate) stat: Stat,
}

impl BasePath {
    /// The path itself.
    pub(crate) fn path(&self) -> &str {
        &self.0
    }

    /// Where a leader is shown.
    pub(crate) fn leader(&self, view: &View) -> String {
        format!("{}/{}", self.0, view.name())
    }

    /// The node at `path`: the leader's, the base, or one above it.
    pub(crate) fn node(&self, view: &View, path: &str) -> Option<Node> {
        if path == self.leader(view) {
            return Some(leader(view));
        }
        let below = match path {
            "" => return None,
            "/" => &self.0[1..],
            _ if path == self.0 => return Some(directory(view.name(), view.zxid())),
            _ => self.0.strip_prefix(path)?.strip_prefix('/')?,
        };
        let child = below.split('/').next()?;
        Some(directory(child.to_owned(), 0))
    }

    /// How many nodes there are.
    pub(crate) fn n_nodes(&self) -> usize {
        self.0.split('/').count() + 1
    }
}

fn leader(view: &View) -> Node {
    let zxid = view.zxid();
    Node {
        children: Vec::new(),
        data: view.master_info.clone(),
        stat: Stat {
            created_zxid: zxid,
            created_ms: view.elected_ms,
            children_version: 0,
            // It goes with its leader, as a node that a session owns.
            owner: zxid,
            data_bytes: i32::try_from(view.master_info.len()).unwrap_or(i32::MAX),
            n_children: 0,
            children_zxid: zxid,
        },
    }
}

/// A node that is always there, and whose one child changed last at `zxid`.
fn directory(child: String, zxid: i64) -> Node {
    Node {
        children: vec![child],
        data: Bytes::new(),
        stat: Stat {
            children_version: i32::try_from(zxid).unwrap_or(i32::MAX),
            n_children: 1,
            children_zxid: zxid,
            ..Stat::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            term: 12,
            elected_ms: 5,
            master_info: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn the_path_and_all_above_it_are_there_and_nothing_else() {
        let base: BasePath = "/prod/mesos".parse().expect("a path");
        let children = |path| base.node(&view(), path).map(|node| node.children);
        assert_eq!(children("/"), Some(vec!["prod".into()]));
        assert_eq!(children("/prod"), Some(vec!["mesos".into()]));
        assert_eq!(
            children("/prod/mesos"),
            Some(vec!["json.info_0000000012".into()])
        );
        let leader = base.node(&view(), "/prod/mesos/json.info_0000000012");
        assert_eq!(leader.expect("there").data, "{}");
        for absent in [
            "",
            "/pro",
            "/prod/",
            "/prod/mesos/",
            "/mesos",
            "/prod/mesos/x",
        ] {
            assert_eq!(base.node(&view(), absent), None, "{absent}");
        }
        assert_eq!(base.n_nodes(), 4);
    }

    #[test]
    fn a_path_that_cannot_be_is_named() {
        for bad in ["", "mesos", "/", "/a//b", "/a/", "/../b", "/a\n"] {
            let error = bad.parse::<BasePath>().expect_err(bad);
            assert!(error.to_string().contains(&format!("'{bad}'")), "{error}");
        }
    }
}

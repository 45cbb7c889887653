//! What a client is answered, frame by frame.

use crate::protocol::{Body, Code, Request, event, reply};
use crate::tree::{BasePath, Node, View};
use crate::watches::{Fired, TooMany, Watches};

/// Longest path that is looked at, in bytes: a watch keeps its path, so this bounds a client's memory.
const PATH_MAX: usize = 4096;

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Session {
    base: BasePath,
    /// What the client may have seen.
    seen: View,
    watches: Watches,
}

impl Session {
    pub(crate) fn new(base: BasePath, seen: View, watches_max: usize) -> Self {
        Self {
            base,
            seen,
            watches: Watches::new(watches_max),
        }
    }

    /// Goes on to a newer view; gives the events of that, which must be sent before any reply that
    /// shows it.
    pub(crate) fn see(&mut self, view: &View) -> Vec<Vec<u8>> {
        // Views come from a watch of what this master applied, which never goes back.
        if view.term <= self.seen.term {
            return Vec::new();
        }
        let fired = self.watches.changed(&self.base, &self.seen, view);
        self.seen = view.clone();
        encoded(&fired)
    }

    /// The frames that answer a request.
    ///
    /// # Errors
    /// When it would set too many watches, or one that takes too much room.
    pub(crate) fn answer(&mut self, xid: i32, request: &Request) -> Result<Vec<Vec<u8>>, TooMany> {
        let mut frames = Vec::new();
        let body = match request {
            Request::Exists { path, watch } => {
                let found = self.node(path);
                // What is not there can be waited for.
                if *watch && matches!(found, Ok(_) | Err(Code::NoNode)) {
                    self.watches.data(path)?;
                }
                found.map(|node| Body::Stat(node.stat))
            }
            Request::GetData { path, watch } => match self.node(path) {
                Ok(node) => {
                    if *watch {
                        self.watches.data(path)?;
                    }
                    Ok(Body::Data(node.data, node.stat))
                }
                Err(code) => Err(code),
            },
            Request::GetChildren { path, watch, stat } => match self.node(path) {
                Ok(node) => {
                    if *watch {
                        self.watches.child(path)?;
                    }
                    Ok(Body::Children(node.children, stat.then_some(node.stat)))
                }
                Err(code) => Err(code),
            },
            Request::GetAcl { path } => self.node(path).map(|node| Body::Acl(node.stat)),
            Request::Sync { path } => Ok(Body::Path(path.clone())),
            Request::SetWatches(set) => {
                let paths = set.data.iter().chain(&set.exist).chain(&set.child);
                if paths.into_iter().any(|path| path.len() > PATH_MAX) {
                    return Err(TooMany);
                }
                let fired = self.watches.set(&self.base, &self.seen, set)?;
                frames = encoded(&fired);
                Ok(Body::Empty)
            }
            // Who a client is makes no difference to what it may read.
            Request::Ping | Request::AddAuth | Request::CloseSession => Ok(Body::Empty),
            Request::Create { path } => Err(match self.node(path) {
                Ok(_) => Code::NodeExists,
                Err(Code::NoNode) => Code::NoAuth,
                Err(code) => code,
            }),
            Request::Write => Err(Code::NoAuth),
            Request::Unknown => Err(Code::Unimplemented),
        };
        frames.push(reply(xid, self.seen.zxid(), body));
        Ok(frames)
    }

    fn node(&self, path: &str) -> Result<Node, Code> {
        let slash_last = path.len() > 1 && path.ends_with('/');
        if !path.starts_with('/') || slash_last || path.len() > PATH_MAX {
            return Err(Code::BadArguments);
        }
        self.base.node(&self.seen, path).ok_or(Code::NoNode)
    }
}

fn encoded(fired: &[Fired]) -> Vec<Vec<u8>> {
    fired
        .iter()
        .map(|(happened, path)| event(*happened, path))
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::{Happened, SetWatches};

    fn view(term: u64) -> View {
        View {
            term,
            elected_ms: 1_000,
            master_info: Bytes::from(format!("{{\"term\":{term}}}")),
        }
    }

    fn session(term: u64) -> Session {
        Session::new("/mesos".parse().expect("a path"), view(term), 4)
    }

    fn name(term: u64) -> String {
        format!("/mesos/json.info_{term:010}")
    }

    fn children(path: &str) -> Request {
        Request::GetChildren {
            path: path.into(),
            watch: true,
            stat: false,
        }
    }

    fn data(path: &str) -> Request {
        Request::GetData {
            path: path.into(),
            watch: true,
        }
    }

    fn exists(path: &str) -> Request {
        Request::Exists {
            path: path.into(),
            watch: true,
        }
    }

    fn code(frame: &[u8]) -> i32 {
        i32::from_be_bytes(frame[12..16].try_into().expect("four bytes"))
    }

    #[test]
    fn a_new_leader_fires_each_watch_once() {
        let mut session = session(3);
        for request in [
            children("/mesos"),
            data(&name(3)),
            children(&name(3)),
            exists(&name(5)),
        ] {
            session.answer(1, &request).expect("room");
        }
        let fired = session.see(&view(5));
        let expected = [
            event(Happened::Deleted, &name(3)),
            event(Happened::Created, &name(5)),
            event(Happened::ChildrenChanged, "/mesos"),
        ];
        assert_eq!(fired, expected);
        assert!(session.see(&view(6)).is_empty(), "they fired already");
        let frames = session.answer(9, &children("/mesos")).expect("room");
        let names = Body::Children(vec!["json.info_0000000006".into()], None);
        assert_eq!(frames, [reply(9, 6, Ok(names))]);
        assert!(session.see(&view(4)).is_empty(), "nothing goes back");
    }

    #[test]
    fn watches_that_are_set_again_fire_for_what_changed_meanwhile() {
        let set = |zxid| {
            Request::SetWatches(SetWatches {
                zxid,
                data: vec![name(3), name(7), "/mesos".into()],
                exist: vec![name(7), "/mesos/other".into()],
                child: vec!["/mesos".into(), "/".into()],
            })
        };
        let mut session = session(7);
        let frames = session.answer(-8, &set(3)).expect("room");
        let expected = [
            event(Happened::Deleted, &name(3)),
            event(Happened::DataChanged, &name(7)),
            event(Happened::Created, &name(7)),
            event(Happened::ChildrenChanged, "/mesos"),
            reply(-8, 7, Ok(Body::Empty)),
        ];
        assert_eq!(frames, expected);
        let frames = session.answer(-8, &set(7)).expect("room");
        assert_eq!(frames.len(), 3, "only what is not there, or is");
        assert_eq!(
            session.see(&view(8)),
            [
                event(Happened::Deleted, &name(7)),
                event(Happened::ChildrenChanged, "/mesos"),
            ]
        );
    }

    #[test]
    fn every_write_is_refused_in_words_of_zookeeper() {
        let mut session = session(1);
        let create = |path: &str| Request::Create { path: path.into() };
        for (request, expected) in [
            (create("/mesos"), Code::NodeExists),
            (create("/marathon"), Code::NoAuth),
            (create("marathon"), Code::BadArguments),
            (Request::Write, Code::NoAuth),
            (Request::Unknown, Code::Unimplemented),
            (exists("/marathon"), Code::NoNode),
        ] {
            let frames = session.answer(2, &request).expect("room");
            assert_eq!(code(&frames[0]), expected as i32, "{request:?}");
        }
    }

    #[test]
    fn watches_are_bounded() {
        let mut session = session(1);
        for i in 0..4 {
            session.answer(1, &exists(&format!("/{i}"))).expect("room");
        }
        session.answer(1, &exists("/3")).expect("it is there");
        assert_eq!(session.answer(1, &exists("/4")), Err(TooMany));
    }

    #[test]
    fn no_watch_keeps_a_path_without_end() {
        let mut session = session(1);
        let long = format!("/{}", "x".repeat(PATH_MAX));
        let frames = session.answer(1, &exists(&long)).expect("no watch is set");
        assert_eq!(code(&frames[0]), Code::BadArguments as i32);
        assert_eq!(session.watches, Watches::new(4));
        let set = SetWatches {
            exist: vec![long],
            ..SetWatches::default()
        };
        assert_eq!(session.answer(1, &Request::SetWatches(set)), Err(TooMany));
    }
}

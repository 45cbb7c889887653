//! Requests and replies of the ZooKeeper client protocol, as of 3.4.

use crate::jute::{Malformed, Reader, Writer};

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    /// The highest zxid that this client has seen, at any server.
    pub(crate) last_zxid: i64,
    /// The session timeout it wishes, in milliseconds.
    pub(crate) timeout_ms: i32,
    /// 0 for a new session.
    pub(crate) session: i64,
    pub(crate) password: Vec<u8>,
    /// Whether it said if a read-only server would do. Older clients do not know of that, and must
    /// not be told either.
    pub(crate) knows_read_only: bool,
}

/// A session's password has this many bytes.
pub(crate) const PASSWORD_BYTES: usize = 16;

impl Connect {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        reader.i32()?; // The version of the protocol; there is only one.
        let last_zxid = reader.i64()?;
        let timeout_ms = reader.i32()?;
        let session = reader.i64()?;
        let password = reader.buffer()?.to_vec();
        let knows_read_only = !reader.is_empty();
        Ok(Self {
            last_zxid,
            timeout_ms,
            session,
            password,
            knows_read_only,
        })
    }

    /// The answer to it.
    pub(crate) fn accepted(&self, session: i64, password: &[u8], timeout_ms: i32) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.i32(0);
        writer.i32(timeout_ms);
        writer.i64(session);
        writer.buffer(password);
        if self.knows_read_only {
            writer.bool(false);
        }
        writer.0
    }
}

/// A request behind the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Exists {
        path: String,
        watch: bool,
    },
    GetData {
        path: String,
        watch: bool,
    },
    GetChildren {
        path: String,
        watch: bool,
        stat: bool,
    },
    GetAcl {
        path: String,
    },
    Sync {
        path: String,
    },
    Ping,
    SetWatches(SetWatches),
    AddAuth,
    CloseSession,
    /// Makes a node at this path.
    Create {
        path: String,
    },
    /// Any other write.
    Write,
    /// What ZooKeeper 3.4 does not know.
    Unknown,
}

/// The watches of a client that comes back, and what it saw last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SetWatches {
    pub(crate) zxid: i64,
    pub(crate) data: Vec<String>,
    pub(crate) exist: Vec<String>,
    pub(crate) child: Vec<String>,
}

impl Request {
    /// The number by which the client knows the reply, and the request.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(i32, Self), Malformed> {
        let mut reader = Reader(bytes);
        let xid = reader.i32()?;
        let request = match reader.i32()? {
            // create, and create2 and its siblings of 3.5: all begin with the path.
            1 | 15 | 19 | 21 => Self::Create {
                path: reader.string()?,
            },
            // delete, setData, setACL, check, multi, reconfig.
            2 | 5 | 7 | 13 | 14 | 16 => Self::Write,
            3 => Self::Exists {
                path: reader.string()?,
                watch: reader.bool()?,
            },
            4 => Self::GetData {
                path: reader.string()?,
                watch: reader.bool()?,
            },
            6 => Self::GetAcl {
                path: reader.string()?,
            },
            kind @ (8 | 12) => Self::GetChildren {
                path: reader.string()?,
                watch: reader.bool()?,
                stat: kind == 12,
            },
            9 => Self::Sync {
                path: reader.string()?,
            },
            11 => Self::Ping,
            100 => Self::AddAuth,
            101 => Self::SetWatches(SetWatches {
                zxid: reader.i64()?,
                data: reader.strings()?,
                exist: reader.strings()?,
                child: reader.strings()?,
            }),
            -11 => Self::CloseSession,
            _ => Self::Unknown,
        };
        Ok((xid, request))
    }
}

/// Why a request was refused: codes that ZooKeeper 3.4 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Unimplemented = -6,
    BadArguments = -8,
    NoNode = -101,
    NoAuth = -102,
    NodeExists = -110,
}

/// What is told about a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) created_zxid: i64,
    pub(crate) created_ms: i64,
    pub(crate) children_version: i32,
    /// The session that owns it; 0 for a node that lasts.
    pub(crate) owner: i64,
    pub(crate) data_bytes: i32,
    pub(crate) n_children: i32,
    /// When its list of children changed last.
    pub(crate) children_zxid: i64,
}

impl Stat {
    fn write(&self, writer: &mut Writer) {
        writer.i64(self.created_zxid);
        writer.i64(self.created_zxid); // Modified: never since.
        writer.i64(self.created_ms);
        writer.i64(self.created_ms);
        writer.i32(0); // Version of the data.
        writer.i32(self.children_version);
        writer.i32(0); // Version of the ACL.
        writer.i64(self.owner);
        writer.i32(self.data_bytes);
        writer.i32(self.n_children);
        writer.i64(self.children_zxid);
    }
}

/// What follows the header of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Empty,
    Stat(Stat),
    Data(bytes::Bytes, Stat),
    Children(Vec<String>, Option<Stat>),
    /// Everybody may read.
    Acl(Stat),
    Path(String),
}

/// A reply, encoded.
pub(crate) fn reply(xid: i32, zxid: i64, body: Result<Body, Code>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.i32(xid);
    writer.i64(zxid);
    writer.i32(body.as_ref().map_or_else(|code| *code as i32, |_| 0));
    match body {
        Ok(Body::Empty) | Err(_) => {}
        Ok(Body::Stat(stat)) => stat.write(&mut writer),
        Ok(Body::Data(data, stat)) => {
            writer.buffer(&data);
            stat.write(&mut writer);
        }
        Ok(Body::Children(names, stat)) => {
            writer.strings(&names);
            if let Some(stat) = stat {
                stat.write(&mut writer);
            }
        }
        Ok(Body::Acl(stat)) => {
            const READ: i32 = 1;
            writer.i32(1);
            writer.i32(READ);
            writer.string("world");
            writer.string("anyone");
            stat.write(&mut writer);
        }
        Ok(Body::Path(path)) => writer.string(&path),
    }
    writer.0
}

/// What happened to a watched node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Created = 1,
    Deleted = 2,
    DataChanged = 3,
    ChildrenChanged = 4,
}

/// The message that a watch fired, encoded.
pub(crate) fn event(happened: Happened, path: &str) -> Vec<u8> {
    const CONNECTED: i32 = 3;
    let mut writer = Writer::default();
    writer.i32(-1);
    writer.i64(-1);
    writer.i32(0);
    writer.i32(happened as i32);
    writer.i32(CONNECTED);
    writer.string(path);
    writer.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn connect(read_only: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.i32(0);
        writer.i64(9);
        writer.i32(10_000);
        writer.i64(77);
        writer.buffer(&[5; PASSWORD_BYTES]);
        writer.0.extend_from_slice(read_only);
        writer.0
    }

    #[test]
    fn only_those_are_told_of_read_only_servers_who_know_of_them() {
        let old = Connect::decode(&connect(&[])).expect("whole");
        let new = Connect::decode(&connect(&[1])).expect("whole");
        assert_eq!(
            (old.last_zxid, old.timeout_ms, old.session),
            (9, 10_000, 77)
        );
        let (old, new) = (old.accepted(77, &[5; 16], 4), new.accepted(77, &[5; 16], 4));
        assert_eq!(old.len(), 36);
        assert_eq!(new.len(), 37);
        assert_eq!(new[36], 0);
        assert_eq!(new[..36], old);
    }

    #[test]
    fn a_request_that_ends_early_is_malformed() {
        let mut writer = Writer::default();
        writer.i32(3);
        writer.i32(12);
        writer.string("/mesos");
        writer.bool(true);
        let expected = Request::GetChildren {
            path: "/mesos".into(),
            watch: true,
            stat: true,
        };
        assert_eq!(Request::decode(&writer.0), Ok((3, expected)));
        for end in 0..writer.0.len() {
            assert_eq!(Request::decode(&writer.0[..end]), Err(Malformed));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Connect::decode(&bytes);
            let _ = Request::decode(&bytes);
        }
    }
}

//! Terms and masters.

use regency_state::{BeginTerm, Counters, MasterInfo, TermRecord};
use regency_types::{ClusterId, ClusterTime, Incarnation, NodeId, Term, WallTime};

use crate::StoredError;
use crate::field::{Stored, load_u128, required, store_u128};
use crate::proto;

impl Stored for MasterInfo {
    type Message = proto::MasterInfo;

    fn store(&self) -> proto::MasterInfo {
        proto::MasterInfo {
            node: self.node.0,
            incarnation: store_u128(self.incarnation.0),
            process: store_u128(self.process),
            hostname: self.hostname.clone(),
            http: self.http.clone(),
            agent: self.agent.clone(),
            version: self.version.clone(),
        }
    }

    fn load(message: proto::MasterInfo) -> Result<Self, StoredError> {
        Ok(Self {
            node: NodeId(message.node),
            incarnation: Incarnation(load_u128(&message.incarnation, "MasterInfo.incarnation")?),
            process: load_u128(&message.process, "MasterInfo.process")?,
            hostname: message.hostname,
            http: message.http,
            agent: message.agent,
            version: message.version,
        })
    }
}

impl Stored for BeginTerm {
    type Message = proto::BeginTerm;

    fn store(&self) -> proto::BeginTerm {
        proto::BeginTerm {
            cluster: store_u128(self.cluster.0),
            term: self.term.0,
            master: Some(self.master.store()),
        }
    }

    fn load(message: proto::BeginTerm) -> Result<Self, StoredError> {
        Ok(Self {
            cluster: ClusterId(load_u128(&message.cluster, "BeginTerm.cluster")?),
            term: Term(message.term),
            master: MasterInfo::load(required(message.master, "BeginTerm.master")?)?,
        })
    }
}

impl Stored for TermRecord {
    type Message = proto::TermRecord;

    fn store(&self) -> proto::TermRecord {
        proto::TermRecord {
            term: self.term.0,
            master: Some(self.master.store()),
            began_ms: self.began.0,
            wall_ms: self.wall.0,
        }
    }

    fn load(message: proto::TermRecord) -> Result<Self, StoredError> {
        Ok(Self {
            term: Term(message.term),
            master: MasterInfo::load(required(message.master, "TermRecord.master")?)?,
            began: ClusterTime(message.began_ms),
            wall: WallTime(message.wall_ms),
        })
    }
}

impl Stored for Counters {
    type Message = proto::Counters;

    fn store(&self) -> proto::Counters {
        proto::Counters {
            framework: self.framework,
            agent: self.agent,
            offer: self.offer,
            generation: self.generation,
        }
    }

    fn load(message: proto::Counters) -> Result<Self, StoredError> {
        Ok(Self {
            framework: message.framework,
            agent: message.agent,
            offer: message.offer,
            generation: message.generation,
        })
    }
}

//! Who leads, and who answers.

use std::net::{IpAddr, Ipv4Addr};

use regency_state::MasterInfo;
use regency_types::WallTime;
use regency_wire::v1::master_info::Capability;
use regency_wire::v1::master_info::capability::Type;
use regency_wire::v1::{self, Address};

use super::offer::split_address;
use super::{Identity, MESOS_VERSION, View};

/// What this master can do, in the words of `MasterInfo.Capability`.
pub(crate) const CAPABILITIES: [Type; 2] = [Type::AgentUpdate, Type::AgentDraining];

/// The leader of the newest term, as messages name it.
///
/// `None` before the first election.
#[must_use]
pub fn leader(view: &View<'_>) -> Option<v1::MasterInfo> {
    // Of other masters nobody here knows where they are.
    let domain = view.identity.domain.as_ref().filter(|_| view.live.leader);
    view.state.term().map(|term| info(&term.master, domain))
}

/// A master as messages name it: the one form for SUBSCRIBED events, GET_MASTER and `/state`.
#[must_use]
pub fn info(master: &MasterInfo, domain: Option<&v1::DomainInfo>) -> v1::MasterInfo {
    let (host, port) = split_address(&master.http);
    let ip = host.parse::<IpAddr>().ok();
    v1::MasterInfo {
        id: process_id(master),
        ip: match ip {
            Some(IpAddr::V4(ip)) => packed(ip),
            // There is no room for others, as in Mesos; `address` has it.
            Some(IpAddr::V6(_)) | None => 0,
        },
        port: u32::from(port),
        pid: Some(pid(&master.http)),
        hostname: Some(master.hostname.clone()),
        version: Some(MESOS_VERSION.to_owned()),
        address: Some(Address {
            hostname: Some(master.hostname.clone()),
            ip: ip.map(|ip| ip.to_string()),
            port: i32::from(port),
        }),
        domain: domain.cloned(),
        capabilities: CAPABILITIES
            .iter()
            .map(|capability| Capability {
                r#type: Some(*capability as i32),
            })
            .collect(),
    }
}

/// The id of a run of a master's process, as text.
#[must_use]
pub fn process_id(master: &MasterInfo) -> String {
    uuid::Uuid::from_u128(master.process)
        .hyphenated()
        .to_string()
}

/// The name of a master as a libprocess actor, by which older clients know it.
pub(crate) fn pid(address: &str) -> String {
    format!("master@{address}")
}

/// The same of the master that answers.
pub(crate) fn own_pid(identity: &Identity) -> String {
    pid(&std::net::SocketAddr::new(identity.ip, identity.port).to_string())
}

/// When the master that answers was elected; `None` when it does not lead.
pub(crate) fn elected(view: &View<'_>) -> Option<WallTime> {
    let term = view.state.term()?;
    view.live.leader.then_some(term.wall)
}

/// The four bytes of an address in network order, read as a little-endian number: what Mesos
/// puts into a field that is a plain number.
fn packed(ip: Ipv4Addr) -> u32 {
    u32::from_le_bytes(ip.octets())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_packed_as_mesos_packs_it() {
        // Of the golden capture of a master on the loopback address.
        assert_eq!(packed(Ipv4Addr::LOCALHOST), 16_777_343);
    }
}

//! Values of flags that Mesos writes as JSON of its messages.

use regency_resources::{ReservationKind, ResourceKey, Value, role};

use crate::resources::entries_from_wire;
use crate::v1::{DomainInfo, Resource};
use crate::{ContentType, decode};

/// The region of an agent or a master that names none is that of the masters.
#[must_use]
pub fn region(domain: &DomainInfo) -> Option<&str> {
    let fault_domain = domain.fault_domain.as_ref()?;
    Some(fault_domain.region.name.as_str())
}

/// Reads `--domain`.
///
/// # Errors
/// What is wrong, in words.
pub fn domain(json: &str) -> Result<DomainInfo, String> {
    const EXAMPLE: &str = r#"{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"a"}}}"#;
    let domain: DomainInfo = decode(ContentType::Json, json.as_bytes())
        .map_err(|error| format!("{error}; give one like {EXAMPLE}"))?;
    let named = domain.fault_domain.as_ref().is_some_and(|fault_domain| {
        !fault_domain.region.name.is_empty() && !fault_domain.zone.name.is_empty()
    });
    match named {
        true => Ok(domain),
        false => Err(format!("region and zone must have names, as in {EXAMPLE}")),
    }
}

/// Whether the value of `--resources` is in the JSON form.
#[must_use]
pub fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('[')
}

/// Reads `--resources` in the JSON form: a list of `Resource`. What has no role is reserved for
/// `default_role` (`*` for nobody).
///
/// # Errors
/// What is wrong, in words, naming the resource.
pub fn resources(json: &str, default_role: &str) -> Result<Vec<(ResourceKey, Value)>, String> {
    role::validate(default_role).map_err(|error| error.to_string())?;
    let list: Vec<serde_json::Value> =
        serde_json::from_str(json).map_err(|error| format!("it is no JSON list: {error}"))?;
    let mut all = Vec::with_capacity(list.len());
    for value in list {
        let mut resource: Resource = decode(ContentType::Json, value.to_string().as_bytes())
            .map_err(|error| format!("{value} is no resource: {error}"))?;
        if resource.role.is_none() && resource.reservations.is_empty() {
            resource.role = Some(default_role.to_owned());
        }
        let name = resource.name.clone();
        let refuse = |why: &str| Err(format!("the resource '{name}' {why}"));
        if resource.allocation_info.is_some() {
            return refuse("is allocated, which only masters do");
        }
        if resource.shared.is_some() {
            return refuse("is shared, which only operations make");
        }
        let entries = entries_from_wire(&[resource]).map_err(|error| error.to_string())?;
        for (key, _) in &entries {
            let dynamic = |r: &regency_resources::Reservation| r.kind == ReservationKind::Dynamic;
            if key.reservations.iter().any(dynamic) {
                return refuse("is reserved dynamically, which only operations do");
            }
            if key.is_persistent_volume() {
                return refuse("is a persistent volume, which only operations make");
            }
        }
        all.extend(entries);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_a_region_and_a_zone() {
        let good = r#"{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"a"}}}"#;
        assert_eq!(region(&domain(good).expect("a domain")), Some("eu"));
        for bad in [
            "",
            "eu",
            "{}",
            r#"{"fault_domain":{"region":{"name":"eu"}}}"#,
            r#"{"fault_domain":{"region":{"name":""},"zone":{"name":"a"}}}"#,
        ] {
            let error = domain(bad).expect_err(bad);
            assert!(error.contains("fault_domain"), "{bad}: {error}");
        }
    }

    #[test]
    fn resources_are_read_with_roles_and_disks() {
        let json = r#"[
            {"name":"cpus","type":"SCALAR","scalar":{"value":4}},
            {"name":"mem","type":"SCALAR","scalar":{"value":64},"role":"eng"},
            {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":9}]},
             "reservations":[{"type":"STATIC","role":"ops"}]},
            {"name":"disk","type":"SCALAR","scalar":{"value":9},
             "disk":{"source":{"type":"PATH","path":{"root":"/mnt"}}}}]"#;
        let text = |default: &str| {
            let all = resources(json, default).expect("good resources");
            let keys = all.iter().map(|(key, value)| format!("{key}:{value}"));
            keys.collect::<Vec<_>>().join(" ")
        };
        assert!(is_json(json) && !is_json("cpus:1"));
        let plain = text("*");
        assert!(
            plain.starts_with("cpus:4 mem(eng):64 ports(ops):[1-9] disk["),
            "{plain}"
        );
        assert!(
            text("dev").starts_with("cpus(dev):4 mem(eng):64"),
            "the rest is for the default"
        );
    }

    #[test]
    fn what_may_be_taken_away_again_is_told_by_the_agent() {
        let json = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"revocable":{}}]"#;
        let all = resources(json, "*").expect("good resources");
        assert!(all[0].0.revocable, "{all:?}");
    }

    #[test]
    fn what_an_agent_cannot_have_is_refused_by_name() {
        let one = |rest: &str| {
            let json =
                format!(r#"[{{"name":"disk","type":"SCALAR","scalar":{{"value":1}}{rest}}}]"#);
            resources(&json, "*").expect_err("bad resources")
        };
        for (rest, part) in [
            (
                r#","reservations":[{"type":"DYNAMIC","role":"a"}]"#,
                "dynamically",
            ),
            (
                r#","role":"a","disk":{"persistence":{"id":"x"}}"#,
                "persistent volume",
            ),
            (r#","shared":{}"#, "shared"),
            (r#","allocation_info":{"role":"a"}"#, "allocated"),
            (r#","role":"a b""#, "a b"),
        ] {
            let error = one(rest);
            assert!(
                error.contains(part) && error.contains("disk"),
                "{rest}: {error}"
            );
        }
        for bad in ["[", "[1]", r#"[{"name":"cpus"}]"#] {
            assert!(resources(bad, "*").is_err(), "{bad}");
        }
    }
}

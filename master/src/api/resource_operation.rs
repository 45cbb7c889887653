//! From `Offer.Operation` to what the rules read, for frameworks and for operators.

use regency_resources::{Milli, Resources};
use regency_state::ResourceOperation;
use regency_wire::resources;
use regency_wire::v1;
use regency_wire::v1::offer::Operation;
use regency_wire::v1::offer::operation::Type;

/// Reads an operation on resources that are allocated to `role`, or to nobody yet.
///
/// # Errors
/// What is wrong with it, for whoever asked.
pub(super) fn read(operation: &Operation, role: Option<&str>) -> Result<ResourceOperation, String> {
    let resources = |list: &[v1::Resource]| read_resources(list, role);
    let one = |resource: &v1::Resource| read_resources(std::slice::from_ref(resource), role);
    match operation.r#type() {
        Type::Reserve => {
            let part = operation
                .reserve
                .as_ref()
                .ok_or_else(|| missing("reserve"))?;
            let reserved = resources(&part.resources)?;
            if part.source.is_empty() {
                return Ok(ResourceOperation::Reserve(reserved));
            }
            Ok(ResourceOperation::ReserveAnew {
                source: resources(&part.source)?,
                resources: reserved,
            })
        }
        Type::Unreserve => {
            let part = operation.unreserve.as_ref();
            let part = part.ok_or_else(|| missing("unreserve"))?;
            Ok(ResourceOperation::Unreserve(resources(&part.resources)?))
        }
        Type::Create => {
            let part = operation.create.as_ref().ok_or_else(|| missing("create"))?;
            Ok(ResourceOperation::Create(resources(&part.volumes)?))
        }
        Type::Destroy => {
            let part = operation
                .destroy
                .as_ref()
                .ok_or_else(|| missing("destroy"))?;
            Ok(ResourceOperation::Destroy(resources(&part.volumes)?))
        }
        Type::GrowVolume => {
            let part = operation.grow_volume.as_ref();
            let part = part.ok_or_else(|| missing("grow_volume"))?;
            Ok(ResourceOperation::GrowVolume {
                volume: one(&part.volume)?,
                addition: one(&part.addition)?,
            })
        }
        Type::ShrinkVolume => {
            let part = operation.shrink_volume.as_ref();
            let part = part.ok_or_else(|| missing("shrink_volume"))?;
            Ok(ResourceOperation::ShrinkVolume {
                volume: one(&part.volume)?,
                subtract: Milli::amount_from_f64(part.subtract.value)
                    .map_err(|error| format!("'subtract' is invalid: {error}"))?,
            })
        }
        Type::CreateDisk | Type::DestroyDisk => Err(
            "'source' is not managed by a resource provider, of which this cluster has none"
                .to_owned(),
        ),
        other @ (Type::Unknown | Type::Launch | Type::LaunchGroup) => Err(format!(
            "{} is no operation on resources",
            other.as_str_name()
        )),
    }
}

fn missing(part: &str) -> String {
    format!("Expecting '{part}' to be present")
}

fn read_resources(list: &[v1::Resource], role: Option<&str>) -> Result<Resources, String> {
    let allocated =
        resources::from_wire(list).map_err(|error| format!("Invalid resources: {error}"))?;
    match (&allocated.role, role) {
        (Some(other), Some(role)) if other != role => {
            return Err(format!(
                "The operation uses resources allocated to role '{other}', its offer is for \
                 '{role}'"
            ));
        }
        (Some(_), None) => {
            return Err(
                "The operation uses allocated resources, but operators only change what is \
                 allocated to nobody"
                    .to_owned(),
            );
        }
        _ => {}
    }
    let of_provider = |entry: &regency_resources::Resource| entry.key.provider_id.is_some();
    if let Some(entry) = allocated
        .resources
        .entries()
        .iter()
        .find(|e| of_provider(e))
    {
        return Err(format!(
            "Resource {entry} is of a resource provider, of which this cluster has none"
        ));
    }
    Ok(allocated.resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(json: &str) -> Operation {
        serde_json::from_str(json).expect("an operation in JSON")
    }

    const RESERVED: &str = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1},
        "reservations":[{"type":"DYNAMIC","role":"eng","principal":"p"}],
        "allocation_info":{"role":"eng"}}"#;

    #[test]
    fn both_formats_of_a_reservation_are_the_same() {
        let newer = format!(r#"{{"type":"RESERVE","reserve":{{"resources":[{RESERVED}]}}}}"#);
        let older = r#"{"type":"RESERVE","reserve":{"resources":[{"name":"cpus","type":"SCALAR",
            "scalar":{"value":1},"role":"eng","reservation":{"principal":"p"}}]}}"#;
        let newer = read(&operation(&newer), Some("eng")).expect("valid");
        assert_eq!(read(&operation(older), Some("eng")), Ok(newer.clone()));
        assert!(matches!(newer, ResourceOperation::Reserve(_)));
    }

    #[test]
    fn disks_are_made_and_unmade_by_resource_providers_only() {
        for kind in ["CREATE_DISK", "DESTROY_DISK"] {
            let error = read(&operation(&format!(r#"{{"type":"{kind}"}}"#)), Some("eng"));
            let error = error.expect_err(kind);
            assert!(error.contains("resource provider"), "{error}");
        }
    }

    #[test]
    fn a_reservation_with_a_source_changes_the_source() {
        let json = format!(
            r#"{{"type":"RESERVE","reserve":{{
                "source":[{{"name":"cpus","type":"SCALAR","scalar":{{"value":1}}}}],
                "resources":[{}]}}}}"#,
            RESERVED.replace(r#""allocation_info":{"role":"eng"}"#, r#""x":1"#)
        );
        let read = read(&operation(&json), None).expect("valid");
        let ResourceOperation::ReserveAnew { source, resources } = read else {
            panic!("{read:?}")
        };
        assert_eq!(source, resources.to_unreserved());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let reserve = format!(r#"{{"type":"RESERVE","reserve":{{"resources":[{RESERVED}]}}}}"#);
        for (json, role, part) in [
            (r#"{"type":"CREATE"}"#, Some("eng"), "'create'"),
            (&*reserve, Some("ads"), "for 'ads'"),
            (&*reserve, None, "allocated to nobody"),
            (r#"{"type":"LAUNCH"}"#, None, "LAUNCH"),
            (
                r#"{"type":"RESERVE","reserve":{"resources":[{"name":"cpus","type":"SCALAR",
                "scalar":{"value":-1}}]}}"#,
                None,
                "cpus:-1",
            ),
        ] {
            let error = read(&operation(json), role).expect_err(json);
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

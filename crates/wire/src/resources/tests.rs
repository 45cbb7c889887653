use std::collections::BTreeMap;

use proptest::prelude::*;
use regency_resources::{
    Attribute, AttributeValue, DiskInfo, DiskSource, DiskSourceKind, Milli, Persistence, Ranges,
    Reservation, ResourceKey, Resources, Set, Value, Volume, VolumeMode,
};

use super::*;
use crate::v1;
use crate::v1::value::Scalar;

fn wire(json: &str) -> Vec<v1::Resource> {
    serde_json::from_str(json).expect("resources in JSON")
}

fn read(json: &str) -> Resources {
    from_wire(&wire(json)).expect("valid resources").resources
}

fn fault(json: &str) -> Fault {
    from_wire(&wire(json)).expect_err("invalid resources").fault
}

fn json(resources: &Resources, format: ResourceFormat) -> String {
    serde_json::to_string(&to_wire(resources, format, None)).expect("JSON")
}

fn cpus(reservations: Vec<Reservation>) -> Resources {
    let key = ResourceKey {
        reservations,
        ..ResourceKey::new("cpus")
    };
    std::iter::once((key, Value::units(2))).collect()
}

const CPUS: &str = r#""name":"cpus","type":"SCALAR","scalar":{"value":2.0}"#;

#[test]
fn every_type_of_value_is_read_and_nothing_is_ignored_but_zero() {
    let resources = read(
        r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},
            {"name":"cpus","type":"SCALAR","scalar":{"value":0.2}},
            {"name":"gpus","type":"SCALAR","scalar":{"value":0}},
            {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":5,"end":6},{"begin":1,"end":4}]}},
            {"name":"ports","type":"RANGES","ranges":{}},
            {"name":"zones","type":"SET","set":{"item":["b","a"]}}]"#,
    );
    assert_eq!(resources.to_string(), "cpus:0.3; ports:[1-6]; zones:{a, b}");
}

#[test]
fn the_role_of_an_allocation_is_told_apart_and_must_be_one() {
    let with = |a: &str, b: &str| {
        wire(&format!(
            r#"[{{{CPUS},"allocation_info":{{"role":"{a}"}}}},{{{CPUS}}},
                         {{{CPUS},"allocation_info":{{"role":"{b}"}}}}]"#
        ))
    };
    let allocated = from_wire(&with("x", "x")).expect("one role");
    assert_eq!(allocated.role.as_deref(), Some("x"));
    assert_eq!(allocated.resources.scalar("cpus"), Milli::from_units(6));
    assert_eq!(
        from_wire(&with("x", "y")).expect_err("two roles").fault,
        Fault::MixedAllocation {
            role: "y".into(),
            other: "x".into()
        }
    );
    let back = to_wire(
        &allocated.resources,
        ResourceFormat::PostReservationRefinement,
        Some("x"),
    );
    assert!(back.iter().all(|r| {
        r.allocation_info
            .as_ref()
            .and_then(|info| info.role.as_deref())
            == Some("x")
    }));
}

#[test]
fn a_negative_amount_is_refused_in_the_words_of_mesos() {
    let error = from_wire(&wire(
        r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}]"#,
    ));
    assert_eq!(
        error.expect_err("negative").to_string(),
        "Resource 'cpus:-1' is invalid: Invalid scalar resource: value <= 0"
    );
}

#[test]
fn what_is_no_resource_is_refused_by_the_name_of_the_field() {
    use v1::value::Type;
    for (json, named) in [
        (
            r#"[{"name":"","type":"SCALAR","scalar":{"value":1}}]"#,
            "'name'",
        ),
        (r#"[{"name":"cpus","type":"SCALAR"}]"#, "'scalar'"),
        (
            r#"[{"name":"cpus","type":"SCALAR","ranges":{}}]"#,
            "'scalar'",
        ),
        (
            r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"set":{}}]"#,
            "'set'",
        ),
        (
            r#"[{"name":"ports","type":"RANGES","scalar":{"value":1}}]"#,
            "'ranges'",
        ),
        (
            r#"[{"name":"ports","type":"RANGES","ranges":{"range":{"begin":2,"end":1}}}]"#,
            "'ranges'",
        ),
        (r#"[{"name":"zones","type":"SET"}]"#, "'set'"),
        (r#"[{"name":"zones","type":"TEXT"}]"#, "'type' TEXT"),
        (
            r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":"NaN"}}]"#,
            "'scalar'",
        ),
        (
            r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":"Infinity"}}]"#,
            "'scalar'",
        ),
        (
            r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1e18}}]"#,
            "'scalar'",
        ),
        (
            r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"disk":{}}]"#,
            "'disk'",
        ),
    ] {
        let text = from_wire(&wire(json)).expect_err(json).to_string();
        assert!(text.contains(named), "{json}: {text}");
    }
    let unknown = v1::Resource {
        name: "x".into(),
        r#type: 9,
        ..Default::default()
    };
    assert!(
        from_wire(&[unknown])
            .expect_err("unknown type")
            .to_string()
            .contains("'type' 9")
    );
    assert!(Type::try_from(9).is_err());
}

#[test]
fn reservations_are_read_in_both_forms() {
    let dynamic = |role: &str| Reservation {
        labels: vec![("k".into(), Some("v".into()))],
        ..Reservation::dynamic(role, Some("p".into()))
    };
    for (json, expected) in [
        (format!("[{{{CPUS}}}]"), vec![]),
        (format!(r#"[{{{CPUS},"role":"*"}}]"#), vec![]),
        (
            format!(r#"[{{{CPUS},"role":"a"}}]"#),
            vec![Reservation::fixed("a")],
        ),
        (
            format!(
                r#"[{{{CPUS},"role":"a","reservation":{{"principal":"p",
                       "labels":{{"labels":[{{"key":"k","value":"v"}}]}}}}}}]"#
            ),
            vec![dynamic("a")],
        ),
        (
            format!(
                r#"[{{{CPUS},"reservations":[{{"type":"STATIC","role":"a"}},
                       {{"type":"DYNAMIC","role":"a/b","principal":"p",
                       "labels":{{"labels":[{{"key":"k","value":"v"}}]}}}}]}}]"#
            ),
            vec![Reservation::fixed("a"), dynamic("a/b")],
        ),
        (
            format!(r#"[{{{CPUS},"role":"a","reservations":[{{"type":"STATIC","role":"a"}}]}}]"#),
            vec![Reservation::fixed("a")],
        ),
    ] {
        assert_eq!(read(&json), cpus(expected), "{json}");
    }
}

#[test]
fn reservations_that_cannot_be_are_refused() {
    let of = |rest: &str| fault(&format!("[{{{CPUS},{rest}}}]"));
    assert_eq!(of(r#""reservation":{}"#), Fault::ReservedForAll);
    assert_eq!(
        of(r#""reservations":[{"type":"DYNAMIC","role":"*"}]"#),
        Fault::ReservedForAll
    );
    assert_eq!(
        of(r#""reservations":[{"type":"DYNAMIC"}]"#),
        Fault::Missing("reservations.role")
    );
    assert_eq!(
        of(r#""reservations":[{"role":"a"}]"#),
        Fault::Missing("reservations.type")
    );
    assert_eq!(
        of(r#""role":"b","reservations":[{"type":"STATIC","role":"a"}]"#),
        Fault::Contradiction
    );
    assert_eq!(
        of(r#""role":"a","reservation":{"role":"b"}"#),
        Fault::Contradiction
    );
    assert_eq!(
        of(r#""reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"ab"}]"#),
        Fault::NotRefined {
            role: "ab".into(),
            outer: "a".into()
        }
    );
    assert!(matches!(
        of(r#""reservations":[{"type":"STATIC","role":"a"},{"type":"STATIC","role":"a/b"}]"#),
        Fault::Misplaced {
            field: "reservations.type",
            ..
        }
    ));
    assert!(matches!(
        of(r#""role":"/a""#),
        Fault::Role { field: "role", .. }
    ));
    assert!(matches!(
        of(r#""reservations":[{"type":"STATIC","role":"a b"}]"#),
        Fault::Role {
            field: "reservations.role",
            ..
        }
    ));
    assert!(matches!(
        of(r#""reservations":[{"type":"UNKNOWN","role":"a"}]"#),
        Fault::Unsupported {
            field: "reservations.type",
            ..
        }
    ));
}

#[test]
fn each_format_writes_reservations_its_own_way() {
    use ResourceFormat::{Endpoint, PostReservationRefinement, PreReservationRefinement};
    let unreserved = cpus(vec![]);
    let fixed = cpus(vec![Reservation::fixed("a")]);
    let dynamic = cpus(vec![Reservation::dynamic("a", Some("p".into()))]);
    let refined = cpus(vec![
        Reservation::fixed("a"),
        Reservation::dynamic("a/b", None),
    ]);
    let refined_rest =
        r#","reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b"}]"#;
    for (resources, format, rest) in [
        (&unreserved, PreReservationRefinement, r#","role":"*""#),
        (&unreserved, PostReservationRefinement, ""),
        (&unreserved, Endpoint, r#","role":"*""#),
        (&fixed, PreReservationRefinement, r#","role":"a""#),
        (
            &fixed,
            PostReservationRefinement,
            r#","reservations":[{"type":"STATIC","role":"a"}]"#,
        ),
        (
            &fixed,
            Endpoint,
            r#","role":"a","reservations":[{"type":"STATIC","role":"a"}]"#,
        ),
        (
            &dynamic,
            PreReservationRefinement,
            r#","role":"a","reservation":{"principal":"p"}"#,
        ),
        (
            &dynamic,
            Endpoint,
            r#","role":"a","reservation":{"principal":"p"},"reservations":[{"type":"DYNAMIC","role":"a","principal":"p"}]"#,
        ),
        (&refined, PreReservationRefinement, refined_rest),
        (&refined, PostReservationRefinement, refined_rest),
        (&refined, Endpoint, refined_rest),
    ] {
        assert_eq!(
            json(resources, format),
            format!("[{{{CPUS}{rest}}}]"),
            "{format:?}"
        );
    }
}

#[test]
fn a_volume_keeps_its_mount_point_and_principal() {
    let text = r#"[{"name":"disk","type":"SCALAR","scalar":{"value":100.0},"reservations":[{"type":"DYNAMIC","role":"r","principal":"p"}],"disk":{"persistence":{"id":"v","principal":"p"},"volume":{"mode":"RW","container_path":"data"}}}]"#;
    let resources = read(text);
    assert_eq!(
        json(&resources, ResourceFormat::PostReservationRefinement),
        text
    );
    assert!(resources.persistent_volumes() == resources);
}

#[test]
fn disks_that_cannot_be_are_refused() {
    let of = |disk: &str| {
        fault(&format!(
            r#"[{{"name":"disk","type":"SCALAR","scalar":{{"value":1}},"disk":{disk}}}]"#
        ))
    };
    let volume = r#""mode":"RW","container_path":"p""#;
    assert!(matches!(
        of(&format!(
            r#"{{"volume":{{{volume},"image":{{"type":"DOCKER"}}}}}}"#
        )),
        Fault::Misplaced {
            field: "disk.volume.image",
            ..
        }
    ));
    assert!(matches!(
        of(&format!(
            r#"{{"volume":{{{volume},"source":{{"type":"HOST_PATH"}}}}}}"#
        )),
        Fault::Misplaced {
            field: "disk.volume.source",
            ..
        }
    ));
    assert!(matches!(
        of(r#"{"source":{"type":"UNKNOWN"}}"#),
        Fault::Unsupported {
            field: "disk.source.type",
            ..
        }
    ));
    let plain = r#"[{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{}}]"#;
    assert_eq!(
        read(plain),
        Resources::of_scalar("disk", Milli::from_units(1))
    );
}

#[test]
fn quantities_travel_as_a_map_of_scalars() {
    let map = |value| BTreeMap::from([("cpus".to_owned(), Scalar { value })]);
    let quantities = quantities_from_wire(&map(1.5)).expect("valid");
    assert_eq!(quantities.get("cpus"), Milli(1500));
    assert_eq!(quantities_to_wire(&quantities), map(1.5));
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        let text = quantities_from_wire(&map(value))
            .expect_err("invalid")
            .to_string();
        assert!(text.starts_with("Quantity 'cpus:"), "{text}");
    }
}

#[test]
fn attributes_keep_their_order_and_may_be_negative() {
    let attributes = vec![
        Attribute {
            name: "rack".into(),
            value: AttributeValue::Text("r1".into()),
        },
        Attribute {
            name: "height".into(),
            value: AttributeValue::Scalar(Milli(-1500)),
        },
        Attribute {
            name: "ids".into(),
            value: AttributeValue::Ranges(Ranges::from_pairs([(1, 2)]).expect("valid")),
        },
        Attribute {
            name: "rack".into(),
            value: AttributeValue::Set(Set(["x".to_owned()].into())),
        },
    ];
    let wire = attributes_to_wire(&attributes);
    assert_eq!(attributes_from_wire(&wire), Ok(attributes));
    let missing = v1::Attribute {
        text: None,
        ..wire[0].clone()
    };
    assert_eq!(
        attributes_from_wire(&[missing])
            .expect_err("no text")
            .to_string(),
        "Attribute 'rack' is invalid: Expecting 'text' to be present"
    );
}

fn any_key() -> impl Strategy<Value = ResourceKey> {
    let labels = prop::collection::vec(
        ("[a-c]", prop::option::of("[a-c]".prop_map(String::from))),
        0..3,
    );
    let first = (
        any::<bool>(),
        prop::option::of("[pq]".prop_map(String::from)),
        labels,
    );
    let reservations = (0_usize..3, first).prop_map(|(n, (fixed, principal, labels))| {
        let mut stack = Vec::new();
        let mut role = String::new();
        for i in 0..n {
            role = if i == 0 {
                "eng".to_owned()
            } else {
                format!("{role}/sub")
            };
            stack.push(if i == 0 && fixed {
                Reservation::fixed(role.clone())
            } else {
                Reservation {
                    labels: labels.clone(),
                    ..Reservation::dynamic(role.clone(), principal.clone())
                }
            });
        }
        stack
    });
    let source =
        (0_u8..5, prop::option::of("[ab]".prop_map(String::from))).prop_map(|(kind, text)| {
            let source = |kind, root| DiskSource {
                kind,
                root,
                id: text.clone(),
                profile: text.clone(),
                vendor: None,
                metadata: vec![],
            };
            match kind {
                0 => None,
                1 => Some(source(DiskSourceKind::Path, text.clone())),
                2 => Some(source(DiskSourceKind::Mount, text.clone())),
                3 => Some(source(DiskSourceKind::Block, None)),
                _ => Some(source(DiskSourceKind::Raw, None)),
            }
        });
    let disk =
        (prop::option::of("[vw]".prop_map(String::from)), source).prop_map(|(id, source)| {
            let persistence = id.map(|id| Persistence {
                id,
                principal: None,
            });
            let volume = persistence.is_some().then(|| Volume {
                container_path: "data".into(),
                host_path: None,
                mode: VolumeMode::ReadOnly,
            });
            (persistence.is_some() || source.is_some()).then(|| {
                Box::new(DiskInfo {
                    persistence,
                    volume,
                    source,
                })
            })
        });
    (
        reservations,
        disk,
        any::<[bool; 2]>(),
        prop::option::of("[ab]".prop_map(String::from)),
    )
        .prop_map(
            |(reservations, disk, [revocable, shared], provider_id)| ResourceKey {
                name: "disk".into(),
                reservations,
                disk,
                provider_id,
                revocable,
                shared,
            },
        )
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (1_i64..5_000_000).prop_map(|milli| Value::Scalar(Milli(milli))),
        prop::collection::vec((0_u64..50, 0_u64..9), 1..4).prop_map(|pairs| {
            let pairs = pairs.into_iter().map(|(begin, n)| (begin, begin + n));
            Value::Ranges(Ranges::from_pairs(pairs).expect("none is reversed"))
        }),
        prop::collection::btree_set("[a-e]", 1..4).prop_map(|items| Value::Set(Set(items))),
    ]
}

proptest! {
    #[test]
    fn resources_survive_the_wire_in_every_format(
        entries in prop::collection::vec((any_key(), any_value()), 0..6),
    ) {
        let resources: Resources = entries.into_iter().collect();
        for format in [
            ResourceFormat::PreReservationRefinement,
            ResourceFormat::PostReservationRefinement,
            ResourceFormat::Endpoint,
        ] {
            let back = from_wire(&to_wire(&resources, format, Some("eng")));
            prop_assert_eq!(back.map(|all| all.resources), Ok(resources.clone()), "{:?}", format);
        }
    }
}

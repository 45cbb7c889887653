use proptest::prelude::*;

use super::*;
use crate::{DiskInfo, Persistence, Ranges, Reservation, Set, parse};

fn text(text: &str) -> Resources {
    parse::resources(text, "*").unwrap()
}

fn volume(id: &str, shared: bool) -> ResourceKey {
    ResourceKey {
        reservations: vec![Reservation::dynamic("r", None)],
        disk: Some(Box::new(DiskInfo {
            persistence: Some(Persistence {
                id: id.to_owned(),
                principal: None,
            }),
            ..DiskInfo::default()
        })),
        shared,
        ..ResourceKey::new("disk")
    }
}

#[test]
fn a_shortage_names_the_first_resource_that_falls_short() {
    let shortage = text("cpus:4;mem:10")
        .checked_sub(&text("cpus:1;gpus:1;mem:11"))
        .unwrap_err();
    assert_eq!(shortage.to_string(), "gpus: 1 wanted, none available");
    let shortage = text("mem:10").checked_sub(&text("mem:11")).unwrap_err();
    assert_eq!(shortage.to_string(), "mem: 11 wanted, 10 available");
    let shortage = text("cpus(a):1").checked_sub(&text("cpus:1")).unwrap_err();
    assert_eq!(shortage.to_string(), "cpus: 1 wanted, none available");
}

#[test]
fn amounts_of_different_kind_or_key_stay_apart() {
    let both = text("x:1;x:[1-2];x:{a};x(r):1");
    assert_eq!(both.entries().len(), 4);
    assert_eq!(both.scalar("x"), Milli::from_units(2));
    assert_eq!(both.names().collect::<Vec<_>>(), vec!["x"]);
    assert_eq!(
        both.checked_sub(&text("x:[1-2]")).unwrap(),
        text("x:1;x:{a};x(r):1")
    );
}

#[test]
fn nothing_is_no_entry() {
    assert!(text("cpus:0;ports:[];racks:{}").is_empty());
    assert_eq!(text("cpus:1;mem:0"), text("cpus:1"));
    let negative: Resources = [(ResourceKey::new("cpus"), Value::Scalar(Milli(-1)))]
        .into_iter()
        .collect();
    assert!(negative.is_empty());
}

#[test]
fn a_persistent_volume_is_taken_whole_or_not_at_all() {
    let whole: Resources = [(volume("v", false), Value::units(100))]
        .into_iter()
        .collect();
    let part: Resources = [(volume("v", false), Value::units(40))]
        .into_iter()
        .collect();
    assert!(!whole.contains(&part));
    let shortage = whole.checked_sub(&part).unwrap_err();
    assert_eq!(shortage.wanted, "40");
    assert_eq!(shortage.available, "100");
    assert!(
        whole
            .checked_sub(&whole.filter(|_| true))
            .unwrap()
            .is_empty()
    );
    let two = &whole + &part;
    assert_eq!(two.scalar("disk"), Milli::from_units(140));
    assert_eq!(two.checked_sub(&part).unwrap(), whole);
}

#[test]
fn shared_resources_are_counted_but_sum_up_once() {
    let one: Resources = [(volume("v", true), Value::units(100))]
        .into_iter()
        .collect();
    let two = &one + &one;
    assert_ne!(one, two);
    assert_eq!(two.scalar("disk"), Milli::from_units(100));
    assert_eq!(two.iter().count(), 2);
    assert_eq!(two.checked_sub(&one).unwrap(), one);
    assert!(!one.contains(&two));
}

#[test]
fn a_shared_resource_is_left_however_many_hold_it() {
    let shared: Resources = [(volume("v", true), Value::units(100))]
        .into_iter()
        .collect();
    let total = text("cpus:4") + &shared;
    let used = text("cpus:1") + &shared + &shared;
    assert_eq!(total.without_used(&used).unwrap(), text("cpus:3") + &shared);
    assert_eq!(total.without_used(&Resources::empty()).unwrap(), total);
    // What is not there cannot be in use, shared or not.
    let other: Resources = [(volume("w", true), Value::units(100))]
        .into_iter()
        .collect();
    assert!(total.without_used(&other).is_err());
    assert!(total.without_used(&text("cpus:5")).is_err());
}

#[test]
fn where_a_volume_is_mounted_does_not_make_it_another() {
    let mut mounted = volume("v", false);
    if let Some(disk) = &mut mounted.disk {
        disk.volume = Some(crate::Volume {
            container_path: "data".to_owned(),
            host_path: None,
            mode: crate::VolumeMode::ReadWrite,
        });
    }
    assert_eq!(mounted, volume("v", false));
    assert_ne!(mounted, volume("w", false));
}

#[test]
fn the_order_of_labels_means_nothing() {
    let labelled = |labels: &[&str]| {
        let mut reservation = Reservation::dynamic("r", Some("p".to_owned()));
        reservation.labels = labels.iter().map(|l| ((*l).to_owned(), None)).collect();
        let key = ResourceKey {
            reservations: vec![reservation],
            ..ResourceKey::new("cpus")
        };
        [(key, Value::units(1))].into_iter().collect::<Resources>()
    };
    assert_eq!(labelled(&["a", "b"]), labelled(&["b", "a"]));
    assert_ne!(labelled(&["a"]), labelled(&["b"]));
}

#[test]
fn text_is_as_mesos_writes_it() {
    assert_eq!(
        text("mem:1024;cpus:4;ports:[31000-32000];cpus(web):0.5").to_string(),
        "cpus:4; cpus(web):0.5; mem:1024; ports:[31000-32000]"
    );
    assert_eq!(Resources::empty().to_string(), "{}");
    let shared: Resources = [(volume("v", true), Value::units(1))].into_iter().collect();
    assert_eq!(
        shared.to_string(),
        "disk(reservations: [(DYNAMIC,r)])[v]<SHARED>:1"
    );
}

#[test]
fn stored_form_is_made_canonical_when_read() {
    let json = r#"[
        {"key":{"name":"mem","reservations":[],"disk":null,"provider_id":null,"revocable":false,"shared":false},
         "value":{"Scalar":2000},"copies":7},
        {"key":{"name":"cpus","reservations":[],"disk":null,"provider_id":null,"revocable":false,"shared":false},
         "value":{"Scalar":0},"copies":1}
    ]"#;
    let read: Resources = serde_json::from_str(json).unwrap();
    assert_eq!(read, text("mem:2"));
}

fn key() -> impl Strategy<Value = ResourceKey> {
    let plain = (
        prop::sample::select(vec!["cpus", "mem", "ports", "x"]),
        prop::sample::select(vec!["*", "a", "a/b"]),
        any::<bool>(),
    )
        .prop_map(|(name, role, revocable)| ResourceKey {
            revocable,
            ..ResourceKey::fixed(name, role)
        });
    let whole = (prop::sample::select(vec!["v", "w"]), any::<bool>())
        .prop_map(|(id, shared)| volume(id, shared));
    prop_oneof![4 => plain, 1 => whole]
}

/// Ranges and sets are drawn from the half of the domain that `side` names: what is on both sides
/// at once could not be taken away again, as the collection is a set there, not a sum.
fn value(side: u64) -> impl Strategy<Value = Value> {
    let ranges = prop::collection::vec((0_u64..20, 0_u64..5), 0..4).prop_map(move |pairs| {
        let pairs = pairs
            .into_iter()
            .flat_map(|(begin, n)| (begin..=begin + n).map(|i| (i * 2 + side, i * 2 + side)));
        Value::Ranges(Ranges::from_pairs(pairs).unwrap())
    });
    let set = prop::collection::btree_set(0_u64..8, 0..4).prop_map(move |words| {
        Value::Set(
            words
                .into_iter()
                .map(|w| format!("w{}", w * 2 + side))
                .collect::<Set>(),
        )
    });
    prop_oneof![
        3 => (0_i64..5000).prop_map(|n| Value::Scalar(Milli(n))),
        1 => ranges,
        1 => set,
    ]
}

fn some_resources(side: u64) -> impl Strategy<Value = Resources> {
    prop::collection::vec((key(), value(side)), 0..8).prop_map(|pairs| pairs.into_iter().collect())
}

fn assert_canonical(resources: &Resources) {
    for entry in resources.entries() {
        assert!(!entry.value.is_empty() && entry.copies > 0, "{entry}");
        assert!(entry.copies == 1 || entry.key.is_whole(), "{entry}");
    }
    for pair in resources.entries().windows(2) {
        assert_eq!(
            pair[0].place(&pair[1].key, &pair[1].value),
            Ordering::Less,
            "{resources}"
        );
    }
}

proptest! {
    #[test]
    fn what_was_added_can_be_taken_away(a in some_resources(0), b in some_resources(1)) {
        let sum = &a + &b;
        assert_canonical(&sum);
        prop_assert!(sum.contains(&a) && sum.contains(&b));
        prop_assert_eq!(sum.checked_sub(&b).unwrap(), a.clone());
        prop_assert_eq!(sum.checked_sub(&a).unwrap(), b.clone());
        prop_assert_eq!(&b + &a, sum);
    }

    #[test]
    fn addition_is_associative(a in some_resources(0), b in some_resources(0), c in some_resources(1)) {
        prop_assert_eq!((&a + &b) + &c, &a + &(&b + &c));
    }

    #[test]
    fn contained_exactly_when_it_can_be_taken(a in some_resources(0), b in some_resources(0)) {
        match a.checked_sub(&b) {
            Ok(left) => {
                assert_canonical(&left);
                prop_assert!(a.contains(&b));
                prop_assert_eq!(left + &b, a);
            }
            Err(_) => prop_assert!(!a.contains(&b)),
        }
    }

    #[test]
    fn listing_and_storing_lose_nothing(a in some_resources(0), b in some_resources(0)) {
        let sum = &a + &b;
        let listed: Resources = sum.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(&listed, &sum);
        let json = serde_json::to_string(&sum).unwrap();
        prop_assert_eq!(serde_json::from_str::<Resources>(&json).unwrap(), sum);
    }

    #[test]
    fn text_of_plain_resources_can_be_read_again(a in some_resources(0)) {
        let plain = a.filter(|e| !e.key.revocable && e.key.disk.is_none());
        prop_assert_eq!(parse::resources(&plain.to_string(), "*").unwrap(), plain);
    }

    #[test]
    fn parts_make_the_whole(a in some_resources(0)) {
        prop_assert_eq!(a.unreserved() + &a.reserved(), a.clone());
        prop_assert_eq!(a.revocable() + &a.non_revocable(), a.clone());
        prop_assert_eq!(a.shared() + &a.non_shared(), a.clone());
        prop_assert_eq!(a.scalars() + &a.non_scalars(), a.clone());
        assert_canonical(&a.unreserved());
    }
}

//! `FrameworkInfo.offer_filters`: what offers to a role must at least hold, said by the framework.

use std::collections::BTreeMap;

use prost::Message;
use regency_resources::Quantities;
use regency_state::model::FrameworkSpec;
use regency_wire::resources::{InvalidValue, quantities_from_wire};
use regency_wire::v1::OfferFilters;

/// The sets of which an offer must hold one; `None` when the framework leaves that to the operator.
pub(crate) fn minimum(filters: &OfferFilters) -> Result<Option<Vec<Quantities>>, InvalidValue> {
    let Some(minimum) = &filters.min_allocatable_resources else {
        return Ok(None);
    };
    let sets = minimum.quantities.iter();
    sets.map(|set| quantities_from_wire(&set.quantities))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// All of a `FrameworkInfo` that counts here.
#[derive(prost::Message)]
struct Filters {
    #[prost(btree_map = "string, message", tag = "13")]
    offer_filters: BTreeMap<String, OfferFilters>,
}

/// The minimum of each role for which the framework says one.
pub(crate) fn of_framework(spec: &FrameworkSpec) -> BTreeMap<String, Vec<Quantities>> {
    let filters = Filters::decode(spec.info.clone()).unwrap_or_default();
    let filters = filters.offer_filters.into_iter();
    // What could not be read was refused when it came.
    filters
        .filter_map(|(role, filters)| Some((role, minimum(&filters).ok()??)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use regency_wire::v1::FrameworkInfo;

    fn info(json: &str) -> FrameworkInfo {
        let json = format!(r#"{{"user":"u","name":"n","offer_filters":{json}}}"#);
        regency_wire::json::from_slice(json.as_bytes()).expect("it reads")
    }

    #[test]
    fn the_minimum_of_a_role_is_that_of_its_filters() {
        let info = info(
            r#"{"a":{"min_allocatable_resources":{"quantities":[{"quantities":{"gpus":{"value":1}}}]}},
                "b":{"min_allocatable_resources":{}},"c":{}}"#,
        );
        let mut cluster = crate::query::fixture::Cluster::new();
        let id = cluster.subscribe("eng", regency_state::model::Capabilities::default());
        let spec = FrameworkSpec {
            info: info.encode_to_vec().into(),
            ..cluster.state.framework(&id).expect("known").spec.clone()
        };
        let mut gpu = Quantities::new();
        gpu.add("gpus", regency_resources::Milli::from_units(1));
        assert_eq!(
            of_framework(&spec),
            BTreeMap::from([("a".to_owned(), vec![gpu]), ("b".to_owned(), Vec::new())])
        );
    }

    #[test]
    fn an_amount_below_zero_is_refused() {
        let info = info(
            r#"{"a":{"min_allocatable_resources":{"quantities":[{"quantities":{"gpus":{"value":-1}}}]}}}"#,
        );
        assert!(minimum(&info.offer_filters["a"]).is_err());
    }
}

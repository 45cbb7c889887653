//! Executors as frameworks described them.

use prost::Message;
use regency_state::model::Executor;
use regency_wire::v1::{ExecutorId, ExecutorInfo};

use super::resource::{allocation, encode};

/// What the framework said of its executor, with the ids it has whatever was said and its resources
/// as the operator endpoints show them.
pub(crate) fn info(executor: &Executor) -> ExecutorInfo {
    // A description that cannot be read, which no edge lets in, leaves the ids.
    let said = ExecutorInfo::decode(executor.info.clone()).unwrap_or_default();
    let mut resources = encode(&executor.resources);
    for resource in &mut resources {
        resource.allocation_info = Some(allocation(&executor.role));
    }
    ExecutorInfo {
        executor_id: ExecutorId {
            value: executor.key.executor.to_string(),
        },
        framework_id: Some((&executor.key.framework).into()),
        resources,
        ..said
    }
}

#[cfg(test)]
mod tests {
    use regency_state::model::Capabilities;
    use regency_wire::v1::master::response::Type;

    use crate::query::fixture::{Cluster, identity, resources};
    use crate::query::usage::{Usage, total};
    use crate::query::{Live, View, legacy, offer, v1};

    #[test]
    fn an_executor_is_shown_with_its_agent_in_offers_and_in_what_is_used() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:4;mem:64");
        let framework = cluster.subscribe("eng", Capabilities::default());
        cluster.launch_in_executor(&framework, &agent, "t", "cpus:1", "e");
        let offered = cluster.offer(&framework, "eng", &agent, "cpus:1");
        let other = cluster.subscribe("eng", Capabilities::default());
        let others = cluster.offer(&other, "eng", &agent, "cpus:1");

        let executors = |id| {
            let offer = cluster.state.offer(id).expect("it was made");
            let offer = offer::encode(&cluster.state, offer).expect("it can be encoded");
            offer.executor_ids
        };
        assert_eq!(executors(offered)[0].value, "e");
        assert_eq!(executors(others), []);

        let record = cluster.state.framework(&framework).expect("there");
        let used = total(&Usage::of_framework(&cluster.state, record).used);
        assert_eq!(used, resources("cpus:1.5"));

        let (live, identity) = (Live::default(), identity());
        let view = View {
            state: &cluster.state,
            live: &live,
            identity: &identity,
        };
        let shown = v1::answer(&view, Type::GetExecutors).get_executors;
        let shown = shown.expect("its part").executors.remove(0);
        assert_eq!(shown.agent_id.value, agent.as_str());
        assert_eq!(shown.executor_info.name.as_deref(), Some("the runner"));
        let json = serde_json::to_value(legacy::frameworks(&view, None)).expect("JSON");
        let shown = &json["frameworks"][0]["executors"][0];
        assert_eq!(
            (&shown["executor_id"], &shown["slave_id"]),
            (&"e".into(), &agent.as_str().into())
        );
    }
}

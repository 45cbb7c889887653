//! Offer constraints: from the message of the scheduler API to what the allocator evaluates, and
//! which agents they exclude.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use regency_allocator::constraints::{
    AgentFacts, AttributeConstraint, Pattern, PatternError, PatternLimits, Predicate,
    RoleConstraints, Selector,
};
use regency_state::State;
use regency_state::model::{Agent, FrameworkSpec};
use regency_types::AgentId;
use regency_wire::v1::scheduler::attribute_constraint::predicate::Predicate as WirePredicate;
use regency_wire::v1::scheduler::attribute_constraint::selector::{
    PseudoattributeType, Selector as WireSelector,
};
use regency_wire::v1::scheduler::{self, OfferConstraints};
use regency_wire::v1::{Attribute, DomainInfo, value};

/// Most bytes of a framework's constraints in protobuf: they are in its record, in every entry that
/// describes it and in every snapshot.
pub(crate) const BYTES_MAX: usize = 256 * 1024;

/// Constraints by role.
pub(crate) type ByRole = BTreeMap<String, RoleConstraints>;
/// Excluded agents by role; a role without constraints is absent.
pub(crate) type Excluded = BTreeMap<String, BTreeSet<AgentId>>;

/// Why offer constraints are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConstraintsError {
    #[error("Offer constraints have {0} bytes, more than {BYTES_MAX}")]
    TooLarge(usize),
    #[error("Offer constraints for role '{role}' are not valid: {reason}")]
    Role {
        role: String,
        reason: RoleConstraintsError,
    },
}

/// What is wrong with the constraints for one role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoleConstraintsError {
    #[error("'groups' is empty")]
    NoGroups,
    #[error("'attribute_constraints' of a group is empty")]
    EmptyGroup,
    #[error("'selector' of a constraint names nothing that is known")]
    Selector,
    #[error("'predicate' of a constraint names nothing that is known")]
    Predicate,
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Reads constraints; those for roles that a framework does not have as well.
pub(crate) fn compile(
    constraints: &OfferConstraints,
    limits: PatternLimits,
) -> Result<ByRole, ConstraintsError> {
    let size = constraints.encoded_len();
    if size > BYTES_MAX {
        return Err(ConstraintsError::TooLarge(size));
    }
    let mut by_role = ByRole::new();
    for (role, constraints) in &constraints.role_constraints {
        let compiled = of_role(constraints, limits).map_err(|reason| ConstraintsError::Role {
            role: role.clone(),
            reason,
        })?;
        by_role.insert(role.clone(), compiled);
    }
    Ok(by_role)
}

fn of_role(
    constraints: &scheduler::offer_constraints::RoleConstraints,
    limits: PatternLimits,
) -> Result<RoleConstraints, RoleConstraintsError> {
    if constraints.groups.is_empty() {
        return Err(RoleConstraintsError::NoGroups);
    }
    let group = |group: &scheduler::offer_constraints::role_constraints::Group| {
        if group.attribute_constraints.is_empty() {
            return Err(RoleConstraintsError::EmptyGroup);
        }
        let constraints = group.attribute_constraints.iter();
        constraints
            .map(|constraint| of_attribute(constraint, limits))
            .collect()
    };
    let groups = constraints
        .groups
        .iter()
        .map(group)
        .collect::<Result<_, _>>()?;
    Ok(RoleConstraints { groups })
}

fn of_attribute(
    constraint: &scheduler::AttributeConstraint,
    limits: PatternLimits,
) -> Result<AttributeConstraint, RoleConstraintsError> {
    let selector = match &constraint.selector.selector {
        Some(WireSelector::AttributeName(name)) => Selector::Attribute(name.clone()),
        Some(WireSelector::PseudoattributeType(number)) => {
            match PseudoattributeType::try_from(*number) {
                Ok(PseudoattributeType::Hostname) => Selector::Hostname,
                Ok(PseudoattributeType::Region) => Selector::Region,
                Ok(PseudoattributeType::Zone) => Selector::Zone,
                Ok(PseudoattributeType::Unknown) | Err(_) => {
                    return Err(RoleConstraintsError::Selector);
                }
            }
        }
        None => return Err(RoleConstraintsError::Selector),
    };
    let predicate = match &constraint.predicate.predicate {
        Some(WirePredicate::Exists(_)) => Predicate::Exists,
        Some(WirePredicate::NotExists(_)) => Predicate::NotExists,
        Some(WirePredicate::TextEquals(p)) => Predicate::TextEquals(p.value.clone()),
        Some(WirePredicate::TextNotEquals(p)) => Predicate::TextNotEquals(p.value.clone()),
        Some(WirePredicate::TextMatches(p)) => {
            Predicate::TextMatches(Pattern::new(&p.regex, limits)?)
        }
        Some(WirePredicate::TextNotMatches(p)) => {
            Predicate::TextNotMatches(Pattern::new(&p.regex, limits)?)
        }
        None => return Err(RoleConstraintsError::Predicate),
    };
    Ok(AttributeConstraint {
        selector,
        predicate,
    })
}

/// The constraints that a framework has, which were taken when it described itself. The masters may
/// have other limits now: what was taken stays in force.
pub(crate) fn of_framework(spec: &FrameworkSpec) -> Result<ByRole, String> {
    let constraints = OfferConstraints::decode(spec.offer_constraints.clone())
        .map_err(|error| error.to_string())?;
    compile(&constraints, PatternLimits::NONE).map_err(|error| error.to_string())
}

/// All of an `AgentInfo` that constraints speak of.
#[derive(prost::Message)]
struct Description {
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
    #[prost(message, optional, tag = "10")]
    domain: Option<DomainInfo>,
}

/// What constraints can ask of an agent.
pub(crate) fn facts(agent: &Agent) -> AgentFacts {
    let description = Description::decode(agent.spec.info.clone()).unwrap_or_default();
    let place = description.domain.and_then(|domain| domain.fault_domain);
    let (region, zone) = place.map_or((None, None), |place| {
        (Some(place.region.name), Some(place.zone.name))
    });
    let text = |attribute: Attribute| {
        let is_text = attribute.r#type == value::Type::Text as i32;
        let text = attribute.text.filter(|_| is_text).map(|text| text.value);
        (attribute.name, text)
    };
    AgentFacts {
        hostname: agent.spec.hostname.clone(),
        region,
        zone,
        attributes: description.attributes.into_iter().map(text).collect(),
    }
}

/// The agents that a framework's constraints exclude, by role that it has.
pub(crate) fn excluded<'a>(
    spec: &FrameworkSpec,
    constraints: &ByRole,
    agents: impl Iterator<Item = (&'a AgentId, &'a AgentFacts)> + Clone,
) -> Excluded {
    constraints
        .iter()
        .filter(|(role, _)| spec.roles.contains(*role))
        .map(|(role, constraints)| {
            let excluded = agents
                .clone()
                .filter(|(_, facts)| !constraints.admit(facts))
                .map(|(id, _)| id.clone())
                .collect();
            (role.clone(), excluded)
        })
        .collect()
}

/// What constraints can ask of each registered agent.
pub(crate) fn all_facts(state: &State) -> Vec<(AgentId, AgentFacts)> {
    let agents = state.agents().filter(|agent| agent.is_registered());
    agents
        .map(|agent| (agent.id.clone(), facts(agent)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;

    const LIMITS: PatternLimits = PatternLimits {
        max_mem: 4096,
        max_program_size: 100,
    };

    fn read(json: &str) -> OfferConstraints {
        regency_wire::json::from_slice(json.as_bytes()).expect("the message reads")
    }

    fn error(role_constraints: &str) -> String {
        let json = format!(r#"{{"role_constraints":{{"eng":{role_constraints}}}}}"#);
        compile(&read(&json), LIMITS)
            .expect_err("it is refused")
            .to_string()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let within = |text: &str| format!("Offer constraints for role 'eng' are not valid: {text}");
        let constraint = |selector: &str, predicate: &str| {
            format!(
                r#"{{"groups":[{{"attribute_constraints":[{{"selector":{selector},"predicate":{predicate}}}]}}]}}"#
            )
        };
        assert_eq!(error("{}"), within("'groups' is empty"));
        assert_eq!(
            error(r#"{"groups":[{}]}"#),
            within("'attribute_constraints' of a group is empty")
        );
        for selector in ["{}", r#"{"pseudoattribute_type":"UNKNOWN"}"#] {
            assert_eq!(
                error(&constraint(selector, r#"{"exists":{}}"#)),
                within("'selector' of a constraint names nothing that is known")
            );
        }
        let rack = r#"{"attribute_name":"rack"}"#;
        assert_eq!(
            error(&constraint(rack, "{}")),
            within("'predicate' of a constraint names nothing that is known")
        );
        let regex = |regex: &str| {
            constraint(
                rack,
                &format!(r#"{{"text_matches":{{"regex":"{regex}"}}}}"#),
            )
        };
        assert!(error(&regex("(")).contains("'(' cannot be read"));
        assert!(error(&regex("a{101}")).contains("too complex"));
        let large = read(&format!(
            r#"{{"role_constraints":{{"{}":{{}}}}}}"#,
            "r".repeat(BYTES_MAX)
        ));
        assert!(matches!(
            compile(&large, LIMITS),
            Err(ConstraintsError::TooLarge(_))
        ));
    }

    #[test]
    fn an_agent_says_what_is_asked_of_it() {
        let mut cluster = Cluster::new();
        let id = cluster.agent(1, "cpus:2;mem:64");
        let mut agent = cluster.state.agent(&id).expect("an agent").as_ref().clone();
        let domain = r#"{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"z1"}}}"#;
        let attribute = |json: &str| regency_wire::json::from_slice(json.as_bytes()).expect("one");
        agent.spec.info = regency_wire::v1::AgentInfo {
            hostname: "h".to_owned(),
            domain: Some(regency_wire::flags::domain(domain).expect("a domain")),
            attributes: vec![
                attribute(r#"{"name":"rack","type":"TEXT","text":{"value":"r1"}}"#),
                attribute(r#"{"name":"bays","type":"SCALAR","scalar":{"value":3}}"#),
            ],
            ..regency_wire::v1::AgentInfo::default()
        }
        .encode_to_vec()
        .into();
        assert_eq!(
            facts(&agent),
            AgentFacts {
                hostname: agent.spec.hostname.clone(),
                region: Some("eu".into()),
                zone: Some("z1".into()),
                attributes: vec![("rack".into(), Some("r1".into())), ("bays".into(), None)],
            }
        );
    }
}

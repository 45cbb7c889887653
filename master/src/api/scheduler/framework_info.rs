//! From `FrameworkInfo` to what the rules read, with the refusals of Mesos 1.11.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use regency_allocator::constraints::PatternLimits;
use regency_resources::role;
use regency_state::model::{Capabilities, FrameworkSpec};
use regency_types::{DurationMs, FrameworkId, IdError};
use regency_wire::resources::InvalidValue;
use regency_wire::v1::FrameworkInfo;
use regency_wire::v1::framework_info::capability::Type;
use regency_wire::v1::scheduler::OfferConstraints;
use regency_wire::v1::scheduler::call::{Subscribe, UpdateFramework};

use crate::offer_constraints::{self, ByRole, ConstraintsError};
use crate::offer_filters;

/// Why a subscription cannot be; told as an ERROR event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum InfoError {
    #[error(transparent)]
    Id(#[from] IdError),
    #[error("The framework failover_timeout ({0}) is invalid")]
    FailoverTimeout(String),
    #[error("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable")]
    RoleWithMultiRole,
    #[error("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable")]
    RolesWithoutMultiRole,
    #[error("'FrameworkInfo.roles' contains duplicate items: {{ {0} }}")]
    DuplicateRole(String),
    #[error("'FrameworkInfo.{field}' contains invalid role: {error}")]
    BadRole {
        field: &'static str,
        error: role::Error,
    },
    #[error("Suppressed role '{0}' is not contained in the list of roles")]
    SuppressedRole(String),
    #[error("'FrameworkInfo.offer_filters' for role '{role}' is not valid: {error}")]
    OfferFilters {
        role: String,
        error: Box<InvalidValue>,
    },
    #[error(transparent)]
    Constraints(#[from] ConstraintsError),
}

/// What a framework says of itself, with SUBSCRIBE or UPDATE_FRAMEWORK.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) info: &'a FrameworkInfo,
    pub(super) suppressed: &'a [String],
    pub(super) constraints: Option<&'a OfferConstraints>,
}

impl<'a> From<&'a Subscribe> for Said<'a> {
    fn from(call: &'a Subscribe) -> Self {
        Self {
            info: &call.framework_info,
            suppressed: &call.suppressed_roles,
            constraints: call.offer_constraints.as_ref(),
        }
    }
}

impl<'a> From<&'a UpdateFramework> for Said<'a> {
    fn from(call: &'a UpdateFramework) -> Self {
        Self {
            info: &call.framework_info,
            suppressed: &call.suppressed_roles,
            constraints: call.offer_constraints.as_ref(),
        }
    }
}

/// The same, read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) framework: Option<FrameworkId>,
    pub(super) spec: FrameworkSpec,
    /// Those in `spec`, to be evaluated.
    pub(super) constraints: ByRole,
}

/// Reads what a framework says of itself.
pub(super) fn read(said: Said<'_>, limits: PatternLimits) -> Result<Parsed, InfoError> {
    let info = said.info;
    let framework = info
        .id
        .as_ref()
        .map(|id| FrameworkId::new(&id.value))
        .transpose()?;
    let capabilities = capabilities(info);
    let roles = roles(info, capabilities.multi_role)?;
    if let Some(role) = said.suppressed.iter().find(|r| !roles.contains(*r)) {
        return Err(InfoError::SuppressedRole(role.clone()));
    }
    for (role, filters) in &info.offer_filters {
        offer_filters::minimum(filters).map_err(|error| InfoError::OfferFilters {
            role: role.clone(),
            error: Box::new(error),
        })?;
    }
    let constraints = said
        .constraints
        .map(|constraints| offer_constraints::compile(constraints, limits))
        .transpose()?
        .unwrap_or_default();
    Ok(Parsed {
        framework,
        constraints,
        spec: FrameworkSpec {
            info: Bytes::from(info.encode_to_vec()),
            name: info.name.clone(),
            user: info.user.clone(),
            principal: info.principal.clone(),
            roles,
            failover_timeout: failover_timeout(info)?,
            checkpoint: info.checkpoint.unwrap_or(false),
            capabilities,
            offer_constraints: said
                .constraints
                .map(|constraints| Bytes::from(constraints.encode_to_vec()))
                .unwrap_or_default(),
        },
    })
}

/// Mesos takes a negative timeout for none, and refuses one that does not fit its durations.
fn failover_timeout(info: &FrameworkInfo) -> Result<DurationMs, InfoError> {
    let seconds = info.failover_timeout.unwrap_or(0.0);
    if seconds < 0.0 {
        return Ok(DurationMs(0));
    }
    DurationMs::from_secs_f64(seconds)
        .ok_or_else(|| InfoError::FailoverTimeout(general_float(seconds)))
}

/// A number as C's `%g` writes large ones, which is how the message reads in Mesos: `1e+40`.
fn general_float(number: f64) -> String {
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

fn roles(info: &FrameworkInfo, multi_role: bool) -> Result<BTreeSet<String>, InfoError> {
    let check = |field, name: &str| {
        role::validate(name).map_err(|error| InfoError::BadRole { field, error })
    };
    if !multi_role {
        if !info.roles.is_empty() {
            return Err(InfoError::RolesWithoutMultiRole);
        }
        let role = info.role.as_deref().unwrap_or("*");
        check("role", role)?;
        return Ok(BTreeSet::from([role.to_owned()]));
    }
    // The default of the old field counts as absent.
    if info.role.as_deref().is_some_and(|role| role != "*") {
        return Err(InfoError::RoleWithMultiRole);
    }
    let mut roles = BTreeSet::new();
    for role in &info.roles {
        if !roles.insert(role.clone()) {
            return Err(InfoError::DuplicateRole(role.clone()));
        }
    }
    for role in &roles {
        check("roles", role)?;
    }
    Ok(roles)
}

fn capabilities(info: &FrameworkInfo) -> Capabilities {
    let mut capabilities = Capabilities::default();
    for capability in &info.capabilities {
        match capability.r#type() {
            Type::PartitionAware => capabilities.partition_aware = true,
            Type::MultiRole => capabilities.multi_role = true,
            Type::GpuResources => capabilities.gpu_resources = true,
            Type::RevocableResources => capabilities.revocable_resources = true,
            Type::SharedResources => capabilities.shared_resources = true,
            Type::ReservationRefinement => capabilities.reservation_refinement = true,
            Type::TaskKillingState => capabilities.task_killing_state = true,
            Type::RegionAware => capabilities.region_aware = true,
            _ => {}
        }
    }
    capabilities
}

#[cfg(test)]
mod tests {
    use super::*;
    use regency_wire::v1::framework_info::Capability;

    fn subscribe(change: impl FnOnce(&mut FrameworkInfo)) -> Result<Parsed, InfoError> {
        let multi_role = Capability {
            r#type: Some(Type::MultiRole as i32),
        };
        let mut subscribe = Subscribe {
            framework_info: FrameworkInfo {
                user: "root".into(),
                name: "f".into(),
                roles: vec!["golden".into()],
                capabilities: vec![multi_role],
                ..FrameworkInfo::default()
            },
            ..Subscribe::default()
        };
        change(&mut subscribe.framework_info);
        read(Said::from(&subscribe), PatternLimits::NONE)
    }

    /// The texts are those of captured sessions.
    #[test]
    fn refusals_read_as_those_of_mesos() {
        let text =
            |change: fn(&mut FrameworkInfo)| subscribe(change).expect_err("refused").to_string();
        assert_eq!(
            text(|i| i.failover_timeout = Some(1e40)),
            "The framework failover_timeout (1e+40) is invalid"
        );
        assert_eq!(
            text(|i| i.role = Some("x".into())),
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
        );
        assert_eq!(
            text(|i| i.roles = vec!["a".into(), "a".into()]),
            "'FrameworkInfo.roles' contains duplicate items: { a }"
        );
        assert_eq!(
            text(|i| i.roles = vec!["a b".into()]),
            "'FrameworkInfo.roles' contains invalid role: Role component 'a b' is invalid because \
             it contains backspace or whitespace"
        );
        assert_eq!(
            text(|i| i.roles = vec!["/a".into()]),
            "'FrameworkInfo.roles' contains invalid role: Role '/a' cannot start with a slash"
        );
        assert_eq!(
            text(|i| i.capabilities.clear()),
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
        );
        assert_eq!(
            text(|i| i.id = Some(regency_wire::v1::FrameworkId {
                value: "a/b".into()
            })),
            "'a/b' contains invalid characters"
        );
    }

    #[test]
    fn a_negative_failover_timeout_is_none() {
        let parsed = subscribe(|i| i.failover_timeout = Some(-1.0)).expect("accepted");
        assert_eq!(parsed.spec.failover_timeout, DurationMs(0));
    }

    #[test]
    fn without_multi_role_the_one_role_counts() {
        let parsed = subscribe(|i| {
            i.capabilities.clear();
            i.roles.clear();
        })
        .expect("accepted");
        assert_eq!(parsed.spec.roles, BTreeSet::from(["*".to_owned()]));
    }
}

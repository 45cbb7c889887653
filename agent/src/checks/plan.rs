//! From a task's description to what is checked, and how often.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use regency_agent_core::{CheckStatus, HealthRule};
use regency_types::DurationMs;
use regency_wire::v1::network_info::Protocol;
use regency_wire::v1::{CheckInfo, CommandInfo, HealthCheck, TaskInfo, check_info, health_check};
use regency_wire::validate::task as validate;

/// Defaults of Mesos, in seconds.
const DELAY_SECONDS: f64 = 15.0;
const INTERVAL_SECONDS: f64 = 10.0;
const TIMEOUT_SECONDS: f64 = 20.0;
const GRACE_SECONDS: f64 = 10.0;
const CONSECUTIVE_FAILURES: u32 = 3;

/// What is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Probe {
    /// Runs this beside the task.
    Command(Box<CommandInfo>),
    /// Asks for this.
    Http(String),
    /// Connects to this.
    Tcp(SocketAddr),
}

/// One check: what is looked at, and when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) probe: Probe,
    /// Between the start of the task and the first look.
    pub(crate) delay: Duration,
    /// Between two looks.
    pub(crate) interval: Duration,
    /// How long a look may take; longer has failed.
    pub(crate) timeout: Duration,
}

/// Everything that is checked of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plans {
    pub(crate) health: Option<(Plan, HealthRule)>,
    /// With its status before the first result.
    pub(crate) check: Option<(Plan, CheckStatus)>,
}

impl Plans {
    /// What is checked of `task`.
    ///
    /// # Errors
    /// What is wrong with it, for the message of a TASK_ERROR.
    pub(crate) fn of_task(task: &TaskInfo) -> Result<Self, String> {
        Ok(Self {
            health: task.health_check.as_deref().map(health).transpose()?,
            check: task.check.as_deref().map(check).transpose()?,
        })
    }
}

fn health(health: &HealthCheck) -> Result<(Plan, HealthRule), String> {
    let missing = || "the health check is not complete".to_owned();
    let probe = match validate::health_check(health)? {
        health_check::Type::Unknown => return Err(missing()),
        health_check::Type::Command => {
            Probe::Command(Box::new(health.command.clone().ok_or_else(missing)?))
        }
        health_check::Type::Http => {
            let http = health.http.as_ref().ok_or_else(missing)?;
            let at = loopback(http.protocol(), http.port);
            let scheme = http.scheme.as_deref().unwrap_or("http");
            Probe::Http(format!("{scheme}://{at}{}", path(http.path.as_deref())))
        }
        health_check::Type::Tcp => {
            let tcp = health.tcp.as_ref().ok_or_else(missing)?;
            Probe::Tcp(loopback(tcp.protocol(), tcp.port))
        }
    };
    let grace = seconds(health.grace_period_seconds, GRACE_SECONDS);
    let rule = HealthRule {
        consecutive_failures: health.consecutive_failures.unwrap_or(CONSECUTIVE_FAILURES),
        grace: DurationMs(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
    };
    let plan = Plan {
        probe,
        delay: seconds(health.delay_seconds, DELAY_SECONDS),
        interval: seconds(health.interval_seconds, INTERVAL_SECONDS),
        timeout: seconds(health.timeout_seconds, TIMEOUT_SECONDS),
    };
    Ok((plan, rule))
}

fn check(check: &CheckInfo) -> Result<(Plan, CheckStatus), String> {
    let missing = || "the check is not complete".to_owned();
    let (probe, status) = match validate::check(check)? {
        check_info::Type::Unknown => return Err(missing()),
        check_info::Type::Command => {
            let command = check.command.clone().ok_or_else(missing)?.command;
            (
                Probe::Command(Box::new(command)),
                CheckStatus::Command(None),
            )
        }
        check_info::Type::Http => {
            let http = check.http.as_ref().ok_or_else(missing)?;
            let at = loopback(Protocol::IPv4, http.port);
            let url = format!("http://{at}{}", path(http.path.as_deref()));
            (Probe::Http(url), CheckStatus::Http(None))
        }
        check_info::Type::Tcp => {
            let tcp = check.tcp.as_ref().ok_or_else(missing)?;
            let at = loopback(Protocol::IPv4, tcp.port);
            (Probe::Tcp(at), CheckStatus::Tcp(None))
        }
    };
    let plan = Plan {
        probe,
        delay: seconds(check.delay_seconds, DELAY_SECONDS),
        interval: seconds(check.interval_seconds, INTERVAL_SECONDS),
        timeout: seconds(check.timeout_seconds, TIMEOUT_SECONDS),
    };
    Ok((plan, status))
}

/// Tasks share the network of the agent's machine.
fn loopback(protocol: Protocol, port: u32) -> SocketAddr {
    let ip = match protocol {
        Protocol::IPv4 => IpAddr::from(Ipv4Addr::LOCALHOST),
        Protocol::IPv6 => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, u16::try_from(port).unwrap_or_default())
}

fn path(path: Option<&str>) -> &str {
    path.unwrap_or("/")
}

fn seconds(given: Option<f64>, default: f64) -> Duration {
    Duration::try_from_secs_f64(given.unwrap_or(default)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use regency_wire::{ContentType, decode};

    use super::*;

    fn plans(part: &str) -> Result<Plans, String> {
        let json = format!(
            r#"{{"name":"t","task_id":{{"value":"t"}},"agent_id":{{"value":"a"}},{part}}}"#
        );
        let task: TaskInfo = decode(ContentType::Json, json.as_bytes()).expect("it decodes");
        Plans::of_task(&task)
    }

    #[test]
    fn what_is_not_said_is_as_in_mesos() {
        let plans =
            plans(r#""health_check":{"http":{"port":80}},"check":{"type":"TCP","tcp":{"port":9}}"#);
        let plans = plans.expect("good checks");
        let (plan, rule) = plans.health.expect("a health check");
        assert_eq!(plan.probe, Probe::Http("http://127.0.0.1:80/".to_owned()));
        let seconds = |span: Duration| span.as_secs();
        let spans = (
            seconds(plan.delay),
            seconds(plan.interval),
            seconds(plan.timeout),
        );
        assert_eq!(spans, (15, 10, 20));
        assert_eq!(
            (rule.consecutive_failures, rule.grace),
            (3, DurationMs(10_000))
        );
        let (plan, status) = plans.check.expect("a check");
        assert_eq!(plan.probe, Probe::Tcp(([127, 0, 0, 1], 9).into()));
        assert_eq!(status, CheckStatus::Tcp(None));
    }

    #[test]
    fn what_is_said_counts() {
        let plans = plans(
            r#""health_check":{"type":"HTTP","http":{"protocol":"IPv6","scheme":"https","port":8,
               "path":"/a?b=c"},"delay_seconds":0,"interval_seconds":0.5,"timeout_seconds":1,
               "consecutive_failures":7,"grace_period_seconds":0.25}"#,
        );
        let (plan, rule) = plans.expect("good checks").health.expect("a health check");
        assert_eq!(plan.probe, Probe::Http("https://[::1]:8/a?b=c".to_owned()));
        assert_eq!(
            (plan.delay, plan.interval),
            (Duration::ZERO, Duration::from_millis(500))
        );
        assert_eq!(
            (rule.consecutive_failures, rule.grace),
            (7, DurationMs(250))
        );
        assert!(plans_without_port().contains("port"));
    }

    fn plans_without_port() -> String {
        plans(r#""check":{"type":"HTTP","http":{"port":0}}"#).expect_err("no port")
    }
}

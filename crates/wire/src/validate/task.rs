//! What the parts of a task's description must satisfy by themselves. The masters refuse a task
//! that does not; an agent asks again, for the types, and because it trusts nobody's bytes.

use crate::v1::environment::variable::Type as VariableType;
use crate::v1::{CheckInfo, CommandInfo, Environment, HealthCheck, check_info, health_check};

/// Whether a command can be run.
///
/// # Errors
/// What is wrong, for the message of a TASK_ERROR.
pub fn command(command: &CommandInfo) -> Result<(), String> {
    let shell = command.shell.unwrap_or(true);
    if shell && command.value.as_deref().is_none_or(str::is_empty) {
        return Err("Shell command 'value' is not specified".to_owned());
    }
    if !shell && command.value.is_none() && command.arguments.is_empty() {
        return Err("Command has neither 'value' nor 'arguments'".to_owned());
    }
    for uri in &command.uris {
        if uri.value.trim().is_empty() {
            return Err("A URI has no 'value'".to_owned());
        }
        if uri.output_file.as_deref().is_some_and(leaves) {
            return Err(format!(
                "'output_file' of the URI '{}' is not a path within the sandbox",
                uri.value
            ));
        }
    }
    command.environment.as_ref().map_or(Ok(()), environment)
}

/// Whether a path is not one below a directory.
fn leaves(path: &str) -> bool {
    use std::path::{Component, Path};
    let mut components = Path::new(path).components();
    path.is_empty()
        || !components.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn environment(environment: &Environment) -> Result<(), String> {
    for variable in &environment.variables {
        let name = &variable.name;
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!("Environment variable has the bad name '{name}'"));
        }
        if variable.r#type() == VariableType::Secret || variable.secret.is_some() {
            return Err(format!(
                "Environment variable '{name}' is a secret; secrets are not supported, \
                 use a 'value'"
            ));
        }
        match &variable.value {
            None => return Err(format!("Environment variable '{name}' has no 'value'")),
            Some(value) if value.contains('\0') => {
                return Err(format!(
                    "Environment variable '{name}' contains a zero byte"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The type of a complete health check; one that names none is of the type whose part it has.
///
/// # Errors
/// What is wrong, for the message of a TASK_ERROR.
pub fn health_check(check: &HealthCheck) -> Result<health_check::Type, String> {
    use health_check::Type;
    let inferred = match (&check.command, &check.http, &check.tcp) {
        (Some(_), None, None) => Some(Type::Command),
        (None, Some(_), None) => Some(Type::Http),
        (None, None, Some(_)) => Some(Type::Tcp),
        _ => None,
    };
    let named = match check.r#type {
        Some(number) => Type::try_from(number).ok(),
        None => inferred,
    };
    let kind = named.unwrap_or(Type::Unknown);
    match kind {
        Type::Unknown => {
            return Err("'health_check.type' is not one of COMMAND, HTTP and TCP".to_owned());
        }
        Type::Command => {
            let part = part(check.command.as_ref(), "health_check.command")?;
            command(part).map_err(|error| format!("'health_check.command': {error}"))?;
        }
        Type::Http => {
            let http = part(check.http.as_ref(), "health_check.http")?;
            port(http.port, "health_check.http.port")?;
            path(http.path.as_deref(), "health_check.http.path")?;
            let scheme = http.scheme.as_deref().unwrap_or("http");
            if scheme != "http" && scheme != "https" {
                return Err(format!(
                    "'health_check.http.scheme' is '{scheme}', not http or https"
                ));
            }
        }
        Type::Tcp => {
            let tcp = part(check.tcp.as_ref(), "health_check.tcp")?;
            port(tcp.port, "health_check.tcp.port")?;
        }
    }
    for (value, field) in [
        (check.delay_seconds, "health_check.delay_seconds"),
        (check.interval_seconds, "health_check.interval_seconds"),
        (check.timeout_seconds, "health_check.timeout_seconds"),
        (
            check.grace_period_seconds,
            "health_check.grace_period_seconds",
        ),
    ] {
        span(value, field)?;
    }
    Ok(kind)
}

/// The type of a complete check, which must be named.
///
/// # Errors
/// What is wrong, for the message of a TASK_ERROR.
pub fn check(check: &CheckInfo) -> Result<check_info::Type, String> {
    use check_info::Type;
    let kind = check.r#type();
    match kind {
        Type::Unknown => {
            return Err("'check.type' is not one of COMMAND, HTTP and TCP".to_owned());
        }
        Type::Command => {
            let part = part(check.command.as_ref(), "check.command")?;
            command(&part.command).map_err(|error| format!("'check.command': {error}"))?;
        }
        Type::Http => {
            let http = part(check.http.as_ref(), "check.http")?;
            port(http.port, "check.http.port")?;
            path(http.path.as_deref(), "check.http.path")?;
        }
        Type::Tcp => {
            let tcp = part(check.tcp.as_ref(), "check.tcp")?;
            port(tcp.port, "check.tcp.port")?;
        }
    }
    for (value, field) in [
        (check.delay_seconds, "check.delay_seconds"),
        (check.interval_seconds, "check.interval_seconds"),
        (check.timeout_seconds, "check.timeout_seconds"),
    ] {
        span(value, field)?;
    }
    Ok(kind)
}

fn part<'a, T>(part: Option<&'a T>, field: &str) -> Result<&'a T, String> {
    part.ok_or_else(|| format!("'{field}' is missing, which the type of the check asks for"))
}

fn port(port: u32, field: &str) -> Result<(), String> {
    match port {
        1..=65_535 => Ok(()),
        _ => Err(format!("'{field}' is {port}, which is no port")),
    }
}

fn path(path: Option<&str>, field: &str) -> Result<(), String> {
    match path {
        Some(path) if !path.starts_with('/') => Err(format!(
            "'{field}' is '{path}', which does not begin with '/'"
        )),
        _ => Ok(()),
    }
}

/// The longest span in seconds: some 30,000 years, and safe to compute with.
const SECONDS_MAX: f64 = 1e12;

fn span(seconds: Option<f64>, field: &str) -> Result<(), String> {
    match seconds {
        Some(seconds) if !(0.0..=SECONDS_MAX).contains(&seconds) => {
            Err(format!("'{field}' is {seconds}, which is no span of time"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, decode};

    fn health(json: &str) -> Result<health_check::Type, String> {
        health_check(&decode(ContentType::Json, json.as_bytes()).expect("it decodes"))
    }

    fn checked(json: &str) -> Result<check_info::Type, String> {
        check(&decode(ContentType::Json, json.as_bytes()).expect("it decodes"))
    }

    #[test]
    fn complete_checks_have_a_type() {
        use health_check::Type;
        for (json, kind) in [
            (
                r#"{"type":"COMMAND","command":{"value":"true"}}"#,
                Type::Command,
            ),
            (r#"{"command":{"value":"true"}}"#, Type::Command),
            (
                r#"{"http":{"port":80,"path":"/x","scheme":"https"}}"#,
                Type::Http,
            ),
            (
                r#"{"type":"TCP","tcp":{"port":1},"delay_seconds":0}"#,
                Type::Tcp,
            ),
        ] {
            assert_eq!(health(json), Ok(kind), "{json}");
        }
        let tcp = checked(r#"{"type":"TCP","tcp":{"port":1}}"#);
        assert_eq!(tcp, Ok(check_info::Type::Tcp));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, field) in [
            ("{}", "health_check.type"),
            (r#"{"type":"UNKNOWN"}"#, "health_check.type"),
            (r#"{"type":"HTTP"}"#, "health_check.http"),
            (
                r#"{"http":{"port":1},"tcp":{"port":1}}"#,
                "health_check.type",
            ),
            (r#"{"http":{"port":0}}"#, "health_check.http.port"),
            (r#"{"tcp":{"port":65536}}"#, "health_check.tcp.port"),
            (
                r#"{"http":{"port":1,"path":"x"}}"#,
                "health_check.http.path",
            ),
            (
                r#"{"http":{"port":1,"scheme":"ftp"}}"#,
                "health_check.http.scheme",
            ),
            (r#"{"command":{}}"#, "health_check.command"),
            (
                r#"{"tcp":{"port":1},"delay_seconds":-1}"#,
                "health_check.delay_seconds",
            ),
            (
                r#"{"tcp":{"port":1},"timeout_seconds":1e300}"#,
                "health_check.timeout_seconds",
            ),
        ] {
            let error = health(json).expect_err(json);
            assert!(error.contains(&format!("'{field}'")), "{json}: {error}");
        }
        for (json, field) in [
            ("{}", "check.type"),
            (r#"{"type":"COMMAND"}"#, "check.command"),
            (
                r#"{"type":"HTTP","http":{"port":1,"path":""}}"#,
                "check.http.path",
            ),
            (
                r#"{"type":"TCP","tcp":{"port":1},"interval_seconds":-0.5}"#,
                "check.interval_seconds",
            ),
        ] {
            let error = checked(json).expect_err(json);
            assert!(error.contains(&format!("'{field}'")), "{json}: {error}");
        }
    }

    #[test]
    fn a_command_is_complete_and_its_variables_are_plain_values() {
        let run =
            |json: &str| command(&decode(ContentType::Json, json.as_bytes()).expect("it decodes"));
        for good in [
            r#"{"value":"true"}"#,
            r#"{"shell":false,"arguments":["true"]}"#,
            r#"{"value":"x","environment":{"variables":[{"name":"A","value":""}]}}"#,
        ] {
            assert_eq!(run(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            (r#"{"value":""}"#, "'value'"),
            (r#"{"shell":false}"#, "'arguments'"),
            (r#"{"value":"x","uris":[{"value":" "}]}"#, "no 'value'"),
            (
                r#"{"value":"x","uris":[{"value":"/a","output_file":"../b"}]}"#,
                "within the sandbox",
            ),
            (
                r#"{"value":"x","uris":[{"value":"/a","output_file":"/b"}]}"#,
                "within the sandbox",
            ),
            (
                r#"{"value":"x","environment":{"variables":[{"name":"","value":""}]}}"#,
                "name ''",
            ),
            (
                r#"{"value":"x","environment":{"variables":[{"name":"A"}]}}"#,
                "'A' has no",
            ),
            (
                r#"{"value":"x","environment":{"variables":[{"name":"A","type":"SECRET",
                   "secret":{"type":"VALUE","value":{"data":"QQ=="}}}]}}"#,
                "'A' is a secret",
            ),
        ] {
            let error = run(bad).expect_err(bad);
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}

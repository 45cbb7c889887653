//! `regency quota`: what is kept for roles, and what they may have at most.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Common, Operator, block_on, pair, print, table};

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Show the quota of each role that has one, with what the role has of it.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Give a top-level role this quota instead of the one it has.
    Set {
        /// The role; its quota is that of the roles below it as well.
        #[arg(value_name = "ROLE")]
        role: String,
        /// What is kept for it, such as `cpus:4,mem:1024`.
        #[arg(long, value_name = "AMOUNTS", value_delimiter = ',', value_parser = amount)]
        guarantee: Vec<(String, f64)>,
        /// The most it may have, such as `cpus:8`; what is not named is unlimited.
        #[arg(
            long,
            value_name = "AMOUNTS",
            value_delimiter = ',',
            value_parser = amount,
            required_unless_present = "guarantee"
        )]
        limit: Vec<(String, f64)>,
        /// Set it though the cluster has less than all guarantees, or the role more than the limit.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Take the quota of a role away.
    Remove {
        /// The role.
        #[arg(value_name = "ROLE")]
        role: String,
        #[command(flatten)]
        common: Common,
    },
}

fn amount(text: &str) -> Result<(String, f64), String> {
    pair(text, ':')
}

/// Carries out what is asked for. A refusal is an error.
pub(crate) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    block_on(act(flags.action))
}

async fn act(action: Action) -> anyhow::Result<()> {
    match action {
        Action::List { common } => show(&common).await,
        Action::Set {
            role,
            guarantee,
            limit,
            force,
            common,
        } => {
            let config = json!({
                "role": role,
                "guarantees": amounts("guarantee", &guarantee)?,
                "limits": amounts("limit", &limit)?,
            });
            change(&common, &config, force).await
        }
        Action::Remove { role, common } => {
            let roles: Roles = read(&common).await?;
            anyhow::ensure!(
                roles.with_quota().any(|known| known.name == role),
                "role '{role}' has no quota; look at 'regency quota list'"
            );
            change(&common, &json!({ "role": role }), false).await
        }
    }
}

/// As the API has them. A name given twice is a slip.
fn amounts(flag: &str, given: &[(String, f64)]) -> anyhow::Result<Value> {
    let mut map = serde_json::Map::new();
    for (name, amount) in given {
        let before = map.insert(name.clone(), json!({ "value": amount }));
        anyhow::ensure!(before.is_none(), "--{flag} names '{name}' twice");
    }
    Ok(Value::Object(map))
}

async fn change(common: &Common, config: &Value, force: bool) -> anyhow::Result<()> {
    let call = json!({
        "type": "UPDATE_QUOTA",
        "update_quota": {"force": force, "quota_configs": [config]},
    });
    Operator::new(&common.masters).write(&call).await?;
    show(common).await
}

async fn read<T: serde::de::DeserializeOwned>(common: &Common) -> anyhow::Result<T> {
    let roles = Operator::new(&common.masters).read("/roles").await?;
    Ok(serde_json::from_value(roles)?)
}

async fn show(common: &Common) -> anyhow::Result<()> {
    if common.json {
        return print(Operator::new(&common.masters).read("/quota").await?);
    }
    let roles: Roles = read(common).await?;
    if roles.with_quota().next().is_none() {
        return print("no role has a quota");
    }
    print(shown(&roles))
}

/// `/roles`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Roles {
    roles: Vec<Role>,
}

#[derive(Debug, Deserialize)]
struct Role {
    name: String,
    quota: Quota,
    offered: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
struct Quota {
    guarantee: BTreeMap<String, f64>,
    limit: BTreeMap<String, f64>,
    consumed: BTreeMap<String, f64>,
}

impl Roles {
    fn with_quota(&self) -> impl Iterator<Item = &Role> {
        let has_quota =
            |role: &&Role| !role.quota.guarantee.is_empty() || !role.quota.limit.is_empty();
        self.roles.iter().filter(has_quota)
    }
}

fn shown(roles: &Roles) -> String {
    let mut rows = Vec::new();
    for role in roles.with_quota() {
        let quota = &role.quota;
        let names: BTreeSet<&String> = quota.guarantee.keys().chain(quota.limit.keys()).collect();
        for (n, name) in names.into_iter().enumerate() {
            let of = |amounts: &BTreeMap<String, f64>, none: &str| {
                amounts
                    .get(name)
                    .map_or_else(|| none.to_owned(), f64::to_string)
            };
            rows.push([
                if n == 0 {
                    role.name.clone()
                } else {
                    String::new()
                },
                name.clone(),
                of(&quota.guarantee, "-"),
                of(&quota.limit, "-"),
                of(&quota.consumed, "0"),
                of(&role.offered, "0"),
            ]);
        }
    }
    let header = [
        "role",
        "resource",
        "guarantee",
        "limit",
        "consumed",
        "offered",
    ];
    table(header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_with_a_quota_are_shown_with_what_they_have_of_it() {
        let roles: Roles = serde_json::from_value(json!({"roles": [
            {"name": "eng", "quota": {"role": "eng", "guarantee": {"cpus": 1.5},
                "limit": {"cpus": 4.0, "mem": 0.0}, "consumed": {"cpus": 2.0, "ports": 3.0}},
                "offered": {"cpus": 0.5}, "weight": 1.0},
            {"name": "other", "quota": {"role": "other", "guarantee": {}, "limit": {},
                "consumed": {"cpus": 1.0}}, "offered": {}},
        ]}))
        .expect("an answer");
        let text = shown(&roles);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[1..],
            [
                vec!["eng", "cpus", "1.5", "4", "2", "0.5"],
                vec!["mem", "-", "0", "0", "0"]
            ]
        );
        let long = "a-role-with-a-rather-long-name-and-more".repeat(3);
        let wide = shown(&Roles {
            roles: vec![Role {
                name: long,
                ..roles.roles.into_iter().next().expect("two")
            }],
        });
        for line in wide.lines() {
            assert!(
                line.chars().count() <= usize::from(super::super::WIDTH),
                "{line}"
            );
        }
    }

    #[test]
    fn a_resource_named_twice_is_a_slip() {
        let twice = [("cpus".to_owned(), 1.0), ("cpus".to_owned(), 2.0)];
        let error = amounts("limit", &twice).expect_err("twice");
        assert_eq!(error.to_string(), "--limit names 'cpus' twice");
    }
}

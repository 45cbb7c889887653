//! `regency agents`: the agents of a running cluster, and operators' word on them.
//!
//! Everything is a call of the v1 operator API, which any other tool could make as well.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};
use regency_client::Http;
use serde_json::{Value, json};

/// Reads wait for everything that was done before, whoever answers them.
const PATH: &str = "/api/v1?consistent=true";
/// How long a master may take for a call: a change waits for its commit.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long somebody who answers is looked for.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Action,
}

/// What every action takes.
#[derive(Debug, Clone, clap::Args)]
struct Common {
    /// Masters to ask, `HOST:HTTP_PORT` separated by commas; one that lives is enough.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        required = true,
        env = "REGENCY_MASTERS"
    )]
    masters: Vec<String>,
}

/// One agent.
#[derive(Debug, Clone, clap::Args)]
struct One {
    /// Its id.
    #[arg(value_name = "AGENT_ID")]
    agent: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Show the agents that count.
    List {
        /// Print the answer of GET_AGENTS instead of a table.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Offer nothing on an agent any more and kill what runs there.
    Drain {
        /// The longest grace of a task; each task's own when left out.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        max_grace: Option<Duration>,
        /// Remove the agent for good once it is empty.
        #[arg(long)]
        mark_gone: bool,
        /// Wait until it is empty.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        one: One,
    },
    /// Offer nothing on an agent any more; what runs there goes on.
    Deactivate {
        #[command(flatten)]
        one: One,
    },
    /// Use an agent again that was deactivated or drained.
    Reactivate {
        #[command(flatten)]
        one: One,
    },
    /// Remove an agent that will never come back; should it, it must end what it runs.
    Gone {
        #[command(flatten)]
        one: One,
    },
}

/// Carries out what is asked for. A refusal is an error.
pub(crate) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(act(flags.action))?;
    Ok(ExitCode::SUCCESS)
}

async fn act(action: Action) -> anyhow::Result<()> {
    match action {
        Action::List { json, common } => {
            let answer = Masters::new(&common)
                .call(&json!({"type": "GET_AGENTS"}))
                .await?;
            let mut out = std::io::stdout().lock();
            if json {
                writeln!(out, "{answer}")?;
            } else {
                writeln!(out, "{}", table(&answer))?;
            }
            Ok(())
        }
        Action::Drain {
            max_grace,
            mark_gone,
            wait,
            one,
        } => {
            let masters = Masters::new(&one.common);
            let mut call = about("DRAIN_AGENT", &one.agent);
            call["drain_agent"]["mark_gone"] = json!(mark_gone);
            if let Some(grace) = max_grace {
                call["drain_agent"]["max_grace_period"] =
                    json!({"seconds": grace.as_secs(), "nanos": grace.subsec_nanos()});
            }
            masters.call(&call).await?;
            if wait {
                masters.drained(&one.agent).await?;
                say(&format!("agent {} is empty", one.agent))
            } else {
                say(&format!(
                    "agent {} is being drained; look at 'regency agents list'",
                    one.agent
                ))
            }
        }
        Action::Deactivate { one } => tell("DEACTIVATE_AGENT", &one, "is deactivated").await,
        Action::Reactivate { one } => tell("REACTIVATE_AGENT", &one, "is in use").await,
        Action::Gone { one } => tell("MARK_AGENT_GONE", &one, "is gone for good").await,
    }
}

async fn tell(call: &str, one: &One, done: &str) -> anyhow::Result<()> {
    let masters = Masters::new(&one.common);
    masters.call(&about(call, &one.agent)).await?;
    say(&format!("agent {} {done}", one.agent))
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

fn about(call: &str, agent: &str) -> Value {
    json!({"type": call, call.to_lowercase(): {"agent_id": {"value": agent}}})
}

/// The masters that are asked.
struct Masters {
    addresses: Vec<String>,
    http: Http,
}

impl Masters {
    fn new(common: &Common) -> Self {
        let named = common.masters.iter().map(|master| master.trim().to_owned());
        Self {
            addresses: named.filter(|master| !master.is_empty()).collect(),
            http: Http::default(),
        }
    }

    /// Makes a call at whoever can answer it. All calls may be repeated.
    async fn call(&self, call: &Value) -> anyhow::Result<Value> {
        let headers = [("content-type", "application/json")];
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut why = "no master was named".to_owned();
        let mut may_be_done = false;
        loop {
            for first in &self.addresses {
                let mut address = first.clone();
                // To the leader, and to the next one if it changed meanwhile.
                for _ in 0..2 {
                    let body = call.to_string().into();
                    let sent = self.http.post(&address, PATH, &headers, body, CALL_TIMEOUT);
                    let answer = match sent.await {
                        Ok(answer) => answer,
                        Err(error) => {
                            may_be_done |= !error.was_not_sent();
                            why = error.to_string();
                            break;
                        }
                    };
                    match answer.status.as_u16() {
                        200 => {
                            return Ok(serde_json::from_slice(&answer.body).unwrap_or_default());
                        }
                        307 => {
                            let location = answer.headers.get("location");
                            let location = location.and_then(|at| authority(at.to_str().ok()?));
                            let Some(elsewhere) = location else { break };
                            address = elsewhere;
                        }
                        503 => {
                            why = answer.text();
                            break;
                        }
                        // It was done by an attempt whose answer was lost.
                        400 if may_be_done && call["type"] == "REACTIVATE_AGENT" => {
                            return Ok(Value::Null);
                        }
                        status => bail!("{} (status {status})", answer.text()),
                    }
                }
            }
            if tokio::time::Instant::now() >= deadline {
                bail!(
                    "nobody among {} answers: {why}; name masters that run with --masters, and \
                     repeat it",
                    self.addresses.join(",")
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until an agent that is drained is empty, or gone.
    async fn drained(&self, id: &str) -> anyhow::Result<()> {
        loop {
            let answer = self.call(&json!({"type": "GET_AGENTS"})).await?;
            let mut agents = agents(&answer).iter();
            let agent = agents.find(|agent| agent["agent_info"]["id"]["value"] == id);
            if agent.is_none_or(|agent| agent["drain_info"]["state"] != "DRAINING") {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// The `host:port` of a redirect: `//host:port/path`.
fn authority(location: &str) -> Option<String> {
    let authority = location.split_once("//")?.1.split('/').next()?;
    (!authority.is_empty()).then(|| authority.to_owned())
}

fn agents(answer: &Value) -> &[Value] {
    let agents = answer["get_agents"]["agents"].as_array();
    agents.map_or(&[], Vec::as_slice)
}

fn table(answer: &Value) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["id", "hostname", "use"]);
    for agent in agents(answer) {
        let info = &agent["agent_info"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        table.add_row([
            text(&info["id"]["value"]),
            text(&info["hostname"]),
            usage(agent),
        ]);
    }
    table.trim_fmt()
}

/// Whether an agent is in use, in a word.
fn usage(agent: &Value) -> String {
    if let Some(state) = agent["drain_info"]["state"].as_str() {
        state.to_lowercase()
    } else if agent["deactivated"] == true {
        "deactivated".to_owned()
    } else if agent["active"] == true {
        "active".to_owned()
    } else {
        "not connected".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_how_each_agent_is_used() {
        let agent = |id: &str, more: Value| {
            let mut agent = json!({"agent_info": {"hostname": "h", "id": {"value": id}}});
            for (key, value) in more.as_object().expect("an object") {
                agent[key] = value.clone();
            }
            agent
        };
        let answer = json!({"get_agents": {"agents": [
            agent("S0", json!({"active": true, "deactivated": false})),
            agent("S1", json!({"active": false, "deactivated": false})),
            agent("S2", json!({"active": false, "deactivated": true})),
            agent("S3", json!({"deactivated": true, "drain_info": {"state": "DRAINING"}})),
        ]}});
        let table = table(&answer);
        let uses: Vec<&str> = table
            .lines()
            .skip(1)
            .filter_map(|line| line.split("  ").last())
            .map(str::trim)
            .collect();
        assert_eq!(
            uses,
            ["active", "not connected", "deactivated", "draining"],
            "{table}"
        );
    }

    #[test]
    fn a_redirect_names_a_master() {
        assert_eq!(authority("//h:5050/api/v1"), Some("h:5050".into()));
        assert_eq!(authority("/api/v1"), None);
    }
}

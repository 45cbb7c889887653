//! `regency agents`: the agents of a running cluster, and operators' word on them.
//!
//! Everything is a call of the v1 operator API, which any other tool could make as well.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::Common;
use super::ask::{Failure, Operator, block_on, print};

/// Pause before an agent that is not empty yet is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Action,
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
    block_on(act(flags.action))
}

async fn act(action: Action) -> anyhow::Result<()> {
    match action {
        Action::List { common } => {
            let answer = all(&Operator::new(&common.masters)).await?;
            if common.json {
                print(&answer)
            } else {
                print(table(&answer))
            }
        }
        Action::Drain {
            max_grace,
            mark_gone,
            wait,
            one,
        } => {
            let operator = one.operator();
            let mut call = one.call("DRAIN_AGENT");
            call["drain_agent"]["mark_gone"] = json!(mark_gone);
            if let Some(grace) = max_grace {
                call["drain_agent"]["max_grace_period"] =
                    json!({"seconds": grace.as_secs(), "nanos": grace.subsec_nanos()});
            }
            operator.write(&call).await?;
            if wait {
                one.until_empty(&operator).await?;
                one.tell(&operator, "is empty").await
            } else {
                let done = "is being drained; look at 'regency agents list'";
                one.tell(&operator, done).await
            }
        }
        Action::Deactivate { one } => one.change("DEACTIVATE_AGENT", "is deactivated").await,
        Action::Reactivate { one } => one.change("REACTIVATE_AGENT", "is in use").await,
        Action::Gone { one } => one.change("MARK_AGENT_GONE", "is gone for good").await,
    }
}

/// The answer to GET_AGENTS.
async fn all(operator: &Operator) -> Result<Value, Failure> {
    operator.ask(&json!({"type": "GET_AGENTS"})).await
}

impl One {
    fn operator(&self) -> Operator {
        Operator::new(&self.common.masters)
    }

    /// A call about this agent.
    fn call(&self, name: &str) -> Value {
        let id = json!({"value": self.agent});
        json!({"type": name, name.to_lowercase(): {"agent_id": id}})
    }

    async fn change(&self, name: &str, done: &str) -> anyhow::Result<()> {
        let operator = self.operator();
        match operator.write(&self.call(name)).await {
            // All but this one may be repeated. It was done by an attempt whose answer was lost.
            Err(Failure::Refused {
                may_be_done: true, ..
            }) if name == "REACTIVATE_AGENT" && self.is_in_use(&operator).await? => {}
            other => other?,
        }
        self.tell(&operator, done).await
    }

    /// What is known of it; `None` when it does not count.
    async fn show(&self, operator: &Operator) -> Result<Option<Value>, Failure> {
        let answer = all(operator).await?;
        let mut agents = agents(&answer).iter();
        let agent = agents.find(|agent| agent["agent_info"]["id"]["value"] == *self.agent);
        Ok(agent.cloned())
    }

    async fn is_in_use(&self, operator: &Operator) -> Result<bool, Failure> {
        let agent = self.show(operator).await?;
        Ok(agent.is_some_and(|agent| agent["deactivated"] != true))
    }

    /// Waits until it is empty, or gone.
    async fn until_empty(&self, operator: &Operator) -> Result<(), Failure> {
        loop {
            let agent = self.show(operator).await?;
            if agent.is_none_or(|agent| agent["drain_info"]["state"] != "DRAINING") {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Says what was done, or shows the agent as it is now to a program.
    async fn tell(&self, operator: &Operator, done: &str) -> anyhow::Result<()> {
        if self.common.json {
            print(self.show(operator).await?.unwrap_or_default())
        } else {
            print(format_args!("agent {} {done}", self.agent))
        }
    }
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
}

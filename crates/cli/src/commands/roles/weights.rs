//! `regency weights`: how much of the cluster roles get beside each other.

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
    /// Show the weights that were given; every other role weighs 1.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Give roles weights.
    Set {
        /// Roles with their weights, such as `eng=2`.
        #[arg(value_name = "ROLE=WEIGHT", required = true, value_parser = weight)]
        weights: Vec<(String, f64)>,
        #[command(flatten)]
        common: Common,
    },
}

fn weight(text: &str) -> Result<(String, f64), String> {
    pair(text, '=')
}

/// Carries out what is asked for. A refusal is an error.
pub(crate) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    block_on(act(flags.action))
}

async fn act(action: Action) -> anyhow::Result<()> {
    match action {
        Action::List { common } => show(&common).await,
        Action::Set { weights, common } => {
            let infos: Vec<Value> = weights
                .iter()
                .map(|(role, weight)| json!({"role": role, "weight": weight}))
                .collect();
            let call = json!({
                "type": "UPDATE_WEIGHTS",
                "update_weights": {"weight_infos": infos},
            });
            Operator::new(&common.masters).write(&call).await?;
            show(&common).await
        }
    }
}

async fn show(common: &Common) -> anyhow::Result<()> {
    let weights = Operator::new(&common.masters).read("/weights").await?;
    if common.json {
        return print(weights);
    }
    let weights: Vec<Weight> = serde_json::from_value(weights)?;
    if weights.is_empty() {
        return print("no role was given a weight; each weighs 1");
    }
    let rows = weights.into_iter();
    let rows = rows.map(|weight| [weight.role, weight.weight.to_string()]);
    print(table(["role", "weight"], rows))
}

#[derive(Debug, Deserialize)]
struct Weight {
    role: String,
    weight: f64,
}

//! Somebody who types commands.

use std::process::{Output, Stdio};

use serde_json::Value;

use crate::binary;
use crate::wait::{PATIENCE, until};

/// Somebody who types `regency members`.
#[derive(Debug, Clone)]
pub struct Operator {
    masters: String,
}

impl Operator {
    /// One who asks the masters of these addresses.
    #[must_use]
    pub fn of(masters: impl IntoIterator<Item = String>) -> Self {
        Self {
            masters: masters.into_iter().collect::<Vec<_>>().join(","),
        }
    }

    /// Types `regency members`.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn run(&self, args: &[&str]) -> Output {
        self.regency("members", args).await
    }

    /// Types another command that takes `--masters`.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn regency(&self, command: &str, args: &[&str]) -> Output {
        let mut process = tokio::process::Command::new(binary::regency());
        process
            .arg(command)
            .args(args)
            .args(["--masters", &self.masters])
            .stdin(Stdio::null());
        let output = tokio::time::timeout(PATIENCE, process.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} takes too long"));
        output.expect("the binary runs")
    }

    /// What must succeed, and what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn done(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?}: {out}{error}");
        out
    }

    /// What must fail with one line, and that line.
    ///
    /// # Panics
    /// When it succeeds, or says more.
    pub async fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
        assert!(error.starts_with("error: "), "{args:?}: {error}");
        error
    }

    /// The ids of those that have a vote.
    ///
    /// # Panics
    /// When nobody says so.
    pub async fn voters(&self) -> Vec<u64> {
        let list = self.done(&["list", "--json"]).await;
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let members = list["members"].as_array().expect("members");
        let voters = members.iter().filter(|member| member["voter"] == true);
        voters.filter_map(|member| member["id"].as_u64()).collect()
    }

    /// The id of the leader, as soon as there is one: between two there is none for a moment.
    ///
    /// # Panics
    /// When nobody says who leads.
    pub async fn leader(&self) -> u64 {
        until("a leader that is known", || async {
            let list = self.done(&["list", "--json"]).await;
            let list: Value = serde_json::from_str(&list).expect("JSON");
            list["leader"].as_u64()
        })
        .await
    }

    /// What `health` prints as soon as it finds nothing wrong: right after a change of members a master may
    /// still be on its way.
    ///
    /// # Panics
    /// When something stays wrong.
    pub async fn healthy(&self) -> String {
        until("a healthy cluster", || async {
            let output = self.run(&["health"]).await;
            output.status.success().then(|| text(&output.stdout))
        })
        .await
    }
}

/// What a command printed.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

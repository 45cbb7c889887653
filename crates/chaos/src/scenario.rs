//! Scenarios: which faults, how often, on what. They are files; some come with the program.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Files that come with the program.
const EMBEDDED: &[(&str, &str)] = &[
    ("leader-kill", include_str!("../scenarios/leader-kill.toml")),
    (
        "leader-freeze",
        include_str!("../scenarios/leader-freeze.toml"),
    ),
    ("any-kill", include_str!("../scenarios/any-kill.toml")),
    (
        "majority-kill",
        include_str!("../scenarios/majority-kill.toml"),
    ),
    (
        "whole-cluster-kill",
        include_str!("../scenarios/whole-cluster-kill.toml"),
    ),
    ("agent-kill", include_str!("../scenarios/agent-kill.toml")),
    (
        "leader-transfer",
        include_str!("../scenarios/leader-transfer.toml"),
    ),
    (
        "restart-loop",
        include_str!("../scenarios/restart-loop.toml"),
    ),
    ("partitions", include_str!("../scenarios/partitions.toml")),
    ("bad-network", include_str!("../scenarios/bad-network.toml")),
    ("clients", include_str!("../scenarios/clients.toml")),
    (
        "cpu-starvation",
        include_str!("../scenarios/cpu-starvation.toml"),
    ),
    (
        "snapshot-save",
        include_str!("../scenarios/snapshot-save.toml"),
    ),
    (
        "membership-churn",
        include_str!("../scenarios/membership-churn.toml"),
    ),
    (
        "deleted-data-dir",
        include_str!("../scenarios/deleted-data-dir.toml"),
    ),
    ("bit-flip", include_str!("../scenarios/bit-flip.toml")),
    ("mixed", include_str!("../scenarios/mixed.toml")),
];

/// What can be done to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nemesis {
    /// kill -9 of the leader; it is started again afterwards.
    LeaderKill,
    /// SIGSTOP of the leader.
    LeaderFreeze,
    /// kill -9 of any master.
    AnyKill,
    /// kill -9 of a majority of the masters at once.
    MajorityKill,
    /// kill -9 of all masters at once.
    WholeClusterKill,
    /// kill -9 of an agent.
    AgentKill,
    /// kill -9 of a master as soon as it runs again, several times.
    RestartLoop,
    /// Leadership is handed over.
    LeaderTransfer,
    /// Nothing that one master sends to another arrives; the other way it does.
    PartitionAsymmetric,
    /// The leader reaches nobody and is reached by nobody.
    PartitionLeader,
    /// Two halves see each other only by one master between them.
    PartitionBridge,
    /// Connections between masters break again and again.
    ConnectionDrop,
    /// Everything between masters arrives late.
    Delay,
    /// Connections between masters stay open and nothing comes over them.
    HalfOpen,
    /// Programs that want every processor.
    CpuStarvation,
    /// Clients that subscribe to events and never read.
    SlowReader,
    /// Many clients that connect at once, again and again.
    ReconnectStorm,
    /// The state is saved and checked while everything goes on.
    SnapshotSave,
    /// A master is replaced by a new one.
    MembershipChurn,
    /// A master loses its data directory, and is replaced by a new one.
    DeletedDataDir,
    /// A bit of the files of a master that is down turns over.
    BitFlip,
}

impl Nemesis {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::LeaderKill,
        Self::LeaderFreeze,
        Self::AnyKill,
        Self::MajorityKill,
        Self::WholeClusterKill,
        Self::AgentKill,
        Self::RestartLoop,
        Self::LeaderTransfer,
        Self::PartitionAsymmetric,
        Self::PartitionLeader,
        Self::PartitionBridge,
        Self::ConnectionDrop,
        Self::Delay,
        Self::HalfOpen,
        Self::CpuStarvation,
        Self::SlowReader,
        Self::ReconnectStorm,
        Self::SnapshotSave,
        Self::MembershipChurn,
        Self::DeletedDataDir,
        Self::BitFlip,
    ];

    /// As scenarios name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeaderKill => "leader-kill",
            Self::LeaderFreeze => "leader-freeze",
            Self::AnyKill => "any-kill",
            Self::MajorityKill => "majority-kill",
            Self::WholeClusterKill => "whole-cluster-kill",
            Self::AgentKill => "agent-kill",
            Self::RestartLoop => "restart-loop",
            Self::LeaderTransfer => "leader-transfer",
            Self::PartitionAsymmetric => "partition-asymmetric",
            Self::PartitionLeader => "partition-leader",
            Self::PartitionBridge => "partition-bridge",
            Self::ConnectionDrop => "connection-drop",
            Self::Delay => "delay",
            Self::HalfOpen => "half-open",
            Self::CpuStarvation => "cpu-starvation",
            Self::SlowReader => "slow-reader",
            Self::ReconnectStorm => "reconnect-storm",
            Self::SnapshotSave => "snapshot-save",
            Self::MembershipChurn => "membership-churn",
            Self::DeletedDataDir => "deleted-data-dir",
            Self::BitFlip => "bit-flip",
        }
    }

    /// Whether it acts on the links between masters.
    #[must_use]
    pub fn on_links(self) -> bool {
        matches!(
            self,
            Self::PartitionAsymmetric
                | Self::PartitionLeader
                | Self::PartitionBridge
                | Self::ConnectionDrop
                | Self::Delay
                | Self::HalfOpen
        )
    }
}

/// A scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it tries, in a line.
    pub about: String,
    /// How many masters a cluster has that is started for it.
    #[serde(default = "three")]
    pub masters: u16,
    /// How many agents.
    #[serde(default = "two")]
    pub agents: u16,
    /// How long nothing is done at first.
    #[serde(default = "first_after", with = "text")]
    pub first_after: Duration,
    /// Least and greatest pause between two faults.
    #[serde(default = "between")]
    pub between: Range,
    /// How soon after the last fault everything must be well.
    #[serde(default = "heal_within", with = "text")]
    pub heal_within: Duration,
    /// Faults without which a run says nothing. All, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demand: Option<Vec<Nemesis>>,
    /// What clients do meanwhile.
    #[serde(default)]
    pub workload: Workload,
    /// The faults.
    pub nemesis: Vec<Fault>,
}

/// What clients do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Clients that write registers.
    pub writers: u32,
    /// Clients that read them.
    pub readers: u32,
    /// Registers in use at once.
    pub keys: u32,
    /// Pause of a client between two operations.
    #[serde(with = "text")]
    pub pause: Duration,
    /// Whether a framework launches tasks.
    pub tasks: bool,
    /// Operators that read streams of events.
    pub watchers: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            writers: 3,
            readers: 3,
            keys: 2,
            pause: Duration::from_millis(40),
            tasks: true,
            watchers: 2,
        }
    }
}

/// A fault of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which.
    pub kind: Nemesis,
    /// How often beside the others.
    #[serde(default = "one")]
    pub weight: u32,
    /// How long it lasts, at least and at most.
    #[serde(default = "lasts")]
    pub lasts: Range,
}

/// Least and greatest of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[String; 2]", into = "[String; 2]")]
pub struct Range {
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

impl TryFrom<[String; 2]> for Range {
    type Error = String;

    fn try_from([min, max]: [String; 2]) -> Result<Self, String> {
        let (min, max) = (parse(&min)?, parse(&max)?);
        if min > max {
            return Err(format!("{min:?} is more than {max:?}"));
        }
        Ok(Self { min, max })
    }
}

impl From<Range> for [String; 2] {
    fn from(range: Range) -> Self {
        [range.min, range.max].map(|one| humantime::format_duration(one).to_string())
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("'{text}': {error}; such as \"500ms\""))
}

/// Durations as text.
mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        super::parse(&text).map_err(serde::de::Error::custom)
    }
}

fn three() -> u16 {
    3
}

fn two() -> u16 {
    2
}

fn one() -> u32 {
    1
}

fn first_after() -> Duration {
    Duration::from_secs(3)
}

fn heal_within() -> Duration {
    Duration::from_secs(60)
}

fn between() -> Range {
    Range {
        min: Duration::from_secs(2),
        max: Duration::from_secs(5),
    }
}

fn lasts() -> Range {
    Range {
        min: Duration::from_millis(500),
        max: Duration::from_secs(3),
    }
}

impl Scenario {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none; says where.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        anyhow::ensure!(
            !scenario.nemesis.is_empty(),
            "'nemesis' is empty: nothing would happen"
        );
        anyhow::ensure!(
            scenario.nemesis.iter().all(|fault| fault.weight > 0),
            "'weight' is at least 1; leave out what shall not happen"
        );
        anyhow::ensure!(scenario.workload.keys > 0, "'workload.keys' is at least 1");
        let listed = |kind: &Nemesis| scenario.nemesis.iter().any(|fault| fault.kind == *kind);
        if let Some(kind) = scenario.demanded().iter().find(|kind| !listed(kind)) {
            anyhow::bail!("'demand' names {}, which is no nemesis of it", kind.name());
        }
        Ok(scenario)
    }

    /// The one of this name that comes with the program, or that of a file.
    ///
    /// # Errors
    /// When there is neither, or it is no scenario.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        if let Some((_, text)) = EMBEDDED.iter().find(|(known, _)| *known == name) {
            return Self::parse(text).with_context(|| format!("scenario '{name}'"));
        }
        let path = Path::new(name);
        if !path.exists() {
            let known: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
            anyhow::bail!(
                "'{name}' is neither a file nor a scenario; there are {}",
                known.join(", ")
            );
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        Self::parse(&text).with_context(|| name.to_owned())
    }

    /// Those that come with the program.
    ///
    /// # Errors
    /// Never, as a test makes sure.
    pub fn embedded() -> anyhow::Result<Vec<Self>> {
        EMBEDDED.iter().map(|(name, _)| Self::find(name)).collect()
    }

    /// Faults without which a run says nothing.
    #[must_use]
    pub fn demanded(&self) -> Vec<Nemesis> {
        match &self.demand {
            Some(demand) => demand.clone(),
            None => self.nemesis.iter().map(|fault| fault.kind).collect(),
        }
    }

    /// Whether masters have to reach each other through proxies.
    #[must_use]
    pub fn needs_links(&self) -> bool {
        self.nemesis.iter().any(|fault| fault.kind.on_links())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_come_with_the_program_are_whole_and_named_as_their_files() {
        for (name, _) in EMBEDDED {
            let scenario = Scenario::find(name).expect("a scenario");
            assert_eq!(scenario.name, *name);
            let text = toml_of(&scenario);
            assert_eq!(Scenario::parse(&text).expect(&text), scenario);
        }
    }

    /// What a report keeps of it can be read again.
    fn toml_of(scenario: &Scenario) -> String {
        let json = serde_json::to_string(scenario).expect("JSON");
        let back: Scenario = serde_json::from_str(&json).expect("the same");
        assert_eq!(back, *scenario);
        EMBEDDED
            .iter()
            .find(|(name, _)| *name == scenario.name)
            .map(|(_, text)| (*text).to_owned())
            .expect("embedded")
    }

    #[test]
    fn every_nemesis_is_in_some_scenario_under_its_own_name() {
        let all = Scenario::embedded().expect("scenarios");
        for kind in Nemesis::ALL {
            let json = serde_json::to_string(&kind).expect("JSON");
            assert_eq!(json, format!("\"{}\"", kind.name()));
            let listed = all
                .iter()
                .flat_map(|one| &one.nemesis)
                .any(|f| f.kind == kind);
            assert!(listed, "{}", kind.name());
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| format!("{:#}", Scenario::parse(text).expect_err("wrong"));
        let fault = "[[nemesis]]\nkind = \"any-kill\"\n";
        let head = "name = \"x\"\nabout = \"y\"\n";
        assert!(wrong(&format!("{head}nemesis = []")).contains("'nemesis' is empty"));
        let text = format!("{head}demand = [\"leader-kill\"]\n{fault}");
        assert!(wrong(&text).contains("leader-kill"));
        let text = format!("{head}{fault}lasts = [\"3s\", \"1s\"]");
        assert!(wrong(&text).contains("3s is more than 1s"));
        let text = format!("{head}{fault}often = 3");
        assert!(wrong(&text).contains("often"));
    }
}

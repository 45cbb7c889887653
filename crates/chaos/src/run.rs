//! A run: clients start, faults strike one after the other, all is undone, everything heals, and
//! the history is judged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regency_client::Http;
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::driver::{Driver, Kind, Process};
use crate::faults::Arena;
use crate::history::{Call, Outcome};
use crate::invariants::{Verdict, judge};
use crate::live::Live;
use crate::record::Record;
use crate::report::{
    BUCKET_MS, Coverage, Report, Result as Ended, Strike, VERSION, buckets, longest_outage,
};
use crate::scenario::{Nemesis, Scenario};
use crate::schedule::Step;
use crate::status::{Status, leader};
use crate::workload::{Clients, TASK_PREFIX};

/// Promises that only some scenarios try; the others must be tried by every run that has their
/// clients. How often masters compare their states is up to the flags of somebody's own cluster.
const ONLY_SOMETIMES: [&str; 1] = ["I17"];
const ONLY_LOCAL: [&str; 1] = ["I13"];
/// Those that need a framework, and operators who watch.
const NEED_TASKS: [&str; 3] = ["I1", "I2", "I4"];
const NEED_WATCHERS: [&str; 1] = ["I12"];

/// How long the first write may take.
const FIRST_WRITE_WITHIN: Duration = Duration::from_secs(30);

/// Name of the driver of a cluster that was started for the run, and of one by commands.
pub const LOCAL: &str = "local";
/// See there.
pub const COMMAND: &str = "command";

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The scenario.
    pub scenario: Scenario,
    /// The seed of everything.
    pub seed: u64,
    /// How long faults strike.
    pub run_for: Duration,
    /// The faults.
    pub schedule: Vec<Step>,
    /// This program, for its other commands.
    pub program: PathBuf,
    /// A directory for files of faults.
    pub scratch: PathBuf,
    /// Name of the driver, for the report.
    pub driver: &'static str,
}

/// Carries out a plan. What goes wrong is in the report.
pub async fn run<D: Driver>(plan: &Plan, driver: &mut D) -> Report {
    let masters = driver.members().into_iter();
    let masters = masters.filter(|place| place.member.kind == Kind::Master);
    let record = Arc::new(Record::new(
        masters.map(|place| (place.member.id, place.http)),
    ));
    let n_masters = record.masters().len() as u64;
    let ledger = driver.ledger_dir();
    let addresses = driver.client_addresses();
    let workload = &plan.scenario.workload;
    let clients = Clients::start(&record, workload, plan.seed, addresses, ledger.clone());
    let mut coverage: BTreeMap<Nemesis, Coverage> = BTreeMap::new();
    for fault in &plan.scenario.nemesis {
        coverage.insert(
            fault.kind,
            Coverage {
                demanded: plan.scenario.demanded().contains(&fault.kind),
                lacks: driver.lacks(fault.kind),
                ..Coverage::default()
            },
        );
    }
    let mut live = Live::new(Arc::clone(&record));
    let mut strikes = Vec::new();
    let mut trouble = Vec::new();
    let struck = {
        let mut arena = Arena {
            driver,
            record: Arc::clone(&record),
            http: Http::default(),
            program: plan.program.clone(),
            scratch: plan.scratch.clone(),
        };
        let faults = strike_all(plan, &mut arena, &mut live, &mut strikes, &mut coverage);
        faults.await
    };
    trouble.extend(struck.err().map(|error| format!("{error:#}")));
    let faults_end = record.now_us();
    if trouble.is_empty() {
        live.say("the faults are over; waiting until everything is well");
        if let Err(error) = heal(plan, driver, &record, &clients, &mut live).await {
            trouble.push(format!("{error:#}"));
        }
    }
    match driver.crashes() {
        Ok(crashes) => record.history().crashes.extend(crashes),
        Err(error) => trouble.push(format!("{error:#}")),
    }
    if let Err(error) = clients.end().await {
        trouble.push(format!("{error:#}"));
    }
    if let Some(dir) = ledger {
        record.history().ledger = Some(read_ledger(&dir));
    }
    live.close();
    let history = std::mem::take(&mut *record.history());
    let ran_ms = record.now_us() / 1000;
    let verdicts = judge(&history);
    let (result, reasons) = verdict(plan, &verdicts, &coverage, trouble);
    let (longest_outage_ms, longest_outage_at_ms) = longest_outage(&history, faults_end);
    Report {
        version: VERSION,
        result,
        reasons,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        seed: plan.seed,
        run_for_ms: u64::try_from(plan.run_for.as_millis()).unwrap_or(u64::MAX),
        ran_ms,
        driver: plan.driver.to_owned(),
        masters: n_masters,
        scenario: plan.scenario.clone(),
        schedule: plan.schedule.clone(),
        strikes,
        coverage,
        verdicts,
        longest_outage_ms,
        longest_outage_at_ms,
        buckets: buckets(&history, ran_ms),
        history,
    }
}

async fn strike_all<D: Driver>(
    plan: &Plan,
    arena: &mut Arena<'_, D>,
    live: &mut Live,
    strikes: &mut Vec<Strike>,
    coverage: &mut BTreeMap<Nemesis, Coverage>,
) -> anyhow::Result<()> {
    first_write(&arena.record).await?;
    let begin = Instant::now();
    let end = begin + plan.run_for;
    let mut tick = interval(Duration::from_millis(BUCKET_MS));
    for (number, step) in plan.schedule.iter().enumerate() {
        let lacks = coverage.get(&step.nemesis).and_then(|c| c.lacks.clone());
        if lacks.is_some() {
            continue;
        }
        let at = begin + Duration::from_millis(step.at_ms);
        if at.max(Instant::now()) >= end {
            // Earlier faults took longer than they should.
            break;
        }
        wait_until(at, live, &mut tick).await;
        live.begins(step.nemesis.name());
        let strike = {
            let strike = arena.strike(number, step);
            tokio::pin!(strike);
            loop {
                tokio::select! {
                    strike = &mut strike => break strike?,
                    _ = tick.tick() => live.tick(),
                }
            }
        };
        live.struck(&strike);
        let of_kind = coverage.entry(step.nemesis).or_default();
        of_kind.tried += 1;
        of_kind.struck += u64::from(strike.confirmed > 0);
        strikes.push(strike);
        let crashes = arena.driver.crashes()?;
        for crash in &crashes {
            live.say(crash);
        }
        arena.record.history().crashes.extend(crashes);
    }
    wait_until(end, live, &mut tick).await;
    Ok(())
}

/// Waits until clients are served at all: a new cluster agrees on its feature level first.
async fn first_write(record: &Record) -> anyhow::Result<()> {
    let deadline = Instant::now() + FIRST_WRITE_WITHIN;
    while !written_since(record, 0) {
        anyhow::ensure!(
            Instant::now() < deadline,
            "no write was answered within {FIRST_WRITE_WITHIN:?}, before any fault"
        );
        sleep(Duration::from_millis(BUCKET_MS)).await;
    }
    Ok(())
}

/// Whether a write was answered that began after this.
fn written_since(record: &Record, since_us: u64) -> bool {
    record.history().operations.iter().rev().any(|operation| {
        matches!(operation.call, Call::Write(_))
            && operation.outcome == Outcome::Written
            && operation.from_us > since_us
    })
}

async fn wait_until(at: Instant, live: &mut Live, tick: &mut tokio::time::Interval) {
    let until = sleep_until(at);
    tokio::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return,
            _ = tick.tick() => live.tick(),
        }
    }
}

/// Waits until everything is well, at most as long as the scenario says.
async fn heal<D: Driver>(
    plan: &Plan,
    driver: &mut D,
    record: &Arc<Record>,
    clients: &Clients,
    live: &mut Live,
) -> anyhow::Result<()> {
    let since = record.now_us();
    let deadline = Instant::now() + plan.scenario.heal_within;
    let http = Http::default();
    clients.wind_down_tasks();
    loop {
        let ill = ills(driver, record, clients, &http, since).await?;
        let after_ms = (record.now_us() - since) / 1000;
        if ill.is_empty() {
            live.say(&format!("all is well after {after_ms} ms"));
            record.history().healed_after_ms = Some(after_ms);
            return Ok(());
        }
        if Instant::now() >= deadline {
            live.say(&format!("it does not heal: {}", ill.join("; ")));
            record.history().not_healed = ill;
            return Ok(());
        }
        sleep(Duration::from_millis(BUCKET_MS)).await;
    }
}

/// What is not well.
async fn ills<D: Driver>(
    driver: &mut D,
    record: &Arc<Record>,
    clients: &Clients,
    http: &Http,
    since_us: u64,
) -> anyhow::Result<Vec<String>> {
    let mut ills = Vec::new();
    let members = driver.members();
    for place in &members {
        if driver.observe(place.member).await? != Process::Runs {
            ills.push(format!("{} does not run", place.member));
        }
    }
    let n_agents = members
        .iter()
        .filter(|p| p.member.kind == Kind::Agent)
        .count() as u64;
    let statuses = Status::of_all(http, record.addresses()).await;
    if statuses.len() < record.masters().len() {
        ills.push("a master does not answer".to_owned());
    }
    match leader(&statuses) {
        None => ills.push("nobody leads".to_owned()),
        Some(leader) => {
            if leader.agents_attached < n_agents {
                ills.push(format!("{} of {n_agents} agents", leader.agents_attached));
            }
            if leader.updates_unacknowledged > 0 {
                let n = leader.updates_unacknowledged;
                ills.push(format!("{n} updates are not acknowledged"));
            }
            for status in &statuses {
                let known = status.leader.as_ref().map(|known| known.id);
                if status.term != leader.term || known != Some(leader.node_id) {
                    ills.push(format!("master {} follows somebody else", status.node_id));
                }
                if let Some(why) = &status.halted {
                    ills.push(format!("master {} halted: {why}", status.node_id));
                }
            }
        }
    }
    if clients.framework_ended() {
        ills.push("the framework ended".to_owned());
    }
    let open = clients.open.borrow().clone();
    if !open.is_empty() {
        ills.push(format!("nobody told how {} ended", open.join(", ")));
    }
    if !written_since(record, since_us) {
        ills.push("no write was answered".to_owned());
    }
    Ok(ills)
}

/// How often each task signed.
fn read_ledger(dir: &std::path::Path) -> BTreeMap<String, u64> {
    let mut runs = BTreeMap::new();
    // None signed when there is no file.
    let text = std::fs::read_to_string(dir.join("ledger")).unwrap_or_default();
    for id in text.lines().filter(|line| line.starts_with(TASK_PREFIX)) {
        *runs.entry(id.to_owned()).or_default() += 1;
    }
    runs
}

/// What is to be said of it all. Trouble of the harness comes first: then nothing else counts.
fn verdict(
    plan: &Plan,
    verdicts: &[Verdict],
    coverage: &BTreeMap<Nemesis, Coverage>,
    mut trouble: Vec<String>,
) -> (Ended, Vec<String>) {
    let undecided = verdicts.iter().filter_map(|verdict| {
        let why = verdict.undecided.as_ref()?;
        Some(format!("{}: {why}", verdict.id))
    });
    let broken: Vec<String> = verdicts
        .iter()
        .filter(|verdict| verdict.n_violations > 0)
        .map(|verdict| format!("{}: {} violations", verdict.id, verdict.n_violations))
        .collect();
    trouble.extend(undecided);
    if !broken.is_empty() && trouble.is_empty() {
        return (Ended::Failed, broken);
    }
    if !trouble.is_empty() {
        // What was found until then is told, too, but does not count.
        trouble.extend(broken);
        return (Ended::Trouble, trouble);
    }
    let mut void: Vec<String> = coverage
        .iter()
        .filter(|(_, of_kind)| of_kind.demanded && of_kind.struck == 0)
        .map(|(nemesis, of_kind)| match &of_kind.lacks {
            Some(why) => format!("{} cannot strike here: {why}", nemesis.name()),
            None if of_kind.tried == 0 => {
                format!("{} was not tried; run it for longer", nemesis.name())
            }
            None => format!("{} never struck", nemesis.name()),
        })
        .collect();
    let workload = &plan.scenario.workload;
    void.extend(verdicts.iter().filter_map(|verdict| {
        let id = verdict.id.as_str();
        let needed = !ONLY_SOMETIMES.contains(&id)
            && (plan.driver == LOCAL || !ONLY_LOCAL.contains(&id))
            && (workload.tasks || !NEED_TASKS.contains(&id))
            && (workload.watchers > 0 || !NEED_WATCHERS.contains(&id));
        (needed && verdict.checked == 0).then(|| format!("{id} was not tried"))
    }));
    match void.is_empty() {
        true => (Ended::Passed, Vec::new()),
        false => (Ended::Void, void),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;

    fn plan() -> Plan {
        Plan {
            scenario: Scenario::find("leader-kill").expect("a scenario"),
            seed: 1,
            run_for: Duration::from_secs(1),
            schedule: Vec::new(),
            program: PathBuf::new(),
            scratch: PathBuf::new(),
            driver: LOCAL,
        }
    }

    fn kept() -> Vec<Verdict> {
        let mut verdicts = judge(&History::default());
        for verdict in &mut verdicts {
            (verdict.checked, verdict.n_violations) = (1, 0);
        }
        verdicts
    }

    fn covered(struck: u64) -> BTreeMap<Nemesis, Coverage> {
        let of_kind = Coverage {
            demanded: true,
            tried: 1,
            struck,
            lacks: None,
        };
        [(Nemesis::LeaderKill, of_kind)].into()
    }

    #[test]
    fn a_run_passes_only_if_its_faults_struck_and_all_was_looked_at() {
        let of = |verdicts: &[Verdict], struck, trouble: &[&str]| {
            let trouble = trouble.iter().map(|text| (*text).to_owned()).collect();
            verdict(&plan(), verdicts, &covered(struck), trouble).0
        };
        assert_eq!(of(&kept(), 1, &[]), Ended::Passed);
        assert_eq!(of(&kept(), 0, &[]), Ended::Void);
        assert_eq!(of(&kept(), 1, &["no process"]), Ended::Trouble);
        let mut unseen = kept();
        unseen[0].checked = 0;
        assert_eq!(of(&unseen, 1, &[]), Ended::Void);
        let mut broken = kept();
        broken[0].n_violations = 1;
        assert_eq!(of(&broken, 1, &[]), Ended::Failed);
        assert_eq!(of(&broken, 0, &[]), Ended::Failed, "found is found");
        let mut undecided = kept();
        undecided[4].undecided = Some("too long".to_owned());
        assert_eq!(of(&undecided, 1, &[]), Ended::Trouble);
        let statuses = [Ended::Passed, Ended::Failed, Ended::Void, Ended::Trouble];
        assert_eq!(statuses.map(Ended::exit_status), [0, 1, 3, 4]);
    }
}

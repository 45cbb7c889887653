//! `regency chaos` as a chaos tester runs it, against real processes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regency_chaos::report::{Report, Result as Ended};
use regency_chaos::scenario::Nemesis;

/// Time in which what `mixed` demands fits, and some more.
const MIXED_FOR: &str = "40s";

/// One cluster at a time: test machines are small.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn chaos(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_regency"))
        .arg("chaos")
        .args(args)
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read(path: &Path) -> Report {
    let json = std::fs::read_to_string(path).expect("a report");
    Report::parse(&json).expect("a report")
}

#[test]
fn a_mixed_run_kills_for_real_and_keeps_every_promise() {
    let _turn = turn();
    let dir = tempfile::tempdir().expect("a directory");
    let (json, page) = (dir.path().join("1.json"), dir.path().join("1.html"));
    let args = [
        "run",
        "--scenario=mixed",
        "--seed=5",
        "--for",
        MIXED_FOR,
        "--json",
        &json.to_string_lossy(),
        "--report",
        &page.to_string_lossy(),
    ];
    let output = chaos(&args);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report = read(&json);
    assert_eq!(report.result, Ended::Passed);
    let kills: u64 = report
        .strikes
        .iter()
        .filter(|strike| strike.evidence.contains("is gone"))
        .map(|strike| strike.confirmed)
        .sum();
    assert!(kills >= 5, "{kills} processes were killed: {said}");
    for nemesis in report.scenario.demanded() {
        assert!(report.coverage[&nemesis].struck > 0, "{}", nemesis.name());
    }
    assert!(report.verdicts.iter().all(|v| v.n_violations == 0));
    let page = std::fs::read_to_string(&page).expect("a page");
    assert!(page.contains("<svg") && page.contains("every promise that was tried was kept"));
}

#[test]
fn a_replay_strikes_as_the_report_tells_and_a_run_without_its_faults_is_void() {
    let _turn = turn();
    let dir = tempfile::tempdir().expect("a directory");
    let (first, second) = (dir.path().join("1.json"), dir.path().join("2.json"));
    // No fault fits into this: nothing is proved.
    let args = [
        "run",
        "--scenario=agent-kill",
        "--seed=3",
        "--for=2s",
        "--json",
    ];
    let output = chaos(&[&args[..], &[&first.to_string_lossy()]].concat());
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("agent-kill was not tried; run it for longer"),
        "{said}"
    );
    let report = read(&first);
    assert_eq!(report.result, Ended::Void);
    assert_eq!(report.coverage[&Nemesis::AgentKill].tried, 0);

    let output = chaos(&[
        "replay",
        &first.to_string_lossy(),
        "--json",
        &second.to_string_lossy(),
    ]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let again = read(&second);
    assert_eq!((again.seed, again.schedule), (report.seed, report.schedule));
}

#[test]
fn scenarios_are_listed_and_unknown_ones_named() {
    let listed = text(&chaos(&["list"]).stdout);
    for name in ["leader-kill", "mixed", "bit-flip"] {
        assert!(listed.contains(name), "{listed}");
    }
    let output = chaos(&["run", "--scenario", "nothing"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains("'nothing' is neither a file nor a scenario"),
        "{error}"
    );
}

/// Somebody's own cluster: here one of `regency local`, which only watches.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        // It also ends what was started again by commands.
        let _ = kill(pid, Signal::SIGINT);
        let _ = self.0.wait();
    }
}

/// Starts it, and describes it as a chaos tester would: by lines of shell.
fn own_cluster(dir: &Path) -> (Own, String) {
    let mut local = Command::new(env!("CARGO_BIN_EXE_regency"))
        .args(["local", "--json", "--no-demo", "--no-restart"])
        .args(["--port-base", "0", "--agents", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("regency local starts");
    let mut lines = BufReader::new(local.stdout.take().expect("a pipe")).lines();
    let own = Own(local);
    let first = lines.next().expect("a line").expect("a line");
    // It must not be blocked by what nobody reads.
    std::thread::spawn(move || lines.count());
    let ready: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    let mut file = String::new();
    for kind in ["master", "agent"] {
        for member in ready[format!("{kind}s")].as_array().expect("members") {
            let pid_file = dir.join(format!("{kind}-{}.pid", member["id"]));
            std::fs::write(&pid_file, member["pid"].to_string()).expect("a file");
            let pid = format!("$(cat {})", pid_file.display());
            let argv = member["argv"].as_array().expect("a command line");
            let argv = argv
                .iter()
                .map(|arg| format!("'{}'", arg.as_str().expect("text")));
            let argv = argv.collect::<Vec<_>>().join(" ");
            let log = member["log"].as_str().expect("a log");
            file.push_str(&format!(
                "[[{kind}]]\nid = {}\nhttp = {}\nkill = \"kill -9 {pid}\"\n\
                 freeze = \"kill -STOP {pid}\"\nthaw = \"kill -CONT {pid}\"\n\
                 start = \"nohup {argv} >>{log} 2>&1 </dev/null & echo $! >{}\"\n\
                 state = \"\"\"case $(sed -n 's/^State:\\\\t//p' /proc/{pid}/status 2>/dev/null) in \
                 ''|Z*) echo gone;; T*) echo frozen;; *) echo runs;; esac\"\"\"\n\n",
                member["id"],
                member["http"],
                pid_file.display(),
            ));
        }
    }
    (own, file)
}

#[test]
fn somebodys_own_cluster_is_struck_by_commands() {
    let _turn = turn();
    let dir = tempfile::tempdir().expect("a directory");
    let (_own, file) = own_cluster(dir.path());
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("cluster.toml"), &file).expect("a file");
    let scenario = "name = \"own\"\nabout = \"by commands\"\nbetween = [\"500ms\", \"1s\"]\n\
        first_after = \"1s\"\ndemand = [\"any-kill\", \"leader-freeze\"]\n\
        [[nemesis]]\nkind = \"any-kill\"\nlasts = [\"100ms\", \"1s\"]\n\
        [[nemesis]]\nkind = \"leader-freeze\"\nlasts = [\"1s\", \"2s\"]\n\
        [[nemesis]]\nkind = \"bit-flip\"\n";
    std::fs::write(path("scenario.toml"), scenario).expect("a file");
    let output = chaos(&[
        "run",
        "--scenario",
        &path("scenario.toml"),
        "--seed=1",
        "--for=15s",
        "--cluster",
        &path("cluster.toml"),
        "--json",
        &path("report.json"),
    ]);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{file}\n{said}");
    let report = read(&dir.path().join("report.json"));
    assert_eq!(report.driver, "command");
    for nemesis in [Nemesis::AnyKill, Nemesis::LeaderFreeze] {
        assert!(report.coverage[&nemesis].struck > 0, "{said}");
    }
    assert!(report.coverage[&Nemesis::BitFlip].lacks.is_some(), "{said}");
}

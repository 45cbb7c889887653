//! What processes use, as `/proc` tells it.

use std::collections::BTreeMap;

use regency_agent_core::ProcessRef;
use regency_resources::Resources;
use regency_wire::v1::ResourceStatistics;

use crate::shim::all_pids;

const BYTES_PER_MB: i64 = 1024 * 1024;

/// What one process used; times in clock ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    start: u64,
    /// Of itself and of the children that it collected.
    user: u64,
    system: u64,
    threads: u32,
    rss_pages: u64,
}

/// All processes of this machine at one moment.
#[derive(Debug, Default)]
pub(super) struct Processes {
    by_pid: BTreeMap<i32, Process>,
    children: BTreeMap<i32, Vec<i32>>,
}

/// What a process and everything below it uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) processes: u32,
    pub(super) threads: u32,
    pub(super) user_seconds: f64,
    pub(super) system_seconds: f64,
    pub(super) rss_bytes: u64,
}

impl Usage {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            processes: self.processes + other.processes,
            threads: self.threads + other.threads,
            user_seconds: self.user_seconds + other.user_seconds,
            system_seconds: self.system_seconds + other.system_seconds,
            rss_bytes: self.rss_bytes + other.rss_bytes,
        }
    }
}

impl Processes {
    /// Looks at all of them. Takes milliseconds on a busy machine, so not for the loop of the agent.
    pub(super) fn look() -> Self {
        let found = all_pids().into_iter().filter_map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            parse(pid, &stat)
        });
        Self::of(found)
    }

    fn of(found: impl IntoIterator<Item = Process>) -> Self {
        let mut all = Self::default();
        for process in found {
            all.children
                .entry(process.parent)
                .or_default()
                .push(process.pid);
            all.by_pid.insert(process.pid, process);
        }
        all
    }

    /// `None` when the process is gone. What of its descendants was collected by nobody below it is
    /// not counted any more; a shim collects all of its own.
    pub(super) fn usage(&self, root: ProcessRef) -> Option<Usage> {
        let root_pid = i32::try_from(root.pid).ok()?;
        self.by_pid
            .get(&root_pid)
            .filter(|process| process.start == root.start_ticks)?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        let mut usage = Usage::default();
        let (mut user, mut system, mut pages) = (0, 0, 0);
        let mut open = vec![root_pid];
        while let Some(pid) = open.pop() {
            if let Some(process) = self.by_pid.get(&pid) {
                usage.processes += 1;
                usage.threads += process.threads;
                user += process.user;
                system += process.system;
                pages += process.rss_pages;
            }
            open.extend(self.children.get(&pid).into_iter().flatten());
        }
        usage.user_seconds = user as f64 / ticks;
        usage.system_seconds = system as f64 / ticks;
        usage.rss_bytes = pages * page;
        Some(usage)
    }
}

fn parse(pid: i32, stat: &str) -> Option<Process> {
    // The name may hold anything, so the fields are counted from its last parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        user: number(11)? + number(13)?,
        system: number(12)? + number(14)?,
        threads: u32::try_from(number(17)?).ok()?,
        start: number(19)?,
        rss_pages: number(21)?,
    })
}

/// The statistics of a container that was given `limits`, under Mesos' names. `usage` is `None` when
/// nothing of it runs.
pub(super) fn statistics(
    usage: Option<Usage>,
    limits: &Resources,
    timestamp: f64,
) -> ResourceStatistics {
    let of = |name: &str| {
        let names: Vec<&str> = limits.names().collect();
        names.contains(&name).then(|| limits.scalar(name))
    };
    let bytes = |name: &str| {
        let thousandths = of(name)?.0;
        u64::try_from(i128::from(thousandths) * i128::from(BYTES_PER_MB) / 1000).ok()
    };
    ResourceStatistics {
        timestamp,
        processes: usage.map(|usage| usage.processes),
        threads: usage.map(|usage| usage.threads),
        cpus_user_time_secs: usage.map(|usage| usage.user_seconds),
        cpus_system_time_secs: usage.map(|usage| usage.system_seconds),
        cpus_limit: of("cpus").map(regency_resources::Milli::to_f64),
        mem_limit_bytes: bytes("mem"),
        mem_rss_bytes: usage.map(|usage| usage.rss_bytes),
        disk_limit_bytes: bytes("disk"),
        ..ResourceStatistics::default()
    }
}

#[cfg(test)]
mod tests {
    use regency_types::BootId;

    use super::*;

    fn process(pid: i32, parent: i32, user: u64) -> Process {
        Process {
            pid,
            parent,
            start: 7,
            user,
            system: 1,
            threads: 2,
            rss_pages: 3,
        }
    }

    fn root(pid: u32, start_ticks: u64) -> ProcessRef {
        ProcessRef {
            pid,
            start_ticks,
            boot: BootId(1),
        }
    }

    #[test]
    fn a_line_with_any_name_is_read() {
        let stat = "12 (a) b) S 77 12 12 0 -1 4 1 0 0 0 10 20 1 2 20 0 3 0 4711 99 5 1";
        let expect = Process {
            pid: 12,
            parent: 77,
            start: 4711,
            user: 11,
            system: 22,
            threads: 3,
            rss_pages: 5,
        };
        assert_eq!(parse(12, stat), Some(expect));
        assert_eq!(parse(12, "12 (a) S 1"), None);
    }

    #[test]
    fn a_tree_is_counted_and_nothing_beside_it() {
        let all = Processes::of([
            process(1, 0, 1000),
            process(2, 1, 100),
            process(3, 2, 100),
            process(4, 1, 1000),
        ]);
        let usage = all.usage(root(2, 7)).expect("it is there");
        assert_eq!((usage.processes, usage.threads), (2, 4));
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert!((usage.user_seconds - 200.0 / ticks).abs() < 1e-9);
        assert_eq!(usage.rss_bytes, 6 * rustix::param::page_size() as u64);
        assert_eq!(all.usage(root(2, 8)), None, "another one of that number");
        assert_eq!(all.usage(root(9, 7)), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let me = std::process::id();
        let start = crate::shim::start_ticks(me).expect("it lives");
        let usage = Processes::look().usage(root(me, start)).expect("it lives");
        assert!(usage.rss_bytes > 1 << 16 && usage.processes > 0);
    }

    #[test]
    fn limits_are_in_bytes() {
        let limits = regency_resources::parse::resources("cpus:0.5;mem:1.5", "*").expect("good");
        let statistics = statistics(None, &limits, 1.0);
        assert_eq!(statistics.cpus_limit, Some(0.5));
        assert_eq!(statistics.mem_limit_bytes, Some(1024 * 1024 * 3 / 2));
        assert_eq!(
            (statistics.disk_limit_bytes, statistics.processes),
            (None, None)
        );
    }
}

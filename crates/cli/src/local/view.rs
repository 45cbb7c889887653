//! The live view: a handful of lines, drawn over themselves with plain escape sequences.

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use regency_client::{MasterStatus, Role};

use super::accounts::Totals;
use super::cluster::{Kind, MemberInfo};
use super::event::Event;
use super::failover::Failover;

/// How many of the last events are shown.
const EVENTS_SHOWN: usize = 8;
/// A line that is too long is cut off instead of taking two, which would spoil the counting.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";
/// Back to the start of the line, so many lines up.
const UP: &str = "\x1b[";
/// Clears from here to the end of the line, and of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Everything the view shows.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) masters: Vec<MemberInfo>,
    pub(crate) agents: Vec<MemberInfo>,
    pub(crate) dir: PathBuf,
    pub(crate) run_for: Option<Duration>,
    /// What each master said last; absent when it does not answer. In the order of `masters`.
    pub(crate) statuses: Vec<Option<MasterStatus>>,
    pub(crate) totals: Option<Totals>,
    pub(crate) failovers: Vec<Failover>,
    pub(crate) crashes: u64,
    recent: VecDeque<(u64, String)>,
}

impl Model {
    pub(crate) fn new(
        masters: Vec<MemberInfo>,
        agents: Vec<MemberInfo>,
        dir: PathBuf,
        run_for: Option<Duration>,
    ) -> Self {
        Self {
            statuses: vec![None; masters.len()],
            masters,
            agents,
            dir,
            run_for,
            totals: None,
            failovers: Vec::new(),
            crashes: 0,
            recent: VecDeque::new(),
        }
    }

    /// The leader that serves, in the latest term anybody claims.
    pub(crate) fn leader(&self) -> Option<&MasterStatus> {
        let leaders = self
            .statuses
            .iter()
            .flatten()
            .filter(|status| status.leads());
        leaders.max_by_key(|status| status.term)
    }

    /// Takes an event into the figures and the list of the last ones.
    pub(crate) fn note(&mut self, at_ms: u64, event: Event) {
        let text = event.to_string();
        match event {
            Event::Killed { kind, id, .. } => self.set_pid(kind, id, None),
            Event::Started { kind, id, pid } => self.set_pid(kind, id, Some(pid)),
            Event::Died(death) => {
                self.set_pid(death.kind, death.id, None);
                self.crashes += u64::from(!death.killed);
            }
            Event::Failover(failover) => self.failovers.push(failover),
            Event::Progress(totals) => {
                self.totals = Some(totals);
                return;
            }
            Event::Leader { .. }
            | Event::Rejoined { .. }
            | Event::Subscribed { .. }
            | Event::Disconnected { .. }
            | Event::TaskLost { .. } => {}
            Event::Summary(_) => return,
        }
        if self.recent.len() == EVENTS_SHOWN {
            self.recent.pop_front();
        }
        let first_line = text.lines().next().unwrap_or_default();
        self.recent.push_back((at_ms, first_line.to_owned()));
    }

    fn set_pid(&mut self, kind: Kind, id: u16, pid: Option<i32>) {
        let members = match kind {
            Kind::Master => &mut self.masters,
            Kind::Agent => &mut self.agents,
        };
        if let Some(member) = members.iter_mut().find(|member| member.id == id) {
            member.pid = pid;
        }
    }
}

/// Draws frames over each other.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// Lines of the frame before.
    n_lines: usize,
}

impl View {
    /// The next frame, with what it takes to put it in the place of the one before.
    pub(crate) fn frame(&mut self, model: &Model, elapsed: Duration) -> String {
        let lines = lines(model, elapsed);
        let mut frame = match self.n_lines {
            0 => WRAP_OFF.to_owned(),
            n_lines => format!("{WRAP_OFF}{UP}{n_lines}F"),
        };
        for line in &lines {
            frame.push_str(line);
            frame.push_str(CLEAR_LINE);
            frame.push('\n');
        }
        frame.push_str(CLEAR_BELOW);
        frame.push_str(WRAP_ON);
        self.n_lines = lines.len();
        frame
    }
}

fn lines(model: &Model, elapsed: Duration) -> Vec<String> {
    let mut lines = vec![headline(model, elapsed), String::new()];
    for (member, status) in model.masters.iter().zip(&model.statuses) {
        lines.push(master(member, status.as_ref()));
    }
    let leader = model.leader();
    let (attached, offers) = leader.map_or((0, 0), |leader| {
        (leader.agents_attached, leader.offers_outstanding)
    });
    lines.push(format!(
        "  agents    {attached} of {} attached, {offers} offers outstanding",
        model.agents.len()
    ));
    if let Some(totals) = &model.totals {
        lines.push(format!(
            "  tasks     {} launched, {} running, {} done, {} lost",
            totals.launched, totals.running, totals.finished, totals.lost
        ));
        lines.push(format!("  updates   {} lost", totals.overdue));
        lines.push(format!(
            "  offers    {} received, {} carried over a failover, {} lost",
            totals.offers.received, totals.offers.carried_over, totals.offers.lost
        ));
    }
    let n_failovers = model.failovers.len();
    lines.push(match model.failovers.last() {
        None => "  failovers none yet".to_owned(),
        Some(last) => format!("  failovers {n_failovers}; last: {}", last.in_short()),
    });
    lines.push(String::new());
    for (at_ms, text) in &model.recent {
        lines.push(format!("{:8.3} {text}", *at_ms as f64 / 1000.0));
    }
    lines.push(String::new());
    let leader_pid = leader.and_then(|leader| {
        let member = model
            .masters
            .iter()
            .find(|m| u64::from(m.id) == leader.node_id);
        member.and_then(|member| member.pid)
    });
    if let Some(pid) = leader_pid {
        lines.push(format!(
            "  kill the leader yourself: kill -9 {pid}    end: Ctrl-C"
        ));
    }
    lines.push(format!("  data and logs: {}", model.dir.display()));
    lines
}

fn headline(model: &Model, elapsed: Duration) -> String {
    let clock = |duration: Duration| {
        let seconds = duration.as_secs();
        format!("{:02}:{:02}", seconds / 60, seconds % 60)
    };
    let mut text = format!(
        "regency: {} masters, {} agents, {}",
        model.masters.len(),
        model.agents.len(),
        clock(elapsed)
    );
    if let Some(run_for) = model.run_for {
        // Writing to a string does not fail.
        let _ = write!(text, " of {}", clock(run_for));
    }
    text
}

fn master(member: &MemberInfo, status: Option<&MasterStatus>) -> String {
    let part = match (member.pid, status) {
        (None, _) => "dead".to_owned(),
        (Some(_), None) => "no answer".to_owned(),
        (Some(_), Some(status)) => {
            let role = match status.role {
                Role::Leader if status.serving => "LEADS",
                Role::Leader => "elected",
                Role::Follower => "follows",
                Role::Candidate => "campaigns",
                Role::Learner => "learns",
                Role::Other => "?",
            };
            format!(
                "{role:<10} term {:<5} log {}",
                status.term, status.applied_index
            )
        }
    };
    format!("  master {}  http://{}  {part}", member.id, member.http)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u16) -> MemberInfo {
        MemberInfo {
            id,
            http: format!("127.0.0.1:{id}"),
            grpc: None,
            raft: None,
            zk: None,
            pid: Some(1000 + i32::from(id)),
            dir: PathBuf::new(),
            log: PathBuf::new(),
            argv: Vec::new(),
        }
    }

    #[test]
    fn the_leader_of_the_latest_term_is_the_one_to_kill() {
        let masters = vec![member(1), member(2)];
        let mut model = Model::new(masters, vec![], PathBuf::from("/d"), None);
        let status = |id: u64, term: u64| {
            let text = format!(
                r#"{{"node_id":{id},"term":{term},"role":"leader","leader":null,"serving":true}}"#
            );
            Some(serde_json::from_str(&text).expect("a status"))
        };
        model.statuses = vec![status(1, 4), status(2, 5)];
        let text = lines(&model, Duration::from_secs(61)).join("\n");
        assert!(text.contains("kill -9 1002"), "{text}");
        assert!(
            text.starts_with("regency: 2 masters, 0 agents, 01:01\n"),
            "{text}"
        );
    }

    #[test]
    fn a_frame_goes_over_the_one_before_and_events_are_bounded() {
        let mut model = Model::new(vec![member(1)], vec![], PathBuf::from("/d"), None);
        for i in 0..20 {
            let reason = format!("reason {i}");
            model.note(i, Event::Disconnected { reason });
        }
        let mut view = View::default();
        let first = view.frame(&model, Duration::ZERO);
        assert!(
            !first.contains("F"),
            "the first frame starts where the cursor is"
        );
        assert!(first.contains("reason 19") && !first.contains("reason 11\x1b"));
        let n_lines = first.matches('\n').count();
        let second = view.frame(&model, Duration::ZERO);
        assert!(second.starts_with(&format!("{WRAP_OFF}\x1b[{n_lines}F")));
    }

    #[test]
    fn a_killed_master_is_shown_as_dead_until_it_starts_again() {
        let mut model = Model::new(vec![member(1)], vec![], PathBuf::new(), None);
        model.note(
            0,
            Event::Killed {
                kind: Kind::Master,
                id: 1,
                pid: 1001,
            },
        );
        assert!(lines(&model, Duration::ZERO).join("\n").contains("dead"));
        model.note(
            0,
            Event::Started {
                kind: Kind::Master,
                id: 1,
                pid: 7,
            },
        );
        assert!(!lines(&model, Duration::ZERO).join("\n").contains("dead"));
    }
}

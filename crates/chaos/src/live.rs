//! What is seen while a run goes on: lines of text, and on a terminal one line below them that
//! is written anew.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::record::Record;
use crate::report::Strike;

/// How many pieces of time the line shows.
const PIECES: usize = 40;

/// Where it is shown.
#[derive(Debug)]
pub struct Live {
    record: Arc<Record>,
    terminal: bool,
    /// Answers of the last pieces of time, for the line.
    pieces: Vec<u64>,
    answered_before: u64,
    /// What strikes just now.
    now: String,
}

impl Live {
    /// Shows it on standard output.
    #[must_use]
    pub fn new(record: Arc<Record>) -> Self {
        Self {
            record,
            terminal: std::io::stdout().is_terminal(),
            pieces: Vec::new(),
            answered_before: 0,
            now: "nothing".to_owned(),
        }
    }

    /// A line that stays.
    pub fn say(&mut self, what: &str) {
        let seconds = self.record.now_us() as f64 / 1e6;
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        write(&format!("{clear}{seconds:8.3} {what}\n"));
        self.draw();
    }

    /// A fault begins.
    pub fn begins(&mut self, what: &str) {
        self.now = what.to_owned();
        self.draw();
    }

    /// A fault is over.
    pub fn struck(&mut self, strike: &Strike) {
        self.now = "nothing".to_owned();
        let ms = (strike.to_us - strike.from_us) / 1000;
        let struck = if strike.confirmed > 0 {
            ""
        } else {
            " DID NOT STRIKE"
        };
        let name = strike.nemesis.name();
        self.say(&format!("{name}{struck}: {} ({ms} ms)", strike.evidence));
    }

    /// A piece of time is over.
    pub fn tick(&mut self) {
        let answered = self.record.answered.load(Relaxed);
        self.pieces.push(answered - self.answered_before);
        self.answered_before = answered;
        if self.pieces.len() > PIECES {
            self.pieces.remove(0);
        }
        self.draw();
    }

    fn draw(&self) {
        if !self.terminal {
            return;
        }
        let leader = {
            let history = self.record.history();
            let last = history.leaders.last();
            let led = last.and_then(|last| Some((last.master?, last.term)));
            led.map_or_else(
                || "nobody leads".to_owned(),
                |(id, term)| format!("master {id} leads term {term}"),
            )
        };
        let most = self.pieces.iter().copied().max().unwrap_or_default().max(1);
        let bars: String = self.pieces.iter().map(|n| bar(*n, most)).collect();
        let lost = self.record.unanswered.load(Relaxed);
        write(&format!(
            "\r\x1b[2K{leader} | {bars} | {} answers, {lost} without | now: {}",
            self.answered_before, self.now
        ));
    }

    /// Leaves the line.
    pub fn close(&mut self) {
        if self.terminal {
            write("\r\x1b[2K");
        }
    }
}

fn bar(n: u64, most: u64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    match n {
        0 => '·',
        _ => BARS[usize::try_from((n * 7).div_ceil(most)).unwrap_or(7).min(7)],
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to tell when standard output is closed; the report is written all the same.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

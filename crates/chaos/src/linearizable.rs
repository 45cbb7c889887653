//! Whether a history of one register is linearizable: the search of Wing and Gong with Lowe's
//! cache, on a bit set of what took effect and the value.
//!
//! An operation of which nobody knows the outcome may take effect at any time after it began, or
//! never.

use std::collections::HashSet;

use crate::history::{Call, Operation, Outcome};

/// How many steps are tried before the search is given up.
const STEPS_MAX: u64 = 20_000_000;

/// What the search says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There is an order that explains everything.
    Linearizable,
    /// There is none: this is the read that no order explains behind the longest that was found.
    Not(Operation),
    /// It would take too long.
    Undecided,
}

/// A register's operation, reduced to what matters.
struct Op<'a> {
    from_us: u64,
    /// None when it may take effect for ever.
    to_us: Option<u64>,
    write: Option<u64>,
    read: Option<u64>,
    of: &'a Operation,
}

/// Looks for an order of the operations of one register. Stale reads are left out.
#[must_use]
pub fn check(history: &[&Operation]) -> Answer {
    let told: HashSet<u64> = history.iter().filter_map(|op| told(op)).collect();
    let ops: Vec<Op<'_>> = history.iter().filter_map(|op| reduced(op, &told)).collect();
    Search::new(&ops).run()
}

fn told(op: &Operation) -> Option<u64> {
    match (op.call, op.outcome) {
        (Call::Read, Outcome::Told { value, .. }) => value,
        _ => None,
    }
}

fn reduced<'a>(op: &'a Operation, told: &HashSet<u64>) -> Option<Op<'a>> {
    let (write, read, known) = match (op.call, op.outcome) {
        (Call::Write(value), Outcome::Written) => (Some(value), None, true),
        // One that nobody read may as well not have happened.
        (Call::Write(value), Outcome::Unknown) if told.contains(&value) => {
            (Some(value), None, false)
        }
        (Call::Read, Outcome::Told { value, .. }) => (None, value, true),
        _ => return None,
    };
    Some(Op {
        from_us: op.from_us,
        to_us: known.then_some(op.to_us),
        write,
        read,
        of: op,
    })
}

/// Begins and ends in the order of time, as a doubly linked list; place 0 is its head.
struct Search<'a> {
    ops: &'a [Op<'a>],
    /// Operation and whether it is its end.
    events: Vec<(usize, bool)>,
    next: Vec<usize>,
    prev: Vec<usize>,
    /// Where the end of each operation is, 0 for none.
    end_of: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(ops: &'a [Op<'a>]) -> Self {
        let mut order: Vec<(u64, bool, usize)> = Vec::new();
        for (i, op) in ops.iter().enumerate() {
            order.push((op.from_us, false, i));
            order.extend(op.to_us.map(|to| (to, true, i)));
        }
        // At the same time, what begins comes first: then either order may be.
        order.sort_unstable();
        let mut events = vec![(usize::MAX, false)];
        events.extend(order.iter().map(|(_, end, i)| (*i, *end)));
        let mut end_of = vec![0; ops.len()];
        for (place, (i, end)) in events.iter().enumerate().skip(1) {
            if *end {
                end_of[*i] = place;
            }
        }
        let n = events.len();
        Self {
            ops,
            // Behind the last one comes the head again.
            next: (1..=n).map(|place| place % n).collect(),
            prev: (0..n).map(|place| (place + n - 1) % n).collect(),
            events,
            end_of,
        }
    }

    fn run(mut self) -> Answer {
        let mut open = self.ops.iter().filter(|op| op.to_us.is_some()).count();
        let mut done = vec![0_u64; self.ops.len().div_ceil(64)];
        let mut seen: HashSet<(Vec<u64>, Option<u64>)> = HashSet::new();
        let mut taken: Vec<(usize, Option<u64>)> = Vec::new();
        let mut value = None;
        let mut place = self.next[0];
        let mut deepest: (usize, Option<usize>) = (0, None);
        let mut steps = 0;
        while open > 0 {
            steps += 1;
            if steps > STEPS_MAX {
                return Answer::Undecided;
            }
            let (i, end) = self.events[place];
            // Behind the last one, and at the end of one that did not take effect, it goes back.
            if place == 0 || end {
                if end && taken.len() >= deepest.0 {
                    deepest = (taken.len(), Some(i));
                }
                let Some((last, before)) = taken.pop() else {
                    let stuck = deepest.1.unwrap_or(0);
                    return Answer::Not(self.ops[stuck].of.clone());
                };
                let (i, _) = self.events[last];
                done[i / 64] &= !(1 << (i % 64));
                open += usize::from(self.end_of[i] != 0);
                value = before;
                self.put_back(last, i);
                place = self.next[last];
                continue;
            }
            let op = &self.ops[i];
            let fits = op.write.is_some() || op.read == value;
            if fits {
                let after = op.write.or(value);
                done[i / 64] |= 1 << (i % 64);
                if seen.insert((done.clone(), after)) {
                    taken.push((place, value));
                    value = after;
                    open -= usize::from(self.end_of[i] != 0);
                    self.take_out(place, i);
                    place = self.next[0];
                    continue;
                }
                done[i / 64] &= !(1 << (i % 64));
            }
            place = self.next[place];
        }
        Answer::Linearizable
    }

    fn take_out(&mut self, place: usize, i: usize) {
        self.unlink(place);
        if self.end_of[i] != 0 {
            self.unlink(self.end_of[i]);
        }
    }

    fn put_back(&mut self, place: usize, i: usize) {
        if self.end_of[i] != 0 {
            self.link(self.end_of[i]);
        }
        self.link(place);
    }

    fn unlink(&mut self, place: usize) {
        let (prev, next) = (self.prev[place], self.next[place]);
        self.next[prev] = next;
        self.prev[next] = prev;
    }

    fn link(&mut self, place: usize) {
        let (prev, next) = (self.prev[place], self.next[place]);
        self.next[prev] = place;
        self.prev[next] = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::made::{read, unknown, write};

    fn answer(history: &[Operation]) -> Answer {
        check(&history.iter().collect::<Vec<_>>())
    }

    fn is_not(history: &[Operation]) -> bool {
        matches!(answer(history), Answer::Not(_))
    }

    #[test]
    fn one_after_the_other() {
        assert_eq!(answer(&[]), Answer::Linearizable);
        let good = [read(0, 1, None), write(2, 3, 1), read(4, 5, Some(1))];
        assert_eq!(answer(&good), Answer::Linearizable);
        assert!(is_not(&[write(2, 3, 1), read(4, 5, None)]));
        assert!(is_not(&[
            write(0, 1, 1),
            write(2, 3, 2),
            read(4, 5, Some(1))
        ]));
        assert!(is_not(&[read(0, 1, Some(7))]), "never written");
    }

    #[test]
    fn at_the_same_time_either_order_may_be_but_only_one() {
        let both = [write(0, 10, 1), write(0, 10, 2)];
        for last in [1, 2] {
            let mut history = both.to_vec();
            history.push(read(11, 12, Some(last)));
            assert_eq!(answer(&history), Answer::Linearizable);
        }
        let mut back = both.to_vec();
        back.extend([read(11, 12, Some(1)), read(13, 14, Some(2))]);
        assert!(is_not(&back));
        // Seen while it goes on, and then not any more.
        let flicker = [
            write(0, 1, 1),
            write(2, 20, 2),
            read(3, 4, Some(2)),
            read(5, 6, Some(1)),
        ];
        assert!(is_not(&flicker));
    }

    #[test]
    fn what_nobody_knows_may_come_late_or_never_but_not_before_it_began() {
        let late = [
            write(0, 1, 1),
            unknown(2, 3, 2),
            read(4, 5, Some(1)),
            read(6, 7, Some(2)),
        ];
        assert_eq!(answer(&late), Answer::Linearizable);
        assert_eq!(answer(&late[..3]), Answer::Linearizable);
        let twice = [
            write(0, 1, 1),
            unknown(2, 3, 2),
            read(4, 5, Some(2)),
            write(6, 7, 3),
            read(8, 9, Some(2)),
        ];
        assert!(is_not(&twice), "it takes effect once");
        assert!(is_not(&[read(0, 1, Some(2)), unknown(2, 3, 2)]));
    }

    #[test]
    fn a_long_history_is_judged_soon_and_one_wrong_read_in_it_is_found() {
        let mut history = Vec::new();
        for i in 1..2_000_u64 {
            // Six at a time.
            history.push(write(i * 10, i * 10 + 55, i));
            if i % 7 == 0 {
                history.push(read(i * 10 + 60, i * 10 + 61, Some(i)));
            }
        }
        // Reads fix an order only loosely; all are explained.
        assert_ne!(answer(&history), Answer::Undecided);
        let mut plain: Vec<Operation> = (1..2_000_u64)
            .flat_map(|i| {
                [
                    write(i * 10, i * 10 + 5, i),
                    read(i * 10 + 6, i * 10 + 8, Some(i)),
                ]
            })
            .collect();
        assert_eq!(answer(&plain), Answer::Linearizable);
        plain[2_001].outcome = Outcome::Told {
            value: Some(3),
            index: 0,
            digest: 0,
            start: None,
        };
        assert_eq!(answer(&plain), Answer::Not(plain[2_001].clone()));
    }
}

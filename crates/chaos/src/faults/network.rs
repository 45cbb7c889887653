//! Links between masters that lose, delay or break.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Arena, Done};
use crate::driver::{Driver, Kind};
use crate::links::Rule;
use crate::scenario::Nemesis;
use crate::schedule::Step;

/// Longest delay of a link.
const DELAY_MAX_MS: u64 = 200;
/// Connections break again and again so often.
const RESET_EVERY: Duration = Duration::from_millis(150);

impl<D: Driver> Arena<'_, D> {
    pub(super) async fn network(&mut self, step: &Step, lasts: Duration) -> anyhow::Result<Done> {
        let Some(links) = self.driver.links().cloned() else {
            return Ok(Done::not("there are no proxies between masters"));
        };
        let all: Vec<u64> = self.of(Kind::Master).iter().map(|m| m.id).collect();
        let picked = self.pick(Kind::Master, step.pick, all.len());
        let picked: Vec<u64> = picked.iter().map(|member| member.id).collect();
        if all.len() < 3 {
            return Ok(Done::not("fewer than three masters"));
        }
        let pairs = || {
            let froms = all.iter().copied();
            froms.flat_map(|from| all.iter().map(move |to| (from, *to)))
        };
        let leader = match self.leader().await {
            Some(status) => status.node_id,
            None => return Ok(Done::not("nobody led")),
        };
        let other = picked.iter().copied().find(|id| *id != leader);
        let other = other.unwrap_or(leader);
        let (pairs, rule, what): (Vec<(u64, u64)>, Rule, String) = match step.nemesis {
            Nemesis::PartitionAsymmetric => {
                // Half of the time the leader is not heard, half of the time it does not hear.
                let (from, to) = match step.pick % 2 {
                    0 => (leader, other),
                    _ => (other, leader),
                };
                let what = format!("what master {from} sends to master {to} is lost");
                (vec![(from, to)], Rule::Lose, what)
            }
            Nemesis::PartitionLeader => (
                pairs()
                    .filter(|(a, b)| *a == leader || *b == leader)
                    .collect(),
                Rule::Lose,
                format!("master {leader}, which leads, is alone"),
            ),
            Nemesis::PartitionBridge => {
                let (bridge, halves) = picked.split_first().unwrap_or((&leader, &[]));
                let one = &halves[..halves.len() / 2];
                let apart = |a: &u64, b: &u64| {
                    a != bridge && b != bridge && one.contains(a) != one.contains(b)
                };
                let what = format!("{one:?} see the others only by master {bridge}");
                let pairs = pairs().filter(|(a, b)| apart(a, b)).collect();
                (pairs, Rule::Lose, what)
            }
            Nemesis::Delay => {
                let by = Duration::from_millis(10 + step.pick % DELAY_MAX_MS);
                let what = format!("everything is {} ms late", by.as_millis());
                (pairs().collect(), Rule::Delay(by), what)
            }
            Nemesis::HalfOpen => (
                pairs()
                    .filter(|(a, b)| [*a, *b].contains(&leader) && [*a, *b].contains(&other))
                    .collect(),
                Rule::Lose,
                format!("nothing comes over the connections of masters {leader} and {other}"),
            ),
            _ => (
                pairs().collect(),
                Rule::Reset,
                format!("connections break every {} ms", RESET_EVERY.as_millis()),
            ),
        };
        let before = links.struck.numbers();
        if rule == Rule::Reset {
            let until = Instant::now() + lasts;
            while Instant::now() < until {
                links.rule(pairs.iter().map(|pair| (*pair, rule)));
                sleep(RESET_EVERY / 3).await;
                links.rule([]);
                sleep(RESET_EVERY).await;
            }
        } else {
            links.rule(pairs.iter().map(|pair| (*pair, rule)));
            sleep(lasts).await;
            links.rule([]);
        }
        let after = links.struck.numbers();
        let [lost, late, resets, silenced] =
            std::array::from_fn(|i| after[i].saturating_sub(before[i]));
        let struck = match rule {
            Rule::Lose => lost > 0 || silenced > 0,
            Rule::Delay(_) => late > 0,
            Rule::Reset => resets > 0,
            Rule::Pass => false,
        };
        Ok(Done {
            targets: pairs.iter().map(|(a, b)| format!("{a}→{b}")).collect(),
            confirmed: u64::from(struck),
            evidence: format!(
                "{what}: {lost} bytes lost, {late} bytes late, {resets} connections broken, \
                 {silenced} not let through"
            ),
        })
    }
}

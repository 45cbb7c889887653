//! Commands with parts that no honest agent, scheduler or leader would send, but with ids that
//! exist, so that they are not refused at the first look.

use regency_state::{Command, LaunchSpec, Operation, Proposal, State, TaskReport};
use regency_types::{ClusterTime, DurationMs, FrameworkId, Generation, OfferId};

use super::Workload;
use crate::{Rng, arbitrary};

impl Workload {
    /// Like [`Workload::next`], with something wrong in it.
    pub fn next_garbled(&mut self, state: &State) -> Proposal {
        let mut proposal = self.next(state);
        if state.term().is_some() {
            garble(&mut self.rng, &mut proposal.command, state);
        }
        proposal
    }
}

fn number(rng: &mut Rng, near: u64) -> u64 {
    match rng.below(4) {
        0 => rng.any_size(),
        1 => near.saturating_add(rng.below(3)),
        2 => near.saturating_sub(rng.below(3)),
        _ => near,
    }
}

fn garble(rng: &mut Rng, command: &mut Command, state: &State) {
    match command {
        Command::ApplyReports(c) => {
            c.command_seq = number(rng, c.command_seq);
            c.reports.extend(invented_reports(rng, state));
            for report in &mut c.reports {
                garble_report(rng, report);
            }
        }
        Command::ResyncAgent(c) => {
            c.command_seq = number(rng, c.command_seq);
            c.report_seq = number(rng, c.report_seq);
            c.tasks.extend(invented_reports(rng, state));
            for report in &mut c.tasks {
                garble_report(rng, report);
            }
        }
        Command::TakeInventory(c) => {
            c.report_seq = number(rng, c.report_seq);
            for task in &mut c.tasks {
                garble_report(rng, &mut task.report);
            }
        }
        Command::EndExecutors(c) => {
            c.command_seq = number(rng, c.command_seq);
            for exit in &mut c.exits {
                exit.report_seq = number(rng, exit.report_seq);
                exit.instance = Generation(number(rng, exit.instance.0));
            }
        }
        Command::ResyncExecutors(c) => {
            c.command_seq = number(rng, c.command_seq);
            for executor in &mut c.executors {
                executor.instance = Generation(number(rng, executor.instance.0));
                if let Some(spec) = &mut executor.spec {
                    spec.resources = arbitrary::resources(rng);
                }
            }
        }
        Command::RegisterAgent(c) => c.spec.total = arbitrary::resources(rng),
        Command::ReregisterAgent(c) => c.spec.total = arbitrary::resources(rng),
        Command::SubscribeFramework(c) => {
            garble_id(rng, &mut c.framework, state);
            if let Some(kept) = &mut c.kept {
                kept.push(OfferId(rng.any_size()));
            }
        }
        Command::UpdateFramework(c) => {
            c.kept.push(OfferId(rng.any_size()));
            if rng.chance(30) {
                c.spec.roles.clear();
            }
        }
        Command::IssueOffers(c) => {
            for plan in &mut c.plans {
                if rng.chance(30) {
                    plan.resources = arbitrary::resources(rng);
                }
                plan.described = number(rng, plan.described);
            }
            c.timeout = rng.maybe(|rng| DurationMs(rng.any_size()));
        }
        Command::AcceptOffers(c) => {
            c.refuse = DurationMs(rng.any_size());
            for operation in &mut c.operations {
                match operation {
                    Operation::Launch(tasks) | Operation::LaunchGroup(tasks) => {
                        garble_tasks(rng, tasks)
                    }
                    Operation::Convert(spec) if rng.chance(50) => {
                        spec.operation = Ok(arbitrary::resource_operation(rng));
                    }
                    Operation::Convert(_) => {}
                }
            }
        }
        Command::ApplyOperation(c) => c.operation = arbitrary::resource_operation(rng),
        Command::UpdateQuota(c) => {
            let twice = c.configs.first().cloned();
            c.configs.extend(twice.filter(|_| rng.chance(30)));
            for config in &mut c.configs {
                config.quota = arbitrary::quota(rng);
            }
        }
        Command::SetQuota(c) => c.guarantee = arbitrary::quota(rng).guarantees,
        Command::UpdateWeights(c) => {
            for (_, weight) in &mut c.weights {
                weight.0 = rng.any_size().cast_signed();
            }
        }
        Command::AnswerInverseOffers(c) => {
            c.refuse = DurationMs(rng.any_size());
            c.offers.push(OfferId(rng.any_size()));
        }
        Command::DrainAgent(c) => c.max_grace = rng.maybe(|rng| DurationMs(rng.any_size())),
        Command::DeclineOffers(c) => {
            c.refuse = DurationMs(rng.any_size());
            let twice = c.offers.clone();
            c.offers.extend(twice);
        }
        Command::SuspectAgents(c) => {
            for (_, since) in &mut c.agents {
                *since = ClusterTime(rng.any_size());
            }
        }
        Command::RescindOffers(c) => c.offers.push(OfferId(rng.any_size())),
        Command::ReportStateHash(c) => c.index = number(rng, c.index),
        Command::KillTask(c) => c.grace = rng.maybe(|rng| DurationMs(rng.any_size())),
        _ => {}
    }
}

fn invented_reports(rng: &mut Rng, state: &State) -> Vec<TaskReport> {
    let tasks: Vec<_> = state.tasks().collect();
    let Some(task) = rng.pick(&tasks) else {
        return Vec::new();
    };
    vec![TaskReport {
        report_seq: rng.below(200),
        task: task.key.clone(),
        generation: task.generation,
        task_seq: task.task_seq.saturating_add(1),
        head: task
            .unacked
            .as_ref()
            .map(|u| regency_state::ReportedUpdate {
                uuid: u.uuid,
                state: arbitrary::task_state(rng),
                status: u.status.clone(),
            }),
        latest_state: arbitrary::task_state(rng),
    }]
}

fn garble_report(rng: &mut Rng, report: &mut TaskReport) {
    report.report_seq = number(rng, report.report_seq);
    report.task_seq = number(rng, report.task_seq);
    if rng.chance(20) {
        report.generation = Generation(number(rng, report.generation.0));
    }
    if rng.chance(40) {
        report.latest_state = arbitrary::task_state(rng);
    }
    if let Some(head) = &mut report.head
        && rng.chance(40)
    {
        head.state = arbitrary::task_state(rng);
    }
}

/// Ids that look like those of this cluster, up to the last number there is.
fn garble_id(rng: &mut Rng, id: &mut Option<FrameworkId>, state: &State) {
    let Some(cluster) = state.cluster() else {
        return;
    };
    if rng.chance(30) {
        *id = Some(cluster.framework_id(match rng.below(3) {
            0 => u64::MAX - rng.below(2),
            _ => rng.below(10),
        }));
    }
}

fn garble_tasks(rng: &mut Rng, tasks: &mut Vec<LaunchSpec>) {
    let twice = tasks.first().cloned();
    tasks.extend(twice);
    for task in tasks {
        if let LaunchSpec::Valid(spec) = task
            && rng.chance(30)
        {
            spec.resources = arbitrary::resources(rng);
            if let Some(executor) = &mut spec.executor {
                executor.resources = arbitrary::resources(rng);
            }
        }
    }
}

//! I4: an update that was applied waits for its framework until the framework acknowledges that
//! very one or ends.

use regency_state::Command;

use super::Step;

pub(super) fn check(step: &Step<'_>) -> Result<(), String> {
    for old in step.before.tasks() {
        let Some(waiting) = &old.unacked else {
            continue;
        };
        let kept = step
            .after
            .task(&old.key)
            .is_some_and(|new| new.generation == old.generation && new.unacked == old.unacked);
        if kept {
            continue;
        }
        let acknowledged = matches!(
            &step.proposal.command,
            Command::AcknowledgeUpdate(ack)
                if ack.uuid == waiting.uuid && ack.task == old.key && ack.agent == old.agent
        );
        let ended = step.after.framework(&old.key.framework).is_none();
        if !acknowledged && !ended {
            return Err(format!(
                "the update {} of {} is lost",
                waiting.uuid, old.key
            ));
        }
    }
    Ok(())
}

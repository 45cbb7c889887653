//! Masters join, are replaced and leave, by the commands of operators, while frameworks subscribe.

use regency_chaos_tests::cluster::Cluster;
use regency_chaos_tests::masters::Places;
use regency_chaos_tests::operator::{Operator, text};
use regency_chaos_tests::wait::until;
use regency_chaos_tests::writes::{Writes, known_to};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_master_becomes_three_and_members_are_replaced_and_removed_under_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    let all = Places::beside(&cluster);
    let addresses = [1, 2, 3, 4].map(|id| all.http(id));
    let operator = Operator::of(addresses.clone());
    let writes = Writes::start(1, &addresses);

    // 1 -> 3. Two would be worse than one.
    let mut two = all.start(2, &[1], dir.path(), &[]);
    let mut three = all.start(3, &[1], dir.path(), &[]);
    all.answers(2).await;
    all.answers(3).await;
    operator.done(&["add", &all.spec(2)]).await;
    operator.done(&["add", &all.spec(3)]).await;
    let refused = operator.refused(&["promote", "2"]).await;
    assert!(refused.contains("--force=2"), "{refused}");
    let wrong = operator.refused(&["promote", "2", "--force=3"]).await;
    assert!(wrong.contains("--force=2"), "{wrong}");
    operator.done(&["promote", "2", "3"]).await;
    assert_eq!(operator.voters().await, [1, 2, 3]);
    let health = operator.healthy().await;
    assert!(health.contains("loss of 1 more"), "{health}");
    for line in health.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }

    // The third loses its disk. It cannot come back as itself.
    three.kill();
    three.wipe();
    let mut wiped = all.start(3, &[1], dir.path(), &[]);
    until("the loss is noticed", || async {
        let output = operator.run(&["health"]).await;
        (output.status.code() == Some(1) && text(&output.stdout).contains("loss of 0 more"))
            .then_some(())
    })
    .await;
    until("the wiped master is refused under its old id", || async {
        // Until it serves, the reason is that it does not answer.
        let why = operator.refused(&["add", &all.spec(3)]).await;
        why.contains("never used before").then_some(())
    })
    .await;
    // Without it, one more loss would be one too many.
    let refused = operator.refused(&["remove", "2", "--force=2"]).await;
    assert!(refused.contains("1 of 2 voters"), "{refused}");
    let mut four = all.start(4, &[1], dir.path(), &[]);
    all.answers(4).await;
    operator.done(&["replace", "3", &all.spec(4)]).await;
    assert_eq!(operator.voters().await, [1, 2, 4]);
    operator.healthy().await;
    // The wiped one is told that its number is used up; so is whoever tries to add it again.
    assert_eq!(wiped.ended().await, Some(1), "{}", wiped.log());
    assert!(wiped.log().contains("never used before"), "{}", wiped.log());
    let refused = operator.refused(&["add", &all.spec(3)]).await;
    assert!(refused.contains("was used before"), "{refused}");

    // The leader leaves.
    operator.done(&["transfer-leader", "2"]).await;
    let refused = operator.refused(&["remove", "2"]).await;
    assert!(refused.contains("--force=2"), "{refused}");
    operator.done(&["remove", "2", "--force=2"]).await;
    assert_eq!(operator.voters().await, [1, 4]);
    assert_eq!(two.ended().await, Some(0), "{}", two.log());
    let said = two.log().matches("was removed from the cluster").count();
    assert_eq!(said, 1, "{}", two.log());
    // It stays out when it is started again.
    let mut two = all.start(2, &[1], dir.path(), &[]);
    assert_eq!(two.ended().await, Some(0), "{}", two.log());

    // What was acknowledged is known to the newest master, which takes reads of its own.
    let written = writes.stop().await;
    assert!(written.len() > 10, "{written:?}");
    let known = known_to(&all.http(4)).await;
    let lost: Vec<_> = written.difference(&known).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");

    // Back to one.
    operator.done(&["remove", "4", "--force=4"]).await;
    assert_eq!(four.ended().await, Some(0), "{}", four.log());
    operator.healthy().await;
    let refused = operator.refused(&["remove", "1"]).await;
    assert!(refused.contains("last master"), "{refused}");
    assert_eq!(operator.voters().await, [1]);
}

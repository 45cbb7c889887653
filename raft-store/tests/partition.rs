//! Masters that cannot reach each other, and what must hold all the same.

mod common;

use common::{Cluster, leadership};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_stops_serving_and_the_others_go_on() {
    let mut cluster = Cluster::linked(3);
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    let cut_off = cluster.leader().await;
    let old = cluster.master(cut_off).leadership().borrow().term;
    cluster
        .links()
        .of(cut_off)
        .for_each(|link| link.black_hole());
    leadership(cluster.master(cut_off), "it stops serving", |l| {
        !l.is_leader()
    })
    .await;
    cluster.write(2).await;
    assert!(cluster.master(cut_off).read_barrier().await.is_err());
    cluster.links().of(cut_off).for_each(|link| link.heal());
    cluster.sees(cut_off, [1, 2]).await;
    let now = cluster.leader().await;
    assert_ne!(now, cut_off);
    assert!(cluster.master(now).leadership().borrow().term > old);
}

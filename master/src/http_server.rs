//! Serves HTTP, and ends every connection when this master ceases to lead.
//!
//! A client that kept a connection to a deposed leader would go on asking the wrong master, so
//! all of them are closed, the idle ones too.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::leader::LeaderWatch;

/// How long a connection may take to end its answer in progress.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is true.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    leader: LeaderWatch,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => return,
        };
        // Small answers must not wait for each other; a failure only makes them slower.
        let _ = stream.set_nodelay(true);
        tokio::spawn(connection(
            stream,
            router.clone(),
            leader.clone(),
            stop.clone(),
        ));
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn connection(
    stream: TcpStream,
    router: Router,
    leader: LeaderWatch,
    mut stop: watch::Receiver<bool>,
) {
    let builder = Builder::new(TokioExecutor::new());
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        // However a connection ends, there is nobody left to tell.
        _ = connection.as_mut() => return,
        () = deposed(leader) => {}
        () = stopped(&mut stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(CLOSE_GRACE, connection).await;
}

/// Completes when the server is to stop; also when whoever would say so is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Completes when a term that this master led ends.
async fn deposed(mut leader: LeaderWatch) {
    let led = leader.wait_for(Option::is_some).await.is_ok();
    if !led || leader.wait_for(Option::is_none).await.is_err() {
        std::future::pending().await
    }
}

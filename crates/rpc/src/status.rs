//! What a failed call tells about the other side.

use std::error::Error;

use tonic::{Code, Status};

/// Why a call failed, as far as the caller's next step depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made: nothing was sent, nobody heard it.
    NotConnected,
    /// No answer in time; it may have been carried out.
    Timeout,
    /// The connection broke; it may have been carried out.
    Broken,
    /// The other side answered that it will not do it.
    Refused,
}

/// Sorts a failed call.
#[must_use]
pub fn failure(status: &Status) -> Failure {
    match status.code() {
        Code::DeadlineExceeded => Failure::Timeout,
        Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::ResourceExhausted
        | Code::DataLoss => Failure::Refused,
        Code::Unavailable if chain(status).any(|e| e.is::<tonic::ConnectError>()) => {
            Failure::NotConnected
        }
        Code::Unavailable
        | Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::Aborted
        | Code::Internal => Failure::Broken,
    }
}

/// The message of a failed call with those of its causes, in one line.
#[must_use]
pub fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    for cause in chain(status) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn chain<'a>(status: &'a Status) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(status.source(), |error: &&'a (dyn Error + 'static)| {
        (*error).source()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::regency::raft::v1::IdentifyRequest;
    use crate::proto::regency::raft::v1::raft_client::RaftClient;

    #[tokio::test]
    async fn a_closed_port_is_told_apart_from_a_broken_connection() {
        // Bound and dropped at once: nobody listens there.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("loopback");
        let channel =
            crate::channel(&address.to_string(), &crate::ChannelSettings::default()).expect("ok");
        let status = RaftClient::new(channel)
            .identify(IdentifyRequest::default())
            .await
            .expect_err("nobody listens");
        assert_eq!(
            failure(&status),
            Failure::NotConnected,
            "{}",
            describe(&status)
        );
        assert_eq!(failure(&Status::unavailable("gone")), Failure::Broken);
        assert_eq!(
            failure(&Status::failed_precondition("no")),
            Failure::Refused
        );
    }
}

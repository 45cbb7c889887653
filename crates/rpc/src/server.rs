//! Servers: a listener that knows its address before it serves, and the settings of a server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// How often a server asks a silent client whether it is alive, and how long it waits for the
/// answer before it drops the connection and all streams on it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    #[source]
    source: io::Error,
}

/// An open port that nobody is answered on yet.
///
/// Kept apart from [`serve`] so that a process can find out that a port is taken, or which port
/// the system chose for port 0, before it starts anything else.
#[derive(Debug)]
pub struct Listener(Bound);

#[derive(Debug)]
enum Bound {
    Port(std::net::TcpListener),
    #[cfg(feature = "simulation")]
    Simulated(SocketAddr),
}

impl Listener {
    /// Opens the port.
    ///
    /// # Errors
    /// When the address is taken or not of this machine.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = std::net::TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        match bound {
            Ok(listener) => Ok(Self(Bound::Port(listener))),
            Err(source) => Err(BindError { address, source }),
        }
    }

    /// A port of a simulated host, which is opened when it is served.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub const fn simulated(address: SocketAddr) -> Self {
        Self(Bound::Simulated(address))
    }

    /// The address it listens on, with the real port.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Bound::Port(listener) => listener.local_addr(),
            #[cfg(feature = "simulation")]
            Bound::Simulated(address) => Ok(*address),
        }
    }

    /// The listener for a server that is not gRPC.
    ///
    /// # Errors
    /// When it cannot be used on this runtime.
    ///
    /// # Panics
    /// When called outside of a tokio runtime with I/O.
    pub fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        match self.0 {
            Bound::Port(listener) => tokio::net::TcpListener::from_std(listener),
            #[cfg(feature = "simulation")]
            Bound::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Serves `routes` until `stop` is ready, then lets calls in progress end.
///
/// # Errors
/// When the listener cannot be used on this runtime or the server fails.
///
/// # Panics
/// When called outside of a tokio runtime with I/O.
pub async fn serve(
    listener: Listener,
    routes: Routes,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_routes(routes);
    #[cfg(feature = "simulation")]
    if let Bound::Simulated(address) = listener.0 {
        let incoming = crate::simulation::incoming(address).await;
        return server
            .serve_with_incoming_shutdown(incoming.map_err(ServeError::Listener)?, stop)
            .await
            .map_err(ServeError::Server);
    }
    let listener = listener.into_tokio().map_err(ServeError::Listener)?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server
        .serve_with_incoming_shutdown(incoming, stop)
        .await
        .map_err(ServeError::Server)
}

/// Why a server ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener cannot be used.
    #[error("the listener cannot be used")]
    Listener(#[source] io::Error),
    /// The server failed.
    #[error("the server failed")]
    Server(#[source] tonic::transport::Error),
}

//! Channels: connections that are made when first used and made again when they break.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

/// How quickly a channel finds out that nobody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelSettings {
    /// Longest time to wait for a TCP connection.
    pub connect_timeout: Duration,
    /// How often an HTTP/2 ping asks whether the other side is alive, also while nothing is said.
    pub keepalive_interval: Duration,
    /// How long an unanswered ping may stay unanswered before the connection is given up. Without
    /// this a connection whose other side vanished would be used for ever.
    pub keepalive_timeout: Duration,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(3),
        }
    }
}

/// An address that cannot be connected to, whoever listens there.
#[derive(Debug, thiserror::Error)]
#[error("'{address}' is not an address of the form host:port")]
pub struct AddressError {
    /// What was given.
    pub address: String,
    #[source]
    source: Option<tonic::transport::Error>,
}

/// Window of one HTTP/2 stream and of a whole connection: enough to keep a stream of log entries
/// going over a round trip of several milliseconds.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// A channel to `address` ("host:port"). Nothing is sent before the first call.
///
/// # Errors
/// When `address` has not that form.
pub fn channel(address: &str, settings: &ChannelSettings) -> Result<Channel, AddressError> {
    check(address)?;
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|source| AddressError {
            address: address.to_owned(),
            source: Some(source),
        })?;
    let endpoint = endpoint
        .connect_timeout(settings.connect_timeout)
        .http2_keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true);
    #[cfg(feature = "simulation")]
    if regency_runtime::simulated() {
        return Ok(endpoint.connect_with_connector_lazy(crate::simulation::connector()));
    }
    Ok(endpoint.connect_lazy())
}

/// Makes a connection to `address` ("host:port") and closes it again.
///
/// # Errors
/// When there is none.
pub async fn knock(address: &str) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if regency_runtime::simulated() {
        return crate::simulation::knock(address).await;
    }
    TcpStream::connect(address).await.map(drop)
}

fn check(address: &str) -> Result<(), AddressError> {
    let well_formed = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p != 0));
    if well_formed {
        Ok(())
    } else {
        Err(AddressError {
            address: address.to_owned(),
            source: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_needs_a_host_and_a_port() {
        for bad in [
            "",
            "localhost",
            ":5060",
            "localhost:0",
            "localhost:x",
            "a b:1",
        ] {
            let error = channel(bad, &ChannelSettings::default()).expect_err(bad);
            assert_eq!(error.address, bad);
        }
        for good in ["localhost:5060", "10.0.0.1:1", "[::1]:5060"] {
            channel(good, &ChannelSettings::default()).expect(good);
        }
    }
}

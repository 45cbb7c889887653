//! Fetches a snapshot from one master.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncWriteExt as _;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a master may take to begin its answer: it writes the snapshot first, which it gives
/// up after a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(70);
/// How long a master may be silent within its answer.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read of an answer that says no.
const REASON_BYTES_MAX: usize = 4096;

/// Writes the snapshot that `master` gives to `file`.
pub(super) async fn fetch(
    master: &str,
    consistent: bool,
    file: &mut tokio::fs::File,
) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(connector);
    let uri = format!("http://{master}/regency/snapshot?consistent={consistent}");
    let uri = uri.parse().context("it is not an address")?;
    let response = tokio::time::timeout(HEAD_TIMEOUT, client.get(uri))
        .await
        .context("no answer in time")??;
    if response.status() != StatusCode::OK {
        bail!("{}", reason(response).await);
    }
    let mut body = response.into_body();
    while let Some(frame) = tokio::time::timeout(PIECE_TIMEOUT, body.frame())
        .await
        .context("it fell silent")?
    {
        if let Ok(data) = frame?.into_data() {
            file.write_all(&data).await?;
        }
    }
    Ok(())
}

async fn reason(response: Response<Incoming>) -> String {
    let status = response.status();
    let body = Limited::new(response.into_body(), REASON_BYTES_MAX).collect();
    match tokio::time::timeout(PIECE_TIMEOUT, body).await {
        Ok(Ok(body)) => {
            let text = body.to_bytes();
            let text = String::from_utf8_lossy(&text);
            let words: Vec<&str> = text.split_whitespace().collect();
            format!("{status}: {}", words.join(" "))
        }
        Ok(Err(_)) | Err(_) => status.to_string(),
    }
}

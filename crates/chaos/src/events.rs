//! A stream of events of the operator API, as the bytes of the answer are: it insists that each
//! record is one chunk.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long the head of an answer may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream from one master.
#[derive(Debug)]
pub struct EventStream {
    body: BufReader<TcpStream>,
    /// `get_state` of SUBSCRIBED; none where the stream goes on.
    pub state: Option<Value>,
    /// The last position that was seen.
    pub position: String,
}

impl EventStream {
    /// Subscribes behind a position, `0` for everything.
    ///
    /// # Errors
    /// When the master does not answer, or not as it should.
    pub async fn open(master: &str, after: &str) -> Result<Self> {
        let opened = tokio::time::timeout(HEAD_TIMEOUT, Self::open_slowly(master, after));
        opened.await.context("no answer in time")?
    }

    async fn open_slowly(master: &str, after: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(master).await?;
        stream.write_all(request(master, after).as_bytes()).await?;
        let mut body = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(body.read_line(&mut head).await? > 0, "no answer");
        }
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut stream = Self {
            body,
            state: None,
            position: after.to_owned(),
        };
        let mut first = stream.record().await?;
        ensure!(first["type"] == "SUBSCRIBED", "{first}");
        let state = first["subscribed"]["get_state"].take();
        stream.state = state.is_object().then_some(state);
        let second = stream.record().await?;
        ensure!(second["type"] == "HEARTBEAT", "{second}");
        Ok(stream)
    }

    /// The next event that is no heartbeat; [`Self::position`] is behind it then.
    ///
    /// # Errors
    /// When the stream ends or is not as it should be.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            let event = self.record().await?;
            if event["type"] != "HEARTBEAT" {
                return Ok(event);
            }
        }
    }

    /// One chunk with one record.
    async fn record(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.body.read_line(&mut line).await?;
        let bytes = usize::from_str_radix(line.trim_end(), 16)
            .ok()
            .filter(|bytes| *bytes > 0)
            .context("the stream ends")?;
        let mut chunk = vec![0; bytes + 2];
        self.body.read_exact(&mut chunk).await?;
        chunk.truncate(bytes);
        let chunk = String::from_utf8(chunk)?;
        let (length, json) = chunk.split_once('\n').context("a length and a record")?;
        ensure!(length.parse() == Ok(json.len()), "one record in one chunk");
        let mut event: Value = serde_json::from_str(json)?;
        let position = event["regency_position"].take();
        self.position = position.as_str().context("a position")?.to_owned();
        if let Some(members) = event.as_object_mut() {
            members.remove("regency_position");
        }
        Ok(event)
    }
}

/// The request for such a stream.
#[must_use]
pub fn request(master: &str, after: &str) -> String {
    let call = r#"{"type":"SUBSCRIBE"}"#;
    format!(
        "POST /api/v1 HTTP/1.1\r\nHost: {master}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nAccept-Encoding: gzip\r\nX-Regency-After: {after}\r\n\
         Content-Length: {}\r\n\r\n{call}",
        call.len()
    )
}

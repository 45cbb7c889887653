//! An operator who watches what happens, and remembers all of it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::wait::{PATIENCE, until};

/// An event and its position.
pub type Told = (String, Value);

/// A stream of events from one master. It reads the bytes of the answer itself, and insists that
/// each record is one chunk.
#[derive(Debug)]
pub struct Watcher {
    body: BufReader<TcpStream>,
    /// `get_state` of SUBSCRIBED; none where the stream goes on.
    pub state: Option<Value>,
    /// What was told so far, without heartbeats.
    pub told: Vec<Told>,
    /// The last position that was seen.
    pub position: String,
}

impl Watcher {
    /// Subscribes behind a position, `0` for everything; tries until that is answered.
    ///
    /// # Panics
    /// When it is not within [`PATIENCE`].
    pub async fn start(master: &str, after: &str) -> Self {
        until("events of a master", || async {
            Self::try_start(master, after).await.ok()
        })
        .await
    }

    async fn try_start(master: &str, after: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(master).await?;
        let call = r#"{"type":"SUBSCRIBE"}"#;
        let request = format!(
            "POST /api/v1 HTTP/1.1\r\nHost: {master}\r\nContent-Type: application/json\r\n\
             Accept: application/json\r\nAccept-Encoding: gzip\r\nX-Regency-After: {after}\r\n\
             Content-Length: {}\r\n\r\n{call}",
            call.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut body = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(body.read_line(&mut head).await? > 0, "no answer");
        }
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut watcher = Self {
            body,
            state: None,
            told: Vec::new(),
            position: after.to_owned(),
        };
        let mut first = watcher.record().await?;
        ensure!(first["type"] == "SUBSCRIBED", "{first}");
        let state = first["subscribed"]["get_state"].take();
        watcher.state = state.is_object().then_some(state);
        let second = watcher.record().await?;
        ensure!(second["type"] == "HEARTBEAT", "{second}");
        Ok(watcher)
    }

    /// Reads until an event for which this holds, which is the last one then.
    ///
    /// # Errors
    /// When the stream ends or is not as it should be.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        let all = async {
            loop {
                let event = self.record().await?;
                if event["type"] == "HEARTBEAT" {
                    continue;
                }
                let found = holds(&event);
                self.told.push((self.position.clone(), event));
                if found {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(read) => read,
            Err(_) => panic!(
                "within {PATIENCE:?} never: {what}; told was {:#?}",
                self.told
            ),
        }
    }

    /// Reads until the stream ends.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn to_the_end(&mut self) {
        let ended = self.until("the end of the stream", |_| false).await;
        assert!(ended.is_err(), "nothing is looked for");
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

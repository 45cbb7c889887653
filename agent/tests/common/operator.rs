//! Asks the agent what operators ask.

use base64::Engine as _;
use regency_wire::recordio;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::agent::Agent;
use super::master::Master;

const PATH: &str = "/slave(1)/api/v1";

async fn url(agent: &Agent, master: &Master, path: &str) -> String {
    format!("http://{}{path}", agent.address(master).await)
}

/// Status and JSON of the answer to a call; text that is no JSON as a string.
pub(crate) async fn call(agent: &Agent, master: &Master, call: Json) -> (u16, Json) {
    let request = reqwest::Client::new()
        .post(url(agent, master, PATH).await)
        .header("Content-Type", "application/json")
        .body(call.to_string());
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    let json = serde_json::from_str(&text).unwrap_or(Json::String(text));
    (status, json)
}

/// Status, headers and bytes of a GET.
pub(crate) async fn get(
    agent: &Agent,
    master: &Master,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let mut request = reqwest::Client::new().get(url(agent, master, path).await);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await.expect("a body").to_vec();
    (status, headers, body)
}

/// The id of a container in another one.
pub(crate) fn nested(parent: &Json, value: &str) -> Json {
    json!({ "value": value, "parent": parent })
}

/// The id of the container that a task runs in.
pub(crate) async fn container_of(agent: &Agent, master: &Master, task: &str) -> Json {
    let (_, all) = call(agent, master, json!({"type": "GET_CONTAINERS"})).await;
    let all = all["get_containers"]["containers"].as_array().cloned();
    let all = all.unwrap_or_default();
    let own = all.iter().find(|one| one["executor_id"]["value"] == task);
    own.expect("its container")["container_id"].clone()
}

/// The output of a container, as it comes.
pub(crate) struct Output {
    answer: reqwest::Response,
    records: recordio::Decoder,
}

impl Output {
    /// Makes a call that streams; fails the test when it is refused.
    pub(crate) async fn open(agent: &Agent, master: &Master, call: Json) -> Self {
        let answer = reqwest::Client::new()
            .post(url(agent, master, PATH).await)
            .header("Content-Type", "application/json")
            .header("Accept", "application/recordio")
            .header("Message-Accept", "application/json")
            .body(call.to_string())
            .send()
            .await
            .expect("an answer");
        if answer.status() != 200 {
            let status = answer.status();
            panic!("{status}: {}", answer.text().await.unwrap_or_default());
        }
        assert_eq!(answer.headers()["content-type"], "application/recordio");
        assert_eq!(answer.headers()["message-content-type"], "application/json");
        Self {
            answer,
            records: recordio::Decoder::new(1 << 20),
        }
    }

    /// Which stream, and what it says; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some(record) = self.records.next_record().expect("records") {
                let record: Json = serde_json::from_slice(&record).expect("JSON");
                if record["type"] != "DATA" {
                    continue;
                }
                let text = record["data"]["data"].as_str().unwrap_or_default();
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                let text = String::from_utf8_lossy(&bytes.expect("base64")).into_owned();
                let stream = record["data"]["type"].as_str().unwrap_or_default();
                return Some((stream.to_owned(), text));
            }
            let chunk = tokio::time::timeout(super::PATIENCE, self.answer.chunk());
            let piece = chunk.await.expect("something in time").ok()??;
            self.records.feed(&piece);
        }
    }

    /// Everything until the end: of STDOUT, of STDERR.
    pub(crate) async fn rest(&mut self) -> (String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        while let Some((stream, text)) = self.next().await {
            match stream.as_str() {
                "STDOUT" => out.push_str(&text),
                _ => err.push_str(&text),
            }
        }
        (out, err)
    }

    /// Reads until the output so far contains `wanted`.
    pub(crate) async fn until(&mut self, wanted: &str) -> String {
        let mut all = String::new();
        while !all.contains(wanted) {
            let (_, text) = self.next().await.expect("more output");
            all.push_str(&text);
        }
        all
    }
}

/// A request that carries input.
pub(crate) struct Input {
    stream: TcpStream,
}

impl Input {
    pub(crate) async fn open(agent: &Agent, master: &Master, container: &Json) -> Self {
        let address = agent.address(master).await;
        let mut stream = TcpStream::connect(address).await.expect("a listener");
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
             Content-Type: application/recordio\r\nMessage-Content-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("connected");
        let mut input = Self { stream };
        input
            .record(json!({"type": "CONTAINER_ID", "container_id": container}))
            .await;
        input
    }

    async fn record(&mut self, part: Json) {
        let call = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": part});
        let record = recordio::frame(call.to_string().as_bytes());
        let chunk = [
            format!("{:x}\r\n", record.len()).as_bytes(),
            &record,
            b"\r\n",
        ]
        .concat();
        self.stream.write_all(&chunk).await.expect("connected");
    }

    /// Bytes for the command; none are the end of its input.
    pub(crate) async fn write(&mut self, text: &str) {
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        self.record(json!({"type": "PROCESS_IO", "process_io": {
            "type": "DATA", "data": {"type": "STDIN", "data": data}}}))
            .await;
    }

    pub(crate) async fn resize(&mut self, rows: u16, columns: u16) {
        self.record(json!({"type": "PROCESS_IO", "process_io": {
            "type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": {
                "window_size": {"rows": rows, "columns": columns}}}}}))
            .await;
    }

    /// Ends the request; gives status and text of the answer.
    pub(crate) async fn finish(mut self) -> (u16, String) {
        // It may have been answered before.
        let _ = self.stream.write_all(b"0\r\n\r\n").await;
        let mut answer = String::new();
        let _ = self.stream.read_to_string(&mut answer).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }
}

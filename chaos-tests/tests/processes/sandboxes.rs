//! What a person does who looks after a task: finds it at a master, reads its output at its agent, and
//! looks around in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_client::v1::TaskState;
use regency_client::{Http, TaskBuilder};
use serde_json::{Value, json};

/// The calls of an agent.
const API: &str = "/slave(1)/api/v1";

async fn get(address: &str, path: &str) -> Value {
    let answer = Http::default().get(address, path, PATIENCE).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// Status and text of the answer to a call.
async fn call(agent: &str, call: Value) -> (u16, String) {
    let headers = [("content-type", "application/json")];
    let body = call.to_string().into();
    let http = Http::default();
    let answer = http.post(agent, API, &headers, body, PATIENCE).await;
    let answer = answer.expect("an answer");
    (answer.status.as_u16(), answer.text())
}

/// The part of the answer to a call that has its name.
async fn told(agent: &str, name: &str, part: Value) -> Value {
    let key = name.to_lowercase();
    let (status, text) = call(agent, json!({"type": name, &key: part})).await;
    assert_eq!(status, 200, "{name}: {text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer[&key].clone()
}

/// What a stream of records carried in both of its directions, put together.
fn output(mut records: &str) -> String {
    let mut out = Vec::new();
    while let Some((length, rest)) = records.split_once('\n') {
        let length: usize = length.parse().expect("the length of a record");
        let (record, rest) = rest.split_at(length);
        records = rest;
        let record: Value = serde_json::from_str(record).expect("JSON");
        if let Some(data) = record["data"]["data"].as_str() {
            out.extend(BASE64.decode(data).expect("base64"));
        }
    }
    String::from_utf8(out).expect("text")
}

/// Whether a file is there in a directory that the agent shows.
async fn has(agent: &str, directory: &str, name: &str) -> Option<()> {
    let files = get(agent, &format!("/files/browse?path={directory}")).await;
    let path = json!(format!("{directory}/{name}"));
    let files = files.as_array().expect("a list");
    files.iter().any(|file| file["path"] == path).then_some(())
}

/// Framework and agent of the task, and the agent's address, as a master shows them.
async fn find(master: &str) -> (String, String, String) {
    until("the task is shown", || async {
        let state = get(master, "/state").await;
        let framework = &state["frameworks"][0];
        let task = &framework["tasks"][0];
        if task["state"] != "TASK_RUNNING" {
            return None;
        }
        let agents = state["slaves"].as_array().expect("agents");
        let agent = agents
            .iter()
            .find(|agent| agent["id"] == task["slave_id"])?;
        let (_, address) = agent["pid"].as_str()?.split_once('@')?;
        let id = |value: &Value| value.as_str().map(str::to_owned);
        Some((id(&framework["id"])?, id(&agent["id"])?, address.to_owned()))
    })
    .await
}

/// The whole output, a page at a time, as the web UI reads it.
async fn page_by_page(agent: &str, path: &str) -> String {
    const PAGE: usize = 1000;
    let mut text = String::new();
    loop {
        let query = format!(
            "/files/read?path={path}&offset={}&length={PAGE}",
            text.len()
        );
        let page = get(agent, &query).await;
        assert_eq!(page["offset"], text.len());
        let data = page["data"].as_str().expect("text");
        assert!(data.len() <= PAGE);
        if data.is_empty() {
            return text;
        }
        text.push_str(data);
    }
}

#[tokio::test]
async fn a_task_is_found_read_page_by_page_and_looked_into() {
    let mut cluster = Cluster::start(&["--agents", "2"]).await;
    let mut scheduler = Scheduler::start("looked-after", &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    let script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; \
                  echo secret > note; exec sleep 1000";
    let task = TaskBuilder::shell("shown", script).cpus(0.1).mem_mb(32.0);
    scheduler
        .launch(offer.id.clone(), vec![task.on(&offer)])
        .await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["shown"])
        .await;
    let expect: String = (0..300).map(|i| format!("line {i}\n")).collect();

    // Found at a master that does not lead, with the agent that has it.
    let leader = cluster.agreed_leader().await.node_id;
    let follower = if leader == 1 { 2 } else { 1 };
    let master = cluster.info(Member::Master(follower)).http.clone();
    let (framework, agent_id, agent) = find(&master).await;
    assert_eq!(agent_id, offer.agent_id.value);

    // Its output, by either API.
    let run = format!("/frameworks/{framework}/executors/shown/runs/latest");
    let stdout = format!("{run}/stdout");
    until("the task has written", || has(&agent, &run, "note")).await;
    assert_eq!(page_by_page(&agent, &stdout).await, expect);
    let listed = told(&agent, "LIST_FILES", json!({"path": run})).await;
    let files = listed["file_infos"].as_array().expect("files");
    let file = files.iter().find(|file| file["path"] == stdout);
    assert_eq!(file.expect("its output")["size"], expect.len());
    let part = json!({"path": stdout, "offset": 5, "length": 7});
    let part = told(&agent, "READ_FILE", part).await;
    let data = BASE64.encode(&expect[5..12]);
    assert_eq!(part, json!({"size": expect.len(), "data": data}));
    let range = [("range", "bytes=-9")];
    let path = format!("/files/download?path={stdout}");
    let http = Http::default();
    let end = http.get_with(&agent, &path, &range, PATIENCE).await;
    let end = end.expect("an answer");
    assert_eq!(
        (end.status.as_u16(), &end.body[..]),
        (206, &b"line 299\n"[..])
    );
    let n = expect.len();
    let place = format!("bytes {}-{}/{n}", n - 9, n - 1);
    assert_eq!(end.headers["content-range"], place.as_str());

    // A look into it: a session with a command.
    let containers = get(&agent, "/containers").await;
    let containers = containers.as_array().expect("a list");
    let own = containers
        .iter()
        .find(|container| container["executor_id"] == "shown");
    let root = json!({"value": own.expect("its container")["container_id"]});
    let id = |value: &str| json!({"value": value, "parent": root});
    let session = |value: &str, script: &str| {
        json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": {
            "container_id": id(value), "command": {"value": script}}})
    };
    let (status, said) = call(&agent, session("look", "cat note")).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(output(&said), "secret\n");

    // One that would go on is killed; so is all it started.
    let address = agent.clone();
    let endless = session("endless", "touch here; sleep 1000; exit 3");
    let listening = tokio::spawn(async move { call(&address, endless).await });
    until("the session runs", || has(&agent, &run, "here")).await;
    told_nothing(&agent, "KILL_NESTED_CONTAINER", id("endless")).await;
    assert_eq!(listening.await.expect("no panic").0, 200);
    let ended = json!({"container_id": id("endless")});
    let ended = told(&agent, "WAIT_NESTED_CONTAINER", ended).await;
    assert_eq!(ended["exit_status"], 9);

    attached(&agent, &run, &id("shell")).await;

    // The task is what it was, through a change of leader.
    cluster.kill(Member::Master(leader)).await;
    cluster.restart(Member::Master(leader));
    cluster.agreed_leader().await;
    assert_eq!(find(&master).await, (framework, agent_id, agent.clone()));
    assert_eq!(scheduler.state("shown"), Some(TaskState::TaskRunning));
    let still = get(&agent, &format!("/files/read?path={stdout}")).await;
    assert_eq!(still["offset"], expect.len());
}

async fn told_nothing(agent: &str, name: &str, id: Value) {
    let body = json!({"type": name, name.to_lowercase(): {"container_id": id}});
    assert_eq!(call(agent, body).await, (200, String::new()));
}

/// A container with a terminal: somebody else attaches to what it says, and types.
async fn attached(agent: &str, run: &str, id: &Value) {
    let script = "touch begun; read line; echo got $line; exit 5";
    let launch = json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": {
        "container_id": id, "command": {"value": script},
        "container": {"type": "MESOS", "tty_info": {}}}});
    assert_eq!(call(agent, launch).await, (200, String::new()));
    let inner = format!("{run}/containers/shell");
    until("it runs", || has(agent, &inner, "begun")).await;
    let (address, attach) = (
        agent.to_owned(),
        json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {
            "container_id": id}}),
    );
    let listening = tokio::spawn(async move { call(&address, attach).await });
    until("somebody listens", || async {
        let metrics = Http::default().get(agent, "/metrics", PATIENCE).await;
        let metrics = metrics.expect("metrics").text();
        let gauge = "regency_agent_container_attachments 1";
        metrics.lines().any(|line| line == gauge).then_some(())
    })
    .await;
    let typed = [
        json!({"type": "CONTAINER_ID", "container_id": id}),
        json!({"type": "PROCESS_IO", "process_io": {"type": "DATA",
            "data": {"type": "STDIN", "data": BASE64.encode("hello\n")}}}),
    ];
    let records = typed.map(|part| {
        let call = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": part});
        let call = call.to_string();
        format!("{}\n{call}", call.len())
    });
    let headers = [
        ("content-type", "application/recordio"),
        ("message-content-type", "application/json"),
    ];
    let http = Http::default();
    let answer = http.post(agent, API, &headers, records.concat().into(), PATIENCE);
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (status, said) = listening.await.expect("no panic");
    assert_eq!(status, 200, "{said}");
    assert!(output(&said).ends_with("got hello\r\n"), "{said}");
    let ended = told(agent, "WAIT_NESTED_CONTAINER", json!({"container_id": id})).await;
    assert_eq!(ended["exit_status"], 5 << 8);
}

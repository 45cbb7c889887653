//! What operators ask of an agent with real processes: states, files, containers and sessions.

mod common;

use common::agent::Agent;
use common::master::{FRAMEWORK, Master};
use common::operator::{Input, Output, call, container_of, get, nested};
use common::{eventually, lives};
use serde_json::{Value as Json, json};

fn pair() -> (Master, Agent) {
    pair_with(&[])
}

fn pair_with(flags: &[&str]) -> (Master, Agent) {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.add_flags(flags);
    agent.start();
    (master, agent)
}

/// A task that runs, and the id of its container.
async fn running(master: &Master, agent: &Agent, task: &str, script: &str) -> (u64, Json) {
    let generation = master.launch(task, script);
    master.wait_for(task, generation, "TASK_RUNNING").await;
    (generation, container_of(agent, master, task).await)
}

fn shell(script: &str) -> Json {
    json!({ "value": script })
}

fn session(id: &Json, script: &str) -> Json {
    json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": {
        "container_id": id, "command": shell(script)}})
}

fn with_terminal(mut launch: Json, part: &str) -> Json {
    launch[part]["container"] = json!({"type": "MESOS", "tty_info": {
        "window_size": {"rows": 11, "columns": 22}}});
    launch
}

fn launch_nested(id: &Json, script: &str) -> Json {
    json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": {
        "container_id": id, "command": shell(script)}})
}

fn kill_nested(id: &Json) -> Json {
    json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": id}})
}

/// The wait status of a container, once it has ended.
async fn wait(master: &Master, agent: &Agent, id: &Json) -> Json {
    let wait = json!({"type": "WAIT_NESTED_CONTAINER",
        "wait_nested_container": {"container_id": id}});
    let (status, answer) = call(agent, master, wait).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["type"], "WAIT_NESTED_CONTAINER");
    answer["wait_nested_container"]["exit_status"].clone()
}

/// The pid that a script wrote as the first line of a file.
async fn pid_in(path: &std::path::Path) -> u32 {
    eventually("a pid", || async {
        let text = std::fs::read_to_string(path).ok()?;
        text.split_once('\n')?.0.trim().parse().ok()
    })
    .await
}

async fn until_dead(pid: u32) {
    eventually("the process is gone", || async {
        (!lives(pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_calls_that_read_tell_what_runs_and_what_ran() {
    let (master, agent) = pair_with(&["--external_log_file", "/no/such/file"]);
    let (_, container) = running(&master, &agent, "stays", "exec sleep 1000").await;
    let ended = master.launch("ended", "exit 3");
    master.wait_for("ended", ended, "TASK_FAILED").await;
    let completed = eventually("the end is acknowledged", || async {
        let (_, answer) = call(&agent, &master, json!({"type": "GET_TASKS"})).await;
        let tasks = answer["get_tasks"].clone();
        (tasks["completed_tasks"][0]["task_id"]["value"] == "ended").then_some(tasks)
    })
    .await;
    assert_eq!(completed["launched_tasks"][0]["state"], "TASK_RUNNING");
    let states: Vec<&Json> = completed["completed_tasks"][0]["statuses"]
        .as_array()
        .expect("statuses")
        .iter()
        .map(|status| &status["state"])
        .collect();
    assert_eq!(states, ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]);

    for (kind, part) in [
        ("GET_HEALTH", json!({"healthy": true})),
        ("GET_OPERATIONS", json!({})),
        ("GET_RESOURCE_PROVIDERS", json!({})),
    ] {
        let (status, answer) = call(&agent, &master, json!({ "type": kind })).await;
        assert_eq!(status, 200, "{kind}: {answer}");
        assert_eq!(answer, json!({"type": kind, kind.to_lowercase(): part}));
    }
    let (_, version) = call(&agent, &master, json!({"type": "GET_VERSION"})).await;
    assert_eq!(version["get_version"]["version_info"]["version"], "1.11.0");
    let (_, own) = call(&agent, &master, json!({"type": "GET_AGENT"})).await;
    assert_eq!(own["get_agent"]["agent_info"]["id"]["value"], "agent-S0");
    let (_, flags) = call(&agent, &master, json!({"type": "GET_FLAGS"})).await;
    let flags = flags["get_flags"]["flags"]
        .as_array()
        .expect("flags")
        .clone();
    assert!(flags.contains(&json!({"name": "external_log_file", "value": "/no/such/file"})));
    let (_, metrics) = call(
        &agent,
        &master,
        json!({"type": "GET_METRICS", "get_metrics": {}}),
    )
    .await;
    let metrics = metrics["get_metrics"]["metrics"]
        .as_array()
        .expect("metrics")
        .clone();
    assert!(
        metrics.contains(&json!({"name": "slave/tasks_running", "value": 1.0})),
        "{metrics:?}"
    );
    let (_, state) = call(&agent, &master, json!({"type": "GET_STATE"})).await;
    let state = &state["get_state"];
    assert_eq!(
        state["get_executors"]["executors"][0]["executor_id"],
        Json::Null
    );
    assert_eq!(
        state["get_executors"]["executors"][0]["executor_info"]["executor_id"]["value"],
        "stays"
    );
    assert_eq!(
        state["get_frameworks"]["frameworks"][0]["framework_info"]["id"]["value"],
        FRAMEWORK
    );

    let (status, _, body) = get(&agent, &master, "/slave(1)/state", &[]).await;
    assert_eq!(status, 200);
    let legacy: Json = serde_json::from_slice(&body).expect("JSON");
    let framework = &legacy["frameworks"][0];
    assert_eq!(
        framework["completed_executors"][0]["completed_tasks"][0]["id"],
        "ended"
    );
    let executor = &framework["executors"][0];
    assert_eq!(executor["container"], container["value"]);
    let directory = executor["directory"].as_str().expect("a path");
    assert!(std::path::Path::new(directory).is_dir(), "{directory}");
    assert_eq!(legacy["external_log_file"], "/no/such/file");

    let (_, _, body) = get(&agent, &master, "/monitor/statistics.json", &[]).await;
    let statistics: Json = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(statistics[0]["executor_id"], "stays");
    assert!(
        statistics[0]["statistics"]["mem_rss_bytes"].as_u64() > Some(0),
        "{statistics}"
    );
    let path = format!(
        "/containers?container_id={}",
        container["value"].as_str().expect("an id")
    );
    let (_, _, body) = get(&agent, &master, &path, &[]).await;
    let shown: Json = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(shown.as_array().expect("a list").len(), 1);
    assert_eq!(shown[0]["status"]["container_id"], container);
    let (_, _, body) = get(&agent, &master, "/metrics/snapshot?jsonp=cb", &[]).await;
    let text = String::from_utf8(body).expect("text");
    assert!(
        text.starts_with("cb({") && text.contains("\"slave/registered\":1.0"),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_calls_are_refused_with_what_is_wrong() {
    let (master, agent) = pair();
    let (_, root) = running(&master, &agent, "t", "exec sleep 1000").await;
    let other = nested(&json!({"value": "no-such"}), "c");
    for (wrong, status, words) in [
        (json!({}), 400, "'type'"),
        (json!({"type": "READ_FILE"}), 400, "'read_file'"),
        (json!({"type": "PRUNE_IMAGES"}), 501, "images"),
        (
            json!({"type": "LIST_FILES", "list_files": {"path": "/"}}),
            404,
            "'path'",
        ),
        (
            json!({"type": "LIST_FILES", "list_files": {"path": "x"}}),
            400,
            "'path'",
        ),
        (
            json!({"type": "READ_FILE", "read_file": {"path": "/slave/log", "offset": 0}}),
            404,
            "--external-log-file",
        ),
        (
            launch_nested(&json!({"value": "c"}), "true"),
            400,
            "container_id.parent",
        ),
        (
            launch_nested(&nested(&root, "a/b"), "true"),
            400,
            "container_id.value",
        ),
        (launch_nested(&other, "true"), 404, "no-such"),
        (
            launch_nested(&nested(&root, "c"), ""),
            400,
            "launch_nested_container.command",
        ),
        (kill_nested(&nested(&root, "no-such")), 404, "no-such"),
        (
            json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": root}}),
            400,
            "kill_container.container_id",
        ),
        (
            json!({"type": "ATTACH_CONTAINER_OUTPUT",
                "attach_container_output": {"container_id": root}}),
            400,
            "attach_container_output.container_id",
        ),
        (
            json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": {}}),
            415,
            "application/recordio",
        ),
    ] {
        let (code, answer) = call(&agent, &master, wrong.clone()).await;
        assert_eq!(code, status, "{wrong}: {answer}");
        assert!(answer.to_string().contains(words), "{wrong}: {answer}");
    }
    let (status, headers, _) = get(&agent, &master, "/api/v1", &[]).await;
    assert_eq!(
        (status, &headers["allow"]),
        (405, &"POST".parse().expect("a value"))
    );
    for (path, expect) in [
        ("/files/read", 400),
        ("/files/read?path=/etc/passwd&offset=0", 404),
        ("/files/browse?path=/../etc", 400),
        ("/files/read?path=/slave/log&offset=x", 400),
        ("/no/such/path", 404),
    ] {
        assert_eq!(get(&agent, &master, path, &[]).await.0, expect, "{path}");
    }
}

#[tokio::test]
async fn what_only_reads_is_read_with_any_method_and_calls_are_posted() {
    let (master, agent) = pair();
    let address = agent.address(&master).await;
    let ask = async |method: &str, path: &str| {
        let method = method.parse().expect("a method");
        let url = format!("http://{address}{path}");
        let answer = reqwest::Client::new().request(method, url).send().await;
        let answer = answer.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.text().await.expect("a body"))
    };
    for path in [
        "/state",
        "/slave(1)/state.json",
        "/slave%281%29/flags",
        "/version",
        "/containers",
        "/monitor/statistics",
        "/metrics/snapshot",
        "/logging/toggle",
        "/files/debug",
    ] {
        let (status, got, _) = ask("GET", path).await;
        assert_eq!(status, 200, "{path}");
        for method in ["HEAD", "OPTIONS", "POST", "BREW"] {
            let (status, headers, text) = ask(method, path).await;
            assert_eq!(status, 200, "{method} {path}");
            let media = "content-type";
            assert_eq!(headers[media], got[media], "{method} {path}");
            assert_eq!(text.is_empty(), method == "HEAD", "{method} {path}: {text}");
        }
    }
    for path in [
        "/api/v1",
        "/slave(1)/api/v1",
        "/slave%281%29/api/v1/executor",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT"] {
            let (status, headers, text) = ask(method, path).await;
            assert_eq!(
                (status, &headers["allow"]),
                (405, &"POST".parse().expect("a value"))
            );
            let named = format!("but received '{method}'.");
            assert!(method == "HEAD" || text.ends_with(&named), "{path}: {text}");
        }
    }
    let (status, _, text) = ask("GET", "/no-such-thing").await;
    assert_eq!((status, text.as_str()), (404, "404 Not Found."));
}

#[tokio::test]
async fn the_level_of_logs_is_raised_for_a_while() {
    let (master, agent) = pair();
    let toggle = async |query: &str| {
        let path = format!("/slave(1)/logging/toggle{query}");
        let (status, headers, body) = get(&agent, &master, &path, &[]).await;
        let text = String::from_utf8(body).expect("text");
        (status, headers.get("content-type").cloned(), text)
    };
    let level = async || {
        let (_, answer) = call(&agent, &master, json!({"type": "GET_LOGGING_LEVEL"})).await;
        assert_eq!(answer["type"], "GET_LOGGING_LEVEL");
        answer["get_logging_level"]["level"].clone()
    };
    let set = |level: u32, nanoseconds: i64| {
        json!({"type": "SET_LOGGING_LEVEL", "set_logging_level": {
            "level": level, "duration": {"nanoseconds": nanoseconds}}})
    };
    assert_eq!(level().await, 0);
    let (status, answer) = call(&agent, &master, set(1, 3_600_000_000_000)).await;
    assert_eq!((status, answer), (200, json!("")));
    assert_eq!(level().await, 1);
    let plain = "text/plain; charset=utf-8".parse().expect("a value");
    assert_eq!(toggle("").await, (200, Some(plain), "1\n".to_owned()));
    // The later one counts, with its time.
    assert_eq!(toggle("?level=2&duration=1h").await.0, 200);
    assert_eq!(level().await, 2);
    let (status, _) = call(&agent, &master, set(3, 1)).await;
    assert_eq!(status, 200);
    eventually("the level is taken back", || async {
        (level().await == 0).then_some(())
    })
    .await;
    for (query, named) in [
        ("?level=1", "duration"),
        ("?duration=1s", "level"),
        ("?level=x&duration=1s", "level"),
        ("?level=1&duration=-1s", "duration"),
    ] {
        let (status, _, text) = toggle(query).await;
        assert_eq!(status, 400, "{query}: {text}");
        assert!(text.contains(named), "{query}: {text}");
    }
    let (status, answer) = call(&agent, &master, set(1, -1)).await;
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer.to_string().contains("set_logging_level.duration"),
        "{answer}"
    );
    assert_eq!(level().await, 0);
}

#[tokio::test]
async fn a_sandbox_is_browsed_read_and_downloaded() {
    let (master, agent) = pair_with(&["--files_read_max", "4B", "--files_downloads_max", "1"]);
    let script = "printf 0123456789; ln -s /etc/passwd out; exec sleep 1000";
    running(&master, &agent, "t", script).await;
    eventually("its output", || async {
        (agent.stdout("t").await.len() == 10 && agent.sandbox("t").join("out").is_symlink())
            .then_some(())
    })
    .await;
    let run = format!("/frameworks/{FRAMEWORK}/executors/t/runs/latest");
    let (_, _, body) = get(&agent, &master, &format!("/files/browse?path={run}"), &[]).await;
    let listed: Json = serde_json::from_slice(&body).expect("JSON");
    let paths: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|file| file["path"].as_str().expect("a path"))
        .collect();
    let of = |name: &str| format!("{run}/{name}");
    assert_eq!(paths, [of("out"), of("stderr"), of("stdout")]);
    assert_eq!(listed[2]["size"], 10);
    assert_eq!(listed[2]["mode"], "-rw-r--r--");

    let (mut text, mut offset) = (String::new(), 0);
    loop {
        let path = format!("/files/read.json?path={run}/stdout&offset={offset}");
        let (status, _, body) = get(&agent, &master, &path, &[]).await;
        assert_eq!(status, 200);
        let part: Json = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(part["offset"], offset);
        let data = part["data"].as_str().expect("text");
        if data.is_empty() {
            break;
        }
        assert!(data.len() <= 4, "{data}");
        text.push_str(data);
        offset += data.len();
    }
    assert_eq!(text, "0123456789");
    for query in ["", "&offset=-1", "&offset=0&length=0"] {
        let path = format!("/files/read?path={run}/stdout{query}");
        let (_, _, body) = get(&agent, &master, &path, &[]).await;
        let part: Json = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(part, json!({"offset": 10, "data": ""}), "{query}");
    }
    let real = std::fs::canonicalize(agent.sandbox("t")).expect("a path");
    let read = json!({"type": "READ_FILE", "read_file": {
        "path": real.join("stdout").to_str().expect("text"), "offset": 8, "length": 100}});
    let (_, answer) = call(&agent, &master, read).await;
    assert_eq!(answer["read_file"], json!({"size": 10, "data": "ODk="}));

    let path = format!("/files/download?path={run}/stdout");
    let (status, headers, body) = get(&agent, &master, &path, &[]).await;
    assert_eq!((status, body.as_slice()), (200, &b"0123456789"[..]));
    let disposition = headers["content-disposition"].to_str().expect("text");
    assert_eq!(disposition, "attachment; filename=\"stdout\"");
    // The place among the downloads is free again only after the last byte.
    let (status, headers, body) = eventually("the other download has ended", || async {
        let got = get(&agent, &master, &path, &[("Range", "bytes=2-4")]).await;
        (got.0 != 503).then_some(got)
    })
    .await;
    assert_eq!((status, body.as_slice()), (206, &b"234"[..]));
    assert_eq!(headers["content-range"], "bytes 2-4/10");
    let beyond = eventually("the other download has ended", || async {
        let got = get(&agent, &master, &path, &[("Range", "bytes=10-")]).await;
        (got.0 != 503).then_some(got.0)
    })
    .await;
    assert_eq!(beyond, 416);
    let out = format!("/files/download?path={run}/out");
    let refused = eventually("the other download has ended", || async {
        let got = get(&agent, &master, &out, &[]).await;
        (got.0 != 503).then_some(got.0)
    })
    .await;
    assert_eq!(refused, 403);
    let (_, _, body) = get(&agent, &master, "/files/debug", &[]).await;
    let map: Json = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(map[&run], real.to_str().expect("text"));
}

#[tokio::test]
async fn a_session_runs_in_the_task_and_ends_with_its_connection() {
    let (master, agent) = pair();
    let script = "export SECRET=x; echo here > mark; exec sleep 1000";
    let (_, root) = running(&master, &agent, "t", script).await;
    eventually("the task wrote", || async {
        agent.sandbox("t").join("mark").is_file().then_some(())
    })
    .await;
    let id = nested(&root, "first");
    let look = "cat mark; echo $MESOS_TASK_ID; echo oops >&2; exit 7";
    let mut output = Output::open(&agent, &master, session(&id, look)).await;
    assert_eq!(
        output.rest().await,
        ("here\nt\n".to_owned(), "oops\n".to_owned())
    );
    assert_eq!(wait(&master, &agent, &id).await, 7 << 8);

    // What goes in comes out, until the end of the input.
    let id = nested(&root, "second");
    let mut output = Output::open(&agent, &master, session(&id, "tr a-z A-Z; echo end")).await;
    let mut input = Input::open(&agent, &master, &id).await;
    let long = "abc".repeat(50_000);
    let reading = tokio::spawn(async move { output.rest().await });
    input.write(&long).await;
    input.write("").await;
    assert_eq!(input.finish().await.0, 200);
    let (out, _) = reading.await.expect("no panic");
    assert_eq!(out, format!("{}end\n", long.to_uppercase()));

    // Whoever launched it goes, and it ends with everything it started.
    let id = nested(&root, "third");
    let script = "sleep 1000 & echo $! ; sleep 1000";
    let mut output = Output::open(&agent, &master, session(&id, script)).await;
    let pid: u32 = output.until("\n").await.trim().parse().expect("a pid");
    assert!(lives(pid));
    let (status, answer) = call(&agent, &master, session(&id, script)).await;
    assert_eq!(status, 409, "{answer}");
    let all = json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": true}});
    let (_, shown) = call(&agent, &master, all).await;
    let shown = shown["get_containers"]["containers"]
        .as_array()
        .expect("a list")
        .clone();
    let third = shown
        .iter()
        .find(|one| one["container_id"] == id)
        .expect("shown");
    assert_eq!(third["executor_id"]["value"], "t");
    assert!(
        third["resource_statistics"]["processes"].as_u64() > Some(1),
        "{third}"
    );
    drop(output);
    until_dead(pid).await;
    assert_eq!(wait(&master, &agent, &id).await, 9);
    assert!(
        agent.sandbox("t").join("mark").is_file(),
        "the sandbox is the task's"
    );
    let remove = json!({"type": "REMOVE_NESTED_CONTAINER",
        "remove_nested_container": {"container_id": id}});
    assert_eq!(call(&agent, &master, remove).await.0, 200);
    assert!(
        agent.sandbox("t").join("mark").is_file(),
        "the sandbox is the task's"
    );
}

#[tokio::test]
async fn a_session_with_a_terminal_has_a_size_and_job_control() {
    let (master, agent) = pair();
    let (_, root) = running(&master, &agent, "t", "exec sleep 1000").await;
    let id = nested(&root, "tty");
    let script = "tty && stty size && read line && stty size && echo got $line && exec sleep 1000";
    let launch = with_terminal(session(&id, script), "launch_nested_container_session");
    let mut output = Output::open(&agent, &master, launch).await;
    let begin = output.until("11 22").await;
    assert!(begin.contains("/dev/pts/"), "{begin}");
    let mut input = Input::open(&agent, &master, &id).await;
    input.resize(33, 44).await;
    input.write("hello\n").await;
    let rest = output.until("got hello").await;
    assert!(rest.contains("33 44"), "{rest}");
    let second = Input::open(&agent, &master, &id).await.finish().await;
    assert_eq!(second.0, 409, "{}", second.1);
    // What a person types to interrupt ends what runs.
    input.write("\u{3}").await;
    output.rest().await;
    assert_eq!(input.finish().await.0, 200);
    let status = wait(&master, &agent, &id).await;
    assert!(status == 2 || status == 130 << 8, "{status}");
}

#[tokio::test]
async fn a_nested_container_has_a_sandbox_and_outlives_the_agent() {
    let (master, mut agent) = pair();
    let (_, root) = running(&master, &agent, "t", "exec sleep 1000").await;
    let id = nested(&root, "inner");
    let script = "echo $$; echo $MESOS_SANDBOX; exec sleep 1000";
    let launch = launch_nested(&id, script);
    assert_eq!(call(&agent, &master, launch.clone()).await.0, 200);
    assert_eq!(call(&agent, &master, launch.clone()).await.0, 202);
    let stdout = agent.sandbox("t").join("containers/inner/stdout");
    let pid = pid_in(&stdout).await;
    let seen = format!("/frameworks/{FRAMEWORK}/executors/t/runs/latest/containers/inner/stdout");
    let (_, _, body) = get(
        &agent,
        &master,
        &format!("/files/download?path={seen}"),
        &[],
    )
    .await;
    let text = String::from_utf8(body).expect("text");
    assert!(text.contains("/containers/inner\n"), "{text}");
    let deeper = nested(&id, "deeper");
    let launch = launch_nested(&deeper, "echo $$; exec sleep 1000");
    assert_eq!(call(&agent, &master, launch).await.0, 200);
    let deep = agent
        .sandbox("t")
        .join("containers/inner/containers/deeper/stdout");
    let deep_pid = pid_in(&deep).await;
    let tied = nested(&root, "tied");
    let launch = session(&tied, "echo $$; exec sleep 1000");
    let mut output = Output::open(&agent, &master, launch).await;
    let tied_pid: u32 = output.until("\n").await.trim().parse().expect("a pid");

    agent.crash().await;
    until_dead(tied_pid).await;
    assert!(lives(pid) && lives(deep_pid));
    let attached = master.with(|memory| memory.attaches.len());
    agent.start();
    eventually("it is attached again", || async {
        master.with(|memory| (memory.attaches.len() > attached).then_some(()))
    })
    .await;
    assert_eq!(wait(&master, &agent, &tied).await, 9);
    let (status, answer) = call(
        &agent,
        &master,
        json!({"type": "REMOVE_NESTED_CONTAINER", "remove_nested_container": {"container_id": id}}),
    )
    .await;
    assert_eq!(status, 409, "{answer}");
    let term = json!({"type": "KILL_NESTED_CONTAINER",
        "kill_nested_container": {"container_id": id, "signal": 15}});
    assert_eq!(call(&agent, &master, term).await.0, 200);
    assert_eq!(wait(&master, &agent, &id).await, 15);
    until_dead(pid).await;
    // With the one around it.
    assert_eq!(wait(&master, &agent, &deeper).await, 9);
    until_dead(deep_pid).await;
    let remove = json!({"type": "REMOVE_NESTED_CONTAINER",
        "remove_nested_container": {"container_id": id}});
    assert_eq!(call(&agent, &master, remove.clone()).await.0, 200);
    assert_eq!(call(&agent, &master, remove).await.0, 200, "again");
    assert!(!agent.sandbox("t").join("containers/inner").exists());
    assert_eq!(call(&agent, &master, kill_nested(&id)).await.0, 404);
}

#[tokio::test]
async fn nested_containers_end_with_their_task_while_no_agent_runs() {
    let (master, mut agent) = pair();
    let (_, root) = running(&master, &agent, "t", "echo $$; exec sleep 1000").await;
    let task: u32 = agent.first_line("t").await.parse().expect("a pid");
    let id = nested(&root, "inner");
    let script = "sleep 1000 & echo $!; wait";
    assert_eq!(
        call(&agent, &master, launch_nested(&id, script)).await.0,
        200
    );
    let pid = pid_in(&agent.sandbox("t").join("containers/inner/stdout")).await;
    agent.crash().await;
    let task = nix::unistd::Pid::from_raw(i32::try_from(task).expect("a small number"));
    nix::sys::signal::kill(task, nix::sys::signal::Signal::SIGKILL).expect("it lives");
    until_dead(pid).await;
    agent.start();
    assert_eq!(wait_again(&master, &agent, &id).await, 9);
}

/// As [`wait`], while the agent may be starting.
async fn wait_again(master: &Master, agent: &Agent, id: &Json) -> Json {
    let attached = master.with(|memory| memory.attaches.len());
    eventually("it is attached again", || async {
        master.with(|memory| (memory.attaches.len() > attached).then_some(()))
    })
    .await;
    wait(master, agent, id).await
}

/// The owner of a sandbox may have put a link where the directory of nested containers is to be.
#[tokio::test]
async fn an_id_that_a_link_was_in_the_way_of_can_be_launched_again() {
    let (master, agent) = pair();
    let (_, root) = running(&master, &agent, "t", "exec sleep 1000").await;
    let outside = tempfile::tempdir().expect("a folder");
    let way = agent.sandbox("t").join("containers");
    let id = nested(&root, "inner");
    let launch = launch_nested(&id, "echo here; exec sleep 1000");
    for target in [outside.path(), std::path::Path::new("/no/such/path")] {
        std::os::unix::fs::symlink(target, &way).expect("a link");
        for _ in 0..2 {
            let (status, answer) = call(&agent, &master, launch.clone()).await;
            assert_eq!(status, 400, "{answer}");
            assert!(answer.to_string().contains("containers/inner"), "{answer}");
        }
        std::fs::remove_file(&way).expect("removed");
    }
    assert_eq!(
        std::fs::read_dir(outside.path()).expect("a folder").count(),
        0,
        "nothing is made outside"
    );
    let (status, answer) = call(&agent, &master, launch).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = call(&agent, &master, kill_nested(&id)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(wait(&master, &agent, &id).await, 9);
}

#[tokio::test]
async fn a_standalone_container_runs_by_itself() {
    let (master, agent) = pair_with(&["--operator_containers_max", "1"]);
    agent.address(&master).await;
    let id = json!({"value": "alone"});
    let launch = |id: &Json| {
        json!({"type": "LAUNCH_CONTAINER", "launch_container": {
            "container_id": id, "command": shell("pwd; read line; echo $line"),
            "resources": [{"name": "mem", "type": "SCALAR", "scalar": {"value": 8.0}}]}})
    };
    let launch_tty = with_terminal(launch(&id), "launch_container");
    assert_eq!(call(&agent, &master, launch_tty).await.0, 200);
    let (status, answer) = call(&agent, &master, launch(&json!({"value": "more"}))).await;
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer.to_string().contains("--operator-containers-max"),
        "{answer}"
    );
    let all = json!({"type": "GET_CONTAINERS", "get_containers": {"show_standalone": true}});
    let (_, shown) = call(&agent, &master, all).await;
    let shown = &shown["get_containers"]["containers"][0];
    assert_eq!(shown["container_id"], id);
    assert_eq!(shown["resource_statistics"]["mem_limit_bytes"], 8 << 20);
    let attach = json!({"type": "ATTACH_CONTAINER_OUTPUT",
        "attach_container_output": {"container_id": id}});
    let mut output = Output::open(&agent, &master, attach).await;
    let mut input = Input::open(&agent, &master, &id).await;
    input.write("hello\n").await;
    output.until("hello\r\nhello").await;
    output.rest().await;
    let wait = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": id}});
    let (_, answer) = call(&agent, &master, wait).await;
    assert_eq!(answer["wait_container"], json!({"exit_status": 0}));
    let sandbox = agent.work_dir().join("containers/alone");
    let log = std::fs::read_to_string(sandbox.join("stdout")).expect("a log");
    assert!(
        log.contains("/containers/alone\r\n") && log.contains("hello"),
        "{log}"
    );
    let remove = json!({"type": "REMOVE_CONTAINER", "remove_container": {"container_id": id}});
    assert_eq!(call(&agent, &master, remove).await.0, 200);
    assert!(!sandbox.exists());
}

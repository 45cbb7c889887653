//! Files that tasks ask for: from web servers and from the machine, unpacked, cached, refused.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use common::agent::Agent;
use common::eventually;
use common::master::Master;
use regency_wire::v1::{self, command_info::Uri, task_status::Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

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

/// Serves some files, and stalls in the middle of those that are called `stall`.
struct Site {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Site {
    async fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let files: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(name, content)| (format!("/{name}"), content.clone()))
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            let files = Arc::new(files);
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let (files, heard) = (Arc::clone(&files), Arc::clone(&heard));
                tokio::spawn(async move {
                    // A client that gives up is part of some tests.
                    let _ = answer(socket, &files, &heard).await;
                });
            }
        });
        Self {
            port,
            asked,
            server,
        }
    }

    fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    fn n_asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().expect("no panic in the server");
        asked
            .iter()
            .filter(|path| **path == format!("/{name}"))
            .count()
    }
}

async fn answer(
    mut socket: tokio::net::TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let read = socket.read(&mut request).await?;
    let text = String::from_utf8_lossy(&request[..read]).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().to_owned();
    heard.lock().expect("no panic").push(path.clone());
    if path == "/stall" {
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .await?;
        // Until the client gives up.
        while socket.read(&mut request).await? > 0 {}
        heard.lock().expect("no panic").push("/given-up".to_owned());
        return Ok(());
    }
    let Some(content) = files.get(&path) else {
        socket
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            .await?;
        return Ok(());
    };
    // Without its length: its end is that of the connection.
    socket
        .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        .await?;
    socket.write_all(content).await
}

fn uri(value: impl Into<String>) -> Uri {
    Uri {
        value: value.into(),
        ..Uri::default()
    }
}

fn task(name: &str, script: &str, uris: Vec<Uri>) -> v1::TaskInfo {
    v1::TaskInfo {
        name: name.to_owned(),
        task_id: v1::TaskId {
            value: name.to_owned(),
        },
        command: Some(v1::CommandInfo {
            value: Some(script.to_owned()),
            uris,
            ..v1::CommandInfo::default()
        }),
        ..v1::TaskInfo::default()
    }
}

fn archive(path: &str, content: &str) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, path, content.as_bytes())
        .expect("an entry");
    tar.into_inner().expect("memory").finish().expect("memory")
}

#[tokio::test]
async fn files_are_there_before_the_command_runs() {
    let (master, agent) = pair();
    let site = Site::start(&[
        ("tool.sh", b"#!/bin/sh\necho tool of $1\n".to_vec()),
        (
            "data.tar.gz",
            archive("data/inner.txt", "from the archive\n"),
        ),
    ])
    .await;
    let local = agent.folder.path().join("local.txt");
    std::fs::write(&local, "from this machine\n").expect("a writable disk");
    let uris = vec![
        Uri {
            executable: Some(true),
            ..uri(site.url("tool.sh?version=3"))
        },
        uri(site.url("data.tar.gz")),
        Uri {
            extract: Some(false),
            output_file: Some("kept/as-it-is.tgz".to_owned()),
            ..uri(site.url("data.tar.gz"))
        },
        uri(format!("file://{}", local.display())),
    ];
    let script = "./tool.sh $MESOS_TASK_ID; cat data/inner.txt local.txt; ls kept";
    let generation = master.launch_info(task("t", script, uris));
    master.wait_for("t", generation, "TASK_FINISHED").await;
    assert_eq!(
        agent.stdout("t").await,
        "tool of t\nfrom the archive\nfrom this machine\nas-it-is.tgz\n"
    );
    let log = std::fs::read_to_string(agent.sandbox("t").join("stderr")).expect("a file");
    for part in [
        "Fetching http://",
        "Fetched tool.sh (",
        "Extracted data.tar.gz",
    ] {
        assert!(log.contains(part), "{log}");
    }
}

#[tokio::test]
async fn what_cannot_be_fetched_fails_the_task_and_says_why() {
    let (master, agent) = pair_with(&["--fetcher-max-bytes", "4KB"]);
    let site = Site::start(&[
        ("big", vec![b'x'; 4097]),
        ("fits", vec![b'x'; 4096]),
        ("broken.tgz", b"no archive".to_vec()),
        ("bomb.tgz", archive("zeros", &"0".repeat(5000))),
        ("evil.tar", evil()),
    ])
    .await;
    for (name, value, part) in [
        ("absent", site.url("absent"), "404"),
        ("big", site.url("big"), "--fetcher-max-bytes"),
        (
            "broken",
            site.url("broken.tgz"),
            "Failed to extract 'broken.tgz'",
        ),
        ("bomb", site.url("bomb.tgz"), "--fetcher-max-bytes"),
        ("evil", site.url("evil.tar"), "leads out of the sandbox"),
        ("scheme", "hdfs://h/x".to_owned(), "'hdfs'"),
        ("nofile", "/no/such/file".to_owned(), "No such file"),
        ("relative", "some/file".to_owned(), "--frameworks-home"),
    ] {
        let generation = master.launch_info(task(name, "echo ran", vec![uri(value)]));
        let updates = master.wait_for(name, generation, "TASK_FAILED").await;
        assert_eq!(updates.len(), 1, "{name}");
        let message = updates[0].message.as_deref().unwrap_or_default();
        assert!(message.contains(part), "{name}: {message}");
        assert_eq!(
            updates[0].reason,
            Some(Reason::ContainerLaunchFailed as i32)
        );
        assert_eq!(agent.stdout(name).await, "");
        let log = std::fs::read_to_string(agent.sandbox(name).join("stderr")).expect("a log");
        assert!(log.contains("Failed to fetch"), "{name}: {log}");
    }
    let generation = master.launch_info(task("fits", "wc -c < fits", vec![uri(site.url("fits"))]));
    master.wait_for("fits", generation, "TASK_FINISHED").await;
    assert_eq!(agent.stdout("fits").await.trim(), "4096");
}

/// An archive that wants to write beside the sandbox.
fn evil() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let name = b"../../evil";
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_size(1);
    header.set_cksum();
    tar.append(&header, &b"x"[..]).expect("an entry");
    tar.into_inner().expect("memory")
}

#[tokio::test]
async fn a_cached_file_is_brought_once() {
    let (master, agent) = pair();
    let site = Site::start(&[
        ("shared", b"shared by all".to_vec()),
        ("a.tgz", archive("inner", "unpacked")),
    ])
    .await;
    let cached = |name: &str| Uri {
        cache: Some(true),
        ..uri(site.url(name))
    };
    let tasks: Vec<_> = (0..4)
        .map(|n| {
            let name = format!("t{n}");
            let uris = vec![cached("shared"), cached("a.tgz")];
            let script = "cat shared inner; test ! -e a.tgz";
            let generation = master.launch_info(task(&name, script, uris));
            (name, generation)
        })
        .collect();
    for (name, generation) in tasks {
        master.wait_for(&name, generation, "TASK_FINISHED").await;
        assert_eq!(agent.stdout(&name).await, "shared by allunpacked");
    }
    assert_eq!((site.n_asked("shared"), site.n_asked("a.tgz")), (1, 1));
}

#[tokio::test]
async fn a_file_that_the_cache_has_no_room_for_is_brought_all_the_same() {
    let (master, agent) = pair_with(&["--fetcher-cache-size", "4B"]);
    let site = Site::start(&[("five", b"fives".to_vec())]).await;
    for name in ["one", "two"] {
        let wanted = Uri {
            cache: Some(true),
            ..uri(site.url("five"))
        };
        let generation = master.launch_info(task(name, "cat five", vec![wanted]));
        master.wait_for(name, generation, "TASK_FINISHED").await;
        assert_eq!(agent.stdout(name).await, "fives");
    }
    let cached = walk(&agent.work_dir().join("fetch"));
    assert_eq!(cached, 0, "nothing stays in the cache");
}

/// Number of files below a directory.
fn walk(path: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(path).expect("a directory").flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => walk(&path),
            _ => 1,
        })
        .sum()
}

#[tokio::test]
async fn a_server_that_stalls_fails_the_task_and_a_kill_does_not_wait_for_it() {
    let (master, _agent) = pair_with(&["--fetcher-stall-timeout", "300ms"]);
    let site = Site::start(&[]).await;
    let stalls = || vec![uri(site.url("stall"))];
    let generation = master.launch_info(task("slow", "echo ran", stalls()));
    let updates = master.wait_for("slow", generation, "TASK_FAILED").await;
    let message = updates[0].message.as_deref().unwrap_or_default();
    assert!(message.contains("--fetcher-stall-timeout"), "{message}");

    let (master, agent) = pair_with(&["--fetcher-stall-timeout", "10m"]);
    let generation = master.launch_info(task("killed", "echo ran", stalls()));
    eventually("it is being fetched", || async {
        (site.n_asked("stall") == 2).then_some(())
    })
    .await;
    master.kill("killed", generation, None);
    let updates = master.wait_for("killed", generation, "TASK_KILLED").await;
    assert_eq!(updates.len(), 1);
    eventually("both downloads were given up", || async {
        (site.n_asked("given-up") == 2).then_some(())
    })
    .await;
    assert_eq!(agent.stdout("killed").await, "");
}

#[tokio::test]
async fn a_user_gets_no_file_that_only_root_may_read() {
    let (master, agent) = pair();
    // Reachable by everybody, apart from the file itself.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(agent.folder.path(), open).expect("our folder");
    let secret = agent.folder.path().join("secret");
    let mut file = std::fs::File::create(&secret).expect("a writable disk");
    file.write_all(b"for root only").expect("a writable disk");
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&secret, closed).expect("our file");
    let mut info = task(
        "t",
        "cat secret",
        vec![uri(secret.to_str().expect("a path"))],
    );
    let command = info.command.as_mut().expect("a command");
    command.user = Some("nobody".to_owned());
    let generation = master.launch_info(info);
    let updates = master.wait_for("t", generation, "TASK_FAILED").await;
    let message = updates[0].message.as_deref().unwrap_or_default();
    if nix::unistd::geteuid().is_root() {
        let is_told = message.contains("cannot read it") || message.contains("cannot start");
        assert!(is_told, "{message}");
        let left = std::fs::read(agent.sandbox("t").join("secret")).unwrap_or_default();
        assert_eq!(left, b"");
    } else {
        assert!(message.contains("--switch-user"), "{message}");
    }
}

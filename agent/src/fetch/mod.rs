//! Brings the files that a command asks for (`uris`) into its sandbox.
//!
//! * `source`: where a file comes from, and its name.
//! * `cache`: files kept for the next task.
//! * `archive`: unpacking.
//!
//! What it does is told in `stderr` of the sandbox, as Mesos' fetcher does.

mod archive;
mod cache;
mod source;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, Permissions, PermissionsExt};
use regency_wire::v1::command_info::Uri;
use tokio::sync::Semaphore;

use crate::metrics;
use crate::shim;
use archive::Form;
use cache::{Cache, Filling, Key};
use source::{Source, Wanted};

/// Most tasks whose files are fetched at once; more of them only share the same network and disk.
const FETCHING_MAX: usize = 16;
/// How long a server may take to be connected with.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes copied at once from a file.
const COPY_BYTES: usize = 1 << 16;
/// Mode of an executable.
const EXECUTABLE_MODE: u32 = 0o755;

/// How much may be fetched, and how.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Where cached files lie.
    pub(crate) cache_dir: PathBuf,
    /// Most bytes of all cached files.
    pub(crate) cache_bytes_max: u64,
    /// Most bytes of one file, and of what one archive holds.
    pub(crate) bytes_max: u64,
    /// A download without a single byte for this long has failed.
    pub(crate) stall_timeout: Duration,
    /// Relative paths begin here.
    pub(crate) home: Option<PathBuf>,
}

/// For whom files are fetched.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    pub(crate) sandbox: PathBuf,
    /// User and group, when they are not the agent's.
    pub(crate) owner: Option<(u32, u32)>,
}

/// Fetches for all tasks of this agent.
#[derive(Debug)]
pub(crate) struct Fetcher {
    limits: Limits,
    /// The program that reads files in the name of other users.
    shim: PathBuf,
    web: reqwest::Client,
    cache: Arc<Cache>,
    permits: Semaphore,
}

impl Fetcher {
    /// # Errors
    /// When the cache directory cannot be used, or there is no TLS.
    pub(crate) fn new(limits: Limits, shim: PathBuf) -> anyhow::Result<Self> {
        let folder = limits.cache_dir.clone();
        let cache = Cache::open(folder, limits.cache_bytes_max).with_context(|| {
            format!(
                "cannot use --fetcher-cache-dir {}",
                limits.cache_dir.display()
            )
        })?;
        let web = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(limits.stall_timeout)
            .build()
            .context("cannot make a client for downloads")?;
        Ok(Self {
            limits,
            shim,
            web,
            cache: Arc::new(cache),
            permits: Semaphore::new(FETCHING_MAX),
        })
    }

    /// Brings all `uris` into the sandbox, one after the other. Dropped before the end, it leaves
    /// what it has brought so far.
    ///
    /// # Errors
    /// When one of them cannot be brought; the error names it.
    pub(crate) async fn fetch(&self, uris: &[Uri], customer: &Customer) -> anyhow::Result<()> {
        if uris.is_empty() {
            return Ok(());
        }
        // Never closed, so a permit always comes.
        let _permit = self.permits.acquire().await;
        let sandbox = Dir::open_ambient_dir(&customer.sandbox, ambient_authority())
            .with_context(|| format!("cannot open {}", customer.sandbox.display()))?;
        let sandbox = Arc::new(sandbox);
        let mut done = Ok(());
        for uri in uris {
            note(&sandbox, &format!("Fetching {}", uri.value));
            done = self.fetch_one(uri, &sandbox, customer).await;
            let result = if done.is_ok() { "succeeded" } else { "failed" };
            ::metrics::counter!(metrics::FETCHES_TOTAL, metrics::RESULT => result).increment(1);
            if let Err(error) = &done {
                note(
                    &sandbox,
                    &format!("Failed to fetch {}: {error:#}", uri.value),
                );
                break;
            }
        }
        // Also after a failure: people read the log as the task's user.
        if let Some(owner) = customer.owner {
            let path = customer.sandbox.clone();
            tokio::task::spawn_blocking(move || give(&path, owner))
                .await?
                .context("cannot give the fetched files to the task's user")?;
        }
        done
    }

    async fn fetch_one(
        &self,
        uri: &Uri,
        sandbox: &Arc<Dir>,
        customer: &Customer,
    ) -> anyhow::Result<()> {
        let failed = || format!("Failed to fetch '{}'", uri.value);
        let wanted = Wanted::read(uri, self.limits.home.as_deref()).with_context(failed)?;
        let form = Form::of(&wanted.name)
            .filter(|_| uri.extract.unwrap_or(true) && !uri.executable.unwrap_or(false));
        let cached = match uri.cache.unwrap_or(false) {
            true => self
                .cached(&wanted, sandbox, customer)
                .await
                .with_context(failed)?,
            false => None,
        };
        // Of a cached archive the sandbox gets only the content, as in Mesos.
        let archive = match (cached, form) {
            (Some(file), Some(_)) => Some(file),
            (Some(file), None) => {
                self.copy_in(file, &wanted, sandbox)
                    .await
                    .with_context(failed)?;
                None
            }
            (None, _) => {
                let file = self
                    .bring_in(&wanted, sandbox, customer)
                    .await
                    .with_context(failed)?;
                Some(file)
            }
        };
        if let (Some(form), Some(archive)) = (form, archive) {
            let (dir, name) = (Arc::clone(sandbox), wanted.name.clone());
            let bytes_max = self.limits.bytes_max;
            let unpack = move || archive::unpack(form, archive, &name, &dir, bytes_max);
            tokio::task::spawn_blocking(unpack)
                .await?
                .with_context(|| format!("Failed to extract '{}'", wanted.name.display()))?;
            note(sandbox, &format!("Extracted {}", wanted.name.display()));
        }
        if uri.executable.unwrap_or(false) {
            sandbox.set_permissions(&wanted.name, Permissions::from_mode(EXECUTABLE_MODE))?;
        }
        Ok(())
    }

    /// The file from the cache, brought there first when it is not in it. `None` when the cache
    /// has no room for it.
    async fn cached(
        &self,
        wanted: &Wanted,
        sandbox: &Dir,
        customer: &Customer,
    ) -> anyhow::Result<Option<File>> {
        let key = Key {
            owner: customer.owner,
            uri: wanted.uri.value.clone(),
        };
        let turn = self.cache.turn(&key);
        let _turn = turn.lock().await;
        if let Some(file) = self.cache.find(&key) {
            note(sandbox, "Found it in the cache");
            return Ok(Some(file));
        }
        let (filling, file) = self.cache.fill(key).context("cannot write in the cache")?;
        let mut to = Target {
            file,
            bytes: 0,
            bytes_max: self.limits.bytes_max,
            filling: Some(filling),
            had_no_room: false,
        };
        match self.bring(wanted, &mut to, customer).await {
            Ok(()) => {}
            Err(_) if to.had_no_room => {
                note(sandbox, "The cache has no room for it");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let file = rewound(to.file)?;
        if let Some(filling) = to.filling {
            filling.keep();
        }
        Ok(Some(file))
    }

    /// Brings the file right into the sandbox.
    async fn bring_in(
        &self,
        wanted: &Wanted,
        sandbox: &Dir,
        customer: &Customer,
    ) -> anyhow::Result<File> {
        let mut to = Target {
            file: create(sandbox, &wanted.name)?,
            bytes: 0,
            bytes_max: self.limits.bytes_max,
            filling: None,
            had_no_room: false,
        };
        self.bring(wanted, &mut to, customer).await?;
        let text = format!("Fetched {} ({} bytes)", wanted.name.display(), to.bytes);
        note(sandbox, &text);
        Ok(rewound(to.file)?)
    }

    /// Copies a file from the cache into the sandbox.
    async fn copy_in(&self, file: File, wanted: &Wanted, sandbox: &Dir) -> anyhow::Result<()> {
        let mut to = create(sandbox, &wanted.name)?;
        let mut from = file;
        let bytes = tokio::task::spawn_blocking(move || io::copy(&mut from, &mut to)).await??;
        let text = format!("Copied {} ({bytes} bytes)", wanted.name.display());
        note(sandbox, &text);
        Ok(())
    }

    async fn bring(
        &self,
        wanted: &Wanted,
        to: &mut Target,
        customer: &Customer,
    ) -> anyhow::Result<()> {
        match &wanted.source {
            Source::Web(url) => self.download(url.clone(), to).await,
            Source::File(path) => {
                let reader = match customer.owner {
                    None => Reader::Own(open(path)?),
                    Some(owner) => self.reader_as(path, owner)?,
                };
                to.copy(reader).await
            }
        }
    }

    async fn download(&self, url: reqwest::Url, to: &mut Target) -> anyhow::Result<()> {
        let answer = self.web.get(url).send().await.map_err(plain)?;
        let mut answer = answer.error_for_status().map_err(plain)?;
        if let Some(bytes) = answer.content_length() {
            to.expect(bytes)?;
        }
        while let Some(chunk) = answer.chunk().await.map_err(plain)? {
            // Into the page cache; a disk that blocks holds up one download and little else.
            to.write(&chunk)?;
        }
        Ok(())
    }

    /// Reads a file as the task's user: root must not read for others what they may not.
    fn reader_as(&self, path: &Path, (user, group): (u32, u32)) -> anyhow::Result<Reader> {
        use std::os::unix::process::CommandExt;
        let child = Command::new(&self.shim)
            .args([shim::SUBCOMMAND, shim::READ_FLAG])
            .arg(path)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .gid(group)
            .uid(user)
            .spawn()
            .with_context(|| format!("cannot start {} as user {user}", self.shim.display()))?;
        Ok(Reader::Other(child))
    }
}

/// An error of a download without the address, which the message names already.
fn plain(error: reqwest::Error) -> anyhow::Error {
    let is_timeout = error.is_timeout();
    let error = anyhow::Error::from(error.without_url());
    match is_timeout {
        true => error.context("the server said nothing for too long (--fetcher-stall-timeout)"),
        false => error,
    }
}

/// Where a file is brought.
struct Target {
    file: File,
    bytes: u64,
    bytes_max: u64,
    /// When that is in the cache.
    filling: Option<Filling>,
    had_no_room: bool,
}

impl Target {
    /// There will be so many bytes.
    fn expect(&self, bytes: u64) -> anyhow::Result<()> {
        anyhow::ensure!(
            bytes <= self.bytes_max,
            "it has more bytes than --fetcher-max-bytes of the agent allows ({})",
            self.bytes_max
        );
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let more = bytes.len() as u64;
        self.expect(self.bytes.saturating_add(more))?;
        if let Some(filling) = &mut self.filling
            && !filling.grow(more)
        {
            self.had_no_room = true;
            anyhow::bail!("the cache has no room for it");
        }
        self.file.write_all(bytes)?;
        self.bytes += more;
        ::metrics::counter!(metrics::FETCHED_BYTES_TOTAL).increment(more);
        Ok(())
    }

    async fn copy(&mut self, reader: Reader) -> anyhow::Result<()> {
        // Chunks come through a channel, so that this value stays here and can be dropped.
        let (chunks, mut read) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
        let reading = tokio::task::spawn_blocking(move || reader.read_all(&chunks));
        while let Some(chunk) = read.recv().await {
            self.write(&chunk)?;
        }
        reading.await?
    }
}

/// Reads a file of this machine.
enum Reader {
    Own(File),
    Other(std::process::Child),
}

impl Reader {
    fn read_all(self, chunks: &tokio::sync::mpsc::Sender<Vec<u8>>) -> anyhow::Result<()> {
        match self {
            Self::Own(mut file) => Ok(pass_on(&mut file, chunks)?),
            Self::Other(mut child) => {
                let passed = match child.stdout.take() {
                    Some(mut output) => pass_on(&mut output, chunks),
                    None => Ok(()),
                };
                // When nobody wants more, it ends with its pipe.
                let mut said = String::new();
                if let Some(errors) = child.stderr.take() {
                    errors.take(1024).read_to_string(&mut said)?;
                }
                let status = child.wait()?;
                passed?;
                anyhow::ensure!(
                    status.success(),
                    "the task's user cannot read it: {}",
                    said.trim()
                );
                Ok(())
            }
        }
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let found = std::fs::metadata(path).context("it cannot be opened")?;
    // A pipe would be waited for.
    anyhow::ensure!(found.is_file(), "it is no file");
    File::open(path).context("it cannot be opened")
}

fn pass_on(from: &mut dyn Read, chunks: &tokio::sync::mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 || chunks.blocking_send(buffer[..read].to_vec()).is_err() {
            return Ok(());
        }
    }
}

fn create(sandbox: &Dir, name: &Path) -> anyhow::Result<File> {
    archive::make_way(sandbox, name)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    let file = sandbox
        .open_with(name, &options)
        .with_context(|| format!("cannot write {}", name.display()))?;
    Ok(file.into_std())
}

fn rewound(mut file: File) -> io::Result<File> {
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// A line in the sandbox's `stderr`.
fn note(sandbox: &Dir, text: &str) {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    // Best effort: the outcome is told in the task's status too.
    if let Ok(mut file) = sandbox.open_with("stderr", &options) {
        let _ = writeln!(file, "{text}");
    }
}

/// Gives everything below `path` to `owner`, following no link. Blocks.
fn give(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        lchown(&path, Some(owner.0), Some(owner.1))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
    }
    Ok(())
}

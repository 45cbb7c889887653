//! `regency snapshot save`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use regency_raft_store::verify_snapshot;

use super::{fetch, show};

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    /// HTTP addresses of the masters, host:port,... Any one that answers will do.
    #[arg(long, value_delimiter = ',', required = true, value_name = "HOST:PORT")]
    masters: Vec<String>,

    /// Include every write that was answered before, on whichever master; needs a majority.
    /// Without it, what a master has applied.
    #[arg(long)]
    consistent: bool,

    /// Where to save it. Must not exist.
    file: PathBuf,
}

/// Saves a snapshot that was verified, and says what it is.
pub(super) fn run(flags: Flags) -> anyhow::Result<String> {
    if flags.file.exists() {
        bail!(
            "{} exists; choose another name, or remove it",
            flags.file.display()
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(save(&flags))
}

async fn save(flags: &Flags) -> anyhow::Result<String> {
    let mut failures = Vec::new();
    for master in &flags.masters {
        let partial = Partial::new(&flags.file)?;
        let saved = async {
            let mut file = tokio::fs::File::create(&partial.path)
                .await
                .with_context(|| format!("cannot make {}", partial.path.display()))?;
            fetch::fetch(master, flags.consistent, &mut file).await?;
            file.sync_all().await?;
            verify_snapshot(&partial.path).context("what it sent is no good")
        };
        match saved.await {
            Ok(facts) => {
                partial.put_in_place(&flags.file)?;
                let file = flags.file.display();
                return Ok(format!(
                    "saved {file} from {master}: {}",
                    show::line(&facts)
                ));
            }
            Err(error) => failures.push(format!("{master}: {error:#}")),
        }
    }
    bail!(
        "no master gave a snapshot ({}); check --masters",
        failures.join("; ")
    )
}

/// A file that is not complete yet. Removed when it is dropped.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn new(file: &Path) -> anyhow::Result<Self> {
        let Some(name) = file.file_name() else {
            bail!("'{}' is not the name of a file", file.display());
        };
        let mut name = name.to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        Ok(Self {
            path: file.with_file_name(name),
        })
    }

    /// Gives it its name, unless somebody took that meanwhile. Durable on return.
    fn put_in_place(&self, file: &Path) -> anyhow::Result<()> {
        // Unlike a rename, a link never replaces what is there.
        std::fs::hard_link(&self.path, file)
            .with_context(|| format!("cannot make {}", file.display()))?;
        let parent = file.parent().filter(|parent| *parent != Path::new(""));
        let parent = parent.unwrap_or(Path::new("."));
        std::fs::File::open(parent)
            .and_then(|dir| dir.sync_all())
            .with_context(|| format!("cannot sync {}", parent.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Best effort: its name says what it is.
        let _ = std::fs::remove_file(&self.path);
    }
}

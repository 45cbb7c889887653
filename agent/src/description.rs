//! How the agent describes itself to the masters.
//!
//! What the machine has is detected once and remembered: a kernel that counts its memory a little
//! differently after an update must not make the agent look like another one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use regency_resources::{Resources, parse};
use regency_wire::resources::{ResourceFormat, attributes_to_wire, to_wire};
use regency_wire::v1;

use crate::files;
use crate::flags::AgentFlags;

/// Kept back from the machine's memory, in megabytes, when it has at least twice that (Mesos).
const MEM_KEPT_MB: u64 = 1024;
/// Kept back from the disk, in megabytes, when it has at least twice that (Mesos).
const DISK_KEPT_MB: u64 = 5 * 1024;
/// Ports offered when nobody says otherwise (Mesos).
const PORTS: &str = "[31000-32000]";
/// Said when the machine does not tell, in cores and megabytes (Mesos).
const CPUS_FALLBACK: u64 = 1;
const MEM_FALLBACK_MB: u64 = 1024;
const DISK_FALLBACK_MB: u64 = 10 * 1024;
/// Resources that every agent has, given or detected.
const DETECTED: [&str; 4] = ["cpus", "mem", "disk", "ports"];

const BYTES_PER_MB: u64 = 1024 * 1024;

/// Why an agent cannot be described.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DescriptionError {
    /// `--resources` cannot be read.
    #[error("--resources '{text}' cannot be read")]
    Resources {
        /// The flag's value.
        text: String,
        /// What is wrong.
        source: parse::Error,
    },
    /// `--resources` in JSON, or `--domain`, cannot be used.
    #[error("{flag} '{text}' cannot be used: {why}")]
    Json {
        /// The flag.
        flag: &'static str,
        /// Its value.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A flag names a file that cannot be read.
    #[error("cannot read the file that {flag} '{text}' names")]
    File {
        /// The flag.
        flag: &'static str,
        /// Its value.
        text: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// `--attributes` cannot be read.
    #[error("--attributes '{text}' cannot be read")]
    Attributes {
        /// The flag's value.
        text: String,
        /// What is wrong.
        source: parse::Error,
    },
    /// The remembered resources cannot be used.
    #[error("cannot use the resources remembered in {}", path.display())]
    Remembered {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// `--ip` stands for all addresses and none is named for others.
    #[error("--ip {0} is no address others can use; name one with --advertise-ip")]
    NoAddress(IpAddr),
}

/// What this agent is to others.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    /// Sent to the masters; without an id.
    pub(crate) info: v1::AgentInfo,
    /// Where others reach its HTTP port.
    pub(crate) address: SocketAddr,
    /// All its resources.
    pub(crate) resources: Resources,
}

impl Description {
    /// From the flags, the machine, and what was remembered of it in the file `remembered`.
    /// `bound` is where the HTTP port listens.
    ///
    /// # Errors
    /// When a flag is wrong, or the file cannot be used.
    pub(crate) fn new(
        flags: &AgentFlags,
        bound: SocketAddr,
        work_dir: &Path,
        remembered: &Path,
    ) -> Result<Self, DescriptionError> {
        let ip = flags.advertise_ip.unwrap_or(bound.ip());
        if ip.is_unspecified() {
            return Err(DescriptionError::NoAddress(ip));
        }
        let address = SocketAddr::new(ip, flags.advertise_port.unwrap_or(bound.port()));
        let resources = resources(flags, work_dir, remembered)?;
        let text = flag_text("--attributes", &flags.attributes)?;
        let attributes = parse::attributes(&text)
            .map_err(|source| DescriptionError::Attributes { text, source })?;
        let info = v1::AgentInfo {
            hostname: flags.hostname.clone().unwrap_or_else(|| hostname(ip)),
            port: Some(i32::from(address.port())),
            resources: to_wire(&resources, ResourceFormat::PostReservationRefinement, None),
            attributes: attributes_to_wire(&attributes),
            id: None,
            domain: flags.domain.as_deref().map(domain).transpose()?,
            checkpoint: Some(true),
        };
        Ok(Self {
            info,
            address,
            resources,
        })
    }
}

fn hostname(ip: IpAddr) -> String {
    if ip.is_loopback() {
        return "localhost".to_owned();
    }
    let own = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    own.filter(|name| !name.is_empty())
        .unwrap_or_else(|| ip.to_string())
}

fn resources(
    flags: &AgentFlags,
    work_dir: &Path,
    remembered: &Path,
) -> Result<Resources, DescriptionError> {
    let text = flags.resources.as_deref().unwrap_or_default();
    let text = flag_text("--resources", text)?;
    let mut entries = if regency_wire::flags::is_json(&text) {
        regency_wire::flags::resources(&text, &flags.default_role).map_err(|why| {
            DescriptionError::Json {
                flag: "--resources",
                text: text.clone(),
                why,
            }
        })?
    } else {
        parse::entries(&text, &flags.default_role)
            .map_err(|source| DescriptionError::Resources { text, source })?
    };
    // Also one that is given as zero counts as given.
    let given: Vec<String> = entries.iter().map(|(key, _)| key.name.clone()).collect();
    if DETECTED
        .iter()
        .any(|name| !given.iter().any(|given| given == name))
    {
        let detected = remembered_or_detected(work_dir, remembered)?;
        let more = parse::entries(&detected, &flags.default_role).map_err(|source| {
            DescriptionError::Resources {
                text: detected.clone(),
                source,
            }
        })?;
        entries.extend(
            more.into_iter()
                .filter(|(key, _)| !given.contains(&key.name)),
        );
    }
    Ok(entries.into_iter().collect())
}

/// The value of a flag, or what is in the file that it names.
fn flag_text(flag: &'static str, value: &str) -> Result<String, DescriptionError> {
    let Some(path) = value.trim().strip_prefix("file://") else {
        return Ok(value.to_owned());
    };
    std::fs::read_to_string(path).map_err(|source| DescriptionError::File {
        flag,
        text: value.to_owned(),
        source,
    })
}

fn domain(value: &str) -> Result<v1::DomainInfo, DescriptionError> {
    let text = flag_text("--domain", value)?;
    regency_wire::flags::domain(&text).map_err(|why| DescriptionError::Json {
        flag: "--domain",
        text,
        why,
    })
}

fn remembered_or_detected(work_dir: &Path, remembered: &Path) -> Result<String, DescriptionError> {
    let io_error = |source| DescriptionError::Remembered {
        path: remembered.to_owned(),
        source,
    };
    if let Some(text) = files::read_if_there(remembered).map_err(io_error)? {
        return Ok(text);
    }
    let text = detect(work_dir);
    files::write_durably(remembered, text.as_bytes()).map_err(io_error)?;
    Ok(text)
}

/// What this machine has, in the form of `--resources`.
fn detect(work_dir: &Path) -> String {
    let system = sysinfo::System::new_with_specifics(
        sysinfo::RefreshKind::nothing()
            .with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram()),
    );
    let cpus = std::thread::available_parallelism().map_or(CPUS_FALLBACK, |n| n.get() as u64);
    let mem_bytes = system.map_or(0, |system| system.total_memory());
    let mem = match mem_bytes / BYTES_PER_MB {
        0 => MEM_FALLBACK_MB,
        total => offered(total, MEM_KEPT_MB),
    };
    let disk = match disk_mb(work_dir) {
        Some(total) if total > 0 => offered(total, DISK_KEPT_MB),
        _ => DISK_FALLBACK_MB,
    };
    format!("cpus:{cpus};mem:{mem};disk:{disk};ports:{PORTS}")
}

/// All but `kept`, or half of it when it is small.
fn offered(total: u64, kept: u64) -> u64 {
    if total >= 2 * kept {
        total - kept
    } else {
        total / 2
    }
}

/// Size of the file system that holds `path`.
fn disk_mb(path: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let bytes = stat.blocks().saturating_mul(stat.fragment_size());
    Some(bytes / BYTES_PER_MB)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use regency_resources::Milli;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        agent: AgentFlags,
    }

    fn describe(folder: &Path, args: &[&str]) -> Result<Description, DescriptionError> {
        let args = ["agent", "--master", "a", "--work-dir", "/w"]
            .iter()
            .chain(args);
        let flags = Program::try_parse_from(args).expect("good flags").agent;
        let bound = SocketAddr::from(([127, 0, 0, 1], 5051));
        Description::new(&flags, bound, folder, &folder.join("resources"))
    }

    #[test]
    fn what_is_not_given_is_detected_and_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = describe(folder.path(), &[]).expect("a description");
        assert!(first.resources.scalar("cpus") > Milli(0));
        assert!(first.resources.scalar("mem") > Milli(0));
        let remembered = folder.path().join("resources");
        std::fs::write(&remembered, "cpus:3;mem:99;disk:7;ports:[1-2]").expect("a writable disk");
        let second = describe(folder.path(), &["--resources", "mem:5;gpus:2"]).expect("one");
        assert_eq!(second.resources.scalar("cpus"), Milli(3_000));
        assert_eq!(second.resources.scalar("mem"), Milli(5_000));
        assert_eq!(second.resources.scalar("gpus"), Milli(2_000));
    }

    #[test]
    fn zero_is_given_and_is_not_detected() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = describe(
            folder.path(),
            &["--resources", "cpus:0;mem:1;disk:1;ports:[1-1]"],
        );
        assert_eq!(
            own.expect("a description").resources.scalar("cpus"),
            Milli(0)
        );
        assert!(!folder.path().join("resources").exists());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        for (args, part) in [
            (["--resources", "cpus"], "--resources 'cpus'"),
            (["--attributes", ":x"], "--attributes ':x'"),
            (["--resources", "[1]"], "--resources '[1]'"),
            (
                ["--resources", "file:///no/such"],
                "--resources 'file:///no/such'",
            ),
            (["--domain", "eu"], "--domain 'eu'"),
            (["--advertise-ip", "0.0.0.0"], "--advertise-ip"),
        ] {
            let error = describe(folder.path(), &args).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn json_files_and_domains_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("given.json");
        let json = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":3}},
            {"name":"mem","type":"SCALAR","scalar":{"value":7},"role":"eng"}]"#;
        std::fs::write(&file, json).expect("a writable disk");
        let given = format!("file://{}", file.display());
        let domain = r#"{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"a"}}}"#;
        let args = [
            "--resources",
            &given,
            "--default-role",
            "ops",
            "--domain",
            domain,
        ];
        let own = describe(folder.path(), &args).expect("a description");
        let text = own.resources.to_string();
        assert!(
            text.contains("cpus(ops):3") && text.contains("mem(eng):7"),
            "{text}"
        );
        // What was not given is detected.
        assert!(text.contains("disk(ops):"), "{text}");
        let domain = own.info.domain.expect("a domain");
        assert_eq!(regency_wire::flags::region(&domain), Some("eu"));
    }

    #[test]
    fn small_machines_keep_half() {
        assert_eq!(offered(2047, 1024), 1023);
        assert_eq!(offered(2048, 1024), 1024);
        assert_eq!(offered(16_384, 1024), 15_360);
    }
}

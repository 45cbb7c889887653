//! The log file: reading it back, appending, writing it anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use regency_agent_core::{Durable, Record};
use regency_types::AgentEpoch;

use crate::files;

use super::frame::{self, HEADER_BYTES, Header};

/// First bytes of the file; the last one is the version of the framing.
const MAGIC: &[u8; 8] = b"RGNCYAG\x01";

/// Bytes before the first frame: [`MAGIC`], the epoch, a checksum of both.
const PREFACE_BYTES: usize = MAGIC.len() + 16 + 4;

/// The log is written anew when it is longer than this many times its last picture…
const GROWTH_MAX: u64 = 4;
/// …and longer than this, in bytes.
const REWRITE_BYTES_MIN: u64 = 1024 * 1024;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The operating system refused.
    #[error("cannot use the checkpoints in {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a checkpoint log of this program", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// Something that had been synced cannot be read back.
    #[error(
        "the checkpoints in {} are damaged at byte {offset}: {what}; what this agent runs can \
         not be known from them. Restore the file, or move it away: the agent then kills the \
         tasks it finds and joins under a new id",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Written by another version of the program.
    #[error(
        "the checkpoints in {} have version {version}, this program reads version {}; start the \
         version that wrote them",
        path.display(),
        frame::VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// Why a batch is not durable. The agent must stop: what the disk holds is not known any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The operating system refused.
    #[error("cannot write the checkpoints in {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A batch beyond the bound of a frame.
    #[error("a checkpoint of {bytes} bytes is larger than allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A record that has no encoding.
    #[error("a checkpoint cannot be encoded")]
    Encode(#[source] bincode::error::EncodeError),
}

/// What was cut off the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TornTail {
    /// Where the readable part ends.
    pub offset: u64,
    /// How many bytes were behind it.
    pub bytes: u64,
}

/// A log that was read back.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Ready to append.
    pub log: Log,
    /// Identity of the log. It is in the log itself, so that neither is ever found without the
    /// other.
    pub epoch: AgentEpoch,
    /// What all its records amount to.
    pub durable: Durable,
    /// What was cut off, when the last write had not been finished.
    pub torn: Option<TornTail>,
}

/// An open checkpoint log.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    epoch: AgentEpoch,
    file: File,
    /// Length of the file, all of it synced.
    synced: u64,
    /// Length of the file when it was last written anew.
    picture_bytes: u64,
}

impl Log {
    /// Opens the log at `path`; when there is none, makes an empty one of the epoch `fresh`.
    ///
    /// # Errors
    /// When the file cannot be used, or what it had synced cannot be read back.
    pub(crate) fn open(path: &Path, fresh: AgentEpoch) -> Result<Opened, OpenError> {
        let io_error = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        match std::fs::read(path) {
            Ok(bytes) => {
                let scan = scan(path, &bytes)?;
                let file = OpenOptions::new()
                    .append(true)
                    .open(path)
                    .map_err(io_error)?;
                let torn = scan.end < bytes.len() as u64;
                if torn {
                    file.set_len(scan.end)
                        .and_then(|()| file.sync_all())
                        .map_err(io_error)?;
                }
                Ok(Opened {
                    epoch: scan.epoch,
                    log: Self {
                        path: path.to_owned(),
                        epoch: scan.epoch,
                        file,
                        synced: scan.end,
                        picture_bytes: scan.picture_bytes,
                    },
                    durable: scan.durable,
                    torn: torn.then(|| TornTail {
                        offset: scan.end,
                        bytes: bytes.len() as u64 - scan.end,
                    }),
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files::write_durably(path, &preface(fresh)).map_err(io_error)?;
                let file = OpenOptions::new()
                    .append(true)
                    .open(path)
                    .map_err(io_error)?;
                let synced = PREFACE_BYTES as u64;
                Ok(Opened {
                    epoch: fresh,
                    log: Self {
                        path: path.to_owned(),
                        epoch: fresh,
                        file,
                        synced,
                        picture_bytes: synced,
                    },
                    durable: Durable::default(),
                    torn: None,
                })
            }
            Err(error) => Err(io_error(error)),
        }
    }

    /// Writes `records` as one unit and returns once they are on the disk.
    ///
    /// # Errors
    /// When that did not happen; the log must not be used any more then.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), WriteError> {
        let mut bytes = Vec::new();
        encode(&mut bytes, records, self.synced)?;
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.io_error(source))?;
        self.synced += bytes.len() as u64;
        Ok(())
    }

    /// Whether the log has grown enough to be written anew.
    #[must_use]
    pub(crate) fn wants_rewrite(&self) -> bool {
        self.synced > REWRITE_BYTES_MIN.max(self.picture_bytes.saturating_mul(GROWTH_MAX))
    }

    /// Replaces the log by one that holds just `durable`.
    ///
    /// # Errors
    /// When that did not happen; the log must not be used any more then.
    pub(crate) fn rewrite(&mut self, durable: Durable) -> Result<(), WriteError> {
        let mut bytes = preface(self.epoch);
        let picture = Record::Picture(Box::new(durable));
        encode(&mut bytes, &[picture], PREFACE_BYTES as u64)?;
        let file = files::write_durably(&self.path, &bytes)
            .and_then(|()| OpenOptions::new().append(true).open(&self.path))
            .map_err(|source| self.io_error(source))?;
        self.file = file;
        self.synced = bytes.len() as u64;
        self.picture_bytes = self.synced;
        Ok(())
    }

    /// Length of the log in bytes.
    #[must_use]
    pub(crate) fn len_bytes(&self) -> u64 {
        self.synced
    }

    fn io_error(&self, source: io::Error) -> WriteError {
        WriteError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

fn encode(out: &mut Vec<u8>, records: &[Record], synced: u64) -> Result<(), WriteError> {
    let payload = bincode::serde::encode_to_vec(records, encoding()).map_err(WriteError::Encode)?;
    frame::write(out, &payload, synced).map_err(|bytes| WriteError::TooLarge { bytes })
}

/// The bound keeps a damaged length inside a payload from allocating without limit.
fn encoding() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<{ frame::PAYLOAD_BYTES_MAX }>()
}

fn preface(epoch: AgentEpoch) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&epoch.to_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// The epoch of the log that begins with `bytes`; `None` when no log does.
fn read_preface(bytes: &[u8]) -> Option<AgentEpoch> {
    let epoch = AgentEpoch::from_bytes(bytes.get(MAGIC.len()..MAGIC.len() + 16)?)?;
    (bytes.get(..PREFACE_BYTES)? == preface(epoch)).then_some(epoch)
}

/// What reading a log gave.
struct Scan {
    epoch: AgentEpoch,
    durable: Durable,
    /// Where the last whole frame ends.
    end: u64,
    picture_bytes: u64,
}

fn scan(path: &Path, bytes: &[u8]) -> Result<Scan, OpenError> {
    let Some(epoch) = read_preface(bytes) else {
        return Err(OpenError::NotALog {
            path: path.to_owned(),
        });
    };
    let mut scan = Scan {
        epoch,
        durable: Durable::default(),
        end: PREFACE_BYTES as u64,
        picture_bytes: PREFACE_BYTES as u64,
    };
    let mut at = PREFACE_BYTES;
    while at < bytes.len() {
        let damaged = |what| OpenError::Damaged {
            path: path.to_owned(),
            offset: at as u64,
            what,
        };
        let Some((header, payload)) = whole_frame(&bytes[at..]) else {
            if was_synced(bytes, at) {
                return Err(damaged(
                    "a checksum does not fit, and later records are there",
                ));
            }
            return Ok(scan);
        };
        if header.version != frame::VERSION {
            return Err(OpenError::Version {
                path: path.to_owned(),
                version: header.version,
            });
        }
        // The checksum fits, so these are the bytes that were written: nothing torn about them.
        let (records, used): (Vec<Record>, usize) =
            bincode::serde::decode_from_slice(payload, encoding())
                .map_err(|_| damaged("a record cannot be decoded"))?;
        if used != payload.len() {
            return Err(damaged("a record is followed by strange bytes"));
        }
        let end = (at + HEADER_BYTES + payload.len()) as u64;
        for record in &records {
            if matches!(record, Record::Picture(_)) {
                scan.picture_bytes = end;
            }
            scan.durable.apply(record);
        }
        at += HEADER_BYTES + payload.len();
        scan.end = end;
    }
    Ok(scan)
}

fn whole_frame(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let header = Header::read(bytes)?;
    let payload = bytes.get(HEADER_BYTES..)?.get(..header.payload_bytes)?;
    (crc32fast::hash(payload) == header.payload_crc).then_some((header, payload))
}

/// Whether some frame behind `at` was written when the byte at `at` was already on the disk.
fn was_synced(bytes: &[u8], at: usize) -> bool {
    (at + 1..bytes.len())
        .any(|later| Header::read(&bytes[later..]).is_some_and(|header| header.synced > at as u64))
}

#[cfg(test)]
mod tests {
    use regency_types::BootId;

    use super::*;

    fn records(n: u64) -> Vec<Record> {
        vec![Record::Noted(n), Record::Booted(BootId(u128::from(n)))]
    }

    fn open(path: &Path) -> Result<Opened, OpenError> {
        Log::open(path, AgentEpoch(7))
    }

    /// A log of `n` batches, closed again; the bytes of its file.
    fn written(folder: &Path, n: u64) -> (PathBuf, Vec<u8>) {
        let path = folder.join("log");
        let mut log = open(&path).expect("a new log").log;
        for batch in 1..=n {
            log.append(&records(batch)).expect("a writable disk");
        }
        let bytes = std::fs::read(&path).expect("the log");
        (path, bytes)
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = written(folder.path(), 3);
        let opened = open(&path).expect("a sound log");
        assert_eq!(opened.torn, None);
        assert_eq!(opened.epoch, AgentEpoch(7));
        assert_eq!(opened.durable.command_seq, 3);
        assert_eq!(opened.durable.boot, Some(BootId(3)));
    }

    #[test]
    fn a_tail_cut_anywhere_is_repaired_to_the_last_whole_batch() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, two) = written(folder.path(), 2);
        let mut log = open(&path).expect("a sound log").log;
        log.append(&records(3)).expect("a writable disk");
        drop(log);
        let three = std::fs::read(&path).expect("the log");
        for cut in two.len() + 1..three.len() {
            std::fs::write(&path, &three[..cut]).expect("a writable disk");
            let opened = open(&path).expect("a torn log opens");
            let torn = TornTail {
                offset: two.len() as u64,
                bytes: (cut - two.len()) as u64,
            };
            assert_eq!(opened.torn, Some(torn));
            assert_eq!(opened.durable.command_seq, 2);
            // And what is appended after the repair is read back.
            let mut log = opened.log;
            log.append(&records(9)).expect("a writable disk");
            let again = open(&path).expect("a sound log");
            assert_eq!((again.torn, again.durable.command_seq), (None, 9));
        }
    }

    #[test]
    fn a_last_batch_with_a_wrong_byte_counts_as_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, mut bytes) = written(folder.path(), 2);
        let last = bytes.len() - 1;
        bytes[last] ^= 0x40;
        std::fs::write(&path, &bytes).expect("a writable disk");
        let opened = open(&path).expect("a torn log opens");
        assert_eq!(opened.durable.command_seq, 1);
        assert!(opened.torn.is_some());
    }

    #[test]
    fn a_wrong_byte_before_the_last_batch_refuses_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, one) = written(folder.path(), 1);
        std::fs::remove_file(&path).expect("the log");
        let (path, three) = written(folder.path(), 3);
        for at in PREFACE_BYTES..one.len() {
            let mut bytes = three.clone();
            bytes[at] ^= 0x01;
            std::fs::write(&path, &bytes).expect("a writable disk");
            let error = open(&path).expect_err("a damaged log");
            assert!(
                matches!(error, OpenError::Damaged { offset: 28, .. }),
                "{at}: {error}"
            );
            // Nothing was cut: somebody may still rescue the file.
            assert_eq!(std::fs::read(&path).expect("the log"), bytes);
        }
    }

    #[test]
    fn a_strange_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        for strange in [&b""[..], b"RGNCYAG", b"RGNCYAG\x01 and then something else"] {
            std::fs::write(&path, strange).expect("a writable disk");
            let error = open(&path).expect_err("no log");
            assert!(matches!(error, OpenError::NotALog { .. }), "{error}");
        }
    }

    #[test]
    fn a_rewritten_log_says_the_same_and_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = written(folder.path(), 40);
        let Opened {
            mut log, durable, ..
        } = open(&path).expect("a sound log");
        let before = log.len_bytes();
        log.rewrite(durable.clone()).expect("a writable disk");
        assert!(log.len_bytes() < before);
        assert_eq!(open(&path).expect("a sound log").durable, durable);
        log.append(&records(41)).expect("a writable disk");
        let opened = open(&path).expect("a sound log");
        assert_eq!((opened.torn, opened.durable.command_seq), (None, 41));
    }
}

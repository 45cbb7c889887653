//! Room on the disk that a growing file has before it needs it.
//!
//! An entry that was taken must find room, or a follower can answer nothing until there is some, and a
//! vote should find it even on a disk that somebody else filled.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// How much is kept ahead of the end of the file; it is renewed when half of it is used up.
const AHEAD_BYTES: u64 = 8 * 1024 * 1024;

/// What a file has.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Where its room ends.
    end: u64,
    /// Its size when it was looked at last.
    len: u64,
    /// Whether the file system cannot do that.
    unsupported: bool,
}

impl Ahead {
    /// Makes sure that `file` has room to grow, as far as there is any. Does not change its size. The
    /// write itself tells when there was none.
    pub(super) fn keep(&mut self, file: &File) {
        let Ok(len) = file.metadata().map(|metadata| metadata.len()) else {
            return;
        };
        if len < self.len {
            // It was cut, and its room with it.
            self.end = 0;
        }
        self.len = len;
        if self.unsupported || self.end >= len + AHEAD_BYTES / 2 {
            return;
        }
        let (Ok(from), Ok(bytes)) = (i64::try_from(len), i64::try_from(AHEAD_BYTES)) else {
            return;
        };
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, bytes) {
            Ok(()) => self.end = len + AHEAD_BYTES,
            Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EINTR) => {}
            Err(error) => {
                self.unsupported = true;
                tracing::debug!(%error, "this file system keeps no room for a file to grow");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_file_has_room_ahead_and_stays_as_long_as_it_is() {
        let file = tempfile::tempfile().expect("a file");
        let mut ahead = Ahead::default();
        ahead.keep(&file);
        assert_eq!(file.metadata().expect("metadata").len(), 0);
        if ahead.unsupported {
            return;
        }
        let blocks = || file.metadata().expect("metadata").blocks() * 512;
        assert!(blocks() >= AHEAD_BYTES, "{}", blocks());
        // Half used up: renewed.
        file.set_len(AHEAD_BYTES / 2 + 1).expect("grows");
        ahead.keep(&file);
        assert!(blocks() >= AHEAD_BYTES * 3 / 2, "{}", blocks());
        // Cut: room is taken anew.
        file.set_len(10).expect("cut");
        ahead.keep(&file);
        assert!(blocks() >= AHEAD_BYTES, "{}", blocks());
        assert_eq!(file.metadata().expect("metadata").len(), 10);
    }
}

//! Who a process is, as `/proc` tells it.

use regency_types::BootId;

/// What matters of `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// It ended and waits to be collected.
    pub(crate) is_zombie: bool,
    /// Its parent.
    pub(crate) parent: i32,
    /// When it started, in clock ticks since the boot. Together with the number it names a
    /// process for the whole of a boot.
    pub(crate) start_ticks: u64,
}

/// `None` when there is no such process.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// When the living process `pid` started; `None` when there is none or it ended.
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    let stat = stat(i32::try_from(pid).ok()?)?;
    (!stat.is_zombie).then_some(stat.start_ticks)
}

fn parse(text: &str) -> Option<Stat> {
    // The name may hold anything, so the fields are counted from its last parenthesis: state is
    // the first of them, the parent the second, the start time the twentieth.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        is_zombie: matches!(state, "Z" | "X"),
        parent,
        start_ticks,
    })
}

/// Every process there is now.
pub(crate) fn all_pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The boot this machine runs in.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn boot_id() -> std::io::Result<BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.trim().parse().map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_confuses_nobody() {
        let text = "12 (a) Z 9 (b) S 77 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        let expect = Stat {
            is_zombie: false,
            parent: 77,
            start_ticks: 4711,
        };
        assert_eq!(parse(text), Some(expect));
        assert_eq!(parse("12 (a"), None);
        assert_eq!(parse("12 (a) S 1"), None);
    }

    #[test]
    fn this_process_lives_and_its_start_does_not_change() {
        let me = std::process::id();
        let start = start_ticks(me).expect("this process lives");
        assert_eq!(start_ticks(me), Some(start));
        let own = all_pids().contains(&i32::try_from(me).expect("a small number"));
        assert!(own);
        assert_eq!(boot_id().expect("a boot id"), boot_id().expect("a boot id"));
    }
}

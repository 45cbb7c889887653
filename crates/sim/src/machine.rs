//! The clock and the chance of a simulated machine.
//!
//! Time is read and keys are drawn in many places, most of them in libraries: hash maps, ids, election timeouts,
//! the order in which branches of a `select!` are tried. None of them has to be told of the simulator. In this
//! program the two functions of the system that all of them end in are ours. Until [`begin`] they do what the
//! system does; from then on time stands still unless the simulator moves it, and chance comes from the seed.

#![allow(
    unsafe_code,
    reason = "the functions of the system that are replaced here are called by C rules"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::libc::{self, c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};

/// Where simulated time begins, after 1970 and after the machine started: 2026-01-01.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

static SIMULATED: AtomicBool = AtomicBool::new(false);
static NOW_NS: AtomicU64 = AtomicU64::new(0);
static CHANCE: AtomicU64 = AtomicU64::new(0);

/// From now on clock and chance are those of this seed.
pub(crate) fn begin(seed: u64) {
    CHANCE.store(seed, Ordering::SeqCst);
    SIMULATED.store(true, Ordering::SeqCst);
}

/// Moves the clocks to this time after the beginning.
pub(crate) fn set_now(now: Duration) {
    let ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    NOW_NS.store(ns, Ordering::SeqCst);
}

fn number() -> u64 {
    // splitmix64, as `testkit::Rng`.
    let state = CHANCE
        .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// # Safety
/// As that of the system: `time` points to a place for a time, or nowhere.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    if !SIMULATED.load(Ordering::SeqCst) || time.is_null() {
        // SAFETY: the same call, with the caller's arguments.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
    }
    let now = EPOCH + Duration::from_nanos(NOW_NS.load(Ordering::SeqCst));
    // SAFETY: not null, and the caller promises a place for a time.
    unsafe {
        time.write(timespec {
            tv_sec: now.as_secs() as _,
            tv_nsec: now.subsec_nanos().into(),
        });
    }
    0
}

/// # Safety
/// As that of the system: `buffer` points to `bytes` bytes that may be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(
    buffer: *mut c_void,
    bytes: size_t,
    flags: c_uint,
) -> ssize_t {
    if !SIMULATED.load(Ordering::SeqCst) || buffer.is_null() {
        // SAFETY: the same call, with the caller's arguments.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, bytes, flags) as ssize_t };
    }
    // SAFETY: not null, and the caller promises so many bytes.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes) };
    for piece in buffer.chunks_mut(8) {
        piece.copy_from_slice(&number().to_le_bytes()[..piece.len()]);
    }
    bytes as ssize_t
}

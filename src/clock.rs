//! The only place that reads a clock (`clippy.toml` forbids it elsewhere).
//!
//! Whether the clock is synchronised is the kernel's to say, and safe Rust cannot ask the kernel. So
//! [`follow_synchronisation`] asks the programs that can, once a minute and never waiting long, and every reading carries
//! the last answer. Where nobody answers, the stamp of systemd-timesyncd speaks, or nobody.

mod synchronised;

pub use synchronised::follow as follow_synchronisation;

use crate::trust::Reading;
use jiff::Timestamp;
use std::time::Duration;

/// How long the daemon sleeps before it looks at the wall clock again: a suspended machine and a stepped clock are
/// noticed within a second.
const NAP: Duration = Duration::from_millis(500);

/// What the daemon needs of time.
pub trait Clock {
    /// Returns every clock of the machine, read together.
    fn now(&self) -> Reading;

    /// Sleeps until the wall clock shows `at`, or for one nap, whichever is shorter.
    fn nap_until(&self, at: Timestamp) -> impl Future<Output = ()> + Send;
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Reading {
        platform::now()
    }

    async fn nap_until(&self, at: Timestamp) {
        let left = at.duration_since(wall());
        let left = Duration::try_from(left).unwrap_or_default();
        tokio::time::sleep(left.min(NAP)).await;
    }
}

/// Returns the wall clock's time.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// Returns a moment of the monotonic clock, for measuring lengths.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// Returns the wall clock's time in nanoseconds since 1970, for the sound callback: no allocation, no lock.
pub fn wall_nanos() -> i64 {
    i64::try_from(wall().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Returns the monotonic clock in nanoseconds since this process first asked.
pub fn steady_nanos() -> i64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(monotonic);
    i64::try_from(monotonic().duration_since(*START).as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(unix)]
mod platform {
    use super::{Reading, synchronised, wall};
    use rustix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    pub fn now() -> Reading {
        Reading {
            wall: wall(),
            since_boot: read(ClockId::Boottime),
            awake: read(ClockId::Monotonic),
            synchronised: synchronised::answer().unwrap_or_else(is_stamped),
        }
    }

    fn read(id: ClockId) -> Duration {
        let at = clock_gettime(id);
        Duration::new(at.tv_sec.unsigned_abs(), u32::try_from(at.tv_nsec).unwrap_or(0))
    }

    /// Returns whether systemd-timesyncd has synchronised the clock since the machine booted.
    fn is_stamped() -> bool {
        std::path::Path::new("/run/systemd/timesync/synchronized").exists()
    }
}

#[cfg(windows)]
mod platform {
    use super::{Reading, monotonic, synchronised, wall};
    use std::sync::LazyLock;

    static START: LazyLock<std::time::Instant> = LazyLock::new(monotonic);

    pub fn now() -> Reading {
        let awake = START.elapsed();
        Reading { wall: wall(), since_boot: awake, awake, synchronised: synchronised::answer().unwrap_or(false) }
    }
}

//! When a frame of the stream is in the air.

use super::nanos;
use crate::plan::RATE;

/// Callbacks of which the median tells the time of a frame.
const WINDOW: usize = 31;

/// Callbacks of which the median tells the wall clock's distance from the monotonic one.
const OFFSETS: usize = 5;

/// Estimates that suffice to start a sound.
const ENOUGH: usize = 5;

/// First callbacks of a stream, whose timestamps say nothing: PulseAudio reports no delay at all.
const WARM_UP: u32 = 2;

/// Further off than this, three times in a row and on one side, is a new timeline.
const JUMP: i64 = 2_000_000;

/// What the clocks said as a callback began, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: i64,
    /// The monotonic clock.
    pub steady: i64,
    /// From now until the first frame of this callback is played, as the device says.
    pub delay: i64,
}

/// A moment by one of the two clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Where the wall clock shows it.
    Wall(i64),
    /// Where the monotonic clock shows it: for what already sounded once.
    Steady(i64),
}

/// What one callback said: the monotonic time at which frame 0 would be in the air, were the card exact.
#[derive(Debug, Clone, Copy, Default)]
struct Estimate {
    written: u64,
    zero: i64,
}

/// Maps frames to the monotonic clock, and that to the wall clock, each by a median: a step of the wall clock moves
/// what is still to start and leaves alone what sounds.
///
/// A card that is off by so many millionths makes each estimate a little later or earlier than the one before. The
/// median is taken after that is made good, or it would lag by half its window: 0.13 ms at 200 ppm.
#[derive(Debug)]
pub struct ClockMap {
    calls: u32,
    window: [Estimate; WINDOW],
    filled: usize,
    next: usize,
    /// The median, as of the last callback.
    zero: i64,
    /// Frames handed over before the last callback.
    written: u64,
    /// How much later each second of frames is in the air than an exact card would have it, in seconds.
    drift: f64,
    strays: [Estimate; 3],
    stray: usize,
    offsets: [i64; OFFSETS],
    /// Wall clock less monotonic clock.
    offset: i64,
    /// Sound card to air.
    air: i64,
}

impl ClockMap {
    /// Knows nothing yet; `air` is the time from the card to the air, in nanoseconds.
    pub fn new(air: i64) -> Self {
        Self {
            calls: 0,
            window: [Estimate::default(); WINDOW],
            filled: 0,
            next: 0,
            zero: 0,
            written: 0,
            drift: 0.0,
            strays: [Estimate::default(); 3],
            stray: 0,
            offsets: [0; OFFSETS],
            offset: 0,
            air,
        }
    }

    /// Takes in what the clocks said when `written` frames had been handed over to a card with this drift. Returns how
    /// far the timeline jumped, in nanoseconds, if it did: forward where frames of the device went missing.
    pub fn note(&mut self, reading: Reading, written: u64, drift: f64) -> Option<i64> {
        let offset = reading.wall.saturating_sub(reading.steady);
        if self.calls == 0 {
            self.offsets = [offset; OFFSETS];
        }
        self.offsets[self.calls as usize % OFFSETS] = offset;
        self.offset = median(&mut self.offsets.clone());
        self.calls = self.calls.wrapping_add(1);
        let zero = reading.steady.saturating_add(reading.delay).saturating_sub(nanos(written));
        let estimate = Estimate { written, zero };
        let expected = self.zero.saturating_add(self.drifted(as_frame(written)));
        self.drift = drift;
        if self.calls <= WARM_UP {
            return None;
        }
        let off = zero.saturating_sub(expected);
        if self.filled < ENOUGH || off.abs() <= JUMP {
            self.stray = 0;
            self.push(estimate);
            return None;
        }
        // The old timeline goes on until a new one is certain.
        (self.zero, self.written) = (expected, written);
        if self.stray > 0 && (self.strays[0].zero > expected) != (off > 0) {
            self.stray = 0;
        }
        self.strays[self.stray] = estimate;
        self.stray += 1;
        if self.stray < self.strays.len() {
            return None;
        }
        self.stray = 0;
        // The new timeline starts with as much as it takes to go on.
        self.filled = 0;
        self.next = 0;
        let strays = self.strays;
        for estimate in strays.into_iter().chain(strays) {
            self.push(estimate);
        }
        Some(self.zero.saturating_sub(expected))
    }

    /// Returns whether enough is known to start a sound.
    pub fn is_settled(&self) -> bool {
        self.filled >= ENOUGH
    }

    /// Returns the frame that is in the air at a moment; before frame 0 it is negative.
    pub fn frame(&self, at: Moment) -> i64 {
        let since = i128::from(self.as_steady(at)) - i128::from(self.zero) - i128::from(self.air);
        let exact = |since: i128| (since * i128::from(RATE) + 500_000_000).div_euclid(1_000_000_000);
        let near = i64::try_from(exact(since)).unwrap_or(i64::MAX);
        i64::try_from(exact(since - i128::from(self.drifted(near)))).unwrap_or(i64::MAX)
    }

    /// Returns a moment by the monotonic clock, as the clocks stand now.
    pub fn as_steady(&self, at: Moment) -> i64 {
        match at {
            Moment::Wall(wall) => wall.saturating_sub(self.offset),
            Moment::Steady(steady) => steady,
        }
    }

    /// Returns when a frame is in the air by the monotonic clock.
    pub fn steady(&self, frame: i64) -> i64 {
        let since = i128::from(frame) * 1_000_000_000 / i128::from(RATE);
        let at = i128::from(self.zero) + i128::from(self.air) + since + i128::from(self.drifted(frame));
        i64::try_from(at).unwrap_or(i64::MAX)
    }

    /// Returns when a frame is in the air by the wall clock.
    pub fn wall(&self, frame: i64) -> i64 {
        self.steady(frame).saturating_add(self.offset)
    }

    /// Returns by how much a card with this drift is late from the last callback until a frame, in nanoseconds.
    fn drifted(&self, frame: i64) -> i64 {
        let ahead = frame.saturating_sub(as_frame(self.written));
        (ahead as f64 * self.drift * 1e9 / f64::from(RATE)).round() as i64
    }

    fn push(&mut self, estimate: Estimate) {
        self.window[self.next] = estimate;
        self.next = (self.next + 1) % WINDOW;
        self.filled = (self.filled + 1).min(WINDOW);
        self.written = estimate.written;
        let mut sorted = [0; WINDOW];
        for (now, then) in sorted.iter_mut().zip(&self.window[..self.filled]) {
            *now = then.zero.saturating_sub(self.drifted(as_frame(then.written)));
        }
        self.zero = median(&mut sorted[..self.filled]);
    }
}

fn as_frame(written: u64) -> i64 {
    i64::try_from(written).unwrap_or(i64::MAX)
}

fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

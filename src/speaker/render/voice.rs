//! One announcement in the callback: from its exact frame on, through its fades, to its end.

use super::{
    ENTRY_FADE, GAIN_FADE, Ramp, Report,
    hold::{Drift, Feed, Fill},
    map::{ClockMap, Moment},
    nanos,
};
use rtrb::Consumer;
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// What a voice begins with when its moment has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// With its first sample.
    FromStart,
    /// With the sample whose moment it is.
    Join,
}

/// How a voice came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// All samples were handed over.
    Finished,
    /// Stopped by a command.
    Stopped,
    /// Stopped by its own `not_after`.
    Gate,
    /// Its ring ended too early.
    Short,
    /// Nothing of it was left to join.
    TooLate,
}

/// What the callback has handed over of one voice, read by the engine at any time.
#[derive(Debug, Default)]
pub struct Meter {
    frames: AtomicU64,
    missing: AtomicU64,
    /// Bits of the highest absolute value; for positive floats the order of bits is the order of values.
    peak: AtomicU32,
    /// Bits of the sum of squares; only the callback writes it.
    energy: AtomicU64,
}

impl Meter {
    /// Returns the frames handed over, missing ones left out.
    pub fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Returns the frames for which its files had no sample.
    pub fn missing(&self) -> u64 {
        self.missing.load(Relaxed)
    }

    /// Returns the highest absolute sample handed over since it was last taken.
    pub fn peak(&self) -> f32 {
        f32::from_bits(self.peak.load(Relaxed))
    }

    /// Returns the sum of the squares of all samples handed over.
    pub fn energy(&self) -> f64 {
        f64::from_bits(self.energy.load(Relaxed))
    }

    /// Takes the highest absolute sample handed over since it was last taken.
    pub fn take_peak(&self) -> f32 {
        f32::from_bits(self.peak.swap(0, Relaxed))
    }
}

/// One announcement in the callback.
#[derive(Debug)]
pub struct Voice {
    id: u64,
    feed: Feed,
    start: Moment,
    late: Late,
    not_after: Option<i64>,
    ramp: Ramp,
    /// When its first sample is or would have been in the air, by the monotonic clock, once it sounds.
    origin: i64,
    phase: Phase,
    meter: Arc<Meter>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Waiting,
    Sounding,
    Leaving(Close),
    Over(Close, i64),
}

impl Voice {
    /// Arms `frames` samples of a ring for `start`. A voice that may join fades in.
    pub fn new(id: u64, samples: Consumer<f32>, frames: u64, start: Moment, late: Late, gain: f32) -> Self {
        let mut ramp = Ramp::at(gain);
        if late == Late::Join {
            ramp = Ramp::at(0.0);
            ramp.go(gain, ENTRY_FADE);
        }
        let feed = Feed::new(samples, frames);
        Self { id, feed, start, late, not_after: None, ramp, origin: 0, phase: Phase::Waiting, meter: Arc::default() }
    }

    /// Fades out at this moment of the wall clock, whatever the engine does.
    pub fn not_after(self, wall: Option<i64>) -> Self {
        Self { not_after: wall, ..self }
    }

    /// Returns what is handed over of it.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Returns its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The timeline of the card has jumped.
    pub(super) fn jumped(&mut self) {
        self.feed.jumped();
    }

    /// Changes its gain over [`GAIN_FADE`], unless it is on its way out.
    pub(super) fn set_gain(&mut self, gain: f32) {
        if !matches!(self.phase, Phase::Leaving(_)) {
            self.ramp.go(gain, GAIN_FADE);
        }
    }

    /// Returns how and in which frame it came to its end, once it did.
    pub(super) fn over(&self) -> Option<(Close, i64)> {
        match self.phase {
            Phase::Over(close, frame) => Some((close, frame)),
            _ => None,
        }
    }

    /// Adds its part of the frames `first..` to `mix`. Returns the report of its start, if it starts here.
    pub(super) fn play(&mut self, mix: &mut [f32], first: i64, map: &ClockMap, drift: &mut Drift) -> Option<Report> {
        let mut from = 0;
        let mut report = None;
        if self.phase == Phase::Waiting {
            if !map.is_settled() {
                return None;
            }
            let start = map.frame(self.start);
            let at = start.max(first);
            if at >= first + mix.len() as i64 {
                return None;
            }
            if self.not_after.is_some_and(|gate| map.frame(Moment::Wall(gate)) <= at) {
                self.phase = Phase::Over(Close::Gate, first);
                return None;
            }
            let late = u64::try_from(at - start).unwrap_or(0);
            if self.late == Late::Join && late >= self.feed.left() {
                self.phase = Phase::Over(Close::TooLate, first);
                return None;
            }
            self.phase = Phase::Sounding;
            from = usize::try_from(at - first).unwrap_or(0);
            let (planned, begins) = (map.as_steady(self.start), map.steady(at));
            let mut error = begins.saturating_sub(planned);
            if self.late == Late::Join {
                self.feed.skip(late);
                error -= nanos(late);
                self.origin = planned;
            } else {
                // On time to half a frame it is held to what was planned, not to the frame.
                self.origin = if late == 0 { planned } else { begins };
            }
            report = Some(Report::Started { voice: self.id, at: map.wall(at), error, origin: self.origin });
        }
        let gate = self.not_after.map(|gate| map.frame(Moment::Wall(gate)) - first);
        match gate.map(|gate| usize::try_from(gate.max(0)).unwrap_or(usize::MAX).max(from)) {
            Some(gate) if gate < mix.len() => {
                self.sound(&mut mix[from..gate], first + from as i64, map, drift);
                self.leave(Close::Gate, GAIN_FADE, first);
                self.sound(&mut mix[gate..], first + gate as i64, map, drift);
            }
            _ => self.sound(&mut mix[from..], first + from as i64, map, drift),
        }
        report
    }

    /// Begins to fade out, unless it already does.
    pub(super) fn leave(&mut self, why: Close, fade: u32, now: i64) {
        match self.phase {
            Phase::Waiting => self.phase = Phase::Over(why, now),
            Phase::Sounding => {
                self.ramp.go(0.0, fade);
                self.phase = Phase::Leaving(why);
            }
            // A stop during the slower fade of the gate hurries it.
            Phase::Leaving(_) if self.ramp.left > fade => self.ramp.go(0.0, fade),
            Phase::Leaving(_) | Phase::Over(..) => {}
        }
    }

    /// Adds its samples to `mix`, which begins with the frame `first`.
    fn sound(&mut self, mix: &mut [f32], first: i64, map: &ClockMap, drift: &mut Drift) {
        let (mut accepted, mut missing, mut peak, mut energy) = (0, 0, 0.0_f32, 0.0_f32);
        let mut at = 0;
        while at < mix.len() {
            let room = match self.phase {
                Phase::Sounding => mix.len() - at,
                Phase::Leaving(_) => (mix.len() - at).min(self.ramp.left as usize),
                Phase::Waiting | Phase::Over(..) => break,
            };
            let ready = self.feed.ready(room);
            let count = ready.len();
            if count == 0 {
                let now = first + at as i64;
                let late = map.steady(now).saturating_sub(self.origin).saturating_sub(self.feed.due());
                match self.feed.refill(late, drift) {
                    Fill::Ready => continue,
                    Fill::Finished => self.phase = Phase::Over(Close::Finished, now),
                    Fill::Short => self.phase = Phase::Over(self.reason(Close::Short), now),
                    // Silence, and the rest at its moment.
                    Fill::Dry => {}
                }
                break;
            }
            for (out, sample) in mix[at..].iter_mut().zip(ready) {
                let sample = sample * self.ramp.next();
                *out += sample;
                peak = peak.max(sample.abs());
                energy += sample * sample;
            }
            let (good, bad) = self.feed.take(count);
            (accepted, missing) = (accepted + good, missing + bad);
            at += count;
            if let Phase::Leaving(why) = self.phase
                && self.ramp.left == 0
            {
                self.phase = Phase::Over(why, first + at as i64);
            }
        }
        self.meter.frames.fetch_add(accepted, Relaxed);
        self.meter.missing.fetch_add(missing, Relaxed);
        self.meter.peak.fetch_max(peak.to_bits(), Relaxed);
        self.meter.energy.store((self.meter.energy() + f64::from(energy)).to_bits(), Relaxed);
    }

    fn reason(&self, otherwise: Close) -> Close {
        match self.phase {
            Phase::Leaving(why) => why,
            _ => otherwise,
        }
    }
}

//! What the sound callback does, as a pure function: frames out, given what the clocks said as it began.
//!
//! [`Renderer::render`] maps frames to time ([`ClockMap`]), starts each [`Voice`] in the exact frame, ramps gains, sums
//! and limits. It reads no clock and knows no device, so a test plays a simulated card against it.
//!
//! Always true: no lock, no allocation, no log, no drop. What is finished goes back through the report ring to the
//! engine, which frees it; while that ring is full the voice waits in its slot.
//!
//! Not here: holding a sounding voice to the clock when the card drifts. All samples pass through [`Voice::sound`],
//! which is the place for it.

use crate::plan::RATE;
use rtrb::{Consumer, Producer};
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// How many voices sound or wait in the callback at once.
pub const SLOTS: usize = 8;

/// How long a stop takes, in frames: 60 ms. Up to 86 ms lie in the device already, and a stop is to be silence within
/// 150 ms; measured on a null sink, with 100 ms here it took up to 182.
pub const STOP_FADE: u32 = RATE * 6 / 100;

/// How long ducking, a change of volume and the last gate take, in frames: 300 ms.
pub const GAIN_FADE: u32 = RATE * 3 / 10;

/// How long an announcement takes to come back in the middle, in frames: 20 ms.
pub const ENTRY_FADE: u32 = RATE / 50;

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

/// Tells when a frame of the stream is in the air.
///
/// Frames are mapped to the monotonic clock, and that to the wall clock, each by a median: a step of the wall clock
/// moves what is still to start and leaves alone what sounds.
#[derive(Debug)]
pub struct ClockMap {
    calls: u32,
    window: [i64; WINDOW],
    filled: usize,
    next: usize,
    /// Monotonic time of frame 0.
    zero: i64,
    strays: [i64; 3],
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
            window: [0; WINDOW],
            filled: 0,
            next: 0,
            zero: 0,
            strays: [0; 3],
            stray: 0,
            offsets: [0; OFFSETS],
            offset: 0,
            air,
        }
    }

    /// Takes in what the clocks said when `written` frames had been handed over. Returns how far the timeline jumped,
    /// in nanoseconds, if it did: forward where frames of the device went missing.
    pub fn note(&mut self, reading: Reading, written: u64) -> Option<i64> {
        let offset = reading.wall.saturating_sub(reading.steady);
        if self.calls == 0 {
            self.offsets = [offset; OFFSETS];
        }
        self.offsets[self.calls as usize % OFFSETS] = offset;
        self.offset = median(&mut self.offsets.clone());
        self.calls = self.calls.wrapping_add(1);
        if self.calls <= WARM_UP {
            return None;
        }
        let estimate = reading.steady.saturating_add(reading.delay).saturating_sub(nanos(written));
        let off = estimate.saturating_sub(self.zero);
        if self.filled < ENOUGH || off.abs() <= JUMP {
            self.stray = 0;
            self.push(estimate);
            return None;
        }
        if self.stray > 0 && (self.strays[0] > self.zero) != (off > 0) {
            self.stray = 0;
        }
        self.strays[self.stray] = estimate;
        self.stray += 1;
        if self.stray < self.strays.len() {
            return None;
        }
        let old = self.zero;
        self.stray = 0;
        // The new timeline starts with as much as it takes to go on.
        self.filled = 0;
        self.next = 0;
        let strays = self.strays;
        for estimate in strays.into_iter().chain(strays) {
            self.push(estimate);
        }
        Some(self.zero.saturating_sub(old))
    }

    /// Returns whether enough is known to start a sound.
    pub fn is_settled(&self) -> bool {
        self.filled >= ENOUGH
    }

    /// Returns the frame that is in the air at a moment; before frame 0 it is negative.
    pub fn frame(&self, at: Moment) -> i64 {
        let steady = match at {
            Moment::Wall(wall) => wall.saturating_sub(self.offset),
            Moment::Steady(steady) => steady,
        };
        let since = i128::from(steady) - i128::from(self.zero) - i128::from(self.air);
        i64::try_from((since * i128::from(RATE) + 500_000_000).div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
    }

    /// Returns when a frame is in the air by the monotonic clock.
    pub fn steady(&self, frame: i64) -> i64 {
        let since = i128::from(frame) * 1_000_000_000 / i128::from(RATE);
        let at = i128::from(self.zero) + i128::from(self.air) + since;
        i64::try_from(at).unwrap_or(i64::MAX)
    }

    /// Returns when a frame is in the air by the wall clock.
    pub fn wall(&self, frame: i64) -> i64 {
        self.steady(frame).saturating_add(self.offset)
    }

    fn push(&mut self, estimate: i64) {
        self.window[self.next] = estimate;
        self.next = (self.next + 1) % WINDOW;
        self.filled = (self.filled + 1).min(WINDOW);
        let mut sorted = self.window;
        self.zero = median(&mut sorted[..self.filled]);
    }
}

fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Returns how long so many frames last, in nanoseconds.
pub fn nanos(frames: u64) -> i64 {
    i64::try_from(i128::from(frames) * 1_000_000_000 / i128::from(RATE)).unwrap_or(i64::MAX)
}

/// A moment by one of the two clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Where the wall clock shows it.
    Wall(i64),
    /// Where the monotonic clock shows it: for what already sounded once.
    Steady(i64),
}

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

    /// Returns the highest absolute sample handed over.
    pub fn peak(&self) -> f32 {
        f32::from_bits(self.peak.load(Relaxed))
    }
}

/// One announcement in the callback.
#[derive(Debug)]
pub struct Voice {
    id: u64,
    samples: Consumer<f32>,
    /// Still to come out of the ring.
    left: u64,
    start: Moment,
    late: Late,
    not_after: Option<i64>,
    ramp: Ramp,
    /// Samples to drop because their moment has passed.
    owed: u64,
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
        let meter = Arc::default();
        let phase = Phase::Waiting;
        Self { id, samples, left: frames, start, late, not_after: None, ramp, owed: 0, phase, meter }
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

    /// Adds its part of the frames `first..` to `mix`. Returns the report of its start, if it starts here.
    fn play(&mut self, mix: &mut [f32], first: i64, map: &ClockMap) -> Option<Report> {
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
            if self.late == Late::Join {
                self.owed = u64::try_from(at - start).unwrap_or(0);
                if self.owed >= self.left {
                    self.phase = Phase::Over(Close::TooLate, first);
                    return None;
                }
            }
            from = usize::try_from(at - first).unwrap_or(0);
            self.phase = Phase::Sounding;
            let owed = i64::try_from(self.owed).unwrap_or(0);
            let wall = map.wall(at);
            let planned = match self.start {
                Moment::Wall(wall) => wall,
                Moment::Steady(steady) => wall.saturating_add(steady.saturating_sub(map.steady(at))),
            };
            report = Some(Report::Started {
                voice: self.id,
                at: wall,
                error: wall.saturating_sub(planned).saturating_sub(nanos(self.owed)),
                origin: map.steady(at - owed),
            });
        }
        let gate = self.not_after.map(|gate| map.frame(Moment::Wall(gate)) - first);
        match gate.map(|gate| usize::try_from(gate.max(0)).unwrap_or(usize::MAX).max(from)) {
            Some(gate) if gate < mix.len() => {
                self.sound(&mut mix[from..gate], first + from as i64);
                self.leave(Close::Gate, GAIN_FADE, first);
                self.sound(&mut mix[gate..], first + gate as i64);
            }
            _ => self.sound(&mut mix[from..], first + from as i64),
        }
        report
    }

    /// Begins to fade out, unless it already does.
    fn leave(&mut self, why: Close, fade: u32, now: i64) {
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

    /// Moves samples from the ring into `mix`.
    fn sound(&mut self, mix: &mut [f32], first: i64) {
        if !matches!(self.phase, Phase::Sounding | Phase::Leaving(_)) {
            return;
        }
        let mut at = 0;
        let (mut accepted, mut missing, mut peak) = (0, 0, 0.0_f32);
        while at < mix.len() {
            // Asked in this order: what was pushed before the ring was given up is seen.
            let abandoned = self.samples.is_abandoned();
            let ready = self.samples.slots();
            if self.owed > 0 && ready > 0 {
                let late = usize::try_from(self.owed).unwrap_or(usize::MAX).min(ready);
                if let Ok(chunk) = self.samples.read_chunk(late) {
                    chunk.commit_all();
                }
                self.owed -= late as u64;
                self.left -= late as u64;
                continue;
            }
            let room = mix.len() - at;
            let count = ready.min(room).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if count == 0 {
                if self.left == 0 {
                    self.phase = Phase::Over(self.reason(Close::Finished), first + at as i64);
                } else if abandoned {
                    self.phase = Phase::Over(self.reason(Close::Short), first + at as i64);
                }
                // Otherwise the decoder is behind: silence, and the rest later.
                break;
            }
            let count = match self.phase {
                Phase::Leaving(_) => count.min(self.ramp.left as usize),
                _ => count,
            };
            let Ok(chunk) = self.samples.read_chunk(count) else { break };
            let (head, tail) = chunk.as_slices();
            for (out, sample) in mix[at..].iter_mut().zip(head.iter().chain(tail)) {
                let sample = sample * self.ramp.next();
                if sample.is_finite() {
                    *out += sample;
                    peak = peak.max(sample.abs());
                    accepted += 1;
                } else {
                    missing += 1;
                }
            }
            chunk.commit_all();
            at += count;
            self.left -= count as u64;
            if let Phase::Leaving(why) = self.phase
                && self.ramp.left == 0
            {
                self.phase = Phase::Over(why, first + at as i64);
                break;
            }
            if self.left == 0 {
                self.phase = Phase::Over(self.reason(Close::Finished), first + at as i64);
                break;
            }
        }
        self.meter.frames.fetch_add(accepted, Relaxed);
        self.meter.missing.fetch_add(missing, Relaxed);
        self.meter.peak.fetch_max(peak.to_bits(), Relaxed);
    }

    fn reason(&self, otherwise: Close) -> Close {
        match self.phase {
            Phase::Leaving(why) if otherwise != Close::Finished => why,
            _ => otherwise,
        }
    }
}

/// What the engine asks of the callback.
#[derive(Debug)]
pub enum Command {
    /// Takes a voice in.
    Arm(Box<Voice>),
    /// Changes the gain of a voice over [`GAIN_FADE`].
    Gain {
        /// Which.
        voice: u64,
        /// The new factor.
        gain: f32,
    },
    /// Fades a voice out over [`STOP_FADE`], or disarms it.
    Stop {
        /// Which.
        voice: u64,
    },
}

/// What the callback tells the engine.
#[derive(Debug)]
pub enum Report {
    /// The first sample of a voice is handed over.
    Started {
        /// Which.
        voice: u64,
        /// When that sample is in the air, by the wall clock.
        at: i64,
        /// That, less when it was planned.
        error: i64,
        /// When the first sample of its ring is or would have been in the air, by the monotonic clock.
        origin: i64,
    },
    /// A voice is over; it comes back to be freed.
    Done {
        /// Which.
        voice: Box<Voice>,
        /// How.
        close: Close,
        /// When its last sample is in the air, by the wall clock.
        at: i64,
        /// The same by the monotonic clock.
        steady: i64,
    },
    /// The timeline jumped, in nanoseconds: forward where frames of the device went missing.
    Jump(i64),
}

/// The sound callback without its device.
#[derive(Debug)]
pub struct Renderer {
    map: ClockMap,
    slots: [Option<Box<Voice>>; SLOTS],
    commands: Consumer<Command>,
    reports: Producer<Report>,
}

impl Renderer {
    /// Silent, until the first command.
    pub fn new(air: i64, commands: Consumer<Command>, reports: Producer<Report>) -> Self {
        Self { map: ClockMap::new(air), slots: Default::default(), commands, reports }
    }

    /// Fills `out` (mono, 48 kHz), when `written` frames were handed over before.
    pub fn render(&mut self, out: &mut [f32], written: u64, reading: Reading) {
        out.fill(0.0);
        let first = i64::try_from(written).unwrap_or(i64::MAX);
        if let Some(jump) = self.map.note(reading, written) {
            // Only a note: with no room for it nothing is lost but the note.
            let _ = self.reports.push(Report::Jump(jump));
        }
        self.obey(first);
        for slot in &mut self.slots {
            let Some(voice) = slot else { continue };
            // A start that nobody would hear of waits a callback.
            if self.reports.slots() < 2 {
                continue;
            }
            if let Some(report) = voice.play(out, first, &self.map) {
                let _ = self.reports.push(report);
            }
            if let Phase::Over(close, frame) = voice.phase
                && let Some(voice) = slot.take()
            {
                let (at, steady) = (self.map.wall(frame), self.map.steady(frame));
                let _ = self.reports.push(Report::Done { voice, close, at, steady });
            }
        }
        for sample in out {
            *sample = limit(*sample);
        }
    }

    fn obey(&mut self, first: i64) {
        loop {
            let free = self.slots.iter_mut().find(|slot| slot.is_none());
            match self.commands.peek() {
                // The engine arms no more than fit; should it, the command waits.
                Ok(Command::Arm(_)) if free.is_none() => return,
                Ok(_) => {}
                Err(_) => return,
            }
            match (self.commands.pop(), free) {
                (Ok(Command::Arm(voice)), Some(free)) => *free = Some(voice),
                (Ok(Command::Gain { voice, gain }), _) => {
                    if let Some(voice) = self.voice(voice)
                        && !matches!(voice.phase, Phase::Leaving(_))
                    {
                        voice.ramp.go(gain, GAIN_FADE);
                    }
                }
                (Ok(Command::Stop { voice }), _) => {
                    if let Some(voice) = self.voice(voice) {
                        voice.leave(Close::Stopped, STOP_FADE, first);
                    }
                }
                _ => return,
            }
        }
    }

    fn voice(&mut self, id: u64) -> Option<&mut Voice> {
        self.slots.iter_mut().flatten().map(Box::as_mut).find(|voice| voice.id == id)
    }
}

/// A gain on its way, linear in decibels.
#[derive(Debug, Clone, Copy)]
struct Ramp {
    now: f32,
    target: f32,
    ratio: f32,
    left: u32,
}

/// A fade goes so far down, relative to its other end, before it is silence: -60 dB.
const DEPTH: f32 = 0.001;

impl Ramp {
    fn at(gain: f32) -> Self {
        Self { now: gain, target: gain, ratio: 1.0, left: 0 }
    }

    fn go(&mut self, target: f32, frames: u32) {
        let floor = self.now.max(target) * DEPTH;
        if floor <= 0.0 {
            *self = Self::at(target);
            return;
        }
        let (from, to) = (self.now.max(floor), target.max(floor));
        *self = Self { now: from, target, ratio: (to / from).powf(1.0 / frames as f32), left: frames };
    }

    fn next(&mut self) -> f32 {
        if self.left == 0 {
            return self.target;
        }
        self.left -= 1;
        self.now = if self.left == 0 { self.target } else { self.now * self.ratio };
        self.now
    }
}

/// From here on samples are bent: -1 dBFS, to which import brings the true peak of a clip.
const KNEE: f32 = 0.891_251;

/// Leaves everything up to -1 dBFS as it is and bends what is above, so that nothing reaches full scale.
fn limit(sample: f32) -> f32 {
    let size = sample.abs();
    if size <= KNEE {
        return sample;
    }
    let over = (size - KNEE) / (1.0 - KNEE);
    (KNEE + (1.0 - KNEE) * over.tanh()).min(1.0).copysign(sample)
}

#[cfg(test)]
mod tests;

//! What the sound callback does, as a pure function: frames out, given what the clocks said as it began.
//!
//! [`Renderer::render`] maps frames to time ([`ClockMap`]), starts each [`Voice`] in the exact frame, ramps gains, sums
//! and limits. It reads no clock and knows no device, so a test plays a simulated card against it.
//!
//! Always true: no lock, no allocation, no log, no drop. What is finished goes back through the report ring to the
//! engine, which frees it; while that ring is full the voice waits in its slot.
//!
//! What sounds is held to the clock while the card drifts ([`hold`]).

mod hold;
mod map;
mod voice;

pub use self::{
    hold::Drift,
    map::{ClockMap, Moment, Reading},
    voice::{Close, Late, Meter, Voice},
};

use crate::plan::RATE;
use rtrb::{Consumer, Producer};

/// How many voices sound or wait in the callback at once.
pub const SLOTS: usize = 8;

/// How long a stop takes, in frames: 60 ms. Up to 86 ms lie in the device already, and a stop is to be silence within
/// 150 ms; measured on a null sink, with 100 ms here it took up to 182.
pub const STOP_FADE: u32 = RATE * 6 / 100;

/// How long ducking, a change of volume and the last gate take, in frames: 300 ms.
pub const GAIN_FADE: u32 = RATE * 3 / 10;

/// How long an announcement takes to come back in the middle, in frames: 20 ms.
pub const ENTRY_FADE: u32 = RATE / 50;

/// Returns how long so many frames last, in nanoseconds.
pub fn nanos(frames: u64) -> i64 {
    i64::try_from(i128::from(frames) * 1_000_000_000 / i128::from(RATE)).unwrap_or(i64::MAX)
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
    drift: Drift,
    slots: [Option<Box<Voice>>; SLOTS],
    commands: Consumer<Command>,
    reports: Producer<Report>,
}

impl Renderer {
    /// Silent, until the first command, on a card that is known to drift so.
    pub fn new(air: i64, drift: Drift, commands: Consumer<Command>, reports: Producer<Report>) -> Self {
        Self { map: ClockMap::new(air), drift, slots: Default::default(), commands, reports }
    }

    /// Returns how far off the card is, as far as is known.
    pub fn drift(&self) -> Drift {
        self.drift
    }

    /// Fills `out` (mono, 48 kHz), when `written` frames were handed over before.
    pub fn render(&mut self, out: &mut [f32], written: u64, reading: Reading) {
        out.fill(0.0);
        let first = i64::try_from(written).unwrap_or(i64::MAX);
        if let Some(jump) = self.map.note(reading, written, self.drift.rate()) {
            self.slots.iter_mut().flatten().for_each(|voice| voice.jumped());
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
            if let Some(report) = voice.play(out, first, &self.map, &mut self.drift) {
                let _ = self.reports.push(report);
            }
            if let Some((close, frame)) = voice.over()
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
                    if let Some(voice) = self.voice(voice) {
                        voice.set_gain(gain);
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
        self.slots.iter_mut().flatten().map(Box::as_mut).find(|voice| voice.id() == id)
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

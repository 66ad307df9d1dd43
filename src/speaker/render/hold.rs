//! Holds what sounds to the clock.
//!
//! Cards run 20 to 100 ppm fast or slow: 60 ms after ten minutes, an echo between two villages. [`Feed`] takes samples
//! out of a voice's ring through `rubato::Slip`, which leaves one out or puts one in behind a short crossfade, as a
//! proportional-integral loop asks ([`Drift`]). What is too far off for that (an underrun, a decoder that was behind)
//! is skipped, or waited for in silence.
//!
//! The gains are those measured in a ten-minute run on PulseAudio and in simulation: half as much lets more than a
//! millisecond through. The integral rests while the loop is at its limit or far off; without that it diverged for
//! minutes after one underrun.

use super::nanos;
use crate::plan::RATE;
use rtrb::Consumer;
use rubato::{Adjustable, FixedAsync, Resampler, Slip, audioadapter_buffers::direct::InterleavedSlice};

/// Frames steered at a time: 10 ms.
const BLOCK: usize = RATE as usize / 100;

/// The most samples that a block is made of.
const INPUT: usize = BLOCK + 8;

/// Share of an error made good in a second.
const PROPORTIONAL: f64 = 0.4;

/// Share of an error added to the drift in a second.
const INTEGRAL: f64 = 0.04;

/// The most that is steered, and learned: 500 ppm.
const LIMIT: f64 = 500e-6;

/// Nearer than this, in nanoseconds, is left alone: the clock map is hardly surer, and every frame put in or left out
/// is one too many.
const NEAR: i64 = 50_000;

/// Further off than this, in nanoseconds, is skipped or waited for.
const FAR: i64 = 4_000_000;

/// The same where the timeline has just jumped: the sound is broken there anyway.
const FAR_AFTER_JUMP: i64 = 500_000;

/// How far off the card is, learned from what sounds. One for a card.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Drift(f64);

impl Drift {
    /// A card that runs so many millionths fast.
    pub fn from_ppm(ppm: f64) -> Self {
        if ppm.is_finite() { Self((-ppm * 1e-6).clamp(-LIMIT, LIMIT)) } else { Self::default() }
    }

    /// Returns by how many millionths the card runs fast.
    pub fn ppm(self) -> f64 {
        -self.0 * 1e6
    }

    /// Returns how much later each second is in the air than an exact card would have it, in seconds.
    pub fn rate(self) -> f64 {
        self.0
    }

    /// Learns from a block that was late by so many nanoseconds, and returns the share of samples by which the next
    /// has to take more.
    fn steer(&mut self, late: i64) -> f64 {
        let late_s = if late.abs() < NEAR { 0.0 } else { late as f64 * 1e-9 };
        let wanted = PROPORTIONAL * late_s + self.0;
        let steered = wanted.clamp(-LIMIT, LIMIT);
        if late.abs() < FAR && (wanted - steered).abs() < f64::EPSILON {
            let seconds = BLOCK as f64 / f64::from(RATE);
            self.0 = (self.0 + INTEGRAL * late_s * seconds).clamp(-LIMIT, LIMIT);
        }
        steered
    }
}

/// What became of a [`Feed::refill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// There are samples to take.
    Ready,
    /// The decoder is behind.
    Dry,
    /// All samples were taken.
    Finished,
    /// The ring was given up before its time.
    Short,
}

/// The samples of one voice on their way from its ring into the mix.
#[derive(Debug)]
pub(super) struct Feed {
    samples: Consumer<f32>,
    slip: Slip<f32>,
    /// Still to come out of the ring.
    left: u64,
    /// Samples that went by: taken or skipped.
    gone: u64,
    /// Samples to skip because their moment has passed.
    owed: u64,
    /// Frames of silence until the moment of the next sample.
    early: u64,
    input: Box<[f32]>,
    block: Box<[f32]>,
    ready: usize,
    at: usize,
    /// Good and missing samples in the block, not yet counted.
    good: u64,
    missing: u64,
    edge: Edge,
    jumped: bool,
    /// The decoder was behind: what is skipped now is missing through no fault of the device.
    behind: bool,
}

/// How a block joins what is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// Without a seam.
    None,
    /// Before it is silence; it begins at the place that the clock says.
    Out,
    /// It fades in.
    In,
}

impl Feed {
    /// Takes `frames` samples out of a ring. Allocates: not for the callback.
    pub fn new(samples: Consumer<f32>, frames: u64) -> Self {
        let slip = Slip::new(BLOCK, 1, FixedAsync::Output).expect("a block is long enough for a crossfade");
        Self {
            samples,
            slip,
            left: frames,
            gone: 0,
            owed: 0,
            early: 0,
            input: vec![0.0; INPUT].into_boxed_slice(),
            block: vec![0.0; BLOCK].into_boxed_slice(),
            ready: 0,
            at: 0,
            good: 0,
            missing: 0,
            edge: Edge::None,
            jumped: false,
            behind: false,
        }
    }

    /// Returns how many samples are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Skips samples whose moment has passed.
    pub fn skip(&mut self, frames: u64) {
        self.owed = frames;
    }

    /// The timeline of the card has jumped.
    pub fn jumped(&mut self) {
        self.jumped = true;
    }

    /// Returns when the next sample belongs in the air, in nanoseconds after the first.
    pub fn due(&self) -> i64 {
        nanos(self.gone)
    }

    /// Returns the samples that are ready, at most `room`.
    pub fn ready(&self, room: usize) -> &[f32] {
        &self.block[self.at..self.ready.min(self.at + room)]
    }

    /// Takes so many of those that are ready. Returns the good and the missing ones among them.
    pub fn take(&mut self, count: usize) -> (u64, u64) {
        let rest = (self.ready - self.at) as u64;
        // The samples of a block are counted as its frames are handed over; all of them with the last.
        let share = |all: u64| (all * count as u64).checked_div(rest).unwrap_or(all);
        let (good, missing) = (share(self.good), share(self.missing));
        self.good -= good;
        self.missing -= missing;
        self.at += count;
        (good, missing)
    }

    /// Makes the next block, whose first frame is in the air `late` nanoseconds after its sample's moment.
    pub fn refill(&mut self, late: i64, drift: &mut Drift) -> Fill {
        (self.at, self.ready, self.good, self.missing) = (0, 0, 0, 0);
        if self.edge == Edge::Out {
            self.edge = Edge::In;
            let off = frames(late.unsigned_abs());
            if late > 0 { self.owed = off } else { self.early = off }
        }
        if self.early > 0 {
            let count = usize::try_from(self.early).unwrap_or(BLOCK).min(BLOCK);
            self.block[..count].fill(0.0);
            self.ready = count;
            self.early -= count as u64;
            return Fill::Ready;
        }
        let before = self.gone;
        if let Some(fill) = self.pay() {
            return self.after_silence(fill);
        }
        let late = late.saturating_sub(nanos(self.gone - before));
        // Asked in this order: what was pushed before the ring was given up is seen.
        let abandoned = self.samples.is_abandoned();
        let slots = self.samples.slots();
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if slots < left.min(INPUT) && !abandoned {
            return self.after_silence(Fill::Dry);
        }
        let far = if std::mem::take(&mut self.jumped) { FAR_AFTER_JUMP } else { FAR };
        let leaves = late.abs() > far && self.edge == Edge::None;
        let ratio = 1.0 / (1.0 + drift.steer(if leaves { 0 } else { late }));
        // Out of its range it is held at the limit.
        let _ = self.slip.set_resample_ratio(ratio, false);
        let need = self.slip.input_frames_next();
        if slots.min(left) >= need {
            self.pop(need);
            self.ready = if self.slip_block(need) { BLOCK } else { 0 };
        }
        if self.ready == 0 {
            // The last samples go as they are.
            let count = slots.min(left).min(BLOCK);
            self.pop(count);
            self.ready = count;
            self.block[..count].copy_from_slice(&self.input[..count]);
        }
        if self.ready == 0 {
            return if left == 0 { Fill::Finished } else { Fill::Short };
        }
        let fade = |at: usize| (at as f32 + 0.5) / BLOCK as f32;
        match self.edge {
            Edge::In => {
                self.edge = Edge::None;
                self.block[..self.ready].iter_mut().enumerate().for_each(|(at, sample)| *sample *= fade(at));
            }
            _ if leaves => {
                self.edge = Edge::Out;
                self.block[..self.ready].iter_mut().rev().enumerate().for_each(|(at, sample)| *sample *= fade(at));
            }
            _ => {}
        }
        Fill::Ready
    }

    /// What comes after a silence of the decoder goes straight to its place, and fades in.
    fn after_silence(&mut self, fill: Fill) -> Fill {
        if fill == Fill::Dry {
            self.edge = Edge::Out;
            self.behind = true;
        }
        fill
    }

    /// Skips what is owed, as far as it has come. Returns what stands in the way of the next sample.
    fn pay(&mut self) -> Option<Fill> {
        while self.owed > 0 {
            let abandoned = self.samples.is_abandoned();
            let ready = self.samples.slots() as u64;
            let count = self.owed.min(self.left).min(ready);
            if count == 0 {
                return Some(if self.left == 0 {
                    Fill::Finished
                } else if abandoned {
                    Fill::Short
                } else {
                    Fill::Dry
                });
            }
            if let Ok(chunk) = self.samples.read_chunk(usize::try_from(count).unwrap_or(0)) {
                chunk.commit_all();
            }
            self.owed -= count;
            self.left -= count;
            self.gone += count;
            if self.behind {
                self.missing += count;
            }
        }
        self.behind = false;
        None
    }

    /// Takes samples out of the ring; a missing one becomes silence.
    fn pop(&mut self, count: usize) {
        if let Ok(chunk) = self.samples.read_chunk(count) {
            let (head, tail) = chunk.as_slices();
            for (to, from) in self.input.iter_mut().zip(head.iter().chain(tail)) {
                let good = from.is_finite();
                *to = if good { *from } else { 0.0 };
                self.good += u64::from(good);
                self.missing += u64::from(!good);
            }
            chunk.commit_all();
        }
        self.left -= count as u64;
        self.gone += count as u64;
    }

    /// Makes a block of the input by leaving out or putting in a sample where one is due.
    fn slip_block(&mut self, need: usize) -> bool {
        let Ok(input) = InterleavedSlice::new(&self.input[..need], 1, need) else { return false };
        let Ok(mut output) = InterleavedSlice::new_mut(&mut self.block, 1, BLOCK) else { return false };
        self.slip.process_into_buffer(&input, &mut output, None).is_ok()
    }
}

/// Returns how many frames last nearest to so many nanoseconds.
fn frames(nanos: u64) -> u64 {
    let frames = (u128::from(nanos) * u128::from(RATE) + 500_000_000) / 1_000_000_000;
    u64::try_from(frames).unwrap_or(u64::MAX)
}

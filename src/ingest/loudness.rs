//! EBU R128 loudness and true peak of a stream of samples.

use ebur128::{EbuR128, Mode};

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// Integrated loudness; none where all of it is too short or too quiet for a reading.
    pub lufs: Option<f64>,
    /// Highest true peak of any channel.
    pub dbtp: f64,
}

/// Measures while samples pass by.
#[derive(Debug)]
pub(super) struct Meter {
    loudness: EbuR128,
    peak: TruePeak,
}

impl Meter {
    /// Returns a meter of loudness and true peak; none where nothing measures such a stream.
    pub fn new(rate: u32, channels: u32) -> Option<Self> {
        let loudness = EbuR128::new(channels, rate, Mode::I).ok()?;
        Some(Self { loudness, peak: TruePeak::new(rate, channels)? })
    }

    /// Takes interleaved samples.
    pub fn add(&mut self, samples: &[f32]) {
        // Only an incomplete frame is refused, and samples come in whole ones.
        let _ = self.loudness.add_frames_f32(samples);
        self.peak.add(samples);
    }

    /// Returns the reading so far.
    pub fn read(&self) -> Reading {
        Reading { lufs: lufs(&self.loudness), dbtp: decibels(self.peak.highest) }
    }

    /// Returns the highest sample so far.
    pub fn highest_sample(&self) -> f32 {
        self.peak.highest_sample
    }
}

/// Measures loudness alone.
#[derive(Debug)]
pub(super) struct LoudnessMeter(EbuR128);

impl LoudnessMeter {
    /// Returns a meter of one channel; none where nothing measures such a stream.
    pub fn new(rate: u32) -> Option<Self> {
        EbuR128::new(1, rate, Mode::I).ok().map(Self)
    }

    /// Takes samples.
    pub fn add(&mut self, samples: &[f32]) {
        // One channel has no incomplete frames, and nothing else is refused.
        let _ = self.0.add_frames_f32(samples);
    }

    /// Returns the integrated loudness so far.
    pub fn lufs(&self) -> Option<f64> {
        lufs(&self.0)
    }
}

fn lufs(meter: &EbuR128) -> Option<f64> {
    meter.loudness_global().ok().filter(|lufs| lufs.is_finite())
}

/// Frames looked at together.
const BLOCK: usize = 128;

/// Frames before a block that its interpolation looks back on, at most.
const LOOK_BACK: usize = 23;

/// The highest true peak of any channel. What lies between samples is reckoned only where it can be higher than what
/// was found before: most of speech lies far below its peak.
#[derive(Debug)]
struct TruePeak {
    meter: EbuR128,
    /// How far what lies between samples can be above all of them, as a factor: the sum of the interpolation's
    /// coefficients without their signs, rounded up.
    overshoot: f32,
    highest: f64,
    highest_sample: f32,
    /// The last frames taken, and after them those at hand.
    samples: Vec<f32>,
}

impl TruePeak {
    fn new(rate: u32, channels: u32) -> Option<Self> {
        Some(Self {
            meter: EbuR128::new(channels, rate, Mode::TRUE_PEAK).ok()?,
            overshoot: if rate < 96_000 { 1.87 } else { 2.31 },
            highest: 0.0,
            highest_sample: 0.0,
            samples: vec![0.0; LOOK_BACK * channels as usize],
        })
    }

    fn add(&mut self, samples: &[f32]) {
        let channels = self.meter.channels();
        let back = LOOK_BACK * channels as usize;
        self.samples.extend_from_slice(samples);
        let mut from = back;
        while from < self.samples.len() {
            let to = self.samples.len().min(from + BLOCK * channels as usize);
            let peak = highest(&self.samples[from - back..to]);
            self.highest_sample = self.highest_sample.max(peak);
            if f64::from(peak * self.overshoot) > self.highest {
                let (before, block) = self.samples[from - back..to].split_at(back);
                // Only an incomplete frame is refused, and only a channel that is none has no peak.
                let _ = self.meter.seed_frames_f32(before).and_then(|()| self.meter.add_frames_f32(block));
                let peaks = (0..channels).filter_map(|channel| self.meter.true_peak(channel).ok());
                self.highest = peaks.fold(self.highest, f64::max);
            }
            from = to;
        }
        self.samples.drain(..self.samples.len() - back);
    }
}

/// Returns the highest of all samples, whatever their sign.
pub(super) fn highest(samples: &[f32]) -> f32 {
    let (eights, rest) = samples.as_chunks::<8>();
    let mut highest = [0.0f32; 8];
    for eight in eights {
        highest.iter_mut().zip(eight).for_each(|(highest, sample)| *highest = highest.max(sample.abs()));
    }
    highest.iter().chain(rest).fold(0.0, |highest, sample| highest.max(sample.abs()))
}

/// Returns a factor in decibels; silence is −120.
pub(super) fn decibels(factor: f64) -> f64 {
    20.0 * factor.max(1e-6).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(seconds: f32, level: f32) -> Vec<f32> {
        let frames = (seconds * 48_000.0) as usize;
        (0..frames).map(|i| level * (i as f32 * std::f32::consts::TAU * 997.0 / 48_000.0).sin()).collect()
    }

    #[test]
    fn a_sine_reads_as_the_standard_says() {
        // EBU Tech 3341: a 1 kHz sine of amplitude −20 dBFS in one channel reads −23 LUFS.
        for (decibels, expected) in [(-20.0f32, -23.0), (-10.0, -13.0)] {
            let mut meter = Meter::new(48_000, 1).unwrap();
            meter.add(&sine(5.0, 10f32.powf(decibels / 20.0)));
            let reading = meter.read();
            assert!((reading.lufs.unwrap() - expected).abs() < 0.1, "{reading:?}");
            assert!((reading.dbtp - f64::from(decibels)).abs() < 0.1, "{reading:?}");
        }
    }

    #[test]
    fn the_true_peak_is_what_it_is_when_every_block_is_looked_into() {
        // The worst that a 4x interpolation meets, quieter than what is there before; growing and shrinking speech.
        let worst = |at: usize| match at / 2 {
            ..4800 => 0.9,
            frame @ 5200..5212 if frame % 2 == usize::from(frame >= 5206) => 0.6,
            5200..5212 => -0.6,
            _ => 0.0,
        };
        let swell = |at: usize| ((at as f32 / 900.0).sin() * 0.9).powi(3) * (at as f32 * 0.9 + 0.4).sin();
        let signals: [&dyn Fn(usize) -> f32; 3] = [&worst, &swell, &|_| 0.0];
        for rate in [8_000, 44_100, 48_000, 96_000, 192_000] {
            for signal in signals {
                let samples: Vec<f32> = (0..20_000).map(signal).collect();
                let mut whole = EbuR128::new(2, rate, Mode::TRUE_PEAK).unwrap();
                whole.add_frames_f32(&samples).unwrap();
                let expected = whole.true_peak(0).unwrap().max(whole.true_peak(1).unwrap());
                let mut skipping = TruePeak::new(rate, 2).unwrap();
                for part in [&samples[..6], &samples[6..3000], &samples[3000..]] {
                    skipping.add(part);
                }
                assert_eq!((skipping.highest, skipping.highest_sample), (expected, highest(&samples)), "at {rate} Hz");
            }
        }
    }

    #[test]
    fn a_click_has_a_peak_and_no_loudness() {
        let mut meter = Meter::new(48_000, 1).unwrap();
        meter.add(&sine(0.2, 0.5));
        let reading = meter.read();
        assert_eq!(reading.lufs, None);
        assert!((reading.dbtp + 6.02).abs() < 0.1, "{reading:?}");
    }
}

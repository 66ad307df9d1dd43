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
pub(super) struct Meter(EbuR128);

impl Meter {
    /// Returns a meter of loudness and true peak; none where nothing measures such a stream.
    pub fn new(rate: u32, channels: u32) -> Option<Self> {
        EbuR128::new(channels, rate, Mode::I | Mode::TRUE_PEAK).ok().map(Self)
    }

    /// Returns a meter of loudness alone, at half the cost; what it says of the peak is nothing.
    pub fn of_loudness(rate: u32, channels: u32) -> Option<Self> {
        EbuR128::new(channels, rate, Mode::I).ok().map(Self)
    }

    /// Returns the integrated loudness so far.
    pub fn lufs(&self) -> Option<f64> {
        self.0.loudness_global().ok().filter(|lufs| lufs.is_finite())
    }

    /// Takes interleaved samples.
    pub fn add(&mut self, samples: &[f32]) {
        // Only an incomplete frame is refused, and samples come in whole ones.
        let _ = self.0.add_frames_f32(samples);
    }

    /// Returns the reading so far.
    pub fn read(&self) -> Reading {
        let peak = (0..self.0.channels()).filter_map(|channel| self.0.true_peak(channel).ok()).fold(0.0, f64::max);
        Reading { lufs: self.lufs(), dbtp: decibels(peak) }
    }
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
    fn a_click_has_a_peak_and_no_loudness() {
        let mut meter = Meter::new(48_000, 1).unwrap();
        meter.add(&sine(0.2, 0.5));
        let reading = meter.read();
        assert_eq!(reading.lufs, None);
        assert!((reading.dbtp + 6.02).abs() < 0.1, "{reading:?}");
    }
}

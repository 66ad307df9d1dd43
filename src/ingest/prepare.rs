//! Samples as decoded to the prepared sound: one channel, 48 kHz, no silence at the ends, FLAC of 16 bit.
//!
//! Everything streams: memory does not grow with the clip.

use super::{
    Refused, flac,
    loudness::{LoudnessMeter, Meter, Reading, decibels, highest},
    strange,
};
use crate::plan::RATE;
use rubato::{Fft, FixedSync, Indexing, Resampler, audioadapter_buffers::direct::InterleavedSlice};
use std::{fs::File, io::BufWriter};

/// −60 dBFS: what stays below is silence.
const SILENCE: f32 = 0.001;

/// Kept of the silence before the first audible sample: 1 ms, so that no attack is shaved and the clip still starts
/// on its moment.
const LEAD_IN: usize = RATE as usize / 1000;

/// Kept of the silence after the last audible sample: 20 ms.
const LEAD_OUT: usize = RATE as usize / 50;

/// The longest silence kept sample by sample until it is known to end: a minute. Of a longer one the rest is zeros.
const PATIENCE: usize = RATE as usize * 60;

/// What came of it.
#[derive(Debug)]
pub(super) struct Sound {
    /// Frames written.
    pub frames: u64,
    /// The channels as they are.
    pub channels: Reading,
    /// The one channel that is played.
    pub mix: Reading,
}

/// Takes samples as decoded; measures, mixes, resamples, trims and writes them.
pub(super) struct Preparation {
    stream: Option<Stream>,
    writer: Option<File>,
    trimmed: Option<Trimmed>,
}

/// What is known once the first samples are there.
struct Stream {
    channels: Meter,
    /// None where there is one channel: then it is the mix.
    mix: Option<LoudnessMeter>,
    mix_peak: f32,
    to_rate: Option<ToRate>,
    mono: Vec<f32>,
}

impl Preparation {
    pub fn new(writer: Option<File>) -> Self {
        Self { stream: None, writer, trimmed: None }
    }

    /// Takes interleaved samples; rate and channels are the same at every call.
    pub fn push(&mut self, rate: u32, channels: u32, samples: &[f32]) -> Result<(), Refused> {
        if self.stream.is_none() {
            self.stream = Some(Stream::new(rate, channels)?);
            self.trimmed = Some(Trimmed::new(self.writer.take())?);
        }
        let (Some(stream), Some(trimmed)) = (&mut self.stream, &mut self.trimmed) else { return Ok(()) };
        stream.channels.add(samples);
        stream.mono.clear();
        match channels {
            1 => stream.mono.extend_from_slice(samples),
            2 => stream.mono.extend(samples.as_chunks().0.iter().map(|[left, right]| (left + right) * 0.5)),
            _ => {
                let share = 1.0 / channels as f32;
                stream
                    .mono
                    .extend(samples.chunks_exact(channels as usize).map(|frame| frame.iter().sum::<f32>() * share));
            }
        }
        if let Some(meter) = &mut stream.mix {
            meter.add(&stream.mono);
            stream.mix_peak = stream.mix_peak.max(highest(&stream.mono));
        }
        match &mut stream.to_rate {
            Some(to_rate) => to_rate.push(&stream.mono, trimmed),
            None => trimmed.push(&stream.mono),
        }
    }

    /// Ends the sound and makes it durable.
    pub fn finish(self) -> Result<Sound, Refused> {
        let (Some(mut stream), Some(mut trimmed)) = (self.stream, self.trimmed) else { return Err(Refused::Corrupt) };
        if let Some(to_rate) = &mut stream.to_rate {
            to_rate.finish(&mut trimmed)?;
        }
        let peak = stream.channels.highest_sample();
        if peak < SILENCE {
            return Err(Refused::Silent);
        }
        let frames = trimmed.finish()?;
        if frames == 0 {
            return Err(Refused::Cancels);
        }
        let channels = stream.channels.read();
        // Between its samples the mix rises as far above them as the channels do: the mix is no sharper than they are.
        let excess = channels.dbtp - decibels(f64::from(peak));
        let mix = stream.mix.map_or(channels, |meter| Reading {
            lufs: meter.lufs(),
            dbtp: (decibels(f64::from(stream.mix_peak)) + excess).min(channels.dbtp),
        });
        Ok(Sound { frames, channels, mix })
    }
}

impl Stream {
    fn new(rate: u32, channels: u32) -> Result<Self, Refused> {
        let strange = || strange(rate, channels);
        let meter = |channels| Meter::new(rate, channels).ok_or_else(strange);
        Ok(Self {
            channels: meter(channels)?,
            mix: if channels == 1 { None } else { Some(LoudnessMeter::new(rate).ok_or_else(strange)?) },
            mix_peak: 0.0,
            to_rate: if rate == RATE { None } else { Some(ToRate::new(rate).ok_or_else(strange)?) },
            mono: Vec::new(),
        })
    }
}

/// Brings one channel to 48 kHz, without the resampler's own delay.
struct ToRate {
    fft: Fft<f32>,
    rate: u32,
    waiting: Vec<f32>,
    output: Vec<f32>,
    /// Still to drop at the start.
    delay: usize,
    taken: u64,
    given: u64,
}

impl ToRate {
    fn new(rate: u32) -> Option<Self> {
        let fft = Fft::new(rate as usize, RATE as usize, 1024, 1, FixedSync::Input).ok()?;
        let (output, delay) = (vec![0.0; fft.output_frames_max()], fft.output_delay());
        Some(Self { fft, rate, waiting: Vec::new(), output, delay, taken: 0, given: 0 })
    }

    fn push(&mut self, mono: &[f32], trimmed: &mut Trimmed) -> Result<(), Refused> {
        self.taken += mono.len() as u64;
        self.waiting.extend_from_slice(mono);
        let mut from = 0;
        loop {
            let need = self.fft.input_frames_next();
            if self.waiting.len() - from < need {
                break;
            }
            self.step(from, need, None, trimmed)?;
            from += need;
        }
        self.waiting.drain(..from);
        Ok(())
    }

    /// Lets out what the resampler still holds: as many frames in all as the length asks for.
    fn finish(&mut self, trimmed: &mut Trimmed) -> Result<(), Refused> {
        let total = (u128::from(self.taken) * u128::from(RATE)).div_ceil(u128::from(self.rate)) as u64;
        while self.given < total {
            let left = self.waiting.len();
            let need = self.fft.input_frames_next();
            self.waiting.resize(need, 0.0);
            let before = self.given;
            self.step(0, need, Some(total), trimmed)?;
            self.waiting.clear();
            if self.given == before && left == 0 && self.delay == 0 {
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self, from: usize, need: usize, total: Option<u64>, trimmed: &mut Trimmed) -> Result<(), Refused> {
        let room = self.output.len();
        let input = InterleavedSlice::new(&self.waiting[from..from + need], 1, need).map_err(|_| Refused::Corrupt)?;
        let mut output = InterleavedSlice::new_mut(&mut self.output, 1, room).map_err(|_| Refused::Corrupt)?;
        let (_, made) =
            self.fft.process_into_buffer(&input, &mut output, Some(&Indexing::new())).map_err(|_| Refused::Corrupt)?;
        let dropped = self.delay.min(made);
        self.delay -= dropped;
        let mut fresh = &self.output[dropped..made];
        if let Some(total) = total {
            let most = usize::try_from(total - self.given).unwrap_or(usize::MAX);
            fresh = &fresh[..fresh.len().min(most)];
        }
        self.given += fresh.len() as u64;
        trimmed.push(fresh)
    }
}

/// Leaves out the silence at both ends and writes what lies between.
struct Trimmed {
    flac: Option<flac::Writer<BufWriter<File>>>,
    sounding: bool,
    /// Before the sound: its lead-in. After its beginning: silence that may be the end, or the pause before more sound.
    quiet: Vec<i16>,
    /// More of it than is worth keeping sample by sample.
    more_quiet: u64,
    frames: u64,
}

impl Trimmed {
    fn new(writer: Option<File>) -> Result<Self, Refused> {
        let flac = writer.map(BufWriter::new).map(flac::Writer::new).transpose().map_err(no_room)?;
        Ok(Self { flac, sounding: false, quiet: Vec::new(), more_quiet: 0, frames: 0 })
    }

    fn push(&mut self, mono: &[f32]) -> Result<(), Refused> {
        let known = self.quiet.len();
        self.quiet.extend(mono.iter().map(|sample| to_16_bit(*sample)));
        let sounds = |sample: &f32| sample.abs() >= SILENCE;
        let Some(last) = mono.iter().rposition(sounds) else {
            if !self.sounding {
                self.quiet.drain(..self.quiet.len().saturating_sub(LEAD_IN));
            } else if self.quiet.len() > PATIENCE {
                self.more_quiet += (self.quiet.len() - PATIENCE) as u64;
                self.quiet.truncate(PATIENCE);
            }
            return Ok(());
        };
        if !self.sounding {
            self.sounding = true;
            let first = mono.iter().position(sounds).unwrap_or(last);
            let silence = (known + first).saturating_sub(LEAD_IN);
            self.quiet.drain(..silence);
            return self.write(known + last + 1 - silence);
        }
        if self.more_quiet > 0 {
            self.write(known)?;
            self.write_zeros()?;
            return self.write(last + 1);
        }
        self.write(known + last + 1)
    }

    /// Writes the first `count` of what is held back.
    fn write(&mut self, count: usize) -> Result<(), Refused> {
        if let Some(flac) = &mut self.flac {
            flac.write(&self.quiet[..count]).map_err(no_room)?;
        }
        self.frames += count as u64;
        self.quiet.drain(..count);
        Ok(())
    }

    /// Writes the silence that was counted only.
    fn write_zeros(&mut self) -> Result<(), Refused> {
        let zeros = [0; 4096];
        while self.more_quiet > 0 {
            let part = self.more_quiet.min(zeros.len() as u64);
            if let Some(flac) = &mut self.flac {
                flac.write(&zeros[..part as usize]).map_err(no_room)?;
            }
            self.frames += part;
            self.more_quiet -= part;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u64, Refused> {
        if !self.sounding {
            return Ok(0);
        }
        self.write(self.quiet.len().min(LEAD_OUT))?;
        if let Some(flac) = self.flac {
            let durable = |flac: flac::Writer<BufWriter<File>>| flac.finish()?.into_inner()?.sync_all();
            durable(flac).map_err(no_room)?;
        }
        Ok(self.frames)
    }
}

/// Returns the nearest value of 16 bit; the end of the scale for what lies beyond.
fn to_16_bit(sample: f32) -> i16 {
    let value = f64::from(sample) * 32768.0;
    (value + 0.5f64.copysign(value)) as i16
}

fn no_room(error: std::io::Error) -> Refused {
    Refused::NoRoom { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written of these runs of (samples, level), fed in pieces of `piece`.
    fn frames(runs: &[(usize, f32)], piece: usize) -> u64 {
        let mut trimmed = Trimmed::new(None).unwrap();
        let samples: Vec<f32> = runs.iter().flat_map(|(count, level)| std::iter::repeat_n(*level, *count)).collect();
        samples.chunks(piece).for_each(|piece| trimmed.push(piece).unwrap());
        trimmed.finish().unwrap()
    }

    #[test]
    fn silence_is_left_out_at_the_ends_only() {
        let (lead_in, lead_out) = (LEAD_IN as u64, LEAD_OUT as u64);
        for (runs, expected) in [
            (vec![], 0),
            (vec![(5000, 0.0)], 0),
            (vec![(5000, 0.0009)], 0),
            (vec![(5, 0.5)], 5),
            (vec![(3, 0.0), (5, 0.5), (7, 0.0)], 15),
            (vec![(5000, 0.0), (5, 0.5), (5000, 0.0)], lead_in + 5 + lead_out),
            (vec![(5000, 0.0009), (5, -0.5), (9000, 0.0), (5, 0.001), (5000, 0.0)], lead_in + 9010 + lead_out),
            (
                vec![(5, 0.5), (PATIENCE + 9999, 0.0), (5, 0.5), (PATIENCE * 2, 0.0)],
                PATIENCE as u64 + 10_009 + lead_out,
            ),
        ] {
            for piece in [1000, 1152, 65_536] {
                assert_eq!(frames(&runs, piece), expected, "{runs:?}");
            }
        }
    }

    #[test]
    fn a_sample_becomes_the_nearest_of_16_bit() {
        for (sample, expected) in [
            (0.0, 0),
            (0.4999 / 32768.0, 0),
            (0.5 / 32768.0, 1),
            (-0.5 / 32768.0, -1),
            (0.5, 16_384),
            (1.0, i16::MAX),
            (-1.0, i16::MIN),
            (9.0, i16::MAX),
            (-9.0, i16::MIN),
            (f32::NAN, 0),
        ] {
            assert_eq!(to_16_bit(sample), expected, "{sample}");
        }
    }
}

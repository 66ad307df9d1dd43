//! Samples as decoded to the prepared sound: one channel, 48 kHz, no silence at the ends, FLAC of 16 bit.
//!
//! Everything streams: memory does not grow with the clip.

use super::{
    Refused,
    loudness::{Meter, Reading, decibels},
};
use crate::plan::RATE;
use flac_codec::encode::{FlacSampleWriter, Options};
use rubato::{Fft, FixedSync, Indexing, Resampler, audioadapter_buffers::direct::InterleavedSlice};
use std::{
    collections::VecDeque,
    fs::File,
    io::{BufWriter, Write},
};

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
    peak: f32,
    writer: Option<File>,
    trimmed: Option<Trimmed>,
}

/// What is known once the first samples are there.
struct Stream {
    channels: Meter,
    /// None where there is one channel: then it is the mix.
    mix: Option<Meter>,
    mix_peak: f32,
    to_rate: Option<ToRate>,
    mono: Vec<f32>,
}

impl Preparation {
    pub fn new(writer: Option<File>) -> Self {
        Self { stream: None, peak: 0.0, writer, trimmed: None }
    }

    /// Takes interleaved samples; rate and channels are the same at every call.
    pub fn push(&mut self, rate: u32, channels: u32, samples: &[f32]) -> Result<(), Refused> {
        if self.stream.is_none() {
            self.stream = Some(Stream::new(rate, channels)?);
            self.trimmed = Some(Trimmed::new(self.writer.take())?);
        }
        let (Some(stream), Some(trimmed)) = (&mut self.stream, &mut self.trimmed) else { return Ok(()) };
        self.peak = samples.iter().fold(self.peak, |peak, sample| peak.max(sample.abs()));
        stream.channels.add(samples);
        stream.mono.clear();
        match channels {
            1 => stream.mono.extend_from_slice(samples),
            _ => {
                let share = 1.0 / channels as f32;
                stream
                    .mono
                    .extend(samples.chunks_exact(channels as usize).map(|frame| frame.iter().sum::<f32>() * share));
            }
        }
        if let Some(meter) = &mut stream.mix {
            meter.add(&stream.mono);
            stream.mix_peak = stream.mono.iter().fold(stream.mix_peak, |peak, sample| peak.max(sample.abs()));
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
        if self.peak < SILENCE {
            return Err(Refused::Silent);
        }
        let frames = trimmed.finish()?;
        if frames == 0 {
            return Err(Refused::Cancels);
        }
        let channels = stream.channels.read();
        // Between its samples the mix rises as far above them as the channels do: the mix is no sharper than they are.
        let excess = channels.dbtp - decibels(f64::from(self.peak));
        let mix = stream.mix.map_or(channels, |meter| Reading {
            lufs: meter.lufs(),
            dbtp: (decibels(f64::from(stream.mix_peak)) + excess).min(channels.dbtp),
        });
        Ok(Sound { frames, channels, mix })
    }
}

impl Stream {
    fn new(rate: u32, channels: u32) -> Result<Self, Refused> {
        let strange = || Refused::Unsupported { what: format!("采样率 {rate} Hz、{channels} 声道的音频") };
        let meter = |channels| Meter::new(rate, channels).ok_or_else(strange);
        Ok(Self {
            channels: meter(channels)?,
            mix: if channels == 1 { None } else { Some(Meter::of_loudness(rate, 1).ok_or_else(strange)?) },
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
    flac: Option<FlacSampleWriter<BufWriter<File>>>,
    /// A second handle on the same file, to make it durable.
    file: Option<File>,
    sounding: bool,
    /// Silence that may be the end, or the pause before more sound.
    quiet: VecDeque<i16>,
    /// More of it than is worth keeping sample by sample.
    more_quiet: u64,
    samples: Vec<i32>,
    frames: u64,
}

impl Trimmed {
    fn new(writer: Option<File>) -> Result<Self, Refused> {
        let file = writer.as_ref().map(File::try_clone).transpose().map_err(no_room)?;
        let flac = writer.map(open_flac).transpose()?;
        Ok(Self { flac, file, sounding: false, quiet: VecDeque::new(), more_quiet: 0, samples: Vec::new(), frames: 0 })
    }

    fn push(&mut self, mono: &[f32]) -> Result<(), Refused> {
        for &sample in mono {
            let value = (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16;
            if sample.abs() >= SILENCE {
                self.sounding = true;
                self.let_quiet_out(usize::MAX)?;
                self.samples.push(i32::from(value));
            } else if !self.sounding {
                if self.quiet.len() == LEAD_IN {
                    self.quiet.pop_front();
                }
                self.quiet.push_back(value);
            } else if self.quiet.len() < PATIENCE {
                self.quiet.push_back(value);
            } else {
                self.more_quiet += 1;
            }
        }
        self.write()
    }

    /// Takes up to `most` samples of the silence held back into the sound.
    fn let_quiet_out(&mut self, most: usize) -> Result<(), Refused> {
        let keep = self.quiet.len().min(most);
        self.samples.extend(self.quiet.drain(..keep).map(i32::from));
        self.quiet.clear();
        while self.more_quiet > 0 && most == usize::MAX {
            let part = self.more_quiet.min(u64::from(RATE));
            self.more_quiet -= part;
            self.samples.extend(std::iter::repeat_n(0, part as usize));
            self.write()?;
        }
        self.more_quiet = 0;
        Ok(())
    }

    fn write(&mut self) -> Result<(), Refused> {
        self.frames += self.samples.len() as u64;
        if let Some(flac) = &mut self.flac {
            flac.write(&self.samples).map_err(flac_failed)?;
        }
        self.samples.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<u64, Refused> {
        if !self.sounding {
            return Ok(0);
        }
        self.let_quiet_out(LEAD_OUT)?;
        self.write()?;
        if let Some(flac) = self.flac {
            flac.finalize().map_err(flac_failed)?;
        }
        if let Some(mut file) = self.file {
            file.flush().and_then(|()| file.sync_all()).map_err(no_room)?;
        }
        Ok(self.frames)
    }
}

fn open_flac(file: File) -> Result<FlacSampleWriter<BufWriter<File>>, Refused> {
    // Half an ordinary file's size at the least effort: what is written once is read from a local disk.
    let options =
        Options::fast().no_padding().no_seektable().block_size(4096).and_then(|fast| fast.max_partition_order(2));
    let options = options.map_err(|error| Refused::NoRoom { why: error.to_string() })?;
    FlacSampleWriter::new(BufWriter::new(file), options, RATE, 16, 1, None).map_err(flac_failed)
}

fn no_room(error: std::io::Error) -> Refused {
    Refused::NoRoom { why: error.to_string() }
}

fn flac_failed(error: flac_codec::Error) -> Refused {
    Refused::NoRoom { why: error.to_string() }
}

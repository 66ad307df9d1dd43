//! One announcement as one stream of samples: chime first, then the clips, each at its gain, read off prepared files.
//!
//! [`Chain`] is a `rodio` [`Source`], 48 kHz mono, pulled by the preparing thread and pushed into the ring from which
//! the sound callback takes it. It always keeps the place of every later clip: where a file is shorter than it should
//! be or cannot be read, [`MISSING`] stands for each frame that is not there.
//!
//! Not here: what may change while the announcement sounds (gain, fades, limiter). That lies behind the ring, in
//! [`super::render`], so that a stop is heard at once.

use super::protocol::{Playout, Segment};
use crate::plan::RATE;
use rodio::{ChannelCount, Sample, SampleRate, Source};
use std::{collections::VecDeque, fs::File, num::NonZero, path::Path, time::Duration};
use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error,
    formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
    units::Timestamp,
};

/// Stands in the stream for a frame that a file lacks: silence that was never accepted by a device.
pub const MISSING: f32 = f32::NAN;

/// The samples of one announcement from a position on.
pub struct Chain {
    segments: VecDeque<Segment>,
    /// Frames to leave out of the first of `segments`.
    skip: u64,
    open: Option<Open>,
}

/// The segment that is being read.
struct Open {
    /// None where the file cannot be read.
    reader: Option<Reader>,
    gain: f32,
    /// Frames still to come.
    left: u64,
}

impl Chain {
    /// Starts `skip_frames` into the announcement.
    pub fn new(playout: &Playout, skip_frames: u64) -> Self {
        let mut segments: VecDeque<Segment> = playout.segments.iter().cloned().collect();
        let mut skip = skip_frames;
        while let Some(first) = segments.front()
            && first.frames <= skip
        {
            skip -= first.frames;
            segments.pop_front();
        }
        Self { segments, skip, open: None }
    }
}

impl Iterator for Chain {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        loop {
            if let Some(open) = &mut self.open
                && open.left > 0
            {
                open.left -= 1;
                let sample = open.reader.as_mut().and_then(Reader::next);
                if sample.is_none() {
                    open.reader = None;
                }
                return Some(sample.map_or(MISSING, |sample| sample * open.gain));
            }
            let segment = self.segments.pop_front()?;
            let skip = std::mem::take(&mut self.skip);
            self.open = Some(Open {
                reader: Reader::open(&segment.file, skip),
                gain: segment.gain,
                left: segment.frames.saturating_sub(skip),
            });
        }
    }
}

impl Source for Chain {
    fn current_span_len(&self) -> Option<usize> {
        None
    }

    fn channels(&self) -> ChannelCount {
        NonZero::<u16>::MIN
    }

    fn sample_rate(&self) -> SampleRate {
        NonZero::new(RATE).unwrap_or(NonZero::<u32>::MIN)
    }

    fn total_duration(&self) -> Option<Duration> {
        None
    }
}

/// A prepared file, decoded packet by packet.
struct Reader {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    block: Vec<f32>,
    at: usize,
}

impl Reader {
    /// Opens a prepared file at a frame; none if it is not one.
    fn open(file: &Path, skip: u64) -> Option<Self> {
        let source = MediaSourceStream::new(Box::new(File::open(file).ok()?), Default::default());
        let mut hint = Hint::new();
        hint.with_extension("flac");
        let mut format = symphonia::default::get_probe()
            .probe(&hint, source, FormatOptions::default(), MetadataOptions::default())
            .ok()?;
        let track = format.default_track(TrackType::Audio)?;
        let (track, params) = (track.id, track.codec_params.as_ref()?.audio()?.clone());
        if params.sample_rate != Some(RATE) || params.channels.as_ref().is_some_and(|channels| channels.count() != 1) {
            return None;
        }
        let decoder =
            symphonia::default::get_codecs().make_audio_decoder(&params, &AudioDecoderOptions::default()).ok()?;
        let mut reached = 0;
        if skip > 0 {
            let seek = SeekTo::Timestamp { ts: Timestamp::new(i64::try_from(skip).ok()?), track_id: track };
            reached = u64::try_from(format.seek(SeekMode::Accurate, seek).ok()?.actual_ts.get()).ok()?;
        }
        let mut reader = Self { format, decoder, track, block: Vec::new(), at: 0 };
        for _ in reached..skip {
            reader.next()?;
        }
        Some(reader)
    }

    /// Returns the next sample; none at the end of the file and at the first fault.
    fn next(&mut self) -> Option<f32> {
        while self.at == self.block.len() {
            let packet = self.format.next_packet().ok()??;
            if packet.track_id != self.track {
                continue;
            }
            match self.decoder.decode(&packet) {
                Ok(audio) => {
                    self.block.resize(audio.samples_interleaved(), 0.0);
                    audio.copy_to_slice_interleaved(&mut self.block);
                    self.at = 0;
                }
                Err(Error::DecodeError(_)) => {}
                Err(_) => return None,
            }
        }
        let sample = self.block[self.at];
        self.at += 1;
        Some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::OccurrenceId, schedule::Band};
    use flac_codec::encode::{FlacSampleWriter, Options};
    use std::path::PathBuf;

    const LONG: u64 = 100_000;

    /// A file whose sample says where it stands.
    fn ramp(folder: &Path, name: &str, frames: u64, offset: i32) -> PathBuf {
        let file = folder.join(name);
        let samples: Vec<i32> = (0..frames).map(|at| (at % 16_000) as i32 + offset).collect();
        let mut writer = FlacSampleWriter::create(&file, Options::default(), RATE, 16, 1, Some(frames)).unwrap();
        writer.write(&samples).unwrap();
        writer.finalize().unwrap();
        file
    }

    fn playout(segments: &[(PathBuf, u64, f32)]) -> Playout {
        Playout {
            occurrence: OccurrenceId::from("manual/1".to_owned()),
            band: Band::Normal,
            segments: segments
                .iter()
                .map(|(file, frames, gain)| Segment { file: file.clone(), frames: *frames, gain: *gain })
                .collect(),
            start: jiff::Timestamp::UNIX_EPOCH,
            skip_frames: 0,
            gain: 1.0,
            not_after: None,
        }
    }

    #[test]
    fn clips_follow_one_another_without_a_gap_from_every_position() {
        let folder = tempfile::tempdir().unwrap();
        let chime = ramp(folder.path(), "chime.flac", 5_000, 7);
        let voice = ramp(folder.path(), "voice.flac", LONG, 100);
        let playout = playout(&[(chime, 5_000, 0.5), (voice, LONG, 1.0)]);
        let whole: Vec<f32> = Chain::new(&playout, 0).collect();
        assert_eq!(whole.len() as u64, playout.frames());
        let expected = (0..5_000)
            .map(|at| (at + 7) as f32 / 65_536.0)
            .chain((0..LONG).map(|at| ((at % 16_000) + 100) as f32 / 32_768.0));
        assert!(whole.iter().copied().eq(expected), "every sample in its place");
        for skip in [1, 4_095, 4_096, 4_999, 5_000, 5_001, 20_000, 54_321, 104_999, 105_000, 200_000] {
            let rest: Vec<f32> = Chain::new(&playout, skip).collect();
            assert!(rest == whole[(skip as usize).min(whole.len())..], "from frame {skip}");
        }
    }

    #[test]
    fn a_bad_file_keeps_the_place_of_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        let short = ramp(folder.path(), "short.flac", 1_000, 1);
        let garbage = folder.path().join("garbage.flac");
        std::fs::write(&garbage, b"fLaC, but not really").unwrap();
        let gone = folder.path().join("gone.flac");
        let next = ramp(folder.path(), "next.flac", 500, 3);
        for (file, readable) in [(short, 1_000), (garbage, 0), (gone, 0)] {
            let segments = [(file, 3_000, 1.0), (next.clone(), 500, 1.0)];
            let samples: Vec<f32> = Chain::new(&playout(&segments), 0).collect();
            assert_eq!(samples.len(), 3_500);
            assert_eq!(samples.iter().position(|sample| sample.is_nan()), Some(readable));
            assert_eq!(samples[3_000], 3.0 / 32_768.0);
        }
    }
}

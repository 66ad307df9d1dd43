//! A file of any kind to samples, as they come out of the decoder.
//!
//! The kind is told by content, never by name. Frames that cannot be decoded are left out and counted; how much may be
//! missing is settled at the end, against what the header promised.

use super::{LONGEST_SECONDS, Refused, container, strange};
use crate::text::Said;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::LazyLock,
};
use symphonia::core::{
    codecs::{
        audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, CODEC_ID_NULL_AUDIO, well_known::*},
        registry::CodecRegistry,
    },
    common::Limit,
    errors::Error,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint, well_known::*},
    io::{MediaSource, MediaSourceStream},
    meta::{MetadataOptions, StandardTag},
};

/// What is known of the file after the last sample.
#[derive(Debug)]
pub(super) struct Decoded {
    /// From its tags, as they stand.
    pub title: Option<String>,
    /// Short, lower-case.
    pub codec: String,
    /// In hertz.
    pub rate: u32,
    /// Handed on.
    pub frames: u64,
}

/// Takes (rate, channels, interleaved samples); rate and channels are the same at every call.
pub(super) type Sink<'a> = dyn FnMut(u32, u32, &[f32]) -> Result<(), Refused> + 'a;

/// At least this much of what the header promises must be there, in percent.
const ENOUGH_PERCENT: u64 = 95;

/// Encoder delay of AAC where the file does not say: its overlap makes every encoder add as much.
const AAC_PRIMING: u64 = 1024;

/// The loudest sample taken for sound: 24 dB above full scale.
const LOUDEST: f32 = 16.0;

static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
    codecs
});

/// Decodes all of `source`.
pub(super) fn decode(source: &File, sink: &mut Sink) -> Result<Decoded, Refused> {
    let mut stream = source.try_clone().map_err(|error| super::unreadable(&error))?;
    stream.rewind().map_err(|error| super::unreadable(&error))?;
    let guesses = is_raw_mpeg(&head(source)) && !container::mp3_states_its_length(source);
    stream.rewind().map_err(|error| super::unreadable(&error))?;
    let stream = MediaSourceStream::new(Box::new(Bytes { file: stream, seekable: !guesses }), Default::default());
    let tags = MetadataOptions::default()
        .limit_tag_bytes(Limit::Maximum(64 * 1024))
        .limit_visual_bytes(Limit::Maximum(16 * 1024 * 1024));
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), tags)
        .map_err(|error| not_probed(source, &error))?;
    let track = format.default_track(TrackType::Audio).ok_or_else(|| no_track(&*format))?;
    let (track_id, promised) = (track.id, track.num_frames);
    let params = track.codec_params.as_ref().and_then(|params| params.audio()).cloned().ok_or(Refused::Unknown)?;
    let decoder = CODECS
        .make_audio_decoder(&params, &AudioDecoderOptions::default())
        .map_err(|error| no_decoder(&params, &error))?;
    // The demuxer moves its own copy of the handle: both share one position, so everything is asked before it reads on.
    let kind = format.format_info().format;
    let second = Second::look(source, kind, &params, promised)?;
    let mut title = None;
    note_title(&mut *format, &mut title);
    let mut run = Run {
        decoder,
        spec: None,
        skip: second.skip,
        most: second.most,
        handed: 0,
        good: 0,
        bad: 0,
        samples: Vec::new(),
    };
    loop {
        match format.next_packet() {
            Ok(Some(packet)) if packet.track_id == track_id => run.take(&packet, sink)?,
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(Error::ResetRequired) => {
                return Err(Refused::Unsupported {
                    what: Said::new("由几段拼接而成的 OGG 文件", "an OGG file of several parts"),
                });
            }
            // Garbage at the end, or the end itself; whether too much is missing is settled below.
            Err(_) => break,
        }
    }
    note_title(&mut *format, &mut title);
    run.settle(&second, kind)?;
    let codec = run.decoder.codec_info().short_name.to_owned();
    let rate = run.spec.map_or(0, |(rate, _)| rate);
    Ok(Decoded { title, codec, rate, frames: run.handed })
}

/// The file for the demuxer. An MP3 that does not state its length is shown as a stream: of a file the demuxer guesses
/// the length from the first frames, and cuts off what lies beyond.
struct Bytes {
    file: File,
    seekable: bool,
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Bytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl MediaSource for Bytes {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.file.metadata().ok().map(|about| about.len())
    }
}

/// Returns the first bytes, zeros where there are none.
fn head(mut source: &File) -> [u8; 12] {
    let mut head = [0; 12];
    // Of a shorter file the rest stays zero, which is what nothing begins with.
    let _ = source.rewind().and_then(|()| source.read_exact(&mut head));
    head
}

/// Returns whether these are the first bytes of an MP3 or ADTS stream, a tag in front included.
fn is_raw_mpeg(head: &[u8; 12]) -> bool {
    head.starts_with(b"ID3") || (head[0] == 0xff && head[1] & 0xe0 == 0xe0)
}

/// What the file's own bytes say beside the demuxer.
struct Second {
    skip: u64,
    most: Option<u64>,
    promised: Option<u64>,
    cut: bool,
}

impl Second {
    fn look(
        source: &File,
        kind: symphonia::core::formats::FormatId,
        params: &AudioCodecParameters,
        promised: Option<u64>,
    ) -> Result<Self, Refused> {
        let mut handle = source;
        let position = handle.stream_position().map_err(|error| super::unreadable(&error))?;
        let rate = params.sample_rate.unwrap_or(0);
        let edit = (kind == FORMAT_ID_ISOMP4).then(|| container::edit(source, rate)).flatten();
        let promised = match kind {
            FORMAT_ID_MP1 | FORMAT_ID_MP2 | FORMAT_ID_MP3 => {
                promised.filter(|_| container::mp3_states_its_length(source))
            }
            FORMAT_ID_ADTS | FORMAT_ID_OGG => None,
            FORMAT_ID_WAVE => promised.filter(|frames| !is_streamed(*frames, params)),
            _ => promised,
        };
        let cut = kind == FORMAT_ID_OGG && container::ogg_is_cut(source);
        handle.seek(SeekFrom::Start(position)).map_err(|error| super::unreadable(&error))?;
        if let Some(seconds) = promised.and_then(|frames| frames.checked_div(u64::from(rate)))
            && seconds > LONGEST_SECONDS
        {
            return Err(Refused::TooLong { minutes: seconds / 60 });
        }
        let skip = match edit {
            Some(edit) => edit.skip,
            None if params.codec == CODEC_ID_AAC => AAC_PRIMING,
            None => 0,
        };
        Ok(Self { skip, most: edit.and_then(|edit| edit.length), promised, cut })
    }
}

/// Returns whether a WAV's length is the mark of a program that wrote without knowing the length.
fn is_streamed(frames: u64, params: &AudioCodecParameters) -> bool {
    let channels = params.channels.as_ref().map_or(1, |channels| channels.count()) as u64;
    let bits = u64::from(params.bits_per_sample.unwrap_or(16));
    frames.saturating_mul(channels).saturating_mul(bits / 8) >= u64::from(u32::MAX) - 64 * 1024
}

/// A decoder at work.
struct Run {
    decoder: Box<dyn AudioDecoder>,
    spec: Option<(u32, u32)>,
    skip: u64,
    most: Option<u64>,
    handed: u64,
    /// Frames and packets that came out; packets that did not.
    good: u64,
    bad: u64,
    samples: Vec<f32>,
}

impl Run {
    fn take(&mut self, packet: &symphonia::core::packet::Packet, sink: &mut Sink) -> Result<(), Refused> {
        let Ok(buffer) = self.decoder.decode(packet) else {
            self.bad += 1;
            return Ok(());
        };
        let (rate, channels) = (buffer.spec().rate(), buffer.spec().channels().count() as u32);
        if buffer.frames() == 0 {
            return Ok(());
        }
        if !(4_000..=384_000).contains(&rate) || !(1..=16).contains(&channels) {
            return Err(strange(rate, channels));
        }
        if *self.spec.get_or_insert((rate, channels)) != (rate, channels) {
            // A damaged header looks like another kind of sound.
            self.bad += 1;
            return Ok(());
        }
        buffer.copy_to_vec_interleaved(&mut self.samples);
        let frames = (self.samples.len() / channels as usize) as u64;
        self.good += frames;
        let dropped = self.skip.min(frames);
        self.skip -= dropped;
        let most = self.most.map_or(u64::MAX, |most| most - self.handed.min(most));
        let kept = (frames - dropped).min(most);
        self.handed += kept;
        if self.handed > LONGEST_SECONDS * u64::from(rate) {
            return Err(Refused::Endless);
        }
        // Damage makes numbers that are none, or far louder than any sound: such a packet is silence.
        if !self.samples.iter().fold(true, |sound, sample| sound & (sample.abs() <= LOUDEST)) {
            self.samples.fill(0.0);
            self.bad += 1;
        }
        let (from, to) = (dropped as usize * channels as usize, (dropped + kept) as usize * channels as usize);
        if kept > 0 { sink(rate, channels, &self.samples[from..to]) } else { Ok(()) }
    }

    /// Settles whether enough of the file came out.
    fn settle(&self, second: &Second, kind: symphonia::core::formats::FormatId) -> Result<(), Refused> {
        let Some((rate, _)) = self.spec else { return Err(Refused::Corrupt) };
        if let Some(promised) = second.promised
            && self.good.saturating_mul(100) < promised.saturating_mul(ENOUGH_PERCENT)
        {
            let seconds = |frames: u64| frames / u64::from(rate);
            return Err(Refused::Truncated { promised_seconds: seconds(promised), heard_seconds: seconds(self.good) });
        }
        if second.cut {
            return Err(Refused::CutOff);
        }
        let packets = self.decoded_packets(kind);
        if self.bad.saturating_mul(100) > packets.saturating_mul(100 - ENOUGH_PERCENT) {
            Err(Refused::Corrupt)
        } else {
            Ok(())
        }
    }

    /// Returns about how many packets there were, those that failed included.
    fn decoded_packets(&self, kind: symphonia::core::formats::FormatId) -> u64 {
        let frames_each = if matches!(kind, FORMAT_ID_OGG) { 512 } else { 1024 };
        self.good / frames_each + self.bad
    }
}

/// Takes the first title of all the tags read so far.
fn note_title(format: &mut dyn FormatReader, title: &mut Option<String>) {
    let mut metadata = format.metadata();
    loop {
        if let Some(revision) = metadata.current()
            && title.is_none()
        {
            let tracks = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
            *title = revision.media.tags.iter().chain(tracks).find_map(|tag| match &tag.std {
                Some(StandardTag::TrackTitle(text)) => Some(text.to_string()),
                _ => None,
            });
        }
        if metadata.pop().is_none() {
            return;
        }
    }
}

fn not_probed(source: &File, error: &Error) -> Refused {
    let head = head(source);
    let known =
        matches!(&head[..4], b"RIFF" | b"fLaC" | b"OggS" | b"FORM") || &head[4..8] == b"ftyp" || is_raw_mpeg(&head);
    if known || matches!(error, Error::LimitError(_) | Error::DecodeError(_)) {
        Refused::Corrupt
    } else {
        Refused::Unknown
    }
}

fn no_track(format: &dyn FormatReader) -> Refused {
    if format.tracks().is_empty() {
        Refused::Corrupt
    } else {
        Refused::NotAudio { what: Said::new("没有声音的视频", "a video without sound") }
    }
}

fn no_decoder(params: &AudioCodecParameters, error: &Error) -> Refused {
    let (zh, en) = match params.codec {
        CODEC_ID_AAC => ("HE-AAC 编码（“高效”低码率 AAC）", "HE-AAC, the AAC of low bit rates,"),
        CODEC_ID_NULL_AUDIO => {
            ("这个文件里的音频编码（例如手机录音的 AMR）", "the coding inside this file, perhaps a telephone's AMR,")
        }
        CODEC_ID_OPUS => ("多于两个声道的 Opus 编码", "Opus with more than two channels"),
        CODEC_ID_ALAC => ("苹果 ALAC 编码", "Apple's ALAC"),
        CODEC_ID_AC3 | CODEC_ID_EAC3 => ("杜比 AC-3 编码", "Dolby AC-3"),
        _ if matches!(error, Error::Unsupported(_)) => ("这个文件里的音频编码", "the coding inside this file"),
        _ => return Refused::Corrupt,
    };
    Refused::Unsupported { what: Said::new(zh, en) }
}

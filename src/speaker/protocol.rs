//! What daemon and speaker say to each other: length-limited JSON messages over the speaker's standard streams.
//!
//! A frame is a little-endian `u32` length, at most [`LIMIT`], and that many bytes of JSON. The daemon sends
//! [`Order`]s, the speaker answers with [`Word`]s. The speaker knows no schedule: it plays a [`Playout`] and says what
//! the device accepted.

use crate::{outcome::Reason, plan::OccurrenceId, schedule::Band};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The longest message, in bytes: a folder of 2,000 clips fits.
pub const LIMIT: u32 = 1 << 20;

/// One prepared file with the gain that brings it to its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// A prepared file under `data/ready/`: FLAC, 48 kHz, mono, 16 bit.
    pub file: PathBuf,
    /// Frames at 48 kHz that the file holds.
    pub frames: u64,
    /// Brings the clip to the station's loudness; a factor, capped at import by the true peak.
    pub gain: f32,
}

/// One announcement as one stream of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Playout {
    /// Which occurrence; every [`Word`] about it carries this.
    pub occurrence: OccurrenceId,
    /// `background` sounds under others, ducked; every other band alone.
    pub band: Band,
    /// Chime first, then the clips.
    pub segments: Vec<Segment>,
    /// When the first sample of `segments` belongs in the air. A moment in the past together with a position is a
    /// re-entry.
    pub start: Timestamp,
    /// Frames to leave out at the start: where the wall clock says the sound now is.
    pub skip_frames: u64,
    /// Station × announcement, under the ceiling; a factor.
    pub gain: f32,
    /// The last gate: sound is faded out here whatever the daemon does (quiet hours, longest run), and the reason.
    pub not_after: Option<(Timestamp, Reason)>,
}

impl Playout {
    /// Frames of all segments together.
    pub fn frames(&self) -> u64 {
        self.segments.iter().map(|segment| segment.frames).sum()
    }
}

/// What the daemon asks of the speaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one at a time, never stored in bulk")]
pub enum Order {
    /// The first message: what to open.
    Open {
        /// In order of preference, as in `station.toml`.
        outputs: Vec<String>,
        /// Sound card to air, microseconds.
        latency_offset_us: i64,
    },
    /// Arms an announcement; several may be armed, one above `background` sounds at a time.
    Play(Playout),
    /// Fades an announcement out within 300 ms, or disarms it, and reports it ended.
    Stop {
        /// Which.
        occurrence: OccurrenceId,
    },
    /// Fades everything out and disarms everything.
    StopAll,
    /// Changes the gain of what sounds, over 300 ms.
    Gain {
        /// Which.
        occurrence: OccurrenceId,
        /// The new factor in place of [`Playout::gain`].
        gain: f32,
    },
    /// Asks for a [`Word::Pong`]: is anybody there?
    Ping,
}

/// Why an announcement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Every frame was handed over and the device has drained.
    Finished,
    /// An order ended it.
    Stopped,
    /// [`Playout::not_after`] ended it.
    Gate,
    /// The device is gone.
    DeviceLost,
    /// The device accepts nothing.
    DeviceStalled,
    /// A file ended before its frames did, or could not be read.
    DecoderShort,
}

/// What the speaker tells the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "kebab-case")]
pub enum Word {
    /// An output is open and frames flow.
    Ready {
        /// Its stable name, as in `output`: `pulse:SINK`.
        device: String,
    },
    /// No output of the list opens; the speaker keeps trying.
    NoDevice {
        /// In plain words.
        why: String,
    },
    /// The first sample of an announcement (or of a re-entry) went to the device.
    Started {
        /// Which.
        occurrence: OccurrenceId,
        /// When that sample is in the air, as the device's clock tells it.
        at: Timestamp,
        /// When it was planned: `start` plus the skipped frames.
        error_us: i64,
    },
    /// Twice a second while an announcement sounds.
    Progress {
        /// Which.
        occurrence: OccurrenceId,
        /// Accepted by the device since this `Play`.
        frames: u64,
        /// Of what was handed over so far.
        peak_dbfs: f32,
    },
    /// Nothing of an announcement sounds any more; exactly one for each `Play`.
    Ended {
        /// Which.
        occurrence: OccurrenceId,
        /// Accepted by the device since this `Play`.
        frames: u64,
        /// Of all that was handed over.
        peak_dbfs: f32,
        /// When the last sample is in the air.
        at: Timestamp,
        /// Why.
        end: End,
    },
    /// The answer to [`Order::Ping`].
    Pong,
    /// Device frames went missing (an underrun, a jump of the timeline).
    Underrun {
        /// How much is missing.
        micros: u64,
    },
}

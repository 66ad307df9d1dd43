//! What daemon and speaker say to each other: length-limited JSON messages over the speaker's standard streams.
//!
//! A frame is a little-endian `u32` length, at most [`LIMIT`], and that many bytes of JSON. The daemon sends
//! [`Order`]s, the speaker answers with [`Word`]s. The speaker knows no schedule: it plays a [`Playout`] and says what
//! the device accepted.

use crate::{
    outcome::{Evidence, Reason},
    plan::OccurrenceId,
    schedule::Band,
    text::Said,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::PathBuf,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

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
    /// The last gate: from here on sound is faded out (300 ms) whatever the daemon does (quiet hours, longest run), and the reason.
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
pub enum Order {
    /// The first message: what to open.
    Open {
        /// In order of preference, as in `station.toml`.
        outputs: Vec<String>,
        /// Sound card to air, microseconds.
        latency_offset_us: i64,
        /// By how many millionths each output runs fast, as learned before, by its stable name.
        learned: BTreeMap<String, f64>,
        /// Whether a muted or suspended output may be put right.
        keep_audible: bool,
    },
    /// Arms an announcement; several may be armed, one above `background` sounds at a time.
    Play(Playout),
    /// Fades an announcement out within 60 ms, or disarms it, and reports it ended.
    Stop {
        /// Which.
        occurrence: OccurrenceId,
    },
    /// Fades everything out within 60 ms and disarms everything.
    StopAll,
    /// Changes the gain of what sounds, over 300 ms.
    Gain {
        /// Which.
        occurrence: OccurrenceId,
        /// The new factor in place of [`Playout::gain`].
        gain: f32,
    },
    /// Opens the output in silence and answers [`Word::Tested`].
    Test,
    /// Asks for a [`Word::Pong`]: is anybody there?
    Ping,
}

/// How loud samples are. Silence is written as -120 dBFS: JSON knows no infinity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The highest.
    pub peak_dbfs: f32,
    /// The root of their mean square; a sine at full scale has -3.
    pub rms_dbfs: f32,
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
    /// Four times a second while an announcement sounds.
    Progress {
        /// Which.
        occurrence: OccurrenceId,
        /// Accepted by the device since this `Play`.
        frames: u64,
        /// Of what was handed over so far.
        level: Level,
        /// RMS of what was handed over since the last of these, in dBFS.
        now_dbfs: f32,
    },
    /// Nothing of an announcement sounds any more; exactly one for each `Play`.
    Ended {
        /// Which.
        occurrence: OccurrenceId,
        /// Accepted by the device since this `Play`.
        frames: u64,
        /// Of all that was handed over.
        level: Level,
        /// When the last sample is in the air.
        at: Timestamp,
        /// Why.
        end: End,
        /// How much is known about what was heard.
        evidence: Evidence,
        /// Why it may not have been heard though the device accepted it, in plain words.
        note: Option<String>,
    },
    /// What is wrong with the output while something sounds; none when nothing is.
    Output {
        /// In plain words.
        fault: Option<Said>,
    },
    /// The answer to [`Order::Test`].
    Tested {
        /// The output that was opened; none where none opened.
        device: Option<String>,
        /// In plain words; none where frames flowed.
        fault: Option<Said>,
    },
    /// The answer to [`Order::Ping`].
    Pong,
    /// An output runs so many millionths fast, as what just sounded has shown.
    Learned {
        /// Its stable name.
        device: String,
        /// Positive where it runs fast.
        ppm: f64,
    },
    /// Device frames went missing (an underrun, a jump of the timeline).
    Underrun {
        /// How much is missing.
        micros: u64,
    },
}

/// Why a message could not be read or written. The stream is of no more use after any of them: the daemon replaces
/// its speaker, the speaker falls silent.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum FrameError {
    #[error("a message of {length} bytes is longer than {LIMIT}")]
    TooLong { length: u64 },
    #[error("the stream ended in the middle of a message")]
    Cut,
    #[error("not a message that this version knows")]
    Unknown(#[from] serde_json::Error),
    #[error("the stream failed")]
    Io(#[from] io::Error),
}

/// Reads one message, waiting for it; none when the stream ends between two.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> Result<Option<T>, FrameError> {
    let mut partial = Partial::default();
    let mut chunk = [0; 4096];
    loop {
        if let Some(body) = partial.take()? {
            return Ok(Some(serde_json::from_slice(&body)?));
        }
        // Never past the end of this message: what follows belongs to the next call.
        let want = partial.wanted().min(chunk.len());
        match from.read(&mut chunk[..want]) {
            Ok(0) if partial.is_empty() => return Ok(None),
            Ok(0) => return Err(FrameError::Cut),
            Ok(read) => partial.bytes.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes one message and flushes it.
pub fn write_frame(to: &mut impl Write, message: &impl Serialize) -> Result<(), FrameError> {
    to.write_all(&frame(message)?)?;
    Ok(to.flush()?)
}

/// Writes one message and flushes it. Not safe to cancel: half a message spoils the stream.
pub async fn write_frame_async(
    to: &mut (impl AsyncWrite + Unpin),
    message: &(impl Serialize + Sync),
) -> Result<(), FrameError> {
    to.write_all(&frame(message)?).await?;
    Ok(to.flush().await?)
}

/// Reads messages off an asynchronous stream. [`FrameReader::next`] may be dropped at any await, as `select!` does:
/// what has arrived of a message is kept here.
#[derive(Debug)]
pub struct FrameReader<R> {
    from: R,
    partial: Partial,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from the start of a message.
    pub fn new(from: R) -> Self {
        Self { from, partial: Partial::default() }
    }

    /// Waits for the next message; none when the stream ends between two.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(body) = self.partial.take()? {
                return Ok(Some(serde_json::from_slice(&body)?));
            }
            // `read_buf` appends only what it has read when it is done, so a drop in between loses nothing.
            match self.from.read_buf(&mut self.partial.bytes).await? {
                0 if self.partial.is_empty() => return Ok(None),
                0 => return Err(FrameError::Cut),
                _ => {}
            }
        }
    }
}

fn frame(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEAD];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEAD;
    match u32::try_from(length) {
        Ok(short) if short <= LIMIT => bytes[..HEAD].copy_from_slice(&short.to_le_bytes()),
        _ => return Err(FrameError::TooLong { length: length as u64 }),
    }
    Ok(bytes)
}

/// Bytes of the length in front of a message.
const HEAD: usize = 4;

/// What has arrived and was not yet taken.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the length of the body, once its head is here.
    fn length(&self) -> Option<usize> {
        let head = self.bytes.first_chunk::<HEAD>()?;
        Some(u32::from_le_bytes(*head) as usize)
    }

    /// Returns how many bytes the message still lacks as far as is known; at least one.
    fn wanted(&self) -> usize {
        let end = self.length().map_or(HEAD, |length| HEAD + length);
        end.saturating_sub(self.bytes.len()).max(1)
    }

    /// Takes a whole body out, if there is one.
    fn take(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(length) = self.length() else { return Ok(None) };
        if length > LIMIT as usize {
            return Err(FrameError::TooLong { length: length as u64 });
        }
        if self.bytes.len() < HEAD + length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(HEAD + length);
        let mut message = std::mem::replace(&mut self.bytes, rest);
        Ok(Some(message.split_off(HEAD)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_order() -> impl Strategy<Value = Order> {
        let id = "[a-z/@:0-9]{0,30}|全民反诈".prop_map(OccurrenceId::from);
        prop_oneof![
            Just(Order::Ping),
            Just(Order::Test),
            Just(Order::StopAll),
            id.clone().prop_map(|occurrence| Order::Stop { occurrence }),
            (id, 0f32..4.0).prop_map(|(occurrence, gain)| Order::Gain { occurrence, gain }),
            (proptest::collection::vec(".{0,12}", 0..5), any::<i64>(), -500..500i32).prop_map(
                |(outputs, latency_offset_us, ppm)| Order::Open {
                    learned: outputs.iter().map(|output| (output.clone(), f64::from(ppm) / 4.0)).collect(),
                    outputs,
                    latency_offset_us,
                    keep_audible: ppm % 2 == 0,
                }
            ),
        ]
    }

    /// Gives its bytes out a few at a time, as a pipe may.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(orders in proptest::collection::vec(any_order(), 0..8), drip in 1usize..40) {
            let mut bytes = Vec::new();
            for order in &orders {
                write_frame(&mut bytes, order).unwrap();
            }
            let mut from = Drip(&bytes, drip);
            let mut read = Vec::new();
            while let Some(order) = read_frame::<Order>(&mut from).unwrap() {
                read.push(order);
            }
            prop_assert_eq!(&read, &orders);

            let read = block_on(async {
                let (mut near, far) = tokio::io::duplex(drip);
                let mut reader = FrameReader::new(far);
                let mut read = Vec::new();
                let write = async move {
                    for order in &orders {
                        write_frame_async(&mut near, order).await.unwrap();
                    }
                    orders
                };
                tokio::pin!(write);
                let mut written = None;
                // Every turn of `select!` drops an unfinished `next`.
                loop {
                    tokio::select! {
                        orders = &mut write, if written.is_none() => written = Some(orders),
                        order = reader.next::<Order>() => read.push(order.unwrap()),
                        () = tokio::task::yield_now() => {}
                    }
                    if written.as_ref().is_some_and(|orders| orders.len() == read.len()) {
                        return (read, written);
                    }
                }
            });
            prop_assert_eq!(read.0.into_iter().collect::<Option<Vec<_>>>(), read.1);
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), short in any::<bool>()) {
            let mut bytes = bytes;
            if short && bytes.len() > 4 {
                bytes[1..4].fill(0);
            }
            let mut from = bytes.as_slice();
            while let Ok(Some(_)) = read_frame::<Order>(&mut from) {}
            block_on(async {
                let mut reader = FrameReader::new(bytes.as_slice());
                while let Ok(Some(_)) = reader.next::<Order>().await {}
            });
        }
    }

    #[test]
    fn too_long_a_message_is_refused_on_both_sides() {
        let long = Word::NoDevice { why: "x".repeat(LIMIT as usize) };
        assert!(matches!(write_frame(&mut Vec::new(), &long), Err(FrameError::TooLong { .. })));
        let head = (LIMIT + 1).to_le_bytes();
        assert!(matches!(read_frame::<Word>(&mut head.as_slice()), Err(FrameError::TooLong { .. })));
        let mut cut = [9, 0, 0, 0, b'{'].as_slice();
        assert!(matches!(read_frame::<Word>(&mut cut), Err(FrameError::Cut)));
    }
}

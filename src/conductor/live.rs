//! One announcement between its `Begin` and its final entry, and what becomes of it.

use crate::{
    entry::{ClockNote, Entry, PlayedClip, Running},
    outcome::{Evidence, Outcome, Reason},
    plan::{ClipState, Occurrence, OccurrenceId, Program, RATE},
    schedule::{Band, ClipPath, Source, Volume},
    speaker::protocol::{Level, Playout, Segment},
    trust::{ClockState, plus},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How an announcement stands with the speaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// The speaker has it; nothing is known to sound yet.
    Armed,
    /// The device accepts it.
    Sounding,
    /// The speaker was told to stop it.
    Ending(Then),
    /// Its sound broke off; it re-enters when a device is there.
    Interrupted,
}

/// What happens to an announcement when the speaker has ended it by order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Then {
    /// It is over, for this reason.
    Cut(Reason),
    /// It is no longer owed as it was armed.
    Withdraw,
    /// It re-enters: the machine slept.
    Reenter(Reason),
}

/// One announcement between its `Begin` and its final entry.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub occurrence: Occurrence,
    pub running: Running,
    pub phase: Phase,
    /// Owed by a schedule; false for a play asked for by a person.
    pub scheduled: bool,
    /// Frames accepted in earlier plays of it.
    pub before: u64,
    /// Sum of squares of the samples accepted in earlier plays.
    pub energy: f64,
    /// Frames accepted in this play.
    pub frames: u64,
    /// How loud it is just now, in dBFS.
    pub level: Option<f32>,
    /// It may have been heard: from now on it re-enters and never starts anew.
    pub sounded: bool,
    /// The journal knows that it may have been heard.
    pub marked: bool,
    /// When the speaker last showed progress, or was last asked for it; on the clock that sleeps with the machine.
    pub alive: Duration,
    /// When the journal last heard of its progress; same clock.
    pub saved: Duration,
    pub ducked: bool,
}

impl Live {
    pub fn id(&self) -> &OccurrenceId {
        &self.occurrence.id
    }

    pub fn band(&self) -> Band {
        self.occurrence.band
    }

    /// When the part of it that is now armed begins.
    pub fn begins(&self) -> Timestamp {
        plus(self.running.playout.start, length(self.running.playout.skip_frames))
    }

    /// When it is over by the clock.
    pub fn over(&self) -> Timestamp {
        plus(self.running.start, length(self.running.playout.frames()))
    }

    pub fn accepted(&self) -> u64 {
        self.before + self.frames
    }

    /// Notes how loud the frames accepted in this play are.
    pub fn measured(&mut self, frames: u64, level: Level) {
        if frames > 0 {
            let mean = (self.energy + energy(frames, level.rms_dbfs)) / (self.before + frames) as f64;
            let entry = &mut self.running.entry;
            entry.peak_dbfs = Some(entry.peak_dbfs.map_or(level.peak_dbfs, |peak| peak.max(level.peak_dbfs)));
            entry.rms_dbfs = Some((10.0 * mean.log10() as f32).max(-120.0));
        }
    }

    /// Brings the entry's measured part up to date.
    pub fn note(&mut self, device: Option<&str>, at: Timestamp) {
        let accepted = self.accepted();
        let entry = &mut self.running.entry;
        entry.heard_ms = i64::try_from(accepted.saturating_mul(1000) / u64::from(RATE)).unwrap_or(i64::MAX);
        if accepted > 0 {
            entry.evidence = entry.evidence.max(Some(Evidence::Accepted));
            if let Some(device) = device {
                entry.device = Some(device.to_owned());
            }
        }
        self.running.seen = self.running.seen.max(at);
    }

    /// Returns the final word: `why` is what ended it, none for its natural end.
    pub fn verdict(&self, why: Option<Reason>) -> (Outcome, Option<Reason>) {
        let (accepted, expected) = (self.accepted(), self.running.playout.frames());
        if expected > 0 && accepted.saturating_mul(1000) >= expected.saturating_mul(995) {
            return (Outcome::Played, None);
        }
        let reason = self.running.interrupted.or(why).unwrap_or(Reason::DecoderShort);
        if accepted > 0 {
            let reason = match reason {
                Reason::DeviceStalled | Reason::DeviceUnavailable => Reason::DeviceLost,
                reason if reason.fits(Outcome::Partial) => reason,
                _ => Reason::Crash,
            };
            return (Outcome::Partial, Some(reason));
        }
        match reason {
            Reason::Preempted => (Outcome::Skipped, Some(Reason::Overlap)),
            Reason::PowerLoss | Reason::Crash => (Outcome::Missed, Some(Reason::StationDown)),
            Reason::DecoderShort => (Outcome::Missed, Some(Reason::ClipCorrupt)),
            reason if reason.fits(Outcome::Skipped) => (Outcome::Skipped, Some(reason)),
            reason if reason.fits(Outcome::Missed) => (Outcome::Missed, Some(reason)),
            _ => (Outcome::Missed, Some(Reason::DeviceUnavailable)),
        }
    }
}

/// Returns the sum of squares of so many samples of such a root mean square.
pub(super) fn energy(frames: u64, rms_dbfs: f32) -> f64 {
    frames as f64 * 10_f64.powf(f64::from(rms_dbfs) / 10.0)
}

/// Returns how long `frames` sound.
pub(super) fn length(frames: u64) -> SignedDuration {
    let nanos = u128::from(frames) * 1_000_000_000 / u128::from(RATE);
    SignedDuration::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// Returns how many frames sound in `span`; none in a negative one.
pub(super) fn frames(span: SignedDuration) -> u64 {
    u64::try_from(span.as_nanos().max(0) * i128::from(RATE) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// Why an announcement's sounds cannot be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unready {
    /// Seen, and on its way through import.
    Pending,
    /// For good, as far as anybody knows now.
    Gone(Reason),
}

/// Returns the sounds of an occurrence, chime first.
pub(super) fn segments(program: &Program, occurrence: &Occurrence) -> Result<Vec<Segment>, Unready> {
    if occurrence.clips.is_empty() {
        return Err(Unready::Gone(Reason::ClipMissing));
    }
    occurrence
        .chime
        .iter()
        .chain(&occurrence.clips)
        .map(|path| match program.clips.get(path).map(|clip| &clip.state) {
            Some(ClipState::Ready { file, frames, gain, .. }) => {
                Ok(Segment { file: file.clone(), frames: *frames, gain: *gain })
            }
            Some(ClipState::Pending) => Err(Unready::Pending),
            Some(ClipState::Refused(_)) => Err(Unready::Gone(Reason::ClipCorrupt)),
            None => Err(Unready::Gone(Reason::ClipMissing)),
        })
        .collect()
}

/// Returns the entry of an occurrence of which nothing is known yet but what was planned.
pub(super) fn blank(
    program: &Program,
    occurrence: &Occurrence,
    revision: &str,
    volume: Volume,
    clock: ClockState,
    at: Timestamp,
) -> Entry {
    Entry {
        occurrence: occurrence.id.clone(),
        source: occurrence.source,
        schedule: occurrence.schedule.clone(),
        announcement: occurrence.announcement.clone(),
        title: occurrence.title.clone(),
        clips: occurrence.clips.iter().map(|path| played(program, path)).collect(),
        band: occurrence.band,
        due: occurrence.due,
        started: None,
        ended: at,
        expected_ms: i64::try_from(occurrence.expected.as_millis()).unwrap_or(i64::MAX),
        heard_ms: 0,
        start_error_us: None,
        outcome: Outcome::Missed,
        reason: Some(Reason::StationDown),
        evidence: None,
        device: None,
        peak_dbfs: None,
        rms_dbfs: None,
        underruns: 0,
        volume: volume.percent(),
        clock: ClockNote { state: clock, offset_ms: None },
        operator: None,
        note: None,
        revision: revision.to_owned(),
    }
}

fn played(program: &Program, path: &ClipPath) -> PlayedClip {
    let clip = program.clips.get(path);
    PlayedClip {
        title: clip.map_or_else(|| path.to_string(), |clip| clip.title.clone()),
        sha256: match clip.map(|clip| &clip.state) {
            Some(ClipState::Ready { sha256, .. }) => sha256.clone(),
            _ => String::new(),
        },
    }
}

/// Returns the occurrence behind a running row, as far as the row tells it.
pub(super) fn remembered(program: &Program, running: &Running) -> Occurrence {
    let entry = &running.entry;
    Occurrence {
        id: entry.occurrence.clone(),
        source: entry.source,
        schedule: entry.schedule.clone(),
        announcement: entry.announcement.clone(),
        title: entry.title.clone(),
        due: entry.due,
        local: program.zone.to_datetime(entry.due),
        start: running.start,
        band: entry.band,
        chime: None,
        clips: Vec::new(),
        expected: length(running.playout.frames()),
        grace: SignedDuration::ZERO,
        hard: false,
        volume: Volume::FULL,
        screen: None,
        verdict: crate::plan::Verdict::Play,
    }
}

/// Returns whether a running row is of a play that no schedule owes: a person or an office asked for it.
pub(super) fn is_asked(entry: &Entry) -> bool {
    (entry.source == Source::Station && entry.schedule == MANUAL) || is_ordered(&entry.occurrence)
}

/// Returns whether an office ordered it.
pub(super) fn is_ordered(id: &OccurrenceId) -> bool {
    id.as_str().starts_with("command/")
}

/// The schedule's name in entries of plays asked for by a person.
pub(super) const MANUAL: &str = "manual";

/// The schedule's name in entries of plays that an office ordered.
pub(super) const COMMAND: &str = "command";

/// Returns whether two playouts sound the same.
pub(super) fn alike(one: &Playout, segments: &[Segment], gain: f32) -> bool {
    one.segments == segments && (one.gain - gain).abs() < f32::EPSILON
}

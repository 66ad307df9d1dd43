//! A clip's waveform, drawn once from its prepared sound and kept in memory.

use crate::{
    plan::OccurrenceId,
    schedule::Band,
    speaker::{
        chain::Chain,
        protocol::{Playout, Segment},
    },
};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Columns of a drawing.
const COLUMNS: u64 = 600;
/// Half its height.
const HALF: f32 = 60.0;
/// Drawings kept.
const KEPT: usize = 100;

/// The drawings made so far, by the hash of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Waves(Arc<Mutex<BTreeMap<String, Arc<str>>>>);

impl Waves {
    /// Returns the drawing of a prepared sound. It may take seconds: not for the daemon's thread.
    pub fn draw(&self, sha256: &str, file: PathBuf, frames: u64) -> Arc<str> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(drawing) = known().get(sha256) {
            return Arc::clone(drawing);
        }
        let drawing: Arc<str> = svg(&peaks(file, frames)).into();
        let mut kept = known();
        if kept.len() >= KEPT {
            kept.pop_first();
        }
        kept.insert(sha256.to_owned(), Arc::clone(&drawing));
        drawing
    }
}

/// Returns the highest sample of each column; silence where the file cannot be read.
fn peaks(file: PathBuf, frames: u64) -> Vec<f32> {
    let whole = Playout {
        occurrence: OccurrenceId::from("wave".to_owned()),
        band: Band::Normal,
        segments: vec![Segment { file, frames, gain: 1.0 }],
        start: Timestamp::UNIX_EPOCH,
        skip_frames: 0,
        gain: 1.0,
        not_after: None,
    };
    let columns = usize::try_from(frames.clamp(1, COLUMNS)).unwrap_or(1);
    let mut peaks = vec![0.0_f32; columns];
    for (at, sample) in (0_u64..).zip(Chain::new(&whole, 0)) {
        let column = usize::try_from(at * columns as u64 / frames.max(1)).unwrap_or(columns);
        // A frame that the file lacks is no number, and no maximum either.
        if let Some(peak) = peaks.get_mut(column) {
            *peak = peak.max(sample.abs());
        }
    }
    peaks
}

fn svg(peaks: &[f32]) -> String {
    let mut path = String::new();
    for (x, peak) in peaks.iter().enumerate() {
        let reach = (peak.clamp(0.0, 1.0) * HALF).max(0.5);
        // Writing to a text does not fail.
        let _ = write!(path, "M{x} {:.1}V{:.1}", HALF - reach, HALF + reach);
    }
    let (width, height) = (peaks.len(), HALF * 2.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-0.5 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" preserveAspectRatio=\"none\"><path d=\"{path}\" stroke=\"#174a8c\" fill=\"none\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_has_a_column_for_each_peak_and_stays_within_its_frame() {
        let drawing = svg(&[0.0, 0.5, 7.0]);
        assert!(drawing.contains("viewBox=\"-0.5 0 3 120\""), "{drawing}");
        assert!(drawing.contains("d=\"M0 59.5V60.5M1 30.0V90.0M2 0.0V120.0\""), "{drawing}");
    }

    #[test]
    fn a_sound_that_cannot_be_read_is_drawn_as_silence() {
        for (frames, columns) in [(0, 1), (5, 5), (100_000, 600)] {
            let peaks = peaks(PathBuf::from("no/such.flac"), frames);
            assert_eq!((peaks.len(), peaks.iter().all(|peak| *peak == 0.0)), (columns, true), "{frames}");
        }
    }
}

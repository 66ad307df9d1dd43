//! What stations will play more or less in the next seven days, before anything is published: "23 村将少播 2 次".
//!
//! Pure. The plan of a station is computed as the station computes it, once with what it has and once with what it is to
//! have. Where the station has reported its own schedules they are part of both; where it has not, what is delivered is
//! planned alone, and the result says so: what a village's own schedules crowd out cannot be foreseen then.
//!
//! Not here: which stations a step touches ([`super::compose`]).

#[cfg(test)]
mod tests;

use super::compose::Composition;
use crate::{
    home::{Delivered, Texts, assemble},
    link::{BlobId, StationId},
    plan::{
        Clip, ClipState, Clips, Occurrence, Program, RATE, Verdict,
        difference::{Day, difference},
        instant, plan,
    },
    schedule::{ClipPath, PlayPath, Schedule, Source},
    text::{Language, Said},
};
use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Time, tz::TimeZone};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// Days ahead for which a difference is told.
const AHEAD: i64 = 7;

/// A station as the office sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which.
    pub id: StationId,
    /// What people call it.
    pub name: String,
    /// Its own texts, where it reported them.
    pub texts: Option<Texts>,
}

/// Returns a station's own texts from what it said of itself: `facts.texts`, as [`Texts`] are written.
pub fn reported(facts: &Value) -> Option<Texts> {
    Texts::deserialize(facts.get("texts")?).ok()
}

/// What comes to a station.
#[derive(Debug, Clone)]
pub struct Coming {
    /// Which.
    pub seen: Seen,
    /// What it has.
    pub before: Arc<Composition>,
    /// What it is to have.
    pub after: Arc<Composition>,
}

/// What is the same for every station.
#[derive(Debug, Clone)]
pub struct Ground {
    /// In whose name plans are delivered.
    pub source: Source,
    /// How long the sounds are, in milliseconds.
    pub lengths: BTreeMap<BlobId, u64>,
    /// The office's, for stations that have not said theirs.
    pub zone: TimeZone,
    /// What time it is.
    pub now: Timestamp,
}

/// What is known of a station's own schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// As it reported them.
    Everything,
    /// Nothing: only what is delivered was planned.
    DeliveredAlone,
}

/// What changes, in times of playing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Counts {
    /// So many less.
    pub less: usize,
    /// So many more.
    pub more: usize,
    /// So many at another time.
    pub moved: usize,
    /// So many with another sound, volume or band.
    pub altered: usize,
}

/// What changes at one station.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foreseen {
    /// Which.
    pub station: StationId,
    /// What people call it.
    pub name: String,
    /// What the answer rests on.
    pub basis: Basis,
    /// In times of playing.
    #[serde(flatten)]
    pub counts: Counts,
    /// So many minutes more; less where it is below zero.
    pub minutes: f64,
    /// The days that differ.
    pub days: Vec<Day>,
}

impl Foreseen {
    /// Returns each difference in words, day by day.
    pub fn said(&self, language: Language) -> Vec<String> {
        self.days.iter().flat_map(|day| day.said(language)).collect()
    }
}

/// What changes everywhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The stations whose plan becomes another one, by id.
    pub stations: Vec<Foreseen>,
    /// In a few sentences, the one about most stations first.
    pub said: Vec<Said>,
}

/// Foresees what comes to these stations.
pub fn preview(ground: &Ground, coming: &[Coming]) -> Preview {
    // Of most stations nothing is known but what is delivered, and that is the same for many.
    let mut known = BTreeMap::new();
    let foreseen = |coming: &Coming| {
        let shared = coming.seen.texts.is_none();
        let key = (Arc::as_ptr(&coming.before).addr(), Arc::as_ptr(&coming.after).addr());
        let found = known.get(&key).filter(|_| shared).cloned().unwrap_or_else(|| differ(ground, coming));
        if shared {
            known.insert(key, found.clone());
        }
        let (counts, minutes, days) = found;
        let basis = if shared { Basis::DeliveredAlone } else { Basis::Everything };
        let (station, name) = (coming.seen.id.clone(), coming.seen.name.clone());
        Foreseen { station, name, basis, counts, minutes, days }
    };
    let stations: Vec<_> = coming.iter().map(foreseen).collect();
    let said = sum_up(&stations);
    Preview { stations, said }
}

fn differ(ground: &Ground, coming: &Coming) -> (Counts, f64, Vec<Day>) {
    let planned = |composition| {
        let program = program(ground, coming.seen.texts.as_ref(), composition);
        let today = program.zone.to_datetime(ground.now).date();
        let end = instant(&program.zone, today.saturating_add(AHEAD.days()).to_datetime(Time::midnight()));
        plan(&program, ground.now..end).occurrences
    };
    let (before, after) = (planned(&coming.before), planned(&coming.after));
    let days = difference(&before, &after);
    let sum = |of: fn(&Day) -> usize| days.iter().map(of).sum();
    let counts = Counts {
        less: sum(|day| day.less.len()),
        more: sum(|day| day.more.len()),
        moved: sum(|day| day.moved.len()),
        altered: sum(|day| day.altered.len()),
    };
    let heard = |all: &[Occurrence]| -> SignedDuration {
        all.iter().filter(|one| one.verdict == Verdict::Play).map(|one| one.expected).sum()
    };
    let more = heard(&after).saturating_sub(heard(&before)).as_secs_f64() / 60.0;
    (counts, (more * 10.0).round() / 10.0, days)
}

/// Everything that decides what the station plays, as far as it is known.
fn program(ground: &Ground, own: Option<&Texts>, composition: &Composition) -> Program {
    let mut texts = own.cloned().unwrap_or_default();
    let sounds = composition.audio.iter().map(|sound| (sound.path.clone(), sound.sha256)).collect();
    texts.delivered.insert(ground.source, Delivered { schedules: composition.schedules.clone(), sounds });
    let sound = |sha256: &BlobId| {
        let milliseconds = ground.lengths.get(sha256).copied().unwrap_or(0);
        let frames = milliseconds.saturating_mul(u64::from(RATE)) / 1000;
        let state = ClipState::Ready { sha256: sha256.to_string(), file: PathBuf::new(), frames, gain: 1.0 };
        (ClipPath::sound(sha256), clip(state))
    };
    let clips = Clips(composition.audio.iter().map(|one| sound(&one.sha256)).collect());
    let mut program = assemble(&texts, None, clips).program;
    if texts.station.is_none() {
        program.zone = ground.zone.clone();
    }
    let own = program.schedules.iter().filter(|schedule| schedule.source == Source::Station);
    let stand_ins: Vec<_> = own.flat_map(stand_ins).collect();
    program.clips.0.extend(stand_ins);
    program
}

/// Sounds in the place of a station's own, of which the office knows only that its schedules play them. Without them its
/// folders would be empty and nothing of its own would fall due.
fn stand_ins(schedule: &Schedule) -> Vec<(ClipPath, Clip)> {
    let announcements = || schedule.announcements.values();
    let chimes = announcements().filter_map(|one| one.chime.clone());
    let played = announcements().flat_map(|one| &one.play).filter_map(|path| match path {
        PlayPath::Clip(path) => Some(path.clone()),
        PlayPath::Folder(folder) => ClipPath::try_from(format!("{folder}/-")).ok(),
    });
    chimes.chain(played).map(|path| (path, clip(ClipState::Pending))).collect()
}

fn clip(state: ClipState) -> Clip {
    Clip { title: String::new(), valid_from: None, valid_until: None, retired: false, state }
}

/// Says how many stations play how much more or less.
fn sum_up(stations: &[Foreseen]) -> Vec<Said> {
    type Kind = (fn(&Counts) -> usize, &'static str, &'static str);
    const KINDS: [Kind; 4] = [
        (|counts| counts.less, "少播", "less"),
        (|counts| counts.more, "多播", "more"),
        (|counts| counts.moved, "改时间", "at another time"),
        (|counts| counts.altered, "换内容或音量", "with another sound or volume"),
    ];
    if stations.iter().all(|station| station.counts == Counts::default()) {
        return vec![Said::new("今后七天各村播的都一样", "the next seven days play the same everywhere")];
    }
    let mut said = Vec::new();
    for (of, zh, en) in KINDS {
        let mut groups: BTreeMap<usize, usize> = BTreeMap::new();
        for times in stations.iter().map(|station| of(&station.counts)).filter(|times| *times > 0) {
            *groups.entry(times).or_default() += 1;
        }
        for (times, count) in groups {
            let villages = if count == 1 { "1 village plays".into() } else { format!("{count} villages play") };
            let how_often = if times == 1 { "once".into() } else { format!("{times} times") };
            said.push((
                count,
                Said::new(format!("{count} 村将{zh} {times} 次"), format!("{villages} {how_often} {en}")),
            ));
        }
    }
    said.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let mut said: Vec<_> = said.into_iter().map(|(_, said)| said).collect();
    let count = stations.iter().filter(|station| station.basis == Basis::DeliveredAlone).count();
    if count > 0 {
        said.push(Said::new(
            format!("其中 {count} 村没有报过自己的播放计划，只按下发的内容计算"),
            format!("{count} of them have not reported their own schedules; only what is delivered was planned"),
        ));
    }
    said
}

//! What the totals of a station's days come to: numbers that can be added up over stations, and what follows from them.

use super::Class;
use crate::outcome::{Outcome, Reason};
use serde::Serialize;
use std::{collections::BTreeMap, ops::AddAssign};

/// How often one thing became of a station's announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// The final word.
    pub outcome: Outcome,
    /// Why not in full.
    pub reason: Option<Reason>,
    /// No plan held it: a person or a command asked for it.
    pub asked: bool,
    /// How often.
    pub times: i64,
    /// Of those, how many started within 60 s of their due moment.
    pub on_time: i64,
    /// How long was heard.
    pub heard_ms: i64,
}

/// The numbers of a station, a group or all, as the definitions of the report have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Numbers {
    /// 应播: `played + excused + blamed`, and also `played + partial + missed`.
    pub planned: i64,
    /// 已播: `on_time + made_up`.
    pub played: i64,
    /// 准点
    pub on_time: i64,
    /// 补播
    pub made_up: i64,
    /// 部分
    pub partial: i64,
    /// 漏播
    pub missed: i64,
    /// Of what was not played in full: for an excused reason.
    pub excused: i64,
    /// Of what was not played in full: for a blamed reason.
    pub blamed: i64,
    /// Left out, or cut, by rule. Not owed.
    pub chosen: i64,
    /// Asked for by a person or a command. Not owed.
    pub asked: i64,
    /// Heard, all in all.
    pub heard_ms: i64,
    /// Days that count, over by now: `recorded + unplanned + silent`.
    pub days: i64,
    /// Days with a record.
    pub recorded: i64,
    /// Days on which nothing was planned, as the journal before and after them says.
    pub unplanned: i64,
    /// 无记录: days of which nothing is known.
    pub silent: i64,
    /// Online, within `known_ms`.
    pub online_ms: i64,
    /// Time that counts, until now.
    pub known_ms: i64,
}

impl Numbers {
    /// Counts one tally.
    pub fn add(&mut self, tally: &Tally) {
        self.heard_ms = self.heard_ms.saturating_add(tally.heard_ms);
        let class = tally.reason.map(Class::of);
        if tally.asked {
            self.asked += tally.times;
            return;
        }
        if class == Some(Class::Chosen) {
            self.chosen += tally.times;
            return;
        }
        self.planned += tally.times;
        match tally.outcome {
            Outcome::Played => {
                self.played += tally.times;
                self.on_time += tally.on_time;
                self.made_up += tally.times - tally.on_time;
                return;
            }
            Outcome::Partial => self.partial += tally.times,
            Outcome::Skipped | Outcome::Missed => self.missed += tally.times,
        }
        match class {
            Some(Class::Excused) => self.excused += tally.times,
            // Without a reason nothing excuses it; the journal writes no such line.
            _ => self.blamed += tally.times,
        }
    }

    /// 播出率: played of planned; none where nothing was planned.
    pub fn rate(&self) -> Option<f64> {
        ratio(self.played, self.planned)
    }

    /// 责任播出率: played of what was planned and not excused.
    pub fn fair_rate(&self) -> Option<f64> {
        ratio(self.played, self.planned - self.excused)
    }

    /// 准点率: on time of played.
    pub fn punctuality(&self) -> Option<f64> {
        ratio(self.on_time, self.played)
    }

    /// 记录率: days that are known of those that count; whole before the first is over.
    pub fn known_rate(&self) -> f64 {
        ratio(self.days - self.silent, self.days).unwrap_or(1.0)
    }

    /// 在线率: time online of the time that counts.
    pub fn online_rate(&self) -> Option<f64> {
        ratio(self.online_ms, self.known_ms)
    }

    /// 得分: a day without record counts as one on which nothing was played.
    pub fn score(&self) -> Option<f64> {
        self.fair_rate().map(|rate| rate * self.known_rate())
    }

    /// Minutes heard.
    pub fn minutes(&self) -> f64 {
        self.heard_ms as f64 / 60_000.0
    }
}

impl AddAssign for Numbers {
    fn add_assign(&mut self, other: Self) {
        let Self {
            planned,
            played,
            on_time,
            made_up,
            partial,
            missed,
            excused,
            blamed,
            chosen,
            asked,
            heard_ms,
            days,
            recorded,
            unplanned,
            silent,
            online_ms,
            known_ms,
        } = other;
        for (sum, more) in [
            (&mut self.planned, planned),
            (&mut self.played, played),
            (&mut self.on_time, on_time),
            (&mut self.made_up, made_up),
            (&mut self.partial, partial),
            (&mut self.missed, missed),
            (&mut self.excused, excused),
            (&mut self.blamed, blamed),
            (&mut self.chosen, chosen),
            (&mut self.asked, asked),
            (&mut self.heard_ms, heard_ms),
            (&mut self.days, days),
            (&mut self.recorded, recorded),
            (&mut self.unplanned, unplanned),
            (&mut self.silent, silent),
            (&mut self.online_ms, online_ms),
            (&mut self.known_ms, known_ms),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What was not played in full for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ByReason {
    /// Why.
    pub reason: Reason,
    /// How that counts.
    pub class: Class,
    /// How often it broke off.
    pub partial: i64,
    /// How often nothing was heard.
    pub missed: i64,
}

/// Returns what was planned and not played in full, by reason, and the reasons in the order of the closed list.
pub fn by_reason<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Vec<ByReason> {
    let mut found: BTreeMap<Reason, (i64, i64)> = BTreeMap::new();
    for tally in tallies.into_iter().filter(|tally| !tally.asked) {
        let Some(reason) = tally.reason else { continue };
        let (partial, missed) = found.entry(reason).or_default();
        *(if tally.outcome == Outcome::Partial { partial } else { missed }) += tally.times;
    }
    let row = |(reason, (partial, missed))| ByReason { reason, class: Class::of(reason), partial, missed };
    found.into_iter().map(row).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `times` of one kind, a second each, all on time where they sounded.
    pub(in crate::office) fn tally(outcome: Outcome, reason: Option<Reason>, times: i64) -> Tally {
        let sounded = matches!(outcome, Outcome::Played | Outcome::Partial);
        let counted = if sounded { times } else { 0 };
        Tally { outcome, reason, asked: false, times, on_time: counted, heard_ms: counted * 1000 }
    }

    #[test]
    fn each_row_counts_where_the_definitions_have_it() {
        use {Outcome::*, Reason::*};
        let late = Tally { on_time: 0, ..tally(Played, None, 1) };
        let asked = Tally { asked: true, ..tally(Played, None, 1) };
        let unasked_for = Tally { asked: true, ..tally(Missed, Some(ClipMissing), 1) };
        for (tally, expected) in [
            (tally(Played, None, 1), "planned 1 played 1 on_time 1 heard 1"),
            (late, "planned 1 played 1 made_up 1 heard 1"),
            (tally(Partial, Some(PowerLoss), 1), "planned 1 partial 1 excused 1 heard 1"),
            (tally(Partial, Some(Crash), 1), "planned 1 partial 1 blamed 1 heard 1"),
            (tally(Partial, Some(Preempted), 1), "chosen 1 heard 1"),
            (tally(Skipped, Some(QuietHours), 1), "chosen 1"),
            (tally(Skipped, Some(Hushed), 1), "planned 1 missed 1 blamed 1"),
            (tally(Missed, Some(StationDown), 1), "planned 1 missed 1 excused 1"),
            (tally(Missed, Some(ClipMissing), 1), "planned 1 missed 1 blamed 1"),
            (tally(Missed, None, 1), "planned 1 missed 1 blamed 1"),
            (asked, "asked 1 heard 1"),
            (unasked_for, "asked 1"),
        ] {
            let mut numbers = Numbers::default();
            numbers.add(&tally);
            let Numbers { planned, played, on_time, made_up, partial, missed, excused, blamed, chosen, asked, .. } =
                numbers;
            let said: Vec<_> = [
                ("planned", planned),
                ("played", played),
                ("on_time", on_time),
                ("made_up", made_up),
                ("partial", partial),
                ("missed", missed),
                ("excused", excused),
                ("blamed", blamed),
                ("chosen", chosen),
                ("asked", asked),
                ("heard", numbers.heard_ms / 1000),
            ]
            .into_iter()
            .filter(|(_, number)| *number != 0)
            .map(|(name, number)| format!("{name} {number}"))
            .collect();
            assert_eq!(said.join(" "), expected, "{tally:?}");
        }
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let nothing = Numbers::default();
        let rates =
            [nothing.rate(), nothing.fair_rate(), nothing.punctuality(), nothing.online_rate(), nothing.score()];
        assert_eq!(rates, [None; 5]);
        let off = Numbers { planned: 5, excused: 5, missed: 5, ..nothing };
        assert_eq!((off.rate(), off.fair_rate(), off.score()), (Some(0.0), None, None));
        let silent = Numbers { planned: 4, played: 3, days: 4, silent: 2, ..nothing };
        assert_eq!((silent.fair_rate(), silent.score()), (Some(0.75), Some(0.375)));
    }

    fn any_tally() -> impl Strategy<Value = Tally> {
        let outcome = prop::sample::select(Outcome::ALL.to_vec());
        let reason = prop::option::of(prop::sample::select(Reason::ALL.to_vec()));
        (outcome, reason, any::<bool>(), 0..5_i64, 0..5_i64).prop_map(|(outcome, reason, asked, times, on_time)| {
            let reason = reason.filter(|reason| reason.fits(outcome));
            Tally { asked, on_time: on_time.min(times), ..tally(outcome, reason, times) }
        })
    }

    proptest! {
        #[test]
        fn every_row_is_counted_once_and_the_parts_make_the_whole(tallies in prop::collection::vec(any_tally(), 0..30)) {
            let mut numbers = Numbers::default();
            tallies.iter().for_each(|tally| numbers.add(tally));
            let rows: i64 = tallies.iter().map(|tally| tally.times).sum();
            prop_assert_eq!(numbers.planned + numbers.chosen + numbers.asked, rows);
            prop_assert_eq!(numbers.played + numbers.partial + numbers.missed, numbers.planned);
            prop_assert_eq!(numbers.played + numbers.excused + numbers.blamed, numbers.planned);
            prop_assert_eq!(numbers.on_time + numbers.made_up, numbers.played);
            let reasons = by_reason(&tallies);
            let of = |class| reasons.iter().filter(|by| by.class == class).map(|by| by.partial + by.missed).sum::<i64>();
            prop_assert_eq!((of(Class::Chosen), of(Class::Excused)), (numbers.chosen, numbers.excused));
            let mut summed = Numbers::default();
            for tally in &tallies {
                let mut one = Numbers::default();
                one.add(tally);
                summed += one;
            }
            prop_assert_eq!(summed, numbers);
        }
    }
}

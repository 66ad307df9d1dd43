//! What another version plays more, less, or at other times: the difference of two plans, in words.
//!
//! Pure. What is compared is what is to sound; what either version leaves out is silent in both.

use super::{Occurrence, Verdict};
use crate::{
    outcome::Reason,
    text::{Language, day_named},
};
use jiff::civil::{Date, DateTime, Time};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One day on which two plans differ.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Day {
    /// Which.
    pub date: Date,
    /// What plays in addition.
    pub more: Vec<Play>,
    /// What plays no more, with the reason where the new plan gives one.
    pub less: Vec<Play>,
    /// What plays at another time.
    pub moved: Vec<Moved>,
    /// What plays at its time with another sound, volume or band, or starts later since it waits.
    pub altered: Vec<Play>,
}

/// One announcement at one time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Play {
    /// What people call it.
    pub title: String,
    /// When.
    pub at: Time,
    /// Why it plays no more, where the new plan says so.
    pub reason: Option<Reason>,
}

/// One announcement that changes its time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    /// What people call it.
    pub title: String,
    /// When it played.
    pub from: Time,
    /// When it plays.
    pub to: Time,
}

/// As many are named one by one; the rest are counted.
const NAMED: usize = 8;

/// One announcement's times of a day.
type Times<'a> = BTreeMap<(Date, &'a str, &'a str), BTreeMap<DateTime, &'a Occurrence>>;

/// Returns the days on which `new` differs from `old`.
pub fn difference(old: &[Occurrence], new: &[Occurrence]) -> Vec<Day> {
    let (old, new) = (times(old), times(new));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    let none = BTreeMap::new();
    let mut days: BTreeMap<Date, Day> = BTreeMap::new();
    for key in keys {
        let (before, after) = (old.get(&key).unwrap_or(&none), new.get(&key).unwrap_or(&none));
        let day = days.entry(key.0).or_insert_with(|| Day { date: key.0, ..Day::default() });
        let plays = |all: &BTreeMap<DateTime, &Occurrence>| -> BTreeSet<DateTime> {
            all.iter().filter(|(_, one)| one.verdict == Verdict::Play).map(|(at, _)| *at).collect()
        };
        let (was, is) = (plays(before), plays(after));
        for at in was.intersection(&is) {
            if sound(before[at]) != sound(after[at]) {
                day.altered.push(Play { title: after[at].title.clone(), at: at.time(), reason: None });
            }
        }
        let (gone, come) = (was.difference(&is).copied().collect(), is.difference(&was).copied().collect());
        let (moved, gone, come) = pair(gone, come);
        day.moved.extend(moved.into_iter().map(|(from, to)| Moved {
            title: after[&to].title.clone(),
            from: from.time(),
            to: to.time(),
        }));
        day.less.extend(gone.into_iter().map(|at| Play {
            title: before[&at].title.clone(),
            at: at.time(),
            reason: after.get(&at).and_then(|one| match one.verdict {
                Verdict::Skip(reason) => Some(reason),
                Verdict::Play => None,
            }),
        }));
        day.more.extend(come.into_iter().map(|at| Play {
            title: after[&at].title.clone(),
            at: at.time(),
            reason: None,
        }));
    }
    let mut days: Vec<_> = days.into_values().filter(|day| day.count() > 0).collect();
    for day in &mut days {
        for plays in [&mut day.more, &mut day.less, &mut day.altered] {
            plays.sort_by_key(|play| play.at);
        }
        day.moved.sort_by_key(|moved| moved.from);
    }
    days
}

fn times(occurrences: &[Occurrence]) -> Times<'_> {
    let mut times = Times::new();
    for one in occurrences {
        let of_day = times.entry((one.local.date(), &one.schedule, &one.announcement)).or_default();
        of_day.insert(one.local, one);
    }
    times
}

/// What is heard of an occurrence, and when.
fn sound(one: &Occurrence) -> impl PartialEq + '_ {
    (&one.clips, &one.chime, one.volume, one.band, one.start, &one.screen)
}

/// What moved as (from, to), what is gone and what came without a partner.
type Paired = (Vec<(DateTime, DateTime)>, Vec<DateTime>, Vec<DateTime>);

/// Pairs what is gone with what came, the nearest first.
fn pair(mut gone: Vec<DateTime>, mut come: Vec<DateTime>) -> Paired {
    let mut moved = Vec::new();
    // Where everything moves by hundreds, each is as near to one as to another: in order says as much.
    if gone.len().saturating_mul(come.len()) > 4096 {
        let count = gone.len().min(come.len());
        return (gone.drain(..count).zip(come.drain(..count)).collect(), gone, come);
    }
    let apart = |a: &DateTime, b: &DateTime| a.duration_since(*b).abs();
    while let Some((from, to)) = gone
        .iter()
        .enumerate()
        .flat_map(|(from, a)| come.iter().enumerate().map(move |(to, b)| ((from, to), apart(a, b))))
        .min_by_key(|(_, apart)| *apart)
        .map(|(places, _)| places)
    {
        moved.push((gone.remove(from), come.remove(to)));
    }
    (moved, gone, come)
}

impl Day {
    fn count(&self) -> usize {
        self.more.len() + self.less.len() + self.moved.len() + self.altered.len()
    }

    /// Returns the difference in words, a sentence for each kind.
    pub fn said(&self, language: Language) -> Vec<String> {
        let day = day_named(self.date, language);
        let play = |play: &Play| {
            let why = play.reason.map(|reason| match language {
                Language::Chinese => format!("（{}）", reason.zh()),
                Language::English => format!(" ({})", reason.en()),
            });
            format!("{} {}{}", play.title, clock(play.at), why.unwrap_or_default())
        };
        let plays = |all: &[Play]| all.iter().map(play).collect::<Vec<_>>();
        let moved = self.moved.iter().map(|moved| {
            let (from, to) = (clock(moved.from), clock(moved.to));
            language.pick(format!("{} {from} 改到 {to}", moved.title), format!("{} from {from} to {to}", moved.title))
        });
        let count =
            |n: usize| language.pick(format!("{n} 次"), if n == 1 { "once".into() } else { format!("{n} times") });
        let mut said = Vec::new();
        for (items, chinese, english) in [
            (plays(&self.less), "少播", "less"),
            (plays(&self.more), "多播", "more"),
            (moved.collect(), "改时间", "at another time"),
            (plays(&self.altered), "内容或音量有变", "with another sound or volume"),
        ] {
            if items.is_empty() {
                continue;
            }
            let head = language.pick(
                format!("{day} {chinese} {}：", count(items.len())),
                format!("{day}: {} {english}: ", count(items.len())),
            );
            said.push(format!("{head}{}", listed(&items, language)));
        }
        said
    }
}

fn listed(items: &[String], language: Language) -> String {
    let between = language.pick("、", ", ");
    let text = items[..items.len().min(NAMED)].join(between);
    match items.len().checked_sub(NAMED) {
        Some(rest) if rest > 0 => language.pick(format!("{text}，还有 {rest} 次"), format!("{text}, and {rest} more")),
        _ => text,
    }
}

fn clock(at: Time) -> String {
    at.strftime(if at.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        home::{Texts, assemble},
        plan::{Clips, plan},
    };
    use jiff::civil::date;

    /// The plan of Wednesday 25 November 2026 and the day after, for one announcement with this rule.
    fn planned(rule: &str) -> Vec<Occurrence> {
        let text = format!(
            "[announcement.a]\ntitle = \"早间\"\nplay = [\"a.wav\"]\n[announcement.b]\ntitle = \"晚间\"\n\
             play = [\"b.wav\"]\n{rule}"
        );
        let schedules = BTreeMap::from([("schedules/x.toml".to_owned(), text)]);
        let program = assemble(&Texts { schedules, ..Texts::default() }, None, Clips::default()).program;
        let at = |day| crate::plan::instant(&program.zone, date(2026, 11, day).at(0, 0, 0, 0));
        plan(&program, at(25)..at(27)).occurrences
    }

    fn rule(play: &str, at: &str, more: &str) -> String {
        format!("[[rule]]\nplay = \"{play}\"\nat = [{at}]\n{more}\n")
    }

    #[test]
    fn a_difference_is_said_as_people_say_it() {
        let base = rule("a", "\"06:30\", \"12:00\"", "on = [\"wed\"]");
        for (new, chinese, english) in [
            (base.clone(), "", ""),
            (
                String::new(),
                "11月25日 周三 少播 2 次：早间 06:30、早间 12:00",
                "Wed 25 Nov: 2 times less: 早间 06:30, 早间 12:00",
            ),
            (
                rule("a", "\"06:30\", \"12:00\"", "on = [\"wed\", \"thu\"]"),
                "11月26日 周四 多播 2 次：早间 06:30、早间 12:00",
                "Thu 26 Nov: 2 times more: 早间 06:30, 早间 12:00",
            ),
            (
                rule("a", "\"06:30\", \"12:30:05\"", "on = [\"wed\"]"),
                "11月25日 周三 改时间 1 次：早间 12:00 改到 12:30:05",
                "Wed 25 Nov: once at another time: 早间 from 12:00 to 12:30:05",
            ),
            (
                rule("a", "\"12:30\"", "on = [\"wed\"]"),
                "11月25日 周三 少播 1 次：早间 06:30|11月25日 周三 改时间 1 次：早间 12:00 改到 12:30",
                "Wed 25 Nov: once less: 早间 06:30|Wed 25 Nov: once at another time: 早间 from 12:00 to 12:30",
            ),
            (
                base.clone() + "[[override]]\ndate = 2026-11-25\ncancel = [\"a\"]\n",
                "11月25日 周三 少播 2 次：早间 06:30（当日取消）、早间 12:00（当日取消）",
                "Wed 25 Nov: 2 times less: 早间 06:30 (cancelled for the day), 早间 12:00 (cancelled for the day)",
            ),
            (
                base.replace("\"a\"", "\"b\""),
                "11月25日 周三 少播 2 次：早间 06:30、早间 12:00|11月25日 周三 多播 2 次：晚间 06:30、晚间 12:00",
                "Wed 25 Nov: 2 times less: 早间 06:30, 早间 12:00|Wed 25 Nov: 2 times more: 晚间 06:30, 晚间 12:00",
            ),
        ] {
            let days = difference(&planned(&base), &planned(&new));
            let said = |language| days.iter().flat_map(|day| day.said(language)).collect::<Vec<_>>().join("|");
            assert_eq!(said(Language::Chinese), chinese);
            assert_eq!(said(Language::English), english);
        }
    }

    #[test]
    fn a_louder_or_another_sound_at_the_same_time_is_told() {
        let base = planned(&rule("a", "\"06:30\"", "on = [\"wed\"]"));
        let mut louder = base.clone();
        louder[0].volume = crate::schedule::Volume::try_from(50).unwrap();
        let said = difference(&base, &louder)[0].said(Language::Chinese);
        assert_eq!(said, ["11月25日 周三 内容或音量有变 1 次：早间 06:30"]);
    }

    #[test]
    fn many_are_counted_and_not_named() {
        let many = planned("[[rule]]\nplay = \"a\"\nevery = \"10m\"\nbetween = \"08:00-12:00\"\non = [\"wed\"]\n");
        let said = difference(&[], &many)[0].said(Language::Chinese);
        assert!(said[0].starts_with("11月25日 周三 多播 24 次：") && said[0].ends_with("，还有 16 次"), "{said:?}");
    }
}

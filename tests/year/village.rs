//! The village of a seed: about thirty announcements a day in four versions, between which its people change.

use crate::Dice;
use dalaba::{
    calendar::{Calendar, DaySet, DayWindow, Hours},
    plan::{Clip, ClipState, Clips, Program, RATE},
    schedule::{Announcement, Band, ClipPath, During, Pick, PlayPath, Rule, Schedule, Source, Volume, When},
    text::Said,
};
use jiff::{SignedDuration, civil::Time, tz::TimeZone};
use std::{collections::BTreeMap, sync::Arc};

pub const VERSIONS: usize = 4;

/// Returns the versions of the program between which a seed's people change.
pub fn versions(dice: &mut Dice) -> Vec<Arc<Program>> {
    (0..VERSIONS).map(|_| Arc::new(program(dice))).collect()
}

fn program(dice: &mut Dice) -> Program {
    let mut clips = Clips::default();
    let mut announcements = BTreeMap::new();
    let mut rules = Vec::new();
    let mut say = |name: &str, band: Band, seconds: u64, hard: bool, grace: i64, when: When, dice: &mut Dice| {
        let path = ClipPath::try_from(format!("{name}.wav")).expect("a path");
        clips.0.insert(path.clone(), clip(name, seconds, dice));
        announcements.insert(name.to_owned(), announcement(name, band, path));
        rules.push(rule(name, hard, grace, when));
    };
    say("signal", Band::Background, 200, false, 120, every(150, Some("07:00-20:00")), dice);
    say("music", Band::Background, 40, false, 60, at(vec![time(8, 0), time(18, 30)]), dice);
    say("fraud", Band::Normal, 12 + dice.below(20), false, 120, every(90, Some("06:10-21:40")), dice);
    let moments = (0..6).map(|_| at_random(dice)).collect();
    say("news", Band::Normal, 5 + dice.below(30), dice.one_in(3), 20, at(moments), dice);
    let moments = (0..4).map(|_| at_random(dice)).collect();
    say("bulletin", Band::Urgent, 8 + dice.below(20), dice.one_in(3), 300, at(moments), dice);
    say("night", Band::Normal, 45, false, 60, at(vec![time(21, 29), time(23, 0)]), dice);
    // Falls on others on purpose.
    say("clash", Band::Normal, 10, dice.one_in(2), 120, every(180, Some("06:10-21:10")), dice);
    if dice.one_in(4) {
        say("lost", Band::Normal, 0, false, 60, at(vec![time(12, 1)]), dice);
    }
    Program {
        zone: TimeZone::get("Asia/Shanghai").expect("bundled"),
        schedules: vec![Schedule {
            name: "daily".into(),
            source: Source::Station,
            title: "每日".into(),
            enabled: true,
            from: None,
            until: None,
            announcements,
            rules,
            overrides: Vec::new(),
        }],
        calendar: Calendar::default(),
        hours: Hours {
            quiet: vec!["21:30-06:00".parse().expect("a window")],
            working: Vec::new(),
            daily_limit: SignedDuration::from_hours(4),
        },
        closed: Vec::new(),
        clips,
    }
}

fn clip(name: &str, seconds: u64, dice: &mut Dice) -> Clip {
    let state = match seconds {
        0 => ClipState::Refused(Said::new("坏", "bad")),
        _ => ClipState::Ready {
            sha256: format!("{:064x}", dice.next()),
            file: format!("ready/{name}.flac").into(),
            frames: seconds * u64::from(RATE) + dice.below(48_000),
            gain: 1.0,
        },
    };
    Clip { title: name.into(), valid_from: None, valid_until: None, retired: false, state }
}

fn announcement(name: &str, band: Band, path: ClipPath) -> Announcement {
    Announcement {
        title: name.into(),
        enabled: true,
        band,
        chime: None,
        play: vec![PlayPath::Clip(path)],
        pick: Pick::InTurn,
        volume: Volume::FULL,
        screen: None,
    }
}

fn rule(name: &str, hard: bool, grace: i64, when: When) -> Rule {
    Rule {
        play: name.into(),
        enabled: true,
        when,
        on: DaySet::EveryDay,
        during: None::<During>,
        except: Vec::new(),
        grace: SignedDuration::from_secs(grace),
        hard,
    }
}

fn every(minutes: i64, between: Option<&str>) -> When {
    let between = between.map(|window| window.parse::<DayWindow>().expect("a window"));
    When::Every { period: SignedDuration::from_mins(minutes), between }
}

fn at(times: Vec<Time>) -> When {
    When::At(times)
}

fn time(hour: i8, minute: i8) -> Time {
    Time::constant(hour, minute, 0, 0)
}

fn at_random(dice: &mut Dice) -> Time {
    let part = |dice: &mut Dice, sides: u64| i8::try_from(dice.below(sides)).expect("small");
    Time::constant(6 + part(dice, 15), part(dice, 60), if dice.one_in(2) { 0 } else { part(dice, 60) }, 0)
}

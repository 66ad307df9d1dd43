//! The rules of planning, one sentence and one table each. The rows know only the village.

use super::*;
use crate::{
    calendar::{DaySet, DayWindow, Weekdays},
    outcome::Reason,
    schedule::{Announcement, Band, Cancel, ClipPath, During, Override, Pick, PlayPath, Rule, Source, Volume, When},
};
use jiff::{
    SignedDuration,
    civil::{DateTime, Time, date},
};
use proptest::prelude::*;

// What the tests know of the API: a village, built in a few words.

/// Monday 8 June 2026 opens a week without a holiday.
const MONDAY: Date = date(2026, 6, 8);

fn village() -> Program {
    Program {
        zone: TimeZone::get("Asia/Shanghai").expect("bundled"),
        schedules: vec![Schedule {
            name: "daily".into(),
            source: Source::Station,
            title: "每日".into(),
            enabled: true,
            from: None,
            until: None,
            announcements: BTreeMap::new(),
            rules: Vec::new(),
            overrides: Vec::new(),
        }],
        calendar: Calendar::default(),
        hours: Hours { quiet: Vec::new(), working: Vec::new(), daily_limit: SignedDuration::from_hours(24) },
        closed: Vec::new(),
        clips: Clips::default(),
    }
}

use std::collections::BTreeMap;

fn path(text: &str) -> ClipPath {
    ClipPath::try_from(text.to_owned()).unwrap()
}

fn clip(seconds: u64) -> Clip {
    Clip {
        title: "录音".into(),
        valid_from: None,
        valid_until: None,
        retired: false,
        state: ClipState::Ready {
            sha256: "00".into(),
            file: "x.flac".into(),
            frames: seconds * u64::from(RATE),
            gain: 1.0,
        },
    }
}

/// An announcement that plays its own clip of so many seconds.
fn announce(program: &mut Program, name: &str, band: Band, seconds: u64) {
    let own = path(&format!("{name}.mp3"));
    program.clips.0.insert(own.clone(), clip(seconds));
    announce_clips(program, name, band, vec![PlayPath::Clip(own)]);
}

fn announce_clips(program: &mut Program, name: &str, band: Band, play: Vec<PlayPath>) {
    let announcement = Announcement {
        title: name.to_owned(),
        enabled: true,
        band,
        chime: None,
        play,
        pick: Pick::InTurn,
        volume: Volume::FULL,
        screen: None,
    };
    program.schedules[0].announcements.insert(name.to_owned(), announcement);
}

fn window(text: &str) -> DayWindow {
    text.parse().unwrap()
}

fn at(times: &str) -> When {
    When::At(times.split(' ').map(|time| time.parse().unwrap()).collect())
}

fn every(minutes: i64, between: Option<&str>) -> When {
    When::Every { period: SignedDuration::from_mins(minutes), between: between.map(window) }
}

/// Adds a rule; what is not said has its default.
fn rule<'a>(program: &'a mut Program, play: &str, when: When) -> &'a mut Rule {
    let rules = &mut program.schedules[0].rules;
    rules.push(Rule {
        play: play.to_owned(),
        enabled: true,
        when,
        on: DaySet::EveryDay,
        during: None,
        except: Vec::new(),
        grace: SignedDuration::from_mins(2),
        hard: false,
    });
    rules.last_mut().unwrap()
}

fn days(program: &Program, first: Date, count: i32) -> Range<Timestamp> {
    let midnight = |day: Date| instant(&program.zone, day.to_datetime(Time::midnight()));
    midnight(first)..midnight(first + count.days())
}

/// What is planned on a date, as `06:30 morning`, with `>06:31` where it waits and `!overlap` where it is left out.
fn planned(program: &Program, day: Date) -> String {
    let told = |occurrence: &Occurrence| {
        let mut line = format!("{} {}", occurrence.local.strftime("%H:%M"), occurrence.announcement);
        if occurrence.start != occurrence.due {
            line += &format!(">{}", program.zone.to_datetime(occurrence.start).strftime("%H:%M"));
        }
        if let Verdict::Skip(reason) = occurrence.verdict {
            line += &format!("!{}", serde_json::to_value(reason).unwrap().as_str().unwrap());
        }
        line
    };
    plan(program, days(program, day, 1)).occurrences.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// The dates of the week from Monday on which something is planned.
fn days_of_week(program: &Program) -> String {
    let on = |day: &Date| !planned(program, *day).is_empty();
    MONDAY.series(1.day()).take(7).filter(on).map(|day| day.day().to_string()).collect::<Vec<_>>().join(" ")
}

// Moments.

#[test]
fn a_wall_time_is_one_instant_whatever_the_clock_change() {
    for (zone, local, expected) in [
        ("Asia/Shanghai", "2026-06-17T06:30:00", "2026-06-16T22:30:00Z"),
        // 29 March 2026: 02:00 becomes 03:00. Skipped times are the first instant after.
        ("Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T00:59:59Z"),
        ("Europe/Berlin", "2026-03-29T02:00:00", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29T03:00:00", "2026-03-29T01:00:00Z"),
        // 25 October 2026: 03:00 becomes 02:00. Repeated times are the first.
        ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
        ("Europe/Berlin", "2026-10-25T03:00:00", "2026-10-25T02:00:00Z"),
        ("America/New_York", "2026-03-08T02:15:00", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T01:15:00", "2026-11-01T05:15:00Z"),
        // Samoa had no 30 December 2011.
        ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T10:00:00Z"),
    ] {
        let zone = TimeZone::get(zone).unwrap();
        let local: DateTime = local.parse().unwrap();
        assert_eq!(instant(&zone, local), expected.parse().unwrap(), "{local} {zone:?}");
    }
}

#[test]
fn a_rule_gives_its_moments() {
    for (when, expected) in [
        (at("11:40 06:30"), "06:30 a, 11:40 a"),
        (at("06:30 06:30"), "06:30 a"),
        (every(480, None), "00:00 a, 08:00 a, 16:00 a"),
        (every(30, Some("18:10-19:40")), "18:10 a, 18:40 a, 19:10 a"),
        (When::Cron("30 6,18 * * 1-5".parse().unwrap()), "06:30 a, 18:30 a"),
    ] {
        let mut program = village();
        announce(&mut program, "a", Band::Normal, 10);
        rule(&mut program, "a", when.clone());
        assert_eq!(planned(&program, MONDAY), expected, "{when:?}");
    }
}

#[test]
fn a_time_that_a_clock_change_skips_or_repeats_sounds_once() {
    let mut program = village();
    program.zone = TimeZone::get("Europe/Berlin").unwrap();
    announce(&mut program, "a", Band::Normal, 10);
    rule(&mut program, "a", every(30, Some("01:30-03:30")));
    for (day, expected) in [
        (date(2026, 3, 28), "01:30 a, 02:00 a, 02:30 a, 03:00 a"),
        (date(2026, 3, 29), "01:30 a, 03:00 a"),
        (date(2026, 10, 25), "01:30 a, 02:00 a, 02:30 a, 03:00 a"),
    ] {
        assert_eq!(planned(&program, day), expected, "{day}");
    }
}

#[test]
fn a_rule_plays_only_on_its_days() {
    let weekdays = DaySet::Weekdays(Weekdays([true, false, false, false, true, false, false]));
    type Change = fn(&mut Program);
    let nothing: Change = |_| {};
    for (on, change, expected) in [
        (DaySet::EveryDay, nothing, "8 9 10 11 12 13 14"),
        (weekdays, nothing, "8 12"),
        (DaySet::Workdays, nothing, "8 9 10 11 12"),
        (DaySet::RestDays, nothing, "13 14"),
        (DaySet::Dates(vec![date(2026, 6, 9)]), nothing, "9"),
        (DaySet::EveryDay, |p| p.schedules[0].from = Some(date(2026, 6, 12)), "12 13 14"),
        (DaySet::EveryDay, |p| p.schedules[0].until = Some(date(2026, 6, 9)), "8 9"),
        (DaySet::EveryDay, |p| p.schedules[0].rules[0].except = vec![date(2026, 6, 9)], "8 10 11 12 13 14"),
    ] {
        let mut program = village();
        announce(&mut program, "a", Band::Normal, 10);
        rule(&mut program, "a", at("06:30")).on = on.clone();
        change(&mut program);
        assert_eq!(days_of_week(&program), expected, "{on:?}");
    }
}

#[test]
fn a_window_across_midnight_belongs_to_the_day_on_which_it_starts() {
    let tuesday = || DaySet::Dates(vec![date(2026, 6, 9)]);
    type Change = fn(&mut Program);
    for (on, change, expected) in [
        (tuesday(), (|_| {}) as Change, ["23:00 a", "01:00 a"]),
        (
            DaySet::EveryDay,
            |p| p.schedules[0].rules[0].except = vec![date(2026, 6, 10)],
            ["01:00 a, 23:00 a", "01:00 a"],
        ),
        (DaySet::EveryDay, |p| p.schedules[0].until = Some(date(2026, 6, 9)), ["01:00 a, 23:00 a", "01:00 a"]),
        (DaySet::EveryDay, |p| p.schedules[0].from = Some(date(2026, 6, 9)), ["23:00 a", "01:00 a, 23:00 a"]),
        // An override means the moment's own date.
        (
            tuesday(),
            |p| {
                let (date, cancel) = (date(2026, 6, 10), Cancel::All);
                p.schedules[0].overrides.push(Override { date, cancel, note: String::new() });
            },
            ["23:00 a", "01:00 a!cancelled"],
        ),
    ] {
        let mut program = village();
        announce(&mut program, "a", Band::Normal, 10);
        rule(&mut program, "a", every(120, Some("23:00-03:00"))).on = on.clone();
        change(&mut program);
        let both = [9, 10].map(|day| planned(&program, date(2026, 6, day)));
        assert_eq!(both, expected, "{on:?}");
    }
}

#[test]
fn during_only_filters() {
    let working = || {
        let times = vec![window("08:00-12:00"), window("13:30-17:30")];
        vec![crate::calendar::WorkingHours { days: DaySet::Workdays, times }]
    };
    let saturday = date(2026, 6, 13);
    for (during, day, expected) in [
        (During::WorkingHours, MONDAY, "08:00 a, 09:00 a, 10:00 a, 11:00 a, 14:00 a, 15:00 a, 16:00 a, 17:00 a"),
        (During::WorkingHours, saturday, ""),
        (During::AfterHours, MONDAY, "06:00 a, 07:00 a, 12:00 a, 13:00 a, 18:00 a, 19:00 a, 20:00 a"),
        (
            During::Windows(vec![window("20:00-22:00"), window("23:00-01:00")]),
            MONDAY,
            "00:00 a!quiet-hours, 20:00 a, 21:00 a!quiet-hours, 23:00 a!quiet-hours",
        ),
    ] {
        let mut program = village();
        program.hours.quiet = vec![window("21:00-06:00")];
        program.hours.working = working();
        announce(&mut program, "a", Band::Normal, 10);
        rule(&mut program, "a", every(60, None)).during = Some(during.clone());
        assert_eq!(planned(&program, day), expected, "{during:?} {day}");
    }
}

// One occurrence.

#[test]
fn two_rules_that_give_one_moment_give_one_occurrence() {
    // (grace, hard, enabled) of two rules.
    for (one, two, expected) in [
        ((2, false, true), (2, false, true), (2, false, Verdict::Play)),
        ((2, false, true), (9, true, true), (9, true, Verdict::Play)),
        ((9, true, false), (2, false, true), (2, false, Verdict::Play)),
        ((2, false, true), (9, true, false), (2, false, Verdict::Play)),
        ((2, false, false), (2, false, false), (2, false, Verdict::Skip(Reason::Disabled))),
    ] {
        let mut program = village();
        announce(&mut program, "a", Band::Normal, 10);
        for (grace, hard, enabled) in [one, two] {
            let rule = rule(&mut program, "a", at("06:30"));
            (rule.grace, rule.hard, rule.enabled) = (SignedDuration::from_mins(grace), hard, enabled);
        }
        let occurrences = plan(&program, days(&program, MONDAY, 1)).occurrences;
        let found: Vec<_> = occurrences.iter().map(|o| (o.grace.as_mins(), o.hard, o.verdict)).collect();
        assert_eq!(found, [expected], "{one:?} {two:?}");
    }
}

#[test]
fn an_occurrence_left_out_says_why() {
    type Change = fn(&mut Program);
    let cancel = |names: Cancel| Override { date: MONDAY, cancel: names, note: String::new() };
    let rows: [(Change, &str); 9] = [
        (|_| {}, "06:30 a, 07:00 b"),
        (|p| p.schedules[0].enabled = false, "06:30 a!disabled, 07:00 b!disabled"),
        (|p| p.schedules[0].announcements.get_mut("a").unwrap().enabled = false, "06:30 a!disabled, 07:00 b"),
        (|p| p.schedules[0].rules[0].enabled = false, "06:30 a!disabled, 07:00 b"),
        (|p| p.closed = vec![MONDAY], "06:30 a!cancelled, 07:00 b!cancelled"),
        (|p| p.clips.0.get_mut(&path("a.mp3")).unwrap().valid_until = Some(MONDAY), "06:30 a, 07:00 b"),
        (
            |p| p.clips.0.get_mut(&path("a.mp3")).unwrap().valid_until = Some(date(2026, 6, 7)),
            "06:30 a!clip-expired, 07:00 b",
        ),
        (|p| p.clips.0.get_mut(&path("a.mp3")).unwrap().retired = true, "06:30 a!clip-expired, 07:00 b"),
        // The conductor misses it: the file is not there.
        (|p| p.clips = Clips::default(), "06:30 a, 07:00 b"),
    ];
    let build = || {
        let mut program = village();
        announce(&mut program, "a", Band::Normal, 10);
        announce(&mut program, "b", Band::Normal, 10);
        rule(&mut program, "a", at("06:30"));
        rule(&mut program, "b", at("07:00"));
        program
    };
    for (at, (change, expected)) in rows.into_iter().enumerate() {
        let mut program = build();
        change(&mut program);
        assert_eq!(planned(&program, MONDAY), expected, "row {at}");
    }
    for (names, expected) in [
        (Cancel::All, "06:30 a!cancelled, 07:00 b!cancelled"),
        (Cancel::Named(vec!["b".into()]), "06:30 a, 07:00 b!cancelled"),
    ] {
        let mut program = build();
        program.schedules[0].overrides.push(cancel(names.clone()));
        assert_eq!(planned(&program, MONDAY), expected, "{names:?}");
    }
}

#[test]
fn an_occurrence_knows_what_it_plays_and_how_long() {
    let mut program = village();
    announce_clips(
        &mut program,
        "早间",
        Band::Urgent,
        vec![PlayPath::Folder(path("f")), PlayPath::Clip(path("gone.mp3"))],
    );
    for (file, seconds) in [("f/2.mp3", 20), ("f/1.mp3", 10), ("f/x/3.mp3", 30), ("chime.wav", 5)] {
        program.clips.0.insert(path(file), clip(seconds));
    }
    program.clips.0.insert(path("f/wait.mp3"), Clip { state: ClipState::Pending, ..clip(0) });
    let announcement = program.schedules[0].announcements.get_mut("早间").unwrap();
    (announcement.pick, announcement.chime) = (Pick::All, Some(path("chime.wav")));
    rule(&mut program, "早间", at("06:30"));
    let occurrences = plan(&program, days(&program, MONDAY, 1)).occurrences;
    let [occurrence] = &occurrences[..] else { panic!("{occurrences:?}") };
    assert_eq!(occurrence.id.as_str(), "station/daily/早间@2026-06-08T06:30:00");
    let clips: Vec<_> = occurrence.clips.iter().map(ClipPath::as_str).collect();
    assert_eq!(clips, ["f/1.mp3", "f/2.mp3", "f/wait.mp3", "f/x/3.mp3", "gone.mp3"]);
    assert_eq!(occurrence.expected, SignedDuration::from_secs(65));
}

/// The clips of five moments from 08:00 to 12:00, by their file's first letter.
fn picked(program: &Program, day: Date) -> String {
    plan(program, days(program, day, 1))
        .occurrences
        .iter()
        .map(|o| o.clips[0].as_str().trim_end_matches(".mp3"))
        .collect()
}

fn three_clips(pick: Pick) -> Program {
    let mut program = village();
    let names = ["a.mp3", "b.mp3", "c.mp3"];
    announce_clips(&mut program, "m", Band::Normal, names.map(|name| PlayPath::Clip(path(name))).to_vec());
    for name in names {
        program.clips.0.insert(path(name), clip(10));
    }
    program.schedules[0].announcements.get_mut("m").unwrap().pick = pick;
    rule(&mut program, "m", at("12:00 08:00"));
    rule(&mut program, "m", every(60, Some("09:00-12:00")));
    program
}

#[test]
fn clips_take_turns_by_the_date_and_the_place_in_the_day() {
    // 8 June 2026 is day 20,612, and 20,612 mod 3 is 2.
    type Change = fn(&mut Program);
    let rows: [(Change, [&str; 2]); 4] = [
        (|_| {}, ["cabca", "abcab"]),
        // What is left out keeps its place, so the others keep their clips.
        (|p| p.closed = vec![MONDAY], ["cabca", "abcab"]),
        (|p| p.schedules[0].rules[0].enabled = false, ["cabca", "abcab"]),
        // From Tuesday on two clips are valid: 20,613 is odd.
        (|p| p.clips.0.get_mut(&path("b.mp3")).unwrap().valid_until = Some(MONDAY), ["cabca", "cacac"]),
    ];
    for (at, (change, expected)) in rows.into_iter().enumerate() {
        let mut program = three_clips(Pick::InTurn);
        change(&mut program);
        assert_eq!([0, 1].map(|day| picked(&program, MONDAY + day.days())), expected, "row {at}");
    }
}

#[test]
fn shuffled_clips_follow_the_hash() {
    use sha2::{Digest, Sha256};
    let program = three_clips(Pick::Shuffle);
    for day in 0..20_i64 {
        let expected: String = (0..5)
            .map(|k| {
                let mut clips = ["a", "b", "c"];
                clips
                    .sort_by_key(|clip| Sha256::digest(format!("m\n{}\n{}\n{clip}.mp3", 20_612 + day, k / 3)).to_vec());
                clips[k % 3]
            })
            .collect();
        assert_eq!(picked(&program, MONDAY + day.days()), expected, "day {day}");
    }
}

// Limits.

#[test]
fn nothing_is_planned_into_quiet_hours() {
    for (seconds, times, expected) in [
        (60, "21:28 21:29 21:30 05:59 06:00", "05:59 a!quiet-hours, 06:00 a, 21:28 a, 21:29 a, 21:30 a!quiet-hours"),
        // Ends a second too late.
        (61, "21:29", "21:29 a!quiet-hours"),
        // Would sound on both sides of a nap.
        (3 * 3600, "12:00", "12:00 a!quiet-hours"),
        (3600, "12:00", "12:00 a"),
        // No clip yet; it still may not start.
        (0, "13:10", "13:10 a!quiet-hours"),
    ] {
        let mut program = village();
        program.hours.quiet = vec![window("13:00-14:00"), window("21:30-06:00")];
        announce(&mut program, "a", Band::Urgent, seconds);
        rule(&mut program, "a", at(times));
        assert_eq!(planned(&program, MONDAY), expected, "{seconds} s at {times}");
    }
}

#[test]
fn what_no_longer_fits_the_day_is_left_out() {
    // Twenty minutes of limit; `a` is ten long, `b` eleven.
    for (band, b, expected) in [
        (Band::Normal, "08:00", "07:00 a, 08:00 b!daily-limit, 09:00 a, 10:00 a!daily-limit"),
        (Band::Background, "08:00", "07:00 a, 08:00 b!daily-limit, 09:00 a, 10:00 a!daily-limit"),
        (Band::Urgent, "08:00", "07:00 a, 08:00 b, 09:00 a, 10:00 a!daily-limit"),
        (Band::Normal, "06:00", "06:00 b, 07:00 a!daily-limit, 09:00 a!daily-limit, 10:00 a!daily-limit"),
        // A skip takes nothing of the day.
        (Band::Normal, "03:00", "03:00 b!quiet-hours, 07:00 a, 09:00 a, 10:00 a!daily-limit"),
    ] {
        let mut program = village();
        program.hours.quiet = vec![window("00:00-04:00")];
        program.hours.daily_limit = SignedDuration::from_mins(20);
        announce(&mut program, "a", Band::Normal, 600);
        announce(&mut program, "b", band, 660);
        rule(&mut program, "a", at("07:00 09:00 10:00"));
        rule(&mut program, "b", at(b));
        for day in 0..2 {
            assert_eq!(planned(&program, MONDAY + day.days()), expected, "{band:?} {b}");
        }
    }
}

// Clashes.

#[test]
fn overlaps_are_settled_by_band_and_grace() {
    use Band::{Background, Normal, Urgent};
    // (name, band, minutes long, times, grace in minutes)
    type Row<'a> = (&'a str, Band, u64, &'a str, i64);
    let rows: &[(&[Row], &str)] = &[
        // An equal band waits, as long as its grace lasts.
        (&[("a", Normal, 3, "08:00", 2), ("b", Normal, 1, "08:01", 2)], "08:00 a, 08:01 b>08:03"),
        (&[("a", Normal, 4, "08:00", 2), ("b", Normal, 1, "08:01", 2)], "08:00 a, 08:01 b!overlap"),
        (&[("a", Normal, 1, "08:00", 2), ("b", Normal, 1, "08:01", 0)], "08:00 a, 08:01 b"),
        // So does a lower one.
        (&[("a", Urgent, 3, "08:00", 2), ("b", Normal, 1, "08:01", 2)], "08:00 a, 08:01 b>08:03"),
        (&[("a", Urgent, 9, "08:00", 2), ("b", Normal, 1, "08:01", 2)], "08:00 a, 08:01 b!overlap"),
        // A higher one cuts; what is cut was to play, and frees its place at once.
        (
            &[("a", Normal, 9, "08:00", 2), ("b", Urgent, 1, "08:01", 2), ("c", Normal, 1, "08:01", 2)],
            "08:00 a, 08:01 b, 08:01 c>08:02",
        ),
        // At an equal moment the higher band goes first, then the name.
        (&[("a", Normal, 1, "08:00", 2), ("b", Urgent, 1, "08:00", 2)], "08:00 b, 08:00 a>08:01"),
        (&[("b", Normal, 1, "08:00", 2), ("a", Normal, 1, "08:00", 2)], "08:00 a, 08:00 b>08:01"),
        // Of those that wait, the higher band first, then the one that has waited longest.
        (
            &[("a", Urgent, 3, "08:00", 9), ("b", Normal, 1, "08:01", 9), ("c", Urgent, 1, "08:02", 9)],
            "08:00 a, 08:01 b>08:04, 08:02 c>08:03",
        ),
        (
            &[("a", Normal, 3, "08:00", 9), ("c", Normal, 1, "08:01", 9), ("b", Normal, 1, "08:02", 9)],
            "08:00 a, 08:01 c>08:03, 08:02 b>08:04",
        ),
        // One that has waited comes before one that falls due as its wait ends, unless the newcomer is higher.
        (
            &[("a", Normal, 2, "08:00", 9), ("b", Normal, 1, "08:02", 9), ("c", Normal, 1, "08:01", 9)],
            "08:00 a, 08:01 c>08:02, 08:02 b>08:03",
        ),
        (
            &[("a", Normal, 2, "08:00", 9), ("b", Urgent, 1, "08:02", 9), ("c", Normal, 1, "08:01", 9)],
            "08:00 a, 08:01 c>08:03, 08:02 b",
        ),
        // Background goes on under others and never waits for them, nor they for it; among themselves they are equals.
        (
            &[("a", Background, 9, "08:00", 2), ("b", Normal, 1, "08:01", 2), ("c", Urgent, 1, "08:05", 2)],
            "08:00 a, 08:01 b, 08:05 c",
        ),
        (&[("a", Urgent, 9, "08:00", 2), ("b", Background, 1, "08:01", 2)], "08:00 a, 08:01 b"),
        (&[("a", Background, 9, "08:00", 2), ("b", Background, 1, "08:01", 2)], "08:00 a, 08:01 b!overlap"),
        // Missing or unprepared, it has no sound to meet anybody with.
        (&[("a", Urgent, 0, "08:01", 2), ("b", Normal, 9, "08:00", 2)], "08:00 b, 08:01 a"),
    ];
    for (announcements, expected) in rows {
        let mut program = village();
        for (name, band, minutes, times, grace) in *announcements {
            announce(&mut program, name, *band, minutes * 60);
            rule(&mut program, name, at(times)).grace = SignedDuration::from_mins(*grace);
        }
        assert_eq!(planned(&program, MONDAY), *expected, "{announcements:?}");
    }
}

#[test]
fn hard_cuts_its_own_band_and_only_what_runs() {
    use Band::{Normal, Urgent};
    for (a, b_band, b_time, expected) in [
        (Normal, Normal, "08:01", "08:00 a, 08:01 b"),
        (Normal, Urgent, "08:01", "08:00 a, 08:01 b"),
        (Urgent, Normal, "08:01", "08:00 a, 08:01 b!overlap"),
        (Normal, Normal, "08:00", "08:00 a, 08:00 b!overlap"),
    ] {
        let mut program = village();
        announce(&mut program, "a", a, 600);
        announce(&mut program, "b", b_band, 60);
        rule(&mut program, "a", at("08:00"));
        rule(&mut program, "b", at(b_time)).hard = true;
        assert_eq!(planned(&program, MONDAY), expected, "{a:?} {b_band:?} {b_time}");
    }
    // It keeps its moment against those of its band that wait.
    let mut program = village();
    for (name, time, hard) in [("a", "08:00", false), ("b", "08:01", false), ("c", "08:02", true)] {
        announce(&mut program, name, Normal, 120);
        let rule = rule(&mut program, name, at(time));
        (rule.hard, rule.grace) = (hard, SignedDuration::from_mins(9));
    }
    assert_eq!(planned(&program, MONDAY), "08:00 a, 08:01 b>08:04, 08:02 c");
}

#[test]
fn the_county_goes_before_the_town_and_the_town_before_the_station() {
    let mut program = village();
    program.schedules.clear();
    for source in [Source::Station, Source::Town, Source::County] {
        let mut other = village();
        let name = format!("{source:?}").to_lowercase();
        announce(&mut other, &name, Band::Normal, 60);
        rule(&mut other, &name, at("08:00"));
        other.schedules[0].source = source;
        program.schedules.append(&mut other.schedules);
        program.clips.0.append(&mut other.clips.0);
    }
    assert_eq!(planned(&program, MONDAY), "08:00 county, 08:00 town>08:01, 08:00 station>08:02");
}

#[test]
fn a_wait_that_would_reach_quiet_hours_is_left_out() {
    for (minutes, expected) in [(5, "08:00 a, 08:01 b>08:02"), (9, "08:00 a, 08:01 b!quiet-hours")] {
        let mut program = village();
        program.hours.quiet = vec![window("08:10-09:00")];
        announce(&mut program, "a", Band::Normal, 120);
        announce(&mut program, "b", Band::Normal, minutes * 60);
        rule(&mut program, "a", at("08:00"));
        rule(&mut program, "b", at("08:01"));
        assert_eq!(planned(&program, MONDAY), expected, "{minutes} min");
    }
}

#[test]
fn yesterday_is_heard_after_midnight() {
    let mut program = village();
    announce(&mut program, "long", Band::Normal, 2 * 3600);
    announce(&mut program, "b", Band::Normal, 60);
    rule(&mut program, "long", at("23:00"));
    rule(&mut program, "b", at("00:58 00:59 01:00"));
    assert_eq!(planned(&program, MONDAY), "00:58 b>01:00, 00:59 b>01:01, 01:00 b>01:02, 23:00 long");
}

// Windows.

#[test]
fn the_next_occurrences_are_found_however_far_they_are() {
    for (on, count, expected) in
        [(date(2026, 6, 9), 2, 1), (date(2026, 6, 9), 1, 1), (date(2027, 5, 1), 1, 1), (date(2028, 5, 1), 1, 0)]
    {
        let mut program = village();
        announce(&mut program, "a", Band::Normal, 10);
        rule(&mut program, "a", at("06:30")).on = DaySet::Dates(vec![on]);
        rule(&mut program, "a", at("05:30")).enabled = false;
        let from = days(&program, MONDAY, 1).start;
        let found = upcoming(&program, from, count, 366);
        assert_eq!(found.len(), expected, "{on} {count}");
        assert!(found.iter().all(|occurrence| occurrence.local == on.at(6, 30, 0, 0)), "{found:?}");
    }
}

#[test]
fn a_day_may_hold_five_hundred_occurrences_and_no_more() {
    for (minutes, extra, expected) in [(3, 20, ""), (3, 21, "9"), (2, 0, "8 9 10"), (0, 0, "8 9 10")] {
        let mut program = village();
        announce(&mut program, "a", Band::Normal, 10);
        announce(&mut program, "b", Band::Normal, 10);
        // Every three minutes is 480 a day.
        rule(&mut program, "a", every(minutes, None));
        let times = (0..extra).map(|at| Time::midnight() + SignedDuration::from_mins(at)).collect();
        rule(&mut program, "b", When::At(times)).on = DaySet::Dates(vec![date(2026, 6, 9)]);
        let crowded = crowded_days(&program, MONDAY..MONDAY + 3.days());
        let crowded: Vec<_> = crowded.iter().map(|day| day.day().to_string()).collect();
        assert_eq!(crowded.join(" "), expected, "every {minutes} min and {extra} more");
    }
}

fn any_when() -> impl Strategy<Value = When> {
    let minute = |minute: i64| Time::midnight() + SignedDuration::from_mins(minute);
    // Midnight and the hours of clock changes are crowded.
    let busy = prop_oneof![0..240_i64, 1380..1440_i64, 0..1440_i64];
    let between = prop_oneof![
        Just(None),
        Just(Some("22:00-06:00")),
        Just(Some("23:30-23:00")),
        Just(Some("01:00-04:00")),
        Just(Some("18:00-24:00"))
    ];
    prop_oneof![
        proptest::collection::vec(busy, 1..5).prop_map(move |times| When::At(times.into_iter().map(minute).collect())),
        (20..200_i64, between).prop_map(|(minutes, between)| every(minutes, between)),
    ]
}

prop_compose! {
    fn any_rule()(
        play in 0..6_usize,
        when in any_when(),
        on in prop_oneof![
            3 => Just(DaySet::EveryDay),
            1 => Just(DaySet::Weekdays(Weekdays([true, false, true, false, true, true, false]))),
        ],
        grace in prop_oneof![Just(0_i64), Just(2), Just(90), Just(3000)],
        hard: bool,
        enabled in prop::bool::weighted(0.9),
    ) -> (usize, Rule) {
        let grace = SignedDuration::from_mins(grace);
        (play, Rule { play: String::new(), enabled, when, on, during: None, except: Vec::new(), grace, hard })
    }
}

prop_compose! {
    fn any_program(longest: u64)(
        zone in prop_oneof![Just("Asia/Shanghai"), Just("Europe/Berlin"), Just("America/New_York")],
        lengths in proptest::collection::vec(prop_oneof![Just(0_u64), 1..300_u64, 3000..=longest], 6),
        bands in proptest::collection::vec(prop_oneof![Just(Band::Background), Just(Band::Normal), Just(Band::Urgent)], 6),
        picks in proptest::collection::vec(prop_oneof![Just(Pick::InTurn), Just(Pick::Shuffle), Just(Pick::All)], 6),
        rules in proptest::collection::vec(any_rule(), 1..8),
        quiet in prop_oneof![Just(""), Just("21:30-06:00"), Just("01:30-02:30")],
        limit in prop_oneof![Just(2_i64), Just(24)],
    ) -> Program {
        let mut program = village();
        program.zone = TimeZone::get(zone).expect("bundled");
        program.hours.daily_limit = SignedDuration::from_hours(limit);
        program.hours.quiet = if quiet.is_empty() { Vec::new() } else { vec![window(quiet)] };
        let name = |at: usize| format!("a{at}");
        for (at, ((seconds, band), pick)) in lengths.into_iter().zip(bands).zip(picks).enumerate() {
            announce(&mut program, &name(at), band, seconds);
            let own = program.schedules[0].announcements.get_mut(&name(at)).expect("just announced");
            own.pick = pick;
            own.play.push(PlayPath::Clip(path("a0.mp3")));
        }
        program.schedules[0].rules = rules.into_iter().map(|(at, rule)| Rule { play: name(at), ..rule }).collect();
        program
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The cut is a due moment, a nanosecond beside it or anywhere: that is where off-by-one lives.
    #[test]
    fn adjoining_windows_equal_one(
        program in any_program(200_000),
        around in prop_oneof![Just(date(2026, 3, 6)), Just(date(2026, 3, 27)),
            // Days settled from another anchor begin on 4 April.
            Just(date(2026, 4, 1)), Just(date(2026, 10, 23)), Just(date(2026, 10, 30))],
        length in 1..9_i32,
        cut in 0..10_000_usize,
        nudge in -1..=1_i64,
        offset in 0..86_400_i64,
    ) {
        let span = days(&program, around, length);
        let span = span.start + offset.seconds()..span.end + offset.seconds();
        let whole = plan(&program, span.clone()).occurrences;
        let cut = match whole.len() {
            0 => span.start + 1.hours(),
            n => whole[cut % n].due + nudge.nanoseconds(),
        };
        let mut halves = plan(&program, span.start..cut).occurrences;
        halves.extend(plan(&program, cut..span.end).occurrences);
        prop_assert_eq!(halves, whole);
    }

    #[test]
    fn a_plan_is_in_order_and_names_each_occurrence_once(program in any_program(7200)) {
        let occurrences = plan(&program, days(&program, date(2026, 3, 27), 4)).occurrences;
        let key = |o: &Occurrence| (o.due, std::cmp::Reverse(o.band), std::cmp::Reverse(o.source), o.id.clone());
        prop_assert!(occurrences.is_sorted_by(|a, b| key(a) < key(b)));
        let ids: std::collections::BTreeSet<_> = occurrences.iter().map(|o| &o.id).collect();
        prop_assert_eq!(ids.len(), occurrences.len());
        for o in &occurrences {
            prop_assert!(o.due <= o.start && o.start <= o.due + o.grace.min(SignedDuration::from_hours(24)));
        }
    }

    /// Nothing above background starts while another sounds, unless it cuts it.
    #[test]
    fn one_announcement_sounds_at_a_time(program in any_program(7200)) {
        let span = days(&program, date(2026, 3, 27), 4);
        let mut playing = plan(&program, span.clone()).occurrences;
        // What starts later may start because of something that falls due later.
        playing.retain(|o| o.start < span.end);
        playing.retain(|o| o.verdict == Verdict::Play && o.band > Band::Background && o.expected.is_positive());
        playing.sort_by_key(|o| o.start);
        for pair in playing.windows(2) {
            let [before, after] = pair else { unreachable!("windows of two") };
            let cuts = after.band > before.band || (after.band == before.band && after.hard);
            prop_assert!(before.start + before.expected <= after.start || cuts, "{:?} {:?}", before, after);
        }
    }
}

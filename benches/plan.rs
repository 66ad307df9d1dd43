//! Planning against its budgets: a year of 200 rules in 50 ms, the next occurrence after an edit in 5 ms.

use criterion::{Criterion, criterion_group, criterion_main};
use dalaba::{
    calendar::{Calendar, DaySet, Hours, Weekdays},
    plan::{Clip, ClipState, Clips, Program, RATE, instant, plan, upcoming},
    schedule::{Announcement, Band, ClipPath, Pick, PlayPath, Rule, Schedule, Source, Volume, When},
};
use jiff::{
    SignedDuration,
    civil::{Time, date},
    tz::TimeZone,
};
use std::{collections::BTreeMap, hint::black_box};

/// Twenty clips of twenty seconds, twenty announcements and 200 rules, each of which gives one moment a day on its days.
fn village() -> Program {
    let path = |text: String| ClipPath::try_from(text).expect("a plain path");
    let clip = Clip {
        title: "录音".into(),
        valid_from: None,
        valid_until: None,
        retired: false,
        state: ClipState::Ready {
            sha256: "0".repeat(64),
            file: "x.flac".into(),
            frames: 20 * u64::from(RATE),
            gain: 1.0,
        },
    };
    let announcement = |at: usize| Announcement {
        title: format!("反诈提示 {at}"),
        enabled: true,
        band: if at.is_multiple_of(7) { Band::Urgent } else { Band::Normal },
        chime: None,
        play: vec![PlayPath::Folder(path("fraud".into()))],
        pick: if at.is_multiple_of(2) { Pick::InTurn } else { Pick::Shuffle },
        volume: Volume::FULL,
        screen: Some("不轻信 不透露 不转账".into()),
    };
    let rule = |at: i64| Rule {
        play: format!("reminder-{}", at % 20),
        enabled: true,
        when: When::At(vec![Time::midnight() + SignedDuration::from_secs(6 * 3600 + at * 270)]),
        on: match at % 4 {
            0 => DaySet::EveryDay,
            1 => DaySet::Workdays,
            2 => DaySet::Weekdays(Weekdays([true, false, true, false, true, false, true])),
            _ => DaySet::LunarDayEnds(vec![1, 3, 5, 8]),
        },
        during: None,
        except: Vec::new(),
        grace: SignedDuration::from_mins(2),
        hard: false,
    };
    Program {
        zone: TimeZone::get("Asia/Shanghai").expect("bundled"),
        schedules: vec![Schedule {
            name: "daily".into(),
            source: Source::Station,
            title: "每日".into(),
            enabled: true,
            from: None,
            until: None,
            announcements: (0..20).map(|at| (format!("reminder-{at}"), announcement(at))).collect(),
            rules: (0..200).map(rule).collect(),
            overrides: Vec::new(),
        }],
        calendar: Calendar::shipped(),
        hours: Hours {
            quiet: vec!["21:30-06:00".parse().expect("a window")],
            working: Vec::new(),
            daily_limit: SignedDuration::from_hours(4),
        },
        closed: vec![date(2026, 12, 13)],
        clips: Clips((0..20).map(|at| (path(format!("fraud/{at}.mp3")), clip.clone())).collect::<BTreeMap<_, _>>()),
    }
}

fn planning(criterion: &mut Criterion) {
    let program = village();
    let midnight = |year| instant(&program.zone, date(year, 1, 1).at(0, 0, 0, 0));
    let (start, end) = (midnight(2026), midnight(2027));
    criterion.bench_function("plan a year of 200 rules", |bencher| {
        bencher.iter_with_large_drop(|| plan(black_box(&program), start..end));
    });
    criterion.bench_function("next occurrence after an edit", |bencher| {
        bencher.iter(|| upcoming(black_box(&program), start, 1, 366));
    });
}

criterion_group!(benches, planning);
criterion_main!(benches);

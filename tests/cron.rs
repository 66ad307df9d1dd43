//! Cron lines mean what every Unix cron makes of them; `croner` is the oracle.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use chrono::{Datelike, NaiveDate, NaiveDateTime};
use dalaba::schedule::CronLine;
use jiff::{
    ToSpan,
    civil::{Date, DateTime, date},
};
use proptest::{prelude::*, sample::select};
use std::str::FromStr;

#[test]
fn the_traps_of_cron_are_read_as_unix_reads_them() {
    // June 2026 begins on a Monday; a line is asked for its days in June at 06:30.
    for (days, expected) in [
        ("* * 1-5", "1 2 3 4 5 8 9 10 11 12 15 16 17 18 19 22 23 24 25 26 29 30"),
        ("* * 0", "7 14 21 28"),
        ("* * 7", "7 14 21 28"),
        ("* * sun", "7 14 21 28"),
        ("* * 5-7", "5 6 7 12 13 14 19 20 21 26 27 28"),
        ("* * Mon,WED", "1 3 8 10 15 17 22 24 29"),
        ("13 * 5", "5 12 13 19 26"),
        ("13 * *", "13"),
        ("*/10 * 1", "1 8 11 15 21 22 29"),
        ("13 * */2", "2 4 6 7 9 11 13 14 16 18 20 21 23 25 27 28 30"),
        ("1 jun *", "1"),
        ("1 JAN-jul/5 *", "1"),
        ("1 7 *", ""),
        ("31 6 *", ""),
        ("30 2 *", ""),
    ] {
        let line = CronLine::from_str(&format!("30 6 {days}")).expect(days);
        let june = date(2026, 6, 1).series(1.day()).take(30);
        let moments: Vec<DateTime> = june.flat_map(|date| line.on(date)).collect();
        assert!(moments.iter().all(|moment| (moment.hour(), moment.minute()) == (6, 30)), "{days}");
        let found: Vec<String> = moments.iter().map(|moment| moment.day().to_string()).collect();
        assert_eq!(found.join(" "), expected, "{days}");
    }
}

#[test]
fn thirtieth_of_february_never_comes_and_the_twenty_ninth_in_leap_years() {
    for (line, expected) in [("0 0 30 2 *", 0), ("0 0 29 2 *", 1)] {
        let line = CronLine::from_str(line).expect(line);
        let days = date(2024, 1, 1).series(1.day()).take_while(|day| day.year() < 2028);
        assert_eq!(days.flat_map(|day| line.on(day)).count(), expected);
    }
}

#[test]
fn what_unix_cron_does_not_know_is_refused_with_a_remedy() {
    for (line, remedy) in [
        ("@daily", "0 0 * * *"),
        ("", "五段"),
        ("30 6 * *", "五段"),
        ("0 30 6 * * 1", "秒不能写"),
        ("5/20 * * * *", "5-59/20"),
        ("0 22-6 * * *", "22-23,0-6"),
        ("0 8 * * sat-mon", "6-7,0-1"),
        ("0 8 * * fri-sun", "5-7,0"),
        ("60 * * * *", "0 到 59"),
        ("0 24 * * *", "0 到 23"),
        ("0 0 0 * *", "1 到 31"),
        ("0 0 * 13 *", "jan 到 dec"),
        ("0 0 * * 8", "sun 到 sat"),
        ("*/0 * * * *", "步长"),
        ("*/90 * * * *", "every"),
        ("0 0 L * *", "1 到 31"),
        ("0 0 ? * *", "1 到 31"),
        ("+5 * * * *", "0 到 59"),
        ("1,,2 * * * *", "0 到 59"),
        ("1- * * * *", "0 到 59"),
        ("３０ 6 * * *", "0 到 59"),
    ] {
        let error = CronLine::from_str(line).expect_err(line);
        assert!(error.to_string().contains(remedy), "{line}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_line_falls_due_when_croner_says(line in any_line(), samples in prop::collection::vec(any_date(), 6)) {
        let ours = CronLine::from_str(&line).map_err(|error| TestCaseError::fail(format!("{line}: {error}")))?;
        let oracle = croner::Cron::from_str(&line).map_err(|error| TestCaseError::fail(format!("{line}: {error}")))?;
        for date in samples {
            prop_assert_eq!(ours.on(date), moments(&oracle, date), "{} on {}", line, date);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-0-9*/,a-zA-Z@ ?L#\u{ff10}-\u{ff19}]{0,40}") {
        if let Ok(line) = CronLine::from_str(&text) {
            line.on(date(2026, 2, 28));
        }
    }
}

/// What the oracle says of one date, minute by minute.
fn moments(oracle: &croner::Cron, date: Date) -> Vec<DateTime> {
    let day = |date: Date| {
        let [month, day] = [date.month(), date.day()].map(|part| u32::from(part.unsigned_abs()));
        NaiveDate::from_ymd_opt(date.year().into(), month, day).expect("jiff's date")
    };
    let start: NaiveDateTime = day(date).and_hms_opt(0, 0, 0).expect("midnight");
    let minutes = (0..24 * 60).map(|minute| start + chrono::TimeDelta::minutes(minute));
    assert_eq!(start.day(), u32::from(date.day().unsigned_abs()));
    minutes
        .zip(date.at(0, 0, 0, 0).series(1.minute()))
        .filter(|(theirs, _)| oracle.is_time_matching(theirs).expect("a date the oracle knows"))
        .map(|(_, ours)| ours)
        .collect()
}

/// Crowds the edges: turns of months and years, leap days.
fn any_date() -> impl Strategy<Value = Date> {
    let edges = vec![
        date(2024, 2, 28),
        date(2024, 2, 29),
        date(2024, 3, 1),
        date(2025, 2, 28),
        date(2026, 12, 31),
        date(2027, 1, 1),
        date(2026, 2, 13),
        date(2026, 11, 30),
    ];
    prop_oneof![
        1 => select(edges),
        3 => (0..1461i64).prop_map(|days| date(2024, 1, 1) + days.days()),
    ]
}

fn any_line() -> impl Strategy<Value = String> {
    let months = ["jan", "Feb", "MAR", "apr", "jun", "dec"];
    let weekdays = ["sun", "Mon", "TUE", "wed", "fri", "sat"];
    (field(0, 59, &[]), field(0, 23, &[]), field(1, 31, &[]), field(1, 12, &months), field(0, 7, &weekdays))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

fn field(first: u8, last: u8, names: &[&'static str]) -> BoxedStrategy<String> {
    let value = (first..=last).prop_map(|value| value.to_string());
    let value = match names {
        [] => value.boxed(),
        names => prop_oneof![3 => value, 1 => select(names.to_vec()).prop_map(str::to_owned)].boxed(),
    };
    let range = (first..=last).prop_flat_map(move |start| (Just(start), start..=last));
    let step = 1..=(last - first).max(1);
    let item = prop_oneof![
        4 => value,
        2 => range.clone().prop_map(|(start, end)| format!("{start}-{end}")),
        1 => (range, step.clone()).prop_map(|((start, end), step)| format!("{start}-{end}/{step}")),
        1 => step.prop_map(|step| format!("*/{step}")),
    ];
    prop_oneof![
        2 => Just("*".to_owned()),
        3 => prop::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
    .boxed()
}

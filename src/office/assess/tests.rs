use super::{count::tests::tally, *};
use crate::outcome::{Outcome, Reason};
use jiff::civil::date;

pub(in crate::office) fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

pub(in crate::office) fn november() -> Month {
    "2026-11".parse().unwrap()
}

/// The beginning of a day at the office.
fn start_of(day: Date) -> Timestamp {
    instant(&zone(), day.at(0, 0, 0, 0))
}

/// A station that was taken in long ago, has one journal that reaches over the whole month and a record for each day.
pub(in crate::office) fn record(name: &str, tallies: Vec<Tally>) -> Record {
    let span = Span { first: date(2026, 11, 1), last: date(2026, 11, 30) };
    Record {
        subject: Subject {
            id: name.to_owned().try_into().unwrap(),
            name: name.to_owned(),
            groups: BTreeSet::new(),
            confirmed: start_of(date(2026, 3, 1)),
            revoked: None,
            heard: None,
            up: true,
        },
        counted: span,
        tallies,
        dates: days(span.first, span.last).collect(),
        journals: vec![span],
        presence: Presence::default(),
    }
}

fn played(times: i64) -> Tally {
    tally(Outcome::Played, None, times)
}

fn missed(reason: Reason, times: i64) -> Tally {
    tally(Outcome::Missed, Some(reason), times)
}

/// 1 December 2026, noon: November is over.
pub(in crate::office) fn after() -> Timestamp {
    start_of(date(2026, 12, 1)) + jiff::SignedDuration::from_hours(12)
}

fn assessed(records: &[Record]) -> Assessment {
    assess(november(), records, after(), &zone())
}

#[test]
fn a_day_counts_from_when_a_station_was_taken_in_until_it_is_trusted_no_longer() {
    let noon = |day: Date| start_of(day) + jiff::SignedDuration::from_hours(12);
    for (confirmed, revoked, now, expected) in [
        (date(2026, 3, 1), None, date(2026, 12, 1), "2026-11-01 2026-11-30"),
        (date(2026, 11, 12), None, date(2026, 12, 1), "2026-11-12 2026-11-30"),
        (date(2026, 11, 30), None, date(2026, 12, 1), "2026-11-30 2026-11-30"),
        (date(2026, 12, 1), None, date(2026, 12, 5), "none"),
        (date(2026, 3, 1), Some(date(2026, 11, 9)), date(2026, 12, 1), "2026-11-01 2026-11-09"),
        (date(2026, 11, 9), Some(date(2026, 11, 9)), date(2026, 12, 1), "2026-11-09 2026-11-09"),
        (date(2026, 3, 1), Some(date(2026, 10, 31)), date(2026, 12, 1), "none"),
        (date(2026, 3, 1), None, date(2026, 11, 4), "2026-11-01 2026-11-04"),
        (date(2026, 3, 1), None, date(2026, 10, 31), "none"),
    ] {
        let subject =
            Subject { confirmed: noon(confirmed), revoked: revoked.map(noon), ..record("a", Vec::new()).subject };
        let span = counted(&subject, november(), noon(now), &zone());
        let said = span.map_or("none".to_owned(), |span| format!("{} {}", span.first, span.last));
        assert_eq!(said, expected, "{confirmed} {revoked:?} {now}");
    }
}

#[test]
fn a_day_without_record_is_silent_unless_the_journal_goes_on_behind_it() {
    let day = |day: i8| date(2026, 11, day);
    let span = |first, last| Span { first: day(first), last: day(last) };
    let told = |dates: &[i8], journals: &[Span], now: Timestamp| {
        let record = Record {
            dates: dates.iter().map(|at| day(*at)).collect(),
            journals: journals.into(),
            ..record("a", vec![])
        };
        let Numbers { days, recorded, unplanned, silent, .. } = record.numbers(now, &zone());
        (days, recorded, unplanned, silent)
    };
    for (dates, journals, expected) in [
        (vec![], vec![], (30, 0, 0, 30)),
        (vec![3, 5], vec![span(3, 5)], (30, 2, 1, 27)),
        // A second journal was begun on the 20th: of the days between the two nothing is known.
        (vec![3, 10, 20], vec![span(3, 10), span(20, 30)], (30, 3, 16, 11)),
    ] {
        assert_eq!(told(&dates, &journals, after()), expected, "{dates:?}");
    }
    // At noon of the 4th, three days are over.
    let noon = start_of(day(4)) + jiff::SignedDuration::from_hours(12);
    assert_eq!(told(&[1, 4], &[span(1, 4)], noon), (3, 1, 2, 0));
    assert_eq!(told(&[1], &[span(1, 1)], noon), (3, 1, 0, 2));
}

#[test]
fn the_best_come_first_equals_share_a_place_and_some_have_none() {
    let of = |name: &str, tallies: &[Tally]| record(name, tallies.to_vec());
    let mut silent = of("silent", &[]);
    (silent.dates, silent.journals) = (BTreeSet::new(), Vec::new());
    let mut half = of("half", &[played(10)]);
    half.dates = days(date(2026, 11, 1), date(2026, 11, 15)).collect();
    half.journals = vec![Span { first: date(2026, 11, 1), last: date(2026, 11, 15) }];
    let mut gone = of("gone", &[played(5)]);
    gone.subject.revoked = Some(start_of(date(2026, 11, 30)));
    let report = assessed(&[
        of("nobody", &[missed(Reason::ClipMissing, 10)]),
        of("good", &[played(8), missed(Reason::ClipMissing, 2)]),
        silent,
        of("best", &[played(10)]),
        half,
        of("alike", &[played(4), missed(Reason::Crash, 1)]),
        of("dark", &[played(9), missed(Reason::StationDown, 1)]),
        of("off", &[played(4), missed(Reason::StationDown, 6)]),
        of("idle", &[tally(Outcome::Skipped, Some(Reason::QuietHours), 3)]),
        gone,
    ]);
    let places: Vec<_> = report
        .stations
        .iter()
        .map(|row| match (row.place, row.unplaced) {
            (Some(place), None) => format!("{place} {}", row.name),
            (None, Some(why)) => format!("{why:?} {}", row.name),
            both => panic!("{both:?}"),
        })
        .collect();
    let expected = "1 best, 1 dark, 3 alike, 3 good, 5 half, 6 nobody, Excused off, Unplanned idle, Silent silent, \
                    Revoked gone";
    assert_eq!(places.join(", "), expected);
}

#[test]
fn groups_and_the_whole_add_up_and_a_station_may_be_in_several() {
    let grouped = |name: &str, groups: &[&str], times| {
        let mut record = record(name, vec![played(times), missed(Reason::Crash, 1)]);
        record.subject.groups = groups.iter().map(|group| (*group).to_owned().try_into().unwrap()).collect();
        record
    };
    let report = assessed(&[grouped("a", &["北片", "山区"], 1), grouped("b", &["北片"], 2), grouped("c", &[], 4)]);
    let groups: Vec<_> = report
        .groups
        .iter()
        .map(|row| {
            let name = row.group.as_ref().map_or("-", GroupName::as_str);
            format!("{name} {} {}/{}", row.stations, row.numbers.played, row.numbers.planned)
        })
        .collect();
    assert_eq!(groups, ["北片 2 3/5", "山区 1 1/2", "- 1 4/5"]);
    assert_eq!((report.total.played, report.total.planned, report.total.days), (7, 10, 90));
    let reasons: Vec<_> = report.reasons.iter().map(|by| (by.reason, by.missed)).collect();
    assert_eq!(reasons, [(Reason::Crash, 3)]);
}

#[test]
fn an_office_without_stations_has_a_report_without_rows() {
    let report = assessed(&[]);
    assert_eq!((report.total, report.stations.len(), report.groups.len()), (Numbers::default(), 0, 0));
    assert!(!report.is_running);
    assert!(assess(november(), &[], start_of(date(2026, 11, 30)), &zone()).is_running);
}

#[test]
fn time_online_is_of_the_time_that_counts() {
    let mut record = record("a", Vec::new());
    record.subject.confirmed = start_of(date(2026, 11, 29));
    record.counted = counted(&record.subject, november(), after(), &zone()).unwrap();
    record.presence = Presence { was_up: false, changes: vec![(start_of(date(2026, 11, 30)), true)] };
    let numbers = record.numbers(after(), &zone());
    assert_eq!((numbers.known_ms, numbers.online_rate()), (2 * 86_400_000, Some(0.5)));
}

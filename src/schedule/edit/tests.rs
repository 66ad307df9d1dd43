use super::{
    cancel::{cancel, restore},
    fields::{self, Fields, WEEK},
    *,
};
use crate::schedule::{Source, file};
use jiff::civil::{Date, date};
use proptest::prelude::*;

const FILE: &str = "# 头上的话\ntitle = \"反诈\"   # 题目\n\n[announcement.a]\nplay = [\"a.wav\"]\n\n[announcement.\"晚间\"]\n\
                    play = ['b.wav'] \n\n# 每天。\n\n# 早上\n[[rule]]\nplay = \"a\"\nat   = [ \"07:00\" ]\n\n# 末尾的话\n";

fn day() -> Date {
    date(2026, 12, 13)
}

/// What does not sound on the day, as the file's reader understands it.
fn silent(text: &str) -> Vec<String> {
    let schedule = file::parse(Source::Station, "schedules/x.toml", text).schedule.unwrap();
    let of_day = schedule.overrides.iter().filter(|over| over.date == day());
    let names = schedule.announcements.keys();
    let over: Vec<_> = of_day.collect();
    names.filter(|name| over.iter().any(|over| over.cancels(name))).cloned().collect()
}

#[test]
fn a_day_is_cancelled_and_comes_back_and_the_rest_of_the_file_is_as_it_was() {
    let silenced = cancel(FILE, day(), Some("a"), "婚礼").unwrap();
    assert_eq!(silent(&silenced), ["a"]);
    assert!(silenced.contains("note = \"婚礼\""));
    assert!(silenced.starts_with(FILE.trim_end_matches("\n# 末尾的话\n")), "{silenced}");
    assert!(silenced.ends_with("# 末尾的话\n"));
    let both = cancel(&silenced, day(), Some("晚间"), "").unwrap();
    assert_eq!(silent(&both), ["a", "晚间"]);
    assert_eq!(restore(&both, day(), Some("晚间"), &["a", "晚间"]).unwrap(), silenced);
    for name in [Some("a"), None] {
        assert_eq!(restore(&silenced, day(), name, &["a", "晚间"]).unwrap(), FILE, "{name:?}");
    }
}

#[test]
fn one_comes_back_of_a_day_on_which_everything_was_cancelled() {
    let all = cancel(FILE, day(), None, "").unwrap();
    assert_eq!(silent(&all), ["a", "晚间"]);
    assert_eq!(cancel(&all, day(), Some("a"), "").unwrap(), all, "it is cancelled already");
    assert_eq!(silent(&restore(&all, day(), Some("a"), &["a", "晚间"]).unwrap()), ["晚间"]);
    let narrow = cancel(FILE, day(), Some("a"), "").unwrap();
    assert_eq!(silent(&cancel(&narrow, day(), None, "").unwrap()), ["a", "晚间"], "the narrow one grows");
}

#[test]
fn other_dates_and_other_forms_of_the_same_are_respected() {
    let other = format!("{FILE}[[override]]\ndate = 2026-12-14\ncancel = \"all\"\n");
    let silenced = cancel(&other, day(), None, "").unwrap();
    assert_eq!(silent(&silenced), ["a", "晚间"]);
    assert_eq!(restore(&silenced, day(), None, &[]).unwrap(), other);
    let inline = FILE.replace(
        "\n[announcement.a]",
        "override = [{ date = 2026-12-13, cancel = [\"a\"] }] # 一行\n\n[announcement.a]",
    );
    assert_eq!(silent(&inline), ["a"]);
    let both = cancel(&inline, day(), Some("晚间"), "").unwrap();
    assert_eq!(silent(&both), ["a", "晚间"]);
    assert!(both.contains("# 一行"));
    assert!(silent(&restore(&both, day(), None, &[]).unwrap()).is_empty());
}

#[test]
fn line_ends_marks_and_a_last_line_without_its_end_stay() {
    for text in [
        FILE.replace('\n', "\r\n"),
        format!("\u{feff}{}", FILE.replace('\n', "\r\n")),
        FILE.trim_end().to_owned(),
        FILE.replacen('\n', "\r\n", 3),
    ] {
        let silenced = cancel(&text, day(), None, "").unwrap();
        assert_eq!(silent(&silenced), ["a", "晚间"]);
        let above = text.find("\n# 末尾").unwrap();
        assert_eq!(silenced[..above], text[..above], "{silenced:?}");
        assert_eq!(restore(&silenced, day(), None, &[]).unwrap().trim_end(), text.trim_end());
    }
}

#[test]
fn a_text_without_structure_is_not_touched() {
    assert_eq!(cancel("title = \n[[[", day(), None, ""), Err(Torn));
}

/// Puts these fields into the text.
fn written(text: &str, wanted: &[(&str, &str)]) -> String {
    let wanted = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    fields::write(text, &wanted).unwrap()
}

#[test]
fn a_field_changes_its_own_value_and_nothing_else() {
    for (name, value, from, to) in [
        ("title", "新题目", "title = \"反诈\"   # 题目", "title = \"新题目\"   # 题目"),
        ("rule.0.at", "07:00 18:30", "at   = [ \"07:00\" ]", "at   = [ \"07:00\", \"18:30\" ]"),
        ("announcement.晚间.volume", "70", "play = ['b.wav'] \n", "play = ['b.wav'] \nvolume = 70\n"),
        ("announcement.a.enabled", "off", "play = [\"a.wav\"]\n", "play = [\"a.wav\"]\nenabled = false\n"),
        ("until", "2026-12-31", "# 题目\n", "# 题目\nuntil = 2026-12-31\n"),
        ("rule.0.on", "workdays", "\"07:00\" ]\n", "\"07:00\" ]\non = \"workdays\"\n"),
        ("rule.0.during", "after-hours", "\"07:00\" ]\n", "\"07:00\" ]\nduring = \"after-hours\"\n"),
        (
            "rule.0.except",
            "2026-12-13、2027-01-01",
            "\"07:00\" ]\n",
            "\"07:00\" ]\nexcept = [2026-12-13, 2027-01-01]\n",
        ),
        ("rule.0.nonsense", "x", "", ""),
        ("rule.7.at", "08:00", "", ""),
        ("rule.0.grace", "2m", "", ""),
    ] {
        assert_eq!(written(FILE, &[(name, value)]), FILE.replacen(from, to, 1), "{name}");
    }
    let days = written(FILE, &[("rule.0.on", "weekdays"), ("rule.0.on-mon", "on"), ("rule.0.on-fri", "on")]);
    assert!(days.contains("on = [\"mon\", \"fri\"]\n"), "{days}");
    let lunar = written(&days, &[("rule.0.on", "lunar-day-ends"), ("rule.0.on-list", "3 8")]);
    assert!(lunar.contains("on = { lunar-day-ends = [3, 8] }\n"), "{lunar}");
}

#[test]
fn what_cannot_be_read_is_written_all_the_same_for_the_findings_to_name() {
    for (name, value, code) in [
        ("rule.0.at", "25:00", "bad-time"),
        ("announcement.a.volume", "loud", "wrong-type"),
        ("until", "someday", "wrong-type"),
        ("rule.0.every", "5m", "one-of-at-every-cron"),
        ("announcement.a.play", "../../etc/passwd", "bad-path"),
    ] {
        let findings = file::parse(Source::Station, "schedules/x.toml", &written(FILE, &[(name, value)])).findings;
        assert!(findings.iter().any(|finding| finding.code == code), "{name}: {findings:?}");
    }
}

#[test]
fn parts_are_added_and_taken_away_with_what_belongs_to_them() {
    let added = fields::add_rule(&fields::add_announcement(FILE, "午间", "午间提示").unwrap(), "午间").unwrap();
    let known = fields::read(&added).unwrap();
    assert_eq!((&*known["announcement.午间.title"], &*known["rule.1.play"]), ("午间提示", "午间"));
    assert!(!fields::read(&fields::remove_announcement(&added, "午间").unwrap()).unwrap().contains_key("rule.1.play"));
    let gone = fields::remove_rule(FILE, 0).unwrap();
    assert!(!gone.contains("[[rule]]") && !gone.contains("# 早上"), "its own comment goes with it: {gone}");
    assert!(gone.contains("# 每天。\n") && gone.ends_with("# 末尾的话\n"), "what stands apart stays: {gone}");
    let silenced = cancel(FILE, day(), Some("a"), "").unwrap();
    assert!(!fields::remove_announcement(&silenced, "a").unwrap().contains("override"));
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9\"'\\\\#= ]{0,12}", "[一-十“”，。\n]{0,6}", Just(String::new())]
}

proptest! {
    #[test]
    fn a_form_says_afterwards_what_was_asked(
        title in any_text(), screen in any_text(), hours in prop::collection::btree_set(0..24u8, 0..5),
        volume in 0..=100u8, enabled: bool, hard: bool, week: [bool; 7], crlf: bool,
    ) {
        let flag = |on: bool| if on { "on" } else { "off" }.to_owned();
        let at: Vec<_> = hours.iter().map(|hour| format!("{hour:02}:30")).collect();
        let mut wanted = Fields::from([
            ("title".to_owned(), title),
            ("announcement.a.screen".to_owned(), screen),
            ("announcement.a.volume".to_owned(), volume.to_string()),
            ("announcement.晚间.enabled".to_owned(), flag(enabled)),
            ("rule.0.at".to_owned(), at.join(" ")),
            ("rule.0.hard".to_owned(), flag(hard)),
            ("rule.0.on".to_owned(), "weekdays".to_owned()),
        ]);
        wanted.extend(WEEK.iter().zip(week).map(|(day, on)| (format!("rule.0.on-{day}"), flag(on))));
        let text = if crlf { FILE.replace('\n', "\r\n") } else { FILE.to_owned() };
        let changed = fields::write(&text, &wanted).unwrap();
        let known = fields::read(&changed).unwrap();
        for (name, value) in &wanted {
            prop_assert_eq!(known[name].trim(), value.trim(), "{} in {}", name, changed);
        }
        prop_assert_eq!(&fields::write(&changed, &wanted).unwrap(), &changed, "once more changes nothing");
    }
}

use super::{cancel::*, *};
use crate::schedule::{Source, file};
use jiff::civil::{Date, date};

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

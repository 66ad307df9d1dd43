use super::*;
use crate::schedule::PlayPath;
use jiff::civil::date;
use proptest::{prelude::*, sample::select};

/// A file that uses every key; the other tests break it.
const FULL: &str = r#"title = "全民反诈在行动"
enabled = true
from  = 2026-11-01
until = 2026-12-31

[announcement.morning]
title  = "早间反诈提示"
enabled = true
band   = "normal"
chime  = "chime/gong.wav"
play   = ["fraud/", "test/device-test.wav"]
pick   = "shuffle"
volume = 80
screen = "不轻信 不透露 不转账"

[announcement."晚间-2"]
play = ["fraud/"]

[[rule]]
play  = "morning"
at    = ["06:30", "11:40:30", 12:00:00]
on    = "workdays"
during = ["06:00-21:00"]
except = [2026-12-13]
grace = "1h30m"
hard  = true

[[rule]]
play  = "晚间-2"
enabled = false
every = "30m"
between = "18:00-21:30"
on = { lunar = ["12-23", "闰06-15"] }
during = "after-hours"

[[rule]]
play  = "morning"
cron  = "30 6 * * 1-5"
on = ["mon", "sun"]

[[override]]
date  = 2026-12-13
cancel = "all"
note  = "国家公祭日"

[[override]]
date  = 2026-12-14
cancel = ["晚间-2"]
"#;

/// One announcement, on lines 1 and 2.
const ONE: &str = "[announcement.a]\nplay = [\"fraud/\"]\n";

#[test]
fn every_key_is_read() {
    let parsed = parse(Source::Station, "schedules/daily.toml", FULL);
    assert_eq!(parsed.findings, []);
    let schedule = parsed.schedule.expect("a good file");
    assert_eq!((schedule.name.as_str(), schedule.title.as_str()), ("daily", "全民反诈在行动"));
    assert_eq!((schedule.from, schedule.until), (Some(date(2026, 11, 1)), Some(date(2026, 12, 31))));
    let morning = &schedule.announcements["morning"];
    assert_eq!((morning.pick, morning.volume.percent(), morning.play.len()), (Pick::Shuffle, 80, 2));
    assert_eq!(schedule.announcements["晚间-2"].title, "晚间-2");
    let [first, second, third] = &schedule.rules[..] else { panic!("{:?}", schedule.rules) };
    assert!(matches!(&first.when, When::At(times) if times.len() == 3) && first.hard && first.enabled);
    assert_eq!((first.grace, second.grace), (SignedDuration::from_mins(90), GRACE));
    assert!(matches!(second.when, When::Every { between: Some(_), .. }) && !second.enabled);
    assert_eq!(second.during, Some(During::AfterHours));
    assert!(matches!(third.when, When::Cron(_)));
    assert_eq!(third.on, DaySet::Weekdays(Weekdays([true, false, false, false, false, false, true])));
    assert!(schedule.overrides[0].cancels("morning") && !schedule.overrides[1].cancels("morning"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let plain = parse(Source::Town, "daily.toml", FULL);
    let windows = parse(Source::Town, "daily.toml", &format!("\u{feff}{}", FULL.replace('\n', "\r\n")));
    assert_eq!(windows.findings, []);
    assert_eq!(plain.schedule, windows.schedule);
}

#[test]
fn each_mistake_in_a_rule_has_its_place_and_its_code() {
    // The rule's header is line 3, `play = "a"` line 4, the line under test line 5.
    for (line, expected) in [
        ("at = [\"06:30\"]", ""),
        ("at = [\"6:30\"]", "5:7 bad-time"),
        ("at = [\"24:00\", \"06:60\"]", "5:7 bad-time, 5:16 bad-time"),
        ("at = [06:61:00]", "5:7 bad-date"),
        ("at = [06:30:00.5]", "5:7 bad-time"),
        ("at = [\"早上\", 5]", "5:7 bad-time, 5:13 wrong-type"),
        ("at = \"06:30\"", "5:6 wrong-type"),
        ("at = []", "5:6 empty-list"),
        ("at = [\"06:30\", \"06:30:00\"]", "5:16 duplicate-time"),
        ("every = \"0s\"", "5:9 bad-duration"),
        ("every = \"-5m\"", "5:9 bad-duration"),
        ("every = \"500ms\"", "5:9 bad-duration"),
        ("every = \"25h\"", "5:9 bad-duration"),
        ("every = \"often\"", "5:9 bad-duration"),
        ("every = 30", "5:9 wrong-type"),
        ("every = \"30m\"\nbetween = \"18:00\"", "6:11 bad-window"),
        ("at = [\"06:30\"]\nbetween = \"18:00-19:00\"", "6:11 between-without-every"),
        ("cron = \"@daily\"", "5:8 bad-cron"),
        ("cron = \"0 30 6 * * 1\"", "5:8 bad-cron"),
        ("hard = true", "3:1 one-of-at-every-cron"),
        ("at = [\"06:30\"]\ncron = \"0 6 * * *\"", "6:8 one-of-at-every-cron"),
        ("at = [\"06:30\"]\non = \"weekdays\"", "6:6 bad-days"),
        ("at = [\"06:30\"]\non = [\"mon\", \"周二\"]", "6:14 bad-days"),
        ("at = [\"06:30\"]\non = { lunar = [\"13-01\"] }", "6:17 bad-lunar-date"),
        ("at = [\"06:30\"]\non = { lunar-day-ends = [3, 10] }", "6:29 bad-days"),
        ("at = [\"06:30\"]\non = { terms = [\"大暑天\"] }", "6:17 bad-term"),
        ("at = [\"06:30\"]\non = { dates = [2026-12-13T06:00:00] }", "6:17 bad-date"),
        ("at = [\"06:30\"]\non = { terms = [\"冬至\"], lunar = [\"12-23\"] }", "6:6 bad-days"),
        ("at = [\"06:30\"]\non = { term = [\"冬至\"] }", "6:6 bad-days, 6:8 unknown-key"),
        ("at = [\"06:30\"]\nexcept = [\"2026-12-13\"]", "6:11 wrong-type"),
        ("at = [\"06:30\"]\nexcept = [2026-02-30]", "6:11 bad-date"),
        ("except = [2026-02-30]\nat = [\"6:30\"]\ngrace = 2", "5:11 bad-date, 6:7 bad-time, 7:9 wrong-type"),
        ("at = [\"06:30\"]\nduring = \"06:00-21:00\"", "6:10 bad-during"),
        ("at = [\"06:30\"]\nduring = [\"06:00-06:00\"]", "6:11 bad-window"),
        ("at = [\"06:30\"]\ngrace = \"2\"", "6:9 bad-duration"),
        ("at = [\"06:30\"]\nhard = \"yes\"", "6:8 wrong-type"),
        ("at = [\"06:30\"]\nexcpet = [2026-12-13]", "6:1 unknown-key"),
        ("at = [\"06:30\"]\nat = [\"07:30\"]", "6:1 duplicate-key"),
        ("at = [\"06:30\"", "5:14 syntax"),
        ("at = [\"06:30]", "5:14 syntax"),
        ("at [\"06:30\"]", "5:4 syntax"),
        ("at = [“06:30”]", "5:7 syntax"),
    ] {
        let text = format!("{ONE}[[rule]]\nplay = \"a\"\n{line}\n[[rule]]\nplay = \"a\"\nat = [\"18:00\"]\n");
        let parsed = parse(Source::Station, "daily.toml", &text);
        assert_eq!(places(&parsed), expected, "{line}: {:#?}", parsed.findings);
        // A warning costs nothing; an error costs its own rule.
        let lost = parsed.findings.iter().any(|finding| finding.severity == Severity::Error);
        let rules = parsed.schedule.expect(line).rules;
        assert_eq!(rules.len(), if lost { 1 } else { 2 }, "{line}");
    }
}

#[test]
fn each_mistake_in_an_announcement_has_its_place_and_takes_its_own_rules_along() {
    for (lines, expected) in [
        ("play = []", "2:8 empty-play"),
        ("title = \"早\"", "1:1 missing-key"),
        ("play = \"fraud/\"", "2:8 wrong-type"),
        ("play = [\"../secret.mp3\"]", "2:9 bad-path"),
        ("play = [\"/etc/passwd\", \"a\\\\b.mp3\", \"\"]", "2:9 bad-path, 2:24 bad-path, 2:36 bad-path"),
        ("play = [\"C:/a.mp3\"]", "2:9 bad-path"),
        ("play = [\"a.mp3\"]\nchime = \"..\"", "3:9 bad-path"),
        ("play = [\"a.mp3\"]\nband = \"emergency\"", "3:8 emergency-band"),
        ("play = [\"a.mp3\"]\nband = \"loud\"", "3:8 bad-band"),
        ("play = [\"a.mp3\"]\npick = \"random\"", "3:8 bad-pick"),
        ("play = [\"a.mp3\"]\nvolume = 101", "3:10 bad-volume"),
        ("play = [\"a.mp3\"]\nvolume = -1", "3:10 bad-volume"),
        ("play = [\"a.mp3\"]\nvolume = \"80\"", "3:10 wrong-type"),
        ("play = [\"a.mp3\"]\ntitle = 7", "3:9 wrong-type"),
        ("play = [\"a.mp3\"]\nscreen = \" \"", "3:10 bad-text"),
        ("play = [\"a.mp3\"]\nenabled = 1", "3:11 wrong-type"),
        ("play = [\"a.mp3\"]\nvolume = 80\nvolume = 70", "4:1 duplicate-key"),
    ] {
        let text = format!(
            "[announcement.a]\n{lines}\n[announcement.b]\nplay = [\"b.mp3\"]\n\
             [[rule]]\nplay = \"a\"\nat = [\"06:30\"]\n[[rule]]\nplay = \"b\"\nat = [\"07:30\"]\n"
        );
        let parsed = parse(Source::Station, "daily.toml", &text);
        assert_eq!(places(&parsed), expected, "{lines}: {:#?}", parsed.findings);
        let schedule = parsed.schedule.expect(lines);
        assert_eq!(schedule.announcements.keys().collect::<Vec<_>>(), ["b"], "{lines}");
        assert_eq!(schedule.rules.iter().map(|rule| rule.play.as_str()).collect::<Vec<_>>(), ["b"], "{lines}");
    }
}

#[test]
fn mistakes_elsewhere_have_their_place_and_leave_the_rules_alone() {
    for (text, expected) in [
        ("titel = \"x\"", "1:1 unknown-key"),
        ("title = 3\nenabled = \"no\"", "1:9 wrong-type, 2:11 wrong-type"),
        ("from = 2026-02-30", "1:8 bad-date"),
        ("from = 2026-12-31\nuntil = 2026-12-01", "2:9 from-after-until"),
        ("[announcement.\"a b\"]\nplay = [\"a.mp3\"]", "1:15 bad-name"),
        ("[announcement.晨间]\nplay = [\"a.mp3\"]", "1:15 unquoted-name"),
        ("[announcement.ok]\nplay = [\"a.mp3\"]\n[announcement.ok]\nplay = [\"a.mp3\"]", "3:15 duplicate-announcement"),
        ("[[rules]]\nplay = \"ok\"", "1:3 unknown-key"),
        ("播放 = 3", "1:1 unknown-key"),
        ("[[override]]\ncancel = \"all\"", "1:1 missing-key"),
        ("[[override]]\ndate = 2026-13-01\ncancel = \"all\"", "2:8 bad-date"),
        ("[[override]]\ndate = 2026-12-13\ncancel = \"everything\"", "3:10 bad-cancel"),
        ("[[override]]\ndate = 2026-12-13\ncancel = [\"z\", \"nobody\"]", "3:16 unknown-announcement"),
        ("[[rule]]\nplay = \"zz\"\nat = [\"06:30\"]", "2:8 unknown-announcement"),
        ("[[rule]]\nat = [\"06:30\"]", "1:1 missing-key"),
        ("[[rule]]\nplay \"z\"\nat = [\"06:30\"]", "2:6 syntax"),
        ("[[rule]\nplay = \"z\"\nat = [\"06:30\"]\nenabled = false", "1:8 syntax"),
    ] {
        let rest = "[announcement.z]\nplay = [\"z.mp3\"]\n[[rule]]\nplay = \"z\"\nat = [\"07:30\"]\n";
        let parsed = parse(Source::Station, "daily.toml", &format!("{text}\n{rest}"));
        assert_eq!(places(&parsed), expected, "{text}: {:#?}", parsed.findings);
        let schedule = parsed.schedule.expect(text);
        assert_eq!((schedule.rules.len(), schedule.enabled), (1, true), "{text}");
    }
}

#[test]
fn a_file_without_any_structure_leaves_the_version_in_force() {
    for text in ["this is not toml", "\0\0\0\0", "[[rule", "<html></html>", "[announcement.a]\nplay = [\n"] {
        let parsed = parse(Source::Station, "daily.toml", text);
        assert!(parsed.schedule.is_none() && !parsed.findings.is_empty(), "{text}");
    }
    let empty = parse(Source::Station, "daily.toml", "");
    assert!(empty.schedule.is_some() && empty.findings.is_empty());
}

#[test]
fn a_file_beyond_the_limits_is_refused_whole() {
    let rule = "[[rule]]\nplay = \"a\"\nat = [\"06:30\"]\n";
    for (text, expected) in [
        (format!("{ONE}{}", rule.repeat(2_000)), ""),
        (format!("{ONE}{}", rule.repeat(2_001)), "6003:1 too-many-rules"),
        (format!("{ONE}{}", "#".repeat(LARGEST)), "too-large"),
    ] {
        let parsed = parse(Source::Station, "daily.toml", &text);
        assert_eq!(places(&parsed), expected);
        assert_eq!(parsed.schedule.is_some(), expected.is_empty());
    }
}

#[test]
fn what_was_meant_is_guessed() {
    for (text, guess) in [
        ("[[rule]]\nplay = \"mornin\"\nat = [\"06:30\"]\n", "“morning”"),
        ("[[rule]]\nplay = \"morning\"\nat = [\"06:30\"]\nexcpet = []\n", "“except”"),
        ("[[rules]]\nplay = \"morning\"\n", "“rule”"),
    ] {
        let parsed = parse(Source::Station, "x.toml", &format!("[announcement.morning]\nplay = [\"a.mp3\"]\n{text}"));
        assert!(parsed.findings[0].message.contains(guess), "{:?}", parsed.findings);
    }
}

#[test]
fn deep_nesting_and_endless_mistakes_are_survived() {
    for text in
        ["[".repeat(200_000), "a=[".repeat(100_000), "x\n".repeat(100_000), "a.".repeat(100_000), "{".repeat(9999)]
    {
        assert!(!parse(Source::Station, "x.toml", &text).findings.is_empty());
    }
}

#[test]
fn every_schedule_we_ship_is_read_without_a_finding_and_its_single_clips_are_there() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, rules) in [("schedules/village.toml", 5), ("examples/enterprise/schedules/enterprise.toml", 2)] {
        let text = std::fs::read_to_string(home.join(file)).expect(file);
        let parsed = parse(Source::Station, file, &text);
        assert_eq!(parsed.findings, [], "{file}");
        let schedule = parsed.schedule.expect(file);
        assert_eq!(schedule.rules.len(), rules, "{file}");
        for announcement in schedule.announcements.values() {
            assert!(schedule.rules.iter().any(|rule| schedule.announcements.get(&rule.play) == Some(announcement)));
            for path in &announcement.play {
                let (PlayPath::Clip(path) | PlayPath::Folder(path)) = path;
                assert!(home.join("audio").join(path.as_str()).exists(), "{file}: {path}");
            }
            let chime = announcement.chime.iter().map(|chime| home.join("audio").join(chime.as_str()));
            assert!(chime.into_iter().all(|chime| chime.exists()), "{file}");
        }
    }
}

#[test]
fn the_titles_we_ship_are_those_of_clips_that_are_there() {
    let audio = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("audio");
    let text = std::fs::read_to_string(audio.join("clips.toml")).expect("clips.toml");
    let titles: toml::Table = text.parse().expect("TOML");
    let mut files = BTreeSet::new();
    for folder in ["chime", "enterprise", "fraud", "test"] {
        for file in std::fs::read_dir(audio.join(folder)).expect(folder) {
            files.insert(format!("{folder}/{}", file.expect("an entry").file_name().to_string_lossy()));
        }
    }
    assert_eq!(titles.keys().cloned().collect::<BTreeSet<_>>(), files);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parse(Source::Station, "x.toml", &String::from_utf8_lossy(&bytes));
    }

    /// Cuts, doubles and replaces pieces of a good file.
    #[test]
    fn no_mutilated_file_makes_the_reader_panic(
        edits in prop::collection::vec((0..FULL.len(), 0..40usize, any_piece()), 1..6)
    ) {
        let mut text = FULL.to_owned();
        for (at, length, piece) in edits {
            let start = text.floor_char_boundary(at);
            let end = text.floor_char_boundary(start + length).max(start);
            text.replace_range(start..end, &piece);
        }
        let parsed = parse(Source::Station, "x.toml", &text);
        let places = parsed.findings.iter().map(|finding| (finding.line, finding.column));
        prop_assert!(places.is_sorted());
    }
}

fn any_piece() -> impl Strategy<Value = String> {
    let pieces =
        ["", "\"", "[[rule]]\n", "]", "2026-02-30", "= ", "\"\"\"", "，", "\r", "{", "[announcement.x]\n", "99", "'"];
    prop_oneof![3 => select(pieces.to_vec()).prop_map(str::to_owned), 1 => ".{0,12}"]
}

/// `5:7 bad-time, 6:1 unknown-key`
fn places(parsed: &Parsed) -> String {
    let place = |finding: &Finding| match (finding.line, finding.column) {
        (Some(line), Some(column)) => format!("{line}:{column} {}", finding.code),
        _ => finding.code.to_owned(),
    };
    parsed.findings.iter().map(place).collect::<Vec<_>>().join(", ")
}

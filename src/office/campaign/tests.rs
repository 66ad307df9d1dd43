use super::*;
use crate::{link::StationId, schedule::Band};
use jiff::civil::{date, time};
use serde_json::json;

/// A town of twelve villages.
fn town() -> Division {
    Division::try_from("330127104".to_owned()).unwrap()
}

pub(in crate::office) fn sound(path: &str) -> Sound {
    let path = ClipPath::try_from(path.to_owned()).unwrap();
    Sound { title: path.to_string(), sha256: BlobId::of(path.as_str().as_bytes()), bytes: 1000, path }
}

/// A campaign for one village that plays `a.mp3` after a gong.
pub(in crate::office) fn campaign(id: &str, schedule: &str) -> Campaign {
    Campaign {
        id: CampaignId::try_from(id.to_owned()).unwrap(),
        title: "全民反诈".into(),
        content: Content::Campaign { schedule: schedule.into() },
        audio: vec![sound("a.mp3"), sound("chime/gong.wav")],
        targets: serde_json::from_value(json!({ "stations": ["beizhuang"] })).unwrap(),
        from: None,
        until: None,
    }
}

pub(in crate::office) const SCHEDULE: &str = "# 早晚各一次\ntitle = \"反诈\"\n\n[announcement.a]\n\
    chime = \"chime/gong.wav\" # 先敲锣\nplay = [\"a.mp3\"]\n\n[[rule]]\nplay = \"a\"\nat = [\"06:30\", \"18:00\"]\n";

fn bulletin() -> Bulletin {
    Bulletin {
        trick: "冒充客服退款".into(),
        loss: "邻村一户被骗三万元".into(),
        lesson: String::new(),
        reminder: "挂断再打 96110".into(),
        band: Band::Urgent,
        volume: crate::schedule::Volume::FULL,
        chime: Some(ClipPath::try_from("chime/gong.wav".to_owned()).unwrap()),
        times: [time(18, 0, 0, 0), time(7, 30, 0, 0)].into(),
        days: Days::Weekdays([Weekday::Fri, Weekday::Mon].into()),
    }
}

/// The codes of what is wrong with it.
fn wrong(campaign: &Campaign) -> Vec<&'static str> {
    let checked = campaign.check(&town());
    let errors = checked.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let codes: Vec<_> = errors.map(|finding| finding.code).collect();
    assert_eq!(checked.may_be_kept(), codes.is_empty());
    codes
}

#[test]
fn what_is_wrong_with_a_campaign_is_said_before_it_is_kept() {
    type Change = fn(&mut Campaign);
    let schedule = |text: &str| Content::Campaign { schedule: text.to_owned() };
    let rows: [(Change, &[&str]); 12] = [
        (|_| {}, &[]),
        (|it| it.title = " ".into(), &["bad-text"]),
        (|it| it.targets = Targets::default(), &["no-targets"]),
        (|it| it.targets.divisions = ["330127105".to_owned().try_into().unwrap()].into(), &["outside"]),
        (|it| (it.from, it.until) = (Some(date(2026, 7, 2)), Some(date(2026, 7, 1))), &["from-after-until"]),
        (|it| (it.from, it.until) = (Some(date(2026, 7, 2)), Some(date(2026, 7, 2))), &[]),
        (|it| it.audio.truncate(1), &["clip-not-listed"]),
        (|it| it.audio.push(sound("a.mp3")), &["sound-twice"]),
        (|it| it.audio[0].bytes = 0, &["sound-too-large"]),
        (|it| it.audio.push(sound(&"x".repeat(1020))), &["bad-path"]),
        (|it| it.content = Content::Bulletin(bulletin()), &["no-end"]),
        (
            |it| {
                it.until = Some(date(2026, 7, 1));
                it.content = Content::Bulletin(Bulletin { band: Band::Emergency, ..bulletin() });
            },
            &["emergency-band"],
        ),
    ];
    for (number, (change, expected)) in rows.into_iter().enumerate() {
        let mut it = campaign("fanzha", SCHEDULE);
        change(&mut it);
        assert_eq!(wrong(&it), expected, "row {number}");
    }
    for (text, expected) in [
        ("[announcement.a]\nplay = []\n", vec!["empty-play"]),
        ("[announcement.早]\nplay = [\"a.mp3\"]\n[[rule]]\nplay = \"早\"\nat = [\"06:30\"]\n", vec!["syntax"]),
        ("[announcement.a]\nplay = [\"chime/\", \"b/\"]\n", vec!["clip-not-listed"]),
    ] {
        assert_eq!(wrong(&Campaign { content: schedule(text), ..campaign("fanzha", SCHEDULE) }), expected, "{text}");
    }
}

#[test]
fn at_a_station_a_campaign_lies_in_a_folder_of_its_own() {
    for (own, from, until, expected) in [
        ("", None, None, ""),
        ("", Some(date(2026, 6, 1)), Some(date(2026, 7, 1)), "from = 2026-06-01\nuntil = 2026-07-01\n"),
        ("until = 2026-06-20\n", None, Some(date(2026, 7, 1)), "until = 2026-06-20\n"),
        ("until = 2026-07-20 # 夏收前\n", None, Some(date(2026, 7, 1)), "until = 2026-07-01\n"),
        ("from = 2026-06-20\n", Some(date(2026, 6, 1)), None, "from = 2026-06-20\n"),
    ] {
        let mut it = campaign("反诈-6月", &SCHEDULE.replace("title = \"反诈\"\n", &format!("title = \"反诈\"\n{own}")));
        (it.from, it.until) = (from, until);
        assert_eq!(wrong(&it), Vec::<&str>::new());
        let delivered = it.delivered().unwrap();
        let expected = SCHEDULE
            .replace("title = \"反诈\"\n", &format!("title = \"反诈\"\n{expected}"))
            .replace("\"chime/", "\"反诈-6月/chime/")
            .replace("\"a.mp3", "\"反诈-6月/a.mp3");
        assert_eq!(delivered.schedule, expected);
        let paths: Vec<_> = delivered.audio.iter().map(|sound| sound.path.as_str()).collect();
        assert_eq!(paths, ["反诈-6月/a.mp3", "反诈-6月/chime/gong.wav"]);
    }
}

#[test]
fn a_text_from_a_windows_editor_and_inline_tables_are_delivered_too() {
    for text in [
        format!("\u{feff}{}", SCHEDULE.replace('\n', "\r\n")),
        "announcement = { a = { play = [\"a.mp3\", 'chime/'] } }\nrule = [{ play = \"a\", every = \"1h\" }]\n".into(),
        "announcement.a.play = [\"a.mp3\"]\n[[rule]]\nplay = \"a\"\nat = [\"06:30\"]\n".into(),
    ] {
        let it = campaign("x", &text);
        assert_eq!(wrong(&it), Vec::<&str>::new(), "{text}");
        let parsed = file::parse(Source::Town, "x.toml", &it.delivered().unwrap().schedule);
        let schedule = parsed.schedule.unwrap();
        let PlayPath::Clip(path) = &schedule.announcements["a"].play[0] else { panic!("{text}") };
        assert_eq!(path.as_str(), "x/a.mp3");
    }
}

#[test]
fn a_bulletin_is_an_announcement_with_a_cadence_and_an_end() {
    let it = Campaign {
        content: Content::Bulletin(bulletin()),
        until: Some(date(2026, 7, 1)),
        ..campaign("bulletin-7", "")
    };
    assert_eq!(wrong(&it), Vec::<&str>::new());
    let delivered = it.delivered().unwrap().schedule;
    assert_eq!(
        delivered,
        "title = \"全民反诈\"\nuntil = 2026-07-01\n\n[announcement.bulletin]\ntitle = \"全民反诈\"\nband = \"urgent\"\n\
         chime = \"bulletin-7/chime/gong.wav\"\nplay = [\"bulletin-7/a.mp3\"]\npick = \"all\"\nvolume = 100\n\
         screen = \"\"\"\n骗术：冒充客服退款\n损失：邻村一户被骗三万元\n提醒：挂断再打 96110\"\"\"\n\n\
         [[rule]]\nplay = \"bulletin\"\nat = [\"07:30\", \"18:00\"]\non = [\"mon\", \"fri\"]\n"
    );
    let json = serde_json::to_value(&it).unwrap();
    assert_eq!((&json["kind"], &json["times"]), (&json!("bulletin"), &json!(["07:30:00", "18:00:00"])));
    assert_eq!(serde_json::from_value::<Campaign>(json).unwrap(), it);
}

#[test]
fn a_campaign_goes_to_one_village_first_and_back_in_one_step() {
    let station = |name: &str| StationId::try_from(name.to_owned()).unwrap();
    let (north, south) = (station("beizhuang"), station("nanzhuang"));
    let (try_north, try_south) = (Step::Try(north.clone()), Step::Try(south.clone()));
    use Step::{Publish, Restore, Withdraw, Write};
    // After each step: the state, and the versions that the north and the south have.
    let rows: [(&[&Step], Result<_, Cannot>); 19] = [
        (&[], Ok(("draft", None, None))),
        (&[&Write], Ok(("draft", None, None))),
        (&[&try_north], Ok(("trial", Some(1), None))),
        (&[&try_north, &try_north], Err(Cannot::OnTrialThere)),
        (&[&try_north, &try_south], Ok(("trial", None, Some(1)))),
        (&[&try_north, &Write], Ok(("draft", None, None))),
        (&[&try_north, &Publish], Ok(("published", Some(1), Some(1)))),
        (&[&Publish, &Publish], Err(Cannot::NothingNew)),
        (&[&Publish, &try_north], Err(Cannot::NothingNew)),
        (&[&Publish, &Write], Ok(("published", Some(1), Some(1)))),
        (&[&Publish, &Write, &try_north], Ok(("trial", Some(2), Some(1)))),
        (&[&Publish, &Write, &try_north, &Restore(1)], Ok(("published", Some(3), Some(3)))),
        (&[&Publish, &Write, &Publish, &Restore(1)], Ok(("published", Some(3), Some(3)))),
        (&[&Publish, &Restore(1)], Err(Cannot::NothingNew)),
        (&[&Publish, &Restore(2)], Err(Cannot::NoVersion)),
        (&[&Publish, &Withdraw], Ok(("withdrawn", None, None))),
        (&[&Withdraw, &Withdraw], Err(Cannot::Withdrawn)),
        (&[&Publish, &Withdraw, &Publish], Ok(("published", Some(1), Some(1)))),
        (&[&Publish, &Withdraw, &Write], Ok(("draft", None, None))),
    ];
    for (steps, expected) in rows {
        let last = steps.iter().try_fold(Standing::NEW, |standing, step| standing.after(step));
        let seen = last.map(|last| (last.state.key(), last.version_at(&north), last.version_at(&south)));
        assert_eq!(seen, expected, "{steps:?}");
    }
}

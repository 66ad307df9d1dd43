use super::*;
use crate::office::campaign::tests::{SCHEDULE, campaign};

/// Wednesday 17 June 2026, noon; the town plays the campaign at 06:30 and 18:00.
fn ground() -> Ground {
    Ground {
        source: Source::Town,
        lengths: campaign("x", "").audio.iter().map(|sound| (sound.sha256, 30_000)).collect(),
        zone: TimeZone::get("Asia/Shanghai").unwrap(),
        now: "2026-06-17T04:00:00Z".parse().unwrap(),
    }
}

fn composition(schedules: &[&str]) -> Arc<Composition> {
    let mut composition = Composition::default();
    for (number, text) in schedules.iter().enumerate() {
        let delivered = campaign(&format!("c{number}"), text).delivered().unwrap();
        composition.schedules.insert(format!("c{number}"), delivered.schedule);
        composition.audio.extend(delivered.audio);
    }
    Arc::new(composition)
}

fn seen(name: &str, own: Option<&str>) -> Seen {
    let texts = own.map(|text| Texts {
        schedules: [("schedules/own.toml".to_owned(), text.to_owned())].into(),
        ..Texts::default()
    });
    Seen { id: StationId::try_from(name.to_owned()).unwrap(), name: name.to_owned(), texts }
}

#[test]
fn the_clerk_reads_in_how_many_villages_how_much_plays_more_or_less() {
    let (none, twice) = (composition(&[]), composition(&[SCHEDULE]));
    let later = composition(&[&SCHEDULE.replace("06:30", "07:30")]);
    let louder = composition(&[&SCHEDULE.replace("play = [\"a.mp3\"]", "play = [\"a.mp3\"]\nvolume = 50")]);
    // From noon on Wednesday: seven evenings, six mornings.
    for (before, after, zh, en, minutes) in [
        (&none, &none, "今后七天各村播的都一样", "the next seven days play the same everywhere", 0.0),
        (&none, &twice, "2 村将多播 13 次", "2 villages play 13 times more", 13.0),
        (&twice, &none, "2 村将少播 13 次", "2 villages play 13 times less", -13.0),
        (&twice, &later, "2 村将改时间 6 次", "2 villages play 6 times at another time", 0.0),
        (&twice, &louder, "2 村将换内容或音量 13 次", "2 villages play 13 times with another sound or volume", 0.0),
    ] {
        let coming = ["a", "b"].map(|name| Coming {
            seen: seen(name, None),
            before: Arc::clone(before),
            after: Arc::clone(after),
        });
        let preview = preview(&ground(), &coming);
        assert_eq!((preview.said[0].zh.as_str(), preview.said[0].en.as_str()), (zh, en));
        let seen: Vec<_> = preview.stations.iter().map(|one| (one.minutes, one.basis)).collect();
        assert_eq!(seen, [(minutes, Basis::DeliveredAlone); 2]);
    }
}

#[test]
fn what_a_village_plays_itself_counts_where_it_was_reported() {
    // The village plays at the same time every evening; an urgent bulletin of the town goes first.
    let own = "[announcement.own]\ntitle = \"晚间新闻\"\nplay = [\"news/\"]\n[[rule]]\nplay = \"own\"\nat = [\"18:00\"]\n\
               on = [\"wed\"]\n";
    let urgent =
        SCHEDULE.replace("play = [\"a.mp3\"]", "play = [\"a.mp3\"]\nband = \"urgent\"").replace("\"06:30\", ", "");
    let (none, urgent) = (composition(&[]), composition(&[&urgent]));
    let coming = [("a", Some(own)), ("b", None)].map(|(name, own)| Coming {
        seen: seen(name, own),
        before: Arc::clone(&none),
        after: Arc::clone(&urgent),
    });
    let preview = preview(&ground(), &coming);
    let [knowing, guessing] = preview.stations.as_slice() else { panic!("two stations") };
    assert_eq!((knowing.basis, guessing.basis), (Basis::Everything, Basis::DeliveredAlone));
    assert_eq!((knowing.counts.more, guessing.counts.more), (7, 7));
    assert_eq!(knowing.said(Language::Chinese)[0], "6月17日 周三 多播 1 次：a 18:00");
    assert_eq!(preview.said.last().unwrap().zh, "其中 1 村没有报过自己的播放计划，只按下发的内容计算");
}

#[test]
fn a_station_reports_its_texts_as_they_are_kept() {
    let texts = Texts { station: Some("[station]\n".into()), ..Texts::default() };
    let facts = serde_json::json!({ "texts": texts, "playing": null });
    assert_eq!(reported(&facts), Some(texts));
    for facts in [serde_json::json!(null), serde_json::json!({ "texts": 1 })] {
        assert_eq!(reported(&facts), None);
    }
}

use super::*;
use crate::{
    link::{Document, Judge, Marks, Moment, Refused, Role, State, accept::Accepted, protocol::Status},
    office::{
        campaign::tests::sound,
        desk::tests::{Town, VILLAGES, station, targets, towns},
    },
};
use serde_json::json;
use std::collections::BTreeMap;

fn words() -> Words {
    let sha256 = sound("a.mp3").sha256;
    Words {
        title: "山洪预警".into(),
        clips: vec![Clip::Stored { sha256 }],
        text: "请立即转移".into(),
        volume: Volume::FULL,
        longest: None,
    }
}

fn terms(targets_json: serde_json::Value) -> Terms {
    Terms { targets: targets(targets_json), ..Terms::default() }
}

fn everybody() -> Terms {
    terms(json!({ "divisions": ["330127104000"] }))
}

/// The command as a village judges it, under the marks of those before it; which key signed it.
async fn judged(town: &Town, name: &str, marks: &mut Marks, id: CommandId) -> Result<(Command, Role), Refused> {
    let office = &town.offices[0];
    let place = office.store.station(&station(name)).await.unwrap().unwrap().place(office.keys.generation());
    let (pinned, now) = (office.keys.root(), Moment { at: clock::wall(), known: true });
    let envelope = office.store.command(id).await.unwrap().unwrap().envelope;
    let judge = Judge { pinned: &pinned, place: &place, marks, now };
    let accepted = judge.accept(envelope.as_bytes()).map_err(|refusal| refusal.why)?;
    let Accepted { document: Document::Command(command), role: Some(role), marks: after, .. } = accepted else {
        panic!("no command")
    };
    *marks = after;
    Ok((*command, role))
}

/// A village says how far a command is; returns whether it was news.
async fn says(office: &Office, name: &str, command: CommandId, state: State) -> Option<bool> {
    let place = office.store.station(&station(name)).await.unwrap().unwrap().place(office.keys.generation());
    let status = Status { command, state, at: clock::wall() };
    office.store.take_status(&place, &status, clock::wall()).await.unwrap()
}

async fn set_up(office: &Office, names: &[&str]) {
    let mut tx = office.store.begin().await.unwrap();
    for name in names {
        sqlx::query("UPDATE station SET up = 1 WHERE id = $1").bind(*name).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn two_office_processes_issue_at_once_and_no_counter_is_used_twice() {
    const EACH: usize = 8;
    for (town, _kept) in towns().await {
        let issue = async |office: &Office, is_emergency| {
            for _ in 0..EACH {
                if is_emergency {
                    office.issue_emergency("王芳", &words(), everybody(), None).await.unwrap();
                } else {
                    office.issue_play("王芳", &words(), everybody()).await.unwrap();
                }
            }
        };
        let [one, two] = &town.offices;
        tokio::join!(issue(one, true), issue(two, true), issue(one, false), issue(two, false));
        let commands = one.store.open_commands(0, clock::wall()).await.unwrap();
        assert_eq!(commands.len(), 4 * EACH);
        let mut last = BTreeMap::new();
        for command in &commands {
            let before = last.insert(command.kid.clone(), command.counter);
            assert!(before < Some(command.counter), "counters rise with the revisions");
        }
        assert_eq!(last.len(), 2);
        // In whatever order they arrive, a village believes each of them once.
        let mut marks = Marks::default();
        for command in commands.iter().rev() {
            judged(&town, "shangshan", &mut marks, command.id).await.unwrap();
        }
        // A clock that was set back does not repeat counters.
        let mut change = one.store.change().await.unwrap();
        for (kid, counter) in last {
            assert_eq!(change.next_counter(&kid, Timestamp::UNIX_EPOCH).await.unwrap(), counter + 1);
        }
    }
}

#[tokio::test]
async fn each_order_is_signed_by_the_key_that_may_and_lives_as_long_as_it_makes_sense() {
    let (town, _kept) = towns().await.remove(0);
    let office = &town.offices[0];
    let all = || terms(json!({ "stations": ["beizhuang"] }));
    let play = office.issue_play("王芳", &words(), all()).await.unwrap();
    let emergency = office.issue_emergency("王芳", &words(), all(), Some(&words())).await.unwrap();
    let quiet = office.issue_emergency("王芳", &words(), all(), None).await.unwrap();
    let volume = Volume::try_from(40).unwrap();
    let everything = |emergencies| Stop::Everything { targets: all().targets, emergencies };
    let mut marks = Marks::default();
    let minutes = |minutes| SignedDuration::from_mins(minutes);
    for (id, op, role, lives, supersedes) in [
        (play, "play", Role::Content, minutes(10), None),
        (emergency, "emergency", Role::Emergency, minutes(10), None),
        (office.issue_stop("王芳", Stop::Command(play)).await.unwrap(), "stop", Role::Content, minutes(120), None),
        (
            office.issue_stop("王芳", Stop::Command(emergency)).await.unwrap(),
            "stop",
            Role::Emergency,
            minutes(120),
            None,
        ),
        (office.issue_stop("王芳", everything(false)).await.unwrap(), "stop", Role::Content, minutes(120), None),
        (office.issue_stop("王芳", everything(true)).await.unwrap(), "stop", Role::Emergency, minutes(120), None),
        (office.issue_volume("王芳", volume, all()).await.unwrap(), "volume", Role::Content, minutes(24 * 60), None),
        (office.issue_report("王芳", all()).await.unwrap(), "report", Role::Content, minutes(1), None),
        (
            office.issue_all_clear("王芳", emergency).await.unwrap(),
            "emergency",
            Role::Emergency,
            minutes(10),
            Some(emergency),
        ),
        // Nothing was prepared to be said: silence says it.
        (office.issue_all_clear("王芳", quiet).await.unwrap(), "stop", Role::Emergency, minutes(120), None),
    ] {
        let (command, by) = judged(&town, "beizhuang", &mut marks, id).await.unwrap();
        assert_eq!((command.op.name(), by), (op, role));
        assert_eq!(command.not_after.duration_since(command.issued), lives, "{op}");
        assert_eq!(command.supersedes.into_iter().next(), supersedes);
        assert_eq!(judged(&town, "nanzhuang", &mut Marks::default(), id).await, Err(Refused::NotForThisStation));
    }
    let (command, _) = judged(&town, "beizhuang", &mut Marks::default(), play).await.unwrap();
    let (speech, _) = command.op.speech().unwrap();
    assert_eq!(speech.max_ms, 30_000, "as long as the sound, and ten seconds");
}

#[tokio::test]
async fn a_small_sound_travels_inside_the_command() {
    let (town, _kept) = towns().await.remove(0);
    let office = &town.offices[0];
    let inline = |bytes: usize| {
        let base64 = BASE64.encode(vec![7; bytes]);
        Words { clips: vec![Clip::Inline { title: "现场录音".into(), base64 }], ..words() }
    };
    let id = office.issue_emergency("王芳", &inline(64 << 10), everybody(), None).await.unwrap();
    let (command, _) = judged(&town, "nanzhuang", &mut Marks::default(), id).await.unwrap();
    let (speech, _) = command.op.speech().unwrap();
    assert_eq!(speech.audio[0].inlined(), Some(vec![7; 64 << 10]));
    for bytes in [0, (64 << 10) + 1] {
        let refused = office.issue_emergency("王芳", &inline(bytes), everybody(), None).await.unwrap_err();
        assert_eq!(refused.said().zh, "随指令下发的音频要在 64 KB 以内；请上传为音频再选它");
    }
}

#[tokio::test]
async fn what_nobody_could_hear_is_not_issued() {
    let (town, _kept) = towns().await.remove(0);
    let office = &town.offices[0];
    let missing = Clip::Stored { sha256: BlobId::of(b"gone") };
    let long = Terms { lives: Some(SignedDuration::from_hours(1)), ..everybody() };
    let before = office.store.revision().await.unwrap();
    for (words, terms, expected) in [
        (words(), Terms::default(), "没有一个已接入的站点会听到；请改选村、分组或区划"),
        (words(), terms(json!({ "groups": ["山区"] })), "没有一个已接入的站点会听到；请改选村、分组或区划"),
        (words(), terms(json!({ "divisions": ["330127105"] })), "区划 330127105 不归本中心（330127104）管；请去掉"),
        (Words { clips: vec![], ..words() }, everybody(), "没有选要播的音频；请至少选一个"),
        (Words { clips: vec![missing], ..words() }, everybody(), "有的音频不在中心了；请重新选"),
        (words(), long, "有效时间不对：过长，或在签发之前就结束"),
        (Words { text: "长".repeat(2001), ..words() }, everybody(), "格式不对：text"),
    ] {
        let refused = office.issue_emergency("王芳", &words, terms, None).await.unwrap_err();
        assert!(refused.said().zh.starts_with(expected), "{}", refused.said().zh);
    }
    assert_eq!(office.store.revision().await.unwrap(), before, "nothing was changed");
}

#[tokio::test]
async fn the_page_says_who_will_hear_it_and_then_what_became_of_it() {
    for (town, _kept) in towns().await {
        let [office, other] = &town.offices;
        set_up(office, &["nanzhuang", "shangshan"]).await;
        let hearers = office.hearers(&everybody().targets).await.unwrap();
        let hearers: Vec<_> = hearers.iter().map(|hearer| (hearer.name.as_str(), hearer.up)).collect();
        assert_eq!(hearers, [("南庄村", true), ("上山村", true), ("北庄村", false)]);
        let drill = Terms { drill: true, ..everybody() };
        let drill = office.issue_emergency("王芳", &words(), drill, Some(&words())).await.unwrap();
        let id = office.issue_emergency("王芳", &words(), everybody(), Some(&words())).await.unwrap();

        let said = async || office.command(id).await.unwrap().unwrap().overview.said.zh;
        assert_eq!(said().await, "2 在线：2 未答复；1 离线");
        for (office, name, state, news, expected) in [
            (office, "nanzhuang", State::Verified, true, "2 在线：1 已校验，1 未答复；1 离线"),
            (other, "nanzhuang", State::Started, true, "2 在线：1 已开始，1 未答复；1 离线"),
            // Late, and again.
            (office, "nanzhuang", State::Delivered, false, "2 在线：1 已开始，1 未答复；1 离线"),
            (office, "nanzhuang", State::Started, false, "2 在线：1 已开始，1 未答复；1 离线"),
            (other, "shangshan", State::Expired, true, "2 在线：1 已开始，1 过期；1 离线"),
            // It heard it, and has gone since.
            (office, "beizhuang", State::Finished, true, "3 在线：1 已开始，1 已完成，1 过期"),
        ] {
            assert_eq!(says(office, name, id, state).await, Some(news));
            assert_eq!(said().await, expected);
        }
        let followed = office.command(id).await.unwrap().unwrap();
        let names: Vec<_> = followed.stations.iter().map(|at| at.name.as_str()).collect();
        assert_eq!(names, ["上山村", "南庄村", "北庄村"], "what went wrong first");
        assert!(followed.may_sound && followed.all_clear == Some(words()));

        // Drills and what is real are kept apart.
        for (which, expected) in [(Some(true), vec![drill]), (Some(false), vec![id]), (None, vec![id, drill])] {
            let list = office.commands(which, i64::MAX, 10).await.unwrap();
            assert_eq!(list.iter().map(|one| one.ordered.id).collect::<Vec<_>>(), expected);
        }
        assert_eq!(
            says(office, "nanzhuang", CommandId::try_from(uuid::Uuid::now_v7()).unwrap(), State::Started).await,
            None
        );
    }
}

#[tokio::test]
async fn a_word_that_reaches_two_processes_at_once_is_taken_once() {
    for (town, _kept) in towns().await {
        let [one, two] = &town.offices;
        let id = one.issue_play("王芳", &words(), everybody()).await.unwrap();
        for state in [State::Verified, State::Started, State::Finished] {
            for (name, ..) in VILLAGES {
                let (a, b) = tokio::join!(says(one, name, id, state.clone()), says(two, name, id, state.clone()));
                assert_eq!([a, b].into_iter().filter(|news| *news == Some(true)).count(), 1);
            }
        }
        assert_eq!(one.command(id).await.unwrap().unwrap().overview.tally.finished, 3);
        assert_eq!(
            one.store.states_at(&station("beizhuang"), clock::wall()).await.unwrap(),
            [(id, State::Finished)].into()
        );
    }
}

#[tokio::test]
async fn who_is_called_answers_with_a_fresh_report() {
    for (town, _kept) in towns().await {
        let office = &town.offices[0];
        set_up(office, &["beizhuang", "nanzhuang"]).await;
        let id = office.issue_report("王芳", everybody()).await.unwrap();
        let issued = office.store.command(id).await.unwrap().unwrap().issued;
        let mut tx = office.store.begin().await.unwrap();
        for (name, after) in [("beizhuang", 1), ("nanzhuang", -1)] {
            let document = json!({
                "sequence": 1, "root": 1, "generation": 1, "journal": null, "acked": 7, "rejected": [], "in_force": [],
                "fetching": [], "clock": { "state": "trusted", "offset_ms": null }, "facts": { "playing": "广播" },
            });
            let sql = "INSERT INTO reported (station, sequence, document, at, ahead) VALUES ($1, 1, $2, $3, 0)";
            let query = sqlx::query(sql).bind(name).bind(document.to_string());
            query.bind(issued.as_millisecond() + after).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        says(office, "beizhuang", id, State::Finished).await;
        let followed = office.command(id).await.unwrap().unwrap();
        assert!(!followed.may_sound);
        let answers: Vec<_> = followed
            .stations
            .iter()
            .map(|at| (at.name.as_str(), at.report.as_ref().map(|report| report.acked)))
            .collect();
        assert_eq!(answers, [("上山村", None), ("南庄村", None), ("北庄村", Some(7))]);
    }
}

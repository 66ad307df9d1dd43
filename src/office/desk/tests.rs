//! The desk on both engines, with one office process and with two. [`Town`] is for the tests of orders too.

use super::*;
use crate::{
    link::{Document, Judge, Marks, Moment, Targets, accept::Accepted, protocol::Reported},
    office::{
        blobs::Blobs,
        campaign::{
            Content,
            tests::{SCHEDULE, campaign},
        },
        keys::{Keys, Renewal},
        orders::Terms,
        store::{About, Store, tests::engines},
    },
    web::People,
};
use jiff::ToSpan as _;
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeMap, path::Path};

/// Three villages, of which the first two lie by the river.
pub(in crate::office) const VILLAGES: [(&str, &str, &str, &[&str]); 3] = [
    ("beizhuang", "北庄村", "330127104201", &["沿河"]),
    ("nanzhuang", "南庄村", "330127104202", &["沿河"]),
    ("shangshan", "上山村", "330127104203", &[]),
];

pub(in crate::office) fn station(name: &str) -> StationId {
    StationId::try_from(name.to_owned()).unwrap()
}

pub(in crate::office) fn targets(json: serde_json::Value) -> Targets {
    serde_json::from_value(json).unwrap()
}

/// Two processes of one office, whose villages were all taken in.
pub(in crate::office) struct Town {
    pub(in crate::office) offices: [Office; 2],
}

impl Town {
    pub(in crate::office) async fn found(store: Store, other: Store, home: &Path) -> Self {
        let division = Division::try_from("330127104000".to_owned()).unwrap();
        let keys = Keys::make(home, "青石镇", &division, clock::wall()).unwrap();
        let (name, zone, generation) = ("青石镇".to_owned(), "Asia/Shanghai".to_owned(), keys.generation());
        let about = About { name, division, zone, generation, revision: 0 };
        let root = keys.root();
        let change = store.found(&about, root.root().version, root.envelope().text()).await.unwrap().unwrap();
        change.commit("admin", Deed::SetUp, "", "").await.unwrap();
        let mut tx = store.begin().await.unwrap();
        for (id, name, division, groups) in VILLAGES {
            let sql = "INSERT INTO station (id, name, public_key, division, groups, state, asked, confirmed, \
                       plan_revision, wants, up) VALUES ($1, $2, $3, $4, $5, 'active', 0, 1, 0, 1, 0)";
            let query = sqlx::query(sql).bind(id).bind(name).bind("00").bind(division);
            query.bind(serde_json::to_string(groups).unwrap()).execute(&mut *tx).await.unwrap();
        }
        for sound in campaign("x", "").audio {
            let sql = "INSERT INTO blob (sha256, bytes, title, extension, duration_ms, made_by, at) \
                       VALUES ($1, $2, $3, 'mp3', 20000, 'admin', 0)";
            let query = sqlx::query(sql).bind(sound.sha256.to_string()).bind(sound.bytes.cast_signed());
            query.bind(sound.title).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        let keys = Arc::new(keys);
        let office = async |store: Store| office(store, Arc::clone(&keys), home).await;
        Self { offices: [office(store).await, office(other).await] }
    }

    /// The plan that a station should have, as the station would judge it, after the marks of those before it.
    async fn plan(&self, name: &str, marks: &mut BTreeMap<&'static str, Marks>) -> Option<Plan> {
        let office = &self.offices[0];
        let station = office.store.station(&station(name)).await.unwrap().unwrap();
        let text = office.store.plan(&station.id).await.unwrap()?;
        let key = VILLAGES.iter().find(|village| village.0 == name).unwrap().0;
        let marks = marks.entry(key).or_default();
        let (pinned, place) = (office.keys.root(), station.place(office.keys.generation()));
        let now = Moment { at: clock::wall(), known: true };
        let accepted = Judge { pinned: &pinned, place: &place, marks, now }.accept(text.as_bytes()).unwrap();
        let Accepted { document: Document::Plan(plan), marks: after, .. } = accepted else { panic!("no plan") };
        *marks = after;
        assert_eq!(plan.revision, station.plan_revision.unsigned_abs());
        for (other, ..) in VILLAGES.into_iter().filter(|village| village.0 != name) {
            let place = Place { station: StationId::try_from(other.to_owned()).unwrap(), ..place.clone() };
            let judge = Judge { pinned: &pinned, place: &place, marks: &Marks::default(), now };
            assert_eq!(judge.accept(text.as_bytes()).unwrap_err().why, Refused::NotForThisStation);
        }
        Some(*plan)
    }

    /// Every station should have what is out for it, and believes it.
    async fn must_hold(&self, marks: &mut BTreeMap<&'static str, Marks>) {
        let office = &self.offices[0];
        let desk = office.desk().await.unwrap();
        for station in &desk.stations {
            let makeup = compose::makeup(&desk.out, &station.place(desk.generation), desk.today);
            let expected = compose::compose(&desk.out, &makeup).unwrap();
            let plan = self.plan(station.id.as_str(), marks).await;
            let seen = plan.map(|plan| Composition { schedules: plan.schedules, audio: plan.audio });
            assert_eq!(seen.unwrap_or_default(), expected, "{}", station.id);
        }
    }

    /// The schedules that a station should have.
    async fn schedules(&self, name: &str) -> Vec<String> {
        let plan = self.plan(name, &mut BTreeMap::new()).await;
        plan.map_or(Vec::new(), |plan| plan.schedules.into_keys().collect())
    }
}

async fn office(store: Store, keys: Arc<Keys>, home: &Path) -> Office {
    let people = Arc::new(People::open(home.join("people.json")).unwrap());
    let blobs = Blobs::in_folder(&home.join("blobs")).unwrap();
    let about = store.about().await.unwrap().unwrap();
    Office::of(home, store, blobs, keys, people, &about).unwrap()
}

/// A town on each engine, with what keeps it.
pub(in crate::office) async fn towns() -> Vec<(Town, impl Sized)> {
    let mut towns = Vec::new();
    for fresh in engines().await {
        let (store, other) = (fresh.again().await, fresh.again().await);
        towns.push((Town::found(store, other, fresh.folder.path()).await, fresh));
    }
    towns
}

fn id(name: &str) -> CampaignId {
    CampaignId::try_from(name.to_owned()).unwrap()
}

/// What somebody may do, on which of two campaigns.
#[derive(Debug, Clone)]
enum Act {
    Write(usize, usize),
    Step(usize, Step),
}

/// Whom a campaign may be for.
fn choices() -> [serde_json::Value; 4] {
    [
        json!({ "stations": ["beizhuang"] }),
        json!({ "groups": ["沿河"] }),
        json!({ "divisions": ["330127104000"] }),
        json!({ "stations": ["shangshan"], "groups": ["山区"] }),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    let step = prop_oneof![
        (0..3_usize).prop_map(|at| Step::Try(station(VILLAGES[at].0))),
        Just(Step::Publish),
        (1..4_u64).prop_map(Step::Restore),
        Just(Step::Withdraw),
    ];
    prop_oneof![
        (0..2_usize, 0..4_usize).prop_map(|(which, whom)| Act::Write(which, whom)),
        (0..2_usize, step).prop_map(|(which, step)| Act::Step(which, step)),
    ]
}

/// Does it; whatever cannot be done is refused in words and changes nothing.
async fn act(office: &Office, act: &Act) {
    let names = ["fanzha", "fanghuo"];
    let done = match act {
        Act::Write(which, whom) => {
            let it = Campaign { targets: targets(choices()[*whom].clone()), ..campaign(names[*which], SCHEDULE) };
            let base = office.store.campaign(&it.id).await.unwrap().map(|filed| filed.standing.version);
            office.write_campaign("王芳", it, base).await
        }
        Act::Step(which, step) => office.step("王芳", &id(names[*which]), step.clone(), None).await,
    };
    match done {
        Ok(_) | Err(DeskError::Cannot(_) | DeskError::Refused(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn after_every_step_each_village_has_what_is_out_for_it_and_believes_it(
        acts in prop::collection::vec((0..2_usize, any_act()), 1..14)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let (store, other) = (Store::in_folder(home.path()).await, Store::in_folder(home.path()).await);
            let town = Town::found(store.unwrap(), other.unwrap(), home.path()).await;
            let mut marks = BTreeMap::new();
            for (which, one) in &acts {
                act(&town.offices[*which], one).await;
                town.must_hold(&mut marks).await;
            }
            assert_eq!(town.offices[0].renew_plans().await.unwrap(), 0, "what was just composed needs no renewal");
        });
    }
}

#[tokio::test]
async fn two_office_processes_change_campaigns_at_once_and_no_village_gets_half_of_it() {
    for (town, _kept) in towns().await {
        let [one, two] = &town.offices;
        let acts = |which: usize| {
            let steps = [Step::Publish, Step::Try(station("beizhuang")), Step::Withdraw, Step::Restore(1)];
            let write = (0..8).map(move |turn| Act::Write(which, turn % 4));
            write.zip(steps.into_iter().cycle()).flat_map(move |(write, step)| [write, Act::Step(which, step)])
        };
        let run = async |office: &Office, which| {
            for one in acts(which) {
                act(office, &one).await;
            }
        };
        // Both on both campaigns.
        tokio::join!(run(one, 0), run(two, 1), run(two, 0), run(one, 1));
        town.must_hold(&mut BTreeMap::new()).await;
        let revision = one.store.revision().await.unwrap();
        let records: i64 = sqlx::query_scalar("SELECT count(*) FROM audit").fetch_one(one.store.reads()).await.unwrap();
        assert_eq!(records, revision, "every change is on record");
    }
}

#[tokio::test]
async fn a_campaign_goes_to_one_village_then_to_all_and_returns_in_one_press() {
    for (town, _kept) in towns().await {
        let office = &town.offices[0];
        let everybody = targets(json!({ "divisions": ["330127104000"] }));
        let it = Campaign { targets: everybody, ..campaign("fanzha", SCHEDULE) };
        let fanzha = id("fanzha");
        office.write_campaign("王芳", it.clone(), None).await.unwrap();
        assert_eq!(town.schedules("beizhuang").await, Vec::<String>::new());
        office.try_campaign("王芳", &fanzha, &station("beizhuang")).await.unwrap();
        assert_eq!((town.schedules("beizhuang").await.len(), town.schedules("shangshan").await.len()), (1, 0));
        office.publish("李明", &fanzha).await.unwrap();
        assert_eq!(town.schedules("shangshan").await, ["fanzha"]);

        let louder = SCHEDULE.replace("06:30", "07:30");
        let louder = Campaign { content: Content::Campaign { schedule: louder }, ..it.clone() };
        // Somebody else wrote meanwhile.
        let stale = office.write_campaign("王芳", louder.clone(), None).await;
        assert!(matches!(stale, Err(DeskError::Refused(_))));
        office.write_campaign("王芳", louder, Some(1)).await.unwrap();
        office.publish("李明", &fanzha).await.unwrap();
        let opened = office.campaign(&fanzha).await.unwrap().unwrap();
        assert_eq!((opened.previous, opened.filed.standing.published), (Some(1), Some(2)));
        let preview = office.preview_step(&fanzha, &Step::Restore(1)).await.unwrap();
        assert!(preview.said.iter().any(|said| said.zh.starts_with("3 村将改时间 ")), "{preview:?}");
        office.restore_version("李明", &fanzha, 1).await.unwrap();
        let plan = town.plan("shangshan", &mut BTreeMap::new()).await.unwrap();
        assert!(plan.schedules["fanzha"].contains("06:30"));
        assert_eq!(office.campaign(&fanzha).await.unwrap().unwrap().previous, Some(2));

        office.withdraw("李明", &fanzha).await.unwrap();
        assert_eq!(town.schedules("shangshan").await, Vec::<String>::new());
        town.must_hold(&mut BTreeMap::new()).await;
        let deeds: Vec<(String, String)> =
            sqlx::query_as("SELECT who, what FROM audit WHERE revision > 1 ORDER BY revision")
                .fetch_all(office.store.reads())
                .await
                .unwrap();
        let deeds: Vec<_> = deeds.iter().map(|(who, what)| format!("{who} {what}")).collect();
        let expected = "王芳 wrote,王芳 tried,李明 published,王芳 wrote,李明 published,李明 restored,李明 withdrew";
        assert_eq!(deeds.join(","), expected);
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let (town, _kept) = towns().await.remove(0);
    let office = &town.offices[0];
    let it = campaign("fanzha", SCHEDULE);
    office.write_campaign("王芳", it.clone(), None).await.unwrap();
    let before = office.store.revision().await.unwrap();
    let mut not_uploaded = it.clone();
    not_uploaded.audio[0].bytes = 999;
    let broken = Campaign { content: Content::Campaign { schedule: "[[[".into() }, ..it };
    for (error, expected) in [
        (office.write_campaign("王芳", not_uploaded, Some(1)).await, "内容有错，没有保存；请照提示改正"),
        (office.write_campaign("王芳", broken, Some(1)).await, "内容有错，没有保存；请照提示改正"),
        (office.publish("王芳", &id("fanghuo")).await, "没有这个宣传或通报"),
        (office.restore_version("王芳", &id("fanzha"), 7).await, "没有这个版本；请刷新页面再选"),
        (
            office.try_campaign("王芳", &id("fanzha"), &station("shangshan")).await,
            "试播的村要是这个宣传选中的、已经接入的村；请另选一个",
        ),
    ] {
        assert_eq!(error.unwrap_err().said().zh, expected);
    }
    assert_eq!(office.store.revision().await.unwrap(), before);
}

#[tokio::test]
async fn a_station_that_is_taken_in_or_moved_gets_what_is_out_there() {
    for (town, _kept) in towns().await {
        let office = &town.offices[0];
        let it = Campaign { targets: targets(json!({ "groups": ["沿河"] })), ..campaign("fanzha", SCHEDULE) };
        office.write_campaign("王芳", it, None).await.unwrap();
        office.publish("王芳", &id("fanzha")).await.unwrap();
        for (name, groups, expected) in [("shangshan", vec!["沿河"], 1), ("beizhuang", vec![], 0)] {
            let mut moved = office.store.station(&station(name)).await.unwrap().unwrap();
            moved.groups = serde_json::from_value(json!(groups)).unwrap();
            let mut change = office.store.change().await.unwrap();
            office.compose_for(&mut change, std::slice::from_ref(&moved)).await.unwrap();
            change.commit("王芳", Deed::Placed, name, "").await.unwrap();
            assert_eq!(town.schedules(name).await.len(), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn taking_one_village_in_asks_nothing_about_the_others() {
    for (town, _kept) in towns().await {
        let office = &town.offices[0];
        let it = Campaign { targets: targets(json!({ "groups": ["沿河"] })), ..campaign("fanzha", SCHEDULE) };
        office.write_campaign("王芳", it, None).await.unwrap();
        office.publish("王芳", &id("fanzha")).await.unwrap();
        let mut tx = office.store.begin().await.unwrap();
        // Whoever reads this row cannot go on.
        sqlx::query("UPDATE station SET groups = '[' WHERE id = 'nanzhuang'").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let mut comes = office.store.station(&station("shangshan")).await.unwrap().unwrap();
        comes.groups = serde_json::from_value(json!(["沿河"])).unwrap();
        let mut change = office.store.change().await.unwrap();
        office.compose_for(&mut change, &[comes]).await.unwrap();
        change.commit("王芳", Deed::Placed, "shangshan", "").await.unwrap();
        assert_eq!(town.schedules("shangshan").await, ["fanzha"]);
    }
}

#[tokio::test]
async fn a_process_whose_keys_were_renewed_elsewhere_signs_nothing_before_it_has_the_new_ones() {
    for (town, _kept) in towns().await {
        let one = &town.offices[0];
        let home = tempfile::tempdir().unwrap();
        let bring = || std::fs::copy(one.home.join("keys.json"), home.path().join("keys.json")).unwrap();
        bring();
        let keys = Arc::new(Keys::open(home.path(), &one.store).await.unwrap());
        let two = office(one.store.clone(), keys, home.path()).await;
        one.write_campaign("王芳", campaign("fanzha", SCHEDULE), None).await.unwrap();
        one.publish("王芳", &id("fanzha")).await.unwrap();
        one.keys.renew(&one.store, &[Renewal::Content].into(), "王芳", clock::wall()).await.unwrap();
        let before = one.store.revision().await.unwrap();
        let withdrawn = two.withdraw("李明", &id("fanzha")).await;
        assert!(matches!(withdrawn, Err(DeskError::Keys(KeysError::Old { .. }))), "{withdrawn:?}");
        let terms = Terms { targets: targets(json!({ "stations": ["beizhuang"] })), ..Terms::default() };
        let ordered = two.issue_report("李明", terms).await;
        assert!(matches!(ordered, Err(DeskError::Keys(KeysError::Old { .. }))), "{ordered:?}");
        let group = crate::link::GroupName::try_from("山区".to_owned()).unwrap();
        let moved = two.regroup("李明", &[station("beizhuang")].into(), &group, true).await;
        assert!(
            matches!(moved, Err(crate::office::enrol::EnrolError::Desk(DeskError::Keys(KeysError::Old { .. })))),
            "{moved:?}"
        );
        assert_eq!(one.store.revision().await.unwrap(), before);
        bring();
        two.withdraw("李明", &id("fanzha")).await.unwrap();
        town.must_hold(&mut BTreeMap::new()).await;
    }
}

#[tokio::test]
async fn many_stations_change_their_group_in_one_change_and_their_plans_with_it() {
    for (town, _kept) in towns().await {
        let office = &town.offices[0];
        let it = Campaign { targets: targets(json!({ "groups": ["山区"] })), ..campaign("fanzha", SCHEDULE) };
        office.write_campaign("王芳", it, None).await.unwrap();
        office.publish("王芳", &id("fanzha")).await.unwrap();
        let group = |name: &str| crate::link::GroupName::try_from(name.to_owned()).unwrap();
        let all: BTreeSet<_> = VILLAGES.iter().map(|village| station(village.0)).collect();
        for (name, is_in, changed, schedules) in
            [("山区", true, 3, 1), ("山区", true, 0, 1), ("沿河", false, 2, 1), ("山区", false, 3, 0)]
        {
            let before = office.store.revision().await.unwrap();
            assert_eq!(office.regroup("王芳", &all, &group(name), is_in).await.unwrap(), changed, "{name} {is_in}");
            let after = office.store.revision().await.unwrap();
            assert_eq!(after - before, i64::from(changed > 0), "one change for all, none for nothing");
            for (village, ..) in VILLAGES {
                let placed = office.store.station(&station(village)).await.unwrap().unwrap();
                assert_eq!(placed.groups.contains(&group(name)), is_in);
                assert_eq!(town.schedules(village).await.len(), schedules, "{village} {name} {is_in}");
            }
        }
        let record = office.store.records(i64::MAX, 1).await.unwrap().remove(0);
        assert_eq!((record.who.as_str(), record.what.as_str()), ("王芳", Deed::Placed.key()));
        assert!(VILLAGES.iter().all(|village| record.detail.contains(village.1)), "{}", record.detail);
        // One that takes no more groups keeps all of them out.
        for number in 0..64 {
            let one = [station("nanzhuang")].into();
            office.regroup("王芳", &one, &group(&format!("g{number}")), true).await.unwrap();
        }
        let refused = office.regroup("王芳", &all, &group("山区"), true).await.unwrap_err();
        assert!(refused.to_string().contains("南庄村"), "{refused}");
        let beizhuang = office.store.station(&station("beizhuang")).await.unwrap().unwrap();
        assert!(!beizhuang.groups.contains(&group("山区")), "nobody is half-way there");
    }
}

#[tokio::test]
async fn a_plan_that_is_not_what_it_should_be_is_signed_again() {
    for (town, _kept) in towns().await {
        let office = &town.offices[0];
        office.write_campaign("王芳", campaign("fanzha", SCHEDULE), None).await.unwrap();
        office.publish("王芳", &id("fanzha")).await.unwrap();
        for (broken, expected) in [(None, 0), (Some("{"), 1), (None, 0)] {
            if let Some(broken) = broken {
                let mut tx = office.store.begin().await.unwrap();
                let sql = "UPDATE station SET plan = $1 WHERE id = 'beizhuang'";
                sqlx::query(sql).bind(broken).execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
            }
            assert_eq!(office.renew_plans().await.unwrap(), expected);
            town.must_hold(&mut BTreeMap::new()).await;
        }
    }
}

#[tokio::test]
async fn how_far_a_campaign_is_at_each_village_is_what_the_village_said() {
    let (town, _kept) = towns().await.remove(0);
    let office = &town.offices[0];
    let it = Campaign { targets: targets(json!({ "divisions": ["330127104"] })), ..campaign("fanzha", SCHEDULE) };
    office.write_campaign("王芳", it, None).await.unwrap();
    let revision = office.publish("王芳", &id("fanzha")).await.unwrap().changed;
    let report = |in_force: i64, fetching: i64| {
        json!({
            "sequence": 1, "root": 1, "generation": 1, "journal": null, "acked": 0, "rejected": [], "facts": null,
            "in_force": [{ "source": "town", "revision": in_force }],
            "fetching": [[{ "source": "town", "revision": fetching }, 2]],
            "clock": { "state": "trusted", "offset_ms": null },
        })
    };
    for (name, document) in [("beizhuang", report(revision, 0)), ("nanzhuang", report(revision - 1, revision))] {
        serde_json::from_value::<Reported>(document.clone()).unwrap();
        let mut tx = office.store.begin().await.unwrap();
        let sql = "INSERT INTO reported (station, sequence, document, at, ahead) VALUES ($1, 1, $2, 0, 0)";
        sqlx::query(sql).bind(name).bind(document.to_string()).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
    let receipts = office.campaign_receipts(&id("fanzha")).await.unwrap();
    let said: Vec<_> =
        receipts.iter().map(|receipt| format!("{} {}", receipt.name, receipt.reached.said().zh)).collect();
    assert_eq!(said, ["北庄村 已生效", "南庄村 已送达，还缺 2 个音频", "上山村 未送达"]);
}

#[test]
fn a_plan_is_due_before_its_time_runs_out_and_when_it_is_another() {
    let now = clock::wall();
    let composition = Composition { schedules: [("a".to_owned(), String::new())].into(), audio: Vec::new() };
    for (days, same, expected) in
        [(90, true, false), (31, true, false), (29, true, true), (-5, true, true), (90, false, true)]
    {
        let plan = Plan {
            generation: 1,
            revision: 1,
            issued: now,
            review_by: now + jiff::SignedDuration::from_hours(24 * days),
            targets: Targets::default(),
            source: Source::Town,
            schedules: if same { composition.schedules.clone() } else { BTreeMap::new() },
            audio: Vec::new(),
        };
        assert_eq!(compose::is_due(&plan, &composition, now), expected, "{days} {same}");
    }
}

#[test]
fn more_than_a_station_takes_is_refused_in_words_and_what_is_over_takes_no_room() {
    let place: Place = serde_json::from_value(json!({
        "generation": 1, "revision": 1, "station": "beizhuang", "key": "", "division": "330127104201", "groups": [],
    }))
    .unwrap();
    let today = jiff::civil::date(2026, 6, 17);
    let standing = Standing { published: Some(1), ..Standing::NEW };
    let out = |count: usize, until: Date| -> BTreeMap<_, _> {
        let out = |number| {
            let it = Campaign { until: Some(until), ..campaign(&format!("c{number}"), SCHEDULE) };
            (it.id.clone(), Out { standing: standing.clone(), versions: [(1, Arc::new(it))].into() })
        };
        (0..count).map(out).collect()
    };
    for (count, until, expected) in [
        (100, today, Ok(100)),
        (101, today, Err("这样有的村会有 101 个宣传和通报，一个村最多 100 个宣传和通报；请先撤回一些过时的")),
        // What ended yesterday may still have to be told as missed.
        (101, today - 1.day(), Err("这样有的村会有 101 个宣传和通报，一个村最多 100 个宣传和通报；请先撤回一些过时的")),
        (101, today - 2.days(), Ok(0)),
    ] {
        let out = out(count, until);
        let composed = compose::compose(&out, &compose::makeup(&out, &place, today));
        let seen = composed.map(|composition| composition.schedules.len()).map_err(|error| error.to_string());
        assert_eq!(seen, expected.map_err(str::to_owned), "{count} {until}");
    }
}

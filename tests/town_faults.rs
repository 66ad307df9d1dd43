//! What an office may meet, with the real one and real villages: restored from an old backup, its clock wrong, its disk
//! full, its line bad, killed. Nothing lost, nothing twice, and its pages tell the truth.
//!
//! `DALABA_KILLS` says how often it is killed (3 unless told), `DALABA_SEED` when. With `DALABA_PROVE` the office also
//! stands in a network of its own, where the kernel loses packets; that takes root.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use dalaba::{
    clock::{self, monotonic},
    office::{
        keys::{Keys, Renewal},
        store::Store,
    },
};
use jiff::SignedDuration;
use serde_json::json;
use std::{thread, time::Duration};
use support::{
    Setup, at, count, fate,
    ground::{self, Disk, Net},
    line::{Line, Weather},
    rig::RATE,
    soon,
    town::{Ground, Member, Town},
    wave::{find, melody, mix, wav},
};

/// A schedule that plays `{name}.wav` so many times, every two seconds from `first` seconds from now on.
fn often(name: &str, first: i64, times: i64) -> String {
    let moments = (0..times).map(|turn| format!("\"{}\"", at(soon(first) + SignedDuration::from_secs(2 * turn))));
    let moments = moments.collect::<Vec<_>>().join(", ");
    format!(
        "[announcement.{name}]\ntitle = \"{name}\"\nplay = [\"{name}.wav\"]\n[[rule]]\nplay = \"{name}\"\nat = [{moments}]\n"
    )
}

/// Gives villages something to write into their journals.
fn busy(member: &mut Member, times: i64) {
    member.village.clip("own.wav", &melody(7, 0.3)).schedule("own", &often("own", 3, times));
}

/// Waits until a campaign is in the village's plan, today or tomorrow.
fn has(member: &Member, name: &str) {
    member.village.wait(&format!("{name} is planned"), |village| {
        let said = village.dalaba(["plan", "--days", "2", "--json"]);
        said.json().iter().any(|line| line["announcement"] == name)
    });
}

/// Publishes a campaign that plays often, and waits until every village has it.
fn publish(town: &Town, members: &[Member], name: &str, first: i64) {
    let sound = town.sound(&format!("{name}.wav"), &wav(&melody(11, 0.3)));
    town.publish(name, &often(name, first, 4), (&sound, &format!("{name}.wav")));
    for member in members {
        has(member, name);
    }
}

/// How often the village sounded for a command, by its journal.
fn heard(member: &Member, id: &str) -> usize {
    let occurrence = format!("command/{id}");
    let entries = member.town_entries();
    entries.iter().filter(|entry| entry["occurrence"] == *occurrence && entry["heard_ms"] != 0).count()
}

/// What the office's store says: asked of its file beside it.
fn ask<T>(town: &Town, question: impl AsyncFnOnce(&Store) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { question(&Store::in_folder(&town.home()).await.unwrap()).await })
}

fn stations_ahead(town: &Town) -> usize {
    ask(town, async |store| store.stations_ahead().await.unwrap().len())
}

#[test]
fn an_office_restored_from_an_old_backup_gets_back_what_it_lost_and_turns_no_village_back() {
    let mut town = Town::new();
    let mut members: Vec<_> = (1..=2).map(|number| Member::joins(&town, number)).collect();
    publish(&town, &members, "old", 3600);
    members.iter_mut().for_each(|member| busy(member, 3));
    members.iter().for_each(|member| drop(member.village.entries("own", 3)));
    members.iter().for_each(|member| member.is_on_record(&town));
    let copy = town.folder().join("copy");
    town.kill();
    town.back_up(&copy);
    town.start();

    // What the copy does not know: another plan in place of the first, an emergency, rows.
    let before: Vec<_> = members.iter().map(|member| member.village.journal().len()).collect();
    let alarm = town.sound("alarm.wav", &wav(&melody(3, 1.0)));
    let lost = town.emergency("山洪转移", &alarm);
    town.finished(&lost, 2);
    publish(&town, &members, "new", 8);
    members.iter().for_each(|member| drop(member.village.entries("new", 2)));
    members.iter().for_each(|member| member.is_on_record(&town));
    let newer = members[0].office()["plans"][0][1].as_u64().unwrap();
    town.kill();
    town.restore(&copy);
    town.start();

    for (member, before) in members.iter().zip(before) {
        member.is_on_record(&town);
        assert!(member.village.journal().len() > before, "rows that the copy did not know");
        assert_eq!(heard(member, &lost), 1);
        // The page does not pretend that its own plan is in force.
        let page = member.until(&town, "it says what it plays", |page| page["report"]["in_force"] == newer);
        assert!(page["wanted"]["revision"].as_u64().unwrap() < newer, "{page:#}");
        assert_eq!(member.office()["plans"][0][1], newer, "it is turned back by nobody");
        has(member, "new");
    }
    town.wait("every station is known to be ahead", |town| (stations_ahead(town) == 2).then_some(()));
    // An emergency is heard although the office does not know how far it has counted.
    let alarm = town.sound("alarm.wav", &wav(&melody(4, 1.0)));
    let id = town.emergency("再次转移", &alarm);
    town.finished(&id, 2);
    members.iter().for_each(|member| assert_eq!(heard(member, &id), 1));

    let home = town.home();
    ask(&town, async |store| {
        let keys = Keys::open(&home, store).await.unwrap();
        keys.renew(store, &[Renewal::Generation].into(), "王芳", clock::wall()).await.unwrap();
    });
    publish(&town, &members, "next", 600);
    town.wait("no station is ahead", |town| (stations_ahead(town) == 0).then_some(()));
    for member in &members {
        let page = member.until(&town, "the plan is in force", |page| {
            page["wanted"]["revision"].is_u64() && page["report"]["in_force"] == page["wanted"]["revision"]
        });
        assert_eq!(
            page["rejected"].as_array().map(|all| all.iter().filter(|one| one["kind"] == "root").count()),
            Some(0)
        );
        assert_eq!((heard(member, &lost), heard(member, &id)), (1, 1));
        member.is_on_record(&town);
    }
}

#[test]
fn an_office_whose_clock_is_wrong_moves_no_village_that_knows_the_time_and_its_emergencies_are_heard() {
    let mut town = Town::new();
    let knows = Member::with(&town, 1, Setup { synchronised: true, ..Setup::default() });
    let follows = Member::joins(&town, 2);
    let members = [knows, follows];
    let alarm = town.sound("alarm.wav", &wav(&melody(5, 1.0)));
    for (turn, off) in ["+3h", "-3h"].into_iter().enumerate() {
        town.kill();
        town.ground.under = ground::clock(off);
        town.start();
        for member in &members {
            member.until(&town, "it is back", |station| station["up"] == true);
        }
        // What is planned comes at the right time where the machine knows it.
        let name = format!("turn-{turn}");
        let sound = town.sound(&format!("{name}.wav"), &wav(&melody(20 + turn as u64, 0.3)));
        town.publish(&name, &often(&name, 12, 2), (&sound, &format!("{name}.wav")));
        has(&members[0], &name);
        let id = town.emergency("山洪转移", &alarm);
        town.finished(&id, 2);
        for member in &members {
            assert_eq!(heard(member, &id), 1, "{off}");
        }
        for entry in members[0].village.entries(&name, 2) {
            assert_eq!(fate(&entry), "played", "{entry}");
            let due: jiff::Timestamp = entry["due"].as_str().unwrap().parse().unwrap();
            assert!(clock::wall().duration_since(due).abs() < SignedDuration::from_mins(5), "{entry}");
        }
        let hours = if off == "+3h" { -3.0 } else { 3.0 };
        let page = members[0].until(&town, "the page says how far apart the clocks are", |page| {
            let offset = page["report"]["clock"]["offset_ms"].as_f64();
            offset.is_some_and(|offset| (offset / 3_600_000.0 - hours).abs() < 0.1)
        });
        assert_eq!(page["report"]["clock"]["state"], "trusted");
        for page in ["/", "/stations/village-1"] {
            town.wait("it says whose clock is wrong", |town| {
                town.pages.get(page).text().contains("中心电脑的时间不准").then_some(())
            });
        }
    }
    town.kill();
    town.ground.under = Vec::new();
    town.start();
    for member in &members {
        member.is_on_record(&town);
        let mut occurrences: Vec<_> =
            member.village.journal().iter().map(|row| row["occurrence"].to_string()).collect();
        let all = occurrences.len();
        occurrences.sort();
        occurrences.dedup();
        assert_eq!(occurrences.len(), all, "nothing twice");
    }
}

#[test]
fn an_office_whose_disk_is_full_says_so_keeps_what_it_has_and_gets_the_rest_later() {
    // A sound is taken in only where much is left for rows.
    let Some(disk) = Disk::of(600) else {
        println!("not tried: this machine lets nobody mount a disk of his own");
        return;
    };
    let mut town = Town::on(disk.ground());
    let mut members: Vec<_> = (1..=2).map(|number| Member::joins(&town, number)).collect();
    members.iter_mut().for_each(|member| busy(member, 12));
    members.iter().for_each(|member| drop(member.village.entries("own", 2)));
    let alarm = town.sound("alarm.wav", &wav(&melody(6, 1.0)));
    disk.resize(24);
    let little = town.pages.get("/").text();
    assert!(little.contains("磁盘只剩"), "it says so before it is full: {little}");
    disk.fill();
    members.iter().for_each(|member| drop(member.village.entries("own", 12)));
    let refused = town.pages.post("/enrol/code", &json!({ "name": "3号村", "division": "330127104203" }));
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("磁盘满了"), "{}", refused.text());
    assert!(town.said().contains("磁盘满了"), "its log says why");
    for member in &members {
        // What is there can be read; what is acknowledged is there.
        let (total, rows) = town.journal_of(&member.id);
        assert_eq!(total, rows.len() as i64);
        assert!(member.acknowledged() <= rows.len() as u64, "what is acknowledged is on the disk");
        assert!(rows.len() < member.village.journal().len(), "a full disk holds no more");
        assert_eq!(town.page("/")["stations"].as_array().map(Vec::len), Some(2));
    }
    // Room for an emergency was kept back. That it was heard may have to wait for more.
    let id = town.emergency("山洪转移", &alarm);
    for member in &members {
        member.village.wait("it is heard", |_| heard(member, &id) == 1);
    }
    assert!(town.is_up());
    disk.clear();
    town.finished(&id, 2);
    members.iter().for_each(|member| member.is_on_record(&town));
    town.kill();
    town.start();
    members.iter().for_each(|member| member.is_on_record(&town));
    town.code("3号村", "330127104203");
}

/// Over a line that delays and loses, and says nothing at all for longer than a dead one is believed: a village is taken
/// in, gets a plan, hears two emergencies, and its rows arrive. `is_seen` where the office can see that the line is dead.
fn over(ground: Ground, weather: Weather, is_seen: bool, be_silent: impl Fn(&Line, bool)) {
    let town = Town::on(ground);
    let line = Line::to(town.address());
    line.set(weather);
    let member = Member::over(line, &town, 1, Setup::default());
    let alarm = town.sound("alarm.wav", &wav(&melody(8, 1.0)));
    let recording = member.village.server.record();
    let first = town.emergency("山洪转移", &alarm);
    town.finished(&first, 1);
    let members = [member];
    publish(&town, &members, "far", 3600);
    let [mut member] = members;
    busy(&mut member, 10);
    member.village.entries("own", 2);

    be_silent(&member.line, true);
    let since = monotonic();
    // It is over before the line comes back; the other is not.
    let call = town.press("/roll-call", &json!({ "everybody": "on" }))["command"].as_str().unwrap().to_owned();
    let second = town.emergency("再次转移", &alarm);
    member.village.entries("own", 10);
    assert!(town.journal_of(&member.id).1.len() < member.village.journal().len(), "nothing comes through");
    thread::sleep(Duration::from_secs(65).saturating_sub(since.elapsed()));
    if is_seen {
        member.until(&town, "the office sees it go", |station| station["up"] == false);
    }
    assert_eq!(heard(&member, &second), 0);
    be_silent(&member.line, false);
    town.finished(&second, 1);
    member.is_on_record(&town);
    for id in [&first, &second] {
        assert_eq!(heard(&member, id), 1);
    }
    let answered = Town::states(&town.page(&format!("/orders/{call}")));
    assert!(matches!(answered[0].as_str(), "none" | "expired"), "a call of a minute came too late: {answered:?}");
    // A busy machine's sound may stumble, and is not found then; what the journal says was checked above.
    assert!(find(&melody(8, 1.0), &recording.wait(RATE)).len() <= 2, "no emergency twice");
}

#[test]
fn over_a_line_that_loses_delays_and_falls_silent_everything_arrives_and_once() {
    // What relays our bytes acknowledges them: the office cannot know that they go no further.
    over(Ground::default(), Weather::Lossy, false, |line, is_silent| {
        line.set(if is_silent { Weather::Silent } else { Weather::Lossy });
    });
}

#[test]
fn over_a_network_whose_packets_are_lost_and_whose_cable_is_pulled_everything_arrives_and_once() {
    if std::env::var_os("DALABA_PROVE").is_none() {
        return;
    }
    let Some(net) = Net::lay() else {
        eprintln!("not tried: no network of one's own without root, iproute2 and nftables");
        return;
    };
    assert!(net.lose(20));
    over(net.ground(), Weather::Far, true, |_, is_cut| net.cut(is_cut));
    println!("{} packets were lost", net.lost());
    assert!(net.lost() > 0);
}

#[test]
fn an_office_killed_at_any_moment_loses_no_row_and_its_emergencies_are_heard_once() {
    let (kills, seed) = (count("DALABA_KILLS", 3), count("DALABA_SEED", 1));
    let mut town = Town::new();
    let mut members: Vec<_> = (1..=2).map(|number| Member::joins(&town, number)).collect();
    let alarm = town.sound("alarm.wav", &wav(&melody(9, 1.0)));
    let mut ordered = Vec::new();
    for kill in 0..kills {
        members.iter_mut().for_each(|member| busy(member, 4));
        let id = town.emergency(&format!("第{kill}次"), &alarm);
        // From before the first village has heard of it until after the last has answered.
        thread::sleep(Duration::from_millis(mix(seed ^ (kill << 32)) % 6000));
        town.kill();
        town.start();
        town.finished(&id, members.len());
        ordered.push(id);
    }
    for member in &members {
        member.is_on_record(&town);
        for id in &ordered {
            assert_eq!(heard(member, id), 1, "{id}");
        }
        let of_town = member.town_entries().len();
        assert_eq!(of_town, ordered.len(), "nothing but the emergencies, each once");
    }
}

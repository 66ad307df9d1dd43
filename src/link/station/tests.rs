//! One short test per thing that the station's end does, against an office of a few lines.

use super::super::{
    accept::Moment,
    journal::{Acked, Turned},
    office::time_proof,
    protocol::{Envelopes, Revision, Status, WatchEvent},
    tests::{NOW, SCHEDULE, changed, command, id, pinned, place, plan, root, seal, signer},
    *,
};
use super::*;
use serde_json::json;

/// A station in front of an office that says what a test wants it to say.
struct Rig {
    link: Link,
    second: u64,
    /// Requests that were not answered yet.
    open: Vec<(RequestId, Call)>,
    /// Everything else that was done.
    done: Vec<Action>,
}

const EPOCH: &str = "beizhuang-0123456789abcdef";

fn kept() -> Kept {
    let place = seal(Kind::Place, &place(), &["content"]);
    let now = Moment { at: Timestamp::from_millisecond(NOW).unwrap(), known: true };
    Kept::enrolled(&pinned(), place.text(), "ab", now).unwrap()
}

impl Rig {
    fn new(kept: Kept) -> Self {
        let now = Now { since_boot: Duration::ZERO, wall: wall(0), clock: ClockState::Trusted };
        let link = Link::new(kept, now, &mut || 0).unwrap();
        let mut rig = Self { link, second: 0, open: Vec::new(), done: Vec::new() };
        rig.tell(Event::Woke);
        rig
    }

    /// With a watch open.
    fn open() -> Self {
        let mut rig = Self::new(kept());
        rig.greet(0, 4);
        rig
    }

    fn now(&self) -> Now {
        Now { since_boot: Duration::from_secs(self.second), wall: wall(self.second), clock: ClockState::Trusted }
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        for action in self.link.handle(now, event, &mut || 0) {
            match action {
                Action::Ask(id, call) => self.open.push((id, call)),
                Action::Drop(id) => self.open.retain(|(open, _)| *open != id),
                other => self.done.push(other),
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.second += seconds;
        self.tell(Event::Woke);
    }

    /// Takes the open request of a kind.
    fn take(&mut self, kind: &str) -> Option<(RequestId, Call)> {
        let at = self.open.iter().position(|(_, call)| name(call) == kind)?;
        Some(self.open.remove(at))
    }

    fn answer(&mut self, kind: &str, answer: Answer) {
        let (id, _) = self.take(kind).unwrap_or_else(|| panic!("no request for {kind} in {:?}", self.open));
        self.tell(Event::Answered(id, answer));
    }

    fn watch(&self) -> RequestId {
        self.open.iter().find(|(_, call)| name(call) == "watch").expect("a watch").0
    }

    fn say(&mut self, event: WatchEvent) {
        self.tell(Event::Watched(self.watch(), event));
    }

    fn greet(&mut self, revision: u64, root: u64) {
        let desired = Revision { generation: 3, revision };
        let journal = Acked { epoch: EPOCH.into(), acked: 300 };
        self.say(WatchEvent::Hello { desired, root, time: String::new(), journal, heartbeat_s: 25 });
    }

    /// Keeps the line alive, or opens another.
    fn greet_again(&mut self) {
        self.wait(0);
        self.greet(0, 4);
    }

    fn order(&mut self, document: &serde_json::Value, kid: &str) {
        let envelope = seal(Kind::Command, document, &[kid]).text().to_owned();
        self.say(WatchEvent::Command { envelope });
    }

    /// The names of what was carried since the last time this was asked.
    fn carried(&mut self) -> String {
        let carried = self.done.extract_if(.., |action| matches!(action, Action::Carry(_)));
        let names = carried.map(|action| match action {
            Action::Carry(Errand::Speak { .. }) => "speak",
            Action::Carry(Errand::Stop { .. }) => "stop",
            _ => "volume",
        });
        names.collect::<Vec<_>>().join(" ")
    }

    fn state(&self, number: u64) -> State {
        self.link.kept().orders[&CommandId::try_from(id(number)).unwrap()].state.clone()
    }

    /// Says of every sound that is looked for how much is here.
    fn find(&mut self, held: Held) {
        let looks: Vec<_> = self.done.extract_if(.., |action| matches!(action, Action::Look(..))).collect();
        for look in looks {
            if let Action::Look(blob, _) = look {
                self.tell(Event::Found(blob, held));
            }
        }
    }

    fn revision(&self) -> Option<u64> {
        self.link.kept().plans.values().next().map(|plan| plan.mark.revision)
    }
}

fn wall(second: u64) -> Timestamp {
    Timestamp::from_millisecond(NOW + i64::try_from(second).unwrap() * 1000).unwrap()
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Watch { .. } => "watch",
        Call::Trust { .. } => "trust",
        Call::Desired => "desired",
        Call::Blob { .. } => "blob",
        Call::Report(_) => "report",
        Call::Journal { .. } => "journal",
        Call::Status(_) => "status",
        Call::Time { .. } => "time",
    }
}

/// Commands and plans of these tests live long enough for their waits.
fn lasting(document: serde_json::Value) -> serde_json::Value {
    changed(document, |document| {
        for key in ["not_after", "review_by"] {
            if document.get(key).is_some() {
                document[key] = (NOW + 600_000).into();
            }
        }
    })
}

fn envelopes(envelopes: &[Envelope]) -> Answer {
    Answer::Envelopes(Envelopes { envelopes: envelopes.iter().map(|envelope| envelope.text().to_owned()).collect() })
}

#[test]
fn a_stream_that_is_held_back_is_replaced_by_polls_for_a_day() {
    let mut rig = Rig::new(kept());
    let way = |rig: &Rig| {
        rig.open.iter().find_map(|(_, call)| if let Call::Watch { wait, .. } = call { Some(*wait) } else { None })
    };
    assert_eq!(way(&rig), Some(None));
    rig.tell(Event::Opened(rig.watch()));
    rig.wait(10);
    rig.wait(0);
    assert_eq!(way(&rig), Some(Some(25)), "a probe");
    // The probe fails too: it was the line.
    rig.answer("watch", Answer::Failed);
    assert_eq!(way(&rig), Some(None));
    rig.wait(10);
    rig.wait(0);
    for _ in 0..3 {
        rig.greet(0, 4);
        rig.answer("watch", Answer::Done);
        assert_eq!(way(&rig), None);
        rig.wait(2);
        assert_eq!(way(&rig), Some(Some(25)));
        assert!(rig.link.is_up());
    }
    rig.answer("watch", Answer::Failed);
    assert_eq!(way(&rig), Some(Some(25)), "one failure does not end the polls");
    rig.answer("watch", Answer::Failed);
    rig.second += 24 * 3600;
    rig.wait(0);
    rig.answer("watch", Answer::Failed);
    assert_eq!(way(&rig), Some(None), "a day later");
}

#[test]
fn a_line_that_was_cut_without_a_word_is_noticed_within_a_minute() {
    let mut rig = Rig::open();
    let watch = rig.watch();
    rig.wait(25);
    rig.say(WatchEvent::Heartbeat);
    rig.wait(59);
    assert_eq!(rig.watch(), watch);
    rig.wait(1);
    rig.wait(0);
    assert_ne!(rig.watch(), watch);
    assert!(!rig.link.is_up());
}

#[test]
fn the_office_says_when_to_come_back() {
    let mut rig = Rig::open();
    let watch = rig.watch();
    rig.say(WatchEvent::Bye { retry_after_ms: 40_000 });
    rig.open.retain(|(_, call)| name(call) != "watch");
    assert_eq!(rig.link.next_wake(), Duration::from_secs(40));
    rig.wait(39);
    assert!(rig.take("watch").is_none());
    rig.wait(1);
    assert_ne!(rig.watch(), watch);
}

#[test]
fn what_a_station_should_have_is_asked_for_again_every_hour() {
    let mut rig = Rig::open();
    // A relay answers with what is in force already.
    rig.answer("desired", envelopes(&[]));
    for seconds in [3599, 1] {
        assert!(rig.take("desired").is_none());
        rig.wait(seconds);
        rig.greet_again();
    }
    assert!(rig.take("desired").is_some());
}

#[test]
fn a_plan_is_in_force_whole_or_not_at_all() {
    let mut rig = Rig::open();
    rig.say(WatchEvent::Revision { desired: Revision { generation: 3, revision: 118 } });
    rig.answer("desired", envelopes(&[seal(Kind::Plan, &lasting(plan()), &["content"])]));
    let looks = rig.done.iter().filter(|action| matches!(action, Action::Look(..))).count();
    assert_eq!((looks, rig.revision()), (2, None));
    rig.find(Held::Part(300));
    let (request, call) = rig.take("blob").unwrap();
    let Call::Blob { blob, from, bytes } = call else { panic!("{call:?}") };
    assert_eq!((from, bytes), (300, 1000));
    // It breaks off, and goes on from where it broke off.
    rig.tell(Event::Answered(request, Answer::Blob(Held::Part(700))));
    let (request, call) = rig.take("blob").unwrap();
    assert_eq!(call, Call::Blob { blob, from: 700, bytes: 1000 });
    rig.tell(Event::Answered(request, Answer::Blob(Held::Whole)));
    assert_eq!(rig.revision(), None);
    let (request, _) = rig.take("blob").unwrap();
    rig.tell(Event::Answered(request, Answer::Blob(Held::Whole)));
    assert_eq!(rig.revision(), Some(118));
    assert_eq!(rig.take("blob"), None);
    // What is in force stays in force when an older one is offered.
    rig.say(WatchEvent::Revision { desired: Revision { generation: 3, revision: 117 } });
    let older = changed(lasting(plan()), |plan| plan["revision"] = 117.into());
    rig.answer("desired", envelopes(&[seal(Kind::Plan, &older, &["content"])]));
    assert_eq!(rig.revision(), Some(118));
}

#[test]
fn a_sound_with_the_wrong_hash_is_fetched_again_and_not_at_once() {
    let mut rig = Rig::open();
    rig.say(WatchEvent::Revision { desired: Revision { generation: 3, revision: 118 } });
    rig.answer("desired", envelopes(&[seal(Kind::Plan, &lasting(plan()), &["content"])]));
    rig.find(Held::Part(0));
    let (request, _) = rig.take("blob").unwrap();
    let now = rig.now();
    let actions = rig.link.handle(now, Event::Answered(request, Answer::Blob(Held::Part(0))), &mut || 1999);
    assert!(!actions.iter().any(|action| matches!(action, Action::Ask(_, Call::Blob { .. }))), "{actions:?}");
    rig.wait(2);
    assert!(rig.take("blob").is_some());
}

#[test]
fn an_expired_plan_plays_on_and_raises_an_alarm() {
    let mut rig = Rig::open();
    rig.say(WatchEvent::Revision { desired: Revision { generation: 3, revision: 118 } });
    rig.answer("desired", envelopes(&[seal(Kind::Plan, &lasting(plan()), &["content"])]));
    rig.find(Held::Whole);
    assert!(rig.link.alarms().is_empty());
    rig.wait(700);
    assert_eq!(rig.revision(), Some(118));
    assert!(rig.link.alarms().contains(&Alarm::PlanOverdue(crate::schedule::Source::Town)));
    assert!(rig.link.kept().plans.values().all(|plan| plan.plan().unwrap().schedules["daily"] == SCHEDULE));
}

#[test]
fn a_command_is_on_the_disk_before_it_is_carried() {
    let mut rig = Rig::open();
    rig.order(&lasting(command("emergency")), "emergency");
    rig.find(Held::Whole);
    let kept = rig
        .done
        .iter()
        .position(|action| matches!(action, Action::Keep(change) if matches!(**change, Change::Accepted { .. })));
    let carried = rig.done.iter().position(|action| matches!(action, Action::Carry(_)));
    assert!(kept.unwrap() < carried.unwrap());
    let told = |rig: &mut Rig| {
        let (request, call) = rig.take("status").unwrap();
        rig.tell(Event::Answered(request, Answer::Done));
        let Call::Status(Status { state, .. }) = call else { panic!("{call:?}") };
        state
    };
    assert_eq!(told(&mut rig), State::Verified);
    for state in [State::Started, State::Finished] {
        rig.tell(Event::Order(id(1).try_into().unwrap(), state.clone()));
        assert_eq!(told(&mut rig), state);
    }
    assert_eq!(rig.take("status"), None);
    assert_eq!(rig.carried(), "speak");
    // The same again, and whatever anybody says of it: it stays what it came to.
    rig.order(&lasting(command("emergency")), "emergency");
    rig.tell(Event::Order(id(1).try_into().unwrap(), State::Started));
    assert_eq!((rig.carried().as_str(), rig.state(1)), ("", State::Finished));
    assert_eq!(told(&mut rig), State::Finished, "whoever asks again is told again");
}

#[test]
fn after_a_restart_what_is_not_at_its_end_is_carried_again() {
    let mut rig = Rig::open();
    rig.order(&lasting(command("emergency")), "emergency");
    rig.find(Held::Whole);
    rig.tell(Event::Order(id(1).try_into().unwrap(), State::Started));
    let mut again = Rig::new(rig.link.kept().clone());
    again.find(Held::Whole);
    assert_eq!(again.carried(), "speak");
    again.tell(Event::Order(id(1).try_into().unwrap(), State::Finished));
    let mut third = Rig::new(again.link.kept().clone());
    third.find(Held::Whole);
    assert_eq!(third.carried(), "");
}

#[test]
fn a_stop_that_overtakes_its_play_wins() {
    let play = |number: u64, counter: u64, op: &str| {
        changed(lasting(command(op)), |command| {
            command["id"] = id(number).into();
            command["counter"] = counter.into();
        })
    };
    let stop = |counter: u64, of: Option<u64>| {
        changed(play(9, counter, "stop"), |command| command["command"] = json!(of.map(id)))
    };
    for (stop, by, play, of, is_heard) in [
        (stop(500, Some(1)), "content", play(1, 499, "play"), "content", false),
        (stop(500, Some(1)), "content", play(1, 501, "play"), "content", false),
        (stop(500, Some(2)), "content", play(1, 499, "play"), "content", true),
        (stop(500, None), "content", play(1, 499, "play"), "content", false),
        (stop(500, None), "content", play(1, 501, "play"), "content", true),
        (stop(500, None), "content", play(1, 499, "emergency"), "emergency", true),
        (stop(500, Some(1)), "content", play(1, 499, "emergency"), "emergency", true),
        (stop(500, Some(1)), "emergency", play(1, 499, "emergency"), "emergency", false),
        (stop(500, None), "emergency", play(1, 499, "play"), "content", false),
    ] {
        let mut rig = Rig::open();
        rig.order(&stop, by);
        assert_eq!(rig.carried(), "stop");
        rig.order(&play, of);
        rig.find(Held::Whole);
        assert_eq!(rig.carried() == "speak", is_heard, "{stop} {play}");
        assert_eq!(rig.state(1) == State::Superseded, !is_heard);
    }
}

#[test]
fn a_command_that_takes_the_place_of_another_ends_it() {
    let mut rig = Rig::open();
    let first = lasting(command("play"));
    rig.order(&first, "content");
    let second = changed(first.clone(), |command| {
        command["id"] = id(2).into();
        command["counter"] = 482.into();
        command["supersedes"] = json!([id(1), id(3)]);
    });
    // The first waits for its sound still, and is never heard; the third comes too late.
    rig.order(&second, "content");
    assert_eq!(rig.state(1), State::Superseded);
    rig.order(
        &changed(first, |command| {
            command["id"] = id(3).into();
            command["counter"] = 480.into()
        }),
        "content",
    );
    rig.find(Held::Whole);
    assert_eq!((rig.carried().as_str(), rig.state(3)), ("speak", State::Superseded));
}

#[test]
fn what_an_office_orders_whose_clock_is_wrong_counts_for_as_long_as_it_was_meant_to() {
    for minutes in [-11, 0, 11] {
        let shift = minutes * 60_000;
        let mut rig = Rig::new(kept());
        let (_, Call::Watch { nonce, .. }) = &rig.open[0] else { panic!("no watch") };
        let office = Timestamp::from_millisecond(NOW + shift).unwrap();
        let time = time_proof(nonce, office, office, &signer("time")).unwrap().text().to_owned();
        let (desired, journal) = (Revision { generation: 3, revision: 0 }, Acked { epoch: EPOCH.into(), acked: 300 });
        rig.say(WatchEvent::Hello { desired, root: 4, time, journal, heartbeat_s: 25 });
        let order = |number: u64| {
            changed(lasting(command("play")), |command| {
                command["id"] = id(number).into();
                command["counter"] = (500 + number).into();
                for key in ["issued", "not_after"] {
                    command[key] = (command[key].as_i64().unwrap() + shift).into();
                }
            })
        };
        rig.order(&order(1), "content");
        rig.find(Held::Whole);
        assert_eq!(rig.carried(), "speak", "{minutes}");
        rig.order(&changed(order(2), |command| command["audio"][0]["inline"] = json!(null)), "content");
        rig.find(Held::Part(0));
        rig.wait(599);
        assert_eq!(rig.state(2), State::Verified, "{minutes}");
        rig.wait(1);
        assert_eq!(rig.state(2), State::Expired, "{minutes}");
    }
}

#[test]
fn a_command_dies_at_its_deadline_while_it_waits_for_its_sound() {
    let mut rig = Rig::open();
    let order = changed(lasting(command("play")), |command| command["audio"][0]["inline"] = json!(null));
    rig.order(&order, "content");
    rig.find(Held::Part(0));
    rig.wait(599);
    assert_eq!(rig.state(1), State::Verified);
    assert!(rig.link.next_wake() <= Duration::from_secs(600));
    rig.wait(1);
    assert_eq!(rig.state(1), State::Expired);
    rig.find(Held::Whole);
    assert_eq!(rig.carried(), "");
}

#[test]
fn what_is_refused_is_told_with_its_reason() {
    let mut rig = Rig::open();
    rig.answer("report", Answer::Done);
    rig.order(&command("sing"), "content");
    let (request, call) = rig.take("status").unwrap();
    let Call::Status(status) = call else { panic!("{call:?}") };
    assert_eq!(status.state, State::Rejected(Refused::Unsupported { op: "sing".into() }));
    rig.tell(Event::Answered(request, Answer::Done));
    rig.order(&command("emergency"), "unheard-of");
    assert_eq!(rig.take("status"), None, "anybody may have sent it");
    rig.wait(2);
    let (_, call) = rig.take("report").unwrap();
    let Call::Report(reported) = call else { panic!("{call:?}") };
    let reasons: Vec<_> = reported.rejected.iter().map(|rejected| rejected.why.clone()).collect();
    assert!(reasons.contains(&Refused::UnknownKey { kid: "unheard-of".into() }), "{reasons:?}");
}

#[test]
fn the_journal_goes_up_from_where_it_was_acknowledged() {
    let mut rig = Rig::open();
    let rows = |newest| Event::Rows { epoch: EPOCH.into(), newest };
    let acked = |acked| Answer::Acked(Acked { epoch: EPOCH.into(), acked });
    let after = |rig: &mut Rig| {
        let (request, call) = rig.take("journal")?;
        let Call::Journal { after, .. } = call else { panic!("{call:?}") };
        rig.open.push((request, call));
        Some(after)
    };
    rig.tell(rows(700));
    assert_eq!(after(&mut rig), Some(0));
    rig.answer("journal", acked(500));
    assert_eq!(after(&mut rig), Some(500));
    rig.answer("journal", Answer::Later(Some(Duration::from_secs(90))));
    rig.wait(50);
    rig.say(WatchEvent::Heartbeat);
    assert_eq!(after(&mut rig), None);
    rig.wait(40);
    assert_eq!(after(&mut rig), Some(500));
    rig.answer("journal", acked(700));
    assert_eq!((after(&mut rig), rig.link.kept().acked), (None, 700));
    rig.tell(rows(701));
    // Old tidings, late.
    rig.tell(rows(699));
    // The office lost rows, and gets them again.
    rig.answer("journal", Answer::Turned(Turned::Need { from: 301 }));
    assert_eq!(after(&mut rig), Some(300));
    rig.wait(2);
    // An answer to what was asked before that changes nothing.
    rig.answer("journal", Answer::Turned(Turned::Need { from: 401 }));
    rig.wait(2);
    assert_eq!(after(&mut rig), Some(300));
    assert!(rig.link.alarms().is_empty());
    // It has more than there are: two machines write this journal.
    rig.answer("journal", acked(900));
    assert!(rig.link.alarms().contains(&Alarm::JournalTurned(Turn::Fork)));
    assert_eq!((after(&mut rig), rig.link.kept().acked), (None, 300));
}

#[test]
fn a_station_with_nothing_new_learns_that_the_office_lost_rows() {
    let mut rig = Rig::open();
    rig.tell(Event::Rows { epoch: EPOCH.into(), newest: 500 });
    rig.answer("journal", Answer::Acked(Acked { epoch: EPOCH.into(), acked: 500 }));
    assert_eq!(rig.take("journal"), None);
    rig.answer("watch", Answer::Failed);
    rig.greet(0, 4);
    assert_eq!(rig.take("journal").unwrap().1, Call::Journal { epoch: EPOCH.into(), after: 300, newest: 500 });
}

#[test]
fn an_office_in_a_new_generation_is_told_again_what_became_of_commands() {
    let mut rig = Rig::open();
    rig.order(&lasting(command("report")), "content");
    rig.answer("report", Answer::Done);
    while rig.take("status").is_some_and(|(id, _)| {
        rig.tell(Event::Answered(id, Answer::Done));
        true
    }) {}
    assert!(rig.link.kept().orders.values().all(|order| order.told));
    let next = changed(root(), |root| (root["version"], root["generation"]) = (5.into(), 4.into()));
    rig.say(WatchEvent::Trust { root: 5 });
    rig.answer("trust", envelopes(&[seal(Kind::Root, &next, &["root-1", "root-2"])]));
    assert!(rig.take("status").is_some());
}

#[test]
fn a_root_that_says_more_is_fetched_before_anything_is_refused_for_good() {
    let mut rig = Rig::open();
    let next = changed(root(), |root| {
        root["version"] = 5.into();
        root["generation"] = 4.into();
    });
    let newer = changed(lasting(plan()), |plan| {
        plan["generation"] = 4.into();
        plan["revision"] = 1.into();
    });
    rig.say(WatchEvent::Revision { desired: Revision { generation: 4, revision: 1 } });
    rig.answer("desired", envelopes(&[seal(Kind::Plan, &newer, &["content"])]));
    rig.answer("trust", envelopes(&[seal(Kind::Root, &next, &["root-1", "root-2"])]));
    assert_eq!(rig.link.pinned().root().generation, 4);
    rig.wait(2);
    rig.answer("desired", envelopes(&[seal(Kind::Plan, &newer, &["content"])]));
    rig.find(Held::Whole);
    assert_eq!(rig.revision(), Some(1));
}

#[test]
fn a_command_that_came_before_its_root_is_asked_for_again() {
    let mut rig = Rig::open();
    rig.order(&changed(lasting(command("play")), |command| command["generation"] = 4.into()), "content");
    assert_eq!(rig.take("status"), None, "it is not rejected for good");
    let watch = rig.watch();
    let next = changed(root(), |root| (root["version"], root["generation"]) = (5.into(), 4.into()));
    rig.answer("trust", envelopes(&[seal(Kind::Root, &next, &["root-1", "root-2"])]));
    rig.wait(2);
    assert_ne!(rig.watch(), watch);
}

#[test]
fn a_month_without_an_office_changes_nothing() {
    let mut rig = Rig::open();
    rig.say(WatchEvent::Revision { desired: Revision { generation: 3, revision: 118 } });
    rig.answer("desired", envelopes(&[seal(Kind::Plan, &lasting(plan()), &["content"])]));
    rig.find(Held::Whole);
    rig.open.clear();
    let (before, mut woken) = (rig.link.kept().clone(), 0);
    while rig.second < 31 * 24 * 3600 {
        let wake = rig.link.next_wake().as_secs_f64().ceil() as u64;
        assert!(wake > rig.second || woken < 10, "it does not rest");
        rig.second = wake.max(rig.second + 1);
        let now = rig.now();
        let mut random = || 150_000;
        for action in rig.link.handle(now, Event::Woke, &mut random) {
            if let Action::Ask(request, _) = action {
                rig.link.handle(now, Event::Answered(request, Answer::Failed), &mut random);
            }
        }
        woken += 1;
    }
    assert_eq!(*rig.link.kept(), before);
    assert!(woken < 31 * 24 * 60, "{woken}");
    assert!(rig.link.alarms().contains(&Alarm::OfficeSilent));
}

#[test]
fn a_place_that_names_another_key_was_signed_for_somebody_in_between() {
    let sealed = seal(Kind::Place, &place(), &["content"]);
    let now = Moment { at: Timestamp::from_millisecond(NOW).unwrap(), known: true };
    for (text, key, expected) in [
        (sealed.text().to_owned(), "ab", None),
        (sealed.text().to_owned(), "cd", Some(Refused::NotForThisStation)),
        (
            seal(Kind::Place, &place(), &["emergency"]).text().to_owned(),
            "ab",
            Some(Refused::WrongRole { kid: "emergency".into() }),
        ),
        (
            seal(Kind::Place, &place(), &["nobody"]).text().to_owned(),
            "ab",
            Some(Refused::UnknownKey { kid: "nobody".into() }),
        ),
    ] {
        assert_eq!(Kept::enrolled(&pinned(), &text, key, now).err(), expected);
    }
}

#[test]
fn every_change_survives_being_written_and_read_and_made_twice() {
    let mut rig = Rig::open();
    rig.say(WatchEvent::Revision { desired: Revision { generation: 3, revision: 118 } });
    rig.answer("desired", envelopes(&[seal(Kind::Plan, &lasting(plan()), &["content"])]));
    rig.order(&lasting(command("emergency")), "emergency");
    rig.find(Held::Whole);
    rig.tell(Event::Order(id(1).try_into().unwrap(), State::Failed { why: crate::outcome::Reason::DeviceStalled }));
    rig.tell(Event::Rows { epoch: EPOCH.into(), newest: 1 });
    rig.answer("journal", Answer::Acked(Acked { epoch: EPOCH.into(), acked: 1 }));
    let mut disk = kept();
    let changes =
        rig.done.iter().filter_map(|action| if let Action::Keep(change) = action { Some(change) } else { None });
    for change in changes {
        let read: Change = serde_json::from_str(&serde_json::to_string(change).unwrap()).unwrap();
        disk.apply(read);
        let once = disk.clone();
        disk.apply((**change).clone());
        assert_eq!(disk, once);
    }
    assert_eq!(disk, *rig.link.kept());
    assert_eq!(serde_json::from_str::<Kept>(&serde_json::to_string(&disk).unwrap()).unwrap(), disk);
}

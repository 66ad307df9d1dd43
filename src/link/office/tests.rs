use super::{
    super::{Refused, State, StationId},
    *,
};
use serde_json::json;

fn station(name: &str) -> StationId {
    StationId::try_from(name.to_owned()).unwrap()
}

fn place(name: &str) -> Place {
    serde_json::from_value(json!({
        "generation": 1, "revision": 1, "station": name, "key": "", "division": "330127104201", "groups": [],
    }))
    .unwrap()
}

fn issued() -> Issued {
    let targets = serde_json::from_value(json!({ "stations": ["a", "b", "c", "d", "e"] })).unwrap();
    let id = "01890000-0000-7000-8000-000000000001".to_owned().try_into().unwrap();
    Issued { id, targets, not_after: Timestamp::from_second(1000).unwrap(), envelope: "{}".into() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn the_clerk_reads_what_became_of_it_and_never_that_it_was_sent() {
    let mut receipts = Receipts::default();
    for (name, state) in [("a", State::Started), ("b", State::Expired), ("c", State::Verified), ("c", State::Started)] {
        assert!(receipts.take(&issued(), &place(name), state, at(1)));
    }
    assert!(!receipts.take(&issued(), &place("stranger"), State::Finished, at(1)), "it was not meant");
    let names = ["a", "b", "c", "d", "e"].map(station);
    for (there, zh, en) in [
        ([true; 5], "5 在线：2 已开始，2 未答复，1 过期", "5 online: 2 started, 2 not answering yet, 1 expired"),
        (
            [true, false, true, false, false],
            "3 在线：2 已开始，1 过期；2 离线",
            "3 online: 2 started, 1 expired; 2 offline",
        ),
        ([false; 5], "1 在线：1 过期；4 离线", "1 online: 1 expired; 4 offline"),
    ] {
        let said = receipts.tally(names.iter().zip(there)).said();
        assert_eq!((said.zh.as_str(), said.en.as_str()), (zh, en));
    }
    assert_eq!(Receipts::default().tally([]).said().zh, "0 在线");
}

#[test]
fn a_command_is_owed_until_it_is_on_the_disk_or_dead() {
    for (state, now, expected) in [
        (None, 999, true),
        (None, 1000, false),
        (Some(State::Delivered), 999, true),
        (Some(State::Verified), 999, false),
        (Some(State::Rejected(Refused::NotForThisStation)), 999, false),
    ] {
        let mut receipts = Receipts::default();
        if let Some(state) = state.clone() {
            receipts.take(&issued(), &place("a"), state, at(1));
        }
        assert_eq!(receipts.owes(&issued(), &place("a"), at(now)), expected, "{state:?} {now}");
    }
    assert!(!Receipts::default().owes(&issued(), &place("stranger"), at(1)));
}

#[test]
fn a_station_with_two_watches_goes_when_both_are_closed() {
    let mut presence = Presence::default();
    assert_eq!(presence.opened(1, at(10)), Some(Turned::Up));
    assert_eq!(presence.opened(2, at(20)), None);
    assert_eq!(presence.closed(1), None);
    assert_eq!(presence.closed(1), None);
    assert_eq!(presence.closed(2), Some(Turned::Down));
    assert_eq!((presence.is_up(), presence.last_heard()), (false, Some(at(20))));
}

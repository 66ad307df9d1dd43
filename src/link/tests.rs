//! What a station believes: every way in which a document may be wrong, each refused with its own reason.

use super::{accept::Refusal, *};
use crate::schedule::Source;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

pub(super) const NOW: i64 = 1_781_700_000_000;
pub(super) const SCHEDULE: &str =
    "[announcement.a]\nchime = \"gong.wav\"\nplay = [\"fraud/\"]\n[[rule]]\nplay = \"a\"\nat = [\"06:30\"]\n";

pub(super) fn signer(kid: &str) -> Signer {
    let seed = kid.bytes().fold(7_u8, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte));
    envelope::tests::signer(kid, seed)
}

fn public(kid: &str) -> Value {
    json!({ "kid": kid, "alg": "ed25519", "key": BASE64.encode(signer(kid).key.verifying_key().as_bytes()) })
}

fn key(kid: &str, role: &str, scope: &str, not_after: i64) -> Value {
    let mut key = public(kid);
    key["role"] = role.into();
    key["scope"] = scope.into();
    key["not_after"] = not_after.into();
    key
}

/// The town's root: two of three root keys sign the next.
pub(super) fn root() -> Value {
    json!({
        "version": 4, "generation": 3, "office": "青石镇", "threshold": 2,
        "roots": [public("root-1"), public("root-2"), public("root-3")],
        "keys": [
            key("content", "content", "330127104000", NOW + 1_000_000),
            key("emergency", "emergency", "330127104000", NOW + 1_000_000),
            key("county", "content", "330127000000", NOW + 1_000_000),
            key("village", "content", "330127104202", NOW + 1_000_000),
            key("late", "content", "330127104000", NOW),
            key("stolen", "content", "330127104000", NOW + 1_000_000),
            key("later", "choir", "330127104000", NOW + 1_000_000),
            key("time", "time", "330127104000", NOW + 1_000_000),
            { "kid": "gm", "alg": "sm2", "key": "AAAA", "role": "content", "scope": "330127104000", "not_after": NOW + 1 },
        ],
        "revoked": ["stolen"], "a field of the future": true,
    })
}

pub(super) fn place() -> Value {
    json!({ "generation": 3, "revision": 5, "station": "beizhuang", "key": "ab", "division": "330127104201", "groups": ["沿河"] })
}

pub(super) fn plan() -> Value {
    let sound = |path: &str| json!({ "path": path, "sha256": BlobId::of(path.as_bytes()), "bytes": 1000 });
    json!({
        "generation": 3, "revision": 118, "issued": NOW - 1000, "review_by": NOW + 1000,
        "targets": { "stations": ["beizhuang"] }, "source": "town",
        "schedules": { "daily": SCHEDULE }, "audio": [sound("gong.wav"), sound("fraud/a.mp3")],
    })
}

pub(super) fn id(number: u64) -> String {
    format!("01890000-0000-7000-8000-{number:012x}")
}

pub(super) fn command(op: &str) -> Value {
    json!({
        "id": id(1), "generation": 3, "counter": 481, "issued": NOW - 1000, "not_after": NOW + 1000,
        "targets": { "divisions": ["330127104000"] }, "operator": "王主任", "op": op,
        "audio": [{ "title": "转移", "sha256": BlobId::of(b"move"), "bytes": 4, "inline": BASE64.encode(b"move") }],
        "text": "请沿河村民立即转移", "max_ms": 180_000, "volume": 50,
    })
}

pub(super) fn seal(kind: Kind, document: &Value, kids: &[&str]) -> Envelope {
    let signers: Vec<_> = kids.iter().map(|kid| signer(kid)).collect();
    Envelope::of(kind, document, &signers).unwrap()
}

pub(super) fn pinned() -> Pinned {
    Pinned::first(seal(Kind::Root, &root(), &["root-1", "root-2"]).text().as_bytes()).unwrap()
}

static PINNED: LazyLock<Pinned> = LazyLock::new(pinned);
static PLACE: LazyLock<Place> = LazyLock::new(|| serde_json::from_value(place()).unwrap());

fn moment(at: i64) -> Moment {
    Moment { at: Timestamp::from_millisecond(at).unwrap(), known: true }
}

/// What a station has seen with plan 117 and the counters 470 and 475.
static MARKS: LazyLock<Marks> = LazyLock::new(|| {
    let known = changed(plan(), |plan| plan["revision"] = 117.into());
    let older = |counter: u64| {
        changed(command("play"), |command| {
            command["counter"] = counter.into();
            command["id"] = id(70).into();
        })
    };
    let mut marks = Marks::of(&PLACE, BlobId::of(&serde_json::to_vec(&place()).unwrap()));
    for (kind, document) in [(Kind::Plan, known), (Kind::Command, older(470)), (Kind::Command, older(475))] {
        let judge = Judge { pinned: &PINNED, place: &PLACE, marks: &marks, now: moment(NOW) };
        marks = judge.accept(seal(kind, &document, &["content"]).text().as_bytes()).unwrap().marks;
    }
    marks
});

/// Shows an envelope to that station.
fn shown(bytes: &[u8], now: Moment) -> Result<Accepted, Refusal> {
    Judge { pinned: &PINNED, place: &PLACE, marks: &MARKS, now }.accept(bytes)
}

/// Returns the name of the reason for which an envelope is refused; `accepted` where it is not.
fn verdict(bytes: &[u8], now: Moment) -> String {
    match shown(bytes, now) {
        Ok(_) => "accepted".into(),
        Err(refusal) => serde_json::to_value(refusal.why).unwrap()["reason"].as_str().unwrap().to_owned(),
    }
}

pub(super) fn changed(mut document: Value, change: impl Fn(&mut Value)) -> Value {
    change(&mut document);
    document
}

#[test]
fn what_is_meant_for_the_station_is_accepted() {
    for (kind, document, kid) in [
        (Kind::Plan, plan(), "content"),
        (Kind::Plan, changed(plan(), |plan| plan["source"] = "county".into()), "county"),
        (Kind::Plan, changed(plan(), |plan| plan["later"] = json!({ "a": 1 })), "content"),
        (Kind::Place, changed(place(), |place| place["revision"] = 6.into()), "content"),
        (Kind::Place, place(), "content"),
        (Kind::Command, command("play"), "content"),
        (Kind::Command, command("emergency"), "emergency"),
        (Kind::Command, command("stop"), "content"),
        (Kind::Command, command("stop"), "emergency"),
        (Kind::Command, command("volume"), "content"),
        (Kind::Command, command("report"), "emergency"),
        // It was overtaken by 475, and is not lost for that.
        (Kind::Command, changed(command("play"), |command| command["counter"] = 473.into()), "content"),
    ] {
        assert_eq!(verdict(seal(kind, &document, &[kid]).text().as_bytes(), moment(NOW)), "accepted", "{document}");
    }
    // An old and a new key sign while roots change.
    let both = seal(Kind::Plan, &plan(), &["unheard-of", "stolen", "content"]);
    assert_eq!(verdict(both.text().as_bytes(), moment(NOW)), "accepted");
}

#[test]
fn what_is_forged_re_aimed_replayed_rolled_back_or_expired_is_refused_for_its_own_reason() {
    let at = |pointer: &'static str, value: Value| {
        move |document: &mut Value| *document.pointer_mut(pointer).unwrap() = value.clone()
    };
    let rows: Vec<(Kind, Value, &str, &str)> = vec![
        (Kind::Plan, plan(), "unheard-of", "unknown-key"),
        (Kind::Plan, plan(), "stolen", "revoked"),
        (Kind::Plan, plan(), "emergency", "wrong-role"),
        (Kind::Plan, plan(), "later", "wrong-role"),
        (Kind::Plan, plan(), "late", "key-expired"),
        (Kind::Plan, plan(), "village", "out-of-scope"),
        (
            Kind::Plan,
            changed(plan(), at("/targets", json!({ "stations": ["nanzhuang"] }))),
            "content",
            "not-for-this-station",
        ),
        (Kind::Plan, changed(plan(), at("/targets", json!({}))), "content", "not-for-this-station"),
        (Kind::Plan, changed(plan(), at("/targets", json!({ "divisions": ["330127"] }))), "content", "out-of-scope"),
        (Kind::Plan, changed(plan(), at("/source", "county".into())), "content", "out-of-scope"),
        (Kind::Plan, changed(plan(), at("/source", "station".into())), "content", "malformed"),
        (Kind::Plan, changed(plan(), at("/generation", 2.into())), "content", "old-generation"),
        (Kind::Plan, changed(plan(), at("/generation", 4.into())), "content", "newer-generation"),
        (Kind::Plan, changed(plan(), at("/revision", 116.into())), "content", "old-revision"),
        (
            Kind::Plan,
            changed(changed(plan(), at("/revision", 117.into())), at("/review_by", (NOW + 2).into())),
            "content",
            "same-revision",
        ),
        (Kind::Plan, changed(plan(), at("/revision", u64::MAX.into())), "content", "malformed"),
        (Kind::Plan, changed(plan(), at("/review_by", NOW.into())), "content", "expired"),
        (Kind::Plan, changed(plan(), at("/audio/1/path", "other/a.mp3".into())), "content", "audio-not-listed"),
        (Kind::Plan, changed(plan(), at("/audio/0/path", "gong.wave".into())), "content", "audio-not-listed"),
        (Kind::Plan, changed(plan(), at("/audio/0/path", "../gong.wav".into())), "content", "malformed"),
        (Kind::Plan, changed(plan(), at("/audio/1/path", "gong.wav".into())), "content", "malformed"),
        (Kind::Plan, changed(plan(), at("/schedules/daily", "[[[ =".into())), "content", "schedule"),
        (Kind::Plan, json!(["not a plan"]), "content", "malformed"),
        (Kind::Place, changed(place(), at("/station", "nanzhuang".into())), "content", "not-for-this-station"),
        (Kind::Place, changed(place(), at("/key", "cd".into())), "content", "not-for-this-station"),
        (Kind::Place, changed(place(), at("/division", "330127105201".into())), "content", "out-of-scope"),
        (Kind::Place, changed(place(), at("/revision", 4.into())), "content", "old-revision"),
        (Kind::Place, changed(place(), at("/groups", json!([]))), "content", "same-revision"),
        (Kind::Place, place(), "emergency", "wrong-role"),
        (Kind::Command, command("emergency"), "content", "wrong-role"),
        (Kind::Command, command("play"), "emergency", "wrong-role"),
        (Kind::Command, command("sing"), "content", "unsupported"),
        (Kind::Command, changed(command("play"), at("/not_after", NOW.into())), "content", "expired"),
        (Kind::Command, changed(command("play"), at("/not_after", (NOW - 2000).into())), "content", "lifetime"),
        (Kind::Command, changed(command("play"), at("/not_after", (NOW + 90_000_000).into())), "content", "lifetime"),
        (
            Kind::Command,
            changed(command("emergency"), at("/not_after", (NOW + 1_800_000).into())),
            "emergency",
            "lifetime",
        ),
        (Kind::Command, changed(command("play"), at("/counter", 470.into())), "content", "replayed"),
        (Kind::Command, changed(command("play"), at("/counter", 475.into())), "content", "replayed"),
        (Kind::Command, changed(command("play"), at("/counter", 0.into())), "content", "malformed"),
        (
            Kind::Command,
            changed(command("play"), at("/audio/0/sha256", json!(BlobId::of(b"other")))),
            "content",
            "wrong-hash",
        ),
        (Kind::Command, changed(command("play"), at("/audio/0/bytes", 5.into())), "content", "wrong-hash"),
        (Kind::Command, changed(command("play"), at("/audio", json!([]))), "content", "malformed"),
        (Kind::Command, changed(command("play"), at("/max_ms", 7_200_001.into())), "content", "malformed"),
        (Kind::Command, changed(command("play"), at("/volume", 101.into())), "content", "malformed"),
        (
            Kind::Command,
            changed(command("play"), at("/id", "01890000-0000-4000-8000-000000000001".into())),
            "content",
            "malformed",
        ),
        (Kind::Command, changed(command("play"), at("/generation", 2.into())), "content", "old-generation"),
        (Kind::Time, json!({}), "content", "unknown-type"),
    ];
    for (kind, document, kid, expected) in rows {
        let envelope = seal(kind, &document, &[kid]);
        assert_eq!(verdict(envelope.text().as_bytes(), moment(NOW)), expected, "{kind:?} by {kid}: {document}");
    }
    let large = changed(command("play"), |command| {
        let sound = vec![0; (64 << 10) + 1];
        command["audio"] = json!([{ "title": "", "sha256": BlobId::of(&sound), "bytes": sound.len(), "inline": BASE64.encode(&sound) }]);
    });
    let large = seal(Kind::Command, &large, &["content"]);
    assert_eq!(verdict(large.text().as_bytes(), moment(NOW)), "too-large");
}

#[test]
fn an_envelope_that_was_touched_is_refused() {
    let good = seal(Kind::Command, &command("emergency"), &["emergency"]);
    let text = good.text();
    let other = BASE64.encode(
        changed(command("emergency"), |command| command["targets"] = json!({ "groups": ["山区"] })).to_string(),
    );
    let mut written: Value = serde_json::from_str(text).unwrap();
    let mut with = |pointer: &str, value: Value| {
        let before = written.pointer_mut(pointer).unwrap().take();
        *written.pointer_mut(pointer).unwrap() = value;
        let text = written.to_string();
        *written.pointer_mut(pointer).unwrap() = before;
        text
    };
    for (bytes, expected) in [
        (text.to_owned(), "accepted"),
        (with("/payload", other.into()), "forged"),
        (with("/type", Kind::Plan.media_type().into()), "forged"),
        (with("/type", "application/vnd.in-toto+json".into()), "unknown-type"),
        (with("/sigs/0/kid", "content".into()), "forged"),
        (with("/sigs/0/kid", "Emergency!".into()), "malformed"),
        (with("/sigs/0/alg", "sm2".into()), "algorithm"),
        (with("/sigs/0/sig", BASE64.encode([0; 64]).into()), "forged"),
        (with("/sigs/0/sig", BASE64.encode([0; 63]).into()), "forged"),
        (with("/sigs/0/sig", "?".into()), "malformed"),
        (with("/sigs", json!([])), "malformed"),
        (text[..text.len() - 1].to_owned(), "malformed"),
        (text[..text.len() / 2].to_owned(), "malformed"),
        (String::new(), "malformed"),
        (format!("{text}{text}"), "malformed"),
        (format!("{text}{}", " ".repeat(Kind::Command.largest())), "too-large"),
        (" ".repeat(Kind::Plan.largest() + 1), "too-large"),
        ("[".repeat(100_000), "malformed"),
    ] {
        assert_eq!(verdict(bytes.as_bytes(), moment(NOW)), expected, "{}", &bytes.chars().take(60).collect::<String>());
    }
    let by_sm2 = seal(Kind::Plan, &plan(), &["gm"]).text().replace("ed25519", "sm2");
    assert_eq!(verdict(by_sm2.as_bytes(), moment(NOW)), "algorithm");
    assert_eq!(verdict(b"\xff\xfe", moment(NOW)), "malformed");
}

#[test]
fn only_a_stop_is_accepted_while_nobody_knows_the_time() {
    let unknown = Moment { known: false, ..moment(0) };
    for (kind, document, kid, expected) in [
        (Kind::Command, command("stop"), "content", "accepted"),
        (Kind::Command, command("stop"), "emergency", "accepted"),
        (Kind::Command, command("emergency"), "emergency", "time-unknown"),
        (Kind::Command, command("play"), "content", "time-unknown"),
        (Kind::Plan, plan(), "content", "time-unknown"),
    ] {
        assert_eq!(verdict(seal(kind, &document, &[kid]).text().as_bytes(), unknown), expected, "{document}");
    }
}

#[test]
fn the_same_document_again_is_known_and_changes_nothing() {
    for (kind, document, kid) in [
        (Kind::Command, changed(command("play"), |command| command["counter"] = 475.into()), "content"),
        (Kind::Plan, changed(plan(), |plan| plan["revision"] = 117.into()), "content"),
        (Kind::Place, place(), "content"),
    ] {
        let document =
            if kind == Kind::Command { changed(document, |command| command["id"] = id(70).into()) } else { document };
        let again = seal(kind, &document, &[kid]);
        let late = moment(NOW + 10_000);
        let accepted = shown(again.text().as_bytes(), late).unwrap();
        assert!(!accepted.is_new, "{document}");
        let twice = Judge { pinned: &PINNED, place: &PLACE, marks: &accepted.marks, now: late };
        assert_eq!(twice.accept(again.text().as_bytes()).unwrap().marks, accepted.marks);
    }
}

#[test]
fn a_rejection_is_told_only_of_a_command_that_a_trusted_key_signed() {
    let sealed = |op, kid: &str| seal(Kind::Command, &command(op), &[kid]).text().to_owned();
    for (text, told) in [
        (sealed("sing", "content"), true),
        (sealed("emergency", "content"), true),
        (sealed("emergency", "unheard-of"), false),
        (sealed("emergency", "emergency").replace("\"kid\":\"emergency\"", "\"kid\":\"content\""), false),
    ] {
        let refusal = shown(text.as_bytes(), moment(NOW)).unwrap_err();
        assert_eq!(refusal.command.is_some(), told, "{:?}", refusal.why);
    }
}

#[test]
fn a_counter_far_behind_counts_as_used() {
    let mut marks = Marks::default();
    for counter in 1000..1300 {
        let order = changed(command("play"), |command| {
            command["counter"] = counter.into();
            command["id"] = id(counter).into();
        });
        let judge = Judge { pinned: &PINNED, place: &PLACE, marks: &marks, now: moment(NOW) };
        marks = judge.accept(seal(Kind::Command, &order, &["content"]).text().as_bytes()).unwrap().marks;
    }
    for (counter, expected) in [(999, false), (1010, false), (1043, false), (1300, true)] {
        let order = changed(command("play"), |command| command["counter"] = counter.into());
        let judge = Judge { pinned: &PINNED, place: &PLACE, marks: &marks, now: moment(NOW) };
        let accepted = judge.accept(seal(Kind::Command, &order, &["content"]).text().as_bytes());
        assert_eq!(accepted.is_ok(), expected, "{counter}");
    }
}

#[test]
fn a_root_follows_only_from_the_keys_in_force() {
    let next = || changed(root(), |root| root["version"] = 5.into());
    let new_keys =
        || changed(next(), |root| root["roots"] = json!([public("root-1"), public("root-8"), public("root-9")]));
    let twice = || {
        changed(next(), |root| {
            let mut second = public("root-1");
            second["kid"] = "root-2".into();
            root["roots"] = json!([public("root-1"), second]);
        })
    };
    let rows: Vec<(Value, &[&str], &str)> = vec![
        (next(), &["root-1", "root-3"], "accepted"),
        (changed(root(), |root| root["version"] = 9.into()), &["root-1", "root-2"], "accepted"),
        (changed(next(), |root| root["generation"] = 4.into()), &["root-1", "root-2"], "accepted"),
        (next(), &["root-1"], "too-few-signatures"),
        (next(), &["root-1", "root-1"], "too-few-signatures"),
        (next(), &["content", "emergency"], "too-few-signatures"),
        (next(), &["root-8", "root-9"], "too-few-signatures"),
        (root(), &["root-1", "root-2"], "old-revision"),
        (changed(root(), |root| root["office"] = "别处".into()), &["root-1", "root-2"], "same-revision"),
        (changed(root(), |root| root["version"] = 3.into()), &["root-1", "root-2"], "old-revision"),
        (changed(next(), |root| root["generation"] = 2.into()), &["root-1", "root-2"], "old-generation"),
        (changed(next(), |root| root["threshold"] = 0.into()), &["root-1", "root-2"], "malformed"),
        (changed(next(), |root| root["threshold"] = 4.into()), &["root-1", "root-2", "root-3"], "malformed"),
        (changed(next(), |root| root["keys"][0]["kid"] = "root-1".into()), &["root-1", "root-2"], "malformed"),
        // Both the old keys and the new ones have to sign.
        (new_keys(), &["root-1", "root-2"], "too-few-signatures"),
        (new_keys(), &["root-8", "root-9"], "too-few-signatures"),
        (new_keys(), &["root-1", "root-2", "root-8"], "accepted"),
        // One key under two names is one key.
        (twice(), &["root-1", "root-2", "root-3"], "forged"),
        (changed(next(), |root| root["revoked"] = json!(["root-1"])), &["root-1", "root-2"], "too-few-signatures"),
    ];
    for (document, kids, expected) in rows {
        let envelope = seal(Kind::Root, &document, kids);
        assert_eq!(verdict(envelope.text().as_bytes(), moment(NOW)), expected, "{document} by {kids:?}");
    }
}

#[test]
fn a_new_generation_starts_revisions_and_counters_again() {
    let next = changed(root(), |root| {
        root["version"] = 5.into();
        root["generation"] = 4.into();
    });
    let accepted = shown(seal(Kind::Root, &next, &["root-1", "root-2"]).text().as_bytes(), moment(NOW)).unwrap();
    let Document::Root(pinned) = &accepted.document else { panic!("a root") };
    let judge = Judge { pinned, place: &PLACE, marks: &accepted.marks, now: moment(NOW) };
    let low = |mut document: Value, key: &str| {
        document["generation"] = 4.into();
        document[key] = 1.into();
        document
    };
    for (kind, document) in [(Kind::Plan, low(plan(), "revision")), (Kind::Command, low(command("play"), "counter"))] {
        assert!(judge.accept(seal(kind, &document, &["content"]).text().as_bytes()).is_ok(), "{document}");
    }
    let old = judge.accept(seal(Kind::Plan, &plan(), &["content"]).text().as_bytes()).unwrap_err();
    assert_eq!(old.why, Refused::OldGeneration { ours: 4, theirs: 3 });
}

#[test]
fn a_first_root_is_signed_by_its_own_keys_and_has_words() {
    let words = |root: &Value| {
        let pinned = Pinned::first(seal(Kind::Root, root, &["root-1", "root-2"]).text().as_bytes()).unwrap();
        pinned.words().said(crate::text::Language::Chinese)
    };
    assert_eq!(words(&root()).split(' ').count(), 8);
    assert_ne!(words(&root()), words(&changed(root(), |root| root["office"] = "青石鎮".into())));
    assert!(Pinned::first(seal(Kind::Root, &root(), &["root-1"]).text().as_bytes()).is_err());
    assert!(Pinned::first(seal(Kind::Plan, &root(), &["root-1", "root-2"]).text().as_bytes()).is_err());
}

#[test]
fn states_only_move_on() {
    let mut state = State::Delivered;
    for (next, moves) in [
        (State::Delivered, false),
        (State::Started, true),
        (State::Verified, false),
        (State::Superseded, true),
        (State::Finished, false),
        (State::Rejected(Refused::TooMany), false),
    ] {
        assert_eq!(state.advance(next.clone()), moves, "{next:?}");
    }
    assert_eq!(state, State::Superseded);
}

#[test]
fn states_and_reasons_travel_as_they_are_and_a_newer_reason_is_understood_as_one() {
    let refused = Refused::OldRevision { ours: 118, theirs: 117 };
    for (state, json) in [
        (State::Started, r#"{"state":"started"}"#),
        (State::Rejected(refused), r#"{"state":"rejected","reason":"old-revision","ours":118,"theirs":117}"#),
        (State::Rejected(Refused::Other), r#"{"state":"rejected","reason":"of-the-future","more":1}"#),
        (State::Failed { why: crate::outcome::Reason::ClipMissing }, r#"{"state":"failed","why":"clip-missing"}"#),
    ] {
        assert_eq!(serde_json::from_str::<State>(json).unwrap(), state, "{json}");
        assert_eq!(serde_json::from_str::<State>(&serde_json::to_string(&state).unwrap()).unwrap(), state);
        assert!(!state.said().zh.is_empty() && state.said().en.is_ascii());
    }
}

#[test]
fn documents_survive_being_written_and_read() {
    for op in ["play", "emergency", "stop", "volume", "report"] {
        let read = Command::read(command(op).to_string().as_bytes()).unwrap();
        assert_eq!(Command::read(&serde_json::to_vec(&read).unwrap()).unwrap(), read);
        assert_eq!(read.op.name(), op);
    }
    let read: Plan = serde_json::from_value(plan()).unwrap();
    assert_eq!(read.source, Source::Town);
    assert_eq!(serde_json::from_value::<Plan>(serde_json::to_value(&read).unwrap()).unwrap(), read);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(shown(&bytes, moment(NOW)).is_err());
    }

    #[test]
    fn no_change_of_a_byte_is_believed(which in 0..4_usize, at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let envelope = match which {
            0 => seal(Kind::Plan, &plan(), &["content"]),
            1 => seal(Kind::Command, &command("emergency"), &["emergency"]),
            2 => seal(Kind::Place, &changed(place(), |place| place["revision"] = 6.into()), &["content"]),
            _ => seal(Kind::Root, &changed(root(), |root| root["version"] = 5.into()), &["root-1", "root-2"]),
        };
        let mut bytes = envelope.text().as_bytes().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        if let Ok(accepted) = shown(&bytes, moment(NOW)) {
            // Blanks between the words of the envelope mean nothing; what was signed is untouched.
            prop_assert_eq!(accepted.envelope.payload(), envelope.payload());
        }
    }

    /// A key holder's program may be wrong too: whatever was signed, reading it is safe.
    #[test]
    fn no_signed_contents_make_it_panic(which in 0..3_usize, at in any::<prop::sample::Index>(), to in any::<u8>(), length in any::<prop::sample::Index>()) {
        let (kind, document, kid) = match which {
            0 => (Kind::Plan, plan(), "content"),
            1 => (Kind::Command, command("emergency"), "emergency"),
            _ => (Kind::Place, place(), "content"),
        };
        let mut payload = serde_json::to_vec(&document).unwrap();
        let index = at.index(payload.len());
        payload[index] = to;
        if to & 1 == 0 { payload.truncate(length.index(payload.len())) }
        let _ = shown(Envelope::sign(kind, &payload, &[signer(kid)]).text().as_bytes(), moment(NOW));
    }
}

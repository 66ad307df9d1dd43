//! The client against an office of a few lines, over TLS.

use super::super::{
    BlobId, StationId,
    journal::{Acked, Batch, Turned},
    protocol::{SignIn, WatchEvent, sign_in_text},
    station::{Call, Held},
    time::Nonce,
};
use super::{client::enrol, *};
use crate::{entry::Entry, journal::Journal, web};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State as With},
    http::{HeaderMap, Request, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ed25519_dalek::{Signature, SigningKey, Verifier as _};
use serde_json::json;
use std::sync::{Mutex, MutexGuard};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;

/// What the office does, and what was done to it.
#[derive(Default)]
struct Desk {
    /// Answers everything behind the sign-in, while there are any.
    refusals: Vec<(StatusCode, &'static str)>,
    token: u32,
    sign_ins: u32,
    forgets: bool,
    sound: Vec<u8>,
    /// Bytes after which a transfer breaks off.
    breaks: Option<usize>,
    ignores_ranges: bool,
    ranges: Vec<String>,
    stream: Vec<&'static str>,
    batches: Vec<(String, Batch)>,
    turns: Option<Turned>,
}

#[derive(Clone, Default)]
struct Office(Arc<Mutex<Desk>>);

impl Office {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap()
    }

    async fn open(&self, folder: &TempDir) -> String {
        let tls = web::Tls::open(folder.path(), "镇中心").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Router::new()
            .route("/v1/desired", get(async || axum::Json(json!({ "envelopes": ["a", "b"] }))))
            .route("/v1/reported", get(StatusCode::OK).put(StatusCode::NO_CONTENT))
            .route("/v1/blobs/{sha256}", get(sound))
            .route("/v1/watch", get(watched))
            .route("/v1/journal", post(journal))
            .layer(middleware::from_fn_with_state(self.clone(), check));
        let router = behind
            .route("/v1/hello", get(async || axum::Json(json!({ "nonce": Nonce::new(1, 2), "office": "" }))))
            .route("/v1/session", post(sign_in))
            .route(
                "/v1/enrol",
                post(async || (StatusCode::FORBIDDEN, axum::Json(json!({ "error": "没有这个加入码" })))),
            )
            .with_state(self.clone());
        tokio::spawn(web::serve(listener, router, Some(tls)));
        format!("https://{address}")
    }
}

fn root() -> BlobId {
    BlobId::of(b"root")
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn station() -> StationId {
    StationId::try_from("beizhuang".to_owned()).unwrap()
}

async fn check(With(office): With<Office>, headers: HeaderMap, request: Request<Body>, next: Next) -> Response {
    let refusal = {
        let mut desk = office.desk();
        let known = headers.get("authorization").is_some_and(|word| *word == format!("Bearer word-{}", desk.token));
        if !known || desk.forgets {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        desk.refusals.pop()
    };
    match refusal {
        Some((status, "")) => status.into_response(),
        Some((status, after)) => (status, [("retry-after", after)]).into_response(),
        None => next.run(request).await,
    }
}

async fn sign_in(With(office): With<Office>, axum::Json(asked): axum::Json<SignIn>) -> Response {
    let signature = Signature::from_slice(&crate::text::unhex(&asked.signature).unwrap()).unwrap();
    let text = sign_in_text(&asked.station, &asked.nonce, &root());
    assert!(key().verifying_key().verify(text.as_bytes(), &signature).is_ok());
    let mut desk = office.desk();
    desk.sign_ins += 1;
    desk.token = desk.sign_ins;
    axum::Json(json!({ "token": format!("word-{}", desk.token), "expires": 0 })).into_response()
}

async fn sound(With(office): With<Office>, headers: HeaderMap, Path(_): Path<String>) -> Response {
    let mut desk = office.desk();
    let range = headers.get("range").map(|range| range.to_str().unwrap().to_owned());
    desk.ranges.extend(range.clone());
    let from = range.filter(|_| !desk.ignores_ranges);
    let from = from.map_or(0, |range| range["bytes=".len()..].trim_end_matches('-').parse::<usize>().unwrap());
    let rest = desk.sound[from.min(desk.sound.len())..].to_vec();
    let (sent, length) = match desk.breaks {
        Some(bytes) => (rest[..bytes.min(rest.len())].to_vec(), rest.len()),
        None => (rest.clone(), rest.len()),
    };
    // A body that ends before its length breaks the connection off.
    let pieces = [Ok(Bytes::from(sent)), Err(std::io::Error::other("cut"))];
    let most = if length == 0 || desk.breaks.is_none() { 1 } else { 2 };
    let pieces = tokio_stream::iter(pieces.into_iter().take(most)).then(async |piece| {
        // So that what was handed over is sent before the connection breaks.
        tokio::task::yield_now().await;
        piece
    });
    let body = Body::from_stream(pieces);
    let range = format!("bytes {from}-{}/{}", from + length - 1, desk.sound.len());
    if from > 0 {
        (StatusCode::PARTIAL_CONTENT, [("content-range", range)], body).into_response()
    } else {
        body.into_response()
    }
}

async fn watched(With(office): With<Office>, Query(asked): Query<BTreeMap<String, String>>) -> Response {
    let stream = office.desk().stream.clone();
    match asked.get("wait") {
        Some(_) => stream.concat().into_response(),
        None => Body::from_stream(tokio_stream::iter(stream.into_iter().map(Ok::<_, std::io::Error>))).into_response(),
    }
}

async fn journal(With(office): With<Office>, headers: HeaderMap, body: Bytes) -> Response {
    let packing = headers.get("content-encoding").map_or("", |packing| packing.to_str().unwrap());
    let body = if packing == "zstd" { zstd::decode_all(&*body).unwrap() } else { body.to_vec() };
    let batch: Batch = serde_json::from_slice(&body).unwrap();
    let mut desk = office.desk();
    let acked = Acked { epoch: batch.epoch.clone(), acked: batch.to };
    desk.batches.push((packing.to_owned(), batch));
    match &desk.turns {
        Some(turned) => (StatusCode::CONFLICT, axum::Json(turned.clone())).into_response(),
        None => axum::Json(acked).into_response(),
    }
}

/// A station in front of that office.
struct Rig {
    office: Office,
    client: Client,
    data: TempDir,
    _folder: TempDir,
}

impl Rig {
    async fn new() -> Self {
        let (office, folder, data) = (Office::default(), TempDir::new().unwrap(), TempDir::new().unwrap());
        let address = office.open(&folder).await;
        let client = Client::new(
            (&address, Some(shown(&address).await), root()),
            station(),
            key(),
            Files::new(data.path()),
            data.path().join("journal.db"),
        );
        Self { office, client: client.unwrap(), data, _folder: folder }
    }

    async fn ask(&self, call: Call) -> Answer {
        self.watch(call).await.1
    }

    /// What came down, and how it ended.
    async fn watch(&self, call: Call) -> (Vec<Event>, Answer) {
        let (sender, mut events) = mpsc::channel(64);
        let answer = client::answer(self.client.carry(1, call, &sender).await);
        drop(sender);
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            told.push(event);
        }
        (told, answer)
    }

    fn files(&self) -> Files {
        Files::new(self.data.path())
    }
}

/// The key of the certificate that an office shows.
async fn shown(address: &str) -> Pin {
    let seen = tls::Seen::default();
    let config = tls::config(None, Arc::clone(&seen)).unwrap();
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().build().unwrap();
    client.get(format!("{address}/v1/hello")).send().await.unwrap();
    seen.lock().unwrap().unwrap()
}

#[tokio::test]
async fn a_station_signs_in_once_and_again_when_the_office_has_forgotten_it() {
    let rig = Rig::new().await;
    for (forgotten, sign_ins) in [(false, 1), (false, 1), (true, 2)] {
        if forgotten {
            rig.office.desk().token = 99;
        }
        assert!(matches!(rig.ask(Call::Desired).await, Answer::Envelopes(envelopes) if envelopes.envelopes.len() == 2));
        assert_eq!(rig.office.desk().sign_ins, sign_ins);
    }
    // One that never knows it is not asked without end.
    rig.office.desk().forgets = true;
    assert_eq!(rig.ask(Call::Desired).await, Answer::Failed);
    assert_eq!(rig.office.desk().sign_ins, 3);
}

#[tokio::test]
async fn an_office_that_asks_for_time_gets_it() {
    let rig = Rig::new().await;
    let seconds = |seconds| Answer::Later(Some(Duration::from_secs(seconds)));
    for (status, after, expected) in [
        (429, "30", seconds(30)),
        (503, "0", seconds(0)),
        (507, "", Answer::Later(None)),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", Answer::Later(None)),
        (503, "99999999999", seconds(86_400)),
        (500, "", Answer::Failed),
        (302, "", Answer::Failed),
        (404, "", Answer::Failed),
    ] {
        rig.office.desk().refusals.push((StatusCode::from_u16(status).unwrap(), after));
        assert_eq!(rig.ask(Call::Desired).await, expected, "{status} {after}");
    }
}

#[tokio::test]
async fn a_sound_that_breaks_off_goes_on_where_it_broke_off() {
    let rig = Rig::new().await;
    let sound: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let blob = BlobId::of(&sound);
    let call = || Call::Blob { blob, from: 0, bytes: 200_000 };
    rig.office.desk().sound = sound;
    rig.office.desk().breaks = Some(80_000);
    assert_eq!(rig.ask(call()).await, Answer::Blob(Held::Part(80_000)));
    rig.office.desk().breaks = None;
    assert_eq!(rig.ask(call()).await, Answer::Blob(Held::Whole));
    assert_eq!(rig.office.desk().ranges, ["bytes=80000-"]);
    assert_eq!(BlobId::of(&std::fs::read(rig.files().whole(&blob)).unwrap()), blob);
    // What is here is not fetched again.
    rig.office.desk().refusals.push((StatusCode::INTERNAL_SERVER_ERROR, ""));
    assert_eq!(rig.ask(call()).await, Answer::Blob(Held::Whole));
}

#[tokio::test]
async fn a_sound_is_taken_only_if_it_is_the_one_that_was_meant() {
    for (sent, breaks, ignores_ranges, expected) in [
        ("0123456789", None, true, Held::Whole),
        ("012345678x", None, true, Held::Part(0)),
        ("012345678x", None, false, Held::Part(0)),
        ("0123456789 and more", None, true, Held::Part(0)),
        ("0123", None, true, Held::Part(4)),
        ("01234", None, false, Held::Part(0)),
    ] {
        let rig = Rig::new().await;
        let blob = BlobId::of(b"0123456789");
        std::io::Write::write_all(&mut rig.files().open_part(&blob, 0).unwrap(), b"012").unwrap();
        rig.office.desk().sound = sent.into();
        (rig.office.desk().breaks, rig.office.desk().ignores_ranges) = (breaks, ignores_ranges);
        let expected = if sent == "01234" { Held::Part(5) } else { expected };
        let answer = rig.ask(Call::Blob { blob, from: 3, bytes: 10 }).await;
        assert_eq!(answer, Answer::Blob(expected), "{sent} {ignores_ranges}");
        assert_eq!(rig.files().whole(&blob).exists(), expected == Held::Whole);
    }
}

#[tokio::test]
async fn what_comes_down_a_watch_is_told_in_order_and_a_stream_without_end_is_cut() {
    let rig = Rig::new().await;
    let watch = |wait| Call::Watch { root: 1, nonce: Nonce::new(3, 4), wait };
    let alive = || Event::Watched(1, WatchEvent::Heartbeat);
    let trust = Event::Watched(1, WatchEvent::Trust { root: 2 });
    let events = ["data: {\"event\":\"heartbeat\"}\n\nda", "ta: {\"event\":\"trust\",\"root\":2}\n", "\n: x\n\n"];
    for (wait, stream, told, answer) in [
        (None, events.to_vec(), vec![Event::Opened(1), alive(), trust.clone()], Answer::Done),
        (None, vec!["data: {}\n\n"], vec![Event::Opened(1)], Answer::Failed),
        (None, vec!["<html>"], vec![Event::Opened(1)], Answer::Done),
        (Some(25), vec!["[{\"event\":\"heartbeat\"}]"], vec![Event::Opened(1), alive()], Answer::Done),
        (Some(25), vec!["[]"], vec![Event::Opened(1)], Answer::Done),
        (Some(25), vec!["<html>"], vec![Event::Opened(1)], Answer::Failed),
    ] {
        rig.office.desk().stream = stream.clone();
        assert_eq!(rig.watch(watch(wait)).await, (told, answer), "{stream:?}");
    }
    rig.office.desk().stream = std::iter::repeat_n("data: 0123456789abcdef\n", 40_000).collect();
    assert_eq!(rig.watch(watch(None)).await.1, Answer::Failed);
}

fn entry(number: i64) -> Entry {
    let at = Timestamp::from_second(1_800_000_000 + number).unwrap();
    serde_json::from_value(json!({
        "occurrence": format!("station/day/a@{number}"), "source": "station", "schedule": "day", "announcement": "a",
        "title": "反诈提示", "clips": [], "band": "normal", "due": at, "started": null, "ended": at, "expected_ms": 1,
        "heard_ms": 0, "start_error_us": null, "outcome": "missed", "reason": "station-down", "evidence": null,
        "device": null, "peak_dbfs": null, "rms_dbfs": null, "underruns": 0, "volume": 80,
        "clock": { "state": "trusted", "offset_ms": null }, "operator": null, "note": null, "revision": "0",
    }))
    .unwrap()
}

#[tokio::test]
async fn rows_go_up_packed_from_where_they_are_wanted() {
    let rig = Rig::new().await;
    let mut journal = Journal::open(rig.data.path(), "beizhuang").await.unwrap();
    for number in 1..=5 {
        journal.finish(&entry(number)).await.unwrap();
    }
    let (epoch, newest) =
        Reader::open(&rig.data.path().join("journal.db")).await.unwrap().newest().await.unwrap().unwrap();
    assert_eq!(newest, 5);
    let acked = |acked| Answer::Acked(Acked { epoch: epoch.clone(), acked });
    let call = |epoch: &str, after, newest| Call::Journal { epoch: epoch.to_owned(), after, newest };
    for (of, after, newest, turns, expected) in [
        (epoch.as_str(), 0, 5, None, acked(5)),
        (&epoch, 3, 5, None, acked(5)),
        // What was written since the link was told is for the next time.
        (&epoch, 1, 4, None, acked(4)),
        (&epoch, 0, 5, Some(Turned::Need { from: 2 }), Answer::Turned(Turned::Need { from: 2 })),
        // Another journal is here by now; there is nothing behind the last row, and nothing behind rows that never were.
        ("another", 0, 5, None, Answer::Failed),
        (&epoch, 5, 5, None, Answer::Failed),
        (&epoch, 9, 9, None, Answer::Failed),
    ] {
        rig.office.desk().turns = turns;
        assert_eq!(rig.ask(call(of, after, newest)).await, expected, "{of} {after}");
    }
    let batches = rig.office.desk().batches.clone();
    let sent: Vec<_> = batches.iter().map(|(packing, batch)| (packing.as_str(), batch.from, batch.to)).collect();
    assert_eq!(sent, [("zstd", 1, 5), ("zstd", 4, 5), ("zstd", 2, 4), ("zstd", 1, 5)]);
}

#[tokio::test]
async fn an_office_with_another_key_than_at_enrolment_is_not_spoken_to() {
    let (office, folder, other) = (Office::default(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let address = office.open(&folder).await;
    let impostor = Office::default().open(&other).await;
    let pin = shown(&address).await;
    assert_eq!(shown(&address).await, pin);
    assert_ne!(shown(&impostor).await, pin);
    let data = TempDir::new().unwrap();
    for (address, expected) in [(&address, true), (&impostor, false)] {
        let journal = data.path().join("journal.db");
        let client =
            Client::new((address, Some(pin), root()), station(), key(), Files::new(data.path()), journal).unwrap();
        let answer = client::answer(client.carry(1, Call::Desired, &mpsc::channel(1).0).await);
        assert_eq!(answer != Answer::Failed, expected);
    }
}

#[tokio::test]
async fn an_office_that_refuses_a_code_is_quoted() {
    let folder = TempDir::new().unwrap();
    let address = Office::default().open(&folder).await;
    let refused = enrol(&address, None, &key(), ("ABCD2345", &station(), "北庄村")).await;
    let said = EnrolError::from(refused.unwrap_err()).said();
    assert!(said.zh.contains("没有这个加入码"), "{}", said.zh);
    let nobody = enrol("https://127.0.0.1:1", None, &key(), ("ABCD2345", &station(), "北庄村")).await;
    assert!(matches!(nobody, Err(CallError::Broken(_))), "{nobody:?}");
}

//! The office as stations meet it: real connections over real TLS, on both engines.

use crate::{
    clock,
    entry::{GENESIS, chain},
    link::{
        BlobId, CommandId, Division, Envelope, Judge, Marks, Moment, Pinned, Place, Refused, State, StationId, Targets,
        journal::{Acked, Batch, Turned},
        protocol::{
            Enrol, Enrolled, Envelopes, Rejected, Reported, SignIn, Status, WatchEvent, enrol_text, sign_in_text,
        },
        time::{Nonce, OfficeClock},
    },
    office::{
        Office,
        blobs::Blobs,
        enrol::Invitation,
        keys::{Keys, Renewal},
        orders::Terms,
        run,
        scribe::keep_presence,
        server,
        store::{
            About, Deed, StationState, Store,
            tests::{Fresh, engines},
        },
    },
    text::hex,
    web::{Code, Guard, People, Role, Tls},
};
use axum::http::StatusCode;
use ed25519_dalek::{Signer as _, SigningKey};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, Response, header};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// What has not come by then is not coming.
const PATIENCE: Duration = Duration::from_secs(30);

fn division(code: &str) -> Division {
    Division::try_from(code.to_owned()).unwrap()
}

fn id(name: &str) -> StationId {
    StationId::try_from(name.to_owned()).unwrap()
}

/// One office process, and a way to it.
struct Process {
    office: Office,
    address: SocketAddr,
    http: reqwest::Client,
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<()>>,
}

impl Process {
    async fn start(store: Store, home: &Path, node: &str) -> Self {
        let about = store.about().await.unwrap().unwrap();
        let people = Arc::new(People::open(home.join("people.json")).unwrap());
        let blobs = Blobs::in_folder(&home.join("blobs")).unwrap();
        let office = Office::open(home, store, blobs, people, &about).await.unwrap();
        let tls = Tls::open(home, "office").unwrap();
        let listener = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let guard = Guard { token: "token".into(), hosts: Arc::default() };
        let (_router, routers) = watch::channel(run::open(&office, guard, Arc::new(Code::new().unwrap())));
        let mut running = vec![tokio::spawn(server::serve(listener, tls, routers, stopped.clone()))];
        let presence = keep_presence(office.store.clone(), office.watches.clone(), node.to_owned(), stopped.clone());
        running.push(tokio::spawn(presence));
        let handing = office.clone();
        running.push(tokio::spawn(async move {
            handing.watches.run(&handing.store, &handing.keys, stopped).await.unwrap();
        }));
        let http = client(home, address);
        Self { office, address, http, stop, running }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    async fn code(&self, uses: i64, automatic: bool) -> String {
        let name = if uses == 1 { "北庄村".to_owned() } else { String::new() };
        let invitation = Invitation { division: division("330127104201"), name, uses, automatic };
        self.office.make_code("王芳", invitation).await.unwrap().0
    }

    /// Ends as a process that is told to.
    async fn end(self) {
        self.stop.send_replace(true);
        for task in self.running {
            timeout(PATIENCE, task).await.unwrap().unwrap();
        }
    }
}

/// A client that trusts the certificate of this home.
fn client(home: &Path, address: SocketAddr) -> reqwest::Client {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(trusting(home)).no_proxy();
    builder.timeout(Duration::from_secs(60)).resolve("localhost", address).build().unwrap()
}

fn trusting(home: &Path) -> tokio_rustls::rustls::ClientConfig {
    let certificate = std::fs::read(home.join("page-cert.pem")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
    roots.add(CertificateDer::from_pem_slice(&certificate).unwrap()).unwrap();
    tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Sets an office up in a store.
async fn found(fresh: &Fresh) {
    let home = fresh.folder.path();
    let division = division("330127104000");
    let keys = Keys::make(home, "青石镇", &division, clock::wall()).unwrap();
    let generation = keys.generation();
    let about = About { name: "青石镇".into(), division, zone: "Asia/Shanghai".into(), generation, revision: 0 };
    let root = keys.root();
    let change = fresh.found(&about, root.root().version, root.envelope().text()).await.unwrap().unwrap();
    change.commit("王芳", Deed::SetUp, "", "").await.unwrap();
}

/// An office on each engine.
async fn offices() -> Vec<(Fresh, Process)> {
    let mut offices = Vec::new();
    for fresh in engines().await {
        found(&fresh).await;
        let process = Process::start(fresh.again().await, fresh.folder.path(), "one").await;
        offices.push((fresh, process));
    }
    offices
}

/// A station, as light as can be.
struct Station {
    id: StationId,
    key: SigningKey,
}

impl Station {
    fn new(name: &str, seed: u8) -> Self {
        Self { id: id(name), key: SigningKey::from_bytes(&[seed; 32]) }
    }

    fn public(&self) -> String {
        hex(self.key.verifying_key().as_bytes())
    }

    fn asks(&self, code: &str) -> Enrol {
        let key = self.public();
        let signature = hex(&self.key.sign(enrol_text(code, &self.id, &key).as_bytes()).to_bytes());
        Enrol { code: code.to_owned(), station: self.id.clone(), name: "北庄".into(), key, signature }
    }

    async fn enrol(&self, to: &Process, code: &str) -> Result<Enrolled, StatusCode> {
        let answer = to.http.post(to.url("/v1/enrol")).body(serde_json::to_vec(&self.asks(code)).unwrap());
        let answer = answer.send().await.unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        Ok(body(answer).await)
    }

    async fn hello(&self, to: &Process) -> (Nonce, BlobId) {
        let hello: Value = body(to.http.get(to.url("/v1/hello")).send().await.unwrap()).await;
        let office = BlobId::try_from(hello["office"].as_str().unwrap().to_owned()).unwrap();
        (Nonce::from(hello["nonce"].as_str().unwrap().to_owned()), office)
    }

    fn signs(&self, nonce: Nonce, office: &BlobId) -> SignIn {
        let signature = hex(&self.key.sign(sign_in_text(&self.id, &nonce, office).as_bytes()).to_bytes());
        SignIn { station: self.id.clone(), nonce, signature }
    }

    async fn sign_in(&self, to: &Process) -> Result<String, StatusCode> {
        let (nonce, office) = self.hello(to).await;
        session(to, &self.signs(nonce, &office)).await
    }

    /// Comes to an office, is taken in by a clerk, and signs in.
    async fn joined(name: &str, seed: u8, to: &Process) -> (Self, String) {
        let station = Self::new(name, seed);
        station.enrol(to, &to.code(1, false).await).await.unwrap();
        to.office.confirm("王芳", &station.id).await.unwrap();
        let token = station.sign_in(to).await.unwrap();
        (station, token)
    }
}

async fn session(to: &Process, sign_in: &SignIn) -> Result<String, StatusCode> {
    let asked = to.http.post(to.url("/v1/session")).body(serde_json::to_vec(sign_in).unwrap());
    let answer = asked.send().await.unwrap();
    if answer.status() != StatusCode::OK {
        return Err(answer.status());
    }
    let session: Value = body(answer).await;
    Ok(session["token"].as_str().unwrap().to_owned())
}

async fn body<T: serde::de::DeserializeOwned>(answer: Response) -> T {
    let bytes = answer.bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)))
}

async fn ask(to: &Process, method: Method, path: &str, token: &str, sent: impl Into<reqwest::Body>) -> Response {
    to.http.request(method, to.url(path)).bearer_auth(token).body(sent).send().await.unwrap()
}

async fn get(to: &Process, path: &str, token: &str) -> Response {
    ask(to, Method::GET, path, token, "").await
}

/// A watch that is open.
struct Watch {
    answer: Response,
    came: Vec<u8>,
}

impl Watch {
    async fn open(to: &Process, token: &str) -> Self {
        let answer = get(to, &format!("/v1/watch?root=1&nonce={}", Nonce::new(1, 2).as_str()), token).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Self { answer, came: Vec::new() }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(at) = self.came.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<_> = self.came.drain(..at + 2).collect();
                let json = event[..at].strip_prefix(b"data: ").unwrap();
                return Some(serde_json::from_slice(json).unwrap());
            }
            match timeout(PATIENCE, self.answer.chunk()).await.expect("something comes") {
                Ok(Some(piece)) => self.came.extend_from_slice(&piece),
                _ => return None,
            }
        }
    }

    /// The next event that is none of these that only say that something changed.
    async fn command(&mut self) -> Option<CommandId> {
        loop {
            match self.next().await {
                Some(WatchEvent::Command { envelope }) => return Some(named(&envelope)),
                Some(_) => {}
                None => return None,
            }
        }
    }
}

fn named(envelope: &str) -> CommandId {
    let envelope = Envelope::read(envelope.as_bytes()).unwrap();
    let command: Value = serde_json::from_slice(envelope.payload()).unwrap();
    command["id"].as_str().unwrap().to_owned().try_into().unwrap()
}

fn for_one(station: &StationId) -> Terms {
    let targets = Targets { stations: [station.clone()].into(), ..Targets::default() };
    Terms { targets, ..Terms::default() }
}

fn status(command: CommandId, state: State) -> Vec<u8> {
    serde_json::to_vec(&Status { command, state, at: clock::wall() }).unwrap()
}

fn reported(sequence: u64) -> Reported {
    serde_json::from_value(json!({
        "sequence": sequence, "root": 1, "generation": 1, "in_force": [], "fetching": [], "journal": null, "acked": 0,
        "clock": { "state": "trusted", "offset_ms": null }, "rejected": [], "facts": {},
    }))
    .unwrap()
}

/// Rows of a journal, which miss their moments.
fn rows(epoch: &str, count: i64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut prev = GENESIS.to_owned();
    for seq in 1..=count {
        let line = format!(
            r#"{{"epoch":"{epoch}","seq":{seq},"occurrence":"o/{seq}","source":"station","schedule":"s","announcement":"a","title":"早间","clips":[],"band":"normal","due":"2026-06-17T06:30:00Z","started":null,"ended":"2026-06-17T06:30:00Z","expected_ms":0,"heard_ms":0,"start_error_us":null,"outcome":"missed","reason":"station-down","evidence":null,"device":null,"peak_dbfs":null,"volume":80,"clock":{{"state":"trusted","offset_ms":null}},"operator":null,"note":null,"revision":"","prev":"{prev}"}}"#
        );
        prev = chain(&prev, &line);
        lines.push(line);
    }
    lines
}

fn batch(station: &Station, epoch: &str, count: i64) -> Vec<u8> {
    let batch = Batch::of(epoch, 1, GENESIS, &rows(epoch, count), &station.key).unwrap();
    serde_json::to_vec(&batch).unwrap()
}

#[tokio::test]
async fn a_station_is_taken_in_by_a_clerk_and_every_call_answers() {
    for (fresh, town) in offices().await {
        let engine = fresh.engine();
        let code = town.code(1, false).await;
        let station = Station::new("beizhuang", 1);
        for _ in 0..2 {
            let enrolled = station.enrol(&town, &code.to_lowercase().replace('-', " ")).await.unwrap();
            assert_eq!((enrolled.place, enrolled.division), (None, division("330127104201")), "{engine:?}");
        }
        assert_eq!(station.sign_in(&town).await, Err(StatusCode::FORBIDDEN), "no clerk has agreed yet");
        town.office.confirm("王芳", &station.id).await.unwrap();
        let enrolled = station.enrol(&town, &code).await.unwrap();
        let pinned = Pinned::first(enrolled.root.as_bytes()).unwrap();
        assert_eq!(pinned.words(), town.office.keys.words());
        let place: Place =
            serde_json::from_slice(Envelope::read(enrolled.place.unwrap().as_bytes()).unwrap().payload()).unwrap();
        assert_eq!((&place.station, &place.key), (&station.id, &station.public()));

        let token = station.sign_in(&town).await.unwrap();
        let answer = get(&town, "/v1/desired", &token).await;
        let tag = answer.headers()[header::ETAG].clone();
        let desired: Envelopes = body(answer).await;
        let judge = Judge {
            pinned: &pinned,
            place: &place,
            marks: &Marks::of(&place, BlobId::of(b"")),
            now: Moment { at: clock::wall(), known: true },
        };
        assert_eq!(desired.envelopes.len(), 1);
        assert!(
            matches!(judge.accept(desired.envelopes[0].as_bytes()), Err(ref why) if
            matches!(why.why, Refused::SameRevision { .. })),
            "the place is signed, and was seen"
        );
        let again = town.http.get(town.url("/v1/desired")).bearer_auth(&token).header(header::IF_NONE_MATCH, tag);
        assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);

        let nonce = Nonce::new(3, 4);
        let answer = get(&town, &format!("/v1/time?nonce={}", nonce.as_str()), &token).await;
        let time: Envelopes = body(answer).await;
        let mut office = OfficeClock::default();
        let (asked, answered) = (Duration::from_secs(1), Duration::from_secs(2));
        office.take(pinned.root(), time.envelopes[0].as_bytes(), &nonce, asked, answered).unwrap();

        for (sequence, word) in [(2, "second"), (1, "late"), (3, "third")] {
            let report = Reported { facts: json!({ "word": word }), ..reported(sequence) };
            let answer = ask(&town, Method::PUT, "/v1/reported", &token, serde_json::to_vec(&report).unwrap()).await;
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        }
        let (report, _) = &fresh.reports().await.unwrap()[&station.id];
        assert_eq!((report.sequence, &report.facts["word"]), (3, &json!("third")));

        let roots: Envelopes = body(get(&town, "/v1/trust?from=0", &token).await).await;
        assert_eq!(roots.envelopes, [enrolled.root]);
        town.office.keys.renew(&town.office.store, &[Renewal::Time].into(), "王芳", clock::wall()).await.unwrap();
        let version = pinned.root().version;
        let roots: Envelopes = body(get(&town, &format!("/v1/trust?from={version}"), &token).await).await;
        let followed = pinned.follow(Envelope::read(roots.envelopes[0].as_bytes()).unwrap()).unwrap();
        assert_eq!(followed, town.office.keys.root());
        assert!(station.sign_in(&town).await.is_ok());
        let (nonce, _) = station.hello(&town).await;
        let behind = station.signs(nonce, &BlobId::of(pinned.envelope().payload()));
        assert!(session(&town, &behind).await.is_ok(), "a station that has the root before signs in too");
        town.end().await;
    }
}

#[tokio::test]
async fn rows_come_in_once_packed_or_not_and_what_is_no_batch_does_not() {
    for (fresh, town) in offices().await {
        let (station, token) = Station::joined("beizhuang", 1, &town).await;
        let epoch = "beizhuang-0123456789abcdef";
        let send = async |body: Vec<u8>, encoding: Option<&str>| {
            let request = town.http.post(town.url("/v1/journal")).bearer_auth(&token).body(body);
            let request = encoding.into_iter().fold(request, |request, it| request.header("content-encoding", it));
            request.send().await.unwrap()
        };
        let packed = |body: &[u8]| zstd::bulk::compress(body, 3).unwrap();
        for (body_sent, encoding, acked) in [
            (batch(&station, epoch, 3), None, 3),
            (batch(&station, epoch, 3), None, 3),
            (packed(&batch(&station, epoch, 40)), Some("zstd"), 40),
        ] {
            let answer = send(body_sent, encoding).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(body::<Acked>(answer).await, Acked { epoch: epoch.into(), acked });
        }
        let stranger = Station::new("beizhuang", 2);
        for (sent, turned) in
            [(batch(&stranger, epoch, 41), Turned::Signature), (batch(&station, "another", 3), Turned::Epoch)]
        {
            let answer = send(sent, None).await;
            assert_eq!(answer.status(), StatusCode::CONFLICT);
            assert_eq!(body::<Turned>(answer).await, turned);
        }
        let mut bomb = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..256 {
            std::io::Write::write_all(&mut bomb, &[b' '; 1 << 20]).unwrap();
        }
        let whole = batch(&station, epoch, 40);
        for (sent, encoding, expected) in [
            (bomb.finish().unwrap(), Some("zstd"), StatusCode::PAYLOAD_TOO_LARGE),
            (vec![b' '; 3 << 20], None, StatusCode::PAYLOAD_TOO_LARGE),
            (vec![b' '; 900 << 10], None, StatusCode::PAYLOAD_TOO_LARGE),
            (whole.clone(), Some("zstd"), StatusCode::BAD_REQUEST),
            (packed(&whole)[..40].to_vec(), Some("zstd"), StatusCode::BAD_REQUEST),
            (whole.clone(), Some("gzip"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (b"{}".to_vec(), None, StatusCode::UNPROCESSABLE_ENTITY),
            (b"\xff\xfe".to_vec(), None, StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            assert_eq!(send(sent, encoding).await.status(), expected, "{encoding:?}");
        }
        assert_eq!(fresh.rows().await.unwrap(), 40);
        town.end().await;
    }
}

#[tokio::test]
async fn a_sound_comes_whole_or_from_where_it_broke_off() {
    for (_fresh, town) in offices().await {
        let (_, token) = Station::joined("beizhuang", 1, &town).await;
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        let blob = town.office.blobs.put(bytes.clone().into()).await.unwrap();
        let path = format!("/v1/blobs/{blob}");
        let part = async |range: &str| {
            let request = town.http.get(town.url(&path)).bearer_auth(&token);
            if range.is_empty() { request } else { request.header(header::RANGE, range) }.send().await.unwrap()
        };
        for (range, status, from, to) in [
            ("", 200, 0, 200_000),
            ("bytes=0-", 206, 0, 200_000),
            ("bytes=150000-", 206, 150_000, 200_000),
            ("bytes=10-19", 206, 10, 20),
            ("bytes=-5", 206, 199_995, 200_000),
            ("bytes=1-2,5-6", 200, 0, 200_000),
        ] {
            let answer = part(range).await;
            assert_eq!(answer.status().as_u16(), status, "{range}");
            if status == 206 {
                let said = format!("bytes {from}-{}/200000", to - 1);
                assert_eq!(answer.headers()[header::CONTENT_RANGE], said, "{range}");
            }
            assert_eq!(answer.bytes().await.unwrap()[..], bytes[from..to], "{range}");
        }
        let behind = part("bytes=200000-").await;
        assert_eq!(
            (behind.status().as_u16(), &behind.headers()[header::CONTENT_RANGE]),
            (416, &"bytes */200000".parse().unwrap())
        );
        let head = ask(&town, Method::HEAD, &path, &token, "").await;
        assert_eq!(head.headers()[header::CONTENT_LENGTH], "200000");
        assert!(head.bytes().await.unwrap().is_empty());
        for (path, token, expected) in [
            (format!("/v1/blobs/{}", BlobId::of(b"")), token.as_str(), 404),
            ("/v1/blobs/..%2f..%2fkeys.json".to_owned(), &token, 404),
            (path.clone(), "", 401),
        ] {
            assert_eq!(get(&town, &path, token).await.status().as_u16(), expected, "{path}");
        }
        town.end().await;
    }
}

#[tokio::test]
async fn whoever_is_not_a_station_of_this_office_gets_no_further() {
    for (_fresh, town) in offices().await {
        let (station, token) = Station::joined("beizhuang", 1, &town).await;
        let (other, others) = Station::joined("nanzhuang", 2, &town).await;
        // Signing in.
        let (nonce, office) = station.hello(&town).await;
        for (sign_in, expected) in [
            (other.signs(nonce.clone(), &office), Ok(())),
            (SignIn { station: id("beizhuang"), ..other.signs(nonce.clone(), &office) }, Err(403)),
            (station.signs(nonce.clone(), &BlobId::of(b"another office")), Err(403)),
            (station.signs(nonce.clone(), &office), Err(403)),
            (station.signs(Nonce::new(1, 2), &office), Err(403)),
            (Station::new("xizhuang", 3).signs(station.hello(&town).await.0, &office), Err(403)),
        ] {
            let signed = session(&town, &sign_in).await.map(drop).map_err(|status| status.as_u16());
            assert_eq!(signed, expected, "{sign_in:?}");
        }
        // Tokens.
        let expired = token.replacen('.', ".1", 1);
        for token in ["", "x", "beizhuang.9999999999.00", &expired, &others.replace("nanzhuang", "beizhuang")] {
            for path in ["/v1/desired", "/v1/trust?from=0", "/v1/watch?root=1&nonce=0", "/v1/time?nonce=0"] {
                assert_eq!(get(&town, path, token).await.status(), StatusCode::UNAUTHORIZED, "{path} {token}");
            }
        }
        // What is asked.
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(300 << 10));
        let command = "01890000-0000-7000-8000-000000000001";
        let unknown = status(command.to_owned().try_into().unwrap(), State::Started);
        for (method, path, sent, expected) in [
            (Method::GET, "/v1/time?nonce=00", "".to_owned(), 400),
            (Method::GET, "/v1/time", "".to_owned(), 400),
            (Method::GET, "/v1/watch?root=1&nonce=..", "".to_owned(), 400),
            (Method::GET, "/v1/trust?from=-1", "".to_owned(), 400),
            (Method::PUT, "/v1/reported", long.clone(), 413),
            (Method::PUT, "/v1/reported", "[]".to_owned(), 422),
            (Method::POST, "/v1/commands/x/status", String::from_utf8(unknown.clone()).unwrap(), 400),
            (Method::POST, &format!("/v1/commands/{command}/status"), long, 413),
            // Said again it would not become more.
            (Method::POST, &format!("/v1/commands/{command}/status"), String::from_utf8(unknown).unwrap(), 204),
            (Method::POST, "/v1/desired", "".to_owned(), 405),
            (Method::GET, "/v1/unheard-of", "".to_owned(), 404),
        ] {
            let answer = ask(&town, method.clone(), path, &token, sent).await;
            assert_eq!(answer.status().as_u16(), expected, "{method} {path}");
        }
        town.end().await;
    }
}

#[tokio::test]
async fn a_code_lets_in_whom_it_is_for_and_cannot_be_searched_for() {
    for (_fresh, town) in offices().await {
        let (one, two) = (Station::new("beizhuang", 1), Station::new("nanzhuang", 2));
        let code = town.code(1, false).await;
        let forged = Enrol { key: two.public(), ..one.asks(&code) };
        let answer = town.http.post(town.url("/v1/enrol")).body(serde_json::to_vec(&forged).unwrap());
        assert_eq!(answer.send().await.unwrap().status(), StatusCode::FORBIDDEN, "whoever asks has the key");
        assert!(one.enrol(&town, &code).await.is_ok());
        assert_eq!(two.enrol(&town, &code).await.err(), Some(StatusCode::FORBIDDEN), "it is used up");
        let listed = town.office.store.station(&one.id).await.unwrap().unwrap();
        assert_eq!((listed.name.as_str(), listed.state), ("北庄村", StationState::Pending));

        let many = town.code(3, true).await;
        for (seed, name) in [(10, "a"), (11, "b"), (12, "c")] {
            let station = Station::new(name, seed);
            assert!(station.enrol(&town, &many).await.unwrap().place.is_some(), "nobody has to agree");
            assert!(station.enrol(&town, &many).await.is_ok(), "asked again, nothing is used up");
            assert!(station.sign_in(&town).await.is_ok());
        }
        assert_eq!(Station::new("d", 13).enrol(&town, &many).await.err(), Some(StatusCode::FORBIDDEN));
        let mut answers = Vec::new();
        for _ in 0..6 {
            answers.push(two.enrol(&town, "AAAA-AAAA").await.unwrap_err());
        }
        assert_eq!(answers.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
        town.end().await;
    }
}

#[tokio::test]
async fn another_machine_takes_a_place_only_when_a_clerk_agrees_and_then_alone() {
    for (fresh, town) in offices().await {
        let (old, token) = Station::joined("beizhuang", 1, &town).await;
        let sent = ask(&town, Method::POST, "/v1/journal", &token, batch(&old, "first", 2)).await;
        assert_eq!(sent.status(), StatusCode::OK);
        let new = Station::new("beizhuang", 2);
        let code = town.code(1, false).await;
        assert_eq!(new.enrol(&town, &code).await.unwrap().place, None);
        assert!(get(&town, "/v1/desired", &token).await.status().is_success(), "the old machine goes on meanwhile");
        assert!(new.sign_in(&town).await.is_err());
        let mut watch = Watch::open(&town, &token).await;
        town.office.confirm("王芳", &old.id).await.unwrap();
        while watch.next().await.is_some() {}
        assert_eq!(get(&town, "/v1/desired", &token).await.status(), StatusCode::UNAUTHORIZED);
        let place = new.enrol(&town, &code).await.unwrap().place.unwrap();
        let place: Place = serde_json::from_slice(Envelope::read(place.as_bytes()).unwrap().payload()).unwrap();
        assert_eq!(place.key, new.public());
        let token = new.sign_in(&town).await.unwrap();
        let sent = ask(&town, Method::POST, "/v1/journal", &token, batch(&new, "second", 3)).await;
        assert_eq!(sent.status(), StatusCode::OK, "a new machine writes a journal of its own");
        assert_eq!(fresh.rows().await.unwrap(), 5);

        let mut watch = Watch::open(&town, &token).await;
        town.office.revoke("王芳", &new.id).await.unwrap();
        while watch.next().await.is_some() {}
        assert_eq!(get(&town, "/v1/desired", &token).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(new.sign_in(&town).await, Err(StatusCode::FORBIDDEN));
        town.end().await;
    }
}

#[tokio::test]
async fn a_command_is_handed_out_at_once_and_again_until_it_is_on_the_stations_disk() {
    for (fresh, town) in offices().await {
        let (station, token) = Station::joined("beizhuang", 1, &town).await;
        let (other, others) = Station::joined("nanzhuang", 2, &town).await;
        let (mut ours, mut theirs) = (Watch::open(&town, &token).await, Watch::open(&town, &others).await);
        for watch in [&mut ours, &mut theirs] {
            assert!(matches!(watch.next().await, Some(WatchEvent::Hello { heartbeat_s: 25, .. })));
        }
        let first = town.office.issue_report("王芳", for_one(&station.id)).await.unwrap();
        let second = town.office.issue_report("王芳", for_one(&other.id)).await.unwrap();
        assert_eq!(ours.command().await, Some(first));
        assert_eq!(theirs.command().await, Some(second), "each hears what is for it");
        let post = async |state, token: &str| {
            let answer =
                ask(&town, Method::POST, &format!("/v1/commands/{first}/status"), token, status(first, state)).await;
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        };
        post(State::Delivered, &token).await;
        let mut again = Watch::open(&town, &token).await;
        assert_eq!(again.command().await, Some(first), "delivered is not yet on the disk");
        // Out of order, twice, and by somebody who is not meant.
        for (state, token) in [
            (State::Started, &token),
            (State::Verified, &token),
            (State::Delivered, &token),
            (State::Started, &token),
            (State::Finished, &others),
        ] {
            post(state, token).await;
        }
        let receipts = fresh.receipts(first).await.unwrap();
        let states: Vec<_> = receipts.iter().map(|(station, receipt)| (station.as_str(), &receipt.state)).collect();
        assert_eq!(states, [("beizhuang", &State::Started)]);
        let mut greeted = Watch::open(&town, &token).await;
        assert!(matches!(greeted.next().await, Some(WatchEvent::Hello { .. })));
        let third = town.office.issue_report("王芳", for_one(&station.id)).await.unwrap();
        assert_eq!(greeted.command().await, Some(third), "what it has is not said again");
        while ours.next().await.is_some() {}
        town.end().await;
    }
}

#[tokio::test]
async fn a_command_is_said_again_to_whom_another_place_brings_it_and_to_nobody_else() {
    for (_fresh, town) in offices().await {
        let (one, token) = Station::joined("beizhuang", 1, &town).await;
        let (two, others) = Station::joined("nanzhuang", 2, &town).await;
        let put = async |station: &Station, name: &str, code: &str| {
            town.office.put("王芳", &station.id, name, &division(code), &Default::default()).await.unwrap();
        };
        put(&two, "南庄", "330127104202").await;
        let (mut ours, mut theirs) = (Watch::open(&town, &token).await, Watch::open(&town, &others).await);
        let targets = Targets { divisions: [division("330127104202")].into(), ..Targets::default() };
        let long = Some(SignedDuration::from_mins(10));
        let for_there = Terms { targets, lives: long, ..Terms::default() };
        let first = town.office.issue_report("王芳", for_there).await.unwrap();
        assert_eq!(theirs.command().await, Some(first));
        // Another name is another revision, and the same place.
        put(&two, "南庄村", "330127104202").await;
        let second = town.office.issue_report("王芳", for_one(&two.id)).await.unwrap();
        assert_eq!(theirs.command().await, Some(second), "what it was told is not said again");
        put(&one, "北庄", "330127104202").await;
        assert_eq!(ours.command().await, Some(first), "a station that comes to be among them hears it");
        town.end().await;
    }
}

#[tokio::test]
async fn what_stations_are_told_to_have_is_what_the_database_has_and_not_a_renewal_that_it_lost() {
    let [fresh, _] = engines().await;
    found(&fresh).await;
    let town = Process::start(fresh.again().await, fresh.folder.path(), "one").await;
    let (station, token) = Station::joined("beizhuang", 1, &town).await;
    let generation = town.office.keys.generation();
    let copy = tempfile::tempdir().unwrap();
    for file in ["office.db", "office.db-wal"] {
        std::fs::copy(fresh.folder.path().join(file), copy.path().join(file)).unwrap();
    }
    let mut watch = Watch::open(&town, &token).await;
    assert!(matches!(watch.next().await, Some(WatchEvent::Hello { .. })));
    // The keys in memory run ahead of the database, as they do between the two halves of a renewal.
    let elsewhere = Store::in_folder(copy.path()).await.unwrap();
    town.office.keys.renew(&elsewhere, &[Renewal::Generation].into(), "王芳", clock::wall()).await.unwrap();
    assert!(town.office.keys.generation() > generation);
    let mut change = town.office.store.change().await.unwrap();
    change.rename(&station.id, "北庄二村").await.unwrap();
    let revision = change.commit("王芳", Deed::Placed, "beizhuang", "").await.unwrap().unsigned_abs();
    let told = watch.next().await;
    let Some(WatchEvent::Revision { desired }) = told else { panic!("{told:?}") };
    assert_eq!((desired.generation, desired.revision), (generation, revision));
    town.end().await;
}

/// Strangers of one kind who begin with something, dribble, and come again when they are sent away.
fn crowd(
    count: usize,
    address: SocketAddr,
    begin: &[u8],
    dribbles: bool,
    came: &Arc<AtomicUsize>,
) -> Vec<JoinHandle<()>> {
    let one = |_| {
        let (begin, came) = (begin.to_vec(), Arc::clone(came));
        tokio::spawn(async move {
            loop {
                if let Ok(mut stream) = TcpStream::connect(address).await {
                    let _ = stream.write_all(&begin).await;
                    came.fetch_add(1, Ordering::Relaxed);
                    let (mut from, mut to) = stream.split();
                    let dribble = async {
                        while dribbles && to.write_all(b" ").await.is_ok() {
                            sleep(Duration::from_millis(500)).await;
                        }
                        std::future::pending::<()>().await;
                    };
                    let sent_away = async { while from.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
                    tokio::select! {
                        () = dribble => {}
                        () = sent_away => {}
                    }
                }
                sleep(Duration::from_secs(1)).await;
            }
        })
    };
    (0..count).map(one).collect()
}

/// Waits until so many have come.
async fn are_there(came: &AtomicUsize, count: usize) {
    let are_there = async {
        while came.load(Ordering::Relaxed) < count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, are_there).await.expect("the crowd comes");
}

/// More strangers of one kind than there are turns for stations.
const CROWD: usize = 600;

#[tokio::test]
async fn strangers_who_dribble_keep_no_station_and_no_person_out() {
    const PASSWORD: &str = "春天的大喇叭2026";
    let (fresh, town) = offices().await.remove(0);
    let (station, token) = Station::joined("beizhuang", 1, &town).await;
    town.office.people.add("王芳", PASSWORD, Role::Admin, true).await.unwrap();
    let signs_in = async || {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("name", "王芳"), ("password", PASSWORD)])
            .finish();
        let request = town.http.post(town.url("/sign-in")).header(header::ORIGIN, town.url("")).body(form);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.header(header::ACCEPT, "application/json").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let cookie = signs_in().await;
    let mut watch = Watch::open(&town, &token).await;
    assert!(matches!(watch.next().await, Some(WatchEvent::Hello { .. })));

    let mut hello = Vec::new();
    let config = Arc::new(trusting(fresh.folder.path()));
    let name = "localhost".try_into().unwrap();
    let mut shaking = tokio_rustls::rustls::ClientConnection::new(config, name).unwrap();
    shaking.write_tls(&mut hello).unwrap();
    let host = format!("Host: {0}\r\nOrigin: http://{0}\r\nContent-Length: 4000\r\n", town.address);
    let posts = |path: &str| format!("POST {path} HTTP/1.1\r\n{host}\r\n{{").into_bytes();
    let (came, mut strangers) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    for (begin, dribbles) in [
        (posts("/v1/session"), true),
        (posts("/v1/enrol"), true),
        (posts("/sign-in"), true),
        (hello[..40].to_vec(), false),
        (hello, false),
    ] {
        strangers.extend(crowd(CROWD, town.address, &begin, dribbles, &came));
    }
    are_there(&came, strangers.len()).await;

    for turn in 1..=5 {
        // Over a line of its own each time, and with a session that was made among the strangers.
        let token = station.sign_in(&town).await.unwrap();
        let report = serde_json::to_vec(&reported(turn)).unwrap();
        assert_eq!(ask(&town, Method::PUT, "/v1/reported", &token, report).await.status(), StatusCode::NO_CONTENT);
        let rows = batch(&station, "beizhuang-0123456789abcdef", 3);
        assert_eq!(ask(&town, Method::POST, "/v1/journal", &token, rows).await.status(), StatusCode::OK);
        let command = town.office.issue_report("王芳", for_one(&station.id)).await.unwrap();
        assert_eq!(watch.command().await, Some(command));
        let page = town.http.get(town.url("/")).header(header::COOKIE, &cookie).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        signs_in().await;
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(fresh.rows().await.unwrap(), 3);
    for stranger in strangers {
        stranger.abort();
    }
    town.end().await;
}

#[tokio::test]
async fn a_station_that_dribbles_keeps_no_other_from_being_heard() {
    let (fresh, town) = offices().await.remove(0);
    let (_, stolen) = Station::joined("beizhuang", 1, &town).await;
    let (station, token) = Station::joined("nanzhuang", 2, &town).await;
    let host = format!("Host: {}\r\nAuthorization: Bearer {stolen}\r\nContent-Length: 4000\r\n", town.address);
    let (came, mut crowds) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    for call in ["POST /v1/journal", "PUT /v1/reported"] {
        let begin = format!("{call} HTTP/1.1\r\n{host}\r\n{{").into_bytes();
        crowds.extend(crowd(CROWD / 2, town.address, &begin, true, &came));
    }
    are_there(&came, crowds.len()).await;
    for turn in 1..=5 {
        let report = serde_json::to_vec(&reported(turn)).unwrap();
        assert_eq!(ask(&town, Method::PUT, "/v1/reported", &token, report).await.status(), StatusCode::NO_CONTENT);
        let rows = batch(&station, "nanzhuang-0123456789abcdef", 3);
        assert_eq!(ask(&town, Method::POST, "/v1/journal", &token, rows).await.status(), StatusCode::OK);
        sleep(Duration::from_millis(500)).await;
    }
    // Its own turn comes after all that it has asked for.
    let own = get(&town, "/v1/trust?from=0", &stolen).await;
    assert_eq!(own.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(own.headers()[header::RETRY_AFTER].to_str().unwrap().parse::<u64>().unwrap() >= 2);
    assert_eq!(fresh.rows().await.unwrap(), 3);
    for dribbler in crowds {
        dribbler.abort();
    }
    town.end().await;
}

#[tokio::test]
async fn a_poll_says_what_a_stream_says() {
    for (_fresh, town) in offices().await {
        let (station, token) = Station::joined("beizhuang", 1, &town).await;
        let pinned = town.office.keys.root();
        let nonce = Nonce::new(5, 6);
        let path = format!("/v1/watch?root=1&nonce={}&wait=50", nonce.as_str());
        let poll = async || -> Vec<WatchEvent> { body(get(&town, &path, &token).await).await };
        let [WatchEvent::Hello { time, .. }] = &poll().await[..] else { panic!("the first poll is answered at once") };
        let mut office = OfficeClock::default();
        let (asked, answered) = (Duration::from_secs(1), Duration::from_secs(2));
        office.take(pinned.root(), time.as_bytes(), &nonce, asked, answered).unwrap();
        // The next one waits until there is something.
        let (events, issued) = tokio::join!(poll(), async {
            while town.office.watches.open() == 0 {
                tokio::task::yield_now().await;
            }
            town.office.issue_report("王芳", for_one(&station.id)).await.unwrap()
        });
        let [WatchEvent::Hello { .. }, commands @ ..] = &events[..] else { panic!("{events:?}") };
        let commands: Vec<_> = commands
            .iter()
            .map(|event| match event {
                WatchEvent::Command { envelope } => named(envelope),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(!commands.is_empty() && commands.iter().all(|command| *command == issued));
        town.office.put("王芳", &station.id, "北庄", &division("330127104202"), &Default::default()).await.unwrap();
        let ours = town.office.store.station(&station.id).await.unwrap().unwrap();
        let told = async || loop {
            if let Some(WatchEvent::Hello { desired, .. }) = poll().await.first()
                && desired.revision == ours.wants.unsigned_abs()
            {
                break;
            }
        };
        timeout(PATIENCE, told()).await.expect("another place is told between two polls");
        town.end().await;
    }
}

#[tokio::test]
async fn two_processes_serve_one_fleet_and_either_may_go() {
    let [_, fresh] = engines().await;
    found(&fresh).await;
    let one = Process::start(fresh.again().await, fresh.folder.path(), "one").await;
    let second_home = tempfile::tempdir().unwrap();
    std::fs::copy(fresh.folder.path().join("keys.json"), second_home.path().join("keys.json")).unwrap();
    let two = Process::start(fresh.again().await, second_home.path(), "two").await;
    let (station, token) = Station::joined("beizhuang", 1, &one).await;
    assert!(get(&two, "/v1/desired", &token).await.status().is_success(), "a token of one is good at the other");
    let (nonce, office) = station.hello(&one).await;
    assert!(session(&two, &station.signs(nonce, &office)).await.is_ok(), "and a nonce");
    let (mut at_one, mut at_two) = (Watch::open(&one, &token).await, Watch::open(&two, &token).await);
    let command = one.office.issue_report("王芳", for_one(&station.id)).await.unwrap();
    assert_eq!(at_one.command().await, Some(command));
    assert_eq!(at_two.command().await, Some(command), "the other process finds it by its poll");
    let path = format!("/v1/commands/{command}/status");
    let posted = ask(&two, Method::POST, &path, &token, status(command, State::Verified));
    assert_eq!(posted.await.status(), StatusCode::NO_CONTENT);
    let mut greeted = Watch::open(&one, &token).await;
    assert!(matches!(greeted.next().await, Some(WatchEvent::Hello { .. })));
    // A process that is told to end says how long to stay away; the station is still there, at the other.
    one.stop.send_replace(true);
    let mut last = None;
    while let Some(event) = greeted.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(WatchEvent::Bye { .. })), "{last:?}");
    one.end().await;
    let command = two.office.issue_report("王芳", for_one(&station.id)).await.unwrap();
    assert_eq!(at_two.command().await, Some(command));
    two.end().await;
    assert!(!fresh.station(&station.id).await.unwrap().unwrap().up);
}

#[tokio::test]
async fn who_is_there_is_on_record_and_a_process_that_died_takes_its_stations_with_it() {
    for (fresh, town) in offices().await {
        let (station, token) = Station::joined("beizhuang", 1, &town).await;
        let is_up = async |expected: bool| {
            let seen = async || {
                while fresh.station(&station.id).await.unwrap().unwrap().up != expected {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, seen()).await.expect("presence reaches the table");
        };
        let watch = Watch::open(&town, &token).await;
        is_up(true).await;
        drop(watch);
        is_up(false).await;
        let _watch = Watch::open(&town, &token).await;
        is_up(true).await;
        assert!(fresh.station(&station.id).await.unwrap().unwrap().heard.is_some());
        // It dies without a word; a minute later another process notices.
        for task in &town.running {
            task.abort();
        }
        let later = clock::wall() + SignedDuration::from_secs(61);
        fresh.bury("another", later, false).await.unwrap();
        is_up(false).await;
    }
}

#[tokio::test]
async fn what_a_station_refused_is_on_record_with_its_reason_and_so_is_that_it_is_ahead() {
    for (fresh, town) in offices().await {
        let (station, token) = Station::joined("beizhuang", 1, &town).await;
        let generation = town.office.keys.generation();
        let rejected = Rejected {
            kind: Some("application/vnd.dalaba.plan+json".into()),
            sha256: BlobId::of(b"{}"),
            at: Timestamp::from_second(1_781_000_000).unwrap(),
            why: Refused::OldRevision { ours: 9, theirs: 8 },
        };
        let send = async |report: Reported| {
            let sent = ask(&town, Method::PUT, "/v1/reported", &token, serde_json::to_vec(&report).unwrap()).await;
            assert_eq!(sent.status(), StatusCode::NO_CONTENT);
        };
        for sequence in [1, 2] {
            send(Reported { rejected: vec![rejected.clone()], ..reported(sequence) }).await;
        }
        let refusals = fresh.refusals(Some(&station.id), 10).await.unwrap();
        assert_eq!(refusals.iter().map(|refusal| &refusal.rejected).collect::<Vec<_>>(), [&rejected]);
        assert_eq!(fresh.refusals(Some(&id("nanzhuang")), 10).await.unwrap(), []);
        let plan = |revision| json!([{ "source": "town", "revision": revision }]);
        for (sequence, generation, plans, ahead) in [
            (3, generation, plan(0), false),
            (4, generation, plan(7), true),
            (5, generation - 1, plan(7), false),
            (6, generation + 1, plan(0), true),
        ] {
            let in_force = serde_json::from_value(plans).unwrap();
            send(Reported { generation, in_force, ..reported(sequence) }).await;
            let stations = fresh.stations_ahead().await.unwrap();
            assert_eq!(stations, ahead.then(|| station.id.clone()).into_iter().collect(), "{sequence}");
        }
        town.end().await;
    }
}

#[tokio::test]
async fn what_overtakes_what_changes_nothing() {
    // Ten words of one station about one command in every order that a hundred shuffles find.
    for (fresh, town) in offices().await {
        let (station, token) = Station::joined("beizhuang", 1, &town).await;
        let command = town.office.issue_report("王芳", for_one(&station.id)).await.unwrap();
        let path = format!("/v1/commands/{command}/status");
        let states = [State::Delivered, State::Verified, State::Started, State::Finished];
        let words =
            (0..40).map(|turn| ask(&town, Method::POST, &path, &token, status(command, states[turn * 7 % 4].clone())));
        for answer in futures_of(words).await {
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        }
        let receipts: BTreeMap<_, _> = fresh.receipts(command).await.unwrap();
        assert_eq!(receipts[&station.id].state, State::Finished);
        town.end().await;
    }
}

/// Awaits all of them, together.
async fn futures_of<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in &mut waiting {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *done = Some(output);
            }
        }
        match waiting.iter().all(|(_, done)| done.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

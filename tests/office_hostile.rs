//! The office against whoever writes into its pages, speaks as one of its stations, comes from another site, or knows no
//! password.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use dalaba::{
    entry::{GENESIS, chain},
    link::{
        BlobId, StationId,
        journal::Batch,
        protocol::{enrol_text, sign_in_text},
        time::Nonce,
    },
    text::hex,
};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};
use support::{
    http::{Answer, Client},
    town::{ADMIN, DIVISION, PASSWORD, Town},
    wave::{melody, wav},
};

const EVIL: &str = "\"'><script>alert(7)</script>";
/// The same as a page has to write it.
const TAMED: &str = "&#60;script&#62;alert(7)";
/// It turns around what follows, rings, clears a terminal, and ends the text in some languages.
const ODD: &str = "村\u{202e}\u{2067}\u{7}\u{1b}[2J\u{0}\u{fffe}\u{feff}";

/// The table of the office's pages: who may do what.
const TABLE: &str = include_str!("../src/office/pages/mod.rs");

/// The addresses under which the table lists something for this method, from one line of it up to another.
fn listed(method: &str, from: &str, to: &str) -> Vec<String> {
    let part = &TABLE[TABLE.find(from).unwrap()..TABLE.find(to).unwrap()];
    let routes = part.split(".route(\"").skip(1);
    let is_meant = |route: &&str| route.contains(&format!(" {method}(")) || route.contains(&format!(".{method}("));
    routes.filter(is_meant).map(|route| route.split('"').next().unwrap().to_owned()).collect()
}

fn every(method: &str) -> Vec<String> {
    listed(method, "let anybody", "impl Site")
}

/// An office whose very name is hostile, and stands on every page.
fn town() -> Town {
    let town = Town::untouched();
    let name = EVIL.replace('7', "8");
    let first = [
        ("office", name.as_str()),
        ("division", DIVISION),
        ("zone", "Asia/Shanghai"),
        ("name", ADMIN),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    assert_eq!(town.pages.form("/first-run", &first).status, 303);
    town.wait("the office is open", |town| (town.pages.get("/").status == 200).then_some(()));
    town
}

/// Somebody with a role, who has signed in.
fn person(town: &Town, name: &str, role: &str) -> Client {
    let added = town.pages.form("/people", &[("name", name), ("password", PASSWORD), ("role", role)]);
    assert_eq!(added.status, 303, "{}", added.text());
    let mut person = town.stranger();
    assert_eq!(person.sign_in(name, PASSWORD).status, 303);
    person
}

/// A station that says what it likes.
struct Station {
    id: StationId,
    key: SigningKey,
    client: Client,
}

impl Station {
    /// One that was taken in, and has signed in. It names itself.
    fn joined(town: &Town, id: &str, name: &str) -> Self {
        let fields = [("division", DIVISION), ("uses", "20")];
        let made = town.pages.form_json("/enrol/code", &fields).json();
        let code = made["made"]["code"].as_str().unwrap();
        let id = StationId::try_from(id.to_owned()).unwrap();
        let mut seed = [7; 32];
        seed[0] = id.as_str().bytes().fold(0, u8::wrapping_add);
        let station = Self { id, key: SigningKey::from_bytes(&seed), client: town.stranger() };
        let key = hex(station.key.verifying_key().as_bytes());
        let signature = station.signs(&enrol_text(code, &station.id, &key));
        let asks = json!({ "code": code, "station": station.id, "name": name, "key": key, "signature": signature });
        let asked = station.post("/v1/enrol", &asks);
        assert_eq!(asked.status, 200, "{}", asked.text());
        let waits = town.pages.get("/enrol");
        assert!(name != EVIL || waits.text().contains(TAMED), "{}", waits.text());
        let confirmed = town.pages.form(&format!("/enrol/{}/confirm", station.id), &[("same", "on")]);
        assert_eq!(confirmed.status, 303, "{}", confirmed.text());
        let token = station.sign_in();
        Self { client: Client { token: Some(token), ..town.stranger() }, ..station }
    }

    fn signs(&self, text: &str) -> String {
        hex(&self.key.sign(text.as_bytes()).to_bytes())
    }

    fn sign_in(&self) -> String {
        let hello = self.client.json("/v1/hello").json();
        let nonce = Nonce::from(hello["nonce"].as_str().unwrap().to_owned());
        let office = BlobId::try_from(hello["office"].as_str().unwrap().to_owned()).unwrap();
        let signature = self.signs(&sign_in_text(&self.id, &nonce, &office));
        let asks = json!({ "station": self.id, "nonce": nonce, "signature": signature });
        self.post("/v1/session", &asks).json()["token"].as_str().unwrap().to_owned()
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.client.send("POST", path, &[], body.to_string().as_bytes())
    }

    /// Its whole state, with whatever it likes in every field that takes a text.
    fn reports(&self, sequence: u64, text: &str) -> Answer {
        let why = json!({ "reason": "unknown-type", "kind": text });
        let report = json!({
            "sequence": sequence, "root": 1, "generation": 1, "in_force": [{ "source": "town", "revision": 3 }],
            "fetching": [], "journal": [text, 40], "acked": 38, "clock": { "state": "trusted", "offset_ms": null },
            "rejected": [{ "kind": text, "sha256": "00".repeat(32), "at": 1_781_000_000_000_i64, "why": why }],
            "facts": {
                "faults": [text, { "zh": text, "en": text }], "device": text, "version": text, "name": text,
                "playing": [text, { "title": text }], "volume": 80, "disk_free": 5, text: text,
                "schedules": { text: text },
            },
        });
        self.client.send("PUT", "/v1/reported", &[], report.to_string().as_bytes())
    }

    /// One row of its journal, with whatever it likes in every field that takes a text.
    fn writes(&self, text: &str) -> Answer {
        let epoch = format!("{}-0123456789abcdef", self.id);
        let now = dalaba::clock::wall();
        let clip = json!({ "path": "a.wav", "sha256": "00".repeat(32), "ms": 1000 });
        let line = json!({
            "epoch": epoch, "seq": 1, "occurrence": "o/1", "source": "station", "schedule": text, "announcement": text,
            "title": text, "clips": if text == EVIL { json!([]) } else { json!([clip]) }, "band": "normal", "due": now,
            "started": null, "ended": now, "expected_ms": 0, "heard_ms": 0, "start_error_us": null, "outcome": "missed",
            "reason": "station-down", "evidence": null, "device": text, "peak_dbfs": null, "volume": 80,
            "clock": { "state": "trusted", "offset_ms": null }, "operator": text, "note": text, "revision": text,
            "prev": GENESIS,
        });
        let line = line.to_string();
        assert_ne!(chain(GENESIS, &line), GENESIS);
        let batch = Batch::of(&epoch, 1, GENESIS, &[line], &self.key).unwrap();
        self.post("/v1/journal", &serde_json::to_value(batch).unwrap())
    }
}

/// Writes this wherever people may write.
fn write_everywhere(who: &Client, text: &str, sound: &str) {
    let sane = |answer: Answer| {
        assert!(answer.status < 500 && answer.status != 0, "{}", answer.head);
        let is_page = answer.header("content-type").is_some_and(|kind| kind.contains("html"));
        assert!(!is_page || !is_raw(&answer.text()), "{}", answer.text());
    };
    sane(who.form("/enrol/code", &[("name", text), ("division", "330127104201")]));
    sane(who.form("/enrol/code", &[("name", text), ("division", text), ("uses", text)]));
    sane(who.form("/stations/evil/place", &[("name", text), ("division", DIVISION), ("groups", "沿河")]));
    sane(who.form("/stations/evil/place", &[("name", text), ("division", text), ("groups", text)]));
    sane(who.form("/stations/evil/journal", &[("epoch", text)]));
    sane(who.form("/groups", &[("name", text), ("everybody", "on"), ("do", "in")]));
    sane(who.form("/groups", &[("name", "沿河"), ("stations", text), ("divisions", text), ("do", text)]));
    let chosen = format!("sound.{sound}");
    let quoted = serde_json::to_string(text).unwrap();
    let schedule = format!(
        "title = {quoted}\n[announcement.a]\ntitle = {quoted}\nscreen = {quoted}\nplay = [\"a.wav\"]\n\
         [[rule]]\nplay = \"a\"\nat = [\"03:33\"]\n# {text}\n"
    );
    for pressed in ["preview", "save", "edit", text] {
        let path = format!("path.{sound}");
        let common = [("title", text), ("everybody", "on"), (&chosen, "on"), ("do", pressed)];
        let campaign = [("kind", "campaign"), ("text", schedule.as_str()), (path.as_str(), "a.wav")];
        sane(who.form("/campaigns/draft", &[&common[..], &campaign[..]].concat()));
        let bulletin = [
            ("kind", "bulletin"),
            ("trick", text),
            ("loss", text),
            ("lesson", text),
            ("reminder", text),
            ("times", "07:00"),
            ("volume", "100"),
            ("band", "urgent"),
            ("days", "every-day"),
        ];
        sane(who.form("/campaigns/draft", &[&common[..], &bulletin[..]].concat()));
        let wrong = [("id", text), ("base", text), ("first_day", text), ("chime", text), ("times", text)];
        sane(who.form("/campaigns/draft", &[&common[..], &campaign[..], &wrong[..]].concat()));
    }
    let order = [
        ("subject", text),
        ("text", text),
        ("sound", sound),
        ("times", "1"),
        ("volume", "80"),
        ("clear_sound", sound),
        ("clear_text", text),
        ("note", text),
        ("everybody", "on"),
    ];
    for path in ["/emergency", "/drill"] {
        sane(who.form(&format!("{path}/look"), &order));
        sane(who.form(path, &[&order[..], &[("word", text)]].concat()));
        sane(who.form(path, &[&order[..], &[("word", "立即播出")]].concat()));
        sane(who.form(&format!("{path}/look"), &[("subject", text), ("sound", text), ("times", text)]));
    }
    sane(who.form("/people", &[("name", text), ("password", PASSWORD), ("role", "viewer")]));
    sane(who.form("/people", &[("name", text), ("password", text), ("role", text)]));
    sane(who.form("/people/role", &[("name", text), ("role", "operator")]));
    sane(who.form("/people/password", &[("name", text), ("password", text)]));
    sane(who.form("/people/remove", &[("name", text)]));
    sane(who.form("/language", &[("language", text), ("next", text)]));
    sane(who.form("/sign-in", &[("name", text), ("password", text), ("next", text)]));
    sane(who.form("/first-run", &[("office", text), ("division", text), ("name", text)]));
    for name in ["<script>alert(7).wav", "a&'.wav", "..%2f..%2fkeys.wav", "\u{202e}vaw.exe", "a\u{7}.wav"] {
        sane(who.upload("/sounds", &[], &[(name, &wav(&melody(9, 0.5)))]));
        sane(who.upload("/sounds", &[(text, text)], &[(name, text.as_bytes())]));
    }
}

fn is_raw(page: &str) -> bool {
    page.contains("<script>alert(")
        || page.contains("\"'>")
        || page.contains(['\u{7}', '\u{1b}', '\u{0}', '\u{202e}', '\u{2067}'])
}

/// The addresses of a page with everything in its place that there is, and with what there is not.
fn addresses(path: &str, town: &Town) -> Vec<String> {
    let owner = &town.pages;
    let known = |page: &str, list: &str, key: &str| {
        let all = owner.json(page).json()[list].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|one| Some(one[key].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    let orders = ["/emergency", "/drill"].into_iter().flat_map(|page| {
        let before = owner.json(page).json()["before"].as_array().cloned().unwrap_or_default();
        before.iter().filter_map(|one| Some(one["ordered"]["id"].as_str()?.to_owned())).collect::<Vec<_>>()
    });
    let mut names = match path.split('/').nth(1).unwrap() {
        "stations" | "assess" | "enrol" => vec!["evil".to_owned()],
        "campaigns" => known("/campaigns", "campaigns", "id"),
        "sounds" => known("/sounds", "sounds", "sha256"),
        "orders" => orders.collect(),
        _ => Vec::new(),
    };
    if !path.contains('{') {
        names = vec![String::new()];
    }
    assert!(!names.is_empty(), "{path}");
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    if path.contains('{') {
        names.extend([encoded(EVIL), encoded(ODD), "..%2f..%2fkeys.json".into()]);
    }
    let filled = |name: &str| match path.split_once('{') {
        Some((before, after)) => format!("{before}{name}{}", after.split_once('}').unwrap().1),
        None => path.to_owned(),
    };
    let (evil, odd) = (encoded(EVIL), encoded(ODD));
    let keys = [
        "after", "before", "division", "epoch", "form", "from", "group", "kind", "month", "name", "next", "on", "page",
        "q", "show", "station", "step", "text", "title", "until", "version", "what", "year",
    ];
    let all = |text: &str| keys.map(|key| format!("{key}={text}")).join("&");
    let mut queries: Vec<_> = keys.iter().map(|key| format!("{key}={evil}")).collect();
    queries.extend([all(&evil), all(&odd), "done=saved".into(), "step=publish".into(), "kind=bulletin".into()]);
    let first = filled(&names[0]);
    names.iter().map(|name| filled(name)).chain(queries.iter().map(|query| format!("{first}?{query}"))).collect()
}

#[test]
fn whatever_people_and_stations_write_is_shown_as_they_wrote_it_and_breaks_no_page() {
    let town = town();
    let mut admin = person(&town, "管", "admin");
    let evil = person(&town, EVIL, "operator");
    assert_eq!(evil.form("/enrol/code", &[("name", "北庄村"), ("division", "330127104201")]).status, 200);
    let brought = evil.upload("/sounds", &[], &[("a.wav", &wav(&melody(5, 1.0)))]);
    assert_eq!(brought.status, 200, "{}", brought.text());
    let sound = brought.json()["sounds"][0].as_str().unwrap().to_owned();
    let station = Station::joined(&town, "evil", EVIL);
    let other = Station::joined(&town, "other", "普通村");
    // Taken in under a name of its own; a page shows no other.
    assert!(town.pages.json("/").json().to_string().contains("<script>"));
    let long = "长".repeat(60_000);
    for (sequence, text) in [(1, long.as_str()), (2, ODD), (3, EVIL)] {
        write_everywhere(&admin, text, &sound);
        let reported = station.reports(sequence, text).status;
        assert!(matches!(reported, 204 | 413), "{reported}");
    }
    // The last thing that was written removed them.
    person(&town, EVIL, "viewer");
    let rows = [station.writes(EVIL), other.writes(ODD)];
    assert_eq!(rows[0].status, 200, "{}", rows[0].text());
    assert!(rows[1].status < 500, "{}", rows[1].text());
    let orders = town.pages.json("/emergency").json();
    let command = orders["before"][0]["ordered"]["id"].as_str().unwrap().to_owned();
    let failed = json!({ "state": "rejected", "reason": "malformed", "what": EVIL });
    let mut status = json!({ "command": command, "at": dalaba::clock::wall() });
    status.as_object_mut().unwrap().extend(failed.as_object().unwrap().clone());
    let said = station.post(&format!("/v1/commands/{command}/status"), &status);
    assert!(said.status < 500, "{}", said.text());

    let mut tamed = BTreeSet::new();
    let (mut asked, mut failed) = (0, Vec::new());
    for language in ["zh", "en"] {
        let chosen = admin.form("/language", &[("language", language), ("next", "/")]).cookie().unwrap();
        let session = admin.cookie.clone().unwrap();
        let session = session.split("; ").next().unwrap().to_owned();
        admin.cookie = Some(format!("{session}; {chosen}"));
        for path in every("get") {
            if path.ends_with("/events") || path.ends_with(".js") || path.ends_with(".css") {
                continue;
            }
            for address in addresses(&path, &town) {
                let answer = admin.get(&address);
                asked += 1;
                let page = answer.text();
                let is_page = answer.header("content-type").is_some_and(|kind| kind.contains("html"));
                if answer.status >= 500 || answer.status == 0 || (is_page && is_raw(&page)) {
                    failed.push(format!("{language} {address}: {}", answer.head.lines().next().unwrap_or_default()));
                }
                if page.contains(TAMED) {
                    tamed.insert(path.clone());
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {asked}:\n{}", failed.len(), failed.join("\n"));
    for page in [
        "/",
        "/stations/{id}",
        "/campaigns",
        "/campaigns/{id}",
        "/campaigns/{id}/edit",
        "/sounds",
        "/orders/{id}",
        "/emergency",
        "/drill",
        "/assess",
        "/journal",
        "/records",
        "/enrol",
        "/people",
        "/groups",
    ] {
        assert!(tamed.contains(page), "{page} shows what was written: {tamed:?}");
    }
}

#[test]
fn nobody_does_more_than_their_role_and_no_other_site_does_anything() {
    let town = town();
    let (viewer, operator) = (person(&town, "看", "viewer"), person(&town, "播", "operator"));
    let admin = person(&town, "管", "admin");
    let own = format!("http://{}", admin.address);
    let filled = |path: &str| path.replace("{id}", "evil").replace("{sha256}", "evil").replace("{station}", "evil");
    let post = |who: &Client, path: &str, headers: &[(&str, &str)]| {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        who.send("POST", &filled(path), &[&[kind, ("Accept", "application/json")], headers].concat(), b"word=x").status
    };
    let (operators, admins) = ("let operators", "let admins");
    let of_operators = [listed("post", operators, admins), listed("post", "let uploads = Router", "pages_of_people\n")];
    let of_admins = listed("post", admins, "let pages_of_people");
    assert!(of_operators.concat().len() > 8 && of_admins.len() > 10, "{of_operators:?} {of_admins:?}");
    let ours = [("Origin", own.as_str())];
    for path in of_operators.concat().iter().chain(&of_admins) {
        assert_eq!(post(&viewer, path, &ours), 403, "a viewer: {path}");
        assert_eq!(post(&town.stranger(), path, &ours), 401, "a stranger: {path}");
    }
    for path in &of_admins {
        assert_eq!(post(&operator, path, &ours), 403, "an operator: {path}");
    }
    for page in listed("get", admins, "let pages_of_people") {
        assert_eq!(operator.get(&filled(&page)).status, 403, "{page}");
    }
    for path in every("post") {
        let elsewhere = own.replace("127.0.0.1", "127.0.0.2");
        let tls = own.replace("http:", "https:");
        for origin in ["http://evil.example", "null", "", &elsewhere, &tls] {
            assert_eq!(post(&admin, &path, &[("Origin", origin)]), 403, "{path} from {origin}");
        }
        assert_eq!(post(&admin, &path, &[]), 403, "{path} from nowhere");
        let foreign = [("Host", "evil.example"), ("Origin", "http://evil.example")];
        assert_eq!(post(&admin, &path, &foreign), 421, "{path} under another name");
    }
    for path in every("get") {
        let answer = admin.send("GET", &filled(&path), &[("Host", "evil.example")], b"");
        assert_eq!(answer.status, 421, "{path}");
        let seen = town.stranger().json(&filled(&path)).status;
        let open =
            ["/first-run", "/sign-in", "/style.css", "/live.js", "/print.js", "/openapi.json"].contains(&path.as_str());
        assert!(open || seen == 401, "{path} for a stranger: {seen}");
    }
    // What was refused was not done.
    assert_eq!(town.pages.json("/people").json()["people"].as_array().unwrap().len(), 4);
    assert_eq!(post(&admin, "/people/remove", &ours), 422, "an administrator gets as far as the form");
}

#[test]
fn no_path_leads_out_and_nothing_is_read_beyond_its_limit() {
    let town = town();
    let admin = person(&town, "管", "admin");
    let station = Station::joined(&town, "beizhuang", "北庄村");
    let keys: Value = serde_json::from_slice(&fs::read(town.home().join("keys.json")).unwrap()).unwrap();
    let secret = keys["session"].as_str().unwrap();
    for way in ["../../keys.json", "..%2f..%2fkeys.json", "%2e%2e/keys.json", "..%5ckeys.json", "%00", "keys.json"] {
        for place in ["/v1/blobs/", "/sounds/", "/stations/", "/orders/", "/campaigns/", "/assess/", "/", "/style.css/"]
        {
            for who in [&admin, &station.client] {
                let answer = who.json(&format!("{place}{way}"));
                assert!((400..500).contains(&answer.status), "{place}{way}: {}", answer.head);
                assert!(!answer.text().contains(secret), "{place}{way}");
            }
        }
    }

    let form = |bytes: usize| format!("name={}", "x".repeat(bytes));
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let own = format!("http://{}", admin.address);
    let post = |who: &Client, path: &str, body: &str| {
        who.send("POST", path, &[kind, ("Origin", &own), ("Accept", "application/json")], body.as_bytes()).status
    };
    for path in ["/people", "/enrol/code", "/groups", "/emergency/look", "/password"] {
        assert_eq!(post(&admin, path, &form(1 << 20)), 413, "{path}");
    }
    for path in ["/sign-in", "/language", "/first-run", "/people", "/campaigns/draft", "/sounds"] {
        assert_eq!(post(&town.stranger(), path, &form(16 << 10)), 413, "a stranger at {path}");
    }
    let long = |bytes: usize| json!({ "x": "x".repeat(bytes) }).to_string();
    for (method, path, bytes) in [
        ("POST", "/v1/enrol", 16 << 10),
        ("POST", "/v1/session", 16 << 10),
        ("PUT", "/v1/reported", 256 << 10),
        ("POST", "/v1/journal", 1 << 20),
        ("POST", "/v1/commands/x/status", 16 << 10),
    ] {
        let answer = station.client.send(method, path, &[], long(bytes).as_bytes());
        assert_eq!(answer.status, 413, "{path}: {}", answer.text());
        // The same when its length is not said beforehand.
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n");
        let token = station.client.token.as_deref().unwrap();
        request += &format!("Authorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        for _ in 0..=bytes / 1000 {
            request += &format!("3e8\r\n{}\r\n", "x".repeat(1000));
        }
        assert_eq!(station.client.raw((request + "0\r\n\r\n").as_bytes()).status, 413, "{path} in pieces");
    }
}

#[test]
fn a_token_is_one_stations_and_opens_no_page() {
    let town = town();
    let (one, two) = (Station::joined(&town, "beizhuang", "北庄村"), Station::joined(&town, "nanzhuang", "南庄村"));
    let token = one.client.token.clone().unwrap();
    let mut parts: Vec<_> = token.split('.').collect();
    let later = (parts[1].parse::<i64>().unwrap() + 1).to_string();
    let theirs = token.replace("beizhuang", "nanzhuang");
    parts[1] = &later;
    let longer = parts.join(".");
    let owners = town.pages.token.clone().unwrap();
    for forged in
        ["", "x", "beizhuang.9999999999.00", &theirs, &longer, &token[1..], &owners, EVIL, "..", "unheard.1.00"]
    {
        let client = Client { token: Some(forged.to_owned()), ..town.stranger() };
        let nonce = Nonce::new(1, 2);
        let watch = format!("/v1/watch?root=1&nonce={}", nonce.as_str());
        let blob = format!("/v1/blobs/{}", BlobId::of(b"x"));
        let time = format!("/v1/time?nonce={}", nonce.as_str());
        for path in ["/v1/desired", "/v1/trust?from=0", &watch, &blob, &time] {
            assert_eq!(client.get(path).status, 401, "{path} {forged}");
        }
        for (method, path) in [("PUT", "/v1/reported"), ("POST", "/v1/journal"), ("POST", "/v1/commands/x/status")] {
            assert_eq!(client.send(method, path, &[], b"{}").status, 401, "{path} {forged}");
        }
    }
    // A station is no person, whatever it holds.
    for page in ["/", "/people", "/journal", "/emergency"] {
        assert_eq!(one.client.json(page).status, 401, "{page}");
    }
    // It signs for nobody else, and another's rows are not taken.
    let hello = two.client.json("/v1/hello").json();
    let nonce = Nonce::from(hello["nonce"].as_str().unwrap().to_owned());
    let office = BlobId::try_from(hello["office"].as_str().unwrap().to_owned()).unwrap();
    let signature = two.signs(&sign_in_text(&one.id, &nonce, &office));
    let asks = json!({ "station": one.id, "nonce": nonce, "signature": signature });
    assert_eq!(two.post("/v1/session", &asks).status, 403);
    let foreign = Station { client: one.client.clone(), id: two.id.clone(), key: two.key.clone() };
    assert_eq!(foreign.writes("x").status, 409);
    let revoked = town.pages.form("/stations/beizhuang/revoke", &[]);
    assert_eq!(revoked.status, 303, "{}", revoked.text());
    town.wait("it is trusted no longer", |_| (one.client.get("/v1/desired").status == 401).then_some(()));
}

//! The station's pages under attack, and for those who watch them: the real daemon, plain HTTP.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use dalaba::web::{People, Role};
use rustix::process::{Signal, kill_process};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};
use support::{PATIENCE, Village, http::Client, wave::melody};

/// A station with an administrator, an operator and a viewer, and one clip; its daemon is running.
fn station() -> Village {
    let mut village = Village::new();
    village.clip("a.wav", &melody(1, 20.0));
    // What is planned within a day is imported before the station is ready.
    let later =
        "[announcement.later]\ntitle = \"后来\"\nplay = [\"a.wav\"]\n[[rule]]\nplay = \"later\"\nat = [\"03:33:33\"]\n";
    village.schedule("daily", later);
    let data = village.home().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let people = People::open(data.join("people.json")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (name, role) in [("王芳", Role::Admin), ("李强", Role::Operator), ("赵敏", Role::Viewer)] {
        runtime.block_on(people.add(name, &password(name), role, false)).unwrap();
    }
    village.start();
    let stranger = Client::stranger(&village);
    village.wait("the output is found", |_| stranger.json("/").json()["device"].is_string());
    village
}

fn password(name: &str) -> String {
    format!("{name}的密码2026")
}

fn signed_in(village: &Village, name: &str) -> Client {
    let mut client = Client::stranger(village);
    assert_eq!(client.sign_in(name, &password(name)).status, 303);
    client
}

#[test]
fn each_role_may_do_its_own_and_no_more() {
    let village = station();
    let stranger = Client::stranger(&village);
    assert_eq!(stranger.get("/").status, 200, "at the machine itself anybody sees how it is");
    assert_eq!(stranger.form("/stop", &[]).status, 303, "and stops it");
    assert!(stranger.json("/").json()["stopped_until"].is_string());
    let away = stranger.form("/release", &[]);
    assert_eq!((away.status, away.header("location").unwrap().starts_with("/sign-in?next=")), (303, true));
    let json = [("Accept", "application/json"), ("Origin", "http://x")];
    let origin = format!("http://{}", stranger.address);
    let json = json.map(|(name, value)| (name, if name == "Origin" { origin.as_str() } else { value }));
    assert_eq!(stranger.send("POST", "/release", &json, b"").status, 401);

    let viewer = signed_in(&village, "赵敏");
    for (path, fields) in [("/release", &[][..]), ("/volume", &[("percent", "10")]), ("/play", &[("what", "a.wav")])] {
        assert_eq!(viewer.form(path, fields).status, 403, "{path}");
    }
    assert_eq!(viewer.form("/stop", &[]).status, 303);

    let operator = signed_in(&village, "李强");
    assert_eq!(operator.form("/release", &[]).status, 303);
    let emergency = [("what", "a.wav"), ("emergency", "on"), ("note", "演练")];
    assert_eq!(operator.form("/play", &emergency).status, 403);
    assert_eq!(operator.form("/hush", &[("minutes", "30"), ("note", "李家办喜事")]).status, 303);
    let now = operator.json("/").json();
    assert_eq!(now["hushed"]["operator"], "李强");
    assert!(operator.get("/").text().contains("李家办喜事"));
    assert_eq!(operator.form("/play", &[("what", "a.wav")]).status, 409, "a hush holds");

    let admin = signed_in(&village, "王芳");
    assert_eq!(admin.form("/play", &emergency).status, 303);
    village.wait("the emergency sounds", |_| admin.json("/").json()["playing"][0]["band"] == "emergency");
    assert_eq!(stranger.form("/stop", &[]).status, 303);
    let entry = village.entries("a.wav", 1).remove(0);
    assert_eq!((&entry["operator"], &entry["note"]), (&"王芳".into(), &"演练".into()));
}

#[test]
fn a_change_from_another_site_or_under_another_name_is_refused() {
    let village = station();
    let admin = signed_in(&village, "王芳");
    let own = format!("http://{}", admin.address);
    let host = admin.address.to_string();
    let port = admin.address.port();
    for (origin, host, status) in [
        (Some(own.as_str()), host.clone(), 303),
        (Some("http://evil.example"), host.clone(), 403),
        (Some("null"), host.clone(), 403),
        (None, host.clone(), 403),
        (Some("http://evil.example"), "evil.example".into(), 421),
        (Some(own.as_str()), format!("evil.example:{port}"), 421),
        (Some(own.as_str()), format!("localhost.evil.example:{port}"), 421),
    ] {
        let mut headers = vec![("Host", host.as_str()), ("Accept", "text/html")];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        assert_eq!(admin.send("POST", "/release", &headers, b"").status, status, "{origin:?} {host}");
    }
    // Who asks is who is at the other end, whatever a header says.
    for spoofed in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host"] {
        let stranger = Client::stranger(&village);
        let headers = [(spoofed, "for=127.0.0.1"), ("Origin", own.as_str()), ("Accept", "application/json")];
        assert_eq!(stranger.send("POST", "/volume", &headers, b"percent=1").status, 401, "{spoofed}");
    }
    let absolute = format!("GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    assert_eq!(admin.raw(absolute.as_bytes()).status, 421);
}

#[test]
fn what_a_browser_gets_lets_no_foreign_script_in() {
    let village = station();
    let answer = Client::stranger(&village).get("/");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options").unwrap(), "nosniff");
    let page = answer.text();
    assert!(!page.contains("<script>") && !page.contains(" style=") && !page.contains(" onclick="), "{page}");
    for foreign in ["https://", "http://", "//cdn"] {
        assert!(!page.contains(&format!("src=\"{foreign}")) && !page.contains(&format!("href=\"{foreign}")));
    }
    // A note is shown as it was written.
    let operator = signed_in(&village, "李强");
    let evil = "\"><script>alert(1)</script>";
    operator.form("/hush", &[("minutes", "30"), ("note", evil)]);
    let page = operator.get("/").text();
    assert!(!page.contains("<script>alert") && page.contains("&#60;script&#62;alert(1)"), "{page}");
    // What stands in an address is not shown at all.
    assert!(!operator.get("/?said=%3Cscript%3Ealert(2)%3C/script%3E").text().contains("<script>alert(2)"));
}

#[test]
fn ten_thousand_guesses_open_nothing_and_cost_little() {
    let village = station();
    let guess = |number: usize| Client::stranger(&village).sign_in("王芳", &format!("guess-{number}")).status;
    let mut seen = std::collections::BTreeMap::<u16, usize>::new();
    for number in 0..10_000 {
        *seen.entry(guess(number)).or_default() += 1;
    }
    let tried = seen.remove(&401).unwrap_or(0);
    assert!(tried < 40, "{tried} passwords were tried");
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), [429]);
    let owner = Client::stranger(&village).sign_in("王芳", &password("王芳"));
    assert_eq!(owner.status, 429, "the right one waits too: nobody learns that it was right");
    assert!(owner.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(signed_in(&village, "李强").get("/").status, 200, "nobody else has to wait");
    assert_eq!(Client::stranger(&village).form("/stop", &[]).status, 303);
}

#[test]
fn a_session_cannot_be_planted_and_ends_when_it_is_signed_out() {
    let village = station();
    let mut client = Client::stranger(&village);
    let planted = "dalaba=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    client.cookie = Some(planted.into());
    let answer = client.sign_in("李强", &password("李强"));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_ne!(client.cookie.as_deref(), Some(planted));
    let thief = Client { cookie: Some(planted.into()), ..Client::stranger(&village) };
    assert_eq!(thief.form("/release", &[]).header("location").unwrap(), "/sign-in?next=%2Frelease");
    let before = client.clone();
    assert_eq!(client.form("/release", &[]).status, 303);
    client.sign_in("李强", &password("李强"));
    assert!(before.form("/release", &[]).header("location").unwrap().starts_with("/sign-in"), "the old one is over");
    let stolen = client.clone();
    client.form("/sign-out", &[]);
    assert!(stolen.form("/release", &[]).header("location").unwrap().starts_with("/sign-in"));
}

#[test]
fn a_crowd_of_silent_connections_shuts_nobody_out() {
    let village = station();
    let client = Client::stranger(&village);
    let mut crowd = Vec::new();
    let half = format!("POST /play HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nwh", client.address);
    let mut slowest = Duration::ZERO;
    for number in 0..600 {
        let mut stream = TcpStream::connect(client.address).unwrap();
        match number % 3 {
            0 => {}
            1 => stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap(),
            _ => stream.write_all(half.as_bytes()).unwrap(),
        }
        crowd.push(stream);
        if number % 50 == 49 {
            let since = dalaba::clock::monotonic();
            assert_eq!(client.form("/stop", &[]).status, 303, "after {number} connections");
            slowest = slowest.max(since.elapsed());
        }
    }
    println!("停播 with 600 silent connections: answered within {slowest:?}");
    // Each of them is sent away in the end.
    for stream in &mut crowd {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let gone = stream.read_to_end(&mut rest);
        assert!(!matches!(&gone, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{gone:?}");
    }
}

#[test]
fn whoever_watches_is_told_whether_it_goes_on() {
    let village = station();
    let client = Client::stranger(&village);
    let health = client.get("/healthz");
    assert_eq!((health.status, health.json()["frames"].is_null()), (200, true));
    let played = Client::owner(&village).form("/play", &[("what", "a.wav")]);
    assert_eq!(played.status, 303, "{}", played.text());
    village.wait("frames flow", |_| client.get("/healthz").json()["frames"] == true);
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("\ndalaba_playing 1\n") && metrics.contains("\ndalaba_healthy 1\n"), "{metrics}");
    // A speaker that is held still shows no progress, and so does its successor.
    kill_process(village.server.pid(), Signal::STOP).unwrap();
    village.wait("frames do not flow", |_| client.get("/healthz").status == 503);
    kill_process(village.server.pid(), Signal::CONT).unwrap();
    village.entries("a.wav", 1);
    village.wait("the entry is counted", |_| {
        let metrics = client.get("/metrics").text();
        metrics.lines().any(|line| line.starts_with("dalaba_entries_total") && line.ends_with(" 1"))
    });
}

#[test]
fn live_updates_show_what_plays_as_it_begins() {
    let village = station();
    let client = Client::stranger(&village);
    let mut stream = TcpStream::connect(client.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", client.address).as_bytes()).unwrap();
    let mut heard = String::new();
    let mut wait_for = |wanted: &str| {
        let mut chunk = [0; 4096];
        while !heard.contains(wanted) {
            let read = stream.read(&mut chunk).unwrap();
            assert!(read > 0, "the stream goes on");
            heard += &String::from_utf8_lossy(&chunk[..read]);
        }
    };
    wait_for("现在没有播出");
    let played = Client::owner(&village).form("/play", &[("what", "a.wav")]);
    assert_eq!(played.status, 303, "{}", played.text());
    wait_for("<progress max=\"20000\"");
    wait_for("value=\"-");
}

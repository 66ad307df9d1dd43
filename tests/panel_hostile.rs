//! The station's pages against whoever writes into them, dribbles at them, crowds them, or comes from the network.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use support::{
    PATIENCE, Village, at,
    http::{Answer, Client},
    soon,
    wave::{melody, wav},
};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

const EVIL: &str = "\"'><script>alert(7)</script>";
/// The same as a page has to write it.
const TAMED: &str = "&#60;script&#62;alert(7)";

/// A recording whose tags are as hostile as its samples are not.
fn tagged(village: &Village) -> Vec<u8> {
    let (plain, tagged) = (village.home().join("plain.wav"), village.home().join("tagged.mp3"));
    fs::write(&plain, wav(&melody(5, 1.0))).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(&plain);
    for tag in ["title", "artist", "album", "comment"] {
        ffmpeg.arg("-metadata").arg(format!("{tag}={EVIL}"));
    }
    assert!(ffmpeg.arg(&tagged).status().unwrap().success());
    fs::read(tagged).unwrap()
}

/// Writes `EVIL` wherever the station takes text from people.
fn write_everywhere(village: &mut Village, admin: &Client) {
    let fine = |answer: Answer| assert!(matches!(answer.status, 200 | 303), "{}", answer.text());
    fine(admin.form("/settings/station", &[("name", EVIL), ("kind", "village")]));
    let file = tagged(village);
    let refused = admin.upload("/clips", &[("folder", "")], &[("<script>alert(7).mp3", &file)]);
    assert_eq!(refused.status, 422, "{}", refused.text());
    fine(admin.upload("/clips", &[("folder", "")], &[("tagged.mp3", &file)]));
    // Whoever sits at the machine copies what they like into the folder.
    village.file("audio/<script>alert(7)/<script>alert(7).mp3", &file);
    village.wait("the copied file is listed", |_| {
        admin.json("/clips").json().to_string().contains("<script>alert(7)/<script>alert(7).mp3")
    });
    fine(admin.form("/clip-about/a.wav", &[("title", EVIL)]));
    fine(admin.form("/plan/override", &[("date", "2030-01-01"), ("schedule", "evil"), ("note", EVIL)]));
    fine(admin.form("/play", &[("what", "a.wav"), ("emergency", "on"), ("note", EVIL)]));
    village.wait("the play has its entry", |village| {
        village.journal().iter().any(|entry| entry["announcement"] == "a.wav" && entry["note"] == EVIL)
    });
    // A person's name is no place for it; whatever the answer, it must not come back raw.
    let added =
        admin.form("/settings/people", &[("name", EVIL), ("password", "一串很长的密码2026"), ("role", "viewer")]);
    assert!(!added.text().contains("<script>alert(7)"), "{}", added.text());
    fine(admin.form("/play", &[("what", "evil")]));
    fine(admin.form("/hush", &[("minutes", "30"), ("note", EVIL)]));
}

#[test]
fn what_people_write_is_shown_as_they_wrote_it_wherever_it_stands() {
    let mut village = Village::new();
    village.clip("a.wav", &melody(1, 1.0));
    let text = serde_json::to_string(EVIL).unwrap();
    village.schedule(
        "evil",
        &format!(
            "title = {text}\n[announcement.evil]\ntitle = {text}\nplay = [\"a.wav\"]\nscreen = {text}\n\
             [[rule]]\nplay = \"evil\"\nat = [\"{}\", \"03:33\"]\n# {EVIL}\n",
            at(soon(20))
        ),
    );
    village.start();
    let admin = Client::owner(&village);
    village.wait("the output is found", |_| admin.json("/").json()["device"].is_string());
    write_everywhere(&mut village, &admin);

    let api = admin.json("/openapi.json").json();
    let mut tamed = BTreeSet::new();
    let evil_in_address: String = form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    for (path, methods) in api["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get") else { continue };
        if path.ends_with("/events") {
            continue;
        }
        let named = |name: &str| path.replace("{name}", name).replace("{path}", name).replace("{revision}", name);
        let mut addresses = vec![named("evil"), named("a.wav"), named(&evil_in_address)];
        addresses.push(named("%3Cscript%3Ealert(7)/%3Cscript%3Ealert(7).mp3"));
        let queries = get["parameters"].as_array().unwrap().iter().filter(|value| value["in"] == "query");
        for query in queries {
            let name = query["name"].as_str().unwrap();
            addresses.push(format!("{}?{name}={evil_in_address}", named("evil")));
            addresses.push(format!("{}?date=2030-01-01&schedule=evil&{name}={evil_in_address}", named("evil")));
        }
        for address in addresses {
            let answer = admin.get(&address);
            assert!(answer.status < 500, "{address}: {}", answer.head);
            let kind = answer.header("content-type").unwrap_or_default();
            if !kind.contains("html") && !kind.contains("svg") {
                continue;
            }
            let page = answer.text();
            assert!(!page.contains("<script>alert(7)") && !page.contains("\"'>"), "{address}:\n{page}");
            if page.contains(TAMED) {
                tamed.insert(path.clone());
            }
        }
    }
    for page in ["/", "/plan", "/schedules", "/schedules/{name}", "/clips", "/clips/{path}", "/journal", "/settings"] {
        assert!(tamed.contains(page), "{page} shows what was written: {tamed:?}");
    }
    assert!(tamed.contains("/screen") && tamed.contains("/journal/print"), "{tamed:?}");
}

#[test]
fn whoever_dribbles_is_sent_away() {
    let mut village = Village::new();
    village.start();
    let owner = Client::owner(&village);
    let address = owner.address;
    let token = owner.token.clone().unwrap();
    let body = format!(
        "POST /play HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 4000\r\n\r\nwhat="
    );
    let dribblers: Vec<_> = ["GET / HTTP/1.1\r\nX-Slow: ".to_owned(), body]
        .into_iter()
        .map(|start| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(start.as_bytes()).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                let since = dalaba::clock::monotonic();
                let mut answer = [0; 256];
                // A byte at a time, more often than any pause that is a reason by itself.
                while since.elapsed() < PATIENCE * 2 {
                    match stream.read(&mut answer) {
                        Ok(read) => return String::from_utf8_lossy(&answer[..read]).into_owned(),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => return String::new(),
                    }
                    if stream.write_all(b"a").is_err() {
                        return String::new();
                    }
                }
                panic!("{start} goes on for ever");
            })
        })
        .collect();
    let answers: Vec<_> = dribblers.into_iter().map(|dribbler| dribbler.join().unwrap()).collect();
    println!("{answers:?}");
    assert!(answers.iter().all(|answer| !answer.contains(" 200 ")), "{answers:?}");
}

#[test]
fn a_form_that_is_too_large_is_refused_in_words() {
    let mut village = Village::new();
    village.start();
    let owner = Client::owner(&village);
    let note = "长".repeat(1 << 20);
    for path in ["/play", "/hush", "/schedules/new-one/delete"] {
        let answer = owner.form(path, &[("what", "a.wav"), ("minutes", "30"), ("base", "x"), ("note", &note)]);
        assert_eq!(answer.status, 413, "{path}: {}", answer.text());
        assert!(answer.text().contains("太大"), "{path}: {}", answer.text());
    }
}

/// This machine's own address on a network, if it is on one. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

/// Connects from a network address to loopback: for the station it comes from elsewhere, and no packet leaves.
fn from_elsewhere(own: IpAddr, port: u16) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own, 0)).unwrap();
        socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The station as seen over TLS by somebody who holds its certificate.
struct Elsewhere {
    own: IpAddr,
    config: Arc<ClientConfig>,
    client: Client,
}

impl Elsewhere {
    fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let origin = format!("https://{}", self.client.address);
        let headers = [kind, ("Accept", "text/html"), ("Origin", &origin)];
        let request = self.client.written(method, path, &headers, body.as_bytes());
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut stream = StreamOwned::new(connection, from_elsewhere(self.own, self.client.address.port()));
        stream.write_all(&request).unwrap();
        let mut back = Vec::new();
        // The other side closes without a word of farewell.
        let _ = stream.read_to_end(&mut back);
        let answer = Answer::read(&back);
        self.client.cookie = answer.cookie().or(self.client.cookie.take());
        answer
    }
}

#[test]
fn the_network_reaches_the_pages_over_tls_with_a_password_and_not_otherwise() {
    let Some(own) = own_address() else {
        println!("this machine is on no network: not tried");
        return;
    };
    let mut village = Village::new();
    village.clip("a.wav", &melody(1, 1.0)).launch_at("0.0.0.0:0").ready();
    let owner = Client::owner(&village);
    let port = owner.address.port();

    let mut plain = from_elsewhere(own, port);
    write!(plain, "GET /plan HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 308") && said.contains(&format!("https://127.0.0.1:{port}/plan")), "{said}");

    let pem = fs::read(village.home().join("data/page-cert.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client { address: SocketAddr::from(([127, 0, 0, 1], port)), cookie: None, token: None };
    let mut away = Elsewhere { own, config: Arc::new(config), client };
    let first = away.ask("GET", "/first-run", &[]);
    assert!(first.text().contains("验证码"), "from the network the code is asked for: {}", first.text());
    let taken = [
        ("name", "贼"),
        ("password", PASSWORD),
        ("again", PASSWORD),
        ("station", "x"),
        ("kind", "village"),
        ("output", "default"),
    ];
    assert_ne!(away.ask("POST", "/first-run", &taken).status, 303, "nobody takes a station over without the code");

    let people = [("name", "王芳"), ("password", PASSWORD), ("role", "admin")];
    assert_eq!(owner.form("/settings/people", &people).status, 303);
    for (method, path) in [("GET", "/"), ("GET", "/plan"), ("POST", "/stop"), ("POST", "/release"), ("GET", "/metrics")]
    {
        let answer = away.ask(method, path, &[]);
        let to = answer.header("location").unwrap_or_default();
        assert!(answer.status == 303 && to.starts_with("/sign-in"), "{path}: {}", answer.head);
    }
    assert_eq!(away.ask("POST", "/sign-in", &[("name", "王芳"), ("password", PASSWORD)]).status, 303);
    assert_eq!(away.ask("POST", "/stop", &[]).status, 303);
    assert!(away.ask("GET", "/", &[]).text().contains("停播中"));
    assert_eq!(away.ask("POST", "/release", &[]).status, 303);
}

const PASSWORD: &str = "春天的大喇叭2026";

#[test]
fn two_hundred_requests_a_second_disturb_no_announcement() {
    let mut village = Village::new();
    let seconds = if std::env::var_os("DALABA_PROVE").is_some() { 30 } else { 5 };
    village.clip("a.wav", &melody(1, f64::from(seconds)));
    village.start();
    let due = soon(15);
    village.schedule(
        "daily",
        &format!(
            "[announcement.loaded]\ntitle = \"一\"\nplay = [\"a.wav\"]\n[[rule]]\nplay = \"loaded\"\nat = [\"{}\"]\n",
            at(due)
        ),
    );
    village.planned("loaded");
    let client = Client::stranger(&village);
    let over = Arc::new(AtomicBool::new(false));
    // Four people who press reload fifty times a second: a beat, not an await.
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let (client, over) = (client.clone(), Arc::clone(&over));
            thread::spawn(move || {
                let (mut took, start) = (Vec::new(), dalaba::clock::monotonic());
                while !over.load(Ordering::Relaxed) {
                    let beat = Duration::from_millis(20) * u32::try_from(took.len()).unwrap();
                    thread::sleep(beat.saturating_sub(start.elapsed()));
                    let since = dalaba::clock::monotonic();
                    assert_eq!(client.get("/").status, 200);
                    took.push(since.elapsed());
                }
                (took, start.elapsed())
            })
        })
        .collect();
    let entry = village.entries("loaded", 1).remove(0);
    over.store(true, Ordering::Relaxed);
    let (mut all, mut rate) = (Vec::new(), 0.0);
    for person in crowd {
        let (took, within) = person.join().unwrap();
        rate += took.len() as f64 / within.as_secs_f64();
        all.extend(took);
    }
    all.sort();
    let at = |part: usize| all[(all.len() - 1) * part / 100];
    println!(
        "{} requests, {rate:.0} a second: p50 {:?}, p99 {:?}, max {:?}; started {} us off, {} underruns",
        all.len(),
        at(50),
        at(99),
        at(100),
        entry["start_error_us"],
        entry["underruns"]
    );
    assert_eq!(entry["outcome"], "played", "{entry:#}");
}

//! A town for a test: the real office in a temporary folder, real villages with sound, light stations by the dozen.
//!
//! The office can be killed, copied, put back and started again, under another clock or on another disk; it is asked only
//! what a clerk's browser could ask. Stations come to it by enrolment, as everywhere.

use super::{GLANCE, PATIENCE, Setup, Village, dalaba, http::Client, line::Line};
use serde_json::{Value, json};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
};
use tempfile::TempDir;

/// What it is called.
pub const NAME: &str = "桐溪镇";
/// Who administers it.
pub const ADMIN: &str = "王芳";
/// And the password.
pub const PASSWORD: &str = "春天的大喇叭2026";
/// Whom it may speak to.
pub const DIVISION: &str = "330127104";

/// What an office stands on; every field has a default that stands on the machine itself.
pub struct Ground {
    /// `--database`, where it is not the file in its home.
    pub database: Option<String>,
    /// Its home, where it is not a temporary folder.
    pub home: Option<PathBuf>,
    /// Where the test finds what the office calls `/`.
    pub root: PathBuf,
    /// Where stations reach it.
    pub ip: IpAddr,
    /// Where people reach it.
    pub desk: IpAddr,
    /// The words before the program: those of one that starts it under another clock, or in another network.
    pub under: Vec<String>,
}

impl Default for Ground {
    fn default() -> Self {
        let here = Ipv4Addr::LOCALHOST.into();
        Self { database: None, home: None, root: "/".into(), ip: here, desk: here, under: Vec::new() }
    }
}

/// An office and the light stations that a test has started. All of it ends with it.
pub struct Town {
    folder: TempDir,
    /// What it will stand on at its next start.
    pub ground: Ground,
    office: Option<Child>,
    light: Vec<Child>,
    /// Its pages, with the rights of its administrator. The address stays: stations know no other.
    pub pages: Client,
}

impl Town {
    /// An office that nobody has set up.
    pub fn untouched() -> Self {
        let mut town = Self::nowhere(Ground::default());
        town.start_with(&[]);
        town
    }

    /// An office that was set up.
    pub fn new() -> Self {
        Self::on(Ground::default())
    }

    /// The same on other ground.
    pub fn on(ground: Ground) -> Self {
        let mut town = Self::nowhere(ground);
        town.start();
        town
    }

    fn nowhere(ground: Ground) -> Self {
        let folder = tempfile::Builder::new().prefix("dalaba-town-").tempdir().expect("a temporary folder");
        fs::write(folder.path().join("password"), PASSWORD).expect("a password");
        let address = SocketAddr::new(ground.desk, 0);
        let pages = Client { address, cookie: None, token: None };
        Self { folder, ground, office: None, light: Vec::new(), pages }
    }

    /// Starts it, again where it listened before, and waits until its pages are open.
    pub fn start(&mut self) {
        let password = self.folder.path().join("password").display().to_string();
        let admin = ["--admin", ADMIN, "--password-file", password.as_str()];
        self.start_with(&[&["--name", NAME, "--division", DIVISION][..], &admin].concat());
    }

    fn start_with(&mut self, more: &[&str]) {
        assert!(self.office.is_none(), "one office at a time");
        // What another process left behind says nothing of this one.
        let _ = fs::remove_file(self.home().join("control.json"));
        let mut command = dalaba();
        if let [program, words @ ..] = &self.ground.under[..] {
            let office = command;
            command = std::process::Command::new(program);
            command.args(words).arg(office.get_program()).env_remove("RUST_LOG");
        }
        let Ground { ip, desk, .. } = self.ground;
        let listen =
            SocketAddr::new(if ip == desk { ip } else { Ipv4Addr::UNSPECIFIED.into() }, self.pages.address.port());
        command.args(["office", "--listen", &listen.to_string(), "--home"]).arg(self.its_home()).args(more);
        command.args(self.ground.database.iter().flat_map(|url| ["--database", url]));
        let log = self.log_file();
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log once more")).stderr(log);
        self.office = Some(command.spawn().expect("the office starts"));
        let since = dalaba::clock::monotonic();
        self.pages = loop {
            let mut pages = Client::of(&self.home().join("control.json"));
            pages.iter_mut().for_each(|pages| pages.address.set_ip(desk));
            if let Some(pages) = pages.filter(|pages| !matches!(pages.get("/sign-in").status, 0 | 404)) {
                break pages;
            }
            let ended = self.office.as_mut().expect("just started").try_wait().expect("its status");
            assert!(ended.is_none(), "the office ended: {ended:?}");
            assert!(since.elapsed() < PATIENCE, "the office does not open");
            thread::sleep(GLANCE);
        };
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut office) = self.office.take() {
            office.kill().expect("the office can be killed");
            office.wait().expect("the office is gone");
        }
    }

    /// Where stations reach it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ground.ip, self.pages.address.port())
    }

    /// Whether it has not ended by itself.
    pub fn is_up(&mut self) -> bool {
        self.office.as_mut().is_some_and(|office| office.try_wait().expect("its status").is_none())
    }

    /// A folder of the test's own, beside its home.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its home.
    pub fn home(&self) -> PathBuf {
        self.ground.root.join(self.its_home().strip_prefix("/").expect("a path from the root on"))
    }

    /// Its home as it calls it itself.
    fn its_home(&self) -> PathBuf {
        self.ground.home.clone().unwrap_or_else(|| self.folder.path().join("office"))
    }

    /// What it has written to its log.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("office.log")).unwrap_or_default()
    }

    fn log_file(&self) -> fs::File {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("office.log"));
        log.expect("a log file")
    }

    /// Copies its home while it does not run.
    pub fn back_up(&self, to: &Path) {
        assert!(self.office.is_none(), "a copy of its files while it writes is none");
        copy(&self.home(), to);
    }

    /// Puts an earlier copy in the place of its home.
    pub fn restore(&self, from: &Path) {
        assert!(self.office.is_none(), "it holds its files open");
        fs::remove_dir_all(self.home()).expect("its home goes");
        copy(from, &self.home());
    }

    /// Somebody at the machine who has not signed in.
    pub fn stranger(&self) -> Client {
        Client { token: None, ..self.pages.clone() }
    }

    /// What a page says.
    pub fn page(&self, path: &str) -> Value {
        let answer = self.pages.json(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// What comes of a button.
    pub fn press(&self, path: &str, body: &Value) -> Value {
        let answer = self.pages.post(path, body);
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
        answer.json()
    }

    /// Every light station goes, without a word.
    pub fn leave(&mut self) {
        for mut stations in self.light.drain(..) {
            stations.kill().expect("they were running");
            stations.wait().expect("they end");
        }
    }

    /// Waits until something is there.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let since = dalaba::clock::monotonic();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "in vain: {what}");
            thread::sleep(GLANCE);
        }
    }

    /// Waits until a page says what is waited for, and returns the page.
    pub fn until(&self, what: &str, page: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        let mut shown = Value::Null;
        let since = dalaba::clock::monotonic();
        while since.elapsed() < PATIENCE {
            shown = self.page(page);
            if is_so(&shown) {
                return shown;
            }
            thread::sleep(GLANCE);
        }
        panic!("in vain: {what}: {shown:#}");
    }

    /// A code for a village.
    pub fn code(&self, name: &str, division: &str) -> String {
        let made = self.press("/enrol/code", &json!({ "name": name, "division": division }));
        made["made"]["code"].as_str().expect("a code").to_owned()
    }

    /// Brings a sound, and returns its hash.
    pub fn sound(&self, name: &str, bytes: &[u8]) -> String {
        let answer = self.pages.upload("/sounds", &[], &[(name, bytes)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["sounds"][0].as_str().expect("a sound").to_owned()
    }

    /// Publishes a campaign of one sound to everybody, and returns its id. The schedule calls the sound `path`.
    pub fn publish(&self, title: &str, schedule: &str, (sha256, path): (&str, &str)) -> String {
        let (chosen, called) = (format!("sound.{sha256}"), format!("path.{sha256}"));
        let draft = json!({ "do": "save", "kind": "campaign", "title": title, "text": schedule, "everybody": "on",
            chosen: "on", called: path });
        let saved = self.press("/campaigns/draft", &draft);
        let id = saved["campaign"]["id"].as_str().unwrap_or_else(|| panic!("not saved: {saved}")).to_owned();
        self.press(&format!("/campaigns/{id}/step"), &json!({ "step": "publish" }));
        id
    }

    /// Speaks to everybody at once with this sound, and returns the command's id.
    pub fn emergency(&self, subject: &str, sound: &str) -> String {
        let word = json!({ "word": "立即播出", "subject": subject, "text": "请立即转移", "sound": sound, "times": "1",
            "volume": "100", "everybody": "on", "note": "" });
        self.press("/emergency", &word)["command"].as_str().expect("its name").to_owned()
    }

    /// Waits until its page says that so many stations did what a command told them, and returns the page.
    pub fn finished(&self, id: &str, stations: usize) -> Value {
        self.until("the order is carried out", &format!("/orders/{id}"), |page| {
            Self::states(page).iter().filter(|state| *state == "finished").count() == stations
        })
    }

    /// How far an order is at each station, by its page.
    pub fn states(page: &Value) -> Vec<String> {
        let stations = page["stations"].as_array().unwrap_or_else(|| panic!("no stations: {page:#}"));
        let state = |station: &Value| station["receipt"]["state"].as_str().unwrap_or("none").to_owned();
        stations.iter().map(state).collect()
    }

    /// What it has on record under a title, of every village.
    pub fn records(&self, title: &str) -> Vec<Value> {
        let page = self.page("/journal");
        let rows = page["rows"].as_array().expect("rows").iter();
        rows.filter(|row| row["title"] == title).cloned().collect()
    }

    /// What it has on record of a station around today: how many rows by its counts, and the rows.
    pub fn journal_of(&self, station: &str) -> (i64, Vec<Value>) {
        let today = dalaba::clock::wall().to_zoned_datetime(super::zone()).date();
        let days = (today.yesterday().expect("a day before"), today.tomorrow().expect("a day after"));
        let (mut after, mut rows) = (String::new(), Vec::new());
        loop {
            let page = self.page(&format!("/journal?station={station}&from={}&until={}{after}", days.0, days.1));
            rows.extend(page["rows"].as_array().expect("rows").iter().cloned());
            let Some(next) = page["next"].as_str() else { return (page["total"].as_i64().expect("a count"), rows) };
            let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
            after = format!("&after={next}");
        }
    }

    /// Lets light stations in, and waits until they are there.
    pub fn populate(&mut self, count: usize) -> &mut Self {
        let fields = [("division", DIVISION), ("uses", "1000"), ("automatic", "on")];
        let made = self.pages.form_json("/enrol/code", &fields).json();
        let code = made["made"]["code"].as_str().expect("a code").to_owned();
        let log = self.log_file();
        let mut command = dalaba();
        let (count_text, url) = (count.to_string(), format!("https://{}", self.pages.address));
        command.args(["simulate", "--stations", &count_text, "--office", &url, "--code", &code, "--row-every", "5"]);
        let stations = command.stdout(log.try_clone().expect("the log once more")).stderr(log).spawn();
        self.light.push(stations.expect("the stations start"));
        self.wait("every station is there", |town| {
            let seen = town.page("/");
            let up = seen["stations"].as_array().into_iter().flatten().filter(|station| station["up"] == true);
            (up.count() >= count).then_some(())
        });
        self
    }

    /// The names of its stations.
    pub fn names(&self) -> Vec<String> {
        let seen = self.page("/");
        let names = seen["stations"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
        names.map(str::to_owned).collect()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        for child in self.light.iter_mut().chain(&mut self.office) {
            // It may have ended by itself.
            child.kill().ok();
            child.wait().ok();
        }
        if thread::panicking() {
            eprintln!("--- the office said\n{}---", self.said());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder to read").flatten() {
        let path = to.join(entry.file_name());
        if entry.file_type().expect("its kind").is_dir() {
            copy(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).expect("a copy");
        }
    }
}

/// A village that belongs to the town, and the line between them.
pub struct Member {
    /// Its station.
    pub village: Village,
    /// Its broadband.
    pub line: Line,
    /// Its id at the office.
    pub id: String,
}

impl Member {
    /// A village that runs and has been taken in, as a broadcaster and a clerk do by telephone.
    pub fn joins(town: &Town, number: usize) -> Self {
        Self::with(town, number, Setup::default())
    }

    /// The same as `setup` says; its number gives it its name.
    pub fn with(town: &Town, number: usize, setup: Setup<'_>) -> Self {
        Self::over(Line::to(town.address()), town, number, setup)
    }

    /// The same over a line that is there already.
    pub fn over(line: Line, town: &Town, number: usize, setup: Setup<'_>) -> Self {
        let (id, name) = (format!("village-{number}"), format!("{number}号村"));
        let mut village = Village::with(Setup { id: &id, name: &name, ..setup });
        village.start();
        let code = town.code(&name, &format!("{DIVISION}2{number:02}"));
        let office = format!("https://{}", line.address());
        let said = village.dalaba(["enrol", &code, "--office", &office, "--yes", "--json"]).ok();
        let view = &said.json()[0];
        assert_eq!(view["words"]["zh"], town.page("/enrol")["words"], "both sides show the same words");
        assert_eq!(view["name"], NAME);
        town.press(&format!("/enrol/{id}/confirm"), &json!({ "same": true }));
        let member = Self { village, line, id };
        member.until(town, "it is taken in and heard", |station| station["up"] == true);
        member.village.wait("the office is heard", |_| {
            let office = member.office();
            office["stage"] == "member" && office["up"] == true
        });
        member
    }

    /// Waits until the office's page of this station says what is waited for, and returns the page.
    pub fn until(&self, town: &Town, what: &str, is_so: impl FnMut(&Value) -> bool) -> Value {
        town.until(&format!("{}: {what}", self.id), &format!("/stations/{}", self.id), is_so)
    }

    /// How the station itself stands with its office.
    pub fn office(&self) -> Value {
        Client::owner(&self.village).json("/settings").json()["office"].clone()
    }

    /// Final entries that the office's campaigns and orders have brought.
    pub fn town_entries(&self) -> Vec<Value> {
        let mut entries = self.village.journal();
        entries.retain(|entry| entry["source"] == "town");
        entries
    }

    /// How many rows of its journal the office has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        let link = fs::read(self.village.home().join("data/office/link.json")).unwrap_or_default();
        let link: Value = serde_json::from_slice(&link).unwrap_or_default();
        link["standing"]["member"]["acked"].as_u64().unwrap_or(0)
    }

    /// Waits until the office has the station's whole journal on record: each row once, and each as the station wrote it.
    pub fn is_on_record(&self, town: &Town) {
        let name = |row: &Value| (row["seq"].as_i64(), row["hash"].as_str().map(str::to_owned));
        let mut said = (Vec::new(), Vec::new());
        let since = dalaba::clock::monotonic();
        while since.elapsed() < PATIENCE {
            let here: Vec<_> = self.village.journal().iter().map(name).collect();
            let (total, rows) = town.journal_of(&self.id);
            let mut there: Vec<_> = rows.iter().map(name).collect();
            there.sort();
            assert!(
                there.len() <= here.len() && there[..] == here[..there.len()],
                "not its journal: {there:#?} {here:#?}"
            );
            // The day's counts are kept beside the rows.
            if there == here && total == here.len() as i64 {
                return;
            }
            said = (here, there);
            thread::sleep(GLANCE);
        }
        panic!("{} wrote and the office has {said:#?}", self.id);
    }

    /// Waits until the office has every row of the station's journal.
    pub fn is_acknowledged(&self) {
        self.village
            .wait("the office has the journal", |village| self.acknowledged() == village.journal().len() as u64);
    }
}

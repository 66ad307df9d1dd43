//! An office for a test, in a temporary folder: the real program, and light stations that ask it to take them in.

use super::{GLANCE, PATIENCE, dalaba, http::Client};
use serde_json::Value;
use std::{fs, path::Path, process::Child, thread};
use tempfile::TempDir;

/// An office and the stations that a test has started. All of it ends with it.
pub struct Town {
    home: TempDir,
    office: Option<Child>,
    stations: Vec<Child>,
}

/// Who administers it.
pub const ADMIN: &str = "王芳";
/// And the password.
pub const PASSWORD: &str = "春天的大喇叭2026";
/// Whom it may speak to.
pub const DIVISION: &str = "330127104";

impl Town {
    /// An office that nobody has set up.
    pub fn untouched() -> Self {
        let home = tempfile::Builder::new().prefix("dalaba-town-").tempdir().expect("a temporary folder");
        let mut town = Self { home, office: None, stations: Vec::new() };
        town.start(&[]);
        town
    }

    /// An office that was set up.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("dalaba-town-").tempdir().expect("a temporary folder");
        let password = home.path().join("password");
        fs::write(&password, PASSWORD).expect("a password");
        let mut town = Self { home, office: None, stations: Vec::new() };
        let file = password.to_str().expect("a path").to_owned();
        let first = ["--name", "桐溪镇", "--division", DIVISION, "--admin", ADMIN, "--password-file", file.as_str()];
        town.start(&first);
        town
    }

    fn start(&mut self, more: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("a log file");
        let mut command = dalaba();
        command.args(["office", "--listen", "127.0.0.1:0", "--home"]).arg(self.home()).args(more);
        let office = command.stdout(log.try_clone().expect("the log once more")).stderr(log).spawn();
        self.office = Some(office.expect("the office starts"));
        self.wait("the office is open", |town| {
            Client::of(&town.home().join("control.json")).is_some_and(|client| client.get("/sign-in").status != 404)
        });
    }

    /// Its folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn log(&self) -> std::path::PathBuf {
        self.home().join("office.log")
    }

    /// Whoever may read `control.json`.
    pub fn owner(&self) -> Client {
        Client::of(&self.home().join("control.json")).expect("an open office")
    }

    /// Somebody at the machine who has not signed in.
    pub fn stranger(&self) -> Client {
        Client { token: None, ..self.owner() }
    }

    /// Lets light stations in, and waits until they are there.
    pub fn populate(&mut self, count: usize) -> &mut Self {
        let fields = [("division", DIVISION), ("uses", "1000"), ("automatic", "on")];
        let made = self.owner().form_json("/enrol/code", &fields).json();
        let code = made["made"]["code"].as_str().expect("a code").to_owned();
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("a log file");
        let mut command = dalaba();
        let (count_text, url) = (count.to_string(), format!("https://{}", self.owner().address));
        command.args(["simulate", "--stations", &count_text, "--office", &url, "--code", &code, "--row-every", "5"]);
        let stations = command.stdout(log.try_clone().expect("the log once more")).stderr(log).spawn();
        self.stations.push(stations.expect("the stations start"));
        self.wait("every station is there", |town| {
            let seen = town.owner().json("/").json();
            let up = seen["stations"].as_array().into_iter().flatten().filter(|station| station["up"] == true);
            up.count() >= count
        });
        self
    }

    /// Every station goes, without a word.
    pub fn leave(&mut self) {
        for mut stations in self.stations.drain(..) {
            stations.kill().expect("they were running");
            stations.wait().expect("they end");
        }
    }

    /// Waits until something has happened.
    pub fn wait(&self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        let since = dalaba::clock::monotonic();
        while !happened(self) {
            assert!(since.elapsed() < PATIENCE, "in vain: {what}");
            thread::sleep(GLANCE);
        }
    }

    /// The names of its stations.
    pub fn names(&self) -> Vec<String> {
        let seen: Value = self.owner().json("/").json();
        let names = seen["stations"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
        names.map(str::to_owned).collect()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        for child in self.stations.iter_mut().chain(&mut self.office) {
            // It may have ended by itself.
            child.kill().ok();
            child.wait().ok();
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("--- the office said\n{log}---");
        }
    }
}

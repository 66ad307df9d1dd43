//! A town for a test: the real office in a temporary folder, asked what anybody can ask who may use its pages.

use crate::support::{PATIENCE, dalaba, http::Client};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How often it looks.
const GLANCE: Duration = Duration::from_millis(100);

/// An office. Its process ends with it.
pub struct Town {
    home: TempDir,
    process: Option<Child>,
    /// Its pages, with the rights of its administrator.
    pub pages: Client,
}

impl Town {
    /// An office that is set up and answers.
    pub fn open() -> Self {
        let home = tempfile::Builder::new().prefix("dalaba-town-").tempdir().expect("a temporary folder");
        fs::write(home.path().join("password"), "大喇叭 2026").expect("a password");
        let nowhere = "127.0.0.1:0".parse().expect("an address");
        let mut town = Self { home, process: None, pages: Client { address: nowhere, cookie: None, token: None } };
        town.start_at("127.0.0.1:0");
        town
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where stations reach it.
    pub fn address(&self) -> String {
        format!("https://{}", self.pages.address)
    }

    /// Starts it again where it was.
    pub fn start(&mut self) {
        self.start_at(&self.pages.address.to_string());
    }

    fn start_at(&mut self, listen: &str) {
        // What another process left behind says nothing of this one.
        let _ = fs::remove_file(self.home().join("control.json"));
        let log = fs::File::options().create(true).append(true).open(self.home().join("log")).expect("a log file");
        let process = dalaba()
            .args(["office", "--listen", listen, "--name", "青石镇", "--division", "330127104000", "--admin", "王芳"])
            .arg("--home")
            .arg(self.home())
            .arg("--password-file")
            .arg(self.home().join("password"))
            .stdout(log.try_clone().expect("the log once more"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("the office starts");
        self.process = Some(process);
        let control = self.wait("the office says where it is", |town| {
            serde_json::from_slice::<Value>(&fs::read(town.home().join("control.json")).ok()?).ok()
        });
        self.pages.address = control["address"].as_str().and_then(|text| text.parse().ok()).expect("its address");
        self.pages.token = control["token"].as_str().map(str::to_owned);
        self.wait("the office answers", |town| (town.pages.json("/enrol").status == 200).then_some(()));
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the office can be killed");
            process.wait().expect("the office is gone");
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

    /// A code for a village.
    pub fn code(&self, name: &str) -> String {
        let made = self.press("/enrol/code", &json!({ "name": name, "division": "330127104201" }));
        made["made"]["code"].as_str().expect("a code").to_owned()
    }

    /// Agrees to take a station in, once it has asked.
    pub fn confirm(&self, id: &str) {
        self.wait("the station asks", |town| {
            let waiting = town.page("/enrol")["waiting"].clone();
            waiting.as_array()?.iter().any(|station| station["id"] == id).then_some(())
        });
        self.press(&format!("/enrol/{id}/confirm"), &json!({ "same": true }));
    }

    /// Brings a sound, and returns its hash.
    pub fn sound(&self, name: &str, bytes: &[u8]) -> String {
        let answer = self.pages.upload("/sounds", &[], &[(name, bytes)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["sounds"][0].as_str().expect("a sound").to_owned()
    }

    /// Publishes a campaign of one sound to everybody. The schedule calls the sound `path`.
    pub fn publish(&self, title: &str, schedule: &str, (sha256, path): (&str, &str)) -> String {
        let (chosen, called) = (format!("sound.{sha256}"), format!("path.{sha256}"));
        let fields = [
            ("kind", "campaign"),
            ("title", title),
            ("text", schedule),
            (&chosen, "on"),
            (&called, path),
            ("everybody", "on"),
            ("do", "save"),
        ];
        let saved = self.pages.upload("/campaigns/draft", &fields, &[]);
        assert_eq!(saved.status, 200, "{}", saved.text());
        let id = saved.json()["campaign"]["id"].as_str().expect("a campaign").to_owned();
        self.press(&format!("/campaigns/{id}/step"), &json!({ "step": "publish" }));
        id
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = fs::read_to_string(self.home().join("log")).unwrap_or_default();
            eprintln!("--- the office said\n{log}---");
        }
    }
}

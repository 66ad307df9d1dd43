//! An office for a test, as a process that can be killed, restored and started again; asked only what a clerk's browser
//! could ask.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use crate::support::{PATIENCE, dalaba};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// An office in a temporary folder. Its process ends with it.
pub struct Office {
    folder: TempDir,
    /// `--database`, where it is not the file in its home.
    database: Option<String>,
    process: Option<Child>,
    /// The port is the same after each start: stations know no other.
    address: Option<SocketAddr>,
    token: String,
    http: Client,
    /// What carries its requests: a test waits for each.
    runtime: Runtime,
}

impl Office {
    /// An office 青石镇 that runs.
    pub fn new() -> Self {
        Self::on(None)
    }

    /// The same on a database.
    pub fn on(database: Option<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("dalaba-office-").tempdir().unwrap();
        fs::write(folder.path().join("password"), "一个很长很长的密码").unwrap();
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        // Whose certificate it is, is the stations' to check; a test that reads pages believes it.
        let http = Client::builder().tls_danger_accept_invalid_certs(true).pool_max_idle_per_host(0).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut town = Self { folder, database, process: None, address: None, token: String::new(), http, runtime };
        town.start();
        town
    }

    /// Its home.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("office")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// Starts it, again where it listened before, and waits until it is healthy.
    pub fn start(&mut self) {
        let listen = self.address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let _ = fs::remove_file(self.home().join("control.json"));
        let said_before = self.said().len();
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = dalaba();
        command.args(["office", "--listen", &listen, "--name", "青石镇", "--division", "330127104000"]);
        command.args(["--admin", "李主任", "--password-file"]).arg(self.folder.path().join("password"));
        command.arg("--home").arg(self.home());
        command.args(self.database.iter().flat_map(|url| ["--database", url]));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let control = self.wait_for(|town| {
            // It is open to stations and people once it has said the words of its root.
            town.said().get(said_before..)?.contains("核对词").then_some(())?;
            let control: Value = serde_json::from_slice(&fs::read(town.home().join("control.json")).ok()?).ok()?;
            Some((control["address"].as_str()?.parse().ok()?, control["token"].as_str()?.to_owned()))
        });
        (self.address, self.token) = (Some(control.0), control.1);
    }

    fn wait_for<T>(&mut self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let since = dalaba::clock::monotonic();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the office ended: {}", self.said());
            assert!(since.elapsed() < PATIENCE, "the office does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("office.log")
    }

    /// Copies its home while it does not run.
    pub fn back_up(&self, to: &Path) {
        assert!(self.process.is_none());
        copy(&self.home(), to);
    }

    /// Puts an earlier copy in the place of its home.
    pub fn restore(&self, from: &Path) {
        assert!(self.process.is_none());
        fs::remove_dir_all(self.home()).unwrap();
        copy(from, &self.home());
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("https://{}{path}", self.address()));
        request.bearer_auth(&self.token).header("Accept", "application/json")
    }

    fn sent(&self, request: RequestBuilder) -> (StatusCode, String) {
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        })
    }

    /// A page as JSON.
    pub fn get(&self, path: &str) -> Value {
        let (status, text) = self.sent(self.request(Method::GET, path));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Sends a file as a form does.
    pub fn send_file(&self, path: &str, name: &str, bytes: Vec<u8>) -> Value {
        const BOUNDARY: &str = "between-the-parts";
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: audio/wav\r\n\r\n"
        )
        .into_bytes();
        body.extend(bytes);
        body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let (status, text) = self.sent(self.request(Method::POST, path).header("Content-Type", kind).body(body));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A change, as JSON.
    pub fn post(&self, path: &str, body: Value) -> Value {
        let request = self.request(Method::POST, path).header("Content-Type", "application/json");
        let (status, text) = self.sent(request.body(body.to_string()));
        assert!(status.is_success() || status.is_redirection(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- the office said\n{}---", self.said());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let path = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}

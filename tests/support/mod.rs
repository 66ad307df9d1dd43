//! A village for a test: a station home in a temporary folder, its daemon, its sound.
//!
//! [`Village`] starts the real binary against a private null sink and asks it only what anybody can ask: commands, exit
//! codes, the journal. It waits for events, each within [`PATIENCE`], and never for a time to have passed.

#![allow(dead_code, reason = "each test binary uses its own part")]

#[cfg(target_os = "linux")]
pub mod browser;
pub mod fleet;
#[cfg(target_os = "linux")]
pub mod ground;
pub mod http;
pub mod line;
#[cfg(target_os = "linux")]
pub mod monitor;
pub mod rig;
pub mod town;
pub mod wave;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rig::SoundServer;
#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How long a test waits for something that must happen. Generous: a busy machine is no fault, and a station that was
/// refused again and again comes back within five minutes.
pub const PATIENCE: Duration = Duration::from_secs(360);

/// How often it looks.
const GLANCE: Duration = Duration::from_millis(50);

/// What may lack of an entry because the machine of the test was busy, in milliseconds.
const STARVED_MS: i64 = 500;

/// Outcome and reason of an entry, as in `partial stopped`. What lacks by the fault of a busy machine alone is not held
/// against it.
pub fn fate(entry: &Value) -> String {
    if is_starved(entry) {
        eprintln!("this machine was too busy for its sound card: {entry}");
        return "played".to_owned();
    }
    let word = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}", word("outcome"), word("reason")).trim_end().to_owned()
}

/// Whether the machine had no time for the sound card for a moment, so that it ran dry: the entry owns to it, and little
/// else lacks.
pub fn is_starved(entry: &Value) -> bool {
    let ms = |field: &str| entry[field].as_i64().unwrap_or(0);
    let lacks = ms("expected_ms") - ms("heard_ms");
    entry["reason"] == "device-lost" && entry["underruns"].as_u64() > Some(0) && lacks < STARVED_MS
}

/// What a station is made of; every field has a default that lets everything sound.
pub struct Setup<'a> {
    /// `[station] id`.
    pub id: &'a str,
    /// `[station] name`.
    pub name: &'a str,
    /// `[hours] quiet`, as TOML.
    pub quiet: String,
    /// `[sound] output`, as TOML.
    pub output: &'a str,
    /// `[sound] volume`.
    pub volume: u8,
    /// Whether there is a sound server, with the null sink `village`, from the start.
    pub server: bool,
    /// Whether the machine says that its clock is kept right by the network.
    pub synchronised: bool,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        let output = r#"["pulse:village"]"#;
        Self {
            id: "test",
            name: "测试村",
            quiet: "[]".to_owned(),
            output,
            volume: 100,
            server: true,
            synchronised: false,
        }
    }
}

/// A station in a temporary folder. Its daemon ends with it.
pub struct Village {
    home: TempDir,
    /// Its private sound server, or the place where one may appear.
    pub server: SoundServer,
    daemon: Option<Child>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Standard output as one JSON object a line; nothing else may be there.
    pub fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}")))
            .collect()
    }

    /// The same, after checking that the command succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }
}

impl Village {
    /// A village with a sound server, no quiet hours, no clip and no schedule yet; the daemon is not running.
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    /// A village as `setup` says.
    pub fn with(setup: Setup<'_>) -> Self {
        let home = tempfile::Builder::new().prefix("dalaba-village-").tempdir().expect("a temporary folder");
        for folder in ["schedules", "audio"] {
            fs::create_dir(home.path().join(folder)).expect("a folder in the home");
        }
        let Setup { id, name, quiet, output, volume, server, synchronised } = setup;
        let station = format!(
            "[station]\nid = \"{id}\"\nname = \"{name}\"\n\n[hours]\nquiet = {quiet}\n\n[sound]\noutput = {output}\n\
             volume = {volume}\n\n[panel]\nlisten = \"127.0.0.1:0\"\n"
        );
        fs::write(home.path().join("station.toml"), station).expect("station.toml");
        if synchronised {
            let witness = home.path().join("bin/timedatectl");
            fs::create_dir(home.path().join("bin")).expect("a folder in the home");
            fs::write(&witness, "#!/bin/sh\necho yes\n").expect("a program in the home");
            #[cfg(unix)]
            fs::set_permissions(&witness, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it can be run");
        }
        let room = home.path().join("sound-server");
        let server = if server { SoundServer::start(&room) } else { SoundServer::absent(&room) };
        Self { home, server, daemon: None }
    }

    /// The station's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Puts a clip into `audio/`.
    pub fn clip(&mut self, path: &str, samples: &[f32]) -> &mut Self {
        self.file(&format!("audio/{path}"), wave::wav(samples))
    }

    /// Puts a schedule into `schedules/`, whole at once, as an editor saves.
    pub fn schedule(&mut self, name: &str, text: &str) -> &mut Self {
        self.file(&format!("schedules/{name}.toml"), text)
    }

    /// Puts any file into the home, whole at once.
    pub fn file(&mut self, path: &str, bytes: impl AsRef<[u8]>) -> &mut Self {
        let path = self.home().join(path);
        fs::create_dir_all(path.parent().expect("a file in the home has a folder")).expect("its folder");
        let fresh = path.with_extension("fresh~");
        fs::write(&fresh, bytes).expect("a file in the home");
        fs::rename(&fresh, &path).expect("the file under its name");
        self
    }

    /// Starts the daemon and does not wait.
    pub fn launch(&mut self) -> &mut Self {
        self.launch_at("127.0.0.1:0")
    }

    /// Starts the daemon with its page at `listen`, and does not wait.
    pub fn launch_at(&mut self, listen: &str) -> &mut Self {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("a log file");
        let daemon = self
            .command(["run", "--listen", listen])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log once more"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        self.daemon = Some(daemon);
        self
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start(&mut self) -> &mut Self {
        self.launch().ready()
    }

    /// Waits until the daemon says that it is ready.
    pub fn ready(&mut self) -> &mut Self {
        self.wait("the daemon is ready", |village| village.dalaba(["next"]).code == 0);
        self
    }

    /// Ends the daemon as a service manager does, and waits for it.
    pub fn shut_down(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            ask_to_end(&daemon);
            if !gone_within(&mut daemon, Duration::from_secs(5)) {
                daemon.kill().ok();
                daemon.wait().ok();
            }
        }
    }

    /// `kill -9` for the daemon.
    pub fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("a running daemon");
        daemon.kill().expect("the daemon can be killed");
        daemon.wait().expect("the daemon is gone");
    }

    /// `kill -9` for the speaker, if there is one at this moment.
    #[cfg(target_os = "linux")]
    pub fn kill_speaker(&self) -> bool {
        self.speaker().is_some_and(|speaker| kill_process(speaker, Signal::KILL).is_ok())
    }

    /// The speaker's process.
    #[cfg(target_os = "linux")]
    pub fn speaker(&self) -> Option<Pid> {
        let daemon = self.daemon.as_ref()?.id();
        fs::read_dir("/proc").expect("the process table").flatten().find_map(|process| {
            let id: u32 = process.file_name().to_str()?.parse().ok()?;
            let words = fs::read(process.path().join("cmdline")).ok()?;
            let is_speaker = words.split(|byte| *byte == 0).any(|word| word == b"speaker");
            (is_speaker && parent(id)? == daemon).then(|| pid(id))
        })
    }

    /// The daemon's process id.
    pub fn daemon(&self) -> u32 {
        self.daemon.as_ref().expect("a running daemon").id()
    }

    /// A line of the daemon's `/proc` status in KiB: `VmRSS` is what it holds now, `VmHWM` the most it ever held.
    #[cfg(target_os = "linux")]
    pub fn memory(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon())).expect("the daemon's status");
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("a line in kB").parse().expect("a number")
    }

    /// Whether the daemon is still there.
    pub fn is_up(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| daemon.try_wait().expect("its status").is_none())
    }

    /// Runs one command on this home and returns what it said.
    pub fn dalaba<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Said {
        said(self.command(words))
    }

    /// Every final entry, oldest first; none before the station's first start.
    pub fn journal(&self) -> Vec<Value> {
        self.dalaba(["journal", "--json"]).ok().json()
    }

    /// Waits until `announcement` has `count` final entries, and returns them.
    pub fn entries(&self, announcement: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        self.wait(&format!("{count} entries of {announcement}"), |village| {
            found = village.journal();
            found.retain(|entry| entry["announcement"] == announcement);
            found.len() >= count
        });
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }

    /// Waits until the plan in force begins with `announcement`: an edit has arrived.
    pub fn planned(&self, announcement: &str) -> &Self {
        self.wait(&format!("{announcement} is next"), |village| {
            let said = village.dalaba(["next", "--json"]);
            said.code == 0 && said.json().first().is_some_and(|next| next["announcement"] == announcement)
        });
        self
    }

    /// Waits until something has happened: a row is written, or sound flows.
    pub fn wait(&self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        let since = dalaba::clock::monotonic();
        while !happened(self) {
            assert!(since.elapsed() < PATIENCE, "in vain: {what}");
            thread::sleep(GLANCE);
        }
    }

    fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Command {
        let mut command = dalaba();
        command.args(words).arg("--home").arg(self.home());
        command.envs(self.server.env());
        let mut programs = vec![self.home().join("bin")];
        programs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        command.env("PATH", std::env::join_paths(programs).expect("a path of programs"));
        command
    }

    /// How many lines the daemon and its children have written so far.
    pub fn log_lines(&self) -> usize {
        fs::read_to_string(self.log()).map_or(0, |log| log.lines().count())
    }

    fn log(&self) -> PathBuf {
        self.home().join("daemon.log")
    }
}

impl Drop for Village {
    fn drop(&mut self) {
        self.shut_down();
        if thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let journal = self.dalaba(["journal", "--json"]).out;
            eprintln!("--- the daemon said\n{log}--- the journal holds\n{journal}---");
        }
    }
}

/// The program under test.
pub fn dalaba() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dalaba"));
    command.stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// Runs a command to its end.
pub fn said(mut command: Command) -> Said {
    let output = command.output().expect("the program runs");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        err: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
    }
}

/// The wall time so many seconds from now, on a whole second.
pub fn soon(seconds: i64) -> Timestamp {
    let now = dalaba::clock::wall();
    Timestamp::from_second(now.as_second() + seconds).expect("a time near now")
}

/// A moment as a rule of the station's zone writes it: `06:30:05`.
pub fn at(moment: Timestamp) -> String {
    moment.to_zoned_datetime(zone()).strftime("%H:%M:%S").to_string()
}

/// A window around now, in the station's zone, as `[hours] quiet` writes it.
pub fn around_now() -> String {
    let minute = |hours| {
        let moment = dalaba::clock::wall() + SignedDuration::from_hours(hours);
        moment.to_zoned_datetime(zone()).strftime("%H:%M").to_string()
    };
    format!("{}-{}", minute(-2), minute(2))
}

/// Sleeps until the wall clock shows `moment`; only to choose when a fault strikes, never to await an effect.
pub fn sleep_until(moment: Timestamp) {
    let left = moment.duration_since(dalaba::clock::wall());
    thread::sleep(Duration::try_from(left).unwrap_or_default());
}

/// The number in an environment variable, or `default`.
pub fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a whole number"))
}

/// The station's zone.
pub fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").expect("a zone of the bundled database")
}

#[cfg(unix)]
fn ask_to_end(daemon: &Child) {
    // It may have ended by itself.
    kill_process(pid(daemon.id()), Signal::TERM).ok();
}

#[cfg(not(unix))]
fn ask_to_end(_: &Child) {}

#[cfg(unix)]
fn pid(id: u32) -> Pid {
    Pid::from_raw(id.try_into().expect("a process id")).expect("not zero")
}

#[cfg(target_os = "linux")]
fn parent(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name stands in brackets and may hold anything; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn gone_within(child: &mut Child, patience: Duration) -> bool {
    let since = dalaba::clock::monotonic();
    while since.elapsed() < patience {
        if child.try_wait().expect("its status").is_some() {
            return true;
        }
        thread::sleep(GLANCE);
    }
    false
}

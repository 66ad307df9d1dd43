//! The office's lines against their budget: a command is with 99 of 100 of 10,000 stations within 300 ms, a watch costs at
//! most 24 KiB, and everybody is back after the office has died. Over TLS, by the real programs.
//!
//! `cargo bench --bench fleet`; `DALABA_FLEET=n` for another number of stations than 1,000, `DALABA_DATABASE=url` for
//! another database than a file. Office and stations share the machine, so what is measured is no less than what is true.

#[path = "../tests/support/mod.rs"]
mod support;

use dalaba::clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use support::{fleet::Fleet, http::Client};

/// Roll calls in a row.
const CALLS: usize = 9;
fn main() {
    let count = std::env::var("DALABA_FLEET").map_or(1_000, |count| count.parse().expect("DALABA_FLEET is a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let mut office = Office::found(folder.path());
    let alone = office.memory();
    println!("an office with nobody: {alone} KiB");

    let code = json!({ "name": "", "division": "330127104201", "uses": count.to_string(), "automatic": true });
    let made = office.post("/enrol/code", &code);
    let begun = clock::monotonic();
    let mut fleet = Fleet::sets_out(office.address, made["made"]["code"].as_str().expect("a code"), count, &["--deaf"]);
    fleet.until("all are there", |told| told["up"] == count);
    println!("{count} stations taken in and listening: {:.1} s", begun.elapsed().as_secs_f64());
    office.measure(alone, count);

    let mut all: Vec<_> = (0..CALLS).map(|_| call(&office, &mut fleet, count)).collect();
    all.sort_by_key(|(_, told)| told["p99_ms"].as_u64());
    let (cpu, middle) = &all[CALLS / 2];
    let (_, worst) = &all[CALLS - 1];
    println!(
        "a command is there: p50 {} p99 {} max {} ms; the worst of {CALLS}: p99 {} max {} ms; {cpu} ms of the office's CPU",
        middle["p50_ms"], middle["p99_ms"], middle["max_ms"], worst["p99_ms"], worst["max_ms"]
    );
    office.measure(alone, count);

    for (how, signal) in [("killed", Signal::KILL), ("told to stop", Signal::TERM)] {
        office.end(signal);
        office.start();
        let storm = fleet.until("all are back", |told| told["told"] == "storm");
        println!(
            "the office was {how}: {} stations are back after p50 {} p99 {} max {} ms",
            storm["stations"], storm["p50_ms"], storm["p99_ms"], storm["max_ms"]
        );
        office.measure(alone, count);
    }
    call(&office, &mut fleet, count);
}

/// Calls the roll; returns how long the office's processor worked, in ms, and how the call went out.
fn call(office: &Office, fleet: &mut Fleet, count: usize) -> (u64, Value) {
    let before = office.cpu();
    office.post("/roll-call", &json!({ "everybody": "on" }));
    let told = fleet.until("the command is there", |told| told["told"] == "command");
    assert_eq!(told["count"], count, "everybody hears it");
    (office.cpu() - before, told)
}

/// The office's process.
struct Office {
    folder: PathBuf,
    address: SocketAddr,
    process: Child,
}

impl Office {
    fn found(folder: &Path) -> Self {
        fs::write(folder.join("password"), "一个很长很长的密码").expect("a file");
        let (address, process) = open(folder, SocketAddr::from(([127, 0, 0, 1], 0)));
        Self { folder: folder.to_owned(), address, process }
    }

    fn start(&mut self) {
        (self.address, self.process) = open(&self.folder, self.address);
    }

    fn end(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
        self.process.wait().expect("it ends");
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let owner = Client::of(&self.folder.join("office/control.json")).expect("its address");
        let kind = ("Content-Type", "application/json");
        let answer = owner.send("POST", path, &[kind, ("Accept", "application/json")], body.to_string().as_bytes());
        assert!(answer.status < 400, "{path}: {} {}", answer.status, answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).expect("it runs")
    }

    /// What it holds of the machine's memory for itself, in KiB.
    fn memory(&self) -> u64 {
        let kept = self.proc("smaps_rollup");
        let line = kept.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a line of it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn measure(&self, alone: u64, count: usize) {
        let all = self.memory();
        let each = all.saturating_sub(alone) as f64 / count as f64;
        println!("  its memory: {all} KiB, {each:.1} KiB a connection");
    }

    /// How long it has kept a processor busy, in ms.
    fn cpu(&self) -> u64 {
        let stat = self.proc("stat");
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // In hundredths of a second: its own time, and the system's for it.
        [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number") * 10).sum()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn open(folder: &Path, listen: SocketAddr) -> (SocketAddr, Child) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dalaba"));
    command.args(["office", "--listen", &listen.to_string(), "--name", "青石镇", "--division", "330127104000"]);
    command.arg("--home").arg(folder.join("office"));
    command.args(["--admin", "李主任", "--password-file"]).arg(folder.join("password"));
    command.args(std::env::var("DALABA_DATABASE").iter().flat_map(|url| ["--database", url]));
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("the office starts");
    let mut said = BufReader::new(process.stdout.take().expect("its voice"));
    // It is open to stations once it has said the words of its root.
    assert!(
        said.by_ref().lines().map_while(Result::ok).any(|line| line.contains("核对词")),
        "the office did not start"
    );
    process.stdout = Some(said.into_inner());
    let control = fs::read(folder.join("office/control.json")).expect("its address");
    let control: Value = serde_json::from_slice(&control).expect("its address");
    (control["address"].as_str().and_then(|address| address.parse().ok()).expect("its address"), process)
}

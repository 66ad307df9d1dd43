//! Light stations by the hundred in a process of their own, and what they tell.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::dalaba;
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

/// How long a fleet may take to do what it is waited for, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// The stations. They end with it.
pub struct Fleet {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Fleet {
    /// So many stations on their way to an office, with more words for `dalaba simulate`. Their journals grow by nothing
    /// but what these say and the office orders: the next row of their own is a lifetime away.
    pub fn sets_out(office: SocketAddr, code: &str, stations: usize, more: &[&str]) -> Self {
        let mut command = dalaba();
        command.args(["simulate", "--json", "--tell-every", "1", "--seed", "1"]);
        command.args(["--row-every", &u32::MAX.to_string()]).args(more);
        command.args(["--stations", &stations.to_string(), "--code", code, "--office", &format!("https://{office}")]);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// Waits until the stations tell what is waited for, and returns it. Their notes are printed. What they told before
    /// it is asked is heard first: what is waited for must not have been so earlier.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        let since = dalaba::clock::monotonic();
        loop {
            let mut line = String::new();
            self.says.read_line(&mut line).unwrap();
            let told: Value = serde_json::from_str(&line).expect("the stations live");
            if told["told"] == "note" {
                println!("  {}", told["note"]);
            }
            if is_so(&told) {
                return told;
            }
            assert!(since.elapsed() < PATIENCE, "in vain: {what}: {told}");
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

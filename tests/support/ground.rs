//! What an office may stand on besides the machine itself: a small disk of its own, a network of its own, a wrong clock.

use super::town::Ground;
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

/// A machine whose clock is off, as `+3h` says; time passes on it as everywhere.
pub fn clock(off: &str) -> Vec<String> {
    // `faketime` itself stays between: killed, it would leave what it started.
    let said = Command::new("faketime").args(["-f", off, "printenv", "LD_PRELOAD"]).output();
    let library = String::from_utf8(said.expect("faketime is installed").stdout).expect("a path");
    let library = format!("LD_PRELOAD={}", library.trim());
    words(["env", &library, &format!("FAKETIME={off}"), "FAKETIME_DONT_FAKE_MONOTONIC=1"])
}

/// A disk in memory that only one process and its guests see. It is gone with this.
pub struct Disk {
    holder: Child,
}

impl Disk {
    /// A disk of so many megabytes; none where this machine lets nobody mount a disk of his own.
    pub fn of(megabytes: u32) -> Option<Self> {
        let mount = format!("mount -t tmpfs -o size={megabytes}m disk /mnt && echo ready && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is installed");
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().expect("a pipe")).read_line(&mut said).expect("a word of it");
        let disk = Self { holder };
        (said == "ready\n").then_some(disk)
    }

    /// Ground for an office whose home is on this disk.
    pub fn ground(&self) -> Ground {
        Ground { under: self.inside(), home: Some("/mnt/office".into()), root: self.root(), ..Ground::default() }
    }

    /// The words before a program that is to see it.
    fn inside(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        words(["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &pid])
    }

    /// Makes it a disk of so many megabytes.
    pub fn resize(&self, megabytes: u32) {
        let inside = self.inside();
        let mut mount = Command::new(&inside[0]);
        mount.args(&inside[1..]).args(["mount", "-o", &format!("remount,size={megabytes}m"), "/mnt"]);
        assert!(mount.status().expect("nsenter is installed").success());
    }

    fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.holder.id()).into()
    }

    fn filler(&self) -> PathBuf {
        self.root().join("mnt/filler")
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut filler = fs::File::options().create(true).append(true).open(self.filler()).expect("a file");
        for size in [64 << 10, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Makes room again.
    pub fn clear(&self) {
        fs::remove_file(self.filler()).expect("the filler goes");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

/// A network of an office's own, joined to ours by two cables: the stations' and the clerk's. It is gone with this.
pub struct Net {
    name: String,
    /// Of the office on either cable.
    stations: Ipv4Addr,
    clerk: Ipv4Addr,
}

impl Net {
    /// Lays one; none where this machine does not let us: that takes root, `iproute2` and `nftables`.
    pub fn lay() -> Option<Self> {
        let id = std::process::id();
        // 198.18/15 is for tests of networks; whatever runs beside us has another process id.
        let [high, low] = [id / 30 % 250, id % 30 * 8].map(|part| u8::try_from(part).expect("below 250"));
        let at = |last| Ipv4Addr::new(198, 18, high, low + last);
        let net = Self { name: format!("dala{id}"), stations: at(2), clerk: at(6) };
        let name = &net.name;
        let mut lines = vec![format!("netns add {name}"), format!("-n {name} link set lo up")];
        for (cable, here, there) in [("stations", at(1), at(2)), ("clerk", at(5), at(6))] {
            let end = net.end(cable);
            lines.extend([
                format!("link add {end} type veth peer name {cable} netns {name}"),
                format!("address add {here}/30 dev {end}"),
                format!("link set {end} up"),
                format!("-n {name} address add {there}/30 dev {cable}"),
                format!("-n {name} link set {cable} up"),
            ]);
        }
        let is_laid = lines.iter().all(|line| net.ip(line));
        (is_laid && net.lose(0)).then_some(net)
    }

    /// Our end of a cable.
    fn end(&self, cable: &str) -> String {
        format!("{}-{}", self.name, &cable[..1])
    }

    fn ip(&self, line: &str) -> bool {
        Command::new("ip").args(line.split(' ')).status().is_ok_and(|status| status.success())
    }

    /// Ground for an office in this network.
    pub fn ground(&self) -> Ground {
        let [ip, desk] = [self.stations, self.clerk].map(IpAddr::V4);
        Ground { ip, desk, under: words(["ip", "netns", "exec", &self.name]), ..Ground::default() }
    }

    /// From now on so many of a hundred packets of stations do not reach the office.
    pub fn lose(&self, percent: u32) -> bool {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.name, "nft", "-f", "-"]).stdin(Stdio::piped());
        let Ok(mut nft) = nft.spawn() else { return false };
        let rules = format!(
            "table ip loss {{ }}\ndelete table ip loss\ntable ip loss {{\n chain input {{\n  type filter hook input priority 0;\n  \
             iifname stations numgen random mod 100 < {percent} counter drop\n }}\n}}\n"
        );
        let is_said = nft.stdin.take().is_some_and(|mut stdin| stdin.write_all(rules.as_bytes()).is_ok());
        nft.wait().is_ok_and(|status| status.success()) && is_said
    }

    /// How many packets were lost.
    pub fn lost(&self) -> u64 {
        let mut nft = Command::new("ip");
        let said = nft.args(["netns", "exec", &self.name, "nft", "list", "table", "ip", "loss"]).output();
        let said = String::from_utf8(said.expect("nft").stdout).expect("text");
        let count = said.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("no count: {said}"))
    }

    /// Pulls the stations' cable, or plugs it in.
    pub fn cut(&self, is_cut: bool) {
        assert!(self.ip(&format!("link set {} {}", self.end("stations"), if is_cut { "down" } else { "up" })));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // A cable goes with one of its ends.
        self.ip(&format!("netns del {}", self.name));
    }
}

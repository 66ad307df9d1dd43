//! A sound card for tests: a private PulseAudio with a null sink, and a recording of what came out of it.
//!
//! Needs `pulseaudio`, `pactl` and `parec`. Works as root, without D-Bus, and touches nothing of the user's own server.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// The rate of everything here.
pub const RATE: usize = 48_000;

/// The sink's name; the output is `pulse:village`.
pub const SINK: &str = "village";

/// A private sound server. It ends when this is dropped.
pub struct SoundServer {
    folder: PathBuf,
    child: Option<Child>,
    /// By how many millionths its clock runs fast.
    fast: u32,
}

impl SoundServer {
    /// Prepares the address without a server behind it.
    pub fn absent(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        Self { folder: folder.to_owned(), child: None, fast: 0 }
    }

    /// Starts the server and waits until it answers.
    pub fn start(folder: &Path) -> Self {
        let mut server = Self::absent(folder);
        server.appear();
        server
    }

    /// Starts a server whose clock runs so many millionths fast, and with it its sinks. Needs `faketime`.
    pub fn fast(folder: &Path, ppm: u32) -> Self {
        let mut server = Self::absent(folder);
        server.fast = ppm;
        server.appear();
        server
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("native")
    }

    /// Starts the server, again if it was killed.
    pub fn appear(&mut self) {
        let socket = self.socket();
        let _ = std::fs::remove_file(&socket);
        let mut command = self.command(if self.fast > 0 { "faketime" } else { "pulseaudio" });
        if self.fast > 0 {
            command.args(["-f", &format!("+0 x{}", 1.0 + f64::from(self.fast) * 1e-6), "pulseaudio"]);
        }
        let child = command
            .args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes"])
            .arg("-L")
            .arg(format!("module-null-sink sink_name={SINK} rate={RATE} channels=2 format=s16le"))
            .arg("-L")
            .arg(format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pulseaudio is installed");
        self.child = Some(child);
        while !self.command("pactl").arg("info").output().is_ok_and(|out| out.status.success()) {
            let child = self.child.as_mut().unwrap();
            assert!(child.try_wait().unwrap().is_none(), "pulseaudio ended");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server.
    pub fn vanish(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Takes the sink away from a server that lives on.
    pub fn unplug(&self) {
        let status = self.command("pactl").args(["unload-module", "module-null-sink"]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Brings the sink back.
    pub fn plug(&self) {
        let sink = [format!("sink_name={SINK}"), format!("rate={RATE}"), "channels=2".into(), "format=s16le".into()];
        let status = self.command("pactl").args(["load-module", "module-null-sink"]).args(sink).output();
        assert!(status.is_ok_and(|out| out.status.success()));
    }

    /// Has the server do something, as a person would: the words of a `pactl` command.
    pub fn control(&self, words: &[&str]) {
        self.ask(words);
    }

    /// Asks the server something, in the words of a `pactl` command.
    pub fn ask(&self, words: &[&str]) -> String {
        let out = self.command("pactl").args(words).output().expect("pactl is installed");
        assert!(out.status.success(), "{words:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// The server's process.
    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(self.child.as_ref().expect("a running server"))
    }

    /// Returns the variables by which a child finds this server and no other.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        vec![
            ("HOME", self.folder.display().to_string()),
            ("PULSE_RUNTIME_PATH", self.folder.display().to_string()),
            ("PULSE_STATE_PATH", path("state")),
            ("PULSE_SERVER", format!("unix:{}", path("native"))),
        ]
    }

    /// Records the sink from now on.
    pub fn record(&self) -> Recording {
        let mut child = self
            .command("parec")
            .args(["--format=s16le", "--channels=1", "--latency-msec=10"])
            .arg(format!("--rate={RATE}"))
            .arg(format!("--device={SINK}.monitor"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("parec is installed");
        let samples = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().unwrap();
        let sink = Arc::clone(&samples);
        thread::spawn(move || read_samples(stdout, &sink));
        let recording = Recording { child, samples };
        recording.wait(RATE / 10);
        recording
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.env());
        command
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        self.vanish();
    }
}

fn read_samples(mut from: ChildStdout, to: &Mutex<Vec<f32>>) {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut block) {
        bytes.extend_from_slice(&block[..count]);
        let whole = bytes.len() / 2 * 2;
        let samples = bytes[..whole].chunks(2).map(|two| f32::from(i16::from_le_bytes([two[0], two[1]])) / 32_768.0);
        to.lock().unwrap().extend(samples);
        bytes.drain(..whole);
    }
}

/// What comes out of the sink, sample by sample, as it comes.
pub struct Recording {
    child: Child,
    samples: Arc<Mutex<Vec<f32>>>,
}

impl Recording {
    /// Returns what was recorded so far.
    pub fn samples(&self) -> Vec<f32> {
        self.samples.lock().unwrap().clone()
    }

    /// Waits until `more` samples have come, and returns all.
    pub fn wait(&self, more: usize) -> Vec<f32> {
        let end = self.samples.lock().unwrap().len() + more;
        while self.samples.lock().unwrap().len() < end {
            thread::sleep(Duration::from_millis(10));
        }
        self.samples()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `clip` sounds in `heard`, and how.
#[derive(Debug, Clone, Copy)]
pub struct Match {
    /// Index of the clip's first sample in the recording.
    pub at: usize,
    /// From -1 to 1.
    pub correlation: f64,
    /// Level in the recording against the clip, in decibels.
    pub gain_db: f64,
}

/// Finds `clip` in `heard` by correlation: first with its loudest tenth of a second, then all of it at that place.
pub fn find(heard: &[f32], clip: &[f32]) -> Match {
    let probe = clip.len().min(RATE / 10);
    let energy = |samples: &[f32]| samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
    let loudest = (0..=clip.len() - probe)
        .step_by((probe / 2).max(1))
        .max_by(|one, other| energy(&clip[*one..one + probe]).total_cmp(&energy(&clip[*other..other + probe])))
        .unwrap();
    let needle = &clip[loudest..loudest + probe];
    let mut best = (0, f64::MIN);
    if heard.len() >= probe {
        let mut power = energy(&heard[..probe]);
        for at in 0..=heard.len() - probe {
            if power > 1e-6 {
                let score = product(&heard[at..at + probe], needle) / power.sqrt();
                if score > best.1 {
                    best = (at, score);
                }
            }
            if at + probe < heard.len() {
                power += f64::from(heard[at + probe]).powi(2) - f64::from(heard[at]).powi(2);
            }
        }
    }
    let at = best.0.saturating_sub(loudest);
    let part = &heard[at..(at + clip.len()).min(heard.len())];
    let (own, other) = (energy(part), energy(clip));
    let both = product(part, clip);
    Match { at, correlation: both / (own * other).sqrt().max(1e-12), gain_db: 20.0 * (both / other).abs().log10() }
}

fn product(one: &[f32], other: &[f32]) -> f64 {
    let mut sum = 0.0;
    for (one, other) in one.chunks(512).zip(other.chunks(512)) {
        sum += f64::from(one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>());
    }
    sum
}

/// Returns the highest absolute sample.
pub fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}

/// Makes noise that resembles nothing else: for a clip that correlation finds at one place only.
pub fn noise(seed: u32, frames: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut last = 0.0;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // Smoothed, as a voice is: still like itself where holding it to the clock shifts it by a frame.
        last = 0.96 * last + 0.16 * (f64::from(state) / f64::from(u32::MAX) - 0.5);
        (last * 32_768.0).round() as f32 / 32_768.0
    };
    (0..frames).map(step).collect()
}

/// Writes a prepared file: FLAC, 48 kHz, mono, 16 bit.
pub fn write_prepared(file: &Path, samples: &[f32]) {
    use flac_codec::encode::{FlacSampleWriter, Options};
    let frames = u64::try_from(samples.len()).unwrap();
    let samples: Vec<i32> = samples.iter().map(|sample| (sample * 32_768.0) as i32).collect();
    let mut writer = FlacSampleWriter::create(file, Options::default(), 48_000, 16, 1, Some(frames)).unwrap();
    writer.write(&samples).unwrap();
    writer.finalize().unwrap();
}

//! A private sound server with a null sink, and what its monitor hears. Needs PulseAudio and no sound card.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};
use tempfile::TempDir;

/// The sink that every server starts with.
pub const SINK: &str = "village";

/// A running server; it ends with this value.
pub struct Sink {
    room: TempDir,
    server: Child,
}

impl Sink {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        let room = tempfile::Builder::new().prefix("dalaba-sound-").tempdir().expect("a temporary folder");
        let socket = room.path().join("native");
        let server = Command::new("pulseaudio")
            .args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes"])
            .args(["-L", &format!("module-null-sink sink_name={SINK} rate=48000 channels=2 format=s16le")])
            .args(["-L", &format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display())])
            .env("HOME", room.path())
            .env("PULSE_RUNTIME_PATH", room.path())
            .env("PULSE_STATE_PATH", room.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pulseaudio starts; scripts/test installs it");
        let sink = Self { room, server };
        let since = dalaba::clock::monotonic();
        while !sink.answers() {
            assert!(since.elapsed() < super::PATIENCE, "the sound server does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        sink
    }

    /// Where clients find it: the value of `PULSE_SERVER`.
    pub fn server(&self) -> String {
        format!("unix:{}", self.room.path().join("native").display())
    }

    /// Adds another null sink: a sound card that comes later.
    pub fn add(&self, name: &str) {
        let status = self
            .pactl()
            .args(["load-module", "module-null-sink", &format!("sink_name={name}"), "rate=48000", "format=s16le"])
            .stdout(Stdio::null())
            .status()
            .expect("pactl runs");
        assert!(status.success(), "the sink {name} comes");
    }

    /// Starts to listen to the first sink, and returns once sound, or silence, flows.
    pub fn listen(&self) -> Listener {
        self.listen_to(SINK)
    }

    /// The same for any sink.
    pub fn listen_to(&self, sink: &str) -> Listener {
        Listener::start(&self.server(), self.room.path(), sink)
    }

    fn answers(&self) -> bool {
        self.pactl()
            .args(["list", "short", "sinks"])
            .stderr(Stdio::null())
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(SINK))
    }

    fn pactl(&self) -> Command {
        let mut command = Command::new("pactl");
        command.env("PULSE_SERVER", self.server()).env("HOME", self.room.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// What a monitor has heard so far: mono, 48 kHz.
pub struct Listener {
    recorder: Child,
    heard: Arc<Mutex<Vec<i16>>>,
    reader: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(server: &str, home: &Path, sink: &str) -> Self {
        let mut recorder = Command::new("parec")
            .args(["--raw", "--format=s16le", "--rate=48000", "--channels=1", "--latency-msec=20", "-d"])
            .arg(format!("{sink}.monitor"))
            .env("PULSE_SERVER", server)
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("parec starts");
        let mut stream = recorder.stdout.take().expect("its output is piped");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let pool = Arc::clone(&heard);
        let reader = thread::spawn(move || {
            let (mut bytes, mut kept) = ([0; 4096], 0);
            while let Ok(count @ 1..) = stream.read(&mut bytes[kept..]) {
                let whole = (kept + count) / 2 * 2;
                let samples = bytes[..whole].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                pool.lock().expect("no reader panics").extend(samples);
                kept = (kept + count) - whole;
                bytes[0] = bytes[whole.min(bytes.len() - 1)];
            }
        });
        let listener = Self { recorder, heard, reader: Some(reader) };
        let since = dalaba::clock::monotonic();
        while listener.len() == 0 {
            assert!(since.elapsed() < super::PATIENCE, "the monitor gives nothing");
            thread::sleep(Duration::from_millis(10));
        }
        listener
    }

    /// How many samples were heard so far.
    pub fn len(&self) -> usize {
        self.heard.lock().expect("no reader panics").len()
    }

    /// What was heard so far.
    pub fn so_far(&self) -> Vec<i16> {
        self.heard.lock().expect("no reader panics").clone()
    }

    /// Waits until a second more was heard, so that nothing sent is still under way, and returns everything.
    pub fn hear_out(&self) -> Vec<i16> {
        let (end, since) = (self.len() + super::wave::RATE, dalaba::clock::monotonic());
        while self.len() < end {
            assert!(since.elapsed() < super::PATIENCE, "the monitor stands still");
            thread::sleep(Duration::from_millis(20));
        }
        self.so_far()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.recorder.kill().ok();
        self.recorder.wait().ok();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

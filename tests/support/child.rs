//! The child `dalaba speaker`, driven as the daemon drives it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use super::sound::{self, SoundServer};
use dalaba::{
    plan::OccurrenceId,
    schedule::Band,
    speaker::protocol::{Order, Playout, Segment, Word, read_frame, write_frame},
};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// A running speaker. It ends when this is dropped.
pub struct Speaker {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    words: Receiver<Word>,
}

impl Speaker {
    /// Starts one that is to open `sink`.
    pub fn on(server: &SoundServer, sink: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dalaba"))
            .arg("speaker")
            .env("MALLOC_ARENA_MAX", "1")
            .envs(server.env())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, mut stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (said, words) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(Some(word)) = read_frame(&mut stdout) {
                let _ = said.send(word);
            }
        });
        let mut speaker = Self { child, stdin, words };
        speaker.order(Order::Open {
            outputs: vec![format!("pulse:{sink}")],
            latency_offset_us: 0,
            learned: BTreeMap::new(),
            keep_audible: true,
        });
        speaker
    }

    /// Starts one on the server's sink.
    pub fn start(server: &SoundServer) -> Self {
        Self::on(server, sound::SINK)
    }

    /// Starts one and waits until its output is open.
    pub fn ready(server: &SoundServer) -> Self {
        let mut speaker = Self::start(server);
        assert_eq!(speaker.word(), Word::Ready { device: format!("pulse:{}", sound::SINK) });
        speaker
    }

    pub fn order(&mut self, order: Order) {
        write_frame(self.stdin.as_mut().unwrap(), &order).unwrap();
    }

    pub fn word(&mut self) -> Word {
        self.words.recv_timeout(Duration::from_secs(60)).expect("the speaker lives and says something")
    }

    /// Waits for a word that is not mere progress.
    pub fn news(&mut self) -> Word {
        loop {
            match self.word() {
                Word::Progress { .. } | Word::Underrun { .. } | Word::Learned { .. } => {}
                word => return word,
            }
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An announcement of these files at `start`.
pub fn playout(segments: Vec<Segment>, start: Timestamp) -> Playout {
    Playout {
        occurrence: OccurrenceId::from("manual/1".to_owned()),
        band: Band::Normal,
        segments,
        start,
        skip_frames: 0,
        gain: 1.0,
        not_after: None,
    }
}

/// A prepared file of these samples.
pub fn prepared(folder: &Path, name: &str, samples: &[f32], gain: f32) -> Segment {
    let file: PathBuf = folder.join(name);
    sound::write_prepared(&file, samples);
    Segment { file, frames: samples.len() as u64, gain }
}

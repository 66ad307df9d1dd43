//! Hears a null sink with a wall clock: which sample was in the air when.
//!
//! On a sink's monitor PulseAudio tells, for every moment, which sample is being heard: what was written so far, plus
//! what waits in the source, less what waits in the sink (libpulse computes `pa_stream_get_time` so). Every tenth of a
//! second this is asked and paired with the wall clock. The time of a sample is the median of the pairs near it, since
//! the null sink's own clock runs up to 165 ppm fast.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::rig::RATE;
use pulseaudio::{
    Client,
    protocol::{
        ChannelMap, ChannelVolume, RecordStreamParams, SampleFormat, SampleSpec,
        stream::{BufferAttr, StreamFlags},
    },
};
use std::{
    ffi::CString,
    future::Future,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Bytes that a client shows to be let in; this server lets everybody in who shows that many.
const COOKIE: usize = 256;

/// Bytes of a sample.
const WIDTH: i64 = 2;

/// Round trips longer than this tell too little, in nanoseconds.
const QUICK: i64 = 2_000_000;

/// Samples on either side whose pairs tell the time of one.
const NEAR: usize = RATE * 3 / 4;

/// Listens to one sink until it is dropped.
pub struct Monitor {
    samples: Arc<Mutex<Vec<f32>>>,
    /// Samples so far, and the wall time of sample 0 by that moment's answer.
    anchors: Arc<Mutex<Vec<(usize, i64)>>>,
    over: Arc<AtomicBool>,
    asker: Option<thread::JoinHandle<()>>,
}

impl Monitor {
    /// Listens to `sink` of the server behind `socket`.
    pub fn start(socket: &Path, sink: &str) -> Self {
        let (samples, anchors) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let over = Arc::new(AtomicBool::new(false));
        let client = Client::new_unix(c"monitor", UnixStream::connect(socket).unwrap(), Some([0; COOKIE])).unwrap();
        let into = Arc::clone(&samples);
        let mut odd = None;
        let take = move |data: &[u8]| {
            let mut samples = into.lock().unwrap();
            for byte in data {
                match odd.take() {
                    None => odd = Some(*byte),
                    Some(low) => samples.push(f32::from(i16::from_le_bytes([low, *byte])) / 32_768.0),
                }
            }
        };
        let params = RecordStreamParams {
            sample_spec: SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: RATE as u32 },
            channel_map: ChannelMap::mono(),
            source_name: Some(CString::new(format!("{sink}.monitor")).unwrap()),
            buffer_attr: BufferAttr { fragment_size: (RATE / 100) as u32 * 2, ..BufferAttr::default() },
            flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
            cvolume: Some(ChannelVolume::norm(1)),
            ..RecordStreamParams::default()
        };
        let stream = block_on(client.create_record_stream(params, take)).unwrap();
        let (into, is_over) = (Arc::clone(&anchors), Arc::clone(&over));
        let asker = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let before = dalaba::clock::wall_nanos();
                // The server may be killed meanwhile: then nothing more is heard either.
                let Ok(told) = block_on(stream.timing_info()) else { return };
                let after = dalaba::clock::wall_nanos();
                if after - before < QUICK {
                    let at = told.write_offset / WIDTH;
                    let heard = at * 1_000_000_000 / RATE as i64
                        + (i64::try_from(told.source_usec).unwrap() - i64::try_from(told.sink_usec).unwrap()) * 1000;
                    into.lock().unwrap().push((usize::try_from(at).unwrap(), (before + after) / 2 - heard));
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        let monitor = Self { samples, anchors, over, asker: Some(asker) };
        monitor.wait(RATE / 10);
        monitor
    }

    /// Waits until `more` samples have come.
    pub fn wait(&self, more: usize) {
        let end = self.samples.lock().unwrap().len() + more;
        while self.samples.lock().unwrap().len() < end {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns what was heard so far.
    pub fn heard(&self) -> Heard {
        Heard { samples: self.samples.lock().unwrap().clone(), anchors: self.anchors.lock().unwrap().clone() }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.asker.take().map(thread::JoinHandle::join));
    }
}

/// What was in the air, and when.
pub struct Heard {
    pub samples: Vec<f32>,
    anchors: Vec<(usize, i64)>,
}

impl Heard {
    /// Wall time at which a sample was in the air, in nanoseconds.
    pub fn wall(&self, sample: usize) -> i64 {
        self.zero(sample) + sample as i64 * 1_000_000_000 / RATE as i64
    }

    /// The sample that was in the air at a moment.
    pub fn at(&self, wall: i64) -> usize {
        let guess = |zero: i64| ((wall - zero) as i128 * RATE as i128 / 1_000_000_000).max(0) as usize;
        let first = guess(self.anchors.first().expect("the server answered").1);
        guess(self.zero(first)).min(self.samples.len())
    }

    /// How far from `wall`, in nanoseconds, the first sample above `level` was heard within half a second of it.
    pub fn onset(&self, wall: i64, level: f32) -> Option<i64> {
        let (from, until) = (self.at(wall - 500_000_000), self.at(wall + 500_000_000));
        let found = self.samples[from..until].iter().position(|sample| sample.abs() > level)?;
        Some(self.wall(from + found) - wall)
    }

    fn zero(&self, sample: usize) -> i64 {
        let mut near: Vec<i64> =
            self.anchors.iter().filter(|(at, _)| at.abs_diff(sample) < NEAR).map(|(_, zero)| *zero).collect();
        if near.is_empty() {
            let (_, zero) = self.anchors.iter().min_by_key(|(at, _)| at.abs_diff(sample)).expect("the server answered");
            near.push(*zero);
        }
        near.sort_unstable();
        near[near.len() / 2]
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

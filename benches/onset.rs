//! When sixty starts are in the air, at the monitor of a private null sink: by the speaker, and beside it by `rodio`'s
//! own device sink with `mixer.add` at the moment. Both start a tenth of a second of square wave.
//!
//! `scripts/bench-onset`

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
#[path = "../tests/support/child.rs"]
mod child;
#[cfg(target_os = "linux")]
#[path = "../tests/support/monitor.rs"]
mod monitor;
#[cfg(target_os = "linux")]
#[path = "../tests/support/rig.rs"]
mod rig;
#[cfg(target_os = "linux")]
use rig as sound;

#[cfg(target_os = "linux")]
fn main() {
    // The server is found by variables, which a process cannot give itself.
    if std::env::var_os(INSIDE).is_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = sound::SoundServer::start(folder.path());
        let program = std::env::current_exe().expect("this program");
        let status = std::process::Command::new(program).envs(server.env()).env(INSIDE, folder.path()).status();
        assert!(status.is_ok_and(|status| status.success()));
        return;
    }
    starts::measure();
}

/// Names the folder of the server to the process that measures.
#[cfg(target_os = "linux")]
const INSIDE: &str = "DALABA_BENCH_SERVER";

#[cfg(target_os = "linux")]
mod starts {
    use super::{
        INSIDE,
        child::{Speaker, playout, prepared},
        monitor::Monitor,
        sound::{RATE, SINK, SoundServer},
    };
    use dalaba::{
        clock,
        plan::OccurrenceId,
        speaker::protocol::{Order, Playout, Word},
    };
    use jiff::{SignedDuration, Timestamp};
    use rodio::cpal::{
        self,
        traits::{DeviceTrait as _, HostTrait as _},
    };
    use std::{path::PathBuf, thread, time::Duration};

    const COUNT: usize = 60;

    pub fn measure() {
        let folder = PathBuf::from(std::env::var_os(INSIDE).expect("the server's folder"));
        let server = SoundServer::absent(&folder);
        let monitor = Monitor::start(&server.socket(), SINK);
        let wave: Vec<f32> = (0..RATE / 10).map(|at| if at / 24 % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let (ours, ran_dry) = by_the_speaker(&server, &monitor, &folder, &wave);
        print(&format!("dalaba speaker ({ran_dry} times the sound card ran dry)"), &ours);
        for frames in [2048, 960] {
            print(&format!("rodio mixer.add, buffer {frames}"), &by_rodio(&monitor, &wave, frames));
        }
    }

    fn by_the_speaker(
        server: &SoundServer,
        monitor: &Monitor,
        folder: &std::path::Path,
        wave: &[f32],
    ) -> (Vec<i64>, u32) {
        let mut speaker = Speaker::ready(server);
        let segment = prepared(folder, "wave.flac", wave, 1.0);
        monitor.wait(RATE * 4);
        let mut ran_dry = 0;
        let errors = moments().map(|(number, start)| {
            let playout = playout(vec![segment.clone()], start);
            speaker
                .order(Order::Play(Playout { occurrence: OccurrenceId::from(format!("manual/{number}")), ..playout }));
            loop {
                match speaker.word() {
                    Word::Ended { .. } => break,
                    Word::Underrun { .. } => ran_dry += 1,
                    _ => {}
                }
            }
            error(monitor, start)
        });
        (errors.collect(), ran_dry)
    }

    fn by_rodio(monitor: &Monitor, wave: &[f32], frames: u32) -> Vec<i64> {
        let host = cpal::host_from_id(cpal::HostId::PulseAudio).expect("a server");
        let named = |device: &cpal::Device| device.id().is_ok_and(|id| id.id() == SINK);
        let device = host.output_devices().expect("its devices").find(named).expect("the sink");
        let rate = std::num::NonZero::new(RATE as u32).expect("not zero");
        let mut sink = rodio::stream::DeviceSinkBuilder::from_device(device)
            .expect("a device that rodio takes")
            .with_sample_rate(rate)
            .with_buffer_size(cpal::BufferSize::Fixed(frames))
            .open_stream()
            .expect("an open stream");
        sink.log_on_drop(false);
        monitor.wait(RATE * 4);
        let mono = std::num::NonZero::<u16>::MIN;
        let errors = moments().map(|(_, start)| {
            thread::sleep(Duration::try_from(start.duration_since(clock::wall())).unwrap_or_default());
            sink.mixer().add(rodio::buffer::SamplesBuffer::new(mono, rate, wave.to_vec()));
            error(monitor, start)
        });
        errors.collect()
    }

    /// Moments a second ahead, none on a millisecond.
    fn moments() -> impl Iterator<Item = (usize, Timestamp)> {
        (0..COUNT).map(|number| {
            let odd = (number as i64 * 7_919_173).rem_euclid(50_000_000);
            (number, clock::wall() + SignedDuration::from_millis(900) + SignedDuration::from_nanos(odd))
        })
    }

    fn error(monitor: &Monitor, start: Timestamp) -> i64 {
        monitor.wait(RATE * 6 / 10);
        let start = i64::try_from(start.as_nanosecond()).expect("in this age");
        monitor.heard().onset(start, 0.2).expect("it is heard")
    }

    fn print(what: &str, errors: &[i64]) {
        let mut sizes: Vec<i64> = errors.iter().map(|error| error.abs()).collect();
        sizes.sort_unstable();
        let millis = |at: usize| sizes[at] as f64 / 1e6;
        let (middle, second, worst) = (millis(sizes.len() / 2), millis(sizes.len() - 2), millis(sizes.len() - 1));
        println!("{what}: n {COUNT}, |error| p50 {middle:.3} ms, p99 {second:.3} ms, max {worst:.3} ms");
    }
}

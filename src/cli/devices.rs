//! `dalaba devices`: the sound outputs of this machine by the names that `station.toml` understands, and a test tone
//! through one of them, played by the very engine that plays announcements.

use crate::{
    clock,
    daemon::Tone,
    plan::{OccurrenceId, RATE},
    schedule::{Band, Volume},
    speaker::{
        device,
        protocol::{End, Order, Playout, Segment, Word},
        supervise::{self, Input},
    },
};
use anyhow::{Context, bail};
use flac_codec::encode::{FlacSampleWriter, Options};
use rodio::{Source, source::SineWave};
use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// How long a sound server may take to answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// Lists the sound outputs, or plays a test tone through one.
#[derive(Debug, clap::Args)]
pub struct Devices {
    /// Plays a short tone through this output.
    #[arg(long, value_name = "NAME")]
    test: Option<String>,
    /// How loud, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(..=100))]
    volume: u8,
    /// Facts to standard output, one object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(devices: &Devices) -> anyhow::Result<u8> {
    match &devices.test {
        Some(output) => test(output, devices.volume, devices.json),
        None => list(devices.json),
    }
}

fn list(json: bool) -> anyhow::Result<u8> {
    let (sender, found) = mpsc::channel();
    thread::spawn(move || sender.send(device::list()));
    let found = found.recv_timeout(PATIENCE).context("声音服务没有应答；请重启声音服务或电脑后再试")?;
    let mut out = std::io::stdout().lock();
    for output in &found {
        if json {
            writeln!(out, "{}", serde_json::to_string(output)?)?;
        } else {
            let mark = if output.default { "（默认）" } else { "" };
            writeln!(out, "{}  {}{mark}", output.name, output.title.replace('\n', "，"))?;
        }
    }
    if found.is_empty() {
        eprintln!("没有找到声音输出；请检查声卡和连线，或启动 PulseAudio");
        return Ok(1);
    }
    Ok(0)
}

fn test(output: &str, percent: u8, json: bool) -> anyhow::Result<u8> {
    let folder = tempfile::tempdir().context("不能建立临时文件夹")?;
    let gain = Volume::try_from(percent)?.gain();
    let tone = write_tone(&folder.path().join("tone.flac")).context("不能写出测试音")?;
    let (orders, inputs) = mpsc::channel();
    let (said, words) = mpsc::channel();
    let engine = thread::spawn(move || supervise::run(&inputs, move |word| said.send(word).is_ok()));
    let open = Order::Open {
        outputs: vec![output.to_owned()],
        latency_offset_us: 0,
        learned: BTreeMap::new(),
        keep_audible: false,
    };
    let _ = orders.send(Input::Order(open));
    let mut opened = None;
    let (frames, level, note) = loop {
        match words.recv_timeout(PATIENCE) {
            Ok(Word::Ready { device }) => {
                let _ = orders.send(Input::Order(Order::Play(Playout { start: clock::wall(), gain, ..tone.clone() })));
                opened = Some(device);
            }
            Ok(Word::NoDevice { why }) => bail!(why),
            Ok(Word::Ended { end: End::Finished, frames, level, note, .. }) => break (frames, level, note),
            Ok(Word::Ended { .. }) => bail!("测试音没有播完；输出“{output}”中途断开，请检查声卡和连线"),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                bail!("输出“{output}”没有应答；请检查声卡和连线")
            }
        }
    };
    let _ = orders.send(Input::Closed);
    // Its threads may hang in a sound library, so it is asked to end and not waited for longer than it takes.
    drop(engine);
    if json {
        let tone = Tone { name: opened.unwrap_or_default(), frames, peak_dbfs: level.peak_dbfs, note };
        println!("{}", serde_json::to_string(&tone)?);
    } else {
        eprintln!("已播放测试音：{}。如果没有听到，请检查功放、音量和连线", opened.unwrap_or_default());
    }
    Ok(0)
}

/// Three rising notes, two seconds in all, well below full level.
fn write_tone(file: &Path) -> anyhow::Result<Playout> {
    let note = Duration::from_millis(600);
    let soft = Duration::from_millis(20);
    let samples: Vec<i32> = [523.25, 659.25, 783.99]
        .into_iter()
        .flat_map(|pitch| SineWave::new(pitch).take_duration(note).fade_in(soft).amplify(0.25))
        .map(|sample| (sample * 32_767.0) as i32)
        .collect();
    let frames = samples.len() as u64;
    let mut writer = FlacSampleWriter::create(file, Options::default(), RATE, 16, 1, Some(frames))?;
    writer.write(&samples)?;
    writer.finalize()?;
    Ok(Playout {
        occurrence: OccurrenceId::from("manual/test-tone".to_owned()),
        band: Band::Urgent,
        segments: vec![Segment { file: file.to_owned(), frames, gain: 1.0 }],
        start: clock::wall(),
        skip_frames: 0,
        gain: 1.0,
        not_after: None,
    })
}

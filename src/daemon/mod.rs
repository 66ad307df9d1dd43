//! The only place where decisions meet effects: waits for the next event, asks the conductor, performs its actions.
//!
//! Every event goes through one loop, and the actions of one event are performed in order before the next is taken, so
//! that what must be durable is durable before anything sounds.

mod amplifier;
mod control;
mod handle;
mod ledger;
mod office;
mod outputs;
mod page;
mod reload;
mod self_test;
mod speaker;
mod station;
mod time;
mod vitals;

pub use control::Control;
pub use handle::{Gone, Handle, Snapshot, manual_id};
pub use outputs::{Tone, Untried, play_tone, sound_outputs};
pub use vitals::Health;

use crate::{
    clock::{Clock, follow_synchronisation},
    conductor::{Conductor, Limits, Memory},
    config::{Config, Sound},
    home::{Home, Version, assemble},
    library::Library,
    link::shell,
    plan::{Clips, Program},
    schedule::{ClipPath, Finding},
    trust::ClockState,
};
use jiff::{SignedDuration, Timestamp};
use ledger::Ledger;
use office::{Office, are_settled};
use station::Station;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use time::StationClock;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tracing::{info, warn};
use vitals::Vitals;

/// How long before its start an announcement is armed: the device opens and settles meanwhile.
const LEAD: SignedDuration = SignedDuration::from_secs(8);
/// Between two tries of what failed: port, disk.
const RETRY: Duration = Duration::from_secs(10);
/// Before a file that was still being copied is looked at again.
const UNSETTLED: Duration = Duration::from_secs(3);

/// How the daemon is started.
#[derive(Debug, Default)]
pub struct Options {
    /// In place of the station's `listen`; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one runs on this home.
    #[error("这个站点已经有一个程序在运行（进程 {pid}）；同一个文件夹只能运行一个")]
    Running {
        /// The other's process, as far as it is known.
        pid: String,
    },
    /// The station file cannot be used, and no version is in force.
    #[error("station.toml 有错误，无法启动；改正后再运行：\n{}", list(.0))]
    BadStation(Vec<Finding>),
    /// No random bits.
    #[error("系统给不出随机数")]
    NoRandom(#[from] getrandom::Error),
    /// The program cannot find its own file, which it starts as speaker and ingest.
    #[error("找不到程序自己的文件")]
    NoProgram(#[source] io::Error),
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Runs the station until it is told to shut down.
///
/// `pages` serves the station's pages once there is a listener for them.
pub async fn run<F>(
    home: Home,
    options: Options,
    pages: impl Fn(TcpListener, Handle, Control, Home) -> F + Send + 'static,
) -> Result<(), StartError>
where
    F: Future<Output = ()> + Send + 'static,
{
    for folder in [home.schedules(), home.audio(), home.data()] {
        if let Err(error) = fs::create_dir_all(&folder) {
            warn!(%error, "cannot make the folder {}", folder.display());
        }
    }
    let _lock = lock(&home)?;
    let program_file = std::env::current_exe().map_err(StartError::NoProgram)?;
    let (office_said, office_says) = watch::channel(None);
    let clock = StationClock::new(office_says);
    tokio::spawn(follow_synchronisation());

    let versions = home.versions();
    let (read, unreadable) = home.read();
    let mut texts = read.clone();
    let mut assembled = assemble(&texts, versions.last().map(|version| &version.texts), Clips::default());
    assembled.findings.extend(unreadable.iter().cloned());
    if !assembled.is_usable() {
        return Err(StartError::BadStation(assembled.findings));
    }
    let config = assembled.config.clone().unwrap_or_else(Config::first_run);
    let mut library = Library::open(home.audio(), home.data(), program_file.clone(), config.sound.loudness);
    library.survey();
    let sounds = library.clips().clone();
    // A plan that was delivered and not in force yet waits for its sounds as it did before.
    let waits = !are_settled(&texts.delivered, &sounds, &home)
        && versions.last().is_some_and(|version| version.texts.delivered != texts.delivered);
    if waits && let Some(version) = versions.last() {
        texts.delivered.clone_from(&version.texts.delivered);
        assembled = assemble(&texts, Some(&version.texts), Clips::default());
        assembled.findings.extend(unreadable.iter().cloned());
    }
    assembled.supply(sounds.clone());

    let now = clock.now();
    let (mut ledger, mut memory) = Ledger::open(home.data(), config.id.clone(), now.wall).await;
    let self_test = ledger.last_test().await;
    memory.versions = past(&versions, &memory, &sounds);
    let limits = limits(&config.sound, config.sound.amplifier.warm_up);

    let listen = options.listen.unwrap_or(config.listen);
    let control = Control::new(listen)?;
    let (shown, config_shown) = watch::channel(Arc::new(config.clone()));
    let (clock_shown, believed) = watch::channel(ClockState::Untrusted);
    let (ends, link) = shell::open(home.data(), config_shown.clone(), believed, office_said);
    tokio::spawn(link);
    let (prepared, prepares) = mpsc::unbounded_channel();
    let mut office = Office::new(ends.handle.clone(), ends.told, clock_shown, prepared);
    office.waits = waits;
    let (handle, asks) = Handle::new(config_shown, ends.handle);
    let (listening, mut listens) = mpsc::channel(1);
    tokio::spawn(page::open(listen, control, home.clone(), handle, listening, pages));

    let (orders, for_speaker) = mpsc::unbounded_channel();
    let (from_speaker, words) = mpsc::channel(256);
    let outputs =
        speaker::Outputs { heard: speaker::Heard::from(&config.sound), learned: speaker::Learned::open(&home.data()) };
    let speaker = tokio::spawn(speaker::keep(program_file.clone(), outputs, for_speaker, from_speaker));

    let (needs, for_amplifier) = mpsc::channel(64);
    let amplifier = tokio::spawn(amplifier::run(config.sound.amplifier.clone(), for_amplifier));

    let (changed, changes) = mpsc::channel(1);
    tokio::spawn(reload::watch(home.clone(), changed));
    let (wanted, wants) = mpsc::channel(4);
    let (found, finds) = mpsc::channel(4);
    tokio::spawn(keep_library(library, wants, wanted.downgrade(), found));

    let fresh = versions.last().is_none_or(|version| version.revision != assembled.revision);
    let program = Arc::new(assembled.program.clone());
    let (conductor, first) = Conductor::new(now, memory, limits, Arc::clone(&program), assembled.revision.clone());
    let mut station = Station {
        home,
        program_file,
        clock,
        began: config.clone(),
        config,
        shown,
        listens_elsewhere: options.listen.is_some(),
        conductor,
        ledger,
        read: (read, unreadable),
        sounds,
        office,
        unkept: None,
        assembled,
        program,
        library_findings: Vec::new(),
        imported: false,
        orders,
        needs,
        wanted,
        answers: BTreeMap::new(),
        asked: 0,
        speaker_answers: false,
        alarms: BTreeSet::new(),
        page: None,
        page_fault: None,
        output_fault: None,
        self_test,
        test_asked: None,
        announced: false,
        signed_hour: None,
        vitals: Vitals::new(now.awake),
        disk_free: None,
    };
    if fresh {
        station.keep_version();
    }
    station.perform(first).await;
    station.want_clips().await;
    station.live(asks, words, changes, finds, &mut listens, (ends.wanted, prepares)).await;

    info!("shutting down");
    if let Some(control) = &station.page {
        control.remove(&station.home);
    }
    let now = station.clock.now();
    station.ledger.sign_head(now.wall).await;
    drop(station);
    // Each ends by itself once its input is closed; a hung one is killed with the process.
    let _ = tokio::time::timeout(Duration::from_secs(2), async { tokio::join!(speaker, amplifier) }).await;
    Ok(())
}

/// Returns the conductor's limits; the amplifier is the one that the daemon began with.
fn limits(sound: &Sound, warm_up: SignedDuration) -> Limits {
    Limits {
        volume: sound.volume,
        ceiling: sound.ceiling,
        released: RELEASED.parse().expect("the release date is a timestamp"),
        lead: LEAD + warm_up,
    }
}

/// Returns what differs from what the daemon began with and needs a start to take effect. With `listens_elsewhere` the
/// command line says where the page is.
fn at_next_start(began: &Config, now: &Config, listens_elsewhere: bool) -> Vec<&'static str> {
    let changed = [
        ("panel.listen", began.listen != now.listen && !listens_elsewhere),
        ("sound.loudness", began.sound.loudness != now.sound.loudness),
        ("sound.amplifier", began.sound.amplifier != now.sound.amplifier),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

/// When this release was made: with no journal yet, an earlier clock cannot be right.
const RELEASED: &str = "2026-11-01T00:00:00Z";

/// Takes the home for this process alone. The lock goes with the process, however it ends.
fn lock(home: &Home) -> Result<Option<fs::File>, StartError> {
    let path = home.data().join("lock");
    let file = match fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => file,
        Err(error) => {
            warn!(%error, "no lock can be taken in data/; nothing keeps a second daemon away");
            return Ok(None);
        }
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => {
            let pid = Control::read(home).map_or_else(|_| "未知".to_owned(), |control| control.pid.to_string());
            Err(StartError::Running { pid })
        }
        Err(fs::TryLockError::Error(error)) => {
            warn!(%error, "no lock can be taken in data/; nothing keeps a second daemon away");
            Ok(None)
        }
    }
}

/// Returns the versions that were in force since the last tick.
fn past(versions: &[Version], memory: &Memory, clips: &Clips) -> Vec<(Option<Timestamp>, String, Arc<Program>)> {
    let since = memory.tick.unwrap_or(Timestamp::MAX);
    let first = versions.iter().rposition(|version| version.effective.is_some_and(|from| from <= since)).unwrap_or(0);
    let value = |version: &Version| {
        let assembled = assemble(&version.texts, None, clips.clone());
        (version.effective, version.revision.clone(), Arc::new(assembled.program))
    };
    versions.iter().skip(first).map(value).collect()
}

/// Keeps the library: looks at `audio/` whenever asked, the wanted clips first.
async fn keep_library(
    mut library: Library,
    mut wants: mpsc::Receiver<Vec<ClipPath>>,
    again: mpsc::WeakSender<Vec<ClipPath>>,
    found: mpsc::Sender<(Clips, Vec<Finding>, bool)>,
) {
    while let Some(mut wanted) = wants.recv().await {
        while let Ok(newer) = wants.try_recv() {
            wanted = newer;
        }
        let sender = found.clone();
        let settled = library
            .scan(&wanted, |clips| {
                // The last word below carries everything; a full channel only delays the news.
                let _ = sender.try_send((clips.clone(), Vec::new(), false));
            })
            .await;
        if found.send((library.clips().clone(), library.findings(), true)).await.is_err() {
            return;
        }
        if !settled {
            // A file on its way here announces itself; one that could not be read is tried again.
            tokio::time::sleep(UNSETTLED).await;
            if let Some(again) = again.upgrade() {
                // A full channel means that it is about to look anyway.
                let _ = again.try_send(wanted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_start_is_said_and_what_does_not_is_not() {
        let config = |more: &str| Config::parse(&format!("[station]\nid = \"a\"\nname = \"b\"\n{more}")).unwrap();
        let began = config("");
        for (more, elsewhere, keys) in [
            ("", false, vec![]),
            ("[sound]\nvolume = 1\nceiling = 2\noutput = [\"pulse:a\"]\nlatency-offset = \"9ms\"", false, vec![]),
            ("[panel]\nhosts = [\"a\"]\nscreen = \"off\"", false, vec![]),
            ("[panel]\nlisten = \"0.0.0.0:8650\"", false, vec!["panel.listen"]),
            ("[panel]\nlisten = \"0.0.0.0:8650\"", true, vec![]),
            ("[sound]\nloudness = -20\namplifier = { on = [\"a\"] }", false, vec!["sound.loudness", "sound.amplifier"]),
        ] {
            assert_eq!(at_next_start(&began, &config(more), elsewhere), keys, "{more}");
        }
    }
}

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
mod reload;
mod self_test;
mod speaker;
mod time;
mod vitals;

pub use control::Control;
pub use handle::{Gone, Handle, Snapshot, manual_id};
pub use outputs::{Tone, Untried, play_tone, sound_outputs};
pub use vitals::Health;

use crate::{
    clock::{Clock, follow_synchronisation},
    conductor::{Action, Alarm, Conductor, Event, Limits, Memory},
    config::{Config, Sound},
    home::{Assembled, Home, Texts, Version, assemble},
    journal::SelfTest,
    library::Library,
    link::shell,
    plan::{ClipState, Clips, Occurrence, Program, Verdict, plan},
    schedule::{ClipPath, Finding},
    speaker::protocol::{Order, Word},
    text::Said,
    trust::ClockState,
};
use handle::Ask;
use jiff::{SignedDuration, Timestamp};
use ledger::Ledger;
use office::{Office, are_settled};
use speaker::{FromSpeaker, ToSpeaker};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use time::StationClock;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};
use tracing::{error, info, warn};
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
    tokio::spawn(open_page(listen, control, home.clone(), handle, listening, pages));

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

/// Opens the page, however long that takes, and serves it.
async fn open_page<F: Future<Output = ()> + Send + 'static>(
    listen: SocketAddr,
    mut control: Control,
    home: Home,
    handle: Handle,
    listening: mpsc::Sender<Result<Control, Said>>,
    pages: impl Fn(TcpListener, Handle, Control, Home) -> F,
) {
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => {
                control.address = from_here(listener.local_addr().unwrap_or(listen));
                tokio::spawn(write_control(control.clone(), home.clone()));
                // The daemon is gone if nobody listens any more.
                let _ = listening.send(Ok(control.clone())).await;
                let serving = pages(listener, handle.clone(), control.clone(), home.clone());
                // It serves for ever, unless it fails: then it is begun anew, and the broadcast goes on meanwhile.
                if let Err(error) = tokio::spawn(serving).await {
                    error!(%error, "the pages broke off; they are opened again in ten seconds");
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => {
                warn!(%error, "the page cannot be opened at {listen}; trying again in ten seconds");
                let fault = Said::new(
                    format!(
                        "页面地址 {listen} 打不开（{error}），播出不受影响；请关掉占用它的程序，或在 station.toml 里换一个端口"
                    ),
                    format!(
                        "the page cannot be opened at {listen} ({error}), the broadcast goes on; end the program that holds it, or choose another port in station.toml"
                    ),
                );
                let _ = listening.send(Err(fault)).await;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Returns the address at which this machine itself reaches a page that listens at `address`.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Lets the other commands find the daemon, as soon as the disk allows.
async fn write_control(control: Control, home: Home) {
    while let Err(error) = control.write(&home) {
        warn!(%error, "data/control.json cannot be written; the other commands do not find the daemon");
        tokio::time::sleep(RETRY).await;
    }
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

/// Everything that one running station holds.
struct Station {
    home: Home,
    program_file: PathBuf,
    clock: StationClock,
    /// The station file that the daemon began with.
    began: Config,
    /// The one in force.
    config: Config,
    /// Shows the one in force to the views.
    shown: watch::Sender<Arc<Config>>,
    /// The command line says where the page is.
    listens_elsewhere: bool,
    conductor: Conductor,
    ledger: Ledger,
    /// What the home held when it was last read.
    read: (Texts, Vec<Finding>),
    /// What the library knows.
    sounds: Clips,
    office: Office,
    /// A version that takes effect once it can be kept on disk.
    unkept: Option<Assembled>,
    assembled: Assembled,
    /// The program that the conductor has.
    program: Arc<Program>,
    library_findings: Vec<Finding>,
    imported: bool,
    orders: mpsc::UnboundedSender<ToSpeaker>,
    needs: mpsc::Sender<amplifier::Need>,
    wanted: mpsc::Sender<Vec<ClipPath>>,
    answers: BTreeMap<u64, oneshot::Sender<Result<crate::conductor::Done, crate::conductor::Refusal>>>,
    asked: u64,
    speaker_answers: bool,
    alarms: BTreeSet<Alarm>,
    page: Option<Control>,
    page_fault: Option<Said>,
    /// What the sound server says is wrong with the output.
    output_fault: Option<Said>,
    self_test: Option<SelfTest>,
    /// When a self-test was last asked for.
    test_asked: Option<Timestamp>,
    announced: bool,
    signed_hour: Option<i64>,
    vitals: Vitals,
    /// Bytes free where the journal grows.
    disk_free: Option<u64>,
}

impl Station {
    async fn live(
        &mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut words: mpsc::Receiver<FromSpeaker>,
        mut changes: mpsc::Receiver<()>,
        mut finds: mpsc::Receiver<(Clips, Vec<Finding>, bool)>,
        listens: &mut mpsc::Receiver<Result<Control, Said>>,
        (mut orders, mut prepares): (
            mpsc::UnboundedReceiver<shell::ToStation>,
            mpsc::UnboundedReceiver<(ClipPath, ClipState)>,
        ),
    ) {
        let shutdown = shutdown();
        tokio::pin!(shutdown);
        let mut retry = tokio::time::interval(RETRY);
        loop {
            let wake = self.conductor.next_wake();
            tokio::select! {
                biased; // What has happened comes before time moves on.
                () = &mut shutdown => return,
                Some(word) = words.recv() => self.hear(word).await,
                Some(ask) = asks.recv() => self.answer(ask).await,
                Some(()) = changes.recv() => self.reread().await,
                Some(word) = orders.recv() => self.heed_office(word).await,
                Some((path, state)) = prepares.recv() => self.take_prepared(&path, state).await,
                Some((clips, findings, whole)) = finds.recv() => self.take_clips(clips, findings, whole).await,
                Some(page) = listens.recv() => self.take_page(page),
                _ = retry.tick() => self.retry().await,
                () = self.clock.nap_until(wake) => self.handle(Event::Woke).await,
            }
            self.switch_plans().await;
            self.tell_office();
            self.announce();
        }
    }

    async fn handle(&mut self, event: Event) {
        let actions = self.conductor.handle(self.clock.now(), event);
        self.perform(actions).await;
    }

    async fn hear(&mut self, from: FromSpeaker) {
        match from {
            FromSpeaker::Word(word) => {
                let word = self.clock.of_speaker(word);
                self.speaker_answers = true;
                match &word {
                    Word::Underrun { micros } => {
                        warn!(micros, "the sound card ran dry");
                        self.vitals.ran_dry();
                    }
                    Word::Started { .. } | Word::Progress { .. } => self.vitals.progressed(self.clock.now().awake),
                    _ => {}
                }
                if let Word::Output { fault } = &word {
                    self.output_fault.clone_from(fault);
                    match fault {
                        Some(fault) => warn!("{}", fault.zh),
                        None => info!("the output can be heard again"),
                    }
                }
                if let Word::Tested { device, fault } = &word {
                    let at = self.clock.now().wall;
                    let test = SelfTest { at, device: device.clone(), fault: fault.clone() };
                    info!(fault = fault.as_ref().map(|fault| &fault.zh), device, "the sound card was tested");
                    self.ledger.tested(&test).await;
                    self.self_test = Some(test);
                }
                self.handle(Event::Speaker(word)).await;
            }
            FromSpeaker::Died => {
                warn!("the speaker process is gone; another is being started");
                self.speaker_answers = false;
                // The keeper lives as long as this end of its channel.
                let _ = self.orders.send(ToSpeaker::Fresh);
                self.handle(Event::SpeakerDied).await;
            }
        }
    }

    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Command(command, answer) => {
                self.asked += 1;
                self.answers.insert(self.asked, answer);
                self.handle(Event::Asked { ask: self.asked, command }).await;
            }
            // An asker that has gone needs no answer.
            Ask::Snapshot(answer) => drop(answer.send(self.snapshot())),
            Ask::Reread(answer) => {
                self.reread().await;
                let _ = answer.send(());
            }
            Ask::Texts(answer) => drop(answer.send(self.assembled.texts.clone())),
            Ask::Adopt { journal, key, answer } => {
                let adopted = self.ledger.adopt(&journal, &key).await.unwrap_or_else(|error| {
                    error!(error = &error as &dyn std::error::Error, "the restored journal cannot be taken over");
                    false
                });
                if adopted {
                    self.office.rows();
                    info!("a restored journal is in the place of the station's own");
                    // What it has decided does not sound a second time.
                    let now = self.clock.now().wall;
                    let since = now.checked_sub(SignedDuration::from_hours(48)).unwrap_or(now);
                    let decided = self.ledger.decided(since).await;
                    self.handle(Event::Recalled { decided }).await;
                }
                let _ = answer.send(adopted);
            }
            Ask::ClipNamed(text, answer) => drop(answer.send(handle::clip_named(&self.assembled.program.clips, &text))),
        }
    }

    /// Reads the home again; only what changed is worth more than the reading.
    async fn reread(&mut self) {
        let read = self.home.read();
        if read != self.read {
            self.read = read;
            self.take_texts().await;
        }
        self.want_clips().await;
    }

    /// Makes what was read into values and puts what is new in force.
    async fn take_texts(&mut self) {
        let (mut texts, unreadable) = self.read.clone();
        let in_force = &self.assembled.texts.delivered;
        self.office.waits = texts.delivered != *in_force && !self.may_switch(&texts.delivered);
        if self.office.waits {
            // The station's own files do not wait for a plan of its office.
            texts.delivered.clone_from(in_force);
        }
        let clips = self.office.with_orders(&self.sounds);
        let mut new = assemble(&texts, Some(&self.assembled.texts), clips);
        new.findings.extend(unreadable);
        self.assembled.findings.clone_from(&new.findings);
        if new.revision == self.assembled.revision {
            self.unkept = None;
        } else {
            for finding in &new.findings {
                info!("{finding}");
            }
            self.unkept = Some(new);
            self.put_in_force().await;
        }
    }

    /// Keeps the waiting version on disk, then lets it take effect.
    async fn put_in_force(&mut self) {
        let Some(new) = &self.unkept else { return };
        if let Err(error) = self.home.keep(&new.version()) {
            error!(%error, "the new schedules cannot be kept on disk; the old ones stay in force");
            return;
        }
        let Some(mut new) = self.unkept.take() else { return };
        new.supply(self.office.with_orders(&self.sounds));
        info!(revision = %new.revision, "new schedules are in force");
        let config = new.config.clone().unwrap_or_else(Config::first_run);
        self.assembled = new;
        self.reprogram().await;
        self.take_config(config).await;
    }

    /// Lets another station file take effect, as far as that needs no start.
    async fn take_config(&mut self, config: Config) {
        let before = std::mem::replace(&mut self.config, config);
        if before == self.config {
            return;
        }
        self.shown.send_replace(Arc::new(self.config.clone()));
        let (old, new) = (&before.sound, &self.config.sound);
        let heard = speaker::Heard::from(new);
        if heard != speaker::Heard::from(old) {
            self.order(ToSpeaker::Open(heard));
        }
        if (old.volume, old.ceiling) != (new.volume, new.ceiling) {
            let limits = limits(new, self.began.sound.amplifier.warm_up);
            self.handle(Event::Limited(limits)).await;
        }
        for key in at_next_start(&self.began, &self.config, self.listens_elsewhere) {
            info!("the change of {key} takes effect at the next start");
        }
    }

    async fn take_clips(&mut self, clips: Clips, findings: Vec<Finding>, whole: bool) {
        if whole {
            self.library_findings = findings;
            self.imported = true;
        }
        self.sounds = clips;
        self.supply().await;
    }

    async fn reprogram(&mut self) {
        let program = Arc::new(self.assembled.program.clone());
        self.program = Arc::clone(&program);
        let revision = self.assembled.revision.clone();
        self.handle(Event::Reprogrammed { program, revision }).await;
    }

    /// Asks the library to look, the clips of the next day first.
    async fn want_clips(&mut self) {
        let now = self.clock.now().wall;
        let mut wanted = Vec::new();
        for occurrence in plan(&self.assembled.program, now..now + SignedDuration::from_hours(24)).occurrences {
            for path in occurrence.chime.into_iter().chain(occurrence.clips) {
                let path = self.assembled.texts.sound(&path);
                if !wanted.contains(&path) {
                    wanted.push(path);
                }
            }
        }
        // A full channel means that it is about to look anyway.
        let _ = self.wanted.try_send(wanted);
    }

    fn take_page(&mut self, page: Result<Control, Said>) {
        match page {
            Ok(control) => (self.page, self.page_fault) = (Some(control), None),
            Err(fault) => self.page_fault = Some(fault),
        }
    }

    async fn retry(&mut self) {
        self.ledger.retry().await;
        self.put_in_force().await;
        self.disk_free = fs4::available_space(self.home.data()).ok();
        let now = self.clock.now().wall;
        let hour = now.as_second().div_euclid(3600);
        if self.signed_hour.is_some_and(|signed| signed != hour) {
            self.ledger.sign_head(now).await;
        }
        self.signed_hour = Some(hour);
        self.test_at_night();
    }

    /// Asks for the nightly self-test when it is time.
    fn test_at_night(&mut self) {
        let now = self.clock.now();
        let status = self.conductor.status(now);
        let last = self.self_test.as_ref().map(|test| test.at).max(self.test_asked);
        let next = status.next.iter().map(|next| next.due).min();
        let (hours, zone) = (&self.config.hours, &self.assembled.program.zone);
        if status.playing.is_empty() && self_test::is_due(last, now.wall, next, hours, zone) {
            self.test_asked = Some(now.wall);
            self.order(ToSpeaker::Order(Order::Test));
        }
    }

    fn keep_version(&mut self) {
        if let Err(error) = self.home.keep(&self.assembled.version()) {
            error!(%error, "the schedules in force cannot be kept on disk");
        }
    }

    /// Carries actions out, in order.
    async fn perform(&mut self, actions: Vec<Action>) {
        let mut queue: std::collections::VecDeque<_> = actions.into();
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Begin(running) => {
                    info!(occurrence = %running.entry.occurrence, "arming `{}`", running.entry.title);
                    self.ledger.begin(&running).await;
                }
                Action::Progress(running) => {
                    self.ledger.begin(&running).await;
                    self.office.progressed(&running);
                }
                Action::Abandon(occurrence) => {
                    self.need(amplifier::Need::Over(occurrence.clone())).await;
                    self.ledger.abandon(&occurrence).await;
                }
                Action::Finish(entry) => {
                    let outcome = entry.outcome.zh();
                    let reason = entry.reason.map_or("", crate::outcome::Reason::zh);
                    info!(occurrence = %entry.occurrence, "{outcome} `{}` {reason}", entry.title);
                    self.need(amplifier::Need::Over(entry.occurrence.clone())).await;
                    self.vitals.finished(entry.outcome);
                    self.ledger.finish((*entry).clone()).await;
                    self.office.finished(&entry);
                }
                Action::Dated { revision, effective } => {
                    if let Err(error) = self.home.date(&revision, effective) {
                        error!(%error, "when the schedules took effect cannot be kept on disk");
                    }
                }
                Action::Tick(tick) => {
                    self.ledger.tick(&tick).await;
                    self.vitals.ticked(self.clock.now().awake);
                }
                Action::Recall { since } => {
                    let decided = self.ledger.decided(since).await;
                    let more = self.conductor.handle(self.clock.now(), Event::Recalled { decided });
                    queue.extend(more);
                }
                Action::Play { playout } => {
                    let playout = self.clock.for_speaker(playout);
                    self.need(amplifier::Need::From(playout.occurrence.clone(), playout.start)).await;
                    self.order(ToSpeaker::Order(Order::Play(playout)));
                }
                Action::Stop(occurrence) => self.order(ToSpeaker::Order(Order::Stop { occurrence })),
                Action::Gain { occurrence, gain } => self.order(ToSpeaker::Order(Order::Gain { occurrence, gain })),
                Action::ReplaceSpeaker => self.order(ToSpeaker::Replace),
                Action::Answer { ask, answer } => {
                    if let Some(asker) = self.answers.remove(&ask) {
                        // An asker that has gone needs no answer.
                        let _ = asker.send(answer);
                    }
                }
                Action::Alarm(alarm) => {
                    warn!("{}", alarm_words(alarm).zh);
                    self.alarms.insert(alarm);
                }
                Action::Clear(alarm) => {
                    self.alarms.remove(&alarm);
                }
            }
        }
    }

    fn order(&self, order: ToSpeaker) {
        // The keeper lives as long as this end of its channel.
        let _ = self.orders.send(order);
    }

    async fn need(&self, need: amplifier::Need) {
        // The amplifier's task lives as long as this end of its channel.
        let _ = self.needs.send(need).await;
    }

    fn is_ready(&self, now: Timestamp) -> bool {
        self.speaker_answers && handle::is_prepared(&self.assembled.program, now)
    }

    fn self_test_fault(&self) -> Option<Said> {
        let fault = self.self_test.as_ref()?.fault.as_ref()?;
        Some(Said::new(
            format!("夜间声卡自检没有通过：{}", fault.zh),
            format!("the sound card failed its test at night: {}", fault.en),
        ))
    }

    fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let mut faults: Vec<Said> = self.alarms.iter().map(|alarm| alarm_words(*alarm)).collect();
        faults.extend(self.ledger.fault());
        faults.extend(self.page_fault.clone());
        faults.extend(self.output_fault.clone());
        faults.extend(self.self_test_fault());
        faults.extend(self.office.view().faults);
        if self.unkept.is_some() {
            faults.push(Said::new(
                "新的播放计划写不进磁盘，原来的计划仍在使用；请检查磁盘空间和权限",
                "the new schedules cannot be kept on disk and the old ones stay in force; check disk space and permissions",
            ));
        }
        if self.assembled.texts.station.is_none() {
            faults.push(Said::new(
                "还没有做首次设置，正在用默认设置；请打开页面，按提示完成首次设置",
                "the station is not set up yet and the defaults are in force; open its page and follow the first run",
            ));
        }
        let status = self.conductor.status(now);
        let health = self.vitals.health(now.awake, self.ledger.fault().is_none(), !status.playing.is_empty());
        let findings = self.assembled.findings.iter().chain(&self.library_findings).cloned().collect();
        Snapshot {
            now: now.wall,
            name: self.config.name.clone(),
            zone: self.assembled.program.zone.clone(),
            status,
            ready: self.is_ready(now.wall),
            faults,
            findings: Arc::new(findings),
            self_test: self.self_test.clone(),
            journal: self.home.journal(),
            program: Arc::clone(&self.program),
            revision: self.assembled.revision.clone(),
            config: Arc::clone(&self.shown.borrow()),
            at_next_start: at_next_start(&self.began, &self.config, self.listens_elsewhere),
            disk_free: self.disk_free,
            health,
        }
    }

    /// Says once, when there is something to say, where the page is, what comes next and where the journal is.
    fn announce(&mut self) {
        if self.announced || !self.imported {
            return;
        }
        let page = match (&self.page, &self.page_fault) {
            (Some(page), _) => format!("http://{}/", page.address),
            (None, Some(fault)) => fault.zh.clone(),
            (None, None) => return,
        };
        self.announced = true;
        println!("{}（{}）", self.config.name, self.config.id);
        println!("页面      {page}");
        let now = self.clock.now();
        let next: Vec<Occurrence> = self.conductor.status(now).next;
        if next.is_empty() {
            println!("接下来    没有安排");
        }
        for (index, occurrence) in next.iter().filter(|next| next.verdict == Verdict::Play).take(3).enumerate() {
            let due = occurrence.due.to_zoned_datetime(self.assembled.program.zone.clone());
            let label = if index == 0 { "接下来" } else { "      " };
            println!("{label}    {}  {}", due.strftime("%Y-%m-%d %H:%M:%S"), occurrence.title);
        }
        println!("播出记录  {}", self.home.journal().display());
        if self.conductor.status(now).device.is_none() {
            println!("声音      还没有可用的声卡，现在没有人能听见；接上声卡后会自动播出");
        }
    }
}

fn alarm_words(alarm: Alarm) -> Said {
    let (zh, en) = match alarm {
        Alarm::ClockUntrusted => (
            "电脑时间不对，自动播出已暂停；请校准时间，再在页面上确认，或执行 dalaba confirm-clock",
            "the computer's time is wrong and nothing scheduled plays; set the time, then confirm it on the page",
        ),
        Alarm::NoDevice => (
            "没有可用的声卡；请检查声卡、连线和 station.toml 里的 output",
            "there is no sound card; check the card, its cable, and `output` in station.toml",
        ),
        Alarm::SafeMode => (
            "程序连续出错，自动播出暂停 30 分钟；请查看日志",
            "the program failed several times and plays nothing scheduled for 30 minutes; see its log",
        ),
        Alarm::Silence => ("播出的声音是静音；请检查音频文件", "what was played is silence; check the clip"),
    };
    Said::new(zh, en)
}

/// Waits for the system to ask for an end.
async fn shutdown() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            }
            Err(_) => drop(tokio::signal::ctrl_c().await),
        }
    }
    #[cfg(not(unix))]
    drop(tokio::signal::ctrl_c().await);
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

    #[test]
    fn the_machine_itself_reaches_a_page_for_the_network() {
        for (listens, reached) in
            [("0.0.0.0:8650", "127.0.0.1:8650"), ("[::]:80", "[::1]:80"), ("192.168.1.9:80", "192.168.1.9:80")]
        {
            assert_eq!(from_here(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}

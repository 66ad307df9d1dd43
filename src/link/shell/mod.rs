//! The station's end of the link in the world: carries out what [`Link`] asks for, with HTTPS, files and clocks.
//!
//! [`open`] gives three ends: the task itself; a [`Handle`] for pages, which enrol and leave and see how it stands; and two
//! channels to the daemon, which says what happens at the station and does what the office orders.
//!
//! Always true: what [`Link`] wants kept is on the disk before anything behind it is done; where that fails, the link
//! begins anew from what is there. Without an office the task only waits.
//!
//! Not here: what is decided ([`crate::link::station`]), what an order does to sound (the daemon).

pub mod alone;
mod client;
mod events;
mod files;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

pub use client::{CallError, NoOffice};
pub(crate) use events::Events;
pub use files::{FOLDER, Files, FilesError, delivered};
pub use tls::Pin;

use super::{
    BlobId, CommandId, Pinned, Place, Refused, State, StationId,
    accept::Moment,
    protocol::Enrolled,
    station::{Action, Alarm, Answer, Errand, Event, Kept, Link, Now, RequestId, Turn},
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::Config,
    journal::{self, read::Reader},
    schedule::Source,
    text::{Language, Said, hex},
    trust::ClockState,
};
use client::Client;
use files::{Asking, Membership, Standing};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};
use tracing::{debug, error, info, warn};

/// How often the office is asked whether a clerk has confirmed.
const ASK_CLERK: Duration = Duration::from_secs(10);
/// Before another try of what failed here.
const RETRY: Duration = Duration::from_secs(10);
/// The clocks are looked at at least so often: a machine that slept is noticed.
const NAP: Duration = Duration::from_secs(5);
/// The office's clock is told anew when it is known to differ by this much.
const WORTH: jiff::SignedDuration = jiff::SignedDuration::from_millis(20);
/// Between two looks for what can be thrown away.
const SWEEP: Duration = Duration::from_secs(3600);
/// What waits between a request and the link.
const WAITING: usize = 64;

/// What the daemon tells the link.
#[derive(Debug)]
pub enum FromStation {
    /// The journal has grown, or is another one.
    Rows,
    /// What became of an order.
    Order(CommandId, State),
    /// What the office may want to know of the station.
    Facts(Value),
}

/// What the link has the daemon do.
#[derive(Debug)]
pub enum ToStation {
    /// The plans in force are others.
    Plans,
    /// Something that the office ordered.
    Carry(Errand),
}

/// How the station stands with its office.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Where the office is; none where there is none.
    pub office: Option<String>,
    /// What people call it, once it said so.
    pub name: Option<String>,
    /// How far it has come.
    pub stage: Stage,
    /// What both sides compare, while the station waits to be taken in.
    pub words: Option<Said>,
    /// The office is heard at this moment.
    pub up: bool,
    /// Why it was not heard at the last try.
    pub trouble: Option<Said>,
    /// When it was heard last.
    pub heard: Option<Timestamp>,
    /// The plans in force, with their revisions.
    pub plans: Vec<(Source, u64)>,
    /// What people should look at, each with its remedy.
    pub faults: Vec<Said>,
}

impl View {
    /// What is on the disk says this much.
    fn of(membership: &Membership) -> Self {
        let mut view = Self { office: Some(membership.office.clone()), heard: membership.heard, ..Self::default() };
        match &membership.standing {
            Standing::Asked(asking) => {
                view.stage = if asking.compared { Stage::Waiting } else { Stage::Compare };
                if let Ok(pinned) = Pinned::first(asking.root.as_bytes()) {
                    view.name = Some(pinned.root().office.clone());
                    let words = |language| pinned.words().said(language);
                    view.words = Some(Said::new(words(Language::Chinese), words(Language::English)));
                }
            }
            Standing::Member(kept) => {
                view.stage = Stage::Member;
                view.plans = kept.plans.iter().map(|(source, plan)| (*source, plan.mark.revision)).collect();
            }
        }
        view
    }
}

/// How far an enrolment has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// There is no office.
    #[default]
    Alone,
    /// Somebody here has to compare the words.
    Compare,
    /// A clerk at the office has to confirm.
    Waiting,
    /// The office has taken the station in.
    Member,
}

/// Why a station was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// That is no address.
    #[error(transparent)]
    NoOffice(#[from] NoOffice),
    /// The station has an office.
    #[error("本站已加入 {0}；要换一个，请先退出")]
    Enrolled(String),
    /// The station's name is none that an office takes.
    #[error("station.toml 里的站点编号“{0}”不能用；请只用 a-z、0-9 和“-”，最多 64 个字符")]
    Name(String),
    /// The office did not answer as it should.
    #[error("镇中心没有应答")]
    Call(#[from] CallError),
    /// What it showed is no root.
    #[error("镇中心出示的信任名单不能用：{}", .0.said().zh)]
    Root(Refused),
    /// Something here cannot be read or written.
    #[error("本站的文件不能读写；请检查磁盘空间和权限")]
    Here(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is nothing to confirm or to leave.
    #[error("没有正在进行的加入")]
    Nothing,
    /// The station is ending.
    #[error("程序正在退出")]
    Gone,
}

impl EnrolError {
    /// The sentence in both languages.
    pub fn said(&self) -> Said {
        let zh = match self {
            Self::Call(error) => format!("{self}：{error}"),
            Self::Here(error) => format!("{self}（{error}）"),
            _ => self.to_string(),
        };
        let en = match self {
            Self::NoOffice(_) => "the address begins with https://, as https://192.168.1.10:8660".into(),
            Self::Enrolled(office) => {
                format!("this station belongs to {office}; to take another office, leave it first")
            }
            Self::Name(id) => {
                format!("the station's id `{id}` does not do; use a-z, 0-9 and -, 64 characters at most")
            }
            Self::Call(error) => format!("the office did not answer as it should: {}", error.en()),
            Self::Root(refused) => {
                format!("the list of trusted keys that the office showed will not do: {}", refused.said().en)
            }
            Self::Here(error) => {
                format!("the station's files cannot be used ({error}); check disk space and permissions")
            }
            Self::Nothing => "there is no enrolment on its way".into(),
            Self::Gone => "the program is ending".into(),
        };
        Said::new(zh, en)
    }
}

fn here(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EnrolError {
    EnrolError::Here(error.into())
}

/// What a person may ask of the link.
#[derive(Debug)]
enum Ask {
    Enrol { office: String, code: String, answer: oneshot::Sender<Result<(), EnrolError>> },
    Compared { answer: oneshot::Sender<Result<(), EnrolError>> },
    Leave { answer: oneshot::Sender<Result<(), EnrolError>> },
}

/// Enrols the station, leaves its office, and shows how it stands.
#[derive(Debug, Clone)]
pub struct Handle {
    asks: mpsc::Sender<Ask>,
    view: watch::Receiver<View>,
}

impl Handle {
    /// Asks an office to take the station in. The words to compare are in the view when it returns.
    pub async fn enrol(&self, office: String, code: String) -> Result<(), EnrolError> {
        self.ask(|answer| Ask::Enrol { office, code, answer }).await
    }

    /// Somebody here has compared the words, and they are the same.
    pub async fn compared(&self) -> Result<(), EnrolError> {
        self.ask(|answer| Ask::Compared { answer }).await
    }

    /// Gives up an enrolment, or leaves the office: what it delivered is in force no longer.
    pub async fn leave(&self) -> Result<(), EnrolError> {
        self.ask(|answer| Ask::Leave { answer }).await
    }

    async fn ask(&self, ask: impl FnOnce(oneshot::Sender<Result<(), EnrolError>>) -> Ask) -> Result<(), EnrolError> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.map_err(|_| EnrolError::Gone)?;
        answered.await.map_err(|_| EnrolError::Gone)?
    }

    /// Returns how the station stands with its office.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }
}

/// The ends of a link that the daemon holds.
#[derive(Debug)]
pub struct Ends {
    /// For the pages.
    pub handle: Handle,
    /// To the link.
    pub told: mpsc::UnboundedSender<FromStation>,
    /// From the link.
    pub wanted: mpsc::UnboundedReceiver<ToStation>,
}

/// Returns the link of a station whose `data` folder this is, and the daemon's ends of it. `clock` is how far the daemon
/// believes the machine's clock; `time` hears what the office's clock showed when the machine booted, once it is known.
pub fn open(
    data: PathBuf,
    config: watch::Receiver<Arc<Config>>,
    clock: watch::Receiver<ClockState>,
    time: watch::Sender<Option<Timestamp>>,
) -> (Ends, impl Future<Output = ()> + Send) {
    let (asks, asked) = mpsc::channel(4);
    let (told, tells) = mpsc::unbounded_channel();
    let (wants, wanted) = mpsc::unbounded_channel();
    let (shown, view) = watch::channel(View::default());
    let shell = Shell {
        files: Files::new(&data),
        data,
        config,
        clock,
        time,
        asked,
        tells,
        wants,
        shown,
        membership: None,
        facts: None,
        fault: None,
        trouble: None,
    };
    (Ends { handle: Handle { asks, view }, told, wanted }, shell.live())
}

/// What is done next, after something was asked.
enum Turned {
    /// The standing has changed: begin anew.
    Anew,
    /// The daemon is gone.
    Over,
}

struct Shell {
    data: PathBuf,
    files: Files,
    config: watch::Receiver<Arc<Config>>,
    clock: watch::Receiver<ClockState>,
    time: watch::Sender<Option<Timestamp>>,
    asked: mpsc::Receiver<Ask>,
    tells: mpsc::UnboundedReceiver<FromStation>,
    wants: mpsc::UnboundedSender<ToStation>,
    shown: watch::Sender<View>,
    /// As it is on the disk.
    membership: Option<Membership>,
    /// The last facts.
    facts: Option<Value>,
    /// What went wrong here, with its remedy.
    fault: Option<Said>,
    /// Why the office was asked in vain.
    trouble: Option<Said>,
}

impl Shell {
    async fn live(mut self) {
        match self.files.read() {
            Ok(membership) => self.membership = membership,
            Err(error) => {
                error!(%error, "what is remembered of the office cannot be read");
                let en = "data/office/link.json or a plan beside it cannot be read; restore it from a backup, or leave the office and enrol again";
                self.fault = Some(Said::new(error.to_string(), en));
                // Nothing is written over it unless a person leaves or enrols.
            }
        }
        loop {
            self.show(None);
            let turned = match self.membership.as_ref().map(|membership| &membership.standing) {
                None => self.alone().await,
                Some(Standing::Asked(_)) => self.wait_for_clerk().await,
                Some(Standing::Member(_)) => self.serve().await,
            };
            if let Turned::Over = turned {
                return;
            }
        }
    }

    /// Waits until somebody enrols.
    async fn alone(&mut self) -> Turned {
        loop {
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    Some(ask) => if self.answer(ask).await { return Turned::Anew },
                    None => return Turned::Over,
                },
                told = self.tells.recv() => match told {
                    Some(told) => self.note(told),
                    None => return Turned::Over,
                },
            }
        }
    }

    fn note(&mut self, told: FromStation) {
        if let FromStation::Facts(facts) = told {
            self.facts = Some(facts);
        }
    }

    /// Answers a person; returns whether the standing has changed.
    async fn answer(&mut self, ask: Ask) -> bool {
        let (result, answer) = match ask {
            Ask::Enrol { office, code, answer } => (self.enrol(&office, &code).await, answer),
            Ask::Compared { answer } => (self.compared(), answer),
            Ask::Leave { answer } => (self.leave(), answer),
        };
        let changed = result.is_ok();
        if changed {
            self.fault = None;
            self.show(None);
        }
        // Whoever asked may have gone.
        let _ = answer.send(result);
        changed
    }

    async fn enrol(&mut self, office: &str, code: &str) -> Result<(), EnrolError> {
        if let Some(Membership { office, standing: Standing::Member(_), .. }) = &self.membership {
            return Err(EnrolError::Enrolled(office.clone()));
        }
        let (id, name) = {
            let config = self.config.borrow();
            (config.id.clone(), config.name.clone())
        };
        let membership = enrol(&self.data, (&id, &name), office, code).await?;
        self.files.write(&membership).map_err(here)?;
        self.membership = Some(membership);
        Ok(())
    }

    fn compared(&mut self) -> Result<(), EnrolError> {
        let mut membership = self.membership.clone().ok_or(EnrolError::Nothing)?;
        membership.compared()?;
        self.files.write(&membership).map_err(here)?;
        self.membership = Some(membership);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), EnrolError> {
        self.files.forget().map_err(here)?;
        self.membership = None;
        let _ = self.time.send_replace(None);
        info!("the station belongs to no office any more");
        // The daemon may be ending.
        let _ = self.wants.send(ToStation::Plans);
        Ok(())
    }

    /// Asks the office again and again until a clerk has confirmed.
    async fn wait_for_clerk(&mut self) -> Turned {
        loop {
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    Some(ask) => if self.answer(ask).await { return Turned::Anew },
                    None => return Turned::Over,
                },
                told = self.tells.recv() => match told {
                    Some(told) => self.note(told),
                    None => return Turned::Over,
                },
                () = tokio::time::sleep(ASK_CLERK) => {
                    match self.look_for_place().await {
                        Ok(true) => return Turned::Anew,
                        Ok(false) => self.fault = None,
                        Err(error) => self.fault = Some(error.said()),
                    }
                    self.show(None);
                }
            }
        }
    }

    /// Returns whether the office has taken the station in.
    async fn look_for_place(&mut self) -> Result<bool, EnrolError> {
        let Some(Membership { office, pin, standing: Standing::Asked(asking), heard }) = self.membership.clone() else {
            return Ok(true);
        };
        if !asking.compared {
            return Ok(false);
        }
        let key = journal::station_key(&self.data).map_err(here)?;
        let (Enrolled { place, .. }, _) =
            client::enrol(&office, pin, &key, (&asking.code, &asking.station, &asking.name)).await?;
        let Some(place) = place else { return Ok(false) };
        let pinned = Pinned::first(asking.root.as_bytes()).map_err(EnrolError::Root)?;
        let public = hex(key.verifying_key().as_bytes());
        let now = Moment { at: self.now().wall, known: *self.clock.borrow() != ClockState::Untrusted };
        let kept = Kept::enrolled(&pinned, &place, &public, now).map_err(EnrolError::Root)?;
        let membership = Membership { office, pin, heard, standing: Standing::Member(Box::new(kept)) };
        self.files.write(&membership).map_err(here)?;
        info!(office = membership.office, "the office has taken the station in");
        self.membership = Some(membership);
        Ok(true)
    }

    fn now(&self) -> Now {
        let reading = SystemClock.now();
        Now { since_boot: reading.since_boot, wall: reading.wall, clock: *self.clock.borrow() }
    }

    /// Shows how it stands.
    fn show(&self, link: Option<&Link>) {
        let mut view = self.membership.as_ref().map(View::of).unwrap_or_default();
        view.faults.extend(self.fault.clone());
        if let Some(link) = link {
            view.name = Some(link.pinned().root().office.clone());
            view.up = link.is_up();
            view.trouble = self.trouble.clone().filter(|_| !view.up);
            view.faults.extend(link.alarms().iter().map(|alarm| alarm_words(*alarm)));
        }
        self.shown.send_if_modified(|shown| {
            let changed = *shown != view;
            *shown = view;
            changed
        });
    }

    /// Tells what the office's clock showed at boot, where it has said so. A few milliseconds are not worth a word.
    fn tell_time(&self, link: &Link) {
        let Some((at, _)) = link.office_clock().at(Duration::ZERO) else { return };
        self.time.send_if_modified(|told| {
            let is_new = told.is_none_or(|told| told.duration_since(at).abs() > WORTH);
            if is_new {
                *told = Some(at);
            }
            is_new
        });
    }

    /// Speaks with the office until the station leaves it, or what is to be kept cannot be.
    async fn serve(&mut self) -> Turned {
        match self.begin() {
            Ok((link, client)) => {
                let serving = Serving::new(link, client, self.now());
                serving.live(self).await
            }
            Err(error) => {
                self.fault = Some(error.said());
                self.show(None);
                self.rest().await
            }
        }
    }

    fn begin(&mut self) -> Result<(Link, Client), EnrolError> {
        let Some(Membership { office, pin, standing: Standing::Member(kept), .. }) = &self.membership else {
            return Err(EnrolError::Nothing);
        };
        let key = journal::station_key(&self.data).map_err(here)?;
        let Place { station, .. } = kept.place.clone();
        let journal = self.data.join("journal.db");
        let link = Link::new((**kept).clone(), self.now(), &mut random).map_err(EnrolError::Root)?;
        let root = BlobId::of(link.pinned().envelope().payload());
        let client = Client::new((office, *pin, root), station, key, self.files.clone(), journal)?;
        Ok((link, client))
    }

    /// Waits a little, or until something is asked.
    async fn rest(&mut self) -> Turned {
        let rested = tokio::time::sleep(RETRY);
        tokio::pin!(rested);
        loop {
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    Some(ask) => if self.answer(ask).await { return Turned::Anew },
                    None => return Turned::Over,
                },
                told = self.tells.recv() => match told {
                    Some(told) => self.note(told),
                    None => return Turned::Over,
                },
                () = &mut rested => return Turned::Anew,
            }
        }
    }

    /// Makes a change durable.
    fn keep(&mut self, change: super::station::Change) -> std::io::Result<()> {
        let is_plan = matches!(change, super::station::Change::Plan { .. });
        let mut membership = self.membership.clone();
        if let Some(Membership { standing: Standing::Member(kept), .. }) = &mut membership {
            kept.apply(change);
        }
        if let Some(membership) = &membership {
            self.files.write(membership)?;
        }
        self.membership = membership;
        if is_plan {
            info!("another plan of the office is here, whole");
            // The daemon may be ending.
            let _ = self.wants.send(ToStation::Plans);
        }
        Ok(())
    }
}

/// Asks an office to take a station in; nothing is written.
async fn enrol(
    data: &std::path::Path,
    (id, name): (&str, &str),
    office: &str,
    code: &str,
) -> Result<Membership, EnrolError> {
    let office = client::address(office)?;
    let station = StationId::try_from(id.to_owned()).map_err(|_| EnrolError::Name(id.to_owned()))?;
    let key = journal::station_key(data).map_err(here)?;
    let code = code.trim().to_owned();
    let (enrolled, pin) = client::enrol(&office, None, &key, (&code, &station, name)).await?;
    Pinned::first(enrolled.root.as_bytes()).map_err(EnrolError::Root)?;
    let asking = Asking { code, station, name: name.to_owned(), root: enrolled.root, compared: false };
    Ok(Membership { office, pin: Some(pin), heard: None, standing: Standing::Asked(asking) })
}

fn random() -> u64 {
    // Where the system has none, stations may come back together and a nonce may be guessed; the link still works.
    getrandom::u64().unwrap_or_else(|_| u64::try_from(crate::clock::steady_nanos()).unwrap_or(1))
}

/// A link at work.
struct Serving {
    link: Link,
    client: Arc<Client>,
    /// Requests on their way.
    requests: BTreeMap<RequestId, AbortHandle>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    /// What requests in vain came to.
    troubles: (mpsc::UnboundedSender<Said>, mpsc::UnboundedReceiver<Said>),
    swept: Duration,
}

impl Serving {
    fn new(link: Link, client: Client, now: Now) -> Self {
        let (sender, events) = mpsc::channel(WAITING);
        let client = Arc::new(client);
        let (requests, troubles) = (BTreeMap::new(), mpsc::unbounded_channel());
        Self { link, client, requests, sender, events, troubles, swept: now.since_boot }
    }

    async fn live(mut self, shell: &mut Shell) -> Turned {
        let mut queue = VecDeque::from([Event::Woke]);
        queue.extend(rows(shell).await);
        queue.extend(shell.facts.clone().map(Event::Facts));
        loop {
            while let Some(event) = queue.pop_front() {
                if let Err(error) = self.take(shell, event, &mut queue) {
                    error!(%error, "what the office said cannot be kept on the disk; the link begins anew");
                    let (zh, en) = (
                        format!("镇中心的联络写不进磁盘（{error}），播出不受影响；请检查磁盘空间和权限"),
                        format!(
                            "what the office says cannot be written to the disk ({error}), the broadcast goes on; check disk space and permissions"
                        ),
                    );
                    shell.fault = Some(Said::new(zh, en));
                    shell.show(None);
                    drop(self);
                    return shell.rest().await;
                }
            }
            shell.show(Some(&self.link));
            shell.tell_time(&self.link);
            self.sweep(shell);
            let left = self.link.next_wake().saturating_sub(shell.now().since_boot).min(NAP);
            tokio::select! {
                biased; // What has happened comes before time moves on.
                ask = shell.asked.recv() => match ask {
                    Some(ask) => if shell.answer(ask).await { return Turned::Anew },
                    None => return Turned::Over,
                },
                told = shell.tells.recv() => match told {
                    Some(FromStation::Rows) => queue.extend(rows(shell).await),
                    Some(FromStation::Order(id, state)) => queue.push_back(Event::Order(id, state)),
                    Some(FromStation::Facts(facts)) => {
                        shell.facts = Some(facts.clone());
                        queue.push_back(Event::Facts(facts));
                    }
                    None => return Turned::Over,
                },
                Some(trouble) = self.troubles.1.recv() => shell.trouble = Some(trouble),
                Some(event) = self.events.recv() => queue.push_back(event),
                () = tokio::time::sleep(left) => queue.push_back(Event::Woke),
            }
        }
    }

    /// Hands one event to the link, and does what it asks for.
    fn take(&mut self, shell: &mut Shell, event: Event, queue: &mut VecDeque<Event>) -> std::io::Result<()> {
        self.heard(shell, &event);
        for action in self.link.handle(shell.now(), event, &mut random) {
            match action {
                Action::Keep(change) => shell.keep(*change)?,
                Action::Ask(id, call) => {
                    let (client, sender) = (Arc::clone(&self.client), self.sender.clone());
                    let troubles = self.troubles.0.clone();
                    let asking = tokio::spawn(async move {
                        let result = client.carry(id, call, &sender).await;
                        if let Err(error) = &result {
                            debug!(error = error as &dyn std::error::Error, id, "the office was asked in vain");
                            let _ = troubles.send(Said::new(error.to_string(), error.en()));
                        }
                        // The link may have begun anew.
                        let _ = sender.send(Event::Answered(id, client::answer(result))).await;
                    });
                    self.requests.insert(id, asking.abort_handle());
                }
                Action::Drop(id) => {
                    if let Some(request) = self.requests.remove(&id) {
                        request.abort();
                    }
                }
                Action::Look(blob, bytes) => queue.push_back(Event::Found(blob, shell.files.look(&blob, bytes))),
                Action::Store(blob, bytes) => {
                    if let Err(error) = shell.files.store(&blob, &bytes) {
                        // It is asked for like any other sound.
                        warn!(%error, "a sound that came with a command cannot be stored");
                    }
                }
                // The daemon may be ending.
                Action::Carry(errand) => drop(shell.wants.send(ToStation::Carry(errand))),
                Action::Alarm(alarm) => warn!("{}", alarm_words(alarm).zh),
                Action::Clear(_) => {}
            }
        }
        Ok(())
    }

    /// Notes that the office was heard, and which requests are over.
    fn heard(&mut self, shell: &mut Shell, event: &Event) {
        let is_word = match event {
            Event::Answered(id, answer) => {
                self.requests.remove(id);
                !matches!(answer, Answer::Failed)
            }
            Event::Watched(..) => true,
            _ => false,
        };
        if is_word {
            shell.fault = None;
            if let Some(membership) = &mut shell.membership {
                membership.heard = Some(SystemClock.now().wall);
            }
        }
    }

    fn sweep(&mut self, shell: &Shell) {
        let now = shell.now();
        if now.since_boot < self.swept + SWEEP || now.clock == ClockState::Untrusted {
            return;
        }
        self.swept = now.since_boot;
        let kept = self.link.kept();
        let mut wanted: BTreeSet<_> = self.link.staged_sounds().collect();
        for plan in kept.plans.values().filter_map(|plan| plan.plan().ok()) {
            wanted.extend(plan.audio.iter().map(|sound| sound.sha256));
        }
        shell.files.sweep(kept, &wanted, now.wall);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.requests.values().for_each(AbortHandle::abort);
    }
}

/// Returns how far the journal is, if it can be read.
async fn rows(shell: &Shell) -> Option<Event> {
    let file = shell.data.join("journal.db");
    let newest = async { Reader::open(&file).await?.newest().await };
    match newest.await {
        Ok(newest) => newest.map(|(epoch, newest)| Event::Rows { epoch, newest }),
        Err(error) => {
            debug!(error = &error as &dyn std::error::Error, "the journal cannot be read");
            None
        }
    }
}

/// An alarm in the words of whoever reads, with its remedy.
pub fn alarm_words(alarm: Alarm) -> Said {
    let source = |source: Source| (source.said(Language::Chinese), source.said(Language::English));
    match alarm {
        Alarm::OfficeSilent => Said::new(
            "一星期没有收到镇中心签过名的消息，播出照常；请检查网络，或打电话问镇中心",
            "nothing that the office signed has come for a week, the broadcast goes on; check the network, or telephone the office",
        ),
        Alarm::ClocksDiffer => Said::new(
            "本机时间与镇中心的时间相差超过五分钟，其中一个不对；请校准本机时间，本机没有错就告诉镇中心校准",
            "this machine's clock and the office's are more than five minutes apart; set this machine's, or tell the office to set its own if this one is right",
        ),
        Alarm::PlanOverdue(of) => {
            let (zh, en) = source(of);
            Said::new(
                format!("{zh}下发的计划已过复核日期，仍在播出；请提醒{zh}复核并重新发布"),
                format!(
                    "the plan of {en} is past its review and plays on; remind {en} to look at it and publish it again"
                ),
            )
        }
        Alarm::JournalTurned(Turn::Fork) => Said::new(
            "镇中心收到过另一台电脑以本站名义写的播出记录；请联系镇中心确认哪一台是真的，换过电脑或恢复过备份的要重新加入",
            "another machine has written this station's journal; ask the office which one is real, and enrol again after a change of machine or a restore",
        ),
        Alarm::JournalTurned(Turn::Broken) => Said::new(
            "镇中心查出本站的播出记录前后接不上，没有收下；请在本站执行 dalaba journal --verify，并把结果告诉镇中心",
            "the office finds a break in this station's journal and does not take it; run dalaba journal --verify here and tell the office the result",
        ),
        Alarm::JournalTurned(Turn::Unknown) => Said::new(
            "镇中心不认识本站的播出记录或密钥，没有收下；请联系镇中心确认，必要时退出后重新加入",
            "the office knows another journal or key of this station and does not take this one; ask the office, and enrol again if need be",
        ),
    }
}

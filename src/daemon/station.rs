//! The loop of a running station: one event after the other, the actions of each in order.

use super::{
    Control, RETRY, Snapshot, Vitals, amplifier, at_next_start,
    handle::{self, Ask},
    ledger::Ledger,
    limits,
    office::Office,
    self_test,
    speaker::{self, FromSpeaker, ToSpeaker},
    time::StationClock,
};
use crate::{
    clock::Clock,
    conductor::{Action, Alarm, Conductor, Event},
    config::Config,
    ending::asked_to_end,
    home::{Assembled, Home, Texts, assemble},
    journal::SelfTest,
    link::shell,
    plan::{ClipState, Clips, Occurrence, Program, Verdict, plan},
    schedule::{ClipPath, Finding},
    speaker::protocol::{Order, Word},
    text::Said,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

/// Everything that one running station holds.
pub(super) struct Station {
    pub(super) home: Home,
    pub(super) program_file: PathBuf,
    pub(super) clock: StationClock,
    /// The station file that the daemon began with.
    pub(super) began: Config,
    /// The one in force.
    pub(super) config: Config,
    /// Shows the one in force to the views.
    pub(super) shown: watch::Sender<Arc<Config>>,
    /// The command line says where the page is.
    pub(super) listens_elsewhere: bool,
    pub(super) conductor: Conductor,
    pub(super) ledger: Ledger,
    /// What the home held when it was last read.
    pub(super) read: (Texts, Vec<Finding>),
    /// What the library knows.
    pub(super) sounds: Clips,
    pub(super) office: Office,
    /// A version that takes effect once it can be kept on disk.
    pub(super) unkept: Option<Assembled>,
    pub(super) assembled: Assembled,
    /// The program that the conductor has.
    pub(super) program: Arc<Program>,
    pub(super) library_findings: Vec<Finding>,
    pub(super) imported: bool,
    pub(super) orders: mpsc::UnboundedSender<ToSpeaker>,
    pub(super) needs: mpsc::Sender<amplifier::Need>,
    pub(super) wanted: mpsc::Sender<Vec<ClipPath>>,
    pub(super) answers: BTreeMap<u64, oneshot::Sender<Result<crate::conductor::Done, crate::conductor::Refusal>>>,
    pub(super) asked: u64,
    pub(super) speaker_answers: bool,
    pub(super) alarms: BTreeSet<Alarm>,
    pub(super) page: Option<Control>,
    pub(super) page_fault: Option<Said>,
    /// What the sound server says is wrong with the output.
    pub(super) output_fault: Option<Said>,
    pub(super) self_test: Option<SelfTest>,
    /// When a self-test was last asked for.
    pub(super) test_asked: Option<Timestamp>,
    pub(super) announced: bool,
    pub(super) signed_hour: Option<i64>,
    pub(super) vitals: Vitals,
    /// Bytes free where the journal grows.
    pub(super) disk_free: Option<u64>,
}

impl Station {
    pub(super) async fn live(
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
        let shutdown = asked_to_end();
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
    pub(super) async fn handle(&mut self, event: Event) {
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
    pub(super) async fn reread(&mut self) {
        let read = self.home.read();
        if read != self.read {
            self.read = read;
            self.take_texts().await;
        }
        self.want_clips().await;
    }

    /// Makes what was read into values and puts what is new in force.
    pub(super) async fn take_texts(&mut self) {
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
    pub(super) async fn reprogram(&mut self) {
        let program = Arc::new(self.assembled.program.clone());
        self.program = Arc::clone(&program);
        let revision = self.assembled.revision.clone();
        self.handle(Event::Reprogrammed { program, revision }).await;
    }

    /// Asks the library to look, the clips of the next day first.
    pub(super) async fn want_clips(&mut self) {
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

    pub(super) fn keep_version(&mut self) {
        if let Err(error) = self.home.keep(&self.assembled.version()) {
            error!(%error, "the schedules in force cannot be kept on disk");
        }
    }

    /// Carries actions out, in order.
    pub(super) async fn perform(&mut self, actions: Vec<Action>) {
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
    pub(super) fn self_test_fault(&self) -> Option<Said> {
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

pub(super) fn alarm_words(alarm: Alarm) -> Said {
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

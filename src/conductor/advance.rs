//! What the moment asks of the speaker: who ends, who re-enters, who starts, who is armed, and when to look again.

use super::{
    live::{Unready, alike, blank, frames, is_asked, segments},
    *,
};
use crate::speaker::protocol::Playout;

/// What is armed counts as heard from so long before its start: a crash later than this never plays it again.
const MARK: SignedDuration = SignedDuration::from_millis(250);
/// Whatever must make way ends so long before the start of what cuts it.
const CUT: SignedDuration = SignedDuration::from_secs(1);
/// Background goes down so long before the start of what it goes under.
const DUCK: SignedDuration = SignedDuration::from_millis(300);
/// −12 dB.
const DUCKED: f32 = 0.251_188_64;
/// The speaker makes progress at least so often, or is replaced.
const PATIENCE: Duration = Duration::from_secs(2);
/// It may take so long from being asked to the first sample, as a busy machine takes to open a device: what is played by
/// hand was not armed ahead.
const OPENING: Duration = Duration::from_secs(5);
/// How long after the end of what it waited for a start still counts from that end.
const FOLLOWS: SignedDuration = SignedDuration::from_secs(2);

/// Returns how long the speaker may go without showing progress.
fn patience(live: &Live) -> Duration {
    if live.phase == Phase::Armed { OPENING } else { PATIENCE }
}

impl Conductor {
    /// Does what the moment asks for.
    pub(super) fn advance(&mut self, now: &Reading) {
        self.expire_silences(now);
        self.decide(now);
        self.enforce(now);
        self.reenter(now);
        self.replace_stalled(now);
        self.expire_waiting(now);
        self.preempt(now);
        self.start(now);
        self.mark(now);
        self.duck(now);
        self.tick(now);
        self.wake = self.wake_after(now);
    }

    fn expire_silences(&mut self, now: &Reading) {
        for silence in [&mut self.stopped, &mut self.hushed] {
            if silence.as_ref().is_some_and(|silence| silence.until <= now.wall) {
                *silence = None;
                self.unticked = true;
            }
        }
        if self.safe_until.is_some_and(|until| until <= now.wall) {
            self.safe_until = None;
            self.clear(Alarm::SafeMode);
        }
    }

    /// Ends what the gate no longer lets through.
    fn enforce(&mut self, now: &Reading) {
        let gate = self.gate();
        let mut refused: Vec<(OccurrenceId, Reason)> = Vec::new();
        for live in &self.live {
            let at = now.wall.max(live.begins());
            if let Some(reason) = gate.refuses(live.band(), at)
                && !matches!(live.phase, Phase::Ending(Then::Cut(_)))
            {
                refused.push((live.id().clone(), reason));
            }
        }
        for (id, reason) in refused {
            self.cut(now, &id, reason);
        }
    }

    /// Ends an announcement for good, whether or not the speaker has it.
    pub(super) fn cut(&mut self, now: &Reading, id: &OccurrenceId, reason: Reason) {
        let broken = self.live.iter().position(|live| live.id() == id && live.phase == Phase::Interrupted);
        match broken {
            Some(place) => {
                let live = self.live.remove(place);
                self.ended_by_order(now, live, Then::Cut(reason), now.wall);
            }
            None => self.end(now, id, Then::Cut(reason)),
        }
    }

    /// Plays on what broke off, at the place where the clock says it now is, or closes it.
    fn reenter(&mut self, now: &Reading) {
        if self.live.iter().all(|live| live.phase != Phase::Interrupted) {
            return;
        }
        for mut live in std::mem::take(&mut self.live) {
            if live.phase != Phase::Interrupted {
                self.live.push(live);
                continue;
            }
            let begun = live.sounded;
            let longest = live.running.playout.not_after.filter(|(_, reason)| *reason == Reason::MaxLength);
            let longest = longest.map(|(at, _)| at.duration_since(live.running.start));
            let is_over = if begun { live.over() <= now.wall } else { now.wall > deadline(&live.occurrence) };
            if is_over {
                self.conclude(now, live, None, now.wall);
                continue;
            }
            let is_held = live.scheduled && self.doubt.is_some();
            if is_held || self.device_name().is_none() {
                self.live.push(live);
                continue;
            }
            if begun {
                live.running.playout.skip_frames = frames(now.wall.duration_since(live.running.start));
                live.running.seen = live.running.seen.max(now.wall);
            } else {
                let start = live.running.start.max(now.wall);
                live.running.start = start;
                live.running.playout.start = start;
                live.marked = false;
            }
            live.running.playout.not_after = Some(self.ends(live.band(), live.running.start, longest));
            live.phase = Phase::Armed;
            live.alive = now.awake;
            self.actions.push(Action::Begin(Box::new(live.running.clone())));
            self.actions.push(Action::Play { playout: live.running.playout.clone() });
            self.live.push(live);
        }
    }

    /// Replaces a speaker that should make progress and does not.
    fn replace_stalled(&mut self, now: &Reading) {
        if self.replacing {
            return;
        }
        let is_stalled = |live: &Live| {
            let is_due = match live.phase {
                Phase::Interrupted => false,
                Phase::Armed => now.wall.duration_since(live.begins()) > signed(PATIENCE),
                Phase::Sounding | Phase::Ending(_) => true,
            };
            is_due && now.awake.saturating_sub(live.alive) > patience(live)
        };
        if self.live.iter().any(is_stalled) {
            self.replacing = true;
            self.device = Device::Opening;
            self.actions.push(Action::ReplaceSpeaker);
        }
    }

    /// Settles what waited too long, or may no longer start.
    fn expire_waiting(&mut self, now: &Reading) {
        if self.waiting.is_empty() {
            return;
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let occurrence = &waiting.owed.occurrence;
            let settled = if let Some(reason) = self.gate().refuses(occurrence.band, now.wall) {
                Some((Outcome::Skipped, reason))
            } else if waiting.asked.is_none() && self.is_safe(now.wall) {
                Some((Outcome::Missed, Reason::SafeMode))
            } else if now.wall > deadline(occurrence) {
                let outcome = if waiting.blocked == Reason::Overlap { Outcome::Skipped } else { Outcome::Missed };
                Some((outcome, waiting.blocked))
            } else if let Err(Unready::Gone(reason)) = segments(self.timeline.program(), occurrence) {
                Some((Outcome::Missed, reason))
            } else {
                None
            };
            match settled {
                Some((outcome, reason)) => {
                    self.finish_unheard(now, &waiting.owed, waiting.asked.as_ref(), outcome, reason);
                }
                None => self.waiting.push(waiting),
            }
        }
    }

    /// Makes way for what is more pressing.
    fn preempt(&mut self, now: &Reading) {
        if self.live.is_empty() {
            return;
        }
        let mut cut: BTreeSet<OccurrenceId> = BTreeSet::new();
        let soon = self.armable(now, CUT);
        for next in self.waiting.iter().map(|waiting| &waiting.owed.occurrence).chain(&soon) {
            for live in &self.live {
                let is_over = matches!(live.phase, Phase::Ending(_));
                if !is_over && live.id() != &next.id && yields(&live.occurrence, next) && self.can_play(next) {
                    cut.insert(live.id().clone());
                }
            }
        }
        for id in cut {
            self.cut(now, &id, Reason::Preempted);
        }
    }

    fn can_play(&self, occurrence: &Occurrence) -> bool {
        self.device_name().is_some() && segments(self.timeline.program(), occurrence).is_ok()
    }

    /// Returns what falls due within `lead` and may be handed to the speaker, in the order of the plan.
    fn armable(&self, now: &Reading, lead: SignedDuration) -> Vec<Occurrence> {
        if self.doubt.is_some() || self.recalling > 0 {
            return Vec::new();
        }
        let gate = self.gate();
        self.timeline
            .ahead(now.wall, plus(now.wall, lead))
            .iter()
            .filter(|next| {
                next.verdict == Verdict::Play
                    && !self.decided.contains_key(&next.id)
                    && !self.live.iter().any(|live| *live.id() == next.id)
                    && gate.refuses(next.band, next.due).is_none()
                    && !self.is_safe(next.due)
            })
            .cloned()
            .collect()
    }

    /// Begins what may begin: first what waits, the most pressing first, then what falls due within the lead.
    fn start(&mut self, now: &Reading) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by_cached_key(|waiting| rank(&waiting.owed.occurrence));
        for mut waiting in waiting {
            match self.obstacle(&waiting.owed.occurrence) {
                Some(reason) => {
                    waiting.blocked = reason;
                    self.waiting.push(waiting);
                }
                None => self.begin(now, waiting),
            }
        }
        for occurrence in self.armable(now, self.limits.lead) {
            if self.obstacle(&occurrence).is_none() {
                let owed = Owed { occurrence, revision: self.timeline.revision().to_owned() };
                self.begin(now, Waiting { owed, asked: None, blocked: Reason::DeviceUnavailable });
            }
        }
    }

    /// Returns what keeps an occurrence from starting now.
    fn obstacle(&self, occurrence: &Occurrence) -> Option<Reason> {
        let is_under_emergency = self.live.iter().any(|live| live.band() == Band::Emergency);
        let is_over_background = occurrence.band == Band::Emergency && !self.live.is_empty();
        if self.slot(occurrence.band).is_some() || is_under_emergency || is_over_background {
            return Some(Reason::Overlap);
        }
        if self.device_name().is_none() {
            return Some(Reason::DeviceUnavailable);
        }
        segments(self.timeline.program(), occurrence).is_err().then_some(Reason::ClipMissing)
    }

    /// Returns when a sound that starts at `start` must be over, and why; it may be meant to last no longer than `longest`.
    fn ends(&self, band: Band, start: Timestamp, longest: Option<SignedDuration>) -> (Timestamp, Reason) {
        let gate = self.gate().not_after(band, start);
        let own = longest.map(|longest| (plus(start, longest), Reason::MaxLength));
        own.map_or(gate, |own| own.min(gate))
    }

    fn begin(&mut self, now: &Reading, waiting: Waiting) {
        let Waiting { owed: Owed { occurrence, revision }, asked, .. } = waiting;
        let program = Arc::clone(self.timeline.program());
        let Ok(segments) = segments(&program, &occurrence) else { return };
        let freed = self.freed[slot_of(occurrence.band)].filter(|freed| *freed >= plus(now.wall, -FOLLOWS));
        let start = if occurrence.due > now.wall {
            occurrence.due
        } else {
            freed.map_or(now.wall, |freed| freed.max(occurrence.due))
        };
        let start = if occurrence.due <= plus(now.wall, -FOLLOWS) && freed.is_none() { now.wall } else { start };
        let volume = self.volume_of(&occurrence);
        let ducked = occurrence.band == Band::Background && self.is_over_background(now);
        let mut entry = blank(&program, &occurrence, &revision, volume, self.clock, now.wall);
        let expected = super::live::length(segments.iter().map(|segment| segment.frames).sum());
        entry.expected_ms = i64::try_from(expected.as_millis()).unwrap_or(i64::MAX);
        entry.operator = asked.as_ref().map(|asked| asked.operator.clone());
        entry.note = asked.as_ref().and_then(|asked| asked.note.clone());
        let marked = start <= plus(now.wall, MARK);
        let playout = Playout {
            occurrence: occurrence.id.clone(),
            band: occurrence.band,
            segments,
            start,
            skip_frames: 0,
            gain: volume.gain() * if ducked { DUCKED } else { 1.0 },
            not_after: Some(self.ends(occurrence.band, start, asked.as_ref().and_then(|asked| asked.longest))),
        };
        let seen = if marked { start.max(now.wall) } else { now.wall };
        let running = Running { entry, start, seen, playout: playout.clone(), interrupted: None, deaths: 0 };
        self.actions.push(Action::Begin(Box::new(running.clone())));
        self.actions.push(Action::Play { playout });
        self.live.push(Live {
            scheduled: !is_asked(&running.entry),
            occurrence,
            running,
            phase: Phase::Armed,
            before: 0,
            energy: 0.0,
            frames: 0,
            level: None,
            sounded: false,
            marked,
            alive: now.awake,
            saved: now.awake,
            ducked,
        });
    }

    /// Tells the journal what is about to sound, so that a crash from here on never plays it again from the start.
    fn mark(&mut self, now: &Reading) {
        for live in &mut self.live {
            if live.phase == Phase::Armed && !live.marked && live.begins() <= plus(now.wall, MARK) {
                live.marked = true;
                live.running.seen = live.running.start.max(now.wall);
                self.actions.push(Action::Progress(Box::new(live.running.clone())));
            }
        }
    }

    /// Turns background down under what sounds above it, and up again.
    fn duck(&mut self, now: &Reading) {
        if self.live.iter().all(|live| live.band() != Band::Background) {
            return;
        }
        let is_under = self.is_over_background(now);
        let volumes: Vec<Volume> = self.live.iter().map(|live| self.volume_of(&live.occurrence)).collect();
        for (live, volume) in self.live.iter_mut().zip(volumes) {
            if live.band() == Band::Background && live.ducked != is_under && live.phase != Phase::Interrupted {
                live.ducked = is_under;
                let gain = volume.gain() * if is_under { DUCKED } else { 1.0 };
                live.running.playout.gain = gain;
                self.actions.push(Action::Gain { occurrence: live.id().clone(), gain });
            }
        }
    }

    fn is_over_background(&self, now: &Reading) -> bool {
        self.live.iter().any(|live| {
            live.band() > Band::Background
                && match live.phase {
                    Phase::Armed => live.begins() <= plus(now.wall, DUCK),
                    Phase::Sounding | Phase::Ending(_) => true,
                    Phase::Interrupted => false,
                }
        })
    }

    /// Sets the volume of everything that sounds.
    pub(super) fn set_gains(&mut self) {
        let volumes: Vec<Volume> = self.live.iter().map(|live| self.volume_of(&live.occurrence)).collect();
        for (live, volume) in self.live.iter_mut().zip(volumes) {
            let gain = volume.gain() * if live.ducked { DUCKED } else { 1.0 };
            live.running.playout.gain = gain;
            live.running.entry.volume = volume.percent();
            if live.phase != Phase::Interrupted {
                self.actions.push(Action::Gain { occurrence: live.id().clone(), gain });
            }
        }
    }

    /// The program changed: what is armed and no longer owed as it stands is withdrawn.
    pub(super) fn rearm(&mut self, now: &Reading) {
        self.timeline.look(now.wall);
        let program = Arc::clone(self.timeline.program());
        let mut withdrawn = Vec::new();
        for live in &self.live {
            let is_open =
                live.scheduled && live.phase == Phase::Armed && !live.marked && live.occurrence.due > now.wall;
            if !is_open {
                continue;
            }
            let due = live.occurrence.due;
            let next = self.timeline.ahead(now.wall, due).iter().find(|next| next.id == *live.id());
            let stands = next.is_some_and(|next| {
                let gain = self.volume_of(next).gain() * if live.ducked { DUCKED } else { 1.0 };
                *next == live.occurrence
                    && segments(&program, next).is_ok_and(|segments| alike(&live.running.playout, &segments, gain))
            });
            if !stands {
                withdrawn.push(live.id().clone());
            }
        }
        for id in withdrawn {
            self.end(now, &id, Then::Withdraw);
        }
    }

    /// Tells the journal how far everything is decided.
    fn tick(&mut self, now: &Reading) {
        let is_time = self.ticked.is_none_or(|ticked| now.since_boot.saturating_sub(ticked) >= TICK);
        if !is_time && !self.unticked {
            return;
        }
        self.ticked = Some(now.since_boot);
        let has_decided = std::mem::take(&mut self.unticked);
        let waiting = self.waiting.iter().filter(|waiting| waiting.asked.is_none());
        let waiting = waiting.map(|waiting| waiting.owed.occurrence.due);
        let armed = self.live.iter().filter(|live| live.scheduled && !live.marked);
        let open = waiting.chain(armed.map(|live| live.occurrence.due)).min();
        let at = self.cursor.map(|cursor| open.map_or(cursor, |open| open.min(cursor)));
        if let Some(at) = at.filter(|_| has_decided) {
            self.timeline.forget(at);
            let kept = plus(at, -KEPT);
            self.decided.retain(|_, due| *due >= kept);
        }
        self.actions.push(Action::Tick(Tick {
            at,
            newest: self.trust.newest(),
            stopped: self.stopped.clone(),
            hushed: self.hushed.clone(),
            volume: self.volume,
        }));
    }

    /// Returns when something may have to happen next.
    fn wake_after(&self, now: &Reading) -> Timestamp {
        let mut wake = plus(now.wall, signed(TICK));
        let mut at = |moment: Timestamp| {
            if moment > now.wall {
                wake = wake.min(moment);
            }
        };
        let before = |moment: Timestamp, by: SignedDuration| plus(moment, -by);
        let silences = self.stopped.iter().chain(&self.hushed).map(|silence| silence.until);
        silences.chain(self.safe_until).for_each(&mut at);
        if self.doubt.is_none() {
            for next in self.timeline.ahead(now.wall, plus(plus(now.wall, signed(TICK)), self.limits.lead)) {
                for lead in [self.limits.lead, CUT, SignedDuration::ZERO] {
                    at(before(next.due, lead));
                }
            }
        }
        for waiting in &self.waiting {
            at(plus(deadline(&waiting.owed.occurrence), INSTANT));
        }
        for live in &self.live {
            let stalls = plus(now.wall, signed(patience(live).saturating_sub(now.awake.saturating_sub(live.alive))));
            match live.phase {
                Phase::Armed => {
                    at(before(live.begins(), MARK));
                    at(before(live.begins(), DUCK));
                    if !self.replacing {
                        at(plus(plus(live.begins(), signed(PATIENCE)).max(stalls), INSTANT));
                    }
                }
                Phase::Sounding | Phase::Ending(_) if self.replacing => {}
                Phase::Sounding | Phase::Ending(_) => at(plus(stalls, INSTANT)),
                Phase::Interrupted if live.sounded => at(live.over()),
                Phase::Interrupted => at(plus(deadline(&live.occurrence), INSTANT)),
            }
            if let Some((moment, _)) = live.running.playout.not_after {
                at(moment);
            }
        }
        wake
    }
}

/// Returns whether what is begun makes way for `next`.
fn yields(live: &Occurrence, next: &Occurrence) -> bool {
    if slot_of(live.band) != slot_of(next.band) {
        return next.band == Band::Emergency;
    }
    next.band > live.band || (next.hard && next.band == live.band && next.due > live.due)
}

fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}

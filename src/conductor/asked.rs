//! What a person may ask, and the answer: exactly one for each.

use super::{
    live::{MANUAL, Unready, length, segments},
    *,
};
use crate::plan::Clips;
use crate::schedule::{Pick, PlayPath};

/// How long a play asked for by a person waits its turn.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

impl Conductor {
    pub(super) fn obey(&mut self, now: &Reading, command: Command) -> Result<Done, Refusal> {
        match command {
            Command::Play { id, what, operator, emergency, note } => {
                self.play(now, id, &what, emergency, Asked { operator, note, longest: None })
            }
            Command::Stop { operator } => Ok(self.stop(now, operator, false)),
            Command::Order(order) => Ok(self.order(now, *order)),
            Command::Silence { only, spares_emergencies, operator } => {
                Ok(self.silence(now, only.as_ref(), spares_emergencies, operator))
            }
            Command::Release { .. } => {
                self.stopped = None;
                self.unticked = true;
                Ok(Done::Released)
            }
            Command::Hush { until, operator, note } => self.hush(now, Silence { until, operator, note }),
            Command::Volume { volume, .. } => self.set_volume(volume),
            Command::ConfirmClock { .. } => {
                self.trust.confirm(now);
                let clock = self.trust.judge(now);
                self.believe(now, clock);
                Ok(Done::Confirmed)
            }
        }
    }

    /// Ends what sounds and what waits, an emergency too unless it is spared, and holds.
    pub(super) fn stop(&mut self, now: &Reading, operator: String, spares_emergencies: bool) -> Done {
        let until = plus(now.wall, gate::STOP);
        self.stopped = Some(Silence { until, operator, note: None });
        self.unticked = true;
        let is_spared = |band: Band| spares_emergencies && band == Band::Emergency;
        let sounding: Vec<_> =
            self.live.iter().filter(|live| !is_spared(live.band())).map(|live| live.id().clone()).collect();
        for id in sounding {
            self.cut(now, &id, Reason::Stopped);
        }
        for waiting in std::mem::take(&mut self.waiting) {
            if is_spared(waiting.owed.occurrence.band) {
                self.waiting.push(waiting);
                continue;
            }
            self.finish_unheard(now, &waiting.owed, waiting.asked.as_ref(), Outcome::Skipped, Reason::Stopped);
        }
        Done::Stopped(until)
    }

    fn hush(&mut self, now: &Reading, hush: Silence) -> Result<Done, Refusal> {
        let until = hush.until;
        if until > plus(now.wall, gate::HUSH) {
            return Err(Refusal::HushTooLong);
        }
        self.unticked = true;
        if until <= now.wall {
            self.hushed = None;
            return Ok(Done::Unhushed);
        }
        self.hushed = Some(hush);
        Ok(Done::Hushed(until))
    }

    fn set_volume(&mut self, volume: Volume) -> Result<Done, Refusal> {
        if volume > self.limits.ceiling {
            return Err(Refusal::AboveCeiling(self.limits.ceiling.percent()));
        }
        self.volume = Some(SetVolume { volume, instead_of: self.limits.volume });
        self.unticked = true;
        self.set_gains();
        Ok(Done::Volume(volume.percent()))
    }

    fn play(
        &mut self,
        now: &Reading,
        id: OccurrenceId,
        what: &Playable,
        emergency: bool,
        asked: Asked,
    ) -> Result<Done, Refusal> {
        if self.knows(&id) {
            return Ok(Done::Playing(id));
        }
        if emergency && asked.note.as_ref().is_none_or(|note| note.trim().is_empty()) {
            return Err(Refusal::NoNote);
        }
        let band = if emergency { Band::Emergency } else { Band::Urgent };
        let occurrence = self.by_hand(now, id.clone(), what, band)?;
        let until = |silence: Option<&Silence>| silence.map_or(now.wall, |silence| silence.until);
        match self.gate().refuses(band, now.wall) {
            Some(Reason::Stopped) => return Err(Refusal::Stopped(until(self.stopped.as_ref()))),
            Some(Reason::Hushed) => return Err(Refusal::Hushed(until(self.hushed.as_ref()))),
            Some(_) => return Err(Refusal::QuietHours),
            None => {}
        }
        if self.live.iter().any(|live| live.band() > band) {
            return Err(Refusal::Busy);
        }
        if self.device == Device::Missing {
            return Err(Refusal::NoDevice);
        }
        let owed = Owed { occurrence, revision: self.timeline.revision().to_owned() };
        self.waiting.push(Waiting { owed, asked: Some(asked), blocked: Reason::DeviceUnavailable });
        Ok(Done::Playing(id))
    }

    /// Returns whether a play by this name is over, sounds, or waits.
    pub(super) fn knows(&self, id: &OccurrenceId) -> bool {
        self.decided.contains_key(id)
            || self.live.iter().any(|live| live.id() == id)
            || self.waiting.iter().any(|waiting| waiting.owed.occurrence.id == *id)
    }

    /// Returns the occurrence of a play by hand, if all of its sounds are there.
    fn by_hand(&self, now: &Reading, id: OccurrenceId, what: &Playable, band: Band) -> Result<Occurrence, Refusal> {
        let program = self.timeline.program();
        let local = program.zone.to_datetime(now.wall);
        let (announcement, title, chime, clips, volume, screen) = match what {
            Playable::Clip(path) => {
                let name = path.to_string();
                let clip = program.clips.get(path).ok_or_else(|| Refusal::Unknown(name.clone()))?;
                (name, clip.title.clone(), None, vec![path.clone()], Volume::FULL, None)
            }
            Playable::Announcement(name) => {
                let found = program.schedules.iter().find_map(|schedule| schedule.announcements.get(name));
                let found = found.ok_or_else(|| Refusal::Unknown(name.clone()))?;
                let clips = picked(&program.clips, &found.play, found.pick, local.date());
                (name.clone(), found.title.clone(), found.chime.clone(), clips, found.volume, found.screen.clone())
            }
        };
        let mut occurrence = Occurrence {
            id,
            source: Source::Station,
            schedule: MANUAL.to_owned(),
            announcement,
            title,
            due: now.wall,
            local,
            start: now.wall,
            band,
            chime,
            clips,
            expected: SignedDuration::ZERO,
            grace: PATIENCE,
            hard: false,
            volume,
            screen,
            verdict: Verdict::Play,
        };
        let name = occurrence.announcement.clone();
        let segments = segments(program, &occurrence).map_err(|unready| match unready {
            Unready::Pending => Refusal::NotReady(name, "正在导入，请稍候".to_owned()),
            Unready::Gone(Reason::ClipCorrupt) => Refusal::NotReady(name, "音频损坏，请重新上传".to_owned()),
            Unready::Gone(_) => Refusal::NotReady(name, "缺少音频，请先上传".to_owned()),
        })?;
        occurrence.expected = length(segments.iter().map(|segment| segment.frames).sum());
        Ok(occurrence)
    }
}

/// Returns the clips of an announcement played by hand: all of them, or the first of the day's turn.
fn picked(clips: &Clips, play: &[PlayPath], pick: Pick, date: jiff::civil::Date) -> Vec<crate::schedule::ClipPath> {
    let mut paths = clips.expand(play);
    paths.retain(|path| clips.get(path).is_none_or(|clip| clip.is_valid_on(date)));
    if pick == Pick::All || paths.is_empty() {
        return paths;
    }
    let days = date.duration_since(jiff::civil::Date::constant(1970, 1, 1)).as_secs().div_euclid(86_400);
    let turn = usize::try_from(days.unsigned_abs()).unwrap_or(0) % paths.len();
    vec![paths.swap_remove(turn)]
}

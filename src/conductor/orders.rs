//! What an office orders. It can make the station say something or be silent, and never gets past the station's own limits:
//! quiet hours, closed days, hush and stop hold for everything below an emergency, the ceiling for all of it.
//!
//! Always true: an order that has come this far has exactly one entry, by its name, however often it comes.

use super::{live::COMMAND, *};

impl Conductor {
    pub(super) fn order(&mut self, now: &Reading, order: Order) -> Done {
        let id = order.id.clone();
        self.take_up(now, &id);
        if self.knows(&id) {
            return Done::Playing(id);
        }
        let local = self.timeline.program().zone.to_datetime(now.wall);
        let left = order.until.checked_sub(now.since_boot).map(SignedDuration::try_from);
        let grace = left.map(|left| left.unwrap_or(SignedDuration::MAX)).filter(|left| left.is_positive());
        let occurrence = Occurrence {
            id: id.clone(),
            source: Source::Town,
            schedule: COMMAND.to_owned(),
            announcement: id.as_str().rsplit('/').next().unwrap_or_default().to_owned(),
            title: order.title,
            due: now.wall,
            local,
            start: now.wall,
            band: order.band,
            chime: None,
            expected: order.clips.iter().filter_map(|path| self.timeline.program().clips.get(path)?.length()).sum(),
            clips: order.clips,
            grace: grace.unwrap_or_default(),
            hard: false,
            volume: order.volume,
            screen: order.screen,
            verdict: Verdict::Play,
        };
        let asked = Asked { operator: order.operator, note: order.note, longest: Some(order.longest) };
        let fate = match grace {
            None => Some((Outcome::Skipped, Reason::Expired)),
            Some(_) => self.refuses_order(now, &occurrence),
        };
        let owed = Owed { occurrence, revision: self.timeline.revision().to_owned() };
        match fate {
            Some((outcome, reason)) => self.finish_unheard(now, &owed, Some(&asked), outcome, reason),
            None => self.waiting.push(Waiting { owed, asked: Some(asked), blocked: Reason::DeviceUnavailable }),
        }
        Done::Playing(id)
    }

    /// Returns why an order is not begun here, whatever its deadline.
    fn refuses_order(&self, now: &Reading, occurrence: &Occurrence) -> Option<(Outcome, Reason)> {
        if occurrence.band == Band::Emergency {
            return None;
        }
        // Nobody can tell whether it is night; a person at the machine could.
        if self.doubt.is_some() {
            return Some((Outcome::Missed, Reason::ClockUntrusted));
        }
        if self.timeline.program().closed.contains(&occurrence.local.date()) {
            return Some((Outcome::Skipped, Reason::Cancelled));
        }
        self.gate().refuses(occurrence.band, now.wall).map(|reason| (Outcome::Skipped, reason))
    }

    pub(super) fn silence(
        &mut self,
        now: &Reading,
        only: Option<&OccurrenceId>,
        spares_emergencies: bool,
        operator: String,
    ) -> Done {
        let Some(id) = only else { return self.stop(now, operator, spares_emergencies) };
        self.take_up(now, id);
        let is_spared = |band: Band| spares_emergencies && band == Band::Emergency;
        if self.live.iter().any(|live| live.id() == id && !is_spared(live.band())) {
            self.cut(now, id, Reason::Stopped);
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let Occurrence { id: waits, band, .. } = &waiting.owed.occurrence;
            if waits == id && !is_spared(*band) {
                self.finish_unheard(now, &waiting.owed, waiting.asked.as_ref(), Outcome::Skipped, Reason::Superseded);
            } else {
                self.waiting.push(waiting);
            }
        }
        Done::Stopped(now.wall)
    }

    /// Takes over an order that the last daemon had begun, though nobody knows the time yet.
    fn take_up(&mut self, now: &Reading, id: &OccurrenceId) {
        if let Some(at) = self.held.iter().position(|running| running.entry.occurrence == *id) {
            let running = self.held.remove(at);
            self.resume(now, running);
        }
    }
}

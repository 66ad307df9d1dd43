//! The watch: opened, held, given up, opened again.
//!
//! A stream says hello at once and a heartbeat every 25 s. A box in the middle that holds streams back until they end shows
//! as a stream that says nothing for 10 s. Then the office is asked by long poll; if that is answered the line is good and
//! the box is to blame, and polls go on for a day. If it is not, the line was dead, and the next try is a stream again.
//!
//! A line that is cut without a word shows as a minute without a heartbeat.

use super::event::Action;
use super::{
    super::{
        journal::Acked,
        protocol::{Wanted, WatchEvent},
        time::Nonce,
    },
    Answer, Call, Link, Now, RequestId, Revision,
    lane::{Random, jitter},
};
use std::time::Duration;

/// A stream that says nothing for so long is held back.
const SPEECHLESS: Duration = Duration::from_secs(10);
/// A watch that says nothing for so long is dead.
const DEAD: Duration = Duration::from_secs(60);
/// How long the office holds a long poll, in seconds.
const WAIT: u32 = 25;
/// Polls begin no closer than this: an office that has something to say each time is not asked without pause.
const PACE: Duration = Duration::from_secs(2);
/// How long polls go on before a stream is tried again.
const POLLS: Duration = Duration::from_secs(24 * 3600);

/// How the office is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Stream,
    /// To find out whether the line or a box in the middle is to blame.
    Probe,
    /// Until then.
    Poll(Duration),
}

/// The watch as it stands.
#[derive(Debug)]
enum Stand {
    /// To be opened then.
    Closed(Duration),
    /// Asked for, and perhaps accepted; nothing was said yet.
    Asked { id: RequestId, nonce: Nonce, since: Duration, heard: Duration },
    /// It said hello.
    Open { id: RequestId, since: Duration, heard: Duration },
}

/// The watch.
#[derive(Debug)]
pub(super) struct Watch {
    way: Way,
    stand: Stand,
    /// Between two polls the line counts as good.
    polled: bool,
    tries: u32,
}

impl Watch {
    pub(super) fn new(now: Duration, random: Random<'_>) -> Self {
        Self { way: Way::Stream, stand: Stand::Closed(now + jitter(0, random)), polled: false, tries: 0 }
    }

    pub(super) fn is(&self, watch: RequestId) -> bool {
        match self.stand {
            Stand::Closed(_) => false,
            Stand::Asked { id, .. } | Stand::Open { id, .. } => id == watch,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.polled || matches!(self.stand, Stand::Open { .. })
    }

    pub(super) fn wake(&self) -> Duration {
        match self.stand {
            Stand::Closed(at) => at,
            Stand::Asked { since, .. } if self.way == Way::Stream => since + SPEECHLESS,
            Stand::Asked { heard, .. } | Stand::Open { heard, .. } => heard + DEAD,
        }
    }

    fn again(&mut self, now: Duration, after: Option<Duration>, random: Random<'_>) {
        self.stand = Stand::Closed(now + after.unwrap_or_else(|| jitter(self.tries, random)));
        self.tries = self.tries.saturating_add(1);
        self.polled = false;
    }
}

impl Link {
    /// Opens the watch when it is time, and closes one that has gone quiet.
    pub(super) fn keep_watch(&mut self, now: Now, random: Random<'_>) {
        let at = now.since_boot;
        match self.watch.stand {
            Stand::Asked { id, .. } | Stand::Open { id, .. } if at >= self.watch.wake() => {
                self.actions.push(Action::Drop(id));
                self.watch.way = match (self.watch.way, &self.watch.stand) {
                    (Way::Stream, Stand::Asked { .. }) => Way::Probe,
                    (Way::Probe, _) => Way::Stream,
                    (way, _) => way,
                };
                self.watch.again(at, None, random);
            }
            _ => {}
        }
        if let Stand::Closed(due) = self.watch.stand
            && at >= due
        {
            if matches!(self.watch.way, Way::Poll(until) if at >= until) {
                self.watch.way = Way::Stream;
            }
            let nonce = Nonce::new(random(), random());
            let wait = (self.watch.way != Way::Stream).then_some(WAIT);
            let id = self.ask(Call::Watch { root: self.pinned.root().version, nonce: nonce.clone(), wait });
            self.watch.stand = Stand::Asked { id, nonce, since: at, heard: at };
        }
    }

    /// Opens another watch in place of one that is open.
    pub(super) fn reopen_watch(&mut self, now: Now, random: Random<'_>) {
        if let Stand::Open { id, .. } = self.watch.stand {
            self.actions.push(Action::Drop(id));
            self.watch.again(now.since_boot, None, random);
        }
    }

    /// The headers of a watch are a word of life, and no hello.
    pub(super) fn watch_opened(&mut self, now: Now, opened: RequestId) {
        if let Stand::Asked { id, heard, .. } = &mut self.watch.stand
            && *id == opened
        {
            *heard = now.since_boot;
        }
    }

    pub(super) fn watched(&mut self, now: Now, id: RequestId, event: WatchEvent, random: Random<'_>) {
        if !self.watch.is(id) {
            return;
        }
        if let WatchEvent::Hello { desired, root, time, journal, .. } = event {
            self.greeted(now, desired, root, (&time, &journal), random);
            return;
        }
        let Stand::Open { heard, .. } = &mut self.watch.stand else {
            // Nothing counts before the hello, which comes first; a command before it would be judged by an older clock.
            return;
        };
        *heard = now.since_boot;
        match event {
            WatchEvent::Revision { desired } => self.documents.desired(desired),
            WatchEvent::Command { envelope } => self.ordered(now, &envelope),
            WatchEvent::Trust { root } => self.root_wanted = self.root_wanted.max(root),
            WatchEvent::Want { what: Wanted::Reported } => self.report.changed(),
            WatchEvent::Want { what: Wanted::Journal } => self.report.retry_journal(),
            WatchEvent::Bye { retry_after_ms } => {
                self.actions.push(Action::Drop(id));
                self.watch.again(now.since_boot, Some(Duration::from_millis(retry_after_ms)), random);
            }
            WatchEvent::Hello { .. } | WatchEvent::Heartbeat | WatchEvent::Want { .. } | WatchEvent::Other => {}
        }
    }

    /// A hello counts by the signature over its nonce; without one it still says what there is to ask for.
    fn greeted(&mut self, now: Now, desired: Revision, root: u64, (time, journal): (&str, &Acked), random: Random<'_>) {
        let Stand::Asked { id, nonce, since, .. } = &self.watch.stand else { return };
        let proved = self.office.take(self.pinned.root(), time.as_bytes(), nonce, *since, now.since_boot);
        if !self.watch.is_up() {
            self.report.changed();
        }
        self.watch.stand = Stand::Open { id: *id, since: *since, heard: now.since_boot };
        self.watch.tries = 0;
        match proved {
            Ok(()) => {
                self.heard = now.since_boot;
                // The hello said the time. A sharper answer can wait until the others who came back with us are served.
                self.time.rest(now.since_boot + jitter(u32::MAX, random));
            }
            Err(why) => self.reject(now, time, why),
        }
        self.root_wanted = self.root_wanted.max(root);
        self.documents.desired(desired);
        self.held_here(journal);
    }

    /// The end of a poll that was answered is the beginning of the next; any other end is a failure.
    pub(super) fn watch_ended(&mut self, now: Now, answer: &Answer, random: Random<'_>) {
        let at = now.since_boot;
        let greeted = if let Stand::Open { since, .. } = self.watch.stand { Some(since) } else { None };
        match (answer, self.watch.way, greeted) {
            (Answer::Done, Way::Probe | Way::Poll(_), Some(since)) => {
                if self.watch.way == Way::Probe {
                    self.watch.way = Way::Poll(at + POLLS);
                }
                self.watch.stand = Stand::Closed(at.max(since + PACE));
                self.watch.polled = true;
            }
            (Answer::Later(after), ..) => self.watch.again(at, *after, random),
            (_, way, _) => {
                if way == Way::Probe {
                    self.watch.way = Way::Stream;
                }
                self.watch.again(at, None, random);
            }
        }
    }
}

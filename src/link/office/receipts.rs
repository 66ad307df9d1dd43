//! What became of a command, station by station.

use super::super::{Command, CommandId, Envelope, Kind, Place, Refused, State, StationId, Targets};
use crate::text::Said;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// A command as the office issued it, or passes it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its name.
    pub id: CommandId,
    /// Whom it is for.
    pub targets: Targets,
    /// From here on it is not begun any more.
    pub not_after: Timestamp,
    /// Its envelope, byte for byte.
    pub envelope: String,
}

impl Issued {
    /// Reads a command that somebody signed. Whether he may is for the stations to say, and for whoever let him in.
    pub fn read(text: &str) -> Result<Self, Refused> {
        let envelope = Envelope::read(text.as_bytes())?;
        if envelope.kind() != Kind::Command {
            return Err(Refused::UnknownType { kind: envelope.kind().media_type().to_owned() });
        }
        let Command { id, targets, not_after, .. } = Command::read(envelope.payload())?;
        Ok(Self { id, targets, not_after, envelope: text.to_owned() })
    }
}

/// How far one command is at each station that said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipts {
    states: BTreeMap<StationId, (State, Timestamp)>,
}

impl Receipts {
    /// Takes a word of a station that is meant; returns whether it is news. Words come in any order, and again.
    pub fn take(&mut self, issued: &Issued, place: &Place, state: State, at: Timestamp) -> bool {
        if !issued.targets.include(place) {
            return false;
        }
        match self.states.get_mut(&place.station) {
            Some((known, since)) => {
                let moved = known.advance(state);
                if moved {
                    *since = at;
                }
                moved
            }
            None => {
                self.states.insert(place.station.clone(), (state, at));
                true
            }
        }
    }

    /// Takes what was taken before and kept.
    pub fn hold(&mut self, station: &StationId, state: State, since: Timestamp) {
        self.states.insert(station.clone(), (state, since));
    }

    /// How far it is at a station, and since when by that station's clock.
    pub fn state(&self, station: &StationId) -> Option<&(State, Timestamp)> {
        self.states.get(station)
    }

    /// Whether a station still has to be sent the command: it is meant, has not said that it has it on its disk, and the
    /// deadline has not passed.
    pub fn owes(&self, issued: &Issued, place: &Place, now: Timestamp) -> bool {
        let has = self.states.get(&place.station).is_some_and(|(state, _)| *state != State::Delivered);
        issued.targets.include(place) && !has && now < issued.not_after
    }

    /// Counts the stations that are meant, each once. A station that is not there and has not come to an end counts as
    /// offline, whatever it said before.
    pub fn tally<'a>(&self, meant: impl IntoIterator<Item = (&'a StationId, bool)>) -> Tally {
        let mut tally = Tally::default();
        for (station, is_there) in meant {
            let state = self.states.get(station).map(|(state, _)| state);
            if !is_there && !state.is_some_and(State::is_final) {
                tally.offline += 1;
                continue;
            }
            tally.online += 1;
            *match state {
                None | Some(State::Delivered) => &mut tally.waiting,
                Some(State::Verified) => &mut tally.verified,
                Some(State::Started) => &mut tally.started,
                Some(State::Finished) => &mut tally.finished,
                Some(State::Expired) => &mut tally.expired,
                Some(State::Rejected(_)) => &mut tally.rejected,
                Some(State::Superseded) => &mut tally.superseded,
                Some(State::Failed { .. }) => &mut tally.failed,
            } += 1;
        }
        tally
    }
}

/// How many stations are how far. `online` is the sum of all but `offline`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the states of a command; `waiting` have not answered")]
pub struct Tally {
    pub online: u32,
    pub waiting: u32,
    pub verified: u32,
    pub started: u32,
    pub finished: u32,
    pub expired: u32,
    pub rejected: u32,
    pub superseded: u32,
    pub failed: u32,
    pub offline: u32,
}

impl Tally {
    /// One line: "97 在线：95 已开始，2 过期；3 离线". Never "sent".
    pub fn said(&self) -> Said {
        let states = [
            (self.started, "已开始", "started"),
            (self.finished, "已完成", "finished"),
            (self.verified, "已校验", "verified"),
            (self.waiting, "未答复", "not answering yet"),
            (self.expired, "过期", "expired"),
            (self.superseded, "已被取代", "superseded"),
            (self.rejected, "拒绝", "rejected"),
            (self.failed, "失败", "failed"),
        ];
        let some = || states.into_iter().filter(|(count, ..)| *count > 0);
        let zh: Vec<_> = some().map(|(count, zh, _)| format!("{count} {zh}")).collect();
        let en: Vec<_> = some().map(|(count, _, en)| format!("{count} {en}")).collect();
        let line = |online: &str, colon: &str, states: String, semicolon: &str, offline: &str| {
            let colon = if states.is_empty() { "" } else { colon };
            let offline =
                if self.offline > 0 { format!("{semicolon}{} {offline}", self.offline) } else { String::new() };
            format!("{} {online}{colon}{states}{offline}", self.online)
        };
        Said::new(line("在线", "：", zh.join("，"), "；", "离线"), line("online", ": ", en.join(", "), "; ", "offline"))
    }
}

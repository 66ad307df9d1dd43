//! What became of commands, live, in the words of the stations.

use super::super::{
    Office,
    desk::DeskError,
    store::{Ordered, Receipt, Station, StationState},
};
use super::Words;
use crate::{
    link::{
        CommandId, State, StationId,
        office::{Receipts, Tally},
        protocol::Reported,
    },
    text::Said,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A command in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// As it was issued.
    pub ordered: Ordered,
    /// How many stations are how far.
    pub tally: Tally,
    /// The same in a line: "97 在线：95 已开始，2 过期；3 离线".
    pub said: Said,
}

/// One station that a command is for.
#[derive(Debug, Clone, Serialize)]
pub struct AtStation {
    /// Which.
    pub station: StationId,
    /// What people call it.
    pub name: String,
    /// A watch of it is open.
    pub up: bool,
    /// How far it is there; none while the station has not said.
    pub receipt: Option<Receipt>,
    /// What it reported when it was called; none for other commands, and before it did.
    pub report: Option<Reported>,
}

/// A command with everything that is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Followed {
    /// In a line.
    #[serde(flatten)]
    pub overview: Overview,
    /// Every station that is meant: those that are not there or have not answered first, then by name.
    pub stations: Vec<AtStation>,
    /// What was prepared to be said when it is over.
    pub all_clear: Option<Words>,
    /// Something may still sound that can be stopped.
    pub may_sound: bool,
}

impl Office {
    /// Returns the newest commands before a revision of the office, newest first: the drills or the real ones, both where
    /// it is not said. The first page is before [`i64::MAX`].
    pub async fn commands(&self, drill: Option<bool>, before: i64, most: u32) -> Result<Vec<Overview>, DeskError> {
        let stations = self.store.stations().await?;
        let mut overviews = Vec::new();
        for ordered in self.store.commands(drill, before, most).await? {
            let receipts = self.store.receipts(ordered.id).await?;
            overviews.push(self.overview(ordered, &stations, &receipts));
        }
        Ok(overviews)
    }

    /// Returns a command with what every station said of it.
    pub async fn command(&self, id: CommandId) -> Result<Option<Followed>, DeskError> {
        let Some(ordered) = self.store.command(id).await? else { return Ok(None) };
        let stations = self.store.stations().await?;
        let mut receipts = self.store.receipts(id).await?;
        let is_call = ordered.op == "report";
        let mut reports = if is_call { self.store.reports().await? } else { BTreeMap::new() };
        let all_clear = ordered.all_clear.as_deref().map(serde_json::from_str).transpose();
        let all_clear = super::super::store::read(all_clear)?;
        let has_sound = matches!(ordered.op.as_str(), "play" | "emergency");
        let issued = ordered.issued;
        let overview = self.overview(ordered, &stations, &receipts);
        let meant: Vec<_> = self.meant(&overview.ordered, &stations, &receipts).cloned().collect();
        let mut at: Vec<_> = meant
            .into_iter()
            .map(|station| {
                let fresh = |(report, at): (Reported, _)| (at >= issued).then_some(report);
                AtStation {
                    receipt: receipts.remove(&station.id),
                    report: reports.remove(&station.id).and_then(fresh),
                    station: station.id,
                    name: station.name,
                    up: station.up,
                }
            })
            .collect();
        let rank = |at: &AtStation| match &at.receipt {
            None => 0,
            Some(receipt) => match receipt.state {
                State::Rejected(_) | State::Failed { .. } | State::Expired => 1,
                State::Delivered | State::Verified => 2,
                State::Started => 3,
                State::Finished | State::Superseded => 4,
            },
        };
        at.sort_by(|a, b| (rank(a), a.up, &a.name).cmp(&(rank(b), b.up, &b.name)));
        let is_open = |at: &AtStation| !at.receipt.as_ref().is_some_and(|receipt| receipt.state.is_final());
        let in_time = crate::clock::wall() < overview.ordered.not_after;
        let may_sound = has_sound && at.iter().any(|at| is_open(at) && (in_time || at.receipt.is_some()));
        Ok(Some(Followed { overview, stations: at, all_clear, may_sound }))
    }

    fn overview(&self, ordered: Ordered, stations: &[Station], receipts: &BTreeMap<StationId, Receipt>) -> Overview {
        let mut words = Receipts::default();
        let meant: Vec<_> = self.meant(&ordered, stations, receipts).collect();
        for station in &meant {
            if let Some(receipt) = receipts.get(&station.id) {
                words.hold(&station.id, receipt.state.clone(), receipt.at);
            }
        }
        let tally = words.tally(meant.iter().map(|station| (&station.id, station.up)));
        Overview { ordered, tally, said: tally.said() }
    }

    /// Returns the stations that a command is for: those that are in its targets and were taken in before its deadline,
    /// and those that said something of it, wherever they are now.
    fn meant<'a>(
        &self,
        ordered: &'a Ordered,
        stations: &'a [Station],
        receipts: &'a BTreeMap<StationId, Receipt>,
    ) -> impl Iterator<Item = &'a Station> {
        let generation = self.keys.generation();
        stations.iter().filter(move |station| {
            let is_in = station.state == StationState::Active
                && station.confirmed.is_some_and(|confirmed| confirmed < ordered.not_after)
                && ordered.targets.include(&station.place(generation));
            is_in || receipts.contains_key(&station.id)
        })
    }
}

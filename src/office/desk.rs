//! What people do with campaigns at the office: write, try, publish, bring back, withdraw; and see what would come of it.
//!
//! Always true: a step and the plans of every station that it touches are one change of the store, with who took it. A step
//! that would give some station more than it takes is not taken at all.
//!
//! Not here: who may do it (the pages), how far a campaign can be ([`Standing`]).

#[cfg(test)]
pub(in crate::office) mod tests;

use super::{
    Office,
    campaign::{Campaign, CampaignId, Cannot, Checked, Standing, Step},
    compose::{self, ComposeError, Composition, Makeup, Out, Signing},
    keys::KeysError,
    preview::{self, Coming, Ground, Preview, Seen},
    store::{Change, Deed, Filed, Station, StationState, StoreError, Version},
};
use crate::{
    clock,
    link::{BlobId, Division, Envelope, Place, Plan, Refused, StationId},
    schedule::{Finding, Source},
    text::Said,
};
use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How often plans are looked at whose time runs out.
const RENEWAL: Duration = Duration::from_secs(6 * 3600);
/// Whose name stands in the record where no person asked for it.
const NOBODY: &str = "system";

/// Why the desk did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// It does not follow from how far the campaign is.
    #[error("{}", .0.said().zh)]
    Cannot(Cannot),
    /// What was written has mistakes, and is not kept.
    #[error("内容有错，没有保存；请照提示改正")]
    Findings(Vec<Finding>),
    /// It cannot be meant; nothing was changed.
    #[error("{}", .0.zh)]
    Refused(Said),
    /// No plan comes of it.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The tables did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be signed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// It was broken off.
    #[error("操作没有做完；请再试一次")]
    Broken(#[from] tokio::task::JoinError),
}

impl DeskError {
    /// Says why not, and what to do, in the words of whoever reads.
    pub fn said(&self) -> Said {
        let en = match self {
            Self::Cannot(why) => return why.said(),
            Self::Refused(said) | Self::Compose(ComposeError::TooMuch(said)) => return said.clone(),
            Self::Findings(_) => "it has mistakes and was not kept; put them right",
            Self::Compose(_) => "the schedule of a campaign cannot be read; open it and put it right",
            Self::Store(StoreError::Full(_)) => "the disk of the database is full; make room and try again",
            Self::Store(_) => "the database did not take it; look at the office's log and try again",
            Self::Keys(_) => "keys.json of this office is not the newest; copy it from the office's other computer",
            Self::Broken(_) => "it was broken off; try again",
        };
        Said::new(self.to_string(), en)
    }

    pub(in crate::office) fn refused(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self::Refused(Said::new(zh, en))
    }
}

/// A campaign as a page shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Opened {
    /// How far it is.
    pub filed: Filed,
    /// What its newest version says.
    pub newest: Campaign,
    /// Newest first.
    pub versions: Vec<Version>,
    /// What returns in one step: the last version that went out before the one that stations have, or had.
    pub previous: Option<u64>,
}

/// How far a campaign is at one station that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Which.
    pub station: StationId,
    /// What people call it.
    pub name: String,
    /// A watch of it is open.
    pub up: bool,
    /// How far.
    pub reached: Reached,
}

/// How far a plan is at a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reached", rename_all = "kebab-case")]
pub enum Reached {
    /// The station has not said that it has it.
    Waiting,
    /// It was checked, and sounds are missing.
    Fetching {
        /// So many.
        missing: usize,
    },
    /// It is in force.
    InForce,
    /// It was not accepted.
    Refused {
        /// Why.
        why: Refused,
    },
}

impl Reached {
    /// How far, in the words of whoever reads.
    pub fn said(&self) -> Said {
        match self {
            Self::Waiting => Said::new("未送达", "not there yet"),
            Self::Fetching { missing } => {
                Said::new(format!("已送达，还缺 {missing} 个音频"), format!("there; {missing} sounds are missing"))
            }
            Self::InForce => Said::new("已生效", "in force"),
            Self::Refused { why } => {
                let why = why.said();
                Said::new(format!("被拒绝：{}", why.zh), format!("refused: {}", why.en))
            }
        }
    }
}

/// What the composition of plans reads of the store, under the lock of a change or for a look ahead.
struct Desk {
    division: Division,
    generation: u64,
    stations: Vec<Station>,
    out: BTreeMap<CampaignId, Out>,
    today: Date,
    now: Timestamp,
}

impl Desk {
    fn source(&self) -> Source {
        compose::source(&self.division)
    }

    /// Returns everybody's makeup.
    fn all(&self) -> Vec<(&Station, Place, Makeup)> {
        let all = self.stations.iter().map(|station| {
            let place = station.place(self.generation);
            let makeup = compose::makeup(&self.out, &place, self.today);
            (station, place, makeup)
        });
        all.collect()
    }

    /// Returns whose makeup becomes another one, with it.
    fn touched(&self, after: &BTreeMap<CampaignId, Out>) -> Vec<(&Station, Place, Makeup)> {
        let touched = |station| {
            let place = Station::place(station, self.generation);
            let makeup = compose::makeup(after, &place, self.today);
            (makeup != compose::makeup(&self.out, &place, self.today)).then_some((station, place, makeup))
        };
        self.stations.iter().filter_map(touched).collect()
    }

    /// Returns the campaigns that are out after a step.
    fn after(&self, id: &CampaignId, standing: &Standing, newest: &Arc<Campaign>) -> BTreeMap<CampaignId, Out> {
        let mut after = self.out.clone();
        let before = after.remove(id).unwrap_or_else(|| Out::new(standing.clone()));
        let mut versions = before.versions;
        versions.insert(standing.version, Arc::clone(newest));
        versions.retain(|version, _| {
            standing.published == Some(*version) || (standing.trial.is_some() && standing.version == *version)
        });
        if !versions.is_empty() {
            after.insert(id.clone(), Out { standing: standing.clone(), versions });
        }
        after
    }
}

/// Returns the composition of a makeup; stations that have the same share it.
fn composed(
    known: &mut BTreeMap<Makeup, Arc<Composition>>,
    out: &BTreeMap<CampaignId, Out>,
    makeup: Makeup,
) -> Result<Arc<Composition>, ComposeError> {
    if let Some(composition) = known.get(&makeup) {
        return Ok(Arc::clone(composition));
    }
    let composition = Arc::new(compose::compose(out, &makeup)?);
    known.insert(makeup, Arc::clone(&composition));
    Ok(composition)
}

impl Office {
    /// Begins a change in which something is signed: by the keys in force, which nobody renews before it ends. Another
    /// process may have renewed them meanwhile.
    pub(in crate::office) async fn change_to_sign(&self) -> Result<Change, DeskError> {
        let mut change = self.store.change().await?;
        self.keys.must_be(change.newest_root().await?)?;
        Ok(change)
    }

    /// What the composition needs for every station. Within a change, ask after it has begun.
    async fn desk(&self) -> Result<Desk, DeskError> {
        let mut stations = self.store.stations().await?;
        stations.retain(|station| station.state == StationState::Active);
        self.desk_for(stations).await
    }

    /// The same for these alone: a county that is taken in one by one is not read anew for each.
    async fn desk_for(&self, stations: Vec<Station>) -> Result<Desk, DeskError> {
        let about = self.store.about().await?;
        let about = about.ok_or_else(|| DeskError::refused("本中心还没有设置", "this office has not been set up"))?;
        let now = clock::wall();
        let today = self.zone.to_datetime(now).date();
        let out = self.store.out().await?;
        Ok(Desk { division: about.division, generation: about.generation, stations, out, today, now })
    }

    /// Reads a campaign, and says everything that is wrong with it.
    pub async fn check_campaign(&self, campaign: &Campaign) -> Result<Checked, DeskError> {
        let about = self.store.about().await?;
        let about = about.ok_or_else(|| DeskError::refused("本中心还没有设置", "this office has not been set up"))?;
        let mut checked = campaign.check(&about.division);
        let stored = self.store.sounds().await?;
        let is_there = |sha256: &BlobId, bytes| stored.get(sha256).is_some_and(|stored| stored.bytes == bytes);
        for sound in campaign.audio.iter().filter(|sound| !is_there(&sound.sha256, sound.bytes)) {
            checked.findings.push(campaign.not_uploaded(sound));
        }
        Ok(checked)
    }

    /// Keeps what was written as the campaign's next version; no station gets it by that. `base` is the version on which it
    /// was written, none for a new campaign: what somebody else wrote meanwhile is not lost.
    pub async fn write_campaign(&self, who: &str, campaign: Campaign, base: Option<u64>) -> Result<Filed, DeskError> {
        let checked = self.check_campaign(&campaign).await?;
        if !checked.may_be_kept() {
            return Err(DeskError::Findings(checked.findings));
        }
        let id = campaign.id.clone();
        self.step(who, &id, Step::Write, Some((campaign, base))).await
    }

    /// Gives the newest version to one village first.
    pub async fn try_campaign(&self, who: &str, id: &CampaignId, station: &StationId) -> Result<Filed, DeskError> {
        self.step(who, id, Step::Try(station.clone()), None).await
    }

    /// Gives the newest version to all whom it is for.
    pub async fn publish(&self, who: &str, id: &CampaignId) -> Result<Filed, DeskError> {
        self.step(who, id, Step::Publish, None).await
    }

    /// Gives an earlier version to all whom it is for.
    pub async fn restore_version(&self, who: &str, id: &CampaignId, version: u64) -> Result<Filed, DeskError> {
        self.step(who, id, Step::Restore(version), None).await
    }

    /// Takes it back from everybody.
    pub async fn withdraw(&self, who: &str, id: &CampaignId) -> Result<Filed, DeskError> {
        self.step(who, id, Step::Withdraw, None).await
    }

    /// Takes a step, with the plans of every station that it touches.
    async fn step(
        &self,
        who: &str,
        id: &CampaignId,
        step: Step,
        written: Option<(Campaign, Option<u64>)>,
    ) -> Result<Filed, DeskError> {
        let mut change = self.change_to_sign().await?;
        let desk = self.desk().await?;
        let filed = self.store.campaign(id).await?;
        let (standing, newest) = self.after_step(&desk, id, filed.as_ref(), &step, written).await?;
        let newest = Arc::new(newest);
        if matches!(step, Step::Write | Step::Restore(_)) {
            change.keep_version(&newest, standing.version, who, desk.now).await?;
        }
        if standing.published == Some(standing.version) {
            change.went_out(id, standing.version, desk.now).await?;
        }
        let after = desk.after(id, &standing, &newest);
        let touched = desk.touched(&after);
        let changed = match filed {
            Some(filed) if touched.is_empty() && step == Step::Write => filed.changed,
            None => 0,
            _ => change.revision,
        };
        self.keep_plans(&mut change, &desk, &after, touched).await?;
        let filed =
            Filed { id: id.clone(), kind: newest.kind(), title: newest.title.clone(), standing, changed, at: desk.now };
        change.file(&filed).await?;
        let (deed, detail) = match &step {
            Step::Write => (Deed::Wrote, format!("第 {} 版", filed.standing.version)),
            Step::Try(station) => (Deed::Tried, format!("第 {} 版 {station}", filed.standing.version)),
            Step::Publish => (Deed::Published, format!("第 {} 版", filed.standing.version)),
            Step::Restore(old) => (Deed::Restored, format!("第 {old} 版，为第 {} 版", filed.standing.version)),
            Step::Withdraw => (Deed::Withdrew, String::new()),
        };
        change.commit(who, deed, id.as_str(), &detail).await?;
        self.watches.hint();
        Ok(filed)
    }

    /// Returns how far the campaign is after a step, and what its newest version says then.
    async fn after_step(
        &self,
        desk: &Desk,
        id: &CampaignId,
        filed: Option<&Filed>,
        step: &Step,
        written: Option<(Campaign, Option<u64>)>,
    ) -> Result<(Standing, Campaign), DeskError> {
        let base = filed.map(|filed| filed.standing.version);
        let standing = match (filed, step) {
            (None, Step::Write) => Standing::NEW,
            (None, _) => return Err(DeskError::refused("没有这个宣传或通报", "there is no such campaign")),
            (Some(filed), step) => filed.standing.after(step).map_err(DeskError::Cannot)?,
        };
        let newest = match (step, written) {
            (_, Some((campaign, on))) if on == base => campaign,
            (_, Some(_)) => {
                return Err(DeskError::refused(
                    "这期间别人也改了它，您的修改没有保存；请打开最新的内容再改",
                    "somebody else changed it meanwhile and nothing was kept; open it again",
                ));
            }
            (Step::Restore(old), None) => self.said_by(id, *old).await?,
            (_, None) => self.said_by(id, standing.version).await?,
        };
        if let Step::Try(trial) = step {
            let station = desk.stations.iter().find(|station| station.id == *trial);
            let is_meant = station.is_some_and(|station| newest.targets.include(&station.place(desk.generation)));
            if !is_meant {
                return Err(DeskError::refused(
                    "试播的村要是这个宣传选中的、已经接入的村；请另选一个",
                    "it can be tried only where it is meant to go, at a station that was taken in",
                ));
            }
        }
        Ok((standing, newest))
    }

    async fn said_by(&self, id: &CampaignId, version: u64) -> Result<Campaign, DeskError> {
        self.store.version(id, version).await?.ok_or(DeskError::Cannot(Cannot::NoVersion))
    }

    /// Composes and signs the plans of these stations, and keeps them in the change.
    async fn keep_plans(
        &self,
        change: &mut Change,
        desk: &Desk,
        out: &BTreeMap<CampaignId, Out>,
        touched: Vec<(&Station, Place, Makeup)>,
    ) -> Result<(), DeskError> {
        let signing = Signing {
            by: self.keys.content(),
            generation: desk.generation,
            revision: change.revision,
            now: desk.now,
            source: desk.source(),
        };
        let mut compositions = BTreeMap::new();
        let mut work = Vec::with_capacity(touched.len());
        for (station, place, makeup) in touched {
            // A station that never had anything needs no plan to say so.
            if makeup.is_empty() && station.plan_revision == 0 {
                continue;
            }
            work.push((place, composed(&mut compositions, out, makeup)?));
        }
        // A county's plans take the processor for a second or two, and the watches go on meanwhile.
        let sign = move || {
            let sign = |(place, composition): (Place, Arc<Composition>)| {
                let envelope = signing.sign(&composition, &place)?;
                Ok((place.station, envelope))
            };
            work.into_iter().map(sign).collect::<Result<Vec<(StationId, Envelope)>, ComposeError>>()
        };
        Ok(change.keep_plans(&tokio::task::spawn_blocking(sign).await??).await?)
    }

    /// Composes the plans of stations that this change takes in or puts in another place.
    pub(in crate::office) async fn compose_for(
        &self,
        change: &mut Change,
        stations: &[Station],
    ) -> Result<(), DeskError> {
        let desk = self.desk_for(stations.to_vec()).await?;
        self.keep_plans(change, &desk, &desk.out, desk.all()).await
    }

    /// Signs the plans again whose time runs out, and those that are not what the station should have, as when a campaign
    /// is over; returns how many.
    pub async fn renew_plans(&self) -> Result<usize, DeskError> {
        // First a look without the lock: mostly there is nothing to do.
        let due = self.due_plans(&self.desk().await?).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let mut change = self.change_to_sign().await?;
        let mut desk = self.desk().await?;
        desk.stations.retain(|station| due.contains(&station.id));
        let due = self.due_plans(&desk).await?;
        desk.stations.retain(|station| due.contains(&station.id));
        let touched = desk.all();
        let count = touched.len();
        if count > 0 {
            self.keep_plans(&mut change, &desk, &desk.out, touched).await?;
            change.commit(NOBODY, Deed::Renewed, "", &format!("{count} 个站点")).await?;
            self.watches.hint();
        }
        Ok(count)
    }

    async fn due_plans(&self, desk: &Desk) -> Result<BTreeSet<StationId>, DeskError> {
        let mut compositions = BTreeMap::new();
        let mut due = BTreeSet::new();
        for station in &desk.stations {
            let makeup = compose::makeup(&desk.out, &station.place(desk.generation), desk.today);
            let composition = composed(&mut compositions, &desk.out, makeup)?;
            let plan = self.store.plan(&station.id).await?;
            // A plan that cannot be read is as good as none.
            let plan = plan
                .and_then(|text| serde_json::from_slice::<Plan>(Envelope::read(text.as_bytes()).ok()?.payload()).ok());
            let is_due = match plan {
                Some(plan) => compose::is_due(&plan, &composition, desk.now),
                None => *composition != Composition::default(),
            };
            if is_due {
                due.insert(station.id.clone());
            }
        }
        Ok(due)
    }

    /// Renews plans for as long as the office runs.
    pub async fn keep_renewing(self) {
        loop {
            if let Err(error) = self.renew_plans().await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot renew plans; the next try is in 6 hours"
                );
            }
            tokio::time::sleep(RENEWAL).await;
        }
    }

    /// Returns every campaign, what was changed last first.
    pub async fn campaigns(&self) -> Result<Vec<Filed>, DeskError> {
        Ok(self.store.campaigns().await?)
    }

    /// Opens a campaign.
    pub async fn campaign(&self, id: &CampaignId) -> Result<Option<Opened>, DeskError> {
        let Some(filed) = self.store.campaign(id).await? else { return Ok(None) };
        let newest = self.said_by(id, filed.standing.version).await?;
        let versions = self.store.versions(id).await?;
        let out = |version: &&Version| version.went_out.is_some();
        let before = filed.standing.published.unwrap_or(filed.standing.version + 1);
        let previous = versions.iter().filter(out).map(|version| version.version).find(|version| *version < before);
        Ok(Some(Opened { filed, newest, versions, previous }))
    }

    /// Returns what a version of a campaign says.
    pub async fn campaign_version(&self, id: &CampaignId, version: u64) -> Result<Campaign, DeskError> {
        self.said_by(id, version).await
    }

    /// Returns how far a campaign is at each station that has it or is to have it: 送达、校验、生效.
    pub async fn campaign_receipts(&self, id: &CampaignId) -> Result<Vec<Receipt>, DeskError> {
        let Some(filed) = self.store.campaign(id).await? else { return Ok(Vec::new()) };
        let desk = self.desk().await?;
        let reports = self.store.reports().await?;
        let Some(out) = desk.out.get(id) else { return Ok(Vec::new()) };
        let (source, changed) = (desk.source(), filed.changed.unsigned_abs());
        let meant = desk.stations.iter().filter(|station| out.at(&station.place(desk.generation)).is_some());
        let receipt = |station: &Station| {
            // A station that was taken in later has it from its own first plan on.
            let wanted = changed.min(station.plan_revision.unsigned_abs());
            let is_it = |revision: u64, of: Source| of == source && revision >= wanted;
            let reached = reports.get(&station.id).map_or(Reached::Waiting, |(report, _)| {
                let in_force = report.in_force.iter().any(|plan| is_it(plan.revision, plan.source));
                let fetching = report.fetching.iter().find(|(plan, _)| is_it(plan.revision, plan.source));
                let refused = report.rejected.iter().rev().find(|rejected| {
                    rejected.kind.as_deref() == Some(crate::link::Kind::Plan.media_type()) && rejected.at >= filed.at
                });
                match (in_force, fetching, refused) {
                    (true, ..) => Reached::InForce,
                    (_, Some((_, missing)), _) => Reached::Fetching { missing: *missing },
                    (_, _, Some(refused)) => Reached::Refused { why: refused.why.clone() },
                    _ => Reached::Waiting,
                }
            });
            Receipt { station: station.id.clone(), name: station.name.clone(), up: station.up, reached }
        };
        Ok(meant.map(receipt).collect())
    }

    /// Returns what each station would play more or less in the next seven days if this were published as it is written.
    pub async fn preview(&self, campaign: &Campaign) -> Result<Preview, DeskError> {
        let desk = self.desk().await?;
        let filed = self.store.campaign(&campaign.id).await?;
        let version = filed.map_or(1, |filed| filed.standing.version + 1);
        let standing = Standing { version, published: Some(version), ..Standing::NEW };
        self.foresee(desk, &campaign.id, standing, campaign.clone()).await
    }

    /// Returns the same for a step that somebody is about to take.
    pub async fn preview_step(&self, id: &CampaignId, step: &Step) -> Result<Preview, DeskError> {
        let desk = self.desk().await?;
        let filed = self.store.campaign(id).await?;
        let (standing, newest) = self.after_step(&desk, id, filed.as_ref(), step, None).await?;
        self.foresee(desk, id, standing, newest).await
    }

    async fn foresee(
        &self,
        desk: Desk,
        id: &CampaignId,
        standing: Standing,
        newest: Campaign,
    ) -> Result<Preview, DeskError> {
        let after = desk.after(id, &standing, &Arc::new(newest));
        let lengths: BTreeMap<_, _> = {
            let sounds = self.store.sounds().await?;
            sounds.into_iter().map(|(blob, sound)| (blob, sound.duration_ms)).collect()
        };
        let reports = self.store.reports().await?;
        let zone = self.zone.clone();
        let preview = tokio::task::spawn_blocking(move || {
            let (mut before, mut later) = (BTreeMap::new(), BTreeMap::new());
            let mut changes = Vec::new();
            for (station, place, makeup) in desk.touched(&after) {
                let texts = reports.get(&station.id).and_then(|(report, _)| preview::reported(&report.facts));
                changes.push(Coming {
                    seen: Seen { id: station.id.clone(), name: station.name.clone(), texts },
                    before: composed(&mut before, &desk.out, compose::makeup(&desk.out, &place, desk.today))?,
                    after: composed(&mut later, &after, makeup)?,
                });
            }
            let ground = Ground { source: desk.source(), lengths, zone, now: desk.now };
            Ok::<_, ComposeError>(preview::preview(&ground, &changes))
        });
        Ok(preview.await??)
    }
}

//! What one station gets: every campaign that is out and means it, as one signed plan.
//!
//! Pure. A plan is for one station alone, so that nobody learns what others play, and a change touches only those whom it
//! concerns. The plan is composed anew, and signed, in the change of the store that makes it differ.
//!
//! Always true: the plan of a station is the composition of what was out for it when it was signed; what is not in it is
//! withdrawn at the station.
//!
//! Not here: how it is written down ([`super::store`]), who asked for it ([`super::desk`]).

use super::campaign::{Campaign, CampaignId, Standing, Torn};
use crate::{
    link::{Division, Envelope, Kind, Place, Plan, Signer, Targets, plan},
    schedule::Source,
    text::Said,
};
use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};
use std::{collections::BTreeMap, sync::Arc};

/// When somebody must have looked at a plan again.
const REVIEWED: SignedDuration = SignedDuration::from_hours(24 * 90);
/// A plan is signed again when so little of that is left.
const RENEWED: SignedDuration = SignedDuration::from_hours(24 * 30);

/// A campaign of which some station has something.
#[derive(Debug, Clone, PartialEq)]
pub struct Out {
    /// How far it is.
    pub standing: Standing,
    /// The versions that somebody has.
    pub versions: BTreeMap<u64, Arc<Campaign>>,
}

impl Out {
    /// One that nobody has anything of yet.
    pub fn new(standing: Standing) -> Self {
        Self { standing, versions: BTreeMap::new() }
    }

    /// Returns the version that a station in this place has.
    pub fn at(&self, place: &Place) -> Option<(u64, &Arc<Campaign>)> {
        let version = self.standing.version_at(&place.station)?;
        let campaign = self.versions.get(&version)?;
        campaign.targets.include(place).then_some((version, campaign))
    }
}

/// Which versions of which campaigns a station has. Stations that have the same share a composition.
pub type Makeup = BTreeMap<CampaignId, u64>;

/// Returns what a station in this place has. What is over is left out, from the second day after its last: before, a
/// station that was down may still have to say what it missed.
pub fn makeup(out: &BTreeMap<CampaignId, Out>, place: &Place, today: Date) -> Makeup {
    let yesterday = today.saturating_sub(1.day());
    let has = |(id, out): (&CampaignId, &Out)| {
        let (version, campaign) = out.at(place)?;
        (!campaign.is_over(yesterday)).then(|| (id.clone(), version))
    };
    out.iter().filter_map(has).collect()
}

/// The schedules and sounds of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Composition {
    /// Texts by name.
    pub schedules: BTreeMap<String, String>,
    /// In order of campaign.
    pub audio: Vec<plan::Sound>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A text that was let in cannot be read.
    #[error(transparent)]
    Torn(#[from] Torn),
    /// More than a station takes.
    #[error("{}", .0.zh)]
    TooMuch(Said),
    /// It cannot be written down.
    #[error("播放计划写不成文档")]
    Unwritten(#[from] serde_json::Error),
}

/// Puts the versions of a makeup together.
pub fn compose(out: &BTreeMap<CampaignId, Out>, makeup: &Makeup) -> Result<Composition, ComposeError> {
    let mut composition = Composition::default();
    for (id, version) in makeup {
        let Some(campaign) = out.get(id).and_then(|out| out.versions.get(version)) else { continue };
        let delivered = campaign.delivered()?;
        composition.schedules.insert(id.to_string(), delivered.schedule);
        composition.audio.extend(delivered.audio);
    }
    let too_much = |count: usize, most: usize, zh: &str, en: &str| {
        Err(ComposeError::TooMuch(Said::new(
            format!("这样有的村会有 {count} {zh}，一个村最多 {most} {zh}；请先撤回一些过时的"),
            format!(
                "some station would have {count} {en}, and {most} are the most; withdraw some that are out of date"
            ),
        )))
    };
    let (schedules, sounds) = (composition.schedules.len(), composition.audio.len());
    if schedules > plan::MOST_SCHEDULES {
        return too_much(schedules, plan::MOST_SCHEDULES, "个宣传和通报", "campaigns and bulletins");
    }
    if sounds > plan::MOST_SOUNDS {
        return too_much(sounds, plan::MOST_SOUNDS, "个音频", "sounds");
    }
    Ok(composition)
}

/// Returns in whose name an office of this division speaks.
pub fn source(division: &Division) -> Source {
    if division.is_county_or_above() { Source::County } else { Source::Town }
}

/// How a plan is signed.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The `content` key.
    pub by: Signer,
    /// The root's.
    pub generation: u64,
    /// The office's.
    pub revision: i64,
    /// What time it is.
    pub now: Timestamp,
    /// In whose name.
    pub source: Source,
}

impl Signing {
    /// Signs a composition for one station alone.
    pub fn sign(&self, composition: &Composition, place: &Place) -> Result<Envelope, ComposeError> {
        let plan = Plan {
            generation: self.generation,
            revision: self.revision.unsigned_abs(),
            issued: self.now,
            review_by: self.now.saturating_add(REVIEWED).unwrap_or(Timestamp::MAX),
            targets: Targets { stations: [place.station.clone()].into(), ..Targets::default() },
            source: self.source,
            schedules: composition.schedules.clone(),
            audio: composition.audio.clone(),
        };
        let envelope = Envelope::of(Kind::Plan, &plan, std::slice::from_ref(&self.by))?;
        let (bytes, most) = (envelope.text().len(), Kind::Plan.largest());
        if bytes > most {
            let (bytes, most) = (bytes.div_ceil(1 << 20), most >> 20);
            return Err(ComposeError::TooMuch(Said::new(
                format!("这样有的村的播放计划会有 {bytes} MB，最多 {most} MB；请先撤回一些，或把规则写短"),
                format!("the plan of some station would have {bytes} MB, and {most} are the most; withdraw some"),
            )));
        }
        Ok(envelope)
    }
}

/// Returns whether a plan has to be signed again: its time runs out, or it is not what the station should have.
pub fn is_due(plan: &Plan, composition: &Composition, now: Timestamp) -> bool {
    let differs = plan.schedules != composition.schedules || plan.audio != composition.audio;
    differs || plan.review_by.duration_since(now) < RENEWED
}

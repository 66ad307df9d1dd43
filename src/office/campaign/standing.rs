//! How far a campaign is: draft, on trial at one village, published, withdrawn.
//!
//! Pure. What is on trial is always the newest version, and what everybody has is always the one that was published last:
//! writing on it changes nothing at any station, and ends a trial, so that nothing half written is heard anywhere.

use crate::{link::StationId, text::Said};
use serde::Serialize;

/// Its state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stands {
    /// Nobody has it.
    Draft,
    /// One station has the newest version; the others have what was published before it, if anything was.
    Trial,
    /// Every station that is meant has the version that was published last; a newer one may be in the making.
    Published,
    /// Nobody has it any more.
    Withdrawn,
}

impl Stands {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Draft, Self::Trial, Self::Published, Self::Withdrawn];

    /// Its word in the table and in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Trial => "trial",
            Self::Published => "published",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The state in the words of whoever reads.
    pub fn said(self) -> Said {
        match self {
            Self::Draft => Said::new("草稿", "draft"),
            Self::Trial => Said::new("试播", "on trial"),
            Self::Published => Said::new("已发布", "published"),
            Self::Withdrawn => Said::new("已撤回", "withdrawn"),
        }
    }
}

/// How far a campaign is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// In one word.
    pub state: Stands,
    /// The one station that has the newest version, while it is on trial.
    pub trial: Option<StationId>,
    /// The newest.
    pub version: u64,
    /// The version that stations have; none where they have none.
    pub published: Option<u64>,
}

/// What somebody does with a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes a new version.
    Write,
    /// Gives the newest version to one station.
    Try(StationId),
    /// Gives the newest version to everybody who is meant.
    Publish,
    /// Gives an earlier version to everybody who is meant, as a new one: history only grows.
    Restore(u64),
    /// Takes it back from everybody.
    Withdraw,
}

/// Why somebody cannot do that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cannot {
    /// The newest version is published.
    NothingNew,
    /// The one station has it.
    OnTrialThere,
    /// It was withdrawn.
    Withdrawn,
    /// There is no such version.
    NoVersion,
}

impl Cannot {
    /// The reason in the words of whoever reads, with the remedy.
    pub fn said(self) -> Said {
        match self {
            Self::NothingNew => Said::new(
                "最新的内容已经发布，没有可发的修改；要改内容请先编辑",
                "the newest version is published already; write another one first",
            ),
            Self::OnTrialThere => Said::new(
                "这个村正在试播它；听过没有问题就可以发布",
                "it is on trial there; publish it once it was heard",
            ),
            Self::Withdrawn => Said::new("它已经撤回", "it was withdrawn already"),
            Self::NoVersion => {
                Said::new("没有这个版本；请刷新页面再选", "there is no such version; look at the page again")
            }
        }
    }
}

impl Standing {
    /// The first version was written.
    pub const NEW: Self = Self { state: Stands::Draft, trial: None, version: 1, published: None };

    /// Returns how far the campaign is after this step.
    pub fn after(&self, step: &Step) -> Result<Self, Cannot> {
        let Self { version, published, .. } = *self;
        let everybody_has = |version| Self { state: Stands::Published, trial: None, version, published: Some(version) };
        let is_new = published != Some(version);
        match step {
            Step::Write => {
                let state = if published.is_some() { Stands::Published } else { Stands::Draft };
                Ok(Self { state, trial: None, version: version + 1, published })
            }
            Step::Try(station) if self.trial.as_ref() == Some(station) => Err(Cannot::OnTrialThere),
            Step::Try(_) | Step::Publish if !is_new => Err(Cannot::NothingNew),
            Step::Try(station) => Ok(Self { state: Stands::Trial, trial: Some(station.clone()), version, published }),
            Step::Publish => Ok(everybody_has(version)),
            Step::Restore(old) if !(1..=version).contains(old) => Err(Cannot::NoVersion),
            // What everybody has needs no return, unless a trial is to end.
            Step::Restore(old) if published == Some(*old) && self.trial.is_none() => Err(Cannot::NothingNew),
            Step::Restore(_) => Ok(everybody_has(version + 1)),
            Step::Withdraw if self.state == Stands::Withdrawn => Err(Cannot::Withdrawn),
            Step::Withdraw => Ok(Self { state: Stands::Withdrawn, trial: None, version, published: None }),
        }
    }

    /// Returns the version that a station has which is meant.
    pub fn version_at(&self, station: &StationId) -> Option<u64> {
        if self.trial.as_ref() == Some(station) { Some(self.version) } else { self.published }
    }
}

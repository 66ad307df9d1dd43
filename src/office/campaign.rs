//! What an office gives its stations to play: a campaign, or the bulletin of a case, as a document of which every version
//! is kept.
//!
//! Pure. A campaign is a schedule in the form of a station's own, the sounds that it plays, whom it is for, and from when
//! until when. At a station it is the schedule of its id, and its sounds lie in a folder of that name, so that two campaigns
//! never share a path and the folder of one never takes in the sounds of another: [`Campaign::delivered`] writes that into
//! the text, and whoever writes a campaign need not think of it.
//!
//! Always true: a campaign that [`Campaign::check`] lets pass can be delivered, and a station that knows the same program
//! reads it without an error.
//!
//! Not here: how far a campaign is ([`Standing`]), what one station gets ([`super::compose`]).

mod bulletin;
mod standing;
#[cfg(test)]
pub(in crate::office) mod tests;

pub use bulletin::{Bulletin, Days, Weekday};
pub use standing::{Cannot, Standing, Stands, Step};

use crate::{
    ingest::BIGGEST_BYTES,
    link::{BlobId, Division, Targets, plan},
    schedule::{ClipPath, Finding, PlayPath, Schedule, Severity, Source, file, is_name},
    text::Said,
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeSet, fmt};
use toml_edit::{Datetime, DocumentMut, Item, TableLike, Value};

/// The longest title, in characters.
const LONGEST_TITLE: usize = 100;

/// Names a campaign for ever, and is the name of its schedule at the stations: letters, digits, `-` and `_` of any script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CampaignId(String);

/// A text that cannot name a campaign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}”不能作宣传或通报的名字；请用 1 到 64 个字母、数字、汉字、“-”或“_”")]
pub struct BadCampaignId(String);

impl CampaignId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CampaignId {
    type Error = BadCampaignId;
    fn try_from(text: String) -> Result<Self, BadCampaignId> {
        if is_name(&text) { Ok(Self(text)) } else { Err(BadCampaignId(text.chars().take(80).collect())) }
    }
}

impl From<CampaignId> for String {
    fn from(id: CampaignId) -> Self {
        id.0
    }
}

impl fmt::Display for CampaignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its name.
    pub id: CampaignId,
    /// What people call it.
    pub title: String,
    /// What it plays and when.
    #[serde(flatten)]
    pub content: Content,
    /// Every sound that it plays.
    pub audio: Vec<Sound>,
    /// Whom it is for.
    pub targets: Targets,
    /// First day, inclusive.
    pub from: Option<Date>,
    /// Last day, inclusive.
    pub until: Option<Date>,
}

/// What it plays and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Content {
    /// As a schedule.
    Campaign {
        /// In the form of a file in a station's `schedules/`; what it plays are paths of `audio`.
        schedule: String,
    },
    /// As the form of a case.
    Bulletin(Bulletin),
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CampaignKind {
    /// Written as a schedule.
    Campaign,
    /// Written as the form of a case.
    Bulletin,
}

impl CampaignKind {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Campaign, Self::Bulletin];

    /// Its word in the table and in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::Bulletin => "bulletin",
        }
    }

    /// The kind in the words of whoever reads.
    pub fn said(self) -> Said {
        match self {
            Self::Campaign => Said::new("宣传", "campaign"),
            Self::Bulletin => Said::new("案例通报", "bulletin"),
        }
    }
}

/// A sound of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sound {
    /// What the schedule calls it. At a station its file's stem is its title.
    pub path: ClipPath,
    /// What it is.
    pub sha256: BlobId,
    /// How long the file is.
    pub bytes: u64,
    /// What people call it.
    pub title: String,
}

/// A campaign as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// None where its structure cannot be recovered.
    pub schedule: Option<Schedule>,
    /// In order of place.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Returns whether it may be kept: it plays as it is written.
    pub fn may_be_kept(&self) -> bool {
        self.schedule.is_some() && self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }
}

/// What a station gets of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The schedule's text.
    pub schedule: String,
    /// With the paths that it has at a station.
    pub audio: Vec<plan::Sound>,
}

/// A text that cannot be written for a station.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("宣传或通报“{0}”的播放计划读不懂；请打开它，改正后再保存")]
pub struct Torn(CampaignId);

impl Campaign {
    /// Returns the text of its schedule, as it was written or as its form says.
    pub fn schedule(&self) -> Cow<'_, str> {
        match &self.content {
            Content::Campaign { schedule } => Cow::Borrowed(schedule),
            Content::Bulletin(bulletin) => Cow::Owned(bulletin.schedule(&self.title, &self.audio)),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> CampaignKind {
        match self.content {
            Content::Campaign { .. } => CampaignKind::Campaign,
            Content::Bulletin(_) => CampaignKind::Bulletin,
        }
    }

    /// Returns whether its last day has been.
    pub fn is_over(&self, today: Date) -> bool {
        self.until.is_some_and(|until| until < today)
    }

    /// Reads it, and says everything that is wrong with it. `within` is what the office may speak to.
    pub fn check(&self, within: &Division) -> Checked {
        let parsed = file::parse(Source::Town, &format!("{}.toml", self.id), &self.schedule());
        let mut findings = parsed.findings;
        let mut wrong = |code, message: String| findings.push(self.finding(code, message));
        if self.title.trim().is_empty() || self.title.chars().count() > LONGEST_TITLE {
            wrong("bad-text", format!("标题要有 1 到 {LONGEST_TITLE} 个字；请改正"));
        }
        if self.targets == Targets::default() {
            wrong("no-targets", "没有选给哪些村播；请选村、分组或区划".into());
        }
        if let Some(outside) = self.targets.divisions.iter().find(|division| !within.contains(division)) {
            wrong("outside", format!("区划 {outside} 不归本中心（{within}）管；请去掉"));
        }
        if let (Some(from), Some(until)) = (self.from, self.until)
            && from > until
        {
            wrong("from-after-until", format!("结束日期 {until} 早于开始日期 {from}，一次也不会播；请改正"));
        }
        if matches!(self.content, Content::Bulletin(_)) && self.until.is_none() {
            wrong("no-end", "案例通报要写到哪天为止；请填结束日期".into());
        }
        let mut paths = BTreeSet::new();
        for sound in &self.audio {
            if !paths.insert(&sound.path) {
                wrong("sound-twice", format!("有两个音频都叫 {}；请给一个改名", sound.path));
            }
            if !(1..=BIGGEST_BYTES).contains(&sound.bytes) {
                wrong("sound-too-large", format!("音频“{}”太大，或是空的；请换一个", sound.title));
            }
            if self.at_station(&sound.path).is_none() {
                wrong("bad-path", format!("音频的路径 {} 太长；请改短", sound.path));
            }
        }
        for path in parsed.schedule.iter().flat_map(|schedule| self.not_there(schedule)) {
            wrong("clip-not-listed", format!("播放计划要用 {path}，而音频里没有；请上传它，或改正路径"));
        }
        if parsed.schedule.is_some() && self.for_station().is_none() {
            wrong("syntax", "有的地方要靠猜才读得懂，不能下发；请照上面的提示改正".into());
        }
        Checked { schedule: parsed.schedule, findings }
    }

    fn finding(&self, code: &'static str, message: String) -> Finding {
        let file = format!("{}.toml", self.id);
        Finding { file, line: None, column: None, severity: Severity::Error, code, message }
    }

    /// Says that a sound is not among the office's.
    pub(super) fn not_uploaded(&self, sound: &Sound) -> Finding {
        self.finding("clip-not-listed", format!("音频“{}”还没有上传，或不是上传的那个；请重新上传", sound.title))
    }

    /// Returns what the schedule plays and the sounds do not hold.
    fn not_there(&self, schedule: &Schedule) -> BTreeSet<String> {
        let plays = |path: &PlayPath| {
            self.audio.iter().any(|sound| match path {
                PlayPath::Clip(clip) => sound.path == *clip,
                PlayPath::Folder(folder) => sound.path.is_in(folder),
            })
        };
        let announcements = || schedule.announcements.values();
        let chimes = announcements().filter_map(|one| one.chime.clone()).map(PlayPath::Clip);
        let all = announcements().flat_map(|one| one.play.iter().cloned()).chain(chimes);
        all.filter(|path| !plays(path)).map(|path| path.to_string()).collect()
    }

    fn at_station(&self, path: &ClipPath) -> Option<ClipPath> {
        ClipPath::try_from(format!("{}/{path}", self.id)).ok()
    }

    /// Returns what a station gets.
    pub fn delivered(&self) -> Result<Delivered, Torn> {
        let torn = || Torn(self.id.clone());
        let sound = |sound: &Sound| {
            let path = self.at_station(&sound.path)?;
            Some(plan::Sound { path, sha256: sound.sha256, bytes: sound.bytes })
        };
        let audio = self.audio.iter().map(sound).collect::<Option<_>>().ok_or_else(torn)?;
        Ok(Delivered { schedule: self.for_station().ok_or_else(torn)?, audio })
    }

    /// Writes the folder and the dates into the text.
    fn for_station(&self) -> Option<String> {
        let text = self.schedule();
        let mut document: DocumentMut = text.strip_prefix('\u{feff}').unwrap_or(&text).parse().ok()?;
        let announcements = document.get_mut("announcement").and_then(Item::as_table_like_mut);
        for (_, announcement) in announcements.into_iter().flat_map(TableLike::iter_mut) {
            let Some(table) = announcement.as_table_like_mut() else { continue };
            for key in ["chime", "play"] {
                match table.get_mut(key).and_then(Item::as_value_mut) {
                    Some(Value::Array(list)) => list.iter_mut().for_each(|path| self.move_in(path)),
                    Some(path) => self.move_in(path),
                    None => {}
                }
            }
        }
        // The schedule may have dates of its own: what lies within both counts.
        let own = |key| date(document.get(key)?);
        let (from, until) = (own("from").max(self.from), [own("until"), self.until].into_iter().flatten().min());
        for (key, date) in [("from", from), ("until", until)] {
            if let Some(date) = date {
                document.insert(key, Item::Value(Value::from(date.to_string().parse::<Datetime>().ok()?)));
            }
        }
        Some(document.to_string())
    }

    fn move_in(&self, path: &mut Value) {
        if let Some(text) = path.as_str() {
            let mut moved = Value::from(format!("{}/{text}", self.id));
            *moved.decor_mut() = path.decor().clone();
            *path = moved;
        }
    }
}

fn date(item: &Item) -> Option<Date> {
    item.as_datetime()?.to_string().parse().ok()
}

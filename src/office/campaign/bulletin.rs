//! The bulletin of a case, as a form: what happened, what was lost, what is learnt from it, what to do; and when it is said.

use super::Sound;
use crate::schedule::{Band, ClipPath, Volume};
use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

/// The form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulletin {
    /// 骗术: how it is done.
    pub trick: String,
    /// 损失: what was lost.
    pub loss: String,
    /// 教训: what is learnt from it.
    pub lesson: String,
    /// 提醒: what to do.
    pub reminder: String,
    /// How pressing it is; never an emergency.
    #[serde(default = "urgent")]
    pub band: Band,
    /// In percent of the station's volume.
    #[serde(default = "full")]
    pub volume: Volume,
    /// The one of the sounds that is heard first; the others are what is said, in byte order of path.
    #[serde(default)]
    pub chime: Option<ClipPath>,
    /// At which times of the day.
    pub times: BTreeSet<Time>,
    /// On which days.
    #[serde(default)]
    pub days: Days,
}

fn urgent() -> Band {
    Band::Urgent
}

fn full() -> Volume {
    Volume::FULL
}

/// The days on which it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Days {
    /// All.
    #[default]
    EveryDay,
    /// Make-up workdays are among them.
    Workdays,
    /// Weekends outside every arrangement.
    RestDays,
    /// Public ones.
    Holidays,
    /// These.
    Weekdays(BTreeSet<Weekday>),
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as schedules write them")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Weekday {
    /// As schedules write it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }
}

impl Days {
    fn value(&self) -> Value {
        match self {
            Self::EveryDay => "every-day".into(),
            Self::Workdays => "workdays".into(),
            Self::RestDays => "rest-days".into(),
            Self::Holidays => "holidays".into(),
            Self::Weekdays(days) => Value::Array(days.iter().map(|day| day.key()).collect()),
        }
    }
}

impl Bulletin {
    /// The announcement's name in the schedule.
    pub const ANNOUNCEMENT: &'static str = "bulletin";

    /// Returns what a screen beside the loudspeaker shows: what was filled in.
    pub fn screen(&self) -> String {
        let parts =
            [("骗术", &self.trick), ("损失", &self.loss), ("教训", &self.lesson), ("提醒", &self.reminder)].into_iter();
        let filled = parts.map(|(head, text)| (head, text.trim())).filter(|(_, text)| !text.is_empty());
        filled.map(|(head, text)| format!("{head}：{text}")).collect::<Vec<_>>().join("\n")
    }

    /// Writes the schedule of a bulletin.
    pub(super) fn schedule(&self, title: &str, audio: &[Sound]) -> String {
        let mut announcement = Table::new();
        let mut put = |key: &str, value: Value| drop(announcement.insert(key, Item::Value(value)));
        put("title", title.into());
        put(
            "band",
            match self.band {
                Band::Background => "background",
                Band::Normal => "normal",
                Band::Urgent => "urgent",
                // Which the parser refuses, as in any file.
                Band::Emergency => "emergency",
            }
            .into(),
        );
        if let Some(chime) = &self.chime {
            put("chime", chime.as_str().into());
        }
        let said = audio.iter().map(|sound| &sound.path).filter(|path| Some(*path) != self.chime.as_ref());
        put("play", Value::Array(said.map(ClipPath::as_str).collect()));
        put("pick", "all".into());
        put("volume", i64::from(self.volume.percent()).into());
        let screen = self.screen();
        if !screen.is_empty() {
            put("screen", screen.into());
        }
        let at: Array = self.times.iter().map(written).collect();
        let mut rule = Table::new();
        rule.insert("play", Item::Value(Self::ANNOUNCEMENT.into()));
        rule.insert("at", Item::Value(Value::Array(at)));
        rule.insert("on", Item::Value(self.days.value()));

        let mut document = DocumentMut::new();
        document.insert("title", Item::Value(title.into()));
        let mut announcements = Table::new();
        announcements.set_implicit(true);
        announcements.insert(Self::ANNOUNCEMENT, Item::Table(announcement));
        document.insert("announcement", Item::Table(announcements));
        let mut rules = ArrayOfTables::new();
        rules.push(rule);
        document.insert("rule", Item::ArrayOfTables(rules));
        document.to_string()
    }
}

fn written(time: &Time) -> String {
    time.strftime(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string()
}

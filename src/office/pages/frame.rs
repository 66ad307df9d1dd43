//! What stands around every page of the office, and how times are written on them.

use super::words;
use crate::web::{self, Asked};
use askama::Template;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Deserialize;

pub(super) use crate::web::{done, fill, query};

/// What stands around a page.
pub(super) type Frame = web::Frame<words::Words, Place>;

/// Texts around every page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub stations: String,
    pub campaigns: String,
    pub emergency: String,
    pub play: String,
    pub roll_call: String,
    pub assess: String,
    pub journal: String,
    pub enrol: String,
    pub groups: String,
    pub people: String,
    pub keys: String,
    pub records: String,
    pub just_now: String,
    pub minutes_ago: String,
    pub hours_ago: String,
    pub days_ago: String,
    pub never: String,
}

/// A page as the way to it names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// 总览
    Stations,
    /// 活动
    Campaigns,
    /// 应急
    Emergency,
    /// 立即播放, 音量
    Play,
    /// 抽查
    RollCall,
    /// 考评
    Assess,
    /// 播出记录
    Journal,
    /// 入网
    Enrol,
    /// 分组
    Groups,
    /// 人员
    People,
    /// 密钥
    Keys,
    /// 操作记录
    Records,
    /// Something that no way leads to.
    Elsewhere,
}

/// A page of which only the main part is known.
#[derive(Template)]
#[template(path = "office-plain.html")]
struct Plain<'a> {
    frame: &'a Frame,
    title: &'a str,
    main: &'a str,
}

/// Puts the frame around the main part of a page.
pub(super) fn around(asked: Asked, office: &str, title: &str, main: &str) -> Response {
    web::html(&Plain { frame: &Frame::new(asked, office, Place::Elsewhere), title, main })
}

/// How times are written: in the office's zone, and how long ago they were.
#[derive(Debug, Clone)]
pub(super) struct Times {
    pub zone: TimeZone,
    pub now: Timestamp,
    pub words: &'static Words,
}

impl Times {
    /// `2026-06-17 06:30`
    pub fn at(&self, at: &Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// `06:30:05`
    pub fn clock(&self, at: &Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// How long ago it was, roughly; never where it was not.
    pub fn ago(&self, at: &Option<Timestamp>) -> String {
        let Some(at) = at else { return self.words.never.clone() };
        let past = self.now.duration_since(*at).max(SignedDuration::ZERO);
        match (past.as_mins(), past.as_hours()) {
            (0, _) => self.words.just_now.clone(),
            (minutes @ ..60, _) => fill(&self.words.minutes_ago, &[("n", &minutes)]),
            (_, hours @ ..48) => fill(&self.words.hours_ago, &[("n", &hours)]),
            (_, hours) => fill(&self.words.days_ago, &[("n", &(hours / 24))]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Language;

    #[test]
    fn a_time_is_as_long_ago_as_people_say() {
        let words = &words::Words::of(Language::English).frame;
        let now = Timestamp::from_second(10_000_000).unwrap();
        let times = Times { zone: TimeZone::UTC, now, words };
        for (seconds, expected) in [
            (-30, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (3_599, "59 min ago"),
            (3_600, "1 h ago"),
            (172_799, "47 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(times.ago(&Some(now - SignedDuration::from_secs(seconds))), expected, "{seconds}");
        }
        assert_eq!(times.ago(&None), "never");
    }
}

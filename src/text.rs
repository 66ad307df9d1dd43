//! What the texts of a station have in common, whoever writes or reads them: languages, places, dates, hexadecimal digits.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use toml::value::Datetime;

/// A language that people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// 中文
    #[default]
    Chinese,
    /// English
    English,
}

impl Language {
    /// Returns the language of a tag such as `zh-CN`.
    pub fn tagged(tag: &str) -> Option<Self> {
        match tag.get(..2) {
            Some("zh") => Some(Self::Chinese),
            Some("en") => Some(Self::English),
            _ => None,
        }
    }

    /// Returns its tag for HTML.
    pub fn tag(self) -> &'static str {
        self.pick("zh-CN", "en")
    }

    /// Returns the other one.
    pub fn other(self) -> Self {
        self.pick(Self::English, Self::Chinese)
    }

    /// Returns the one of two texts that is in this language.
    pub fn pick<T>(self, chinese: T, english: T) -> T {
        match self {
            Self::Chinese => chinese,
            Self::English => english,
        }
    }
}

/// One sentence in each language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// 中文
    pub zh: String,
    /// English
    pub en: String,
}

impl Said {
    /// Returns a sentence in both languages.
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { zh: zh.into(), en: en.into() }
    }

    /// Returns it in this language.
    pub fn in_language(&self, language: Language) -> &str {
        language.pick(&self.zh, &self.en)
    }
}

/// Line and column of a byte offset, from 1, the column in characters.
pub fn place(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// Returns the day that TOML's value names; none where it carries a time, or the day does not exist.
pub fn civil_date(written: &Datetime) -> Option<Date> {
    let Datetime { date: Some(date), time: None, offset: None } = written else { return None };
    Date::new(i16::try_from(date.year).ok()?, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()
}

/// Returns a date as people say it, with its day of the week.
pub fn day_named(date: Date, language: Language) -> String {
    let weekday = usize::from(date.weekday().to_monday_zero_offset().unsigned_abs());
    let chinese = ["一", "二", "三", "四", "五", "六", "日"][weekday];
    language.pick(format!("{}月{}日 周{chinese}", date.month(), date.day()), date.strftime("%a %-d %b").to_string())
}

/// Lower-case hexadecimal digits, two a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

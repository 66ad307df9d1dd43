//! One remark about a file that a person wrote, with the place and the remedy.

use crate::text::Language;
use serde::Serialize;
use std::fmt;

/// How bad a [`Finding`] is. `check` fails on an error or a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not meant.
    Warning,
    /// Something will not play as written.
    Error,
}

/// One remark about a file, as `dalaba check` prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Relative to the station's home, with `/`.
    pub file: String,
    /// From 1; none where the finding is about the whole file.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// Stable, kebab-case: `unknown-key`.
    pub code: &'static str,
    /// What is wrong and what to do about it, in Chinese.
    pub message: String,
}

impl Finding {
    /// Returns the finding in the words of whoever reads. The English ones are of its kind: line and column say the rest.
    pub fn said(&self, language: Language) -> String {
        if language == Language::Chinese {
            return self.to_string();
        }
        let place = [self.line, self.column]
            .into_iter()
            .flatten()
            .fold(self.file.clone(), |at, number| format!("{at}:{number}"));
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        format!("{place}: {severity}[{}] {}", self.code, self.remark(language))
    }

    /// Returns its sentence alone, where the page says the place in its own way.
    pub fn remark(&self, language: Language) -> &str {
        language.pick(None, english(self.code)).unwrap_or(&self.message)
    }
}

/// Returns what a kind of finding means and what to do about it, in English.
fn english(code: &str) -> Option<&'static str> {
    Some(match code {
        "bad-address" => "this is no address; write 127.0.0.1:8650",
        "bad-band" => "this is no band; write background, normal or urgent",
        "bad-calendar" => "the year file cannot be used as it is; the one before stays in force",
        "bad-cancel" => "write \"all\", or a list of announcements",
        "bad-cron" => "cron does not read this line; write five fields, as 30 6 * * 1-5",
        "bad-date" => "there is no such date; write 2026-12-13",
        "bad-days" => "these are no days; write every-day, workdays, rest-days, holidays or [\"mon\", \"fri\"]",
        "bad-duration" => "this length of time does not fit; write 2m, 30s or 4h",
        "bad-during" => "write working-hours, after-hours or windows as 06:00-21:00",
        "bad-file-name" => "this file name cannot be used; rename the file",
        "bad-id" => "an id has letters a-z, digits and - only",
        "bad-loudness" => "this loudness does not fit; write -16",
        "bad-lunar-date" => "there is no such lunar date; write 12-23, or 闰06-15 in a leap month",
        "bad-name" => "a name has letters, digits, - and _ only, 64 at most",
        "bad-path" => "this is no path under audio/; write fraud/ or chime/gong.wav",
        "bad-pick" => "write in-turn, shuffle or all",
        "bad-station-file" => "station.toml cannot be read as it is; see the example in README",
        "bad-term" => "there is no such solar term; write its Chinese name, as 冬至",
        "bad-text" => "this text is too long or holds characters that cannot be shown",
        "bad-time" => "this is no time of day; write 06:30",
        "bad-value" => "this value does not fit here; see the example in README",
        "bad-volume" => "a volume is a whole number from 0 to 100",
        "bad-window" => "this is no window of time; write 06:00-21:00",
        "between-without-every" => "`between` needs `every`; add it, or take `between` out",
        "clip-expired" => "all clips of this announcement are past their validity; put in newer ones",
        "clip-not-listed" => "this is not among the sounds of the campaign; upload it, or correct the path",
        "clip-missing" => "this clip is not in audio/; put it there or correct the path",
        "clip-refused" => "this file cannot be used as a clip; import says why; replace it",
        "clips-expire" => "clips end their validity while they are still planned; have newer ones ready",
        "duplicate-announcement" => "two announcements have this name; rename one",
        "duplicate-key" => "this key stands here twice; take one out",
        "duplicate-time" => "this time stands here twice; one is enough",
        "emergency-band" => "no file can give an emergency; use the page or `dalaba play --emergency`",
        "empty-folder" => "this folder has no clips; put some there",
        "empty-list" => "this list is empty",
        "empty-play" => "this announcement plays nothing; name a file or a folder",
        "file-too-large" | "too-large" => "this file is larger than a schedule can be; is it the right one?",
        "from-after-until" => "`from` lies after `until`; exchange them",
        "in-quiet-hours" => "this falls into quiet hours and is left out; move it, or the quiet hours",
        "missing-key" => "a key is missing here; see the example in README",
        "never-due" => "this rule never falls due in a year; check its days and times",
        "no-end" => "a bulletin needs a last day",
        "no-output" => "name at least one output, as \"default\"",
        "no-targets" => "choose villages, groups or divisions that are to play it",
        "no-station-file" => "there is no station.toml yet; set the station up on its page",
        "not-a-year" => "a calendar file is named by its year, as 2027.toml",
        "not-loopback" => "the pages can be opened on this machine only; write 127.0.0.1:8650",
        "not-utf8" => "this file is not UTF-8 text; save it as UTF-8",
        "one-of-at-every-cron" => "a rule has exactly one of at, every and cron",
        "outside" => "this division does not belong to the office; take it out",
        "over-daily-limit" => "this is beyond the day's limit and left out; play less, or raise the limit",
        "overlap" => "this overlaps another announcement; the rules settle which one plays",
        "sound-too-large" => "this sound is too large, or empty; take another",
        "sound-twice" => "two sounds have one path; rename one",
        "syntax" => "this cannot be read as TOML; check quotes, brackets and commas",
        "too-many-a-day" => "more occurrences in a day than a station plays; make them fewer",
        "too-many-rules" => "more rules than a schedule may have; split the file",
        "unknown-announcement" => "no announcement has this name; correct it, or add one",
        "unknown-days" => "these days are not known; write every-day, workdays, rest-days or holidays",
        "unknown-key" => "this key is not known and has no effect; check its spelling",
        "unknown-output" => "this output is not known; `dalaba devices` lists them",
        "unknown-weekday" => "this weekday is not known; write mon tue wed thu fri sat sun",
        "unknown-zone" => "there is no such time zone; write \"Asia/Shanghai\"",
        "unofficial-year" => "the official holidays of this year are not known yet; legal days and weekends count",
        "unquoted-name" => "put this name into quotation marks",
        "unreadable" => "this file cannot be opened; check its permissions",
        "unused-announcement" => "no rule plays this announcement",
        "wrong-type" => "this value is of the wrong kind; see the example in README",
        _ => return None,
    })
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "提示",
            Severity::Warning => "警告",
            Severity::Error => "错误",
        };
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {severity}[{}] {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_said_in_either_language_with_its_place() {
        let finding = Finding {
            file: "schedules/daily.toml".into(),
            line: Some(3),
            column: Some(8),
            severity: Severity::Warning,
            code: "unknown-key",
            message: "“colour”不认识；请检查拼写".into(),
        };
        assert_eq!(
            finding.said(Language::Chinese),
            "schedules/daily.toml:3:8: 警告[unknown-key] “colour”不认识；请检查拼写"
        );
        assert_eq!(
            finding.said(Language::English),
            "schedules/daily.toml:3:8: warning[unknown-key] this key is not known and has no effect; check its spelling"
        );
    }
}

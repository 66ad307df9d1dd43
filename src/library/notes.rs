//! `audio/clips.toml`: title, validity and retirement, by path.
//!
//! ```toml
//! ["fraud/fake-boss.mp3"]
//! title = "冒充领导"
//! valid-from = 2026-11-01
//! valid-until = 2026-12-31
//! retired = false
//! ```

use super::cache::Stamp;
use crate::{
    schedule::{ClipPath, Finding, Severity},
    text::{civil_date, place},
};
use jiff::civil::Date;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};
use toml::de::{DeTable, DeValue};

/// What a person wrote about one clip.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Note {
    pub title: Option<String>,
    pub valid_from: Option<Date>,
    pub valid_until: Option<Date>,
    pub retired: bool,
}

/// What a person wrote about clips.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<ClipPath, Note>);

/// For the findings: relative to the home.
const FILE: &str = "audio/clips.toml";

impl Notes {
    /// Reads the file if it is there; what it says of clips that are not is a finding.
    pub fn read(file: &Path, clips: &BTreeMap<ClipPath, (PathBuf, Stamp)>, findings: &mut Vec<Finding>) -> Self {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, |path| clips.contains_key(path), findings),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(_) => {
                let message = "读不到这个文件，或它不是 UTF-8 文本；请检查权限，或另存为 UTF-8".to_owned();
                findings.push(finding("", None, Severity::Error, "unreadable", message));
                Self::default()
            }
        }
    }

    /// Reads the text; a bad value loses only itself.
    fn parse(text: &str, exists: impl Fn(&ClipPath) -> bool, findings: &mut Vec<Finding>) -> Self {
        let mut say = |span: Option<Range<usize>>, severity, code, message: String| {
            findings.push(finding(text, span, severity, code, message));
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            say(error.span(), Severity::Error, "syntax", format!("写法有误：{}；请对照说明改正", error.message()));
        }
        let mut notes = BTreeMap::new();
        for (key, value) in table.get_ref() {
            let path = match ClipPath::try_from(key.get_ref().to_string()) {
                Ok(path) => path,
                Err(_) => {
                    say(
                        Some(key.span()),
                        Severity::Error,
                        "bad-path",
                        format!("“{}”不是 audio/ 下的路径", key.get_ref()),
                    );
                    continue;
                }
            };
            let DeValue::Table(fields) = value.get_ref() else {
                let message = format!("每个音频要写成一节，例如 [\"{path}\"]，下面写 title = \"…\"");
                say(Some(value.span()), Severity::Error, "bad-value", message);
                continue;
            };
            if !exists(&path) {
                let message = format!("audio/ 里没有“{path}”；请检查路径，或删去这一节");
                say(Some(key.span()), Severity::Warning, "clip-missing", message);
            }
            let mut note = Note::default();
            for (name, value) in fields {
                let wanted = match (name.get_ref().as_ref(), value.get_ref()) {
                    ("title", DeValue::String(title)) if !title.trim().is_empty() => {
                        note.title = Some(title.trim().to_owned());
                        continue;
                    }
                    ("retired", DeValue::Boolean(retired)) => {
                        note.retired = *retired;
                        continue;
                    }
                    ("valid-from", value) if date(value).is_some() => {
                        note.valid_from = date(value);
                        continue;
                    }
                    ("valid-until", value) if date(value).is_some() => {
                        note.valid_until = date(value);
                        continue;
                    }
                    ("title", _) => "不为空的文字，例如 \"冒充领导\"",
                    ("retired", _) => "true 或 false",
                    ("valid-from" | "valid-until", _) => "日期，例如 2026-11-01",
                    (name, _) => {
                        let message = format!("不认识“{name}”；可以写 title、valid-from、valid-until、retired");
                        say(Some(value.span()), Severity::Error, "unknown-key", message);
                        continue;
                    }
                };
                let message = format!("“{}”应是{wanted}", name.get_ref());
                say(Some(value.span()), Severity::Error, "bad-value", message);
            }
            if let (Some(from), Some(until)) = (note.valid_from, note.valid_until)
                && until < from
            {
                let message = "valid-until 早于 valid-from，这个音频永远不会播出；请改正日期".to_owned();
                say(Some(key.span()), Severity::Error, "bad-value", message);
            }
            notes.insert(path, note);
        }
        Self(notes)
    }

    /// Returns what is written about `path`; nothing in particular for most.
    pub fn get(&self, path: &ClipPath) -> Note {
        self.0.get(path).cloned().unwrap_or_default()
    }
}

fn date(value: &DeValue<'_>) -> Option<Date> {
    let DeValue::Datetime(written) = value else { return None };
    civil_date(written)
}

fn finding(text: &str, span: Option<Range<usize>>, severity: Severity, code: &'static str, message: String) -> Finding {
    let (line, column) = span.map(|span| place(text, span.start)).unzip();
    Finding { file: FILE.into(), line, column, severity, code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Notes, Vec<String>) {
        let mut findings = Vec::new();
        let notes = Notes::parse(text, |path| path.as_str() == "a.mp3", &mut findings);
        (
            notes,
            findings.iter().map(|f| format!("{}:{} {}", f.line.unwrap_or(0), f.column.unwrap_or(0), f.code)).collect(),
        )
    }

    #[test]
    fn a_clip_has_what_is_written_about_it() {
        let (notes, findings) = read(
            "[\"a.mp3\"]\ntitle = \" 冒充领导 \"\nvalid-from = 2026-11-01\nvalid-until = 2026-12-31\nretired = true\n",
        );
        let expected = Note {
            title: Some("冒充领导".into()),
            valid_from: Some(jiff::civil::date(2026, 11, 1)),
            valid_until: Some(jiff::civil::date(2026, 12, 31)),
            retired: true,
        };
        assert_eq!(notes.get(&ClipPath::try_from("a.mp3".to_owned()).unwrap()), expected);
        assert_eq!(findings, Vec::<String>::new());
    }

    #[test]
    fn a_mistake_is_named_with_its_place_and_loses_only_itself() {
        for (text, expected) in [
            ("[\"b.mp3\"]\ntitle = \"x\"", "1:2 clip-missing"),
            ("[\"../a.mp3\"]\n", "1:2 bad-path"),
            ("[\"a.mp3\"]\ntitel = \"x\"", "2:9 unknown-key"),
            ("[\"a.mp3\"]\nretired = \"yes\"", "2:11 bad-value"),
            ("[\"a.mp3\"]\nvalid-from = \"2026-11-01\"", "2:14 bad-value"),
            ("[\"a.mp3\"]\nvalid-from = 2026-11-02\nvalid-until = 2026-11-01", "1:2 bad-value"),
            ("\"a.mp3\" = 3", "1:11 bad-value"),
        ] {
            assert_eq!(read(text).1, [expected], "{text}");
        }
        let (notes, _) = read("[\"a.mp3\"]\nretired = 3\ntitle = \"仍在\"");
        assert_eq!(notes.get(&ClipPath::try_from("a.mp3".to_owned()).unwrap()).title.as_deref(), Some("仍在"));
    }
}

//! Reads one TOML value at a time and remembers what was wrong with it, and where.

use super::super::{ClipPath, Finding, PlayPath, Severity, Volume};
use super::recover::Block;
use crate::{calendar::DayWindow, text::civil_date};
use jiff::{
    SignedDuration,
    civil::{Date, Time},
};
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
    value::Datetime,
};

/// A value with its place.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A value could not be used; the remark that says so is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// What a reader returns.
pub(super) type Read<T> = Result<T, Reported>;

/// One table, with the place to point at where a key is missing.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub fields: &'a DeTable<'a>,
    pub at: usize,
}

struct Remark {
    at: usize,
    severity: Severity,
    code: &'static str,
    message: String,
}

/// Reads values, and keeps a remark on each that cannot be used.
#[derive(Default)]
pub(super) struct Reader {
    remarks: Vec<Remark>,
    /// Where the current block begins.
    base: usize,
    /// Where the current block is broken, in order, counted from its start.
    broken: Vec<Range<usize>>,
    /// Whether the current block is one announcement, rule or override.
    headed: bool,
    /// Whether keys of the current block may have been lost.
    torn: bool,
}

impl Reader {
    /// Turns to the next block.
    pub fn enter(&mut self, block: &Block<'_>) {
        self.base = block.base;
        self.broken.clone_from(&block.broken);
        self.headed = block.headed;
        self.torn = block.mistakes.iter().any(|mistake| mistake.kind.tears());
    }

    /// Returns whether TOML could not read all of the announcement, rule or override at `span`.
    pub fn is_broken(&self, span: &Range<usize>) -> bool {
        if self.headed { !self.broken.is_empty() } else { self.touches(span) }
    }

    /// Returns whether keys of the current block may have been lost.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Returns whether a broken place lies at or in `span`.
    fn touches(&self, span: &Range<usize>) -> bool {
        let after = self.broken.partition_point(|broken| broken.start <= span.end);
        self.broken[..after].last().is_some_and(|broken| broken.end >= span.start)
    }

    /// Remarks on something at `span` that will not play as written, unless TOML itself stumbled there.
    pub fn wrong(&mut self, span: Range<usize>, code: &'static str, message: impl Into<String>) -> Reported {
        if !self.touches(&span) {
            self.remark(span.start, Severity::Error, code, message);
        }
        Reported
    }

    /// Remarks on the place `at` of the current block.
    pub fn remark(&mut self, at: usize, severity: Severity, code: &'static str, message: impl Into<String>) {
        self.remarks.push(Remark { at: self.base + at, severity, code, message: message.into() });
    }

    /// Returns every remark in order of place, with line and column.
    pub fn findings(mut self, file: &str, text: &str) -> Vec<Finding> {
        self.remarks.sort_by_key(|remark| remark.at);
        let (mut line, mut column, mut seen) = (1, 1, 0);
        let mut findings = Vec::with_capacity(self.remarks.len());
        for remark in self.remarks {
            let at = text.floor_char_boundary(remark.at);
            for c in text[seen..at].chars() {
                (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
            }
            seen = at;
            findings.push(Finding {
                file: file.to_owned(),
                line: Some(line),
                column: Some(column),
                severity: remark.severity,
                code: remark.code,
                message: remark.message,
            });
        }
        findings
    }

    /// Remarks on every key of `table` that is not in `known`.
    pub fn refuse_unknown(&mut self, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) || self.touches(&key.span()) {
                continue;
            }
            let remedy = match nearest(name, known.iter().copied()) {
                Some(near) => format!("是不是想写“{near}”？"),
                None => format!("这里可以写 {}；请删去或改正", known.join("、")),
            };
            let message = format!("不认识“{}”，这一项不起作用；{remedy}", shown(name));
            self.remark(key.span().start, Severity::Warning, "unknown-key", message);
        }
    }

    /// Reads `key` where it is there.
    pub fn optional<T>(
        &mut self,
        table: Table<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Value<'_>) -> Read<T>,
    ) -> Read<Option<T>> {
        table.fields.get(key).map(|value| read(self, value)).transpose()
    }

    /// Reads `key`, which must be there.
    pub fn required<T>(
        &mut self,
        table: Table<'_>,
        key: &str,
        example: &str,
        read: impl FnOnce(&mut Self, &Value<'_>) -> Read<T>,
    ) -> Read<T> {
        match table.fields.get(key) {
            Some(value) => read(self, value),
            None if self.torn => Err(Reported),
            None => Err(self.wrong(table.at..table.at, "missing-key", format!("缺少“{key}”；请加上一行 {example}"))),
        }
    }

    /// Remarks that `value` is of the wrong type.
    pub fn mistyped(&mut self, value: &Value<'_>, shape: &str) -> Reported {
        let found = match value.get_ref() {
            DeValue::String(_) => "文字",
            DeValue::Integer(_) => "整数",
            DeValue::Float(_) => "小数",
            DeValue::Boolean(_) => "true 或 false",
            DeValue::Datetime(_) => "日期或时间",
            DeValue::Array(_) => "列表",
            DeValue::Table(_) => "一组键值",
        };
        self.wrong(value.span(), "wrong-type", format!("这里要写{shape}，现在写的是{found}；请改正"))
    }

    /// Reads `true` or `false`.
    pub fn flag(&mut self, value: &Value<'_>) -> Read<bool> {
        value.get_ref().as_bool().ok_or_else(|| self.mistyped(value, " true 或 false（不加引号）"))
    }

    /// Reads text as it stands.
    pub fn string(&mut self, value: &Value<'_>) -> Read<String> {
        match value.get_ref().as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.mistyped(value, "文字，放在英文双引号里")),
        }
    }

    /// Reads text for people: something, and not without end.
    pub fn text(&mut self, value: &Value<'_>) -> Read<String> {
        const LONGEST: usize = 500;
        let text = self.string(value)?;
        let readable = text.chars().count() <= LONGEST && text.chars().all(|c| c == '\n' || !c.is_control());
        if text.trim().is_empty() || !readable {
            let message = format!("这里的文字不能为空、不能超过 {LONGEST} 个字，也不能有控制字符；请改正或删去这一行");
            return Err(self.wrong(value.span(), "bad-text", message));
        }
        Ok(text)
    }

    /// Reads each item of a list; all of its mistakes are remarked on.
    pub fn list<T>(
        &mut self,
        value: &Value<'_>,
        shape: &str,
        read: impl Fn(&mut Self, &Value<'_>) -> Read<T>,
    ) -> Read<Vec<T>> {
        let Some(items) = value.get_ref().as_array() else {
            return Err(self.mistyped(value, shape));
        };
        let read: Vec<Read<T>> = items.iter().map(|item| read(self, item)).collect();
        read.into_iter().collect()
    }

    /// Reads a list that must hold something.
    pub fn filled<T>(
        &mut self,
        value: &Value<'_>,
        shape: &str,
        read: impl Fn(&mut Self, &Value<'_>) -> Read<T>,
    ) -> Read<Vec<T>> {
        let items = self.list(value, shape, read)?;
        if items.is_empty() {
            return Err(self.wrong(value.span(), "empty-list", format!("这里是空的；请写{shape}")));
        }
        Ok(items)
    }

    /// Reads a date: `2026-12-13`.
    pub fn date(&mut self, value: &Value<'_>) -> Read<Date> {
        let DeValue::Datetime(written) = value.get_ref() else {
            return Err(self.mistyped(value, "日期，不加引号，如 2026-12-13"));
        };
        let day = civil_date(written);
        // Far from both ends of jiff's calendar, so that a day's neighbours exist.
        match day.filter(|day| (1900..=9000).contains(&day.year())) {
            Some(day) => Ok(day),
            None => {
                Err(self.wrong(value.span(), "bad-date", "这里要写一个存在的日期，不带时间，如 2026-12-13；请改正"))
            }
        }
    }

    /// Reads a time of day: `"06:30"`, `"06:30:15"`, or TOML's own `06:30:15`.
    pub fn time(&mut self, value: &Value<'_>) -> Read<Time> {
        let time = match value.get_ref() {
            DeValue::String(text) => clock_time(text),
            DeValue::Datetime(Datetime { date: None, time: Some(time), offset: None }) => {
                let whole = time.nanosecond.unwrap_or(0) == 0;
                whole.then(|| [time.hour, time.minute, time.second.unwrap_or(0)]).and_then(of_parts)
            }
            DeValue::Datetime(_) => None,
            _ => return Err(self.mistyped(value, "时间，如 \"06:30\"")),
        };
        time.ok_or_else(|| {
            let message = "这里要写 00:00 到 23:59:59 的时间，时和分各两位，如 \"06:30\" 或 \"11:40:30\"；请改正";
            self.wrong(value.span(), "bad-time", message)
        })
    }

    /// Reads a length of time above nothing and up to a day: `"2m"`, `"30s"`, `"1h30m"`.
    pub fn duration(&mut self, value: &Value<'_>) -> Read<SignedDuration> {
        let text = self.string(value)?;
        let longest = SignedDuration::from_hours(24);
        match text.parse::<SignedDuration>() {
            Ok(length) if length > SignedDuration::ZERO && length <= longest => Ok(length),
            _ => {
                let message = "这里要写一段时长，大于零、不超过 24 小时，如 \"30s\"、\"2m\"、\"1h30m\"；请改正";
                Err(self.wrong(value.span(), "bad-duration", message))
            }
        }
    }

    /// Reads a window of the day.
    pub fn window(&mut self, value: &Value<'_>) -> Read<DayWindow> {
        let text = self.string(value)?;
        text.parse::<DayWindow>().map_err(|error| self.wrong(value.span(), "bad-window", error.to_string()))
    }

    /// Reads a volume in percent.
    pub fn volume(&mut self, value: &Value<'_>) -> Read<Volume> {
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.mistyped(value, " 0 到 100 的整数，不加引号"));
        };
        let percent = u8::from_str_radix(number.as_str(), number.radix()).ok();
        percent.and_then(|percent| Volume::try_from(percent).ok()).ok_or_else(|| {
            self.wrong(value.span(), "bad-volume", "音量是 0 到 100 的整数（占本站音量的百分比）；请改正")
        })
    }

    /// Reads the path of one clip.
    pub fn clip(&mut self, value: &Value<'_>) -> Read<ClipPath> {
        let path = self.string(value)?;
        self.path(value, &path)
    }

    /// Reads the path of a clip or, with a `/` at its end, of a folder.
    pub fn play_path(&mut self, value: &Value<'_>) -> Read<PlayPath> {
        let path = self.string(value)?;
        match path.strip_suffix('/') {
            Some(folder) => self.path(value, folder).map(PlayPath::Folder),
            None => self.path(value, &path).map(PlayPath::Clip),
        }
    }

    fn path(&mut self, value: &Value<'_>, path: &str) -> Read<ClipPath> {
        ClipPath::try_from(path.to_owned()).map_err(|_| {
            let message = "这里要写 audio/ 里面的路径，用“/”分隔，不带盘符、“\\”和“..”，如 \"fraud/fake-police.mp3\"，\
                           文件夹以“/”结尾，如 \"fraud/\"；请改正";
            self.wrong(value.span(), "bad-path", message)
        })
    }
}

/// Reads `HH:MM` or `HH:MM:SS`.
fn clock_time(text: &str) -> Option<Time> {
    let mut parts = [0; 3];
    let mut count = 0;
    for (index, part) in text.split(':').enumerate() {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        *parts.get_mut(index)? = if plain { part.parse().ok()? } else { return None };
        count += 1;
    }
    if count < 2 { None } else { of_parts(parts) }
}

fn of_parts([hour, minute, second]: [u8; 3]) -> Option<Time> {
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, 0).ok()
}

/// Returns the one of `names` that `name` was probably meant to be.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const LONGEST: usize = 64;
    let name: Vec<char> = name.chars().take(LONGEST + 1).collect();
    if name.len() > LONGEST {
        return None;
    }
    let near = names.map(|known| (edits(&name, known), known)).min()?;
    let allowed = if name.len() <= 4 { 1 } else { 2 };
    (near.0 <= allowed && near.0 < name.len()).then_some(near.1)
}

/// Counts the letters to put in, take out or replace between the two.
fn edits(name: &[char], known: &str) -> usize {
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (index, known) in known.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, letter) in name.iter().enumerate() {
            let replaced = diagonal + usize::from(*letter != known);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[name.len()]
}

/// Returns `text` short enough for a message.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

//! Changes of `station.toml` from a page: comments and order stay, a key that nobody changed is not written, and nothing
//! is written that the station could not start with.
//!
//! Not here: which page changes what ([`super::settings`], [`super::first_run`]).

use super::Panel;
use crate::{
    config::{self, Config},
    schedule::Finding,
    web::{Asked, Problem},
};
use jiff::civil::Date;
use std::{collections::BTreeMap, fs, io};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TomlError, Value, value};

/// What a station file begins with that no person wrote.
const FRESH: &str = "# 本站的基本情况。可以在“设置”页面改，也可以用记事本改，保存即生效。\n\n[station]\n";

/// A station file while it is being changed.
pub(super) struct StationFile(DocumentMut);

impl StationFile {
    /// Reads the file, or begins one.
    pub fn of(text: Option<&str>) -> Result<Self, TomlError> {
        let text = text.map_or(FRESH, |text| text.trim_start_matches('\u{feff}'));
        text.parse().map(Self)
    }

    /// Returns a text of the file as it is written.
    pub fn text(&self, table: &str, key: &str) -> Option<&str> {
        self.0.get(table)?.get(key)?.as_str()
    }

    /// Returns whether a key is written.
    pub fn has(&self, table: &str, key: &str) -> bool {
        self.0.get(table).is_some_and(|table| table.get(key).is_some())
    }

    /// Returns a table for the end of the file. What stands there now, as a commented key of the last table, stays above it.
    fn fresh_table(&mut self) -> Table {
        let rest = self.0.trailing().as_str().unwrap_or_default().trim_end().to_owned();
        self.0.set_trailing("");
        let mut table = Table::new();
        table.decor_mut().set_prefix(if rest.is_empty() { "\n".to_owned() } else { format!("{rest}\n\n") });
        table
    }

    /// Sets a key; what stands around the old value stays.
    pub fn set(&mut self, table: &str, key: &str, new: impl Into<Value>) {
        let mut new = new.into();
        if !self.0.contains_key(table) {
            let fresh = self.fresh_table();
            self.0.insert(table, Item::Table(fresh));
        }
        let Some(table) = self.0.get_mut(table) else { return };
        if let Some(old) = table.get(key).and_then(Item::as_value) {
            *new.decor_mut() = old.decor().clone();
        }
        // Indexing would panic where the file has a value in place of a table; then checking names the mistake.
        if let Some(table) = table.as_table_like_mut() {
            match table.get_mut(key) {
                Some(item) => *item = Item::Value(new),
                None => drop(table.insert(key, Item::Value(new))),
            }
        }
    }

    /// Returns the days on which nothing scheduled sounds, with what they are.
    pub fn closed(&self) -> BTreeMap<Date, String> {
        let tables = self.0.get("closed").and_then(Item::as_array_of_tables).into_iter().flatten();
        tables.filter_map(|table| Some((date(table)?.parse().ok()?, note(table)))).collect()
    }

    /// Sets the days on which nothing scheduled sounds; a day that stays keeps its table.
    pub fn set_closed(&mut self, days: &BTreeMap<Date, String>) {
        if !matches!(self.0.get("closed"), Some(Item::ArrayOfTables(_))) {
            self.0.insert("closed", Item::ArrayOfTables(ArrayOfTables::new()));
        }
        let days_of = |closed: &ArrayOfTables| closed.iter().filter_map(date).collect::<Vec<_>>();
        let mut comments = String::new();
        if let Some(closed) = self.0.get_mut("closed").and_then(Item::as_array_of_tables_mut) {
            closed.retain(|table| {
                let wanted = date(table).and_then(|date| days.get(&date.parse().ok()?));
                let stays = wanted.is_some_and(|wanted| *wanted == note(table));
                let above = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
                // A comment above a table may be about what stands before it; it outlives the table.
                if !stays && above.contains('#') {
                    comments.push_str(above);
                }
                stays
            });
        }
        let rest = self.0.trailing().as_str().unwrap_or_default().to_owned();
        self.0.set_trailing(comments + &rest);
        let known = self.0.get("closed").and_then(Item::as_array_of_tables).map(days_of).unwrap_or_default();
        for (day, note) in days.iter().filter(|(day, _)| !known.contains(&day.to_string())) {
            let mut table = self.fresh_table();
            if let Ok(date) = day.to_string().parse::<toml_edit::Datetime>() {
                table.insert("date", value(date));
            }
            table.insert("note", value(note));
            if let Some(closed) = self.0.get_mut("closed").and_then(Item::as_array_of_tables_mut) {
                closed.push(table);
            }
        }
        let is_empty = self.0.get("closed").and_then(Item::as_array_of_tables).is_some_and(ArrayOfTables::is_empty);
        if is_empty {
            self.0.remove("closed");
        }
    }

    /// Returns the text, if a station can start with it.
    pub fn finish(&self) -> Result<String, Vec<Finding>> {
        let text = self.0.to_string();
        Config::parse(&text).map(|_| text)
    }
}

fn date(table: &Table) -> Option<String> {
    table.get("date").and_then(Item::as_datetime).map(ToString::to_string)
}

fn note(table: &Table) -> String {
    table.get("note").and_then(Item::as_str).unwrap_or_default().to_owned()
}

/// Returns texts as an array of one line.
pub(super) fn texts<'a>(all: impl IntoIterator<Item = &'a str>) -> Array {
    all.into_iter().collect()
}

/// Returns working hours as the file writes them: days, windows.
pub(super) fn working(all: &[(Vec<&str>, Vec<&str>)]) -> Array {
    let mut array = Array::new();
    for (days, times) in all {
        let mut one = InlineTable::new();
        match days.as_slice() {
            [word] if !is_weekday(word) => one.insert("days", (*word).into()),
            days => one.insert("days", texts(days.iter().copied()).into()),
        };
        one.insert("times", texts(times.iter().copied()).into());
        array.push(one);
    }
    array
}

fn is_weekday(word: &str) -> bool {
    crate::calendar::Weekdays::day(word).is_some()
}

/// Changes the station's file and has the change take effect. One change at a time: none is lost to another.
pub(super) async fn change(
    panel: &Panel,
    asked: &Asked,
    change: impl FnOnce(&mut StationFile, &Config),
) -> Result<(), Problem> {
    let _one = panel.writing.lock().await;
    let seen = panel.daemon.snapshot().await?;
    let before = match fs::read_to_string(panel.home.dir.join(config::FILE)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unwritable(asked, &error)),
    };
    let broken = |why: String| {
        Problem::bad(asked.pick(
            format!("没有保存：station.toml 会有错误。{why}"),
            format!("Not saved: station.toml would be wrong. {why}"),
        ))
    };
    let mut file = StationFile::of(before.as_deref()).map_err(|error| broken(error.to_string()))?;
    change(&mut file, &seen.config);
    let text = file.finish().map_err(|findings| broken(list(&findings)))?;
    if before.as_ref() != Some(&text) {
        panel.home.put(config::FILE, &text).map_err(|error| unwritable(asked, &error))?;
    }
    panel.daemon.reread().await?;
    Ok(())
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("；")
}

/// The disk took nothing.
pub(super) fn unwritable(asked: &Asked, error: &io::Error) -> Problem {
    Problem::failed(asked.pick(
        format!("没有保存：磁盘写不进去（{error}）；请检查磁盘空间和文件夹权限"),
        format!("Not saved: the disk takes nothing ({error}); check its free space and the folder's permissions."),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# 北庄\n[station]\nid   = \"beizhuang\"  # 不要改\nname = \"北庄村\"\n\n[sound]\n# volume = 80  # 音量\nceiling = 90   # 上限\n\n[panel]\n# listen\n";

    fn changed(change: impl FnOnce(&mut StationFile)) -> Result<String, Vec<Finding>> {
        let mut file = StationFile::of(Some(FILE)).unwrap();
        change(&mut file);
        file.finish()
    }

    #[test]
    fn a_change_leaves_every_other_byte_alone() {
        let text = changed(|file| file.set("sound", "ceiling", 70)).unwrap();
        assert_eq!(text, FILE.replace("ceiling = 90   #", "ceiling = 70   #"));
        let text = changed(|file| file.set("station", "name", "南庄村")).unwrap();
        assert_eq!(text, FILE.replace("北庄村", "南庄村"));
        let text = changed(|file| file.set("hours", "quiet", texts(["22:00-06:00"]))).unwrap();
        assert!(text.starts_with(FILE) && text.ends_with("[hours]\nquiet = [\"22:00-06:00\"]\n"), "{text}");
    }

    #[test]
    fn what_a_station_cannot_start_with_is_not_written() {
        let findings = changed(|file| file.set("sound", "ceiling", 170)).unwrap_err();
        assert_eq!((findings[0].code, findings[0].line), ("bad-volume", Some(8)));
        let mut file = StationFile::of(Some("sound = 1\n[station]\nid = \"a\"\nname = \"b\"\n")).unwrap();
        file.set("sound", "volume", 50);
        assert!(file.finish().is_err());
    }

    #[test]
    fn closed_days_come_and_go_and_those_that_stay_keep_their_place() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let mut file = StationFile::of(Some(FILE)).unwrap();
        file.set_closed(&BTreeMap::from([
            (day("2026-12-13"), "国家公祭日".into()),
            (day("2027-04-04"), String::new()),
        ]));
        let text = file.finish().unwrap();
        assert_eq!(Config::parse(&text).unwrap().closed, [day("2026-12-13"), day("2027-04-04")]);
        let commented = text.replace("date = 2026-12-13", "date = 2026-12-13 # 每年");
        let mut file = StationFile::of(Some(&commented)).unwrap();
        file.set_closed(&BTreeMap::from([
            (day("2026-12-13"), "国家公祭日".into()),
            (day("2027-01-01"), "检修".into()),
        ]));
        let text = file.finish().unwrap();
        assert_eq!(Config::parse(&text).unwrap().closed, [day("2026-12-13"), day("2027-01-01")]);
        assert!(text.contains("# 每年"), "{text}");
        file.set_closed(&BTreeMap::new());
        let text = file.finish().unwrap();
        assert_eq!(Config::parse(&text).unwrap().closed, []);
        assert!(text.contains("[panel]\n# listen"), "the comment of another table is not lost: {text}");
    }

    #[test]
    fn working_hours_are_written_as_people_write_them() {
        let array =
            working(&[(vec!["workdays"], vec!["08:00-12:00"]), (vec!["sat"], vec!["09:00-11:00", "13:00-15:00"])]);
        let text = changed(|file| file.set("hours", "working", array)).unwrap();
        let line = "working = [{ days = \"workdays\", times = [\"08:00-12:00\"] }, { days = [\"sat\"], times = [\"09:00-11:00\", \"13:00-15:00\"] }]";
        assert!(text.contains(line), "{text}");
    }
}

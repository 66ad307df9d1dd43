//! Whom something is meant for, as the part of a form: everybody, groups, divisions, stations.
//!
//! Boxes are fields of their own (`group.沿河`, `station.beizhuang`), so that a plain form sends them.

use crate::{
    link::{Division, GroupName, StationId, Targets},
    office::store::{Station, StationState},
    schedule::edit::fields::Fields,
    text::Language,
    web::{Problem, fill},
};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Texts of this part.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub everybody: String,
    pub groups: String,
    pub divisions: String,
    pub divisions_hint: String,
    pub stations: String,
    pub more_stations: String,
    pub more_hint: String,
    pub nobody: String,
    pub bad_division: String,
    pub unknown: String,
}

/// More stations than this are written, not ticked.
const BOXES: usize = 500;

/// What a form offers, and what is chosen of it.
#[derive(Debug)]
pub(super) struct Choice {
    office: Division,
    pub groups: BTreeSet<GroupName>,
    pub stations: Vec<(StationId, String)>,
    /// There are more stations than boxes.
    pub is_crowded: bool,
    chosen: Targets,
}

impl Choice {
    /// Returns what there is to choose from, with what is chosen.
    pub fn of(stations: &[Station], office: &Division, chosen: Targets) -> Self {
        let active = || stations.iter().filter(|station| station.state == StationState::Active);
        let mut groups: BTreeSet<_> = active().flat_map(|station| station.groups.iter().cloned()).collect();
        groups.extend(chosen.groups.iter().cloned());
        let mut offered: Vec<_> = active().map(|station| (station.id.clone(), station.name.clone())).collect();
        let is_crowded = offered.len() > BOXES;
        if is_crowded {
            offered.clear();
        }
        offered.sort_by(|a, b| a.1.cmp(&b.1));
        Self { office: office.clone(), groups, stations: offered, is_crowded, chosen }
    }

    /// Returns whether it is for the whole of the office.
    pub fn is_everybody(&self) -> bool {
        self.chosen.divisions.contains(&self.office)
    }

    /// Returns whether this group is chosen.
    pub fn has_group(&self, group: &GroupName) -> bool {
        self.chosen.groups.contains(group)
    }

    /// Returns whether this station is chosen.
    pub fn has_station(&self, station: &StationId) -> bool {
        self.chosen.stations.contains(station)
    }

    /// Returns whether any station is chosen by itself.
    pub fn has_stations(&self) -> bool {
        !self.chosen.stations.is_empty()
    }

    /// The divisions as they are written.
    pub fn divisions(&self) -> String {
        let parts = self.chosen.divisions.iter().filter(|division| **division != self.office);
        parts.map(Division::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The stations that have no box, as they are written.
    pub fn others(&self) -> String {
        let has_box = |station: &StationId| self.stations.iter().any(|(id, _)| id == station);
        let others = self.chosen.stations.iter().filter(|station| !has_box(station));
        others.map(StationId::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Returns the fields of a form that make this choice again.
    pub fn fields(&self) -> Vec<(String, String)> {
        let on = |name: String| (name, "on".to_owned());
        let mut fields = vec![
            ("divisions".to_owned(), self.divisions()),
            ("stations".to_owned(), self.chosen.stations.iter().map(StationId::as_str).collect::<Vec<_>>().join(" ")),
        ];
        if self.is_everybody() {
            fields.push(on("everybody".into()));
        }
        fields.extend(self.chosen.groups.iter().map(|group| on(format!("group.{group}"))));
        fields
    }
}

/// Reads what a form chose; words that name no station or division are told.
pub(super) fn read(
    form: &Fields,
    stations: &[Station],
    office: &Division,
    language: Language,
) -> Result<Targets, Problem> {
    let words = &super::words::Words::of(language).targets;
    let mut targets = Targets::default();
    if form.get("everybody").is_some_and(|value| value == "on" || value == "true") {
        targets.divisions.insert(office.clone());
    }
    for (name, value) in form {
        if !matches!(value.as_str(), "on" | "true") {
            continue;
        }
        if let Some(group) = name.strip_prefix("group.").and_then(|name| GroupName::try_from(name.to_owned()).ok()) {
            targets.groups.insert(group);
        }
        if let Some(id) = name.strip_prefix("station.").and_then(|name| StationId::try_from(name.to_owned()).ok()) {
            targets.stations.insert(id);
        }
    }
    for text in parted(form.get("divisions")) {
        let division = Division::try_from(text.to_owned());
        let division = division.map_err(|_| Problem::bad(fill(&words.bad_division, &[("text", &text)])))?;
        targets.divisions.insert(division);
    }
    for text in parted(form.get("stations")) {
        let found = stations.iter().find(|station| station.id.as_str() == text || station.name == text);
        let found = found.ok_or_else(|| Problem::bad(fill(&words.unknown, &[("text", &text)])))?;
        targets.stations.insert(found.id.clone());
    }
    Ok(targets)
}

/// Returns the words of a field, however people part them.
pub(super) fn parted(text: Option<&String>) -> impl Iterator<Item = &str> {
    let text = text.map_or("", String::as_str);
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '，' | '、' | ';' | '；'))
        .filter(|word| !word.is_empty())
}

/// Says whom something is for, in a line.
pub(super) fn described(targets: &Targets, stations: &[Station], office: &Division, language: Language) -> String {
    let words = &super::words::Words::of(language).targets;
    let mut parts = Vec::new();
    if targets.divisions.contains(office) {
        parts.push(words.everybody.clone());
    }
    parts.extend(targets.groups.iter().map(ToString::to_string));
    parts.extend(targets.divisions.iter().filter(|division| *division != office).map(ToString::to_string));
    let name = |id: &StationId| {
        let known = stations.iter().find(|station| station.id == *id);
        known.map_or_else(|| id.to_string(), |station| station.name.clone())
    };
    parts.extend(targets.stations.iter().map(name));
    if parts.is_empty() { words.nobody.clone() } else { parts.join("、") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn station(id: &str, name: &str) -> Station {
        Station {
            id: id.to_owned().try_into().unwrap(),
            name: name.into(),
            key: String::new(),
            division: "330127104201".to_owned().try_into().unwrap(),
            groups: ["沿河".to_owned().try_into().unwrap()].into(),
            state: StationState::Active,
            asked: Timestamp::UNIX_EPOCH,
            confirmed: None,
            next_key: None,
            plan_revision: 0,
            wants: 0,
            heard: None,
            sounded: None,
            up: true,
        }
    }

    #[test]
    fn a_form_chooses_by_boxes_and_by_words_and_says_what_it_cannot_read() {
        let office = Division::try_from("330127104".to_owned()).unwrap();
        let stations = [station("beizhuang", "北庄村"), station("nanzhuang", "南庄村")];
        for (fields, expected) in [
            (vec![], "没有选给谁"),
            (vec![("everybody", "on")], "全部村"),
            (vec![("group.沿河", "on"), ("station.nanzhuang", "on")], "沿河、南庄村"),
            (vec![("group.沿河", "off"), ("divisions", "330127104201000")], "!330127104201000"),
            (vec![("divisions", "330127104201，330127104202")], "330127104201、330127104202"),
            (vec![("stations", "北庄村 nanzhuang")], "北庄村、南庄村"),
            (vec![("stations", "<script>")], "!<script>"),
            (vec![("group.<script>", "on"), ("station.A B", "on")], "没有选给谁"),
        ] {
            let form = fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let said = match read(&form, &stations, &office, Language::Chinese) {
                Ok(targets) => {
                    let choice = Choice::of(&stations, &office, targets.clone());
                    let again = choice.fields().into_iter().collect();
                    assert_eq!(read(&again, &stations, &office, Language::Chinese).unwrap(), targets);
                    described(&targets, &stations, &office, Language::Chinese)
                }
                Err(problem) => format!("!{}", problem.said),
            };
            match expected.strip_prefix('!') {
                Some(part) => assert!(said.starts_with('!') && said.contains(part), "{fields:?} {said}"),
                None => assert_eq!(said, expected, "{fields:?}"),
            }
        }
    }
}

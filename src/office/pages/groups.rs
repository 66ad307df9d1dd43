//! 分组: groups of villages, as people call them, and the divisions as their codes make them; villages are put into a group
//! and taken out of it, many at a time.

use super::{
    Pages,
    frame::{Frame, Place, done, query},
    said,
    targets::{self, Choice},
};
use crate::{
    link::{Division, GroupName},
    office::store::{Station, StationState},
    schedule::edit::fields::Fields,
    web::{Asked, Input, Problem},
};
use askama::Template;
use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub none: String,
    pub divisions: String,
    pub change: String,
    pub change_hint: String,
    pub name: String,
    pub put_in: String,
    pub take_out: String,
    pub bad_name: String,
    pub nobody: String,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    name: String,
}

#[derive(Debug, Serialize)]
struct View {
    groups: BTreeMap<GroupName, Vec<Member>>,
    /// Towns, and how many villages each has.
    divisions: BTreeMap<String, usize>,
}

/// The division that a village is counted under: its town, or what it belongs to.
fn town(division: &Division) -> String {
    division.as_str().chars().take(9).collect()
}

fn view(stations: &[Station]) -> View {
    let mut view = View { groups: BTreeMap::new(), divisions: BTreeMap::new() };
    for station in stations.iter().filter(|station| station.state == StationState::Active) {
        for group in &station.groups {
            let member = Member { id: station.id.to_string(), name: station.name.clone() };
            view.groups.entry(group.clone()).or_default().push(member);
        }
        *view.divisions.entry(town(&station.division)).or_default() += 1;
    }
    view
}

#[derive(Template)]
#[template(path = "groups.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
    name: String,
    choice: Choice,
}

/// `GET /groups`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
    let view = view(&stations);
    let name = query(&asked.path, "name").unwrap_or_default();
    let choice = Choice::of(&stations, &about.division, Default::default());
    let frame = Frame::new(asked, &about.name, Place::Groups);
    let words = &frame.words.groups;
    Ok(frame.answer(&view, &Page { frame: &frame, words, view: &view, name, choice }))
}

/// `POST /groups`: puts the chosen villages into a group, or takes them out of it.
pub(super) async fn change(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    let words = &super::words::Words::of(asked.language).groups;
    let name = form.get("name").map(|name| name.trim().to_owned()).unwrap_or_default();
    let group = GroupName::try_from(name).map_err(|_| Problem::bad(words.bad_name.clone()))?;
    let takes_out = form.get("do").is_some_and(|pressed| pressed == "out");
    let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
    let targets = targets::read(&form, &stations, &about.division, asked.language)?;
    let generation = about.generation;
    let chosen: BTreeSet<_> = stations
        .iter()
        .filter(|station| station.state == StationState::Active && targets.include(&station.place(generation)))
        .map(|station| station.id.clone())
        .collect();
    if chosen.is_empty() {
        return Err(Problem::bad(words.nobody.clone()));
    }
    let changed = pages.office.regroup(&asked.name(), &chosen, &group, !takes_out).await;
    let changed = changed.map_err(|error| said::enrol(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "placed", "group": group, "stations": changed }), "/groups", "placed"))
}

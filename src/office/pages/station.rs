//! One station: what it should have and has, what it played, what it says of itself, what it refused, and what it made of
//! orders; its name, place and groups, and an end to it.

use super::{
    Pages,
    frame::{Frame, Place, Times, done, fill, query},
    report::Report,
    said,
    targets::parted,
};
use crate::{
    link::{Division, Envelope, GroupName, Plan, StationId, journal::Turned},
    office::store::{Deed, Held, Played, ReceiptOf, RejectedBy, Station, StationState, Turn},
    outcome::{Outcome, Reason},
    text::Language,
    web::{Asked, Input, Problem},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use jiff::{Timestamp, ToSpan as _, civil::Date};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub back: String,
    pub up: String,
    pub down: String,
    pub revoked: String,
    pub sounded: String,
    pub heard: String,
    pub division: String,
    pub groups: String,
    pub plan: String,
    pub wanted: String,
    pub in_force: String,
    pub fetching: String,
    pub none_yet: String,
    pub nothing_planned: String,
    pub review_by: String,
    pub state: String,
    pub no_word: String,
    pub said_at: String,
    pub clock: String,
    pub clock_off: String,
    pub office_clock_off: String,
    pub device: String,
    pub no_device: String,
    pub disk: String,
    pub volume: String,
    pub version: String,
    pub playing: String,
    pub rows_to_come: String,
    pub faults: String,
    pub no_faults: String,
    pub refused: String,
    pub refused_hint: String,
    pub unknown_reason: String,
    pub journal: String,
    pub nothing_played: String,
    pub day_before: String,
    pub day_after: String,
    pub receipts: String,
    pub no_receipts: String,
    pub drill: String,
    pub presence: String,
    pub came: String,
    pub went: String,
    pub turned: String,
    pub other_journal: String,
    pub agree: String,
    pub agree_hint: String,
    pub place: String,
    pub name: String,
    pub groups_hint: String,
    pub save: String,
    pub revoke: String,
    pub revoke_hint: String,
    pub key: String,
}

/// As many of each list.
const MOST: u32 = 20;
/// As many rows of a day.
const ROWS: u32 = 500;

/// A schedule of the plan.
#[derive(Debug, Serialize)]
struct Planned {
    name: String,
    title: String,
}

/// The plan that the station should have.
#[derive(Debug, Serialize)]
struct Wanted {
    revision: u64,
    issued: Timestamp,
    review_by: Timestamp,
    schedules: Vec<Planned>,
    sounds: usize,
}

impl Wanted {
    fn read(envelope: &str) -> Option<Self> {
        let envelope = Envelope::read(envelope.as_bytes()).ok()?;
        let plan: Plan = serde_json::from_slice(envelope.payload()).ok()?;
        let title = |text: &str| {
            let parsed = crate::schedule::file::parse(plan.source, "", text);
            parsed.schedule.map(|schedule| schedule.title)
        };
        let planned = |(name, text): (&String, &String)| {
            let title = title(text).unwrap_or_else(|| name.clone());
            Planned { name: name.clone(), title }
        };
        Some(Self {
            revision: plan.revision,
            issued: plan.issued,
            review_by: plan.review_by,
            schedules: plan.schedules.iter().map(planned).collect(),
            sounds: plan.audio.len(),
        })
    }
}

/// A journal that the station wrote.
#[derive(Debug, Serialize)]
struct Journal {
    epoch: String,
    acked: i64,
    turned: Option<Turned>,
    at: Timestamp,
    is_current: bool,
}

impl Journal {
    fn of(held: Held) -> Self {
        let Held { cursor, turned, at, is_current } = held;
        Self { epoch: cursor.epoch, acked: cursor.acked, turned, at, is_current }
    }
}

#[derive(Debug, Serialize)]
struct View {
    #[serde(flatten)]
    station: Station,
    wanted: Option<Wanted>,
    report: Option<Arc<Report>>,
    day: Date,
    played: Vec<Played>,
    rejected: Vec<RejectedBy>,
    receipts: Vec<ReceiptOf>,
    turns: Vec<Turn>,
    journals: Vec<Journal>,
}

impl View {
    fn is_revoked(&self) -> bool {
        self.station.state == StationState::Revoked
    }

    fn groups(&self) -> String {
        self.station.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(" ")
    }
}

#[derive(Template)]
#[template(path = "station.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
    times: Times,
    language: Language,
}

impl Page<'_> {
    fn outcome(&self, row: &Played) -> String {
        let outcome = read_word::<Outcome>(&row.outcome).map(|outcome| outcome.said(self.language));
        let reason = row.reason.as_deref().and_then(read_word::<Reason>).map(|reason| reason.said(self.language));
        [outcome, reason].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }

    fn refused(&self, rejected: &RejectedBy) -> String {
        let said = rejected.why.as_ref().map(|why| why.said().in_language(self.language).to_owned());
        said.unwrap_or_else(|| self.words.unknown_reason.clone())
    }

    fn state(&self, receipt: &ReceiptOf) -> String {
        receipt.state.as_ref().map(|state| state.said().in_language(self.language).to_owned()).unwrap_or_default()
    }

    /// What it is fetching; none where nothing is.
    fn fetching(&self) -> Option<String> {
        let (revision, missing) = self.view.report.as_ref()?.fetching?;
        Some(fill(&self.words.fetching, &[("revision", &revision), ("missing", &missing)]))
    }

    /// Why the office does not take this journal in; none while it does.
    fn turned(&self, journal: &Journal) -> Option<String> {
        Some(turned_said(journal.turned.as_ref()?, self.language))
    }

    /// The journals that only a clerk can let in.
    fn others(&self) -> Vec<&Journal> {
        self.view.journals.iter().filter(|journal| !journal.is_current).collect()
    }

    fn current(&self) -> Option<&Journal> {
        self.view.journals.iter().find(|journal| journal.is_current)
    }

    fn day(&self, days: i64) -> String {
        self.view.day.checked_add(days.days()).unwrap_or(self.view.day).to_string()
    }
}

/// Reads the word that a table has for a value.
fn read_word<T: serde::de::DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

/// Why rows were not taken in, in the words of whoever reads.
fn turned_said(turned: &Turned, language: Language) -> String {
    let (zh, en) = match turned {
        Turned::Need { from } => {
            (format!("缺第 {from} 条起的记录，等站点补传"), format!("rows from {from} on are awaited"))
        }
        Turned::Fork { seq } => (
            format!("第 {seq} 条与中心已有的不同：可能有两台电脑用同一份站点数据，或站点从备份恢复过"),
            format!("row {seq} differs from what is here: two machines use one station's data, or it was restored"),
        ),
        Turned::BadChain { seq } => {
            (format!("第 {seq} 条与前一条接不上"), format!("row {seq} does not follow from the one before it"))
        }
        Turned::Signature => ("签名不是这个站点的".into(), "the signature is not this station's".into()),
        Turned::Epoch => (
            "站点换了一本播出记录（重装或恢复过）；确认后才接着收".into(),
            "the station writes another journal (installed anew or restored); it is taken in once you agree".into(),
        ),
        Turned::Malformed => ("上传的内容格式不对".into(), "what was sent has not the form of rows".into()),
        Turned::Other => ("本程序不认识的原因；请升级".into(), "for a reason that only a newer program knows".into()),
    };
    language.pick(zh, en)
}

/// Returns the station of an address.
pub(super) async fn named(pages: &Pages, id: String, asked: &Asked) -> Result<Station, Problem> {
    let id = StationId::try_from(id).map_err(|_| Problem::missing(asked))?;
    pages.office.store.station(&id).await?.ok_or_else(|| Problem::missing(asked))
}

/// `GET /stations/{id}?on=DATE`
pub(super) async fn page(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let station = named(&pages, id, &asked).await?;
    let times = pages.times(asked.language);
    let today = times.now.to_zoned_datetime(times.zone.clone()).date();
    let day = query(&asked.path, "on").and_then(|text| text.parse().ok()).unwrap_or(today);
    let store = &pages.office.store;
    let view = View {
        wanted: store.plan_of(&station.id).await?.and_then(|envelope| Wanted::read(&envelope)),
        report: store
            .last_word(&station.id)
            .await?
            .and_then(|word| Report::read(&word.document, word.at))
            .map(Arc::new),
        day,
        played: store.played_at(&station.id, day, ROWS).await?,
        rejected: store.rejected_by(&station.id, MOST).await?,
        receipts: store.receipts_of(&station.id, MOST).await?,
        turns: store.turns(&station.id, MOST).await?,
        journals: store.journals(&station.id).await?.into_iter().map(Journal::of).collect(),
        station,
    };
    let language = asked.language;
    let frame = Frame::new(asked, &about.name, Place::Stations);
    let words = &frame.words.station;
    Ok(frame.answer(&view, &Page { frame: &frame, words, view: &view, times, language }))
}

/// The body of `POST /stations/{id}/place`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceForm {
    name: String,
    division: String,
    #[serde(default)]
    groups: String,
}

fn address(station: &Station) -> String {
    format!("/stations/{}", station.id)
}

/// `POST /stations/{id}/place`: another name, division, other groups.
pub(super) async fn place(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
    Input(form): Input<PlaceForm>,
) -> Result<Response, Problem> {
    let station = named(&pages, id, &asked).await?;
    let all = super::words::Words::of(asked.language);
    let division = Division::try_from(form.division.trim().to_owned());
    let division = division.map_err(|_| Problem::bad(all.enrol.bad_division.clone()))?;
    let groups = parted(Some(&form.groups)).map(|name| GroupName::try_from(name.to_owned()));
    let groups = groups.collect::<Result<_, _>>().map_err(|_| Problem::bad(all.groups.bad_name.clone()))?;
    let put = pages.office.put(&asked.name(), &station.id, form.name.trim(), &division, &groups).await;
    put.map_err(|error| said::enrol(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "placed", "station": station.id }), &address(&station), "placed"))
}

/// `POST /stations/{id}/revoke`
pub(super) async fn revoke(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let station = named(&pages, id, &asked).await?;
    let revoked = pages.office.revoke(&asked.name(), &station.id).await;
    revoked.map_err(|error| said::enrol(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "revoked", "station": station.id }), &address(&station), "revoked"))
}

/// The body of `POST /stations/{id}/journal`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalForm {
    epoch: String,
}

/// `POST /stations/{id}/journal`: from now on another journal is taken in.
pub(super) async fn agree(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
    Input(form): Input<JournalForm>,
) -> Result<Response, Problem> {
    let station = named(&pages, id, &asked).await?;
    let mut change = pages.office.store.change().await?;
    if !change.agree_to_journal(&station.id, &form.epoch).await? {
        return Err(Problem::missing(&asked));
    }
    change.commit(&asked.name(), Deed::Placed, station.id.as_str(), &form.epoch).await?;
    pages.office.watches.hint();
    Ok(done(&asked, &json!({ "done": "journal", "station": station.id }), &address(&station), "journal"))
}

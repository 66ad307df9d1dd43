//! 活动 and 案例通报: what the office gives its villages to play; written in a form, tried at one village, published with a
//! look at what will change, followed to every village, brought back and withdrawn.
//!
//! A draft lives in its form alone: nothing is kept before it is saved, and nothing that is kept goes anywhere before
//! somebody publishes it.

mod draft;

use super::{
    Pages,
    frame::{Frame, Place, Times, done, fill, query},
    said, sounds, targets,
    targets::Choice,
};
use crate::{
    link::StationId,
    office::{
        campaign::{CampaignId, CampaignKind, Stands, Step},
        desk::{DeskError, Opened, Reached, Receipt},
        preview::{Foreseen, Preview},
        store::{About, Filed, Shelved, Station, StationState},
    },
    schedule::{Finding, Severity},
    text::Language,
    web::{Asked, Input, Parts, Problem, press},
};
use askama::Template;
use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use draft::Draft;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// Texts of these pages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub none: String,
    pub new_campaign: String,
    pub new_bulletin: String,
    pub to_sounds: String,
    pub name: String,
    pub kind: String,
    pub state: String,
    pub changed: String,
    pub back: String,
    pub edit: String,
    pub edit_title: String,
    pub first_day: String,
    pub last_day: String,
    pub sounds: String,
    pub sounds_hint: String,
    pub more_sounds: String,
    pub upload: String,
    pub as_text: String,
    pub trick: String,
    pub loss: String,
    pub lesson: String,
    pub reminder: String,
    pub band: String,
    pub volume: String,
    pub chime: String,
    pub no_chime: String,
    pub times: String,
    pub times_hint: String,
    pub days: String,
    pub findings: String,
    pub no_findings: String,
    pub line: String,
    pub preview: String,
    pub preview_title: String,
    pub foreseen: String,
    pub nobody_differs: String,
    pub save: String,
    pub not_saved: String,
    pub go_on: String,
    pub content: String,
    pub period: String,
    pub always: String,
    pub for_whom: String,
    pub newer: String,
    pub receipts: String,
    pub no_receipts: String,
    pub in_force: String,
    pub on_the_way: String,
    pub refused: String,
    pub station: String,
    pub try_it: String,
    pub try_hint: String,
    pub try_at: String,
    pub publish: String,
    pub publish_hint: String,
    pub previous: String,
    pub previous_hint: String,
    pub withdraw: String,
    pub withdraw_hint: String,
    pub versions: String,
    pub version: String,
    pub by: String,
    pub went_out: String,
    pub restore: String,
    pub look_title: String,
    pub sure: String,
    pub no: String,
    pub more_villages: String,
    pub up: String,
    pub down: String,
}

/// How often it is looked at how far a campaign is, while somebody looks.
const LIVE: Duration = Duration::from_secs(2);
/// Villages listed in a preview.
const LISTED: usize = 200;
/// Names that other pages have.
const TAKEN: [&str; 2] = ["new", "draft"];

#[derive(Template)]
#[template(path = "campaigns.html")]
struct ListPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    campaigns: &'a [Filed],
    times: Times,
}

/// The class of a row.
fn class(filed: &Filed) -> &'static str {
    match filed.standing.state {
        Stands::Published => "played",
        Stands::Trial => "partial",
        Stands::Draft | Stands::Withdrawn => "to-come",
    }
}

/// `GET /campaigns`
pub(super) async fn list(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let campaigns = pages.office.campaigns().await.map_err(|error| said::desk(&error, asked.language))?;
    let (times, language) = (pages.times(asked.language), asked.language);
    let frame = Frame::new(asked, &about.name, Place::Campaigns);
    let words = &frame.words.campaigns;
    let page = ListPage { frame: &frame, words, language, campaigns: &campaigns, times };
    Ok(frame.answer(&json!({ "campaigns": campaigns }), &page))
}

/// What a form is made from, beside what stands in it.
struct Ground {
    about: About,
    stations: Vec<Station>,
    shelf: Vec<Shelved>,
}

async fn ground(pages: &Pages) -> Result<Ground, Problem> {
    Ok(Ground {
        about: pages.about().await?,
        stations: pages.office.store.stations().await?,
        shelf: pages.office.store.shelf().await?,
    })
}

#[derive(Template)]
#[template(path = "campaign-edit.html")]
struct EditPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    draft: &'a Draft,
    parts: Option<Parts>,
    choice: Choice,
    shelf: Vec<&'a Shelved>,
    takes: String,
    findings: Vec<Finding>,
    problem: Option<String>,
}

fn edit_page(
    asked: Asked,
    ground: &Ground,
    draft: &Draft,
    findings: Vec<Finding>,
    problem: Option<String>,
) -> Response {
    let chosen = targets::read(draft.fields(), &ground.stations, &ground.about.division, asked.language);
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let facts = json!({ "fields": draft.fields(), "findings": findings, "error": problem });
    let frame = Frame::new(asked, &ground.about.name, Place::Campaigns);
    let words = &frame.words.campaigns;
    let page = EditPage {
        frame: &frame,
        words,
        draft,
        parts: (draft.kind() == CampaignKind::Campaign).then(|| Parts::of(draft.get("text"), "")).flatten(),
        choice: Choice::of(&ground.stations, &ground.about.division, chosen.unwrap_or_default()),
        shelf: draft.shelf(&ground.shelf),
        takes: sounds::takes(),
        findings,
        problem,
    };
    let mut response = frame.answer(&facts, &page);
    *response.status_mut() = status;
    response
}

/// `GET /campaigns/new?kind=bulletin`
pub(super) async fn create(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let is_bulletin = query(&asked.path, "kind").is_some_and(|kind| kind == CampaignKind::Bulletin.key());
    let draft = Draft::new(if is_bulletin { CampaignKind::Bulletin } else { CampaignKind::Campaign });
    Ok(edit_page(asked, &ground(&pages).await?, &draft, Vec::new(), None))
}

async fn opened(pages: &Pages, id: String, asked: &Asked) -> Result<Opened, Problem> {
    let id = CampaignId::try_from(id).map_err(|_| Problem::missing(asked))?;
    let opened = pages.office.campaign(&id).await.map_err(|error| said::desk(&error, asked.language))?;
    opened.ok_or_else(|| Problem::missing(asked))
}

/// `GET /campaigns/{id}/edit`
pub(super) async fn edit(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let opened = opened(&pages, id, &asked).await?;
    let ground = ground(&pages).await?;
    let draft = Draft::of(&opened, &ground.stations, &ground.about.division);
    Ok(edit_page(asked, &ground, &draft, Vec::new(), None))
}

#[derive(Template)]
#[template(path = "campaign-preview.html")]
struct PreviewPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    draft: &'a Draft,
    findings: &'a [Finding],
    may_save: bool,
    preview: &'a Preview,
}

impl PreviewPage<'_> {
    fn listed(&self) -> &[Foreseen] {
        &self.preview.stations[..self.preview.stations.len().min(LISTED)]
    }

    fn more(&self) -> Option<String> {
        more(self.words, self.preview)
    }
}

/// Says how many villages are not listed.
fn more(words: &Words, preview: &Preview) -> Option<String> {
    let more = preview.stations.len().saturating_sub(LISTED);
    (more > 0).then(|| fill(&words.more_villages, &[("n", &more)]))
}

/// `POST /campaigns/draft`: a form with one of its buttons pressed. Only `save` keeps anything.
pub(super) async fn press_button(
    State(pages): State<Pages>,
    asked: Asked,
    request: Request,
) -> Result<Response, Problem> {
    let sent = sounds::receive(&pages, &asked, request).await?;
    let pressed = sent.fields.get("do").cloned().unwrap_or_else(|| "edit".into());
    let ground = ground(&pages).await?;
    let mut draft = Draft::sent(sent.fields);
    for sound in sent.sounds {
        draft.add_sound(sound, &ground.shelf);
    }
    let refused = (!sent.refused.is_empty()).then(|| sent.refused.join("；"));
    if refused.is_some() || !matches!(pressed.as_str(), "preview" | "save") {
        let (text, problem) = press(draft.get("text"), &pressed, draft.fields(), asked.language);
        draft.set("text", text);
        return Ok(edit_page(asked, &ground, &draft, Vec::new(), refused.or(problem.map(str::to_owned))));
    }
    let words = &super::words::Words::of(asked.language).campaigns;
    let campaign = match draft.read(&ground.shelf, &ground.stations, &ground.about.division, asked.language) {
        Ok(campaign) => campaign,
        Err(problem) if asked.wants_json => return Err(problem),
        Err(problem) => return Ok(edit_page(asked, &ground, &draft, Vec::new(), Some(problem.said))),
    };
    let campaign = name_it(&pages, &asked, &mut draft, campaign).await?;
    let failed = |error: DeskError| said::desk(&error, asked.language);
    if pressed == "preview" {
        let checked = pages.office.check_campaign(&campaign).await.map_err(failed)?;
        let may_save = checked.may_be_kept();
        if !may_save {
            return Ok(edit_page(asked, &ground, &draft, checked.findings, Some(words.not_saved.clone())));
        }
        let preview = pages.office.preview(&campaign).await.map_err(failed)?;
        let facts = json!({ "fields": draft.fields(), "findings": checked.findings, "preview": preview });
        let language = asked.language;
        let frame = Frame::new(asked, &ground.about.name, Place::Campaigns);
        let (draft, findings) = (&draft, checked.findings.as_slice());
        let page = PreviewPage { frame: &frame, words, language, draft, findings, may_save, preview: &preview };
        return Ok(frame.answer(&facts, &page));
    }
    let id = campaign.id.clone();
    match pages.office.write_campaign(&asked.name(), campaign, draft.base()).await {
        Ok(filed) => Ok(done(&asked, &json!({ "done": "saved", "campaign": filed }), &address(&id), "campaign-saved")),
        Err(DeskError::Findings(findings)) if !asked.wants_json => {
            Ok(edit_page(asked, &ground, &draft, findings, Some(words.not_saved.clone())))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Gives a new campaign the first free name that its title allows.
async fn name_it(
    pages: &Pages,
    asked: &Asked,
    draft: &mut Draft,
    mut campaign: crate::office::campaign::Campaign,
) -> Result<crate::office::campaign::Campaign, Problem> {
    if draft.base().is_some() {
        return Ok(campaign);
    }
    let stem = campaign.id.as_str().to_owned();
    for number in 1..1000 {
        let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
        let Ok(id) = CampaignId::try_from(name) else { break };
        let is_free = pages.office.store.campaign(&id).await?.is_none();
        if is_free && !TAKEN.contains(&id.as_str()) {
            draft.set("id", id.as_str().to_owned());
            campaign.id = id;
            return Ok(campaign);
        }
    }
    Err(Problem::bad(asked.pick("请换一个标题", "choose another title")))
}

fn address(id: &CampaignId) -> String {
    let name: String = form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
    format!("/campaigns/{name}")
}

/// How many villages are how far.
#[derive(Debug, Default, Serialize)]
struct Far {
    in_force: usize,
    on_the_way: usize,
    refused: usize,
}

impl Far {
    fn of(receipts: &[Receipt]) -> Self {
        let mut far = Self::default();
        for receipt in receipts {
            *match receipt.reached {
                Reached::InForce => &mut far.in_force,
                Reached::Waiting | Reached::Fetching { .. } => &mut far.on_the_way,
                Reached::Refused { .. } => &mut far.refused,
            } += 1;
        }
        far
    }
}

#[derive(Template)]
#[template(path = "campaign.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    opened: &'a Opened,
    live: Live<'a>,
    targets: String,
    meant: Vec<(&'a StationId, &'a str)>,
    times: Times,
}

impl Page<'_> {
    /// Returns whether there is something that stations do not have yet.
    fn is_new(&self) -> bool {
        self.opened.filed.standing.published != Some(self.opened.filed.standing.version)
    }

    fn is_out(&self) -> bool {
        matches!(self.opened.filed.standing.state, Stands::Published | Stands::Trial)
    }

    fn id(&self) -> String {
        form_urlencoded::byte_serialize(self.opened.filed.id.as_str().as_bytes()).collect()
    }

    fn period(&self) -> String {
        let campaign = &self.opened.newest;
        let day = |day: Option<jiff::civil::Date>| day.map_or_else(|| self.words.always.clone(), |day| day.to_string());
        match (campaign.from, campaign.until) {
            (None, None) => self.words.always.clone(),
            (from, until) => format!("{} – {}", day(from), day(until)),
        }
    }

    fn screen(&self) -> String {
        match &self.opened.newest.content {
            crate::office::campaign::Content::Bulletin(bulletin) => bulletin.screen(),
            crate::office::campaign::Content::Campaign { .. } => String::new(),
        }
    }
}

/// The part of the page that changes while one looks: how far it is at each village.
#[derive(Template)]
#[template(path = "campaign-live.html")]
struct Live<'a> {
    words: &'static Words,
    language: Language,
    receipts: &'a [Receipt],
    far: &'a Far,
}

impl Live<'_> {
    fn counted(&self, text: &str, n: &usize) -> String {
        fill(text, &[("n", n)])
    }
}

/// The class of a receipt's row.
fn reached_class(receipt: &Receipt) -> &'static str {
    match receipt.reached {
        Reached::InForce => "played",
        Reached::Fetching { .. } => "partial",
        Reached::Waiting if receipt.up => "partial",
        Reached::Waiting | Reached::Refused { .. } => "missed",
    }
}

/// `GET /campaigns/{id}`
pub(super) async fn page(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let opened = opened(&pages, id, &asked).await?;
    let receipts = pages.office.campaign_receipts(&opened.filed.id).await;
    let receipts = receipts.map_err(|error| said::desk(&error, asked.language))?;
    let Ground { about, stations, .. } = ground(&pages).await?;
    let (times, language) = (pages.times(asked.language), asked.language);
    let generation = pages.office.keys.generation();
    let is_meant = |station: &&Station| {
        station.state == StationState::Active && opened.newest.targets.include(&station.place(generation))
    };
    let meant = stations.iter().filter(is_meant).map(|station| (&station.id, station.name.as_str())).collect();
    let far = Far::of(&receipts);
    let facts = json!({ "campaign": opened, "receipts": receipts, "far": far });
    let targets = targets::described(&opened.newest.targets, &stations, &about.division, language);
    let frame = Frame::new(asked, &about.name, Place::Campaigns);
    let words = &frame.words.campaigns;
    let live = Live { words, language, receipts: &receipts, far: &far };
    let page = Page { frame: &frame, words, language, opened: &opened, live, targets, meant, times };
    Ok(frame.answer(&facts, &page))
}

/// `GET /campaigns/{id}/events`: how far it is at each village, whenever that changes.
pub(super) async fn events(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let id = opened(&pages, id, &asked).await?.filed.id;
    let language = asked.language;
    let (name, office) = (format!("campaign {id} {}", language.tag()), pages.office.clone());
    pages.follow(&asked, name, move || {
        let (office, id) = (office.clone(), id.clone());
        async move {
            let receipts = office.campaign_receipts(&id).await.ok()?;
            let (words, far) = (&super::words::Words::of(language).campaigns, Far::of(&receipts));
            Some((Live { words, language, receipts: &receipts, far: &far }.render().ok()?, LIVE))
        }
    })
}

/// What is to be done with a campaign, as forms and addresses say it.
fn step(name: &str, station: &str, version: &str) -> Option<Step> {
    match name {
        "try" => StationId::try_from(station.to_owned()).ok().map(Step::Try),
        "publish" => Some(Step::Publish),
        "restore" => version.parse().ok().map(Step::Restore),
        "withdraw" => Some(Step::Withdraw),
        _ => None,
    }
}

#[derive(Template)]
#[template(path = "campaign-look.html")]
struct LookPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    opened: &'a Opened,
    id: String,
    step: String,
    station: String,
    version: String,
    preview: &'a Preview,
}

impl LookPage<'_> {
    fn doing(&self) -> &str {
        match self.step.as_str() {
            "try" => &self.words.try_it,
            "publish" => &self.words.publish,
            "restore" => &self.words.restore,
            _ => &self.words.withdraw,
        }
    }

    fn listed(&self) -> &[Foreseen] {
        &self.preview.stations[..self.preview.stations.len().min(LISTED)]
    }

    fn more(&self) -> Option<String> {
        more(self.words, self.preview)
    }
}

/// `GET /campaigns/{id}/look?step=publish`: what a step would change, before it is taken.
pub(super) async fn look(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let opened = opened(&pages, id, &asked).await?;
    let given = |name| query(&asked.path, name).unwrap_or_default();
    let (name, station, version) = (given("step"), given("station"), given("version"));
    let step = step(&name, &station, &version).ok_or_else(|| Problem::missing(&asked))?;
    let preview = pages.office.preview_step(&opened.filed.id, &step).await;
    let preview = preview.map_err(|error| said::desk(&error, asked.language))?;
    let (about, language) = (pages.about().await?, asked.language);
    let id: String = form_urlencoded::byte_serialize(opened.filed.id.as_str().as_bytes()).collect();
    let frame = Frame::new(asked, &about.name, Place::Campaigns);
    let words = &frame.words.campaigns;
    let page = LookPage {
        frame: &frame,
        words,
        language,
        opened: &opened,
        id,
        step: name,
        station,
        version,
        preview: &preview,
    };
    Ok(frame.answer(&preview, &page))
}

/// The body of `POST /campaigns/{id}/step`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepForm {
    step: String,
    #[serde(default)]
    station: String,
    #[serde(default)]
    version: String,
}

/// `POST /campaigns/{id}/step`: tries, publishes, brings back or withdraws.
pub(super) async fn take_step(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
    Input(form): Input<StepForm>,
) -> Result<Response, Problem> {
    let id = CampaignId::try_from(id).map_err(|_| Problem::missing(&asked))?;
    let step = step(&form.step, form.station.trim(), form.version.trim()).ok_or_else(|| Problem::missing(&asked))?;
    let (who, office) = (asked.name(), &pages.office);
    let (taken, code) = match &step {
        Step::Try(station) => (office.try_campaign(&who, &id, station).await, "tried"),
        Step::Publish => (office.publish(&who, &id).await, "published"),
        Step::Restore(version) => (office.restore_version(&who, &id, *version).await, "restored"),
        Step::Withdraw => (office.withdraw(&who, &id).await, "withdrawn"),
        Step::Write => return Err(Problem::missing(&asked)),
    };
    let filed = taken.map_err(|error| said::desk(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": code, "campaign": filed }), &address(&id), code))
}

/// Whether the form of a bulletin offers a set of days: those that need no list.
fn is_of_bulletin(days: &str) -> bool {
    matches!(days, "every-day" | "workdays" | "rest-days" | "holidays" | "weekdays")
}

/// Returns the remarks of findings with their class and line.
fn remarks(findings: &[Finding], language: Language) -> Vec<(&'static str, Option<u32>, &str)> {
    let class = |severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    findings.iter().map(|finding| (class(finding.severity), finding.line, finding.remark(language))).collect()
}

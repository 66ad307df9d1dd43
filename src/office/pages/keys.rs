//! 密钥: which keys the stations trust, and how far a new one has come; their renewal, and the way back after the restore of
//! an old backup. Each with a second look, and on record.

use super::{
    Pages,
    frame::{Frame, Place, Times, done, fill, query},
    said,
};
use crate::{
    link::{Targets, words},
    office::{
        keys::Renewal,
        trusted::{InForce, Trusted},
    },
    web::{Asked, Input, Problem},
};
use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub hint: String,
    pub ahead: String,
    pub remedy: String,
    pub version: String,
    pub generation: String,
    pub words: String,
    pub revoked: String,
    pub behind: String,
    pub all_here: String,
    pub what: String,
    pub kid: String,
    pub scope: String,
    pub not_after: String,
    pub no_end: String,
    pub soon: String,
    pub renew: String,
    pub restored: String,
    pub restored_hint: String,
    pub look_title: String,
    pub here: String,
    pub away: String,
    pub copy: String,
    pub no: String,
    pub changed: String,
    /// By [`Renewal`]: what it is.
    pub names: BTreeMap<String, String>,
    /// By [`Renewal`]: what comes of renewing it.
    pub comes: BTreeMap<String, String>,
    /// By [`Renewal`]: the button.
    pub does: BTreeMap<String, String>,
}

impl Words {
    fn of<'a>(texts: &'a BTreeMap<String, String>, what: &Renewal) -> &'a str {
        texts.get(what.key()).map_or("", String::as_str)
    }
}

/// A key that ends within so long is to be renewed.
const SOON: SignedDuration = SignedDuration::from_hours(24 * 90);

/// What the page shows.
#[derive(Debug, Serialize)]
struct View {
    #[serde(flatten)]
    trusted: Trusted,
    /// The words by which people compare this root.
    words: String,
}

async fn view(pages: &Pages, asked: &Asked) -> Result<View, Problem> {
    let words: words::Words = pages.office.keys.words();
    Ok(View { trusted: pages.office.trusted().await?, words: words.said(asked.language) })
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
    times: Times,
}

impl Page<'_> {
    fn ahead(&self) -> String {
        fill(&self.words.ahead, &[("n", &self.view.trusted.ahead.len())])
    }

    fn behind(&self) -> String {
        fill(&self.words.behind, &[("n", &self.view.trusted.behind.len())])
    }

    fn name(&self, what: &Renewal) -> &str {
        Words::of(&self.words.names, what)
    }

    fn does(&self, what: &Renewal) -> &str {
        Words::of(&self.words.does, what)
    }

    /// Returns whether it will soon sign nothing any more.
    fn is_ending(&self, key: &InForce) -> bool {
        key.not_after.is_some_and(|end| end.duration_since(self.times.now) < SOON)
    }

    fn day(&self, at: &Timestamp) -> String {
        at.to_zoned_datetime(self.times.zone.clone()).date().to_string()
    }
}

/// `GET /keys`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let (about, view) = (pages.about().await?, view(&pages, &asked).await?);
    let times = pages.times(asked.language);
    let frame = Frame::new(asked, &about.name, Place::Keys);
    let words = &frame.words.keys;
    Ok(frame.answer(&view, &Page { frame: &frame, words, view: &view, times }))
}

/// What is to be renewed, as forms and addresses say it.
fn renewal(name: &str) -> Option<Renewal> {
    Renewal::ALL.into_iter().find(|renewal| renewal.key() == name)
}

#[derive(Template)]
#[template(path = "keys-look.html")]
struct LookPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    what: Renewal,
    version: u64,
    here: usize,
    away: Vec<String>,
}

impl LookPage<'_> {
    fn name(&self) -> &str {
        Words::of(&self.words.names, &self.what)
    }

    fn comes(&self) -> &str {
        Words::of(&self.words.comes, &self.what)
    }

    fn does(&self) -> &str {
        Words::of(&self.words.does, &self.what)
    }

    fn counted(&self, text: &str, n: &usize) -> String {
        fill(text, &[("n", n)])
    }
}

/// `GET /keys/look?renew=content`: whom a renewal reaches at once, before it is made.
pub(super) async fn look(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let what = query(&asked.path, "renew").and_then(|name| renewal(&name)).ok_or_else(|| Problem::missing(&asked))?;
    let about = pages.about().await?;
    let everybody = Targets { divisions: [about.division.clone()].into(), ..Targets::default() };
    let hearers = pages.office.hearers(&everybody).await.map_err(|error| said::desk(&error, asked.language))?;
    let here = hearers.iter().filter(|hearer| hearer.up).count();
    let away: Vec<_> = hearers.into_iter().filter(|hearer| !hearer.up).map(|hearer| hearer.name).collect();
    let version = pages.office.keys.root().root().version;
    let facts = json!({ "renew": what, "version": version, "here": here, "away": away });
    let frame = Frame::new(asked, &about.name, Place::Keys);
    let words = &frame.words.keys;
    Ok(frame.answer(&facts, &LookPage { frame: &frame, words, what, version, here, away }))
}

/// The body of `POST /keys/renew`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewForm {
    renew: String,
    /// Of the root that was in force when somebody looked: pressed twice, nothing is renewed twice.
    version: String,
}

/// `POST /keys/renew`: a new key in place of the old, or a new generation.
pub(super) async fn renew(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<RenewForm>,
) -> Result<Response, Problem> {
    let what = renewal(&form.renew).ok_or_else(|| Problem::missing(&asked))?;
    let words = &super::words::Words::of(asked.language).keys;
    if form.version != pages.office.keys.root().root().version.to_string() {
        return Err(Problem::refused(words.changed.clone()));
    }
    pages.office.renew(&asked.name(), what).await.map_err(|error| said::keys(&error, asked.language))?;
    tracing::warn!(person = asked.name(), what = what.key(), "keys were renewed");
    let code = if what == Renewal::Generation { "new-generation" } else { "key-renewed" };
    Ok(done(&asked, &json!({ "done": code, "renew": what }), "/keys", code))
}

//! 操作记录: who changed what, newest first.

use super::{
    Pages,
    frame::{Frame, Place, Times, query},
};
use crate::{
    office::store::Record,
    web::{Asked, Problem},
};
use askama::Template;
use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub hint: String,
    pub none: String,
    pub at: String,
    pub who: String,
    pub what: String,
    pub about: String,
    pub earlier: String,
    pub newest: String,
    /// By the word of a [`crate::office::store::Deed`].
    pub deeds: BTreeMap<String, String>,
}

/// Lines on one page.
const PAGE: u32 = 200;

#[derive(Debug, Serialize)]
struct View {
    records: Vec<Record>,
    /// Earlier ones lie before this revision; none where there are none.
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "records.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
    times: Times,
}

impl Page<'_> {
    fn deed<'a>(&'a self, record: &'a Record) -> &'a str {
        self.words.deeds.get(&record.what).map_or(&record.what, String::as_str)
    }

    /// Where the thing itself is shown.
    fn way(&self, record: &Record) -> Option<String> {
        let folder = match record.what.as_str() {
            "confirmed" | "revoked" | "placed" => "stations",
            "wrote" | "tried" | "published" | "restored" | "withdrew" => "campaigns",
            "ordered" => "orders",
            _ => return None,
        };
        let name: String = form_urlencoded::byte_serialize(record.about.as_bytes()).collect();
        (!name.is_empty()).then(|| format!("/{folder}/{}", name.replace('+', "%20")))
    }
}

/// `GET /records?before=REVISION`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let before = query(&asked.path, "before").and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
    let records = pages.office.store.records(before, PAGE).await?;
    let is_full = records.len() == PAGE as usize;
    let view = View { before: records.last().filter(|_| is_full).map(|last| last.revision), records };
    let times = pages.times(asked.language);
    let frame = Frame::new(asked, &about.name, Place::Records);
    let words = &frame.words.records;
    Ok(frame.answer(&view, &Page { frame: &frame, words, view: &view, times }))
}

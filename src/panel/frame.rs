//! What stands around every page: names, ways to the other pages, 停播.

use super::words;
use crate::web;
use askama::Template;
use axum::response::Response;
use serde::Deserialize;

pub(super) use crate::web::{done, html, query};

/// What stands around a page.
pub(super) type Frame = web::Frame<words::Words, Place>;

/// Texts around every page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub now: String,
    pub plan: String,
    pub schedules: String,
    pub clips: String,
    pub journal: String,
    pub settings: String,
    pub stop: String,
}

/// A page as the way to it names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// 现在
    Now,
    /// 预排
    Plan,
    /// 计划
    Schedules,
    /// 音频
    Clips,
    /// 记录
    Journal,
    /// 设置
    Settings,
    /// Something that no way leads to.
    Elsewhere,
}

/// A page of which only the main part is known.
#[derive(Template)]
#[template(path = "plain.html")]
struct Plain<'a> {
    frame: &'a Frame,
    title: &'a str,
    main: &'a str,
}

/// Puts the frame around the main part of a page.
pub(super) fn around(asked: web::Asked, station: &str, title: &str, main: &str) -> Response {
    html(&Plain { frame: &Frame::new(asked, station, Place::Elsewhere), title, main })
}

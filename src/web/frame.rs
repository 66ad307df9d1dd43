//! What stands around every page: names, ways to the other pages, who is signed in, what was just done; and the same
//! answer as JSON.

use super::{Asked, Role, go_to, words::Texts, words::Words as Shared};
use askama::Template;
use axum::{
    Json,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::Serialize;

/// What stands around a page of a server with the words `W`; `P` is a page as the way to it names it.
pub(crate) struct Frame<W: 'static, P> {
    pub asked: Asked,
    pub words: &'static W,
    pub shared: &'static Shared,
    pub station: String,
    pub place: P,
    pub said: Option<&'static str>,
}

impl<W: Texts, P> Frame<W, P> {
    pub fn new(asked: Asked, station: &str, place: P) -> Self {
        let (words, shared) = (W::of(asked.language), Shared::of(asked.language));
        // A code of ours or nothing: what stands in an address is never shown.
        let code = query(&asked.path, "said");
        let said = code.and_then(|code| words.site().said.get(&code).or_else(|| shared.frame.said.get(&code)));
        Self { asked, words, shared, station: station.to_owned(), place, said: said.map(String::as_str) }
    }

    /// Returns the tag of the language.
    pub fn tag(&self) -> &'static str {
        self.asked.language.tag()
    }

    /// Returns what the program calls itself.
    pub fn program(&self) -> &'static str {
        &self.words.site().program
    }

    /// Returns what a role may do.
    pub fn role(&self, role: &Role) -> &'static str {
        self.words.site().role(role)
    }

    /// Returns whether whoever looks has signed in.
    pub fn looks(&self) -> bool {
        self.asked.may(Role::Viewer)
    }

    /// Returns whether whoever looks may do what an operator may.
    pub fn operates(&self) -> bool {
        self.asked.may(Role::Operator)
    }

    /// Returns whether whoever looks may do what an administrator may.
    pub fn administers(&self) -> bool {
        self.asked.may(Role::Admin)
    }

    /// Answers with the page, or with `view` as JSON.
    pub fn answer(&self, view: &impl Serialize, page: &impl Template) -> Response {
        if self.asked.wants_json { Json(view).into_response() } else { html(page) }
    }
}

/// Returns a page, rendered.
pub(crate) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Answers a change that was made: JSON, or the page `to` with the words of `code` on it.
pub(crate) fn done(asked: &Asked, facts: &impl Serialize, to: &str, code: &str) -> Response {
    if asked.wants_json {
        return Json(facts).into_response();
    }
    let mark = if to.contains('?') { '&' } else { '?' };
    go_to(&format!("{to}{mark}said={code}"))
}

/// Returns a value of the query of an address.
pub(crate) fn query(path: &str, name: &str) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A box of a form that was ticked says `on`; JSON says true.
pub(crate) fn ticked<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    struct Ticked;
    impl serde::de::Visitor<'_> for Ticked {
        type Value = bool;
        fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            to.write_str("true, false or `on`")
        }
        fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }
        fn visit_str<E>(self, value: &str) -> Result<bool, E> {
            Ok(matches!(value, "on" | "true" | "1"))
        }
    }
    from.deserialize_any(Ticked)
}

/// Files of the program, which change only with it.
pub(crate) fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], text).into_response()
}

/// `GET /style.css`
pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("assets/style.css"))
}

/// `GET /live.js`
pub(crate) async fn live() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("assets/live.js"))
}

/// `GET /print.js`
pub(crate) async fn print() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("assets/print.js"))
}

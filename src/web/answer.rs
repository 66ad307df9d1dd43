//! What a handler is asked with and how it answers: one handler for the page and for JSON at the same address.

use super::{Peer, Role, SessionId, language};
use crate::text::Language;
use axum::{
    Form, Json,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;

/// The cookie with the token of a session.
const SESSION: &str = "dalaba";

/// Somebody who is signed in, or who holds the token of `data/control.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// What stands in the journal.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The session that says so; none for the token.
    pub session: Option<SessionId>,
}

/// Who asks, from where, and how they want to be answered.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The connection.
    pub peer: Peer,
    /// None for somebody who has not signed in.
    pub who: Option<Who>,
    /// Nobody can sign in yet: the first run is to be done.
    pub is_new: bool,
    /// What they read.
    pub language: Language,
    /// JSON instead of a page.
    pub wants_json: bool,
    /// The address that was asked for, with its query.
    pub path: String,
}

impl Asked {
    /// Returns whether they may do what this role may.
    pub fn may(&self, role: Role) -> bool {
        self.who.as_ref().is_some_and(|who| who.role >= role)
    }

    /// Returns what stands in the journal for them.
    pub fn name(&self) -> String {
        self.who.as_ref().map_or_else(|| "本机".to_owned(), |who| who.name.clone())
    }

    /// Returns the one of two texts that they read.
    pub fn pick<T>(&self, chinese: T, english: T) -> T {
        self.language.pick(chinese, english)
    }

    /// Returns whether these headers ask for JSON.
    pub fn wants_json(headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        text(header::ACCEPT).contains("application/json")
            || (!text(header::ACCEPT).contains("text/html") && is_json(headers))
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Why something was not done, in a sentence with the remedy, in the language of whoever asked. The page or the JSON
/// around it is made on the way out.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Of the answer.
    pub status: StatusCode,
    /// The sentence.
    pub said: String,
}

impl Problem {
    /// Something is wrong with what was sent.
    pub fn bad(said: impl Into<String>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, said: said.into() }
    }

    /// The station is not in a state to do this now.
    pub fn refused(said: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, said: said.into() }
    }

    /// There is nothing at this address.
    pub fn missing(asked: &Asked) -> Self {
        let said =
            asked.pick("没有这个页面；它可能改了名字或被移走了", "nothing is here; it may have been renamed or moved");
        Self { status: StatusCode::NOT_FOUND, said: said.to_owned() }
    }

    /// The machine could not do it.
    pub fn failed(said: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, said: said.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.said.clone()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The body of a change: a form of one of our pages, or JSON with the same fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let language = language(request.headers());
        let input = if is_json(request.headers()) {
            Json::from_request(request, state)
                .await
                .map(|Json(input)| input)
                .map_err(|error| (error.status(), error.body_text()))
        } else {
            Form::from_request(request, state)
                .await
                .map(|Form(input)| input)
                .map_err(|error| (error.status(), error.body_text()))
        };
        input.map(Self).map_err(|(status, said)| Problem { status, said: unread(status, &said, language) })
    }
}

/// Says why a body could not be taken; `said` is what the parser has to say.
fn unread(status: StatusCode, said: &str, language: Language) -> String {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let said = ("提交的内容太大；请缩短后再提交", "what was sent is too large; shorten it and send it again");
        return language.pick(said.0, said.1).to_owned();
    }
    language.pick(format!("读不懂提交的内容：{said}"), format!("what was sent cannot be read: {said}"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Sends a browser to a page after a change, so that a reload repeats nothing.
pub fn go_to(path: &str) -> Response {
    match HeaderValue::try_from(path) {
        Ok(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The cookie of a session: no script reads it, no other site sends it. Without a token it is taken back.
pub fn session_cookie(token: Option<&str>, peer: &Peer) -> String {
    let secure = if peer.is_tls { "; Secure" } else { "" };
    let (token, age) = token.map_or(("", "; Max-Age=0"), |token| (token, ""));
    format!("{SESSION}={token}; HttpOnly; SameSite=Strict; Path=/{age}{secure}")
}

/// Returns the token of the session that a request carries.
pub(crate) fn session(headers: &HeaderMap) -> Option<String> {
    super::cookie(headers, SESSION).filter(|token| !token.is_empty())
}

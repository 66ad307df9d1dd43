//! What a page server has to have for the pages that all of them share: signing in, one's password, the first run's code,
//! what is said when something was not done. And who asks, found out before every handler.

use super::{Asked, Code, HasToken, Peer, People, Problem, Role, Who, language, session, sign_in, words::Words};
use crate::text::Language;
use askama::Template;
use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A page server.
pub(crate) trait Site: Clone + Send + Sync + 'static {
    /// The address of the page on which people are looked after.
    const PEOPLE: &'static str;

    /// Returns who may use it.
    fn people(&self) -> &People;

    /// Returns what lets the network reach its first run.
    fn code(&self) -> &Code;

    /// Returns what somebody does who has forgotten the password.
    fn forgotten(&self, language: Language) -> &'static str;

    /// Puts its own frame around the main part of a page.
    fn framed(&self, asked: Asked, title: &str, main: &str) -> impl Future<Output = Response> + Send;

    /// Puts on record that somebody was added, changed or removed.
    fn people_changed(
        &self,
        asked: &Asked,
        name: &str,
        what: &'static str,
    ) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// Shows the main part of a page in the site's frame.
pub(super) async fn show(site: &impl Site, asked: Asked, title: &str, main: &impl Template) -> Response {
    match main.render() {
        Ok(text) => site.framed(asked, title, &text).await,
        Err(error) => {
            tracing::error!(%error, "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Finds out who asks, and gives a problem the form in which they want to read it.
pub(crate) async fn identify<S: Site>(State(site): State<S>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = request.headers();
    let who = if request.extensions().get::<HasToken>().is_some() {
        Some(Who { name: "local".into(), role: Role::Admin, session: None })
    } else {
        let session = session(headers).and_then(|token| site.people().who(&token, crate::clock::wall()));
        session.map(|(name, role, session)| Who { name, role, session: Some(session) })
    };
    let asked = Asked {
        peer,
        who,
        is_new: site.people().is_empty(),
        language: language(headers),
        wants_json: Asked::wants_json(headers),
        path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
    };
    request.extensions_mut().insert(asked.clone());
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) => shown(&site, asked, problem).await,
        None => response,
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    words: &'static Words,
    said: &'a str,
}

/// Gives a problem the form in which whoever asked wants to read it.
async fn shown(site: &impl Site, asked: Asked, problem: &Problem) -> Response {
    if asked.wants_json {
        return (problem.status, Json(json!({ "error": problem.said }))).into_response();
    }
    let words = Words::of(asked.language);
    let mut response = show(site, asked, &words.frame.problem, &ProblemPage { words, said: &problem.said }).await;
    *response.status_mut() = problem.status;
    response
}

/// Lets those pass who have this role at least, and shows the others the way.
pub(crate) async fn need(role: Role, request: Request, next: Next) -> Response {
    let Some(asked) = request.extensions().get::<Asked>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if asked.may(role) {
        return next.run(request).await;
    }
    match asked.who {
        Some(_) => {
            let said =
                asked.pick("你的账号没有这个权限；请找管理员", "your account may not do this; ask an administrator");
            Problem { status: StatusCode::FORBIDDEN, said: said.into() }.into_response()
        }
        None => sign_in::first(&asked),
    }
}

/// There is nothing at this address.
pub(crate) async fn missing(asked: Asked) -> Problem {
    Problem::missing(&asked)
}

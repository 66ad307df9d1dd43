//! 登录: signing in and out, and the choice of a language.

use super::{
    Asked, Input, LANGUAGE, Problem, Refused, code, done, fill, go_to, query, session, session_cookie,
    site::{Site, show},
    words::Words as Shared,
};
use crate::{clock, text::Language};
use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Words {
    pub title: String,
    pub name: String,
    pub password: String,
    pub enter: String,
    pub wrong: String,
    pub wait: String,
}

#[derive(Template)]
#[template(path = "sign-in.html")]
struct Page {
    words: &'static Words,
    forgotten: &'static str,
    next: String,
    problem: Option<String>,
}

/// What is sent to sign in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `GET /sign-in`
pub(crate) async fn page<S: Site>(State(site): State<S>, asked: Asked) -> Response {
    if asked.is_new {
        return code::lead(&asked);
    }
    let next = query(&asked.path, "next").unwrap_or_default();
    form(&site, asked, next, None).await
}

async fn form(site: &impl Site, asked: Asked, next: String, problem: Option<String>) -> Response {
    if asked.wants_json {
        return axum::Json(json!({ "signed_in": asked.who.is_some() })).into_response();
    }
    let words = &Shared::of(asked.language).sign_in;
    let forgotten = site.forgotten(asked.language);
    show(site, asked, &words.title, &Page { words, forgotten, next, problem }).await
}

/// `POST /sign-in`
pub(crate) async fn sign_in<S: Site>(
    State(site): State<S>,
    asked: Asked,
    headers: HeaderMap,
    Input(given): Input<Credentials>,
) -> Response {
    let signed = site.people().sign_in(given.name.trim(), &given.password, clock::wall()).await;
    match signed {
        Ok(token) => {
            // Whatever session the browser had before is over: one planted there is worth nothing.
            if let Some(before) = session(&headers) {
                site.people().sign_out(&before);
            }
            tracing::info!(person = given.name.trim(), from = %asked.peer.remote.ip(), "signed in");
            let mut response = if asked.wants_json {
                axum::Json(json!({ "done": "signed-in" })).into_response()
            } else {
                go_to(own_page(&given.next))
            };
            set_cookie(&mut response, &session_cookie(Some(&token), &asked.peer));
            response
        }
        Err(refused) => {
            tracing::warn!(from = %asked.peer.remote.ip(), "a sign-in was refused");
            let words = &Shared::of(asked.language).sign_in;
            let (status, said) = match refused {
                Refused::Wait(seconds) => (StatusCode::TOO_MANY_REQUESTS, fill(&words.wait, &[("seconds", &seconds)])),
                _ => (StatusCode::UNAUTHORIZED, words.wrong.clone()),
            };
            let mut response = if asked.wants_json {
                Problem { status, said }.into_response()
            } else {
                form(&site, asked, given.next, Some(said)).await
            };
            *response.status_mut() = status;
            if let Refused::Wait(seconds) = refused {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
    }
}

/// `POST /sign-out`
pub(crate) async fn sign_out<S: Site>(State(site): State<S>, asked: Asked, headers: HeaderMap) -> Response {
    if let Some(token) = session(&headers) {
        site.people().sign_out(&token);
    }
    let mut response = done(&asked, &json!({ "done": "signed-out" }), "/", "signed-out");
    set_cookie(&mut response, &session_cookie(None, &asked.peer));
    response
}

/// The body of `POST /language`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choice {
    language: String,
    #[serde(default)]
    next: String,
}

/// `POST /language`
pub(crate) async fn language(asked: Asked, Input(choice): Input<Choice>) -> Response {
    let language = Language::tagged(&choice.language).unwrap_or_default();
    let mut response = done(&asked, &json!({ "done": "language" }), own_page(&choice.next), "language");
    set_cookie(&mut response, &format!("{LANGUAGE}={}; SameSite=Strict; Path=/; Max-Age=31536000", language.tag()));
    response
}

/// Sends somebody who has not signed in to where they can, and back afterwards.
pub(crate) fn first(asked: &Asked) -> Response {
    if asked.is_new {
        return code::lead(asked);
    }
    if asked.wants_json {
        let said = asked.pick("请先登录", "sign in first");
        return Problem { status: StatusCode::UNAUTHORIZED, said: said.into() }.into_response();
    }
    let next: String = form_urlencoded::byte_serialize(asked.path.as_bytes()).collect();
    go_to(&format!("/sign-in?next={next}"))
}

/// Returns a page of this site: nobody is sent elsewhere.
fn own_page(next: &str) -> &str {
    let is_own = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if is_own { next } else { "/" }
}

pub(crate) fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::own_page;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (next, to) in [
            ("/journal?on=2026-11-25", "/journal?on=2026-11-25"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(own_page(next), to);
        }
    }
}

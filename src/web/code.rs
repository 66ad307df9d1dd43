//! The code by which the network reaches a first run, while nobody may sign in; whoever sits at the machine needs none.
//! Ten wrong codes close the network out until the next start.

use super::{
    Asked, Input, Problem, cookie, done, go_to,
    sign_in::set_cookie,
    site::{Site, show},
    words::Words as Shared,
};
use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Texts around a first run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Words {
    pub title: String,
    pub code: String,
    pub code_hint: String,
    pub enter: String,
    pub wrong_code: String,
    pub closed: String,
    pub over: String,
    pub password: String,
    pub bad_password: String,
    pub bad_name: String,
}

/// The code by which the network reaches the first run.
#[derive(Debug)]
pub(crate) struct Code {
    code: String,
    wrong: AtomicU32,
}

/// Letters and digits that nobody takes for each other: 32, so that a byte chooses one evenly.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// So many wrong codes close the network out.
const WRONG: u32 = 10;
/// The cookie with a code that was right.
const COOKIE: &str = "first-run";

/// Whether a code lets somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    Right,
    Wrong,
    Closed,
}

impl Code {
    /// Returns a fresh one.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)?;
        let code = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
        Ok(Self { code, wrong: AtomicU32::new(0) })
    }

    /// Returns it for a person to read off.
    pub fn said(&self) -> &str {
        &self.code
    }

    fn check(&self, given: &str) -> Tried {
        if self.wrong.load(SeqCst) >= WRONG {
            return Tried::Closed;
        }
        let given: String = given.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
        // Compared in time that does not depend on where the first difference is.
        let same = given.len() == self.code.len()
            && given.bytes().zip(self.code.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0;
        if same {
            return Tried::Right;
        }
        self.wrong.fetch_add(1, SeqCst);
        Tried::Wrong
    }
}

#[derive(Template)]
#[template(path = "first-run-code.html")]
struct CodePage<'a> {
    words: &'static Words,
    problem: Option<&'a str>,
}

/// Sends somebody to the first run.
pub(crate) fn lead(asked: &Asked) -> Response {
    if asked.wants_json {
        let said =
            asked.pick("还没有做首次设置；请先打开 /first-run", "the first run is to be done first, at /first-run");
        return Problem { status: StatusCode::UNAUTHORIZED, said: said.into() }.into_response();
    }
    go_to("/first-run")
}

/// Lets those pass who may do the first run; the others get an answer.
pub(crate) async fn admit(site: &impl Site, asked: &Asked, headers: &HeaderMap) -> Result<(), Response> {
    if !site.people().is_empty() {
        let words = &Shared::of(asked.language).first_run;
        let over = Problem::refused(words.over.clone());
        return Err(if asked.wants_json { over.into_response() } else { go_to("/") });
    }
    if asked.peer.is_here() {
        return Ok(());
    }
    match cookie(headers, COOKIE).map(|code| site.code().check(&code)) {
        Some(Tried::Right) => Ok(()),
        tried => Err(ask_code(site, asked, tried).await),
    }
}

async fn ask_code(site: &impl Site, asked: &Asked, tried: Option<Tried>) -> Response {
    let words = &Shared::of(asked.language).first_run;
    let problem = match tried {
        Some(Tried::Closed) => Some(words.closed.as_str()),
        Some(_) => Some(words.wrong_code.as_str()),
        None if site.code().wrong.load(SeqCst) >= WRONG => Some(words.closed.as_str()),
        None => None,
    };
    let mut response = if asked.wants_json {
        Problem { status: StatusCode::UNAUTHORIZED, said: problem.unwrap_or(&words.code_hint).to_owned() }
            .into_response()
    } else {
        let mut page = show(site, asked.clone(), &words.title, &CodePage { words, problem }).await;
        *page.status_mut() = problem.map_or(StatusCode::OK, |_| StatusCode::UNAUTHORIZED);
        page
    };
    // A code that is no longer right would otherwise use up the tries with every look.
    set_cookie(&mut response, &format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/first-run; Max-Age=0"));
    response
}

/// The code, as somebody typed it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeForm {
    code: String,
}

/// `POST /first-run/code`: from the network, before anything else is shown.
pub(crate) async fn code<S: Site>(State(site): State<S>, asked: Asked, Input(given): Input<CodeForm>) -> Response {
    if !site.people().is_empty() {
        return go_to("/");
    }
    match site.code().check(&given.code) {
        Tried::Right => {
            let mut response = done(&asked, &json!({ "done": "code" }), "/first-run", "code");
            let secure = if asked.peer.is_tls { "; Secure" } else { "" };
            let cookie = format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/first-run{secure}", site.code().said());
            set_cookie(&mut response, &cookie);
            response
        }
        tried => {
            tracing::warn!(from = %asked.peer.remote.ip(), "a wrong code for the first run");
            ask_code(&site, &asked, Some(tried)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_codes_close_the_network_out() {
        let code = Code::new().unwrap();
        assert_eq!((code.said().len(), code.said().bytes().all(|byte| LETTERS.contains(&byte))), (8, true));
        let typed = format!(" {}-{} ", &code.said()[..4].to_lowercase(), &code.said()[4..]);
        assert_eq!(code.check(&typed), Tried::Right);
        for wrong in ["", "0000000", "00000000", "000000000", "中文", "0", "1", "2", "3", "4"] {
            assert_eq!(code.check(wrong), Tried::Wrong);
        }
        assert_eq!(code.check(&typed), Tried::Closed);
        assert_ne!(Code::new().unwrap().said(), code.said());
    }
}

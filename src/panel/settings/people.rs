//! Who may sign in: an administrator adds people, gives them roles and new passwords, and removes them; everybody changes
//! their own password.

use super::{Panel, Words};
use crate::{
    clock,
    panel::{
        frame::{self, Frame, Place},
        sign_in, words,
    },
    text::Language,
    web::{self, Asked, Input, Problem, Refused, Role},
};
use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use serde_json::json;

/// Why somebody was not added or changed.
fn problem(refused: Refused, language: Language) -> Problem {
    let (zh, en) = match refused {
        Refused::Wrong => ("原来的密码不对".to_owned(), "the old password is wrong".to_owned()),
        Refused::Wait(seconds) => {
            (format!("错的次数太多，请 {seconds} 秒后再试"), format!("too many wrong passwords; wait {seconds} s"))
        }
        Refused::BadName => ("名字要 1 到 32 个字".to_owned(), "a name has 1 to 32 characters".to_owned()),
        Refused::BadPassword => ("密码要 8 到 256 个字符".to_owned(), "a password has 8 to 256 characters".to_owned()),
        Refused::Taken => {
            ("已经有叫这个名字的人；请换一个".to_owned(), "this name is taken; choose another".to_owned())
        }
        Refused::Unknown => ("没有这个人".to_owned(), "there is no such person".to_owned()),
        Refused::LastAdmin => (
            "最后一个管理员不能去掉；请先指定另一个".to_owned(),
            "the last administrator stays; name another first".to_owned(),
        ),
        Refused::TooMany => {
            ("人数已满；请先去掉不用的".to_owned(), "there are too many people; remove some".to_owned())
        }
        Refused::Disk => (
            "磁盘写不进去；请检查磁盘空间和权限".to_owned(),
            "the disk takes nothing; check space and permissions".to_owned(),
        ),
    };
    Problem::bad(language.pick(zh, en))
}

fn saved(asked: &Asked, name: &str, what: &str) -> Response {
    tracing::info!(operator = asked.name(), person = name.trim(), what, "people changed");
    frame::done(asked, &json!({ "done": what, "name": name.trim() }), "/settings", "saved")
}

/// The body of `POST /settings/people`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::panel) struct Added {
    name: String,
    password: String,
    role: Role,
}

/// `POST /settings/people`
pub(in crate::panel) async fn add(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<Added>,
) -> Result<Response, Problem> {
    let added = panel.people.add(&form.name, &form.password, form.role, false).await;
    added.map_err(|refused| problem(refused, asked.language))?;
    Ok(saved(&asked, &form.name, "added"))
}

/// The body of `POST /settings/people/role`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::panel) struct Promoted {
    name: String,
    role: Role,
}

/// `POST /settings/people/role`
pub(in crate::panel) async fn role(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<Promoted>,
) -> Result<Response, Problem> {
    panel.people.set_role(&form.name, form.role).map_err(|refused| problem(refused, asked.language))?;
    Ok(saved(&asked, &form.name, "role"))
}

/// The body of `POST /settings/people/password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::panel) struct Reset {
    name: String,
    password: String,
}

/// `POST /settings/people/password`
pub(in crate::panel) async fn reset(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<Reset>,
) -> Result<Response, Problem> {
    let set = panel.people.set_password(&form.name, &form.password).await;
    set.map_err(|refused| problem(refused, asked.language))?;
    Ok(saved(&asked, &form.name, "password"))
}

/// The body of `POST /settings/people/remove`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::panel) struct Removed {
    name: String,
}

/// `POST /settings/people/remove`
pub(in crate::panel) async fn remove(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<Removed>,
) -> Result<Response, Problem> {
    panel.people.remove(&form.name).map_err(|refused| problem(refused, asked.language))?;
    Ok(saved(&asked, &form.name, "removed"))
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    again: &'static str,
    problem: Option<String>,
}

async fn show(panel: &Panel, asked: Asked, problem: Option<String>) -> Response {
    let station = panel.daemon.snapshot().await.map(|seen| seen.name).unwrap_or_default();
    let frame = Frame::new(asked, &station, Place::Elsewhere);
    let words = words::Words::of(frame.asked.language);
    let page = PasswordPage { frame: &frame, words: &words.settings, again: &words.first_run.again, problem };
    frame.answer(&json!({ "name": frame.asked.name() }), &page)
}

/// `GET /password`
pub(in crate::panel) async fn own(State(panel): State<Panel>, asked: Asked) -> Response {
    show(&panel, asked, None).await
}

/// The body of `POST /password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::panel) struct Own {
    old: String,
    password: String,
    again: String,
}

/// `POST /password`: one's own, for whoever knows the old one; every other session of theirs ends.
pub(in crate::panel) async fn set_own(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<Own>,
) -> Result<Response, Problem> {
    match change_own(&panel, &asked, &form).await {
        Ok(token) => {
            let mut response = frame::done(&asked, &json!({ "done": "password" }), "/", "password");
            sign_in::set_cookie(&mut response, &web::session_cookie(Some(&token), &asked.peer));
            Ok(response)
        }
        Err(problem) if asked.wants_json => Err(problem),
        Err(problem) => {
            let mut response = show(&panel, asked, Some(problem.said)).await;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
    }
}

async fn change_own(panel: &Panel, asked: &Asked, form: &Own) -> Result<String, Problem> {
    let refused = |refused| problem(refused, asked.language);
    if form.password != form.again {
        return Err(Problem::bad(words::Words::of(asked.language).first_run.differ.clone()));
    }
    let name = asked.name();
    // Asked as at a sign-in, so that guessing is as slow; the session is over with the old password.
    panel.people.sign_in(&name, &form.old, clock::wall()).await.map_err(refused)?;
    panel.people.set_password(&name, &form.password).await.map_err(refused)?;
    panel.people.sign_in(&name, &form.password, clock::wall()).await.map_err(refused)
}

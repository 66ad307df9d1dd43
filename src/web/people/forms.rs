//! Who may sign in: an administrator adds people, gives them roles and new passwords, and removes them; everybody changes
//! their own password.

use super::{Refused, Role};
use crate::{
    clock,
    text::Language,
    web::{
        Asked, Input, Problem, done, session_cookie,
        sign_in::set_cookie,
        site::{Site, show},
        words::Words as Shared,
    },
};
use askama::Template;
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::json;

/// Texts about people.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Words {
    pub title: String,
    pub role: String,
    pub set_role: String,
    pub new_password: String,
    pub set_password: String,
    pub remove: String,
    pub add: String,
    pub name: String,
    pub own_password: String,
    pub old_password: String,
    pub again: String,
    pub differ: String,
}

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

async fn saved<S: Site>(site: &S, asked: &Asked, name: &str, what: &'static str) -> Result<Response, Problem> {
    tracing::info!(operator = asked.name(), person = name.trim(), what, "people changed");
    site.people_changed(asked, name.trim(), what).await?;
    Ok(done(asked, &json!({ "done": what, "name": name.trim() }), S::PEOPLE, "saved"))
}

/// The body of `POST …/people`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Added {
    name: String,
    password: String,
    role: Role,
}

/// `POST …/people`
pub(crate) async fn add<S: Site>(
    State(site): State<S>,
    asked: Asked,
    Input(form): Input<Added>,
) -> Result<Response, Problem> {
    let added = site.people().add(&form.name, &form.password, form.role, false).await;
    added.map_err(|refused| problem(refused, asked.language))?;
    saved(&site, &asked, &form.name, "added").await
}

/// The body of `POST …/people/role`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promoted {
    name: String,
    role: Role,
}

/// `POST …/people/role`
pub(crate) async fn role<S: Site>(
    State(site): State<S>,
    asked: Asked,
    Input(form): Input<Promoted>,
) -> Result<Response, Problem> {
    site.people().set_role(&form.name, form.role).map_err(|refused| problem(refused, asked.language))?;
    saved(&site, &asked, &form.name, "role").await
}

/// The body of `POST …/people/password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    name: String,
    password: String,
}

/// `POST …/people/password`
pub(crate) async fn reset<S: Site>(
    State(site): State<S>,
    asked: Asked,
    Input(form): Input<Reset>,
) -> Result<Response, Problem> {
    let set = site.people().set_password(&form.name, &form.password).await;
    set.map_err(|refused| problem(refused, asked.language))?;
    saved(&site, &asked, &form.name, "password").await
}

/// The body of `POST …/people/remove`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removed {
    name: String,
}

/// `POST …/people/remove`
pub(crate) async fn remove<S: Site>(
    State(site): State<S>,
    asked: Asked,
    Input(form): Input<Removed>,
) -> Result<Response, Problem> {
    site.people().remove(&form.name).map_err(|refused| problem(refused, asked.language))?;
    saved(&site, &asked, &form.name, "removed").await
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    words: &'static Words,
    name: String,
    problem: Option<String>,
}

async fn ask(site: &impl Site, asked: Asked, problem: Option<String>) -> Response {
    if asked.wants_json {
        return Json(json!({ "name": asked.name() })).into_response();
    }
    let words = &Shared::of(asked.language).people;
    let page = PasswordPage { words, name: asked.name(), problem };
    show(site, asked, &words.own_password, &page).await
}

/// `GET /password`
pub(crate) async fn own<S: Site>(State(site): State<S>, asked: Asked) -> Response {
    ask(&site, asked, None).await
}

/// The body of `POST /password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Own {
    old: String,
    password: String,
    again: String,
}

/// `POST /password`: one's own, for whoever knows the old one; every other session of theirs ends.
pub(crate) async fn set_own<S: Site>(
    State(site): State<S>,
    asked: Asked,
    Input(form): Input<Own>,
) -> Result<Response, Problem> {
    match change_own(&site, &asked, &form).await {
        Ok(token) => {
            let mut response = done(&asked, &json!({ "done": "password" }), "/", "password");
            set_cookie(&mut response, &session_cookie(Some(&token), &asked.peer));
            Ok(response)
        }
        Err(problem) if asked.wants_json => Err(problem),
        Err(problem) => {
            let mut response = ask(&site, asked, Some(problem.said)).await;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
    }
}

async fn change_own(site: &impl Site, asked: &Asked, form: &Own) -> Result<String, Problem> {
    let refused = |refused| problem(refused, asked.language);
    if form.password != form.again {
        return Err(Problem::bad(Shared::of(asked.language).people.differ.clone()));
    }
    let name = asked.name();
    // Asked as at a sign-in, so that guessing is as slow; the session is over with the old password.
    site.people().sign_in(&name, &form.old, clock::wall()).await.map_err(refused)?;
    site.people().set_password(&name, &form.password).await.map_err(refused)?;
    site.people().sign_in(&name, &form.password, clock::wall()).await.map_err(refused)
}

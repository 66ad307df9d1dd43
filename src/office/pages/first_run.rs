//! 首次设置: what the office is called, whom it may speak to, and who administers it; on one page.
//!
//! It is open while nobody may sign in, on the machine itself; from the network only with the code that the office prints at
//! its start. An office that exists already, and whose process has no people yet, asks for the administrator alone.

use super::{
    Pages,
    frame::{self, Frame, Place},
};
use crate::{
    clock,
    link::Division,
    text::{Language, Said},
    web::{self, Asked, Code, Guard, Input, People, Problem, Refused, Role, SharedWords, Site, sign_in},
};
use askama::Template;
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::HeaderMap,
    middleware,
    response::Response,
    routing::{get, post},
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub hello: String,
    pub office: String,
    pub name: String,
    pub division: String,
    pub division_hint: String,
    pub zone: String,
    pub person: String,
    pub person_name: String,
    pub finish: String,
    pub bad_office: String,
    pub bad_division: String,
    pub bad_zone: String,
}

/// The longest name of an office, in characters.
const LONGEST: usize = 64;

/// Somebody has said what office this is to be; whoever runs it makes it so, and answers.
#[derive(Debug)]
pub(in crate::office) struct Founding {
    /// What people call it.
    pub name: String,
    /// Whom it may speak to.
    pub division: Division,
    /// Where its dates are, as `Asia/Shanghai`.
    pub zone: String,
    /// Who did it, for the record.
    pub who: String,
    /// It is done, or why it is not.
    pub done: oneshot::Sender<Result<(), Said>>,
}

/// The pages of an office that does not exist yet.
#[derive(Debug, Clone)]
struct Unfounded {
    people: Arc<People>,
    code: Arc<Code>,
    founding: mpsc::Sender<Founding>,
}

/// Serves the first run of an office that does not exist yet; everything else leads there.
pub(in crate::office) fn router(
    people: Arc<People>,
    code: Arc<Code>,
    founding: mpsc::Sender<Founding>,
    guard: Guard,
) -> Router {
    let site = Unfounded { people, code, founding };
    Router::new()
        .route("/first-run", get(page::<Unfounded>).post(finish::<Unfounded>))
        .route("/first-run/code", post(web::first_run_code::<Unfounded>))
        .route("/language", post(sign_in::language))
        .route("/style.css", get(web::style))
        .layer(DefaultBodyLimit::max(super::BODY))
        .fallback(lead)
        .layer(middleware::from_fn_with_state(site.clone(), web::identify::<Unfounded>))
        .layer(middleware::from_fn_with_state(guard, web::guard))
        .with_state(site)
}

async fn lead(asked: Asked) -> Response {
    web::lead(&asked)
}

/// Where a first run can be.
pub(super) trait Unready: Site {
    /// Returns who makes the office; none where it exists.
    fn founding(&self) -> Option<&mpsc::Sender<Founding>>;
}

impl Unready for Pages {
    fn founding(&self) -> Option<&mpsc::Sender<Founding>> {
        None
    }
}

impl Unready for Unfounded {
    fn founding(&self) -> Option<&mpsc::Sender<Founding>> {
        Some(&self.founding)
    }
}

impl Site for Unfounded {
    const PEOPLE: &'static str = "/";

    fn people(&self) -> &People {
        &self.people
    }

    fn code(&self) -> &Code {
        &self.code
    }

    fn forgotten(&self, language: Language) -> &'static str {
        &super::words::Words::of(language).site.forgotten
    }

    async fn framed(&self, asked: Asked, title: &str, main: &str) -> Response {
        let program = &super::words::Words::of(asked.language).site.program;
        frame::around(asked, program, title, main)
    }

    async fn people_changed(&self, _asked: &Asked, _name: &str, _what: &'static str) -> Result<(), Problem> {
        Ok(())
    }
}

/// What was filled in so far.
#[derive(Debug, Serialize)]
struct View {
    /// Whether the office is still to be made.
    is_new: bool,
    office: String,
    division: String,
    zone: String,
    name: String,
    #[serde(skip)]
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "office-first-run.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
}

/// The form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    #[serde(default)]
    office: String,
    #[serde(default)]
    division: String,
    #[serde(default)]
    zone: String,
    name: String,
    password: String,
    again: String,
}

/// `GET /first-run`
pub(super) async fn page<S: Unready>(
    State(site): State<S>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Response> {
    web::admit(&site, &asked, &headers).await?;
    let view = View {
        is_new: site.founding().is_some(),
        office: String::new(),
        division: String::new(),
        zone: "Asia/Shanghai".into(),
        name: String::new(),
        problem: None,
    };
    Ok(show(asked, &view))
}

fn show(asked: Asked, view: &View) -> Response {
    let program = &super::words::Words::of(asked.language).site.program;
    let frame = Frame::new(asked, program, Place::Elsewhere);
    let words = &frame.words.first_run;
    frame.answer(view, &Page { frame: &frame, words, view })
}

/// `POST /first-run`
pub(super) async fn finish<S: Unready>(
    State(site): State<S>,
    asked: Asked,
    headers: HeaderMap,
    Input(form): Input<Form>,
) -> Result<Response, Response> {
    web::admit(&site, &asked, &headers).await?;
    match carry_out(&site, &asked, &form).await {
        Ok(token) => {
            let mut response = web::done(&asked, &json!({ "done": "first-run" }), "/", "first-run");
            sign_in::set_cookie(&mut response, &web::session_cookie(Some(&token), &asked.peer));
            Ok(response)
        }
        Err(problem) if asked.wants_json => Err(axum::response::IntoResponse::into_response(problem)),
        Err(problem) => {
            let view = View {
                is_new: site.founding().is_some(),
                office: form.office,
                division: form.division,
                zone: form.zone,
                name: form.name,
                problem: Some(problem.said),
            };
            let mut response = show(asked, &view);
            *response.status_mut() = problem.status;
            Ok(response)
        }
    }
}

async fn carry_out(site: &impl Unready, asked: &Asked, form: &Form) -> Result<String, Problem> {
    let words = &super::words::Words::of(asked.language).first_run;
    let shared = SharedWords::of(asked.language);
    if form.password != form.again {
        return Err(Problem::bad(shared.people.differ.clone()));
    }
    if !web::PASSWORD.contains(&form.password.chars().count()) {
        return Err(Problem::bad(shared.first_run.bad_password.clone()));
    }
    if let Some(founding) = site.founding() {
        let name = form.office.trim();
        if name.is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
            return Err(Problem::bad(words.bad_office.clone()));
        }
        let division = Division::try_from(form.division.trim().to_owned());
        let division = division.map_err(|_| Problem::bad(words.bad_division.clone()))?;
        let zone = form.zone.trim();
        TimeZone::get(zone).map_err(|_| Problem::bad(words.bad_zone.clone()))?;
        let (done, answer) = oneshot::channel();
        let (name, zone, who) = (name.to_owned(), zone.to_owned(), form.name.trim().to_owned());
        let gone = |_| Problem::failed(asked.pick("程序正在退出，请再试一次", "the program is ending, try again"));
        founding.send(Founding { name, division, zone, who, done }).await.map_err(|error| gone(error.to_string()))?;
        let made = answer.await.map_err(|error| gone(error.to_string()))?;
        made.map_err(|why| Problem::failed(why.in_language(asked.language)))?;
    }
    let added = site.people().add(&form.name, &form.password, Role::Admin, true).await;
    added.map_err(|refused| match refused {
        Refused::BadName => Problem::bad(shared.first_run.bad_name.clone()),
        Refused::BadPassword => Problem::bad(shared.first_run.bad_password.clone()),
        Refused::Taken => Problem::refused(shared.first_run.over.clone()),
        _ => Problem::failed(asked.pick(
            "写不进 people.json；请检查磁盘空间和权限",
            "people.json cannot be written; check the disk's space and permissions",
        )),
    })?;
    let token = site.people().sign_in(form.name.trim(), &form.password, clock::wall()).await;
    token.map_err(|_| Problem::failed(shared.first_run.over.clone()))
}

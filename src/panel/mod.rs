//! The station's pages, for a person who is not an engineer, on an old PC or a phone.
//!
//! One file a page. Each is a plain form of HTML that works without script, and the same as JSON for
//! `Accept: application/json`. A page asks the daemon through its [`Handle`], reads the journal, and never touches sound.
//!
//! [`router`] is the table of who may do what: it is the one place where a page's role is written down.
//!
//! Not here: connections, sessions, languages ([`crate::web`]).

mod aside;
mod clips;
mod day;
mod frame;
mod health;
mod journal;
mod now;
mod openapi;
mod plan;
mod schedules;
mod sign_in;
mod upload;
mod wave;
mod words;

use crate::{
    daemon::{Control, Handle},
    home::Home,
    web::{self, Asked, Guard, HasToken, Peer, People, Problem, Role, Who},
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

pub use now::PlayRequest;

/// The largest body of a form, in bytes; uploads have a limit of their own.
const BODY: usize = 1 << 20;
/// A body that pauses longer than this is not coming.
const BODY_PAUSE: Duration = Duration::from_secs(10);
/// What is not answered by then is given up; live updates and uploads excepted.
const ANSWER: Duration = Duration::from_secs(60);

/// Uploads at a time: each is decoded by a child of its own.
const UPLOADS: usize = 3;

/// What every page can reach.
#[derive(Debug, Clone)]
pub struct Panel {
    daemon: Handle,
    home: Home,
    people: Arc<People>,
    /// Held while schedules are changed: one change at a time looks and writes.
    saving: Arc<tokio::sync::Mutex<()>>,
    aside: aside::Aside,
    checks: journal::Checks,
    waves: wave::Waves,
    /// Held while `audio/` is changed.
    shelf: Arc<tokio::sync::Mutex<()>>,
    /// A turn for each that sends files.
    uploads: Arc<tokio::sync::Semaphore>,
}

/// Serves the pages on `listener` for ever.
pub async fn serve(listener: TcpListener, daemon: Handle, control: Control, home: Home) {
    let file = home.data().join("people.json");
    let people = loop {
        match People::open(file.clone()) {
            Ok(people) => break Arc::new(people),
            Err(error) => {
                tracing::error!(%error, "data/people.json cannot be read; nobody can sign in until it is restored or removed");
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }
    };
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let tls = if is_local { None } else { tls(&home, &daemon).await };
    let guard = Guard { token: control.token.into(), hosts: Arc::new([]) };
    upload::sweep(&home.data());
    let panel = Panel {
        daemon,
        home,
        people,
        saving: Arc::default(),
        aside: Default::default(),
        checks: Default::default(),
        waves: Default::default(),
        shelf: Arc::default(),
        uploads: Arc::new(tokio::sync::Semaphore::new(UPLOADS)),
    };
    web::serve(listener, router(panel, guard), tls).await;
}

/// Opens the certificate, however often that takes: the network is served over TLS or not at all.
async fn tls(home: &Home, daemon: &Handle) -> Option<web::Tls> {
    let name = daemon.snapshot().await.ok()?.name;
    loop {
        match web::Tls::open(&home.data(), &name) {
            Ok(tls) => return Some(tls),
            Err(error) => {
                tracing::error!(%error, "the certificate of the pages cannot be made or read; nobody is served");
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }
    }
}

/// Who may do what.
fn router(panel: Panel, guard: Guard) -> Router {
    // Whoever sits at the machine, and whoever has signed in; a handler that lets others in says why.
    let anybody = Router::new()
        .route("/", get(now::page))
        .route("/stop", post(now::stop))
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/language", post(sign_in::language))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::openapi))
        .route("/style.css", get(frame::style))
        .route("/live.js", get(frame::live));
    let viewers = Router::new()
        .route("/plan", get(plan::page))
        .route("/clips", get(clips::page))
        .route("/clips/{*path}", get(clips::clip))
        .route("/clip-audio/{*path}", get(clips::audio))
        .route("/clip-wave/{*path}", get(clips::wave))
        .route("/upload.js", get(clips::script))
        .route("/journal", get(journal::page))
        .route("/journal/print", get(journal::book))
        .route("/journal/check", get(journal::check))
        .route("/print.js", get(journal::print_script))
        .route("/schedules", get(schedules::list))
        .route("/schedules/{name}", get(schedules::page))
        .route("/schedules/history", get(schedules::history::list))
        .route("/schedules/history/{revision}", get(schedules::history::page))
        .route("/schedules.js", get(schedules::script));
    let operators = Router::new()
        .route("/release", post(now::release))
        .route("/hush", post(now::hush))
        .route("/volume", post(now::volume))
        .route("/play", post(now::play))
        .route("/confirm-clock", post(now::confirm_clock))
        .route("/plan/override", get(plan::ask).post(plan::change))
        .route("/schedules/new", get(schedules::create))
        .route("/schedules/check", post(schedules::check))
        .route("/schedules/{name}", post(schedules::save))
        .route("/schedules/{name}/edit", post(schedules::edit))
        .route("/schedules/{name}/preview", post(schedules::preview))
        .route("/schedules/{name}/delete", post(schedules::delete))
        .route("/schedules/history/{revision}/restore", post(schedules::history::restore))
        .route("/clip-about/{*path}", post(clips::write_about))
        .route("/clip-retire/{*path}", post(clips::retire))
        .route("/clip-return/{*path}", post(clips::bring_back))
        .route("/clip-move/{*path}", post(clips::rename));
    let pages = anybody
        .merge(viewers.route_layer(middleware::from_fn(|request, next| need(Role::Viewer, request, next))))
        .merge(operators.route_layer(middleware::from_fn(|request, next| need(Role::Operator, request, next))))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ANSWER));
    // Live updates go on as long as somebody looks; a year of the journal takes its time.
    let live = Router::new().route("/events", get(now::events));
    let carried = Router::new().route("/journal.csv", get(journal::csv)).route("/journal.xlsx", get(journal::xlsx));
    // A file may take longer than a page, and be larger than a form.
    let uploads = Router::new()
        .route("/clips", post(clips::upload))
        .route("/clip-replace/{*path}", post(clips::replace))
        .layer(DefaultBodyLimit::max(upload::BODY));
    pages
        .merge(live)
        .merge(carried.route_layer(middleware::from_fn(|request, next| need(Role::Viewer, request, next))))
        .merge(uploads.route_layer(middleware::from_fn(|request, next| need(Role::Operator, request, next))))
        .fallback(missing)
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(middleware::from_fn_with_state(panel.clone(), identify))
        .layer(middleware::from_fn_with_state(guard, web::guard))
        .with_state(panel)
}

async fn missing(asked: Asked) -> Problem {
    Problem::missing(&asked)
}

/// Finds out who asks, and gives a problem the form in which they want to read it.
async fn identify(State(panel): State<Panel>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = request.headers();
    let who = if request.extensions().get::<HasToken>().is_some() {
        Some(Who { name: "local".into(), role: Role::Admin })
    } else {
        let session = web::session(headers).and_then(|token| panel.people.who(&token, crate::clock::wall()));
        session.map(|(name, role)| Who { name, role })
    };
    let asked = Asked {
        peer,
        who,
        language: web::language(headers),
        wants_json: Asked::wants_json(headers),
        path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
    };
    request.extensions_mut().insert(asked.clone());
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) => frame::problem(&panel, &asked, problem).await,
        None => response,
    }
}

/// Lets those pass who have this role at least, and shows the others the way.
async fn need(role: Role, request: Request, next: Next) -> Response {
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

/// Files of the program, which change only with it.
fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], text).into_response()
}

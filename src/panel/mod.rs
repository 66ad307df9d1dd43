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
mod first_run;
mod frame;
mod health;
mod journal;
mod now;
mod openapi;
mod plan;
mod schedules;
mod screen;
mod settings;
mod station_file;
mod tone;
mod upload;
mod wave;
mod words;

use crate::{
    config::Config,
    daemon::{Control, Handle},
    home::Home,
    text::Language,
    web::{self, Asked, Code, Guard, People, Problem, Role, Site, people_forms as people, sign_in},
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware,
    response::Response,
    routing::{get, post},
};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
};
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

pub use now::PlayRequest;
use settings::{backup, office, restore};

/// The largest body of a form, in bytes; uploads have a limit of their own.
const BODY: usize = 1 << 20;
/// A body that pauses longer than this is not coming.
const BODY_PAUSE: Duration = Duration::from_secs(10);
/// What is not answered by then is given up; live updates and uploads excepted.
const ANSWER: Duration = Duration::from_secs(60);

/// People who look at live pages at a time.
const LOOKERS: usize = 64;
/// Uploads at a time: each is decoded by a child of its own.
const UPLOADS: usize = 3;

/// What every page can reach.
#[derive(Debug, Clone)]
pub struct Panel {
    daemon: Handle,
    home: Home,
    people: Arc<People>,
    aside: aside::Aside,
    checks: journal::Checks,
    waves: wave::Waves,
    /// Held while `audio/` is changed.
    shelf: Arc<Mutex<()>>,
    /// A turn for each that sends files.
    uploads: Arc<tokio::sync::Semaphore>,
    /// Lets the network reach the first run.
    code: Arc<Code>,
    /// Held while station.toml or a schedule is changed: one change at a time looks and writes.
    writing: Arc<Mutex<()>>,
    /// One test tone at a time.
    tone: Arc<Mutex<()>>,
    /// What changes while people look.
    feeds: web::Feeds,
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
    let code = loop {
        match Code::new() {
            Ok(code) => break Arc::new(code),
            Err(error) => {
                tracing::error!(%error, "the system gives no random bits; the pages wait for some");
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }
    };
    if people.is_empty() {
        println!("首次设置  http://{}/first-run", control.address);
        println!("          从局域网打开时的验证码：{}", code.said());
    }
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let tls = if is_local { None } else { tls(&home, &daemon).await };
    let hosts = Arc::new(RwLock::new(Vec::new()));
    tokio::spawn(follow_hosts(daemon.config(), Arc::clone(&hosts)));
    let guard = Guard { token: control.token.into(), hosts };
    web::upload::sweep(&home.data().join("upload"));
    let panel = Panel {
        daemon,
        home,
        people,
        code,
        writing: Arc::default(),
        shelf: Arc::default(),
        tone: Arc::default(),
        feeds: web::Feeds::new(LOOKERS),
        aside: Default::default(),
        checks: Default::default(),
        waves: Default::default(),
        uploads: Arc::new(tokio::sync::Semaphore::new(UPLOADS)),
    };
    web::serve(listener, router(panel, guard), tls).await;
}

/// Serves the names that the station file in force allows.
async fn follow_hosts(mut config: watch::Receiver<Arc<Config>>, hosts: Arc<RwLock<Vec<String>>>) {
    loop {
        let names = config.borrow_and_update().hosts.clone();
        *hosts.write().unwrap_or_else(PoisonError::into_inner) = names;
        if config.changed().await.is_err() {
            return;
        }
    }
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
        .route("/first-run", get(first_run::page).post(first_run::finish))
        .route("/first-run/code", post(web::first_run_code::<Panel>))
        .route("/first-run/tone", post(first_run::try_output))
        .route("/sign-in", get(sign_in::page::<Panel>).post(sign_in::sign_in::<Panel>))
        .route("/sign-out", post(sign_in::sign_out::<Panel>))
        .route("/language", post(sign_in::language))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::openapi))
        .route("/screen", get(screen::page))
        .route("/screen.css", get(screen::style))
        .route("/screen.js", get(screen::script))
        .route("/style.css", get(web::style))
        .route("/live.js", get(web::live));
    let viewers = Router::new()
        .route("/password", get(people::own::<Panel>).post(people::set_own::<Panel>))
        .route("/plan", get(plan::page))
        .route("/clips", get(clips::page))
        .route("/clips/{*path}", get(clips::clip))
        .route("/clip-audio/{*path}", get(clips::audio))
        .route("/clip-wave/{*path}", get(clips::wave))
        .route("/upload.js", get(clips::script))
        .route("/journal", get(journal::page))
        .route("/journal/print", get(journal::book))
        .route("/journal/check", get(journal::check))
        .route("/print.js", get(crate::web::print))
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
        .route("/schedules/check", post(schedules::check).layer(DefaultBodyLimit::max(schedules::BODY)))
        .route("/schedules/{name}", post(schedules::save).layer(DefaultBodyLimit::max(schedules::BODY)))
        .route("/schedules/{name}/edit", post(schedules::edit).layer(DefaultBodyLimit::max(schedules::BODY)))
        .route("/schedules/{name}/preview", post(schedules::preview).layer(DefaultBodyLimit::max(schedules::BODY)))
        .route("/schedules/{name}/delete", post(schedules::delete))
        .route("/schedules/history/{revision}/restore", post(schedules::history::restore))
        .route("/clip-about/{*path}", post(clips::write_about))
        .route("/clip-retire/{*path}", post(clips::retire))
        .route("/clip-return/{*path}", post(clips::bring_back))
        .route("/clip-move/{*path}", post(clips::rename));
    let admins = Router::new()
        .route("/settings", get(settings::page))
        .route("/settings/station", post(settings::station))
        .route("/settings/hours", post(settings::hours))
        .route("/settings/sound", post(settings::sound))
        .route("/settings/tone", post(settings::try_output))
        .route("/settings/page", post(settings::pages))
        .route("/settings/people", post(people::add::<Panel>))
        .route("/settings/people/role", post(people::role::<Panel>))
        .route("/settings/people/password", post(people::reset::<Panel>))
        .route("/settings/people/remove", post(people::remove::<Panel>))
        .route("/settings/office/enrol", post(office::enrol))
        .route("/settings/office/compared", post(office::compared))
        .route("/settings/office/leave", post(office::leave));
    let pages = anybody
        .merge(viewers.route_layer(middleware::from_fn(|request, next| web::need(Role::Viewer, request, next))))
        .merge(operators.route_layer(middleware::from_fn(|request, next| web::need(Role::Operator, request, next))))
        .merge(admins.route_layer(middleware::from_fn(|request, next| web::need(Role::Admin, request, next))))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ANSWER));
    // Live updates go on as long as somebody looks; a year of the journal takes its time.
    let live = Router::new().route("/events", get(now::events)).route("/screen/events", get(screen::events));
    let carried = Router::new().route("/journal.csv", get(journal::csv)).route("/journal.xlsx", get(journal::xlsx));
    // A file may take longer than a page, and be larger than a form.
    let uploads = Router::new()
        .route("/clips", post(clips::upload))
        .route("/clip-replace/{*path}", post(clips::replace))
        .layer(DefaultBodyLimit::max(web::upload::UPLOAD_BODY));
    // A backup is as large as the station's sounds; it has limits of its own.
    let whole = Router::new()
        .route("/settings/backup", get(backup::backup))
        .route("/settings/restore", post(restore::restore).layer(DefaultBodyLimit::disable()))
        .route_layer(middleware::from_fn(|request, next| web::need(Role::Admin, request, next)));
    pages
        .merge(live)
        .merge(carried.route_layer(middleware::from_fn(|request, next| web::need(Role::Viewer, request, next))))
        .merge(uploads.route_layer(middleware::from_fn(|request, next| web::need(Role::Operator, request, next))))
        .merge(whole)
        .fallback(web::missing)
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(middleware::from_fn_with_state(panel.clone(), web::identify::<Panel>))
        .layer(middleware::from_fn_with_state(guard, web::guard))
        .with_state(panel)
}

impl Site for Panel {
    const PEOPLE: &'static str = "/settings";

    fn people(&self) -> &People {
        &self.people
    }

    fn code(&self) -> &Code {
        &self.code
    }

    fn forgotten(&self, language: Language) -> &'static str {
        &words::Words::of(language).site.forgotten
    }

    async fn framed(&self, asked: Asked, title: &str, main: &str) -> Response {
        let station = self.daemon.snapshot().await.map(|seen| seen.name).unwrap_or_default();
        frame::around(asked, &station, title, main)
    }

    async fn people_changed(&self, _asked: &Asked, _name: &str, _what: &'static str) -> Result<(), Problem> {
        Ok(())
    }
}

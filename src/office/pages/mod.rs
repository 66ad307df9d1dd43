//! The office's pages: the whole town for a clerk, in a browser, on a PC or a phone.
//!
//! One file a page, by the same rules as the station's pages: a plain form of HTML that works without script, and the same
//! as JSON for `Accept: application/json`. A page asks the store and the desk, and knows no SQL and no key.
//!
//! [`router`] is the table of who may do what: it is the one place where a page's role is written down.
//!
//! Not here: what stations ask (`/v1`), connections, sessions, languages ([`crate::web`]).

mod assess;
mod campaigns;
mod enrol;
pub(in crate::office) mod first_run;
mod frame;
mod groups;
mod journal;
mod keys;
mod openapi;
mod orders;
mod people;
mod records;
mod report;
mod said;
mod sounds;
mod station;
mod stations;
mod targets;
mod volume;
mod words;

use super::{
    Office,
    server::Line,
    store::{About, StoreError},
};
use crate::{
    clock,
    text::Language,
    web::{self, Asked, Code, Guard, People, Problem, Role, Site, Strangers, Turned, people_forms, sign_in},
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Extension, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

use frame::Times;

/// The largest body of a form, in bytes; uploads have a limit of their own.
const BODY: usize = 1 << 20;
/// A body that pauses longer than this is not coming.
const BODY_PAUSE: Duration = Duration::from_secs(10);
/// What is not answered by then is given up; live updates and uploads excepted.
const ANSWER: Duration = Duration::from_secs(60);

/// Requests at a time of people who have not signed in, and of one network.
const STRANGERS: usize = 32;
const SHARE: usize = 8;
/// People who look at live pages at a time.
const LOOKERS: usize = 200;
/// Uploads at a time: each is decoded by a child of its own.
const UPLOADS: usize = 3;

/// What every page can reach.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    office: Office,
    /// Lets the network reach the first run.
    code: Arc<Code>,
    town: stations::Town,
    /// What changes while people look.
    feeds: web::Feeds,
    /// A turn for each that sends files.
    uploads: Arc<Semaphore>,
    strangers: Arc<Strangers>,
}

impl Pages {
    /// Returns what office this is; before it was set up, one without a name.
    async fn about(&self) -> Result<About, Problem> {
        self.office.store.about().await?.ok_or_else(|| {
            let said = "还没有做首次设置；请先打开 /first-run the first run is to be done first, at /first-run";
            Problem { status: StatusCode::CONFLICT, said: said.into() }
        })
    }

    /// Answers with what changes on a page while somebody looks at it.
    fn follow<Made>(
        &self,
        asked: &Asked,
        name: String,
        make: impl Fn() -> Made + Send + 'static,
    ) -> Result<Response, Problem>
    where
        Made: Future<Output = Option<(String, Duration)>> + Send,
    {
        self.feeds.follow(asked, &self.office.people, name, make)
    }

    fn times(&self, language: Language) -> Times {
        Times { zone: self.office.zone.clone(), now: clock::wall(), words: &words::Words::of(language).frame }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(?error, "the office's store did not answer");
        let said = format!("{error}；请检查数据库和磁盘，稍后再试 the database did not answer; check it and try again");
        Self { status: StatusCode::SERVICE_UNAVAILABLE, said }
    }
}

/// Who may do what.
pub(super) fn router(office: Office, guard: Guard, code: Arc<Code>) -> Router {
    web::upload::sweep(&office.home.join("upload"));
    let uploads = Arc::new(Semaphore::new(UPLOADS));
    let strangers = Arc::new(Strangers::new(STRANGERS, SHARE));
    let (town, feeds) = (stations::Town::default(), web::Feeds::new(LOOKERS));
    let pages = Pages { office, code, town, feeds, uploads, strangers };
    // Whoever comes; a handler that shows more than a form says to whom.
    let anybody = Router::new()
        .route("/first-run", get(first_run::page::<Pages>).post(first_run::finish::<Pages>))
        .route("/first-run/code", post(web::first_run_code::<Pages>))
        .route("/sign-in", get(sign_in::page::<Pages>).post(sign_in::sign_in::<Pages>))
        .route("/sign-out", post(sign_in::sign_out::<Pages>))
        .route("/language", post(sign_in::language))
        .route("/openapi.json", get(openapi::openapi))
        .route("/style.css", get(web::style))
        .route("/live.js", get(web::live))
        .route("/print.js", get(web::print));
    let viewers = Router::new()
        .route("/", get(stations::page))
        .route("/stations/{id}", get(station::page))
        .route("/campaigns", get(campaigns::list))
        .route("/campaigns/{id}", get(campaigns::page))
        .route("/campaigns/{id}/look", get(campaigns::look))
        .route("/groups", get(groups::page))
        .route("/sounds", get(sounds::page))
        .route("/sounds/{sha256}", get(sounds::listen))
        .route("/roll-call", get(orders::roll_call))
        .route("/orders/{id}", get(orders::page))
        .route("/assess", get(assess::page))
        .route("/assess/print", get(assess::sheet))
        .route("/assess/year", get(assess::whole_year))
        .route("/assess.xlsx", get(assess::workbook))
        .route("/assess/{station}", get(assess::station))
        .route("/assess/{station}/evidence", get(assess::proof))
        .route("/journal", get(journal::page))
        .route("/records", get(records::page))
        .route("/password", get(people_forms::own::<Pages>).post(people_forms::set_own::<Pages>));
    let operators = Router::new()
        .route("/enrol", get(enrol::page))
        .route("/enrol/code", post(enrol::make))
        .route("/enrol/{id}/confirm", post(enrol::confirm))
        .route("/enrol/{id}/decline", post(enrol::decline))
        .route("/stations/{id}/place", post(station::place))
        .route("/groups", post(groups::change))
        .route("/campaigns/new", get(campaigns::create))
        .route("/campaigns/{id}/edit", get(campaigns::edit))
        .route("/campaigns/{id}/step", post(campaigns::take_step))
        .route("/roll-call", post(orders::call))
        .route("/play", get(orders::play).post(orders::give_play))
        .route("/play/look", post(orders::look_play))
        .route("/volume", get(volume::page).post(volume::set))
        .route("/volume/look", post(volume::look))
        .route("/orders/{id}/stop", post(orders::stop));
    let admins = Router::new()
        .route("/stations/{id}/revoke", post(station::revoke))
        .route("/stations/{id}/journal", post(station::agree))
        .route("/emergency", get(orders::emergency).post(orders::give))
        .route("/emergency/look", post(orders::look))
        .route("/drill", get(orders::drill).post(orders::give_drill))
        .route("/drill/look", post(orders::look_drill))
        .route("/orders/{id}/all-clear", post(orders::all_clear))
        .route("/keys", get(keys::page))
        .route("/keys/look", get(keys::look))
        .route("/keys/renew", post(keys::renew))
        .route("/people", get(people::page).post(people_forms::add::<Pages>))
        .route("/people/role", post(people_forms::role::<Pages>))
        .route("/people/password", post(people_forms::reset::<Pages>))
        .route("/people/remove", post(people_forms::remove::<Pages>));
    let pages_of_people = anybody
        .merge(viewers.route_layer(middleware::from_fn(|request, next| web::need(Role::Viewer, request, next))))
        .merge(operators.route_layer(middleware::from_fn(|request, next| web::need(Role::Operator, request, next))))
        .merge(admins.route_layer(middleware::from_fn(|request, next| web::need(Role::Admin, request, next))))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ANSWER));
    // Live states go on as long as somebody looks.
    let live = Router::new()
        .route("/events", get(stations::events))
        .route("/campaigns/{id}/events", get(campaigns::events))
        .route("/orders/{id}/events", get(orders::events))
        .route_layer(middleware::from_fn(|request, next| web::need(Role::Viewer, request, next)));
    // A file may take longer than a page, and be larger than a form.
    let uploads = Router::new()
        .route("/campaigns/draft", post(campaigns::press_button))
        .route("/sounds", post(sounds::bring))
        .layer(DefaultBodyLimit::max(web::upload::UPLOAD_BODY))
        .route_layer(middleware::from_fn(|request, next| web::need(Role::Operator, request, next)));
    pages_of_people
        .merge(live)
        .merge(uploads)
        .fallback(web::missing)
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(middleware::from_fn_with_state(pages.clone(), apart))
        .layer(middleware::from_fn_with_state(pages.clone(), web::identify::<Pages>))
        .layer(middleware::from_fn_with_state(guard, web::guard))
        .with_state(pages)
}

/// Lets people pass who have signed in, and the others in their own turns.
async fn apart(
    State(pages): State<Pages>,
    Extension(line): Extension<Arc<Line>>,
    asked: Asked,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if asked.who.is_some() {
        line.is_known();
        return Ok(next.run(request).await);
    }
    pages.strangers.admit(&asked.peer, request, next).await.map_err(|turned| {
        let said = match turned {
            Turned::Crowded => {
                ("现在打开的人太多；请过几秒再试", "too many people at once; try again in a few seconds")
            }
            Turned::TooLong => {
                ("提交的内容太大；请缩短后再提交", "what was sent is too large; shorten it and send it again")
            }
            Turned::TooSlow | Turned::Broken => {
                ("提交的内容没有传完；请再试一次", "what was sent broke off; try again")
            }
        };
        Problem { status: turned.status(), said: asked.pick(said.0, said.1).to_owned() }
    })
}

impl Site for Pages {
    const PEOPLE: &'static str = "/people";

    fn people(&self) -> &People {
        &self.office.people
    }

    fn code(&self) -> &Code {
        &self.code
    }

    fn forgotten(&self, language: Language) -> &'static str {
        &words::Words::of(language).site.forgotten
    }

    async fn framed(&self, asked: Asked, title: &str, main: &str) -> Response {
        // A page that says what is wrong is shown whatever the store says.
        let about = self.office.store.about().await.ok().flatten();
        let name = about.map_or_else(|| words::Words::of(asked.language).site.program.clone(), |about| about.name);
        frame::around(asked, &name, title, main)
    }

    async fn people_changed(&self, asked: &Asked, name: &str, what: &'static str) -> Result<(), Problem> {
        people::note(self, asked, name, what).await
    }
}

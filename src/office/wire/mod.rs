//! What stations ask, by the table in [`crate::link::protocol`].
//!
//! A handler extracts, asks and answers; what is believed is decided in [`crate::link`], what is kept by [`super::store`].
//! Whoever has no token of a station that was taken in gets no further than a nonce, in places and turns apart from those
//! of stations. Bodies have limits before they are read and after they are unpacked; where too much is asked at once, the
//! answer is when to come back.
//!
//! Not here: pages, connections ([`super::server`]).

pub(super) mod blobs;
mod journal;
#[cfg(test)]
mod tests;
mod watch;

use super::{
    Office,
    enrol::EnrolError,
    intake::IntakeError,
    scribe::ScribeError,
    server::Line,
    sessions::{SignInError, Token},
    store::{Saying, StoreError},
    watches::Member,
};
use crate::{
    clock,
    link::{
        BlobId, CommandId, State as CommandState, StationId,
        office::time_proof,
        protocol::{Enrol, Enrolled, Envelopes, Reported, SignIn, Status},
        time::Nonce,
    },
    web::{self, Peer, Strangers, Turned, Turns},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Extension, Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

/// The largest body of what has no limit of its own, in bytes.
const BODY: usize = 16 << 10;
/// The largest report.
const REPORT: usize = 256 << 10;
/// A body that pauses longer than this is not coming.
const BODY_PAUSE: Duration = Duration::from_secs(10);
/// What is not answered by then is given up; watches and sounds excepted.
const ANSWER: Duration = Duration::from_secs(30);
/// Requests of stations at a time, watches and sounds excepted. Each holds what it has read.
const REQUESTS: usize = 512;
/// And of one station: one that was stolen keeps no other from being heard.
const OF_ONE: usize = 8;
/// Requests of strangers at a time: stations about to sign in, and whoever else comes.
const STRANGERS: usize = 64;
/// And of one network: a whole county may come from one address.
const SHARE: usize = 32;
/// Reasons and documents that one report may bring.
const REJECTED: usize = 64;
/// As many roots as one answer holds.
const ROOTS: usize = 32;

/// Why a station does not get what it asked for. The body is one sentence in its language.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    said: String,
    /// Seconds to stay away.
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, said: impl Into<String>) -> Self {
        Self { status, said: said.into(), retry_after: None }
    }

    fn bad(said: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, said)
    }

    /// Too much at once: they come back one after the other.
    fn busy() -> Self {
        let said = "中心正忙；请稍后再试 the office is busy; come back later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, said).later()
    }

    fn later(mut self) -> Self {
        let mut random = [0];
        // Without random bits they come back together.
        let _ = getrandom::fill(&mut random);
        self.retry_after = Some(2 + u64::from(random[0] % 16));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.said).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for Refusal {
    fn from(error: &StoreError) -> Self {
        tracing::error!(error = error as &dyn std::error::Error, "the store did not do what a station asked for");
        let status = match error {
            StoreError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string()).later()
    }
}

impl From<ScribeError> for Refusal {
    fn from(error: ScribeError) -> Self {
        match error {
            ScribeError::Full => Self::busy(),
            ScribeError::Store(error) => Self::from(&*error),
        }
    }
}

impl From<IntakeError> for Refusal {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Full => Self::busy(),
            IntakeError::Store(error) => Self::from(&*error),
            IntakeError::Turned(turned) => Self::new(StatusCode::CONFLICT, turned.to_string()),
        }
    }
}

impl From<SignInError> for Refusal {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Nonce | SignInError::Signature => Self::new(StatusCode::FORBIDDEN, error.to_string()),
            SignInError::Busy => Self::busy(),
        }
    }
}

impl From<Turned> for Refusal {
    fn from(turned: Turned) -> Self {
        let said = match turned {
            Turned::Crowded => return Self::busy(),
            Turned::TooLong => "提交的内容太大 what was sent is too large",
            Turned::TooSlow => "提交的内容没有按时到达 what was to be sent did not come in time",
            Turned::Broken => "提交的内容没有传完 what was sent broke off",
        };
        Self::new(turned.status(), said)
    }
}

/// Tells stations from strangers.
#[derive(Debug, Clone)]
struct Door {
    office: Office,
    strangers: Arc<Strangers>,
}

/// Serves stations.
pub(super) fn router(office: Office) -> Router {
    let turns = Arc::new(Turns::<StationId>::new(REQUESTS, OF_ONE));
    let door = Door { office: office.clone(), strangers: Arc::new(Strangers::new(STRANGERS, SHARE)) };
    let quick = Router::new()
        .route("/v1/desired", get(desired))
        .route("/v1/trust", get(trust))
        .route("/v1/reported", put(reported).layer(DefaultBodyLimit::max(REPORT)))
        .route("/v1/journal", post(journal::journal).layer(DefaultBodyLimit::max(journal::PACKED)))
        .route("/v1/commands/{id}/status", post(status))
        .route("/v1/time", get(time))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .route_layer(middleware::from_fn_with_state(turns, in_turn));
    let long = Router::new().route("/v1/watch", get(watch::watch)).route("/v1/blobs/{sha256}", get(blobs::blob));
    let known =
        |router: Router<Office>| router.route_layer(middleware::from_fn_with_state(door.clone(), only_stations));
    let strangers = Router::new()
        .route("/v1/hello", get(hello))
        .route("/v1/session", post(session))
        .route("/v1/enrol", post(enrol))
        .route_layer(middleware::from_fn_with_state(door.clone(), strangers));
    known(quick)
        .merge(strangers)
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ANSWER))
        .merge(known(long))
        .layer(middleware::from_fn(only_tls))
        .with_state(office)
}

/// A token goes over no plain line, except within this very machine.
async fn only_tls(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    if peer.is_some_and(|peer| peer.is_tls || peer.is_here()) {
        return next.run(request).await;
    }
    Refusal::new(StatusCode::FORBIDDEN, "请用 https 连接 use https").into_response()
}

/// Answers so many stations at a time, in order. Who waits too long is told when to come back, before the body is read.
async fn in_turn(
    State(turns): State<Arc<Turns<StationId>>>,
    Extension(member): Extension<Arc<Member>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let asking = turns.come(member.place.station.clone()).ok_or_else(Refusal::busy)?;
    asking.in_turn(next.run(request)).await.ok_or_else(Refusal::busy)
}

/// Answers whoever comes, among strangers.
async fn strangers(
    State(door): State<Door>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    Ok(door.strangers.admit(&peer, request, next).await?)
}

/// Lets those pass who hold the token of a station that was taken in.
async fn only_stations(
    State(door): State<Door>,
    Extension(peer): Extension<Peer>,
    Extension(line): Extension<Arc<Line>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let member = door.caller(&peer, request.headers()).await?;
    line.is_known();
    request.extensions_mut().insert(member);
    Ok(next.run(request).await)
}

impl Door {
    async fn caller(&self, peer: &Peer, headers: &HeaderMap) -> Result<Arc<Member>, Refusal> {
        let unknown = || Refusal::new(StatusCode::UNAUTHORIZED, "请先登录 sign in first");
        let (office, now) = (&self.office, clock::wall());
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = bearer.and_then(Token::read).ok_or_else(unknown)?;
        let member = match office.watches.known(&token.station) {
            Some(member) => Some(member),
            // It may have been taken in within the last second; whoever makes a name up waits among strangers.
            None => {
                let member = office.watches.member(&token.station, &office.store, &office.keys);
                self.strangers.in_turn(peer, member).await??
            }
        };
        let member = member.filter(|member| token.holds(&office.keys, &member.place.key, now)).ok_or_else(unknown)?;
        office.watches.heard_now(&token.station, now);
        Ok(member)
    }
}

/// Reads a body of JSON; unknown fields are passed over.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let said = format!("读不懂提交的内容：{error} what was sent cannot be read");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, said)
    })
}

/// `GET /v1/hello`: a nonce to sign in with, and who this is.
async fn hello(State(office): State<Office>) -> Result<Response, Refusal> {
    let nonce = office.sessions.nonce(clock::wall());
    let nonce = nonce.map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).later())?;
    Ok(Json(json!({ "nonce": nonce, "office": BlobId::of(office.keys.root().envelope().payload()) })).into_response())
}

/// `POST /v1/session`: a token for whoever signs the nonce.
async fn session(State(office): State<Office>, body: Bytes) -> Result<Response, Refusal> {
    let asked: SignIn = read(&body)?;
    let member = office.watches.member(&asked.station, &office.store, &office.keys).await?.ok_or_else(|| {
        let said = "站点没有入网，或已停用；请联系镇里 this station was not taken in, or no longer is";
        Refusal::new(StatusCode::FORBIDDEN, said)
    })?;
    let signed = office.sessions.sign_in(&asked, &member.key, &member.place.key, clock::wall());
    let (token, expires) = signed?;
    Ok(Json(json!({ "token": token, "expires": expires.as_millisecond() })).into_response())
}

/// `POST /v1/enrol`
async fn enrol(
    State(office): State<Office>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Enrolled>, Refusal> {
    let asked: Enrol = read(&body)?;
    office.enrol(&asked, peer.remote.ip()).await.map(Json).map_err(|error| match error {
        EnrolError::Refused(said) => {
            let said = said.in_language(web::language(&headers)).to_owned();
            Refusal::new(StatusCode::FORBIDDEN, said)
        }
        EnrolError::Wait(seconds) => {
            let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, EnrolError::Wait(seconds).to_string());
            Refusal { retry_after: Some(seconds.unsigned_abs()), ..refusal }
        }
        EnrolError::Store(error) => error.into(),
        EnrolError::Desk(error) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.said().zh).later(),
        EnrolError::NoRandom(error) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).later(),
    })
}

/// `GET /v1/desired`: the place and the plan, as they were signed.
async fn desired(
    State(office): State<Office>,
    Extension(member): Extension<Arc<Member>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Some((wants, envelopes)) = office.store.desired(&member.place.station).await? else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "没有这个站点 there is no such station"));
    };
    let tag = format!("\"g{}.r{wants}\"", office.keys.generation());
    let has = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut response = if has.flat_map(|line| line.split(',')).any(|known| known.trim() == tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(Envelopes { envelopes }).into_response()
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

#[derive(Deserialize)]
struct Behind {
    from: u64,
}

/// `GET /v1/trust`: the roots after a version, in order.
async fn trust(
    State(office): State<Office>,
    Query(Behind { from }): Query<Behind>,
) -> Result<Json<Envelopes>, Refusal> {
    let roots = office.store.roots_after(from).await?;
    Ok(Json(Envelopes { envelopes: roots.into_iter().take(ROOTS).map(|(_, envelope)| envelope).collect() }))
}

#[derive(Deserialize)]
struct Asked {
    nonce: Nonce,
}

/// Returns the nonce where it has the form of one: nothing else is signed.
fn sound(nonce: Nonce) -> Result<Nonce, Refusal> {
    if nonce.is_sound() {
        Ok(nonce)
    } else {
        Err(Refusal::bad("随机数格式不对 a nonce is 32 hexadecimal digits"))
    }
}

/// `GET /v1/time`
async fn time(State(office): State<Office>, Query(asked): Query<Asked>) -> Result<Json<Envelopes>, Refusal> {
    let received = clock::wall();
    let proof = time_proof(&sound(asked.nonce)?, received, clock::wall(), &office.keys.time());
    let proof = proof.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Json(Envelopes { envelopes: vec![proof.text().to_owned()] }))
}

/// `PUT /v1/reported`: a station's whole state, which takes the place of an earlier one.
async fn reported(
    State(office): State<Office>,
    Extension(member): Extension<Arc<Member>>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let reported: Reported = read(&body)?;
    if reported.rejected.len() > REJECTED {
        return Err(Refusal::bad("拒收记录太多 too many documents in one report"));
    }
    let document = String::from_utf8(body.into()).map_err(|_| Refusal::bad("不是 UTF-8 not UTF-8"))?;
    let (root, generation) = (office.keys.root().root().version, office.keys.generation());
    // Another source's plans come from another office.
    let plans =
        reported.in_force.iter().filter(|plan| plan.source == office.source && reported.generation == generation);
    let saying = Saying::Reported {
        station: member.place.station.clone(),
        sequence: reported.sequence,
        document,
        plan: plans.map(|plan| plan.revision).max().unwrap_or(0),
        ahead: reported.root > root || reported.generation > generation,
        rejected: reported.rejected,
        came: clock::wall(),
    };
    office.scribe.write(saying).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/commands/{id}/status`. What a station says of a command that this office does not know, or did not mean for
/// it, is taken and forgotten: said again it would not become more.
async fn status(
    State(office): State<Office>,
    Extension(member): Extension<Arc<Member>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let status: Status = read(&body)?;
    if CommandId::try_from(id).ok() != Some(status.command) {
        return Err(Refusal::bad("地址和内容不是同一个指令 the address names another command"));
    }
    let station: &StationId = &member.place.station;
    let command = office.store.command(status.command).await?;
    if !command.is_some_and(|command| command.targets.include(&member.place)) {
        tracing::warn!(%station, command = %status.command, "a station speaks of a command that was not meant for it");
        return Ok(StatusCode::NO_CONTENT);
    }
    if let CommandState::Rejected(why) = &status.state {
        tracing::warn!(%station, command = %status.command, "a command was rejected: {}", why.said().zh);
    }
    let saying = Saying::Status { station: station.clone(), status, came: clock::wall() };
    office.scribe.write(saying).await?;
    Ok(StatusCode::NO_CONTENT)
}

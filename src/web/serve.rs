//! The accept loop and the guard before every handler.

use super::{Web, api, page};
use crate::daemon::{Control, Handle};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tower_service::Service as _;

/// Headers later than this are not coming.
const HEADERS: Duration = Duration::from_secs(5);
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// The largest body, in bytes.
const BODY: usize = 64 << 10;

/// Answers on `listener` for ever.
pub async fn serve(listener: TcpListener, daemon: Handle, control: Control) {
    let web = Web { daemon, control: Arc::new(control) };
    let router = Router::new()
        .route("/", get(page::now))
        .route("/style.css", get(page::style))
        .route("/stop", post(page::stop))
        .route("/api/next", get(api::next))
        .route("/api/play", post(api::play))
        .route("/api/stop", post(api::stop))
        .route("/api/release", post(api::release))
        .route("/api/hush", post(api::hush))
        .route("/api/volume", post(api::volume))
        .route("/api/confirm-clock", post(api::confirm_clock))
        .layer(axum::extract::DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(web.clone(), guard))
        .with_state(web);
    let mut open: VecDeque<Connection> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or a connection gone before it was taken: neither lasts.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        open.retain(|connection| !connection.task.is_finished());
        if open.len() >= CONNECTIONS {
            let oldest = open.iter().position(|connection| !connection.asked.load(Ordering::Relaxed)).unwrap_or(0);
            if let Some(connection) = open.remove(oldest) {
                connection.task.abort();
            }
        }
        let asked = Arc::new(AtomicBool::new(false));
        let (router, has_asked) = (router.clone(), asked.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            router.clone().call(request.map(axum::body::Body::new))
        });
        let task = tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            // The other side may go whenever it likes.
            let _ = served.await;
        });
        open.push_back(Connection { task, asked });
    }
}

struct Connection {
    task: tokio::task::JoinHandle<()>,
    asked: Arc<AtomicBool>,
}

/// Before every handler: the `Host` must be this machine, a change must come from this page or carry the token, and
/// everything under `/api/` needs the token.
async fn guard(State(web): State<Web>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !is_this_machine(headers, web.control.address.port()) {
        return (StatusCode::MISDIRECTED_REQUEST, "only this machine's own names are served\n").into_response();
    }
    let known = is_token(headers, &web.control.token);
    if request.uri().path().starts_with("/api/") && !known {
        return (StatusCode::UNAUTHORIZED, "the token of data/control.json is missing\n").into_response();
    }
    if request.method() != Method::GET && !known && !is_from_this_page(headers) {
        return (StatusCode::FORBIDDEN, "a change must come from this page\n").into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_this_machine(headers: &HeaderMap, port: u16) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == format!("{name}:{port}"))
}

fn is_from_this_page(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    matches!((host, origin), (Some(host), Some(origin)) if origin == format!("http://{host}"))
}

fn is_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = given.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
    // Compared in time that does not depend on where the first difference is.
    given.len() == token.len() && given.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

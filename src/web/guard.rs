//! Before every handler: whose names are served, where a change may come from, and what a browser may do with an answer.
//!
//! * `Host` must be a name of this machine, the address that was reached, or one that the configuration allows: a page
//!   of somebody else whose name was made to point here is refused.
//! * Over the network there is only TLS.
//! * A change must come from one of our own pages (`Origin`), or carry the token of `data/control.json`.
//! * Forwarding headers are not read at all: who asks is whoever is at the other end of the connection.

use super::serve::Peer;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::sync::{Arc, PoisonError, RwLock};

/// What the guard knows.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The token of `data/control.json`.
    pub token: Arc<str>,
    /// Names that are served beside the machine's own, as `radio.example:8650`.
    pub hosts: Arc<RwLock<Vec<String>>>,
}

/// A request that carries the token of `data/control.json`: whoever may read `data/`.
#[derive(Debug, Clone, Copy)]
pub struct HasToken;

/// What a browser may do with our pages: nothing of anybody else's, no script but our own files, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The middleware.
pub async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = request.headers();
    let is_ours = is_served(headers, request.uri(), &peer, &guard.hosts.read().unwrap_or_else(PoisonError::into_inner));
    if !is_ours {
        return (StatusCode::MISDIRECTED_REQUEST, "这个名字不是本站的地址 this name is not served here\n")
            .into_response();
    }
    if !peer.is_here() && !peer.is_tls {
        return to_tls(headers, request.uri());
    }
    let has_token = is_token(headers, &guard.token);
    if *request.method() != Method::GET
        && *request.method() != Method::HEAD
        && !has_token
        && !is_from_our_page(headers, &peer)
    {
        return (StatusCode::FORBIDDEN, "只有本站的页面可以操作 a change must come from a page of this station\n")
            .into_response();
    }
    if has_token {
        request.extensions_mut().insert(HasToken);
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|host| host.to_str().ok())
}

fn is_served(headers: &HeaderMap, uri: &Uri, peer: &Peer, more: &[String]) -> bool {
    // An absolute target would name a host of its own.
    let (Some(host), None) = (host(headers), uri.authority()) else { return false };
    let port = peer.local.port();
    let reached = std::net::SocketAddr::new(peer.local.ip().to_canonical(), port);
    host == reached.to_string()
        || ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == format!("{name}:{port}"))
        || more.iter().any(|name| host.eq_ignore_ascii_case(name))
}

fn is_from_our_page(headers: &HeaderMap, peer: &Peer) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let scheme = if peer.is_tls { "https" } else { "http" };
    matches!((host(headers), origin), (Some(host), Some(origin)) if origin == format!("{scheme}://{host}"))
}

fn to_tls(headers: &HeaderMap, uri: &Uri) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let to = host(headers).map(|host| format!("https://{host}{path}"));
    match to.and_then(|to| HeaderValue::try_from(to).ok()) {
        Some(to) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn is_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = given.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
    // Compared in time that does not depend on where the first difference is.
    given.len() == token.len() && given.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn peer(local: &str, is_tls: bool) -> Peer {
        let local = local.parse().unwrap();
        Peer { remote: local, local, is_tls }
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        let lan = peer("192.168.1.9:8650", true);
        let more = ["radio.village:8650".to_owned()];
        for (host, served) in [
            ("127.0.0.1:8650", true),
            ("localhost:8650", true),
            ("[::1]:8650", true),
            ("192.168.1.9:8650", true),
            ("Radio.Village:8650", true),
            ("192.168.1.8:8650", false),
            ("127.0.0.1", false),
            ("127.0.0.1:80", false),
            ("evil.example:8650", false),
            ("localhost.evil.example:8650", false),
        ] {
            assert_eq!(
                is_served(&headers(&[(header::HOST, host)]), &Uri::from_static("/"), &lan, &more),
                served,
                "{host}"
            );
        }
        assert!(!is_served(&HeaderMap::new(), &Uri::from_static("/"), &lan, &more));
        let absolute = Uri::from_static("http://evil.example/");
        assert!(!is_served(&headers(&[(header::HOST, "localhost:8650")]), &absolute, &lan, &more));
    }

    #[test]
    fn a_change_comes_from_our_page_alone() {
        for (origin, is_tls, allowed) in [
            (Some("http://localhost:8650"), false, true),
            (Some("https://localhost:8650"), true, true),
            (Some("http://localhost:8650"), true, false),
            (Some("https://localhost:8650"), false, false),
            (Some("http://evil.example"), false, false),
            (Some("null"), false, false),
            (None, false, false),
        ] {
            let mut sent = headers(&[(header::HOST, "localhost:8650")]);
            sent.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            assert_eq!(is_from_our_page(&sent, &peer("127.0.0.1:8650", is_tls)), allowed, "{origin:?}");
        }
    }

    #[test]
    fn the_token_must_be_whole() {
        for (given, known) in
            [("Bearer 0123", true), ("Bearer 0124", false), ("Bearer 012", false), ("0123", false), ("Bearer ", false)]
        {
            assert_eq!(is_token(&headers(&[(header::AUTHORIZATION, given)]), "0123"), known, "{given}");
        }
    }
}

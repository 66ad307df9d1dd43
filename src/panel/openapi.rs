//! `/openapi.json`: every address of the station, what it takes and who may ask, for programs.
//!
//! [`ROUTES`] is the list; a test holds it against the table of routes in [`super::router`].

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Path,
    Query,
    Body,
}

/// One address and method.
struct Route {
    method: &'static str,
    path: &'static str,
    who: &'static str,
    summary: &'static str,
    /// Name, place, type as JSON Schema names it, and whether it must be there.
    values: &'static [(&'static str, In, &'static str, bool)],
    /// Of the answer to a program.
    kind: &'static str,
}

const JSON: &str = "application/json";
const ANYBODY: &str = "anybody";
const HERE: &str = "anybody at the machine itself, a viewer from elsewhere";
const VIEWER: &str = "viewer";
const OPERATOR: &str = "operator";

const fn get(path: &'static str, who: &'static str, summary: &'static str) -> Route {
    Route { method: "get", path, who, summary, values: &[], kind: JSON }
}

const fn post(path: &'static str, who: &'static str, summary: &'static str) -> Route {
    Route { method: "post", path, who, summary, values: &[], kind: JSON }
}

impl Route {
    const fn with(self, values: &'static [(&'static str, In, &'static str, bool)]) -> Self {
        Self { values, ..self }
    }

    const fn giving(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

/// Every address.
const ROUTES: &[Route] = &[
    get("/", HERE, "The station now: what plays, what is next, today, faults."),
    get("/events", HERE, "The live part of the first page, whenever it changes.").giving("text/event-stream"),
    post("/stop", HERE, "Silence at once, until released or for 30 minutes."),
    post("/release", OPERATOR, "Ends a stop."),
    post("/hush", OPERATOR, "Silence until a time; 24 hours at most.").with(&[
        ("until", In::Body, "string", false),
        ("minutes", In::Body, "string", false),
        ("note", In::Body, "string", false),
    ]),
    post("/volume", OPERATOR, "The station's volume, in percent.").with(&[("percent", In::Body, "integer", true)]),
    post("/play", OPERATOR, "Plays an announcement or a clip now; an emergency needs an administrator and a note.")
        .with(&[
            ("what", In::Body, "string", true),
            ("emergency", In::Body, "boolean", false),
            ("note", In::Body, "string", false),
        ]),
    post("/confirm-clock", OPERATOR, "A person says that the clock is right."),
    get("/sign-in", ANYBODY, "Whether this session is signed in."),
    post("/sign-in", ANYBODY, "Opens a session; its token comes as a cookie.").with(&[
        ("name", In::Body, "string", true),
        ("password", In::Body, "string", true),
        ("next", In::Body, "string", false),
    ]),
    post("/sign-out", ANYBODY, "Ends the session."),
    post("/language", ANYBODY, "Chooses the language of the pages.")
        .with(&[("language", In::Body, "string", true), ("next", In::Body, "string", false)]),
    get("/healthz", ANYBODY, "200 only if loop, journal and (while playing) frames go on."),
    get("/metrics", HERE, "Counts and gauges for Prometheus.").giving("text/plain"),
    get("/openapi.json", ANYBODY, "This."),
];

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// `GET /openapi.json`
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, JSON)], TEXT.as_str()).into_response()
}

fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dalaba station",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every page is JSON at the same address for `Accept: application/json`. A change needs an \
                `Origin` of the station itself, or the token of data/control.json."
        },
        "components": { "securitySchemes": {
            "session": { "type": "apiKey", "in": "cookie", "name": "dalaba" },
            "token": { "type": "http", "scheme": "bearer" }
        }},
        "paths": paths
    })
}

fn operation(route: &Route) -> Value {
    let at = |place: In| route.values.iter().filter(move |value| value.1 == place);
    let parameter = |&(name, place, kind, required): &(&str, In, &str, bool)| {
        let place = if place == In::Path { "path" } else { "query" };
        json!({ "name": name, "in": place, "required": required, "schema": { "type": kind } })
    };
    let parameters: Vec<_> = at(In::Path).chain(at(In::Query)).map(parameter).collect();
    let problem = json!({ "description": "Why not, in a sentence.", "content": { JSON: { "schema": {
        "type": "object", "properties": { "error": { "type": "string" } } } } } });
    let mut operation = json!({
        "summary": route.summary,
        "description": format!("For {}.", route.who),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done, or what was asked for.", "content": { route.kind: {} } },
            "default": problem
        }
    });
    if route.who != ANYBODY {
        operation["security"] = json!([{ "session": [] }, { "token": [] }]);
    }
    if at(In::Body).next().is_some() {
        let properties: Map<_, _> =
            at(In::Body).map(|&(name, _, kind, _)| (name.to_owned(), json!({ "type": kind }))).collect();
        let required: Vec<_> = at(In::Body).filter(|value| value.3).map(|value| value.0).collect();
        operation["requestBody"] = json!({ "content": { JSON: { "schema": {
            "type": "object", "properties": properties, "required": required, "additionalProperties": false } } } });
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The addresses and methods in the table of routes, as it is written.
    fn served() -> BTreeSet<(String, String)> {
        let source = include_str!("mod.rs");
        let mut found = BTreeSet::new();
        for call in source.split(".route(\"").skip(1) {
            let (path, rest) = call.split_once('"').unwrap();
            // Up to the next route or the end of the statement.
            let handlers = rest.split(".route(").next().unwrap().split(';').next().unwrap();
            for method in ["get", "post"] {
                if handlers.contains(&format!("{method}(")) {
                    found.insert((method.to_owned(), path.replace("{*", "{")));
                }
            }
        }
        found
    }

    #[test]
    fn it_names_every_address_and_no_other() {
        let is_file = |path: &str| path.ends_with(".js") || path.ends_with(".css");
        let served: BTreeSet<_> = served().into_iter().filter(|(_, path)| !is_file(path)).collect();
        let named: BTreeSet<_> = ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
        assert_eq!(named, served);
        for route in ROUTES {
            let places: BTreeSet<_> = route.path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).collect();
            let given = route.values.iter().filter(|value| value.1 == In::Path).count();
            assert_eq!(places.len(), given, "{}", route.path);
        }
    }
}

//! `/openapi.json`: every address of a page server, what it takes and who may ask, for programs.
//!
//! Each server has a list of [`Route`]s; a test holds the list against its table of routes (`hold`).

use super::{PASSWORD, Role};
use crate::text::Language;
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum In {
    /// In the address.
    Path,
    /// Behind the address.
    Query,
    /// In the body of a change.
    Body,
}

/// Name, place, what it may be (see [`schema`]), and whether it must be there.
pub(crate) type Given = (&'static str, In, &'static str, bool);

/// One address and method.
pub(crate) struct Route {
    method: &'static str,
    path: &'static str,
    who: &'static str,
    summary: &'static str,
    values: &'static [Given],
    /// The body may have more values than those: boxes, each a field of its own.
    boxes: bool,
    /// Of the answer to a program.
    kind: &'static str,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const HTML: &str = "text/html";
pub(crate) const EVENTS: &str = "text/event-stream";
pub(crate) const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
pub(crate) const ANYBODY: &str = "anybody";
pub(crate) const VIEWER: &str = "viewer";
pub(crate) const OPERATOR: &str = "operator";
pub(crate) const ADMIN: &str = "administrator";

/// Something to look at.
pub(crate) const fn get(path: &'static str, who: &'static str, summary: &'static str) -> Route {
    Route { method: "get", path, who, summary, values: &[], boxes: false, kind: JSON }
}

/// A change.
pub(crate) const fn post(path: &'static str, who: &'static str, summary: &'static str) -> Route {
    Route { method: "post", path, who, summary, values: &[], boxes: false, kind: JSON }
}

impl Route {
    /// It takes these values.
    pub(crate) const fn with(self, values: &'static [Given]) -> Self {
        Self { values, ..self }
    }

    /// And boxes, each a field of its own.
    pub(crate) const fn and_boxes(self) -> Self {
        Self { boxes: true, ..self }
    }

    /// It answers with this kind of document.
    pub(crate) const fn giving(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

/// Answers with a document.
pub(crate) fn answer(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, JSON)], text).into_response()
}

/// Returns the document of a server. `own` knows the values that only this server has.
pub(crate) fn document(title: &str, description: &str, routes: &[Route], own: fn(&str) -> Option<Value>) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method] = operation(route, own);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": env!("CARGO_PKG_VERSION"), "description": description },
        "components": { "securitySchemes": {
            "session": { "type": "apiKey", "in": "cookie", "name": "dalaba" },
            "token": { "type": "http", "scheme": "bearer" }
        }},
        "paths": paths
    })
}

/// Returns the JSON Schema of a value: `what` is one of our words, or a type as JSON Schema names it.
fn schema(what: &str, own: fn(&str) -> Option<Value>) -> Value {
    match what {
        "date" => json!({ "type": "string", "format": "date" }),
        "month" => json!({ "type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$" }),
        "percent" => json!({ "type": "integer", "minimum": 0, "maximum": 100 }),
        "password" => json!({ "type": "string", "minLength": PASSWORD.start(), "maxLength": PASSWORD.end() }),
        "role" => json!({ "enum": [Role::Viewer, Role::Operator, Role::Admin] }),
        "language" => json!({ "enum": [Language::Chinese.tag(), Language::English.tag()] }),
        what => own(what).unwrap_or_else(|| json!({ "type": what })),
    }
}

fn operation(route: &Route, own: fn(&str) -> Option<Value>) -> Value {
    let at = |place: In| route.values.iter().filter(move |value| value.1 == place);
    let parameter = |&(name, place, kind, required): &Given| {
        let place = if place == In::Path { "path" } else { "query" };
        json!({ "name": name, "in": place, "required": required, "schema": schema(kind, own) })
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
        let property = |&(name, _, kind, _): &Given| (name.to_owned(), schema(kind, own));
        let properties: Map<_, _> = at(In::Body).map(property).collect();
        let required: Vec<_> = at(In::Body).filter(|value| value.3).map(|value| value.0).collect();
        let more = if route.boxes { json!({ "enum": ["on"] }) } else { json!(false) };
        operation["requestBody"] = json!({ "content": { JSON: { "schema": {
            "type": "object", "properties": properties, "required": required, "additionalProperties": more } } } });
    }
    operation
}

/// Holds a list of routes against the table of routes as it is written.
#[cfg(test)]
pub(crate) fn hold(routes: &[Route], source: &str, own: fn(&str) -> Option<Value>) {
    use std::collections::BTreeSet;
    let mut served = BTreeSet::new();
    for call in source.split(".route(\"").skip(1) {
        let (path, rest) = call.split_once('"').unwrap();
        // Up to the next route or the end of the statement.
        let handlers = rest.split(".route(").next().unwrap().split(';').next().unwrap();
        for method in ["get", "post"] {
            if handlers.contains(&format!("{method}(")) && !path.ends_with(".js") && !path.ends_with(".css") {
                served.insert((method.to_owned(), path.replace("{*", "{")));
            }
        }
    }
    let named: BTreeSet<_> = routes.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(named, served);
    for route in routes {
        let places: BTreeSet<_> = route.path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).collect();
        let places: BTreeSet<_> = places.into_iter().map(|(name, _)| name).collect();
        let given = route.values.iter().filter(|value| value.1 == In::Path).map(|value| value.0);
        assert_eq!(places, given.collect(), "{}", route.path);
        for (name, _, what, _) in route.values {
            let schema = schema(what, own);
            let is_known = schema["enum"].is_array()
                || ["string", "integer", "boolean"].iter().any(|kind| schema["type"] == *kind);
            assert!(is_known, "{}: {name} is {what}", route.path);
        }
    }
}

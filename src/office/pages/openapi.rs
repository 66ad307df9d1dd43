//! `/openapi.json`: every address of the office's pages, what it takes and who may ask, for programs.
//!
//! [`ROUTES`] is the list; a test holds it against the table of routes in [`super::router`].
//!
//! Not here: what stations ask (`/v1`).

use crate::{
    office::{campaign::CampaignKind, keys::Renewal},
    outcome::{Outcome, Reason},
    web::openapi::{
        ADMIN, ANYBODY, EVENTS, Given, HTML, In, OPERATOR, Route, VIEWER, XLSX, answer, document, get, post,
    },
};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::LazyLock;

const NEW: &str = "whoever is at the machine or has its code, while nobody was added";
const ID: &[Given] = &[("id", In::Path, "string", true)];
/// What every form has that says for whom something is; groups and stations are boxes, as `group.NAME` and `station.ID`.
const EVERYBODY: Given = ("everybody", In::Body, "on", false);
const DIVISIONS: Given = ("divisions", In::Body, "string", false);
const STATIONS: Given = ("stations", In::Body, "string", false);
const TARGETS: &[Given] = &[EVERYBODY, DIVISIONS, STATIONS];
const PLAY: &[Given] = &[
    ("subject", In::Body, "string", true),
    ("sound", In::Body, "sha256", true),
    ("times", In::Body, "few", false),
    ("volume", In::Body, "percent-text", false),
    ("text", In::Body, "string", false),
    ("note", In::Body, "string", false),
    EVERYBODY,
    DIVISIONS,
    STATIONS,
];
const DRILL: &[Given] = &[
    ("subject", In::Body, "string", true),
    ("sound", In::Body, "sha256", true),
    ("times", In::Body, "few", false),
    ("volume", In::Body, "percent-text", false),
    ("text", In::Body, "string", false),
    ("clear_sound", In::Body, "string", false),
    ("clear_text", In::Body, "string", false),
    ("note", In::Body, "string", false),
    EVERYBODY,
    DIVISIONS,
    STATIONS,
];
const EMERGENCY: &[Given] = &[
    ("subject", In::Body, "string", true),
    ("sound", In::Body, "sha256", true),
    ("times", In::Body, "few", false),
    ("volume", In::Body, "percent-text", false),
    ("text", In::Body, "string", false),
    ("clear_sound", In::Body, "string", false),
    ("clear_text", In::Body, "string", false),
    ("note", In::Body, "string", false),
    ("word", In::Body, "string", true),
    EVERYBODY,
    DIVISIONS,
    STATIONS,
];
const VOLUME: &[Given] =
    &[("percent", In::Body, "percent-text", true), ("note", In::Body, "string", false), EVERYBODY, DIVISIONS, STATIONS];
const SHOWN: &[Given] = &[
    ("show", In::Query, "show", false),
    ("text", In::Query, "string", false),
    ("group", In::Query, "string", false),
    ("division", In::Query, "string", false),
    ("page", In::Query, "integer", false),
];
const MONTH: &[Given] = &[("month", In::Query, "month", false), ("group", In::Query, "string", false)];

/// Every address.
const ROUTES: &[Route] = &[
    get("/first-run", NEW, "After the first run, the way to sign in."),
    post("/first-run", NEW, "Nothing more, once the office was set up."),
    post("/first-run/code", NEW, "Shows from the network that one has the code the office printed.")
        .with(&[("code", In::Body, "string", true)])
        .giving(HTML),
    get("/sign-in", ANYBODY, "Whether this session is signed in."),
    post("/sign-in", ANYBODY, "Opens a session; its token comes as a cookie.").with(&[
        ("name", In::Body, "string", true),
        ("password", In::Body, "password", true),
        ("next", In::Body, "string", false),
    ]),
    post("/sign-out", ANYBODY, "Ends the session."),
    post("/language", ANYBODY, "Chooses the language of the pages.")
        .with(&[("language", In::Body, "language", true), ("next", In::Body, "string", false)]),
    get("/openapi.json", ANYBODY, "This."),
    get("/", VIEWER, "Every station at a glance, worst first, a hundred at a time.").with(SHOWN),
    get("/events", VIEWER, "The live part of that page, whenever it changes.").with(SHOWN).giving(EVENTS),
    get("/stations/{id}", VIEWER, "One station: what it should have and has, played, said and refused.")
        .with(&[("id", In::Path, "string", true), ("on", In::Query, "date", false)]),
    get("/campaigns", VIEWER, "Campaigns and bulletins, what was changed last first."),
    get("/campaigns/{id}", VIEWER, "One campaign, its versions, and how far it is at each station.").with(ID),
    get("/campaigns/{id}/events", VIEWER, "How far it is at each station, whenever that changes.")
        .with(ID)
        .giving(EVENTS),
    get("/campaigns/{id}/look", VIEWER, "What a step would change in the next seven days.").with(&[
        ("id", In::Path, "string", true),
        ("step", In::Query, "step", true),
        ("station", In::Query, "string", false),
        ("version", In::Query, "integer", false),
    ]),
    get("/campaigns/new", OPERATOR, "Begins a campaign or a bulletin; nothing is kept.").with(&[(
        "kind",
        In::Query,
        "campaign-kind",
        false,
    )]),
    get("/campaigns/{id}/edit", OPERATOR, "The fields of its newest version.").with(ID),
    post(
        "/campaigns/draft",
        OPERATOR,
        "A form with one of its buttons pressed (multipart: file); `save` alone keeps it.",
    )
    .with(&[
        ("do", In::Body, "string", false),
        ("kind", In::Body, "campaign-kind", true),
        ("title", In::Body, "string", true),
        ("text", In::Body, "string", false),
        EVERYBODY,
        DIVISIONS,
        STATIONS,
    ])
    .and_boxes(),
    post("/campaigns/{id}/step", OPERATOR, "Tries it at one station, publishes, brings back or withdraws it.").with(&[
        ("id", In::Path, "string", true),
        ("step", In::Body, "step", true),
        ("station", In::Body, "string", false),
        ("version", In::Body, "string", false),
    ]),
    get("/groups", VIEWER, "Groups with their stations, and how many stations each town has.").with(&[(
        "name",
        In::Query,
        "string",
        false,
    )]),
    post("/groups", OPERATOR, "Puts stations into a group, or takes them out, all in one change.")
        .with(&[
            ("name", In::Body, "string", true),
            ("do", In::Body, "in-or-out", true),
            EVERYBODY,
            DIVISIONS,
            STATIONS,
        ])
        .and_boxes(),
    get("/sounds", VIEWER, "The sounds that the office has."),
    get("/sounds/{sha256}", VIEWER, "One of them, in parts where asked.")
        .with(&[("sha256", In::Path, "sha256", true)])
        .giving("audio/*"),
    post("/sounds", OPERATOR, "Uploads files (multipart: file), 200 MB together at most."),
    get("/play", OPERATOR, "The sounds to choose from, and what was played before."),
    post("/play/look", OPERATOR, "Who would hear it.").with(PLAY).and_boxes(),
    post("/play", OPERATOR, "Plays it now, within quiet hours, hush and stop.").with(PLAY).and_boxes(),
    get("/volume", OPERATOR, "What volumes were set before."),
    post("/volume/look", OPERATOR, "Whom it would reach.").with(VOLUME).and_boxes(),
    post("/volume", OPERATOR, "Sets the volume of stations, under their own ceilings.").with(VOLUME).and_boxes(),
    get("/emergency", ADMIN, "The sounds to choose from, and the emergencies before."),
    post("/emergency/look", ADMIN, "Who would hear it, and the word to type.").with(DRILL).and_boxes(),
    post("/emergency", ADMIN, "Speaks to everybody who is meant, above everything else.").with(EMERGENCY).and_boxes(),
    get("/drill", ADMIN, "The sounds to choose from, and the drills before."),
    post("/drill/look", ADMIN, "Who would hear it.").with(DRILL).and_boxes(),
    post("/drill", ADMIN, "The same as an emergency, and every record says that it was a drill.")
        .with(DRILL)
        .and_boxes(),
    get("/roll-call", VIEWER, "Whom one may call, and the calls before."),
    post("/roll-call", OPERATOR, "Calls stations for a report.").with(TARGETS).and_boxes(),
    get("/orders/{id}", VIEWER, "A command, and how far it is at each station.").with(ID),
    get("/orders/{id}/events", VIEWER, "How far it is at each station, whenever that changes.").with(ID).giving(EVENTS),
    post("/orders/{id}/stop", "operator; administrator, where it is an emergency or a drill", "Ends what it plays.")
        .with(ID),
    post("/orders/{id}/all-clear", ADMIN, "Ends an emergency with the words that were prepared for it.").with(ID),
    get("/assess", VIEWER, "The assessment of a month.").with(MONTH),
    get("/assess/print", VIEWER, "The same, ready to print.").with(MONTH),
    get("/assess/year", VIEWER, "The months of a year.")
        .with(&[("year", In::Query, "integer", false), ("group", In::Query, "string", false)]),
    get("/assess.xlsx", VIEWER, "A month as a workbook with its formulas and raw rows.")
        .with(&[
            ("month", In::Query, "month", false),
            ("group", In::Query, "string", false),
            ("station", In::Query, "string", false),
        ])
        .giving(XLSX),
    get("/assess/{station}", VIEWER, "A month of one station, day by day.")
        .with(&[("station", In::Path, "string", true), ("month", In::Query, "month", false)]),
    get("/assess/{station}/evidence", VIEWER, "The rows of a month with the station's signature.")
        .with(&[
            ("station", In::Path, "string", true),
            ("month", In::Query, "month", false),
            ("epoch", In::Query, "string", false),
            ("form", In::Query, "evidence", false),
        ])
        .giving("application/x-ndjson"),
    get("/journal", VIEWER, "What became of each occurrence, of every station.").with(&[
        ("from", In::Query, "date", false),
        ("until", In::Query, "date", false),
        ("station", In::Query, "string", false),
        ("announcement", In::Query, "string", false),
        ("outcome", In::Query, "outcome", false),
        ("reason", In::Query, "reason", false),
        ("after", In::Query, "string", false),
    ]),
    get("/records", VIEWER, "Who changed what, newest first.").with(&[("before", In::Query, "integer", false)]),
    get("/password", VIEWER, "The page for one's own password."),
    post("/password", VIEWER, "Another password for oneself.").with(&[
        ("old", In::Body, "string", true),
        ("password", In::Body, "password", true),
        ("again", In::Body, "string", true),
    ]),
    get("/enrol", OPERATOR, "The office's words, stations that wait, codes that are open."),
    post("/enrol/code", OPERATOR, "Makes a code; the answer shows it, this once.").with(&[
        ("name", In::Body, "string", false),
        ("division", In::Body, "string", true),
        ("uses", In::Body, "string", false),
        ("automatic", In::Body, "boolean", false),
    ]),
    post("/enrol/{id}/confirm", OPERATOR, "Takes a station in, whose words were compared.")
        .with(&[("id", In::Path, "string", true), ("same", In::Body, "boolean", true)]),
    post("/enrol/{id}/decline", OPERATOR, "Refuses a station that asks.").with(ID),
    post("/stations/{id}/place", OPERATOR, "Another name, division, other groups.").with(&[
        ("id", In::Path, "string", true),
        ("name", In::Body, "string", true),
        ("division", In::Body, "string", true),
        ("groups", In::Body, "string", false),
    ]),
    post("/stations/{id}/revoke", ADMIN, "Trusts a station no longer.").with(ID),
    post("/stations/{id}/journal", ADMIN, "From now on another journal of it is taken in.")
        .with(&[("id", In::Path, "string", true), ("epoch", In::Body, "string", true)]),
    get("/keys", ADMIN, "The keys in force, who has not heard of them yet, and who knows more than this office."),
    get("/keys/look", ADMIN, "Whom a renewal reaches at once.").with(&[("renew", In::Query, "renewal", true)]),
    post("/keys/renew", ADMIN, "A new key in place of the old, or a new generation.")
        .with(&[("renew", In::Body, "renewal", true), ("version", In::Body, "string", true)]),
    get("/people", ADMIN, "Who may use the pages."),
    post("/people", ADMIN, "Adds a person.").with(&[
        ("name", In::Body, "string", true),
        ("password", In::Body, "password", true),
        ("role", In::Body, "role", true),
    ]),
    post("/people/role", ADMIN, "Another role.")
        .with(&[("name", In::Body, "string", true), ("role", In::Body, "role", true)]),
    post("/people/password", ADMIN, "Another password.")
        .with(&[("name", In::Body, "string", true), ("password", In::Body, "password", true)]),
    post("/people/remove", ADMIN, "Removes a person; what they did stays on record.").with(&[(
        "name",
        In::Body,
        "string",
        true,
    )]),
];

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let description = "Every page is JSON at the same address for `Accept: application/json`. A change needs an `Origin` \
        of the office itself, or the token of control.json. Where something is for stations, groups and stations are \
        boxes: `group.NAME` and `station.ID` with the value `on`.";
    document("dalaba office", description, ROUTES, schema).to_string()
});

/// `GET /openapi.json`
pub(super) async fn openapi() -> Response {
    answer(&TEXT)
}

/// Returns the JSON Schema of a value that only an office has.
fn schema(what: &str) -> Option<Value> {
    Some(match what {
        "on" => json!({ "enum": ["on"] }),
        "sha256" => json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
        "few" => json!({ "type": "string", "pattern": "^[1-5]$" }),
        "percent-text" => json!({ "type": "string", "pattern": "^(100|[0-9]{1,2})$" }),
        "show" => json!({ "enum": super::stations::shows() }),
        "step" => json!({ "enum": ["try", "publish", "restore", "withdraw"] }),
        "in-or-out" => json!({ "enum": ["in", "out"] }),
        "evidence" => json!({ "enum": ["csv", "json"] }),
        "campaign-kind" => json!({ "enum": [CampaignKind::Campaign.key(), CampaignKind::Bulletin.key()] }),
        "renewal" => json!({ "enum": Renewal::ALL }),
        "outcome" => json!({ "enum": Outcome::ALL }),
        "reason" => json!({ "enum": Reason::ALL }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_every_address_and_no_other() {
        crate::web::openapi::hold(ROUTES, include_str!("mod.rs"), schema);
    }
}

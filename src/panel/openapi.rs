//! `/openapi.json`: every address of the station, what it takes and who may ask, for programs.
//!
//! [`ROUTES`] is the list; a test holds it against the table of routes in [`super::router`].

use crate::{
    config::{Kind, Screen},
    outcome::Outcome,
    web::openapi::{
        ADMIN, ANYBODY, EVENTS, Given, HTML, In, OPERATOR, Route, VIEWER, XLSX, answer, document, get, post,
    },
};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::LazyLock;

const HERE: &str = "anybody at the machine itself, a viewer from elsewhere";
const NEW: &str = "whoever is at the machine or has its code, while nobody was added";
const SCREEN: &str = "whoever the station file lets see the screen";
const DAYS: &[Given] = &[("from", In::Query, "date", false), ("until", In::Query, "date", false)];
const PATH: &[Given] = &[("path", In::Path, "string", true)];
const NAME: &[Given] = &[("name", In::Path, "string", true)];

/// Every address.
const ROUTES: &[Route] = &[
    get("/", HERE, "The station now: what plays, what is next, today, faults."),
    get("/events", HERE, "The live part of the first page, whenever it changes.").giving(EVENTS),
    post("/stop", HERE, "Silence at once, until released or for 30 minutes."),
    post("/release", OPERATOR, "Ends a stop."),
    post("/hush", OPERATOR, "Silence until a time; 24 hours at most.").with(&[
        ("until", In::Body, "string", false),
        ("minutes", In::Body, "minutes", false),
        ("note", In::Body, "string", false),
    ]),
    post("/volume", OPERATOR, "The station's volume, in percent.").with(&[("percent", In::Body, "percent", true)]),
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
        ("password", In::Body, "password", true),
        ("next", In::Body, "string", false),
    ]),
    post("/sign-out", ANYBODY, "Ends the session."),
    post("/language", ANYBODY, "Chooses the language of the pages.")
        .with(&[("language", In::Body, "language", true), ("next", In::Body, "string", false)]),
    get("/healthz", ANYBODY, "200 only if loop, journal and (while playing) frames go on."),
    get("/metrics", HERE, "Counts and gauges for Prometheus.").giving("text/plain"),
    get("/openapi.json", ANYBODY, "This."),
    get("/first-run", NEW, "What the first run offers."),
    post("/first-run", NEW, "Adds the first administrator, names the station, chooses output and schedule.").with(&[
        ("name", In::Body, "string", true),
        ("password", In::Body, "password", true),
        ("again", In::Body, "string", true),
        ("station", In::Body, "string", true),
        ("kind", In::Body, "kind", true),
        ("output", In::Body, "output", true),
        ("schedule", In::Body, "boolean", false),
    ]),
    post("/first-run/code", NEW, "Shows from the network that one has the code the daemon printed.")
        .with(&[("code", In::Body, "string", true)])
        .giving(HTML),
    post("/first-run/tone", NEW, "A test tone on an output.")
        .with(&[("output", In::Body, "output", true)])
        .giving(HTML),
    get("/screen", SCREEN, "What a screen beside the loudspeaker shows."),
    get("/screen/events", SCREEN, "The same, whenever it changes.").giving(EVENTS),
    get("/password", VIEWER, "The page for one's own password."),
    post("/password", VIEWER, "Another password for oneself.").with(&[
        ("old", In::Body, "string", true),
        ("password", In::Body, "password", true),
        ("again", In::Body, "string", true),
    ]),
    get("/plan", VIEWER, "What is planned, what played, what is left out and why.")
        .with(&[("from", In::Query, "date", false), ("days", In::Query, "integer", false)]),
    get("/plan/override", OPERATOR, "What one day's override would take out.").with(&[
        ("date", In::Query, "date", true),
        ("schedule", In::Query, "string", false),
        ("announcement", In::Query, "string", false),
        ("back", In::Query, "string", false),
    ]),
    post("/plan/override", OPERATOR, "Cancels an announcement, a schedule or all on one day; or takes that back.")
        .with(&[
            ("date", In::Body, "date", true),
            ("schedule", In::Body, "string", false),
            ("announcement", In::Body, "string", false),
            ("back", In::Body, "string", false),
            ("note", In::Body, "string", false),
        ]),
    get("/schedules", VIEWER, "The schedules and what is wrong with them."),
    get("/schedules/new", OPERATOR, "Begins a schedule; nothing is saved.")
        .with(&[("name", In::Query, "string", false), ("title", In::Query, "string", false)])
        .giving(HTML),
    post("/schedules/check", OPERATOR, "What is wrong with a text, at its lines.").with(&[
        ("name", In::Body, "string", true),
        ("text", In::Body, "string", true),
        ("base", In::Body, "string", false),
    ]),
    get("/schedules/{name}", VIEWER, "One schedule as text and fields.").with(NAME),
    post("/schedules/{name}", OPERATOR, "Saves a text, if it has no error and nobody changed the file meanwhile.")
        .with(&[
            ("name", In::Path, "string", true),
            ("text", In::Body, "string", true),
            ("base", In::Body, "string", true),
        ]),
    post("/schedules/{name}/edit", OPERATOR, "Applies the fields of the form to the text; nothing is saved.")
        .with(NAME)
        .giving(HTML),
    post("/schedules/{name}/preview", OPERATOR, "The difference in the next seven days, before saving.").with(&[
        ("name", In::Path, "string", true),
        ("text", In::Body, "string", false),
        ("base", In::Body, "string", false),
        ("enabled", In::Body, "string", false),
        ("delete", In::Body, "string", false),
    ]),
    post("/schedules/{name}/delete", OPERATOR, "Takes a schedule out of force; its versions stay.")
        .with(&[("name", In::Path, "string", true), ("base", In::Body, "string", true)]),
    get("/schedules/history", VIEWER, "The versions that were in force."),
    get("/schedules/history/{revision}", VIEWER, "One version, and what would change if it came back.").with(&[(
        "revision",
        In::Path,
        "string",
        true,
    )]),
    post("/schedules/history/{revision}/restore", OPERATOR, "Brings a version back.")
        .with(&[("revision", In::Path, "string", true), ("base", In::Body, "string", true)]),
    get("/clips", VIEWER, "The clips, their state, loudness and use."),
    post("/clips", OPERATOR, "Uploads files (multipart: folder, new-folder, file), 200 MB each at most."),
    get("/clips/{path}", VIEWER, "One clip.").with(PATH),
    get("/clip-audio/{path}", VIEWER, "The file itself, in parts where asked.").with(PATH).giving("audio/*"),
    get("/clip-wave/{path}", VIEWER, "Its peaks, drawn.").with(PATH).giving("image/svg+xml"),
    post("/clip-about/{path}", OPERATOR, "Title and validity of a clip.").with(&[
        ("path", In::Path, "string", true),
        ("title", In::Body, "string", false),
        ("valid_from", In::Body, "date", false),
        ("valid_until", In::Body, "date", false),
    ]),
    post("/clip-replace/{path}", OPERATOR, "Another file in its place (multipart: file).").with(PATH),
    post("/clip-retire/{path}", OPERATOR, "Takes a clip out of use.").with(PATH),
    post("/clip-return/{path}", OPERATOR, "Takes a retired clip into use again.").with(PATH),
    post("/clip-move/{path}", OPERATOR, "Another folder or file name, where nothing refers to it.").with(&[
        ("path", In::Path, "string", true),
        ("folder", In::Body, "string", false),
        ("name", In::Body, "string", true),
    ]),
    get("/journal", VIEWER, "What became of each occurrence.").with(&[
        ("on", In::Query, "date", false),
        ("from", In::Query, "date", false),
        ("until", In::Query, "date", false),
        ("outcome", In::Query, "outcome", false),
        ("announcement", In::Query, "string", false),
        ("reason", In::Query, "string", false),
    ]),
    get("/journal/print", VIEWER, "The register, ready to print.").with(&[
        ("month", In::Query, "month", false),
        ("from", In::Query, "date", false),
        ("until", In::Query, "date", false),
    ]),
    get("/journal/check", VIEWER, "Verifies the whole journal, and says what was found.").with(&[(
        "again",
        In::Query,
        "string",
        false,
    )]),
    get("/journal.csv", VIEWER, "The entries with their proof.").with(DAYS).giving("text/csv"),
    get("/journal.xlsx", VIEWER, "The entries and their totals as a workbook.").with(DAYS).giving(XLSX),
    get("/settings", ADMIN, "The station file, people, devices."),
    post("/settings/station", ADMIN, "Name and kind.")
        .with(&[("name", In::Body, "string", true), ("kind", In::Body, "kind", true)]),
    post("/settings/hours", ADMIN, "Quiet and working hours, the daily limit, closed days.").with(&[
        ("quiet", In::Body, "string", false),
        ("working", In::Body, "string", false),
        ("daily_limit_minutes", In::Body, "minutes", true),
        ("closed", In::Body, "string", false),
    ]),
    post("/settings/sound", ADMIN, "Outputs and volume, at once.").with(&[
        ("output_1", In::Body, "output", true),
        ("output_2", In::Body, "output", false),
        ("output_3", In::Body, "output", false),
        ("volume", In::Body, "percent", true),
        ("ceiling", In::Body, "percent", true),
        ("latency_ms", In::Body, "integer", true),
        ("keep_audible", In::Body, "boolean", false),
    ]),
    post("/settings/tone", ADMIN, "A test tone on an output.").with(&[("output", In::Body, "output", true)]),
    post("/settings/page", ADMIN, "Who reaches the pages.").with(&[
        ("reach", In::Body, "reach", true),
        ("port", In::Body, "port", true),
        ("hosts", In::Body, "string", false),
        ("screen", In::Body, "screen", true),
    ]),
    post("/settings/people", ADMIN, "Adds a person.").with(&[
        ("name", In::Body, "string", true),
        ("password", In::Body, "password", true),
        ("role", In::Body, "role", true),
    ]),
    post("/settings/people/role", ADMIN, "Another role.")
        .with(&[("name", In::Body, "string", true), ("role", In::Body, "role", true)]),
    post("/settings/people/password", ADMIN, "Another password.")
        .with(&[("name", In::Body, "string", true), ("password", In::Body, "password", true)]),
    post("/settings/people/remove", ADMIN, "Removes a person; what they did stays on record.").with(&[(
        "name",
        In::Body,
        "string",
        true,
    )]),
    post("/settings/office/enrol", ADMIN, "Asks an office to take the station in.")
        .with(&[("office", In::Body, "string", true), ("code", In::Body, "string", true)]),
    post("/settings/office/compared", ADMIN, "The words here and at the office are the same."),
    post("/settings/office/leave", ADMIN, "Gives up an enrolment, or leaves the office and what it delivered."),
    get("/settings/backup", ADMIN, "The whole station as one file.").giving("application/zip"),
    post("/settings/restore", ADMIN, "Takes a backup back (multipart: file)."),
];

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let description = "Every page is JSON at the same address for `Accept: application/json`. A change needs an `Origin` \
        of the station itself, or the token of data/control.json.";
    document("dalaba station", description, ROUTES, schema).to_string()
});

/// `GET /openapi.json`
pub(super) async fn openapi() -> Response {
    answer(&TEXT)
}

/// Returns the JSON Schema of a value that only a station has.
fn schema(what: &str) -> Option<Value> {
    Some(match what {
        "minutes" => json!({ "type": "integer", "minimum": 0, "maximum": 1440 }),
        "port" => json!({ "type": "integer", "minimum": 0, "maximum": 65535 }),
        "output" => json!({ "type": "string", "examples": ["default", "pulse:NAME", "alsa:NAME"] }),
        "kind" => json!({ "enum": Kind::ALL }),
        "screen" => json!({ "enum": [Screen::Machine, Screen::Lan, Screen::Off] }),
        "outcome" => json!({ "enum": Outcome::ALL }),
        "reach" => json!({ "type": "string", "examples": ["machine", "lan", "192.168.1.9"] }),
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

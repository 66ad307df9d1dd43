//! What every page server here shares: the accept loop with its limits, TLS, turns for strangers, the guard before every
//! handler, people and sessions, languages, one handler for page and JSON, how texts stand in a page and what stands around
//! it, its live parts, signing in, looking after people.
//!
//! Not here: pages and what they are about ([`crate::panel`], [`crate::office`]).

mod answer;
mod code;
mod editor;
mod feed;
mod file;
mod frame;
mod guard;
mod language;
pub(crate) mod openapi;
mod people;
mod plain;
mod serve;
pub(crate) mod sign_in;
mod site;
mod strangers;
mod tls;
mod turns;
pub(crate) mod upload;
mod words;

pub(crate) use answer::session;
pub use answer::{Asked, Input, Problem, Who, go_to, session_cookie};
pub(crate) use code::{Code, admit, code as first_run_code, lead};
pub(crate) use editor::{Parts, press};
pub(crate) use feed::Feeds;
pub(crate) use file::{attachment, body, nameless, no_room};
pub(crate) use frame::{Frame, asset, done, html, live, print, query, style, ticked};
pub use guard::{Guard, HasToken, guard};
pub use language::{COOKIE as LANGUAGE, cookie, language};
pub(crate) use people::forms as people_forms;
pub use people::{PASSWORD, People, Refused, Role, SessionId};
pub(crate) use plain::Plain;
pub(crate) use serve::network;
pub use serve::{Peer, serve};
pub(crate) use site::{Site, identify, missing, need};
pub(crate) use strangers::{Strangers, Turned};
pub use tls::Tls;
pub(crate) use turns::Turns;
#[cfg(test)]
pub(crate) use words::compare as compare_words;
pub(crate) use words::{SiteWords, Texts, Words as SharedWords, fill, read as read_words};

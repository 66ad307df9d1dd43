//! What every page server here shares: the accept loop with its limits, TLS, the guard before every handler, people and
//! sessions, languages, one handler for page and JSON.
//!
//! Not here: pages and what they are about ([`crate::panel`]).

mod answer;
mod guard;
mod language;
mod people;
mod serve;
mod tls;

pub(crate) use answer::session;
pub use answer::{Asked, Input, Problem, Who, go_to, session_cookie};
pub use guard::{Guard, HasToken, guard};
pub use language::{COOKIE as LANGUAGE, cookie, language};
pub use people::{PASSWORD, People, Refused, Role};
pub use serve::{Peer, serve};
pub use tls::Tls;

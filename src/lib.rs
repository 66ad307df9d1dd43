//! dalaba (大喇叭) keeps village loudspeakers speaking. This is the map of the crate; it holds no code.
//!
//! Everything that decides is a pure function of its inputs and the time; everything that touches the world is a
//! thin shell around it. Read from the ground up:
//!
//! * ground, pure: [`outcome`] names what may become of an occurrence; [`calendar`] and [`schedule`] make a
//!   [`plan`]; [`entry`] is one line of the journal; [`gate`] is the last gate before the loudspeaker; [`trust`]
//!   says what may be believed about the time; the [`conductor`] walks through the plan; [`check`] says what is wrong with it; [`text`] is what all texts share.
//! * engines, one kind of I/O each: [`clock`], [`journal`], [`ingest`] and [`speaker`] (processes of their own),
//!   [`library`], [`disk`], and what asks a process to end.
//! * [`link`] is what a station and its office say to each other, pure as the ground: documents, trust, state machines.
//! * the only place where decisions meet effects: [`daemon`].
//! * views of the daemon: [`web`] is what page servers share, [`panel`] the station's own pages.
//! * the other end of the link, a program of its own: [`office`]; and many light stations for it: [`simulate`].
//! * assembly: [`config`], [`cli`].

pub mod calendar;
pub mod check;
pub mod cli;
pub mod clock;
pub mod conductor;
pub mod config;
pub mod daemon;
pub mod disk;
mod ending;
pub mod entry;
pub mod gate;
pub mod home;
pub mod ingest;
pub mod journal;
pub mod library;
pub mod link;
pub mod office;
pub mod outcome;
pub mod panel;
pub mod plan;
pub mod schedule;
pub mod simulate;
pub mod speaker;
pub mod text;
pub mod trust;
pub mod web;

//! `GET /v1/watch`: a stream of events for as long as the line holds, or with `wait` one answer when there is something.

use super::{super::Office, Refusal, sound};
use crate::{
    clock,
    link::{
        office::{HEARTBEAT, Receipts, greeting, time_proof},
        protocol::WatchEvent,
        time::Nonce,
    },
    office::{
        endless::Onward,
        server::Line,
        watches::{Member, Seat, rendered, unrendered},
    },
};
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Extension, Query, State},
    http::{HeaderName, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use hyper::body::Frame;
use jiff::Timestamp;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Interval, interval_at};

/// The longest that a poll is held, in seconds.
const LONGEST_WAIT: u64 = 50;

#[derive(Deserialize)]
pub(super) struct Asked {
    nonce: Nonce,
    #[serde(default)]
    wait: Option<u64>,
}

pub(super) async fn watch(
    State(office): State<Office>,
    Extension(member): Extension<Arc<Member>>,
    Extension(line): Extension<Arc<Line>>,
    Extension(onward): Extension<Arc<Onward>>,
    Query(asked): Query<Asked>,
    version: Version,
) -> Result<Response, Refusal> {
    let received = clock::wall();
    let nonce = sound(asked.nonce)?;
    let seat = office.watches.open_watch(&member, line, asked.wait.is_some(), received);
    let seat = seat
        .ok_or_else(|| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "中心正在关闭 the office is closing").later())?;
    let greeter = Greeter { office, member, nonce, received };
    match asked.wait {
        Some(wait) => {
            let wait = Duration::from_secs(wait.clamp(1, LONGEST_WAIT));
            let poll = OnceBody(Some(Box::pin(poll(greeter, seat, wait))));
            Ok(([(header::CONTENT_TYPE, "application/json")], Body::new(poll)).into_response())
        }
        None => {
            let first = greeter.greet(&seat).await?;
            let first: Vec<_> = first.iter().flat_map(|event| rendered(event).to_vec()).collect();
            let every = Duration::from_secs(HEARTBEAT.into());
            let beat = interval_at(Instant::now() + every, every);
            let headers = [
                (header::CONTENT_TYPE, "text/event-stream"),
                (header::CACHE_CONTROL, "no-store"),
                (header::CONNECTION, "close"),
                // A box in the middle that reads this header does not hold the stream back.
                (HeaderName::from_static("x-accel-buffering"), "no"),
            ];
            Ok((headers, onward.body(version, first.into(), Stream { seat, beat })).into_response())
        }
    }
}

/// What it takes to say hello.
struct Greeter {
    office: Office,
    member: Arc<Member>,
    nonce: Nonce,
    received: Timestamp,
}

impl Greeter {
    /// Returns what a watch says first. The time is signed last: however long this took, the station learns when it left.
    async fn greet(&self, seat: &Seat) -> Result<Vec<WatchEvent>, Refusal> {
        let (store, place) = (&self.office.store, &self.member.place);
        let journal = store.cursor(&place.station).await?;
        let mut states = match seat.live.is_empty() {
            true => BTreeMap::new(),
            false => store.states_at(&place.station, self.received).await?,
        };
        let mut commands = Vec::new();
        for live in &seat.live {
            let mut receipts = Receipts::default();
            if let Some(state) = states.remove(&live.issued.id) {
                receipts.hold(&place.station, state, self.received);
            }
            commands.push((&live.issued, receipts));
        }
        let now = clock::wall();
        let proof = time_proof(&self.nonce, self.received, now, &self.office.keys.time());
        let proof = proof.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let root = self.office.keys.root().root().version;
        let commands = commands.iter().map(|(issued, receipts)| (*issued, receipts));
        Ok(greeting(self.member.desired(), root, &proof, journal.as_ref(), place, commands, now))
    }
}

/// Answers a poll when there is something to say, at the latest after `wait`. Returns a list in JSON.
async fn poll(greeter: Greeter, mut seat: Seat, wait: Duration) -> Bytes {
    let nothing = || Bytes::from_static(b"[]");
    let Ok(mut first) = greeter.greet(&seat).await else { return nothing() };
    let mut more = Vec::new();
    if !seat.is_behind && first.len() == 1 {
        more.extend(tokio::time::timeout(wait, seat.events.recv()).await.ok().flatten());
        // The time is to be that of the answer.
        first = match greeter.greet(&seat).await {
            Ok(first) => first,
            Err(_) => return nothing(),
        };
    }
    while let Ok(event) = seat.events.try_recv() {
        more.push(event);
    }
    let first = first.iter().filter_map(|event| serde_json::to_vec(event).ok());
    let all: Vec<_> = first.chain(more.iter().map(|event| unrendered(event).to_vec())).collect();
    let mut body = b"[".to_vec();
    body.extend(all.join(&b","[..]));
    body.push(b']');
    body.into()
}

/// A body that comes at once, when it is there; its headers come before.
struct OnceBody(Option<Pin<Box<dyn Future<Output = Bytes> + Send>>>);

impl HttpBody for OnceBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(coming) = &mut self.0 else { return Poll::Ready(None) };
        coming.as_mut().poll(cx).map(|bytes| {
            self.0 = None;
            Some(Ok(Frame::data(bytes)))
        })
    }
}

/// Events one after the other, and a heartbeat where nothing else came for a while.
struct Stream {
    seat: Seat,
    beat: Interval,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(event) = self.seat.events.poll_recv(cx) {
            self.beat.reset();
            return Poll::Ready(event.map(|event| Ok(Frame::data(Bytes::clone(&event)))));
        }
        self.beat.poll_tick(cx).map(|_| Some(Ok(Frame::data(rendered(&WatchEvent::Heartbeat)))))
    }
}

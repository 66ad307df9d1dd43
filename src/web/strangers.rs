//! Whoever asks without having said who they are: a station or a person about to sign in, and anybody who means ill.
//!
//! They have places and turns of their own, few of each: whatever they do, those who are known get in at once. A stranger's
//! body is short and comes at once. It is read before it takes a turn, so that nobody holds a turn by dribbling; where
//! every place is taken, the oldest body of the network that sends the most goes, never the newest.
//!
//! Not here: who is known (the pages and the office's wire).

use super::{
    Peer, network,
    turns::{Asking, Turns},
};
use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
use tokio_stream::StreamExt as _;

/// The largest body of a stranger, in bytes: the longest form that signs somebody in is half of it.
const BODY: usize = 16 << 10;
/// A body that is not whole by then is not coming, however it dribbles.
const COMES: Duration = Duration::from_secs(5);
/// Bodies on their way at a time.
const PLACES: usize = 128;
/// Why a stranger was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Its body is larger than any that is meant.
    TooLong,
    /// Its body did not come.
    TooSlow,
    /// Its body broke off.
    Broken,
    /// There are too many.
    Crowded,
}

impl Turned {
    /// Of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// The places and turns of strangers.
#[derive(Debug)]
pub(crate) struct Strangers {
    turns: Turns<IpAddr>,
    bodies: Mutex<Bodies>,
}

/// Bodies on their way.
#[derive(Debug, Default)]
struct Bodies {
    next: u64,
    /// The oldest first.
    places: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
}

impl Strangers {
    /// So many at a time, and so many of one network.
    pub(crate) fn new(turns: usize, share: usize) -> Self {
        Self { turns: Turns::new(turns, share), bodies: Mutex::default() }
    }

    /// Answers a stranger, when it is their turn.
    pub(crate) async fn admit(&self, peer: &Peer, request: Request, next: Next) -> Result<Response, Turned> {
        let guest = self.come(peer)?;
        let request = guest.receive(request).await?;
        guest.asking.in_turn(next.run(request)).await.ok_or(Turned::Crowded)
    }

    /// Does something for a stranger, when it is their turn.
    pub(crate) async fn in_turn<T>(&self, peer: &Peer, work: impl Future<Output = T>) -> Result<T, Turned> {
        self.come(peer)?.asking.in_turn(work).await.ok_or(Turned::Crowded)
    }

    fn come(&self, peer: &Peer) -> Result<Guest<'_>, Turned> {
        let asking = self.turns.come(network(peer.remote.ip())).ok_or(Turned::Crowded)?;
        Ok(Guest { strangers: self, asking })
    }

    fn bodies(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stranger's request while it is here.
struct Guest<'a> {
    strangers: &'a Strangers,
    asking: Asking<'a, IpAddr>,
}

impl Guest<'_> {
    /// Reads the body of a request, which then is a whole one.
    async fn receive(&self, request: Request) -> Result<Request, Turned> {
        let (parts, body) = request.into_parts();
        if body.is_end_stream() {
            return Ok(Request::from_parts(parts, body));
        }
        if body.size_hint().lower() > BODY as u64 {
            return Err(Turned::TooLong);
        }
        let (_place, gone) = self.take_place();
        let whole = tokio::select! {
            whole = timeout(COMES, whole(body)) => whole.unwrap_or(Err(Turned::TooSlow))?,
            _ = gone => return Err(Turned::Crowded),
        };
        Ok(Request::from_parts(parts, Body::from(whole)))
    }

    fn take_place(&self) -> (Place<'_>, oneshot::Receiver<()>) {
        let (go, gone) = oneshot::channel();
        let mut bodies = self.strangers.bodies();
        if bodies.places.len() >= PLACES {
            bodies.make_room();
        }
        bodies.next += 1;
        let number = bodies.next;
        bodies.places.insert(number, (*self.asking.who(), go));
        (Place { strangers: self.strangers, number }, gone)
    }
}

/// The place of a body that is on its way.
struct Place<'a> {
    strangers: &'a Strangers,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.strangers.bodies().places.remove(&self.number);
    }
}

impl Bodies {
    /// Sends away the oldest body of the network that sends the most.
    fn make_room(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (network, _) in self.places.values() {
            *counts.entry(*network).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let oldest = self.places.iter().find(|(_, (network, _))| counts.get(network) == Some(&most));
        if let Some(number) = oldest.map(|(number, _)| *number)
            && let Some((_, go)) = self.places.remove(&number)
        {
            // Whoever has gone already does not hear it.
            let _ = go.send(());
        }
    }
}

async fn whole(body: Body) -> Result<Vec<u8>, Turned> {
    let (mut pieces, mut whole) = (body.into_data_stream(), Vec::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Turned::Broken)?;
        if whole.len() + piece.len() > BODY {
            return Err(Turned::TooLong);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn peer(from: &str) -> Peer {
        Peer { remote: from.parse().unwrap(), local: "10.0.0.1:8660".parse().unwrap(), is_tls: true }
    }

    fn dribbling() -> Request {
        Request::new(Body::from_stream(tokio_stream::pending::<Result<Vec<u8>, std::io::Error>>()))
    }

    #[tokio::test]
    async fn whoever_comes_last_and_whoever_is_alone_keeps_his_place() {
        let strangers = Arc::new(Strangers::new(4, 2));
        let send = |from: &str| {
            let (strangers, peer) = (Arc::clone(&strangers), peer(from));
            tokio::spawn(async move { strangers.come(&peer)?.receive(dribbling()).await.map(drop) })
        };
        let alone = send("10.0.0.7:9");
        tokio::task::yield_now().await;
        let mut crowd = Vec::new();
        for _ in 0..PLACES + 8 {
            crowd.push(send("10.9.0.9:9"));
            tokio::task::yield_now().await;
        }
        for oldest in crowd.drain(..9) {
            assert_eq!(oldest.await.unwrap(), Err(Turned::Crowded));
        }
        assert_eq!(strangers.bodies().places.len(), PLACES);
        for one in crowd.into_iter().chain([alone]) {
            assert!(!one.is_finished());
            one.abort();
            assert!(one.await.is_err());
        }
        assert!(strangers.bodies().places.is_empty());
    }

    #[tokio::test]
    async fn no_more_of_a_body_is_read_than_a_stranger_may_send() {
        let strangers = Strangers::new(4, 2);
        let guest = strangers.come(&peer("10.0.0.7:9")).unwrap();
        for (bytes, expected) in [(0, Ok(())), (BODY, Ok(())), (BODY + 1, Err(Turned::TooLong))] {
            // Whether its length is said or not.
            let pieces = tokio_stream::iter([Ok::<_, std::io::Error>(vec![b'x'; bytes])]);
            for body in [Body::from(vec![b'x'; bytes]), Body::from_stream(pieces)] {
                assert_eq!(guest.receive(Request::new(body)).await.map(drop), expected, "{bytes}");
            }
        }
    }
}

//! Connections: thousands of them, each a station's watch, and few of people.
//!
//! Who has not said who they are holds no place: headers are in within five seconds, and where every place is taken the
//! oldest connection of a stranger goes. Handshakes wait for their turn, so that ten thousand stations that come back at
//! once are served one after the other rather than all too late; a turn begins when the first word is whole, and whoever
//! then lets the office wait does so without it. A connection whose other end has not acknowledged anything for half a
//! minute is closed by the system: a line that was cut without a word is noticed there.
//!
//! Not here: what is asked ([`super::wire`], `pages`), how an answer is written ([`super::endless`]).

use super::endless;
use crate::web::{Peer, Tls};
use axum::Router;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, watch},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tower_service::Service as _;

/// Headers later than this are not coming; the same for a handshake whose turn it is.
const HEADERS: Duration = Duration::from_secs(5);
/// Whoever has waited so long for his handshake has gone.
const TURN: Duration = Duration::from_secs(60);
/// Handshakes at a time.
const HANDSHAKES: usize = 64;
/// As long as a line may be over which a handshake is done within its turn.
const OWN_TURN: Duration = Duration::from_millis(250);
/// Connections at a time, where the system allows as many.
const CONNECTIONS: usize = 50_000;
/// Places that only this very machine may take, so that no crowd shuts its own people out.
const OWN: usize = 64;
/// Files and connections that are none of a server's: the database, the blobs.
const FILES: usize = 256;
/// Connections that the system keeps until they are taken.
const BACKLOG: u32 = 4096;
/// Sent bytes that nobody has acknowledged for so long end the connection: with what a watch is sent every 25 s, a line
/// that was cut without a word is noticed within a minute.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// How long connections have for their last words.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Opens a listener.
pub(super) fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// The line that a request came by.
#[derive(Debug)]
pub(super) struct Line {
    task: OnceLock<AbortHandle>,
    /// Whoever is at the other end has said who they are.
    known: AtomicBool,
    number: u64,
    crowd: Arc<Mutex<Crowd>>,
}

impl Line {
    /// Closes it, whatever is on its way.
    pub(super) fn hang_up(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// A station or a person is at the other end.
    pub(super) fn is_known(&self) {
        if !self.known.swap(true, Relaxed) {
            lock(&self.crowd).strangers.remove(&self.number);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut crowd = lock(&self.crowd);
        crowd.open -= 1;
        crowd.strangers.remove(&self.number);
    }
}

/// Everybody who is connected.
#[derive(Debug, Default)]
struct Crowd {
    open: usize,
    next: u64,
    /// Who has not said who they are, the oldest first.
    strangers: BTreeMap<u64, AbortHandle>,
}

fn lock(crowd: &Mutex<Crowd>) -> MutexGuard<'_, Crowd> {
    crowd.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers on `listener` until `stop` says so; then whoever is still connected has a moment for the last words. Each
/// request is answered by the router of that moment.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Tls,
    routers: watch::Receiver<Router>,
    mut stop: watch::Receiver<bool>,
) {
    let crowd = Arc::new(Mutex::new(Crowd::default()));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let places = places();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors, or a connection gone before it was taken: neither lasts.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(local) = stream.local_addr() else { continue };
        let peer = Peer { remote, local, is_tls: false };
        let mut here = lock(&crowd);
        if here.open >= places && !make_room(&mut here) && (!peer.is_here() || here.open >= places + OWN) {
            continue;
        }
        here.open += 1;
        here.next += 1;
        let number = here.next;
        let line = Line { task: OnceLock::new(), known: AtomicBool::new(false), number, crowd: Arc::clone(&crowd) };
        let line = Arc::new(line);
        let shared = (routers.clone(), stop.clone(), Arc::clone(&line));
        let task = tokio::spawn(connected(stream, peer, tls.clone(), Arc::clone(&handshakes), shared)).abort_handle();
        here.strangers.insert(number, task.clone());
        let _ = line.task.set(task);
        drop(here);
    }
    drop(listener);
    let _ = timeout(LAST_WORDS, async {
        while lock(&crowd).open > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Sends away the oldest connection of a stranger.
fn make_room(crowd: &mut Crowd) -> bool {
    let Some((_, oldest)) = crowd.strangers.pop_first() else { return false };
    oldest.abort();
    true
}

/// How many connections there may be. Where the system allows more than it was asked for, it is asked for them.
fn places() -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // Where this fails, what there was stays.
        let _ = setrlimit(Resource::Nofile, wanted);
        let allowed = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
        allowed.map_or(CONNECTIONS, |files| CONNECTIONS.min(files.saturating_sub(FILES + OWN).max(OWN)))
    }
    #[cfg(not(unix))]
    CONNECTIONS
}

fn prepare(stream: &TcpStream) {
    // An answer is small; waiting to fill a packet only delays it.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

/// What answers, what says when to end, and the line itself.
type Shared = (watch::Receiver<Router>, watch::Receiver<bool>, Arc<Line>);

async fn connected(stream: TcpStream, peer: Peer, tls: Tls, handshakes: Arc<Semaphore>, shared: Shared) {
    prepare(&stream);
    let mut first = [0];
    match timeout(HEADERS, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        _ => return,
    }
    /// The first byte of a TLS handshake; no request begins with it.
    const HANDSHAKE: u8 = 0x16;
    if first[0] != HANDSHAKE {
        return answer(stream, peer, shared).await;
    }
    // On the heap by itself: what the handshake needed is not kept for the life of a watch.
    if let Some(stream) = Box::pin(shaken(stream, tls, handshakes)).await {
        // A pointer: what is done with it moves it about, and would keep room for it each time.
        answer(Box::new(stream), Peer { is_tls: true, ..peer }, shared).await;
    }
}

/// Shakes hands, when it is their turn.
async fn shaken(stream: TcpStream, tls: Tls, handshakes: Arc<Semaphore>) -> Option<TlsStream<TcpStream>> {
    let heard = timeout(HEADERS, tls.hear(stream)).await.ok()?.ok()?;
    let turn = timeout(TURN, handshakes.acquire_owned()).await.ok()?.ok()?;
    let mut shaking = std::pin::pin!(timeout(HEADERS, heard.answer()));
    let within = timeout(OWN_TURN, shaking.as_mut()).await;
    drop(turn);
    match within {
        Ok(shaken) => shaken.ok()?.ok(),
        Err(_) => shaking.await.ok()?.ok(),
    }
}

/// Answers whatever is asked.
fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    (routers, stop, line): Shared,
) -> impl Future<Output = ()> + Send {
    endless::serve(stream, stop, HEADERS, move |mut request| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&line));
        let mut router = routers.borrow().clone();
        router.call(request.map(axum::body::Body::new))
    })
}

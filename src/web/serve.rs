//! The accept loop: connections with limits, plain on the machine itself, TLS from the network.
//!
//! The stock server of axum kept 300 of 300 half-open connections. This loop drops a connection whose headers are not in
//! within five seconds, and at its cap the oldest that has not yet sent a complete request, never the newest; those from
//! the machine itself go last, so that no crowd on the network shuts its own people out.

use super::tls::Tls;
use axum::Router;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower_service::Service as _;

/// Headers later than this are not coming; the same for a handshake.
const HEADERS: Duration = Duration::from_secs(5);
/// Connections at a time.
const CONNECTIONS: usize = 128;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The other end.
    pub remote: SocketAddr,
    /// Our end: the address that the other one has reached.
    pub local: SocketAddr,
    /// It came over TLS.
    pub is_tls: bool,
}

impl Peer {
    /// Returns whether it comes from this very machine: over loopback, or from the very address that it reached, which
    /// the system lets nobody else come from.
    pub fn is_here(&self) -> bool {
        let remote = self.remote.ip().to_canonical();
        remote.is_loopback() || remote == self.local.ip().to_canonical()
    }
}

/// Whoever has one address of a network of IPv6 has all of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        address => address,
    }
}

struct Connection {
    task: tokio::task::JoinHandle<()>,
    asked: Arc<AtomicBool>,
    is_here: bool,
}

/// Answers on `listener` for ever. Who comes from the network without TLS is told the address with it.
pub async fn serve(listener: TcpListener, router: Router, tls: Option<Tls>) {
    let mut open: VecDeque<Connection> = VecDeque::new();
    loop {
        let Ok((stream, remote)) = listener.accept().await else {
            // Out of descriptors, or a connection gone before it was taken: neither lasts.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(local) = stream.local_addr() else { continue };
        let peer = Peer { remote, local, is_tls: false };
        open.retain(|connection| !connection.task.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(connection) = worst(&open).and_then(|at| open.remove(at))
        {
            connection.task.abort();
        }
        let asked = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(connected(stream, peer, router.clone(), tls.clone(), asked.clone()));
        open.push_back(Connection { task, asked, is_here: peer.is_here() });
    }
}

/// Returns which connection goes: the oldest without a request, of the network first.
fn worst(open: &VecDeque<Connection>) -> Option<usize> {
    let rank = |connection: &Connection| (connection.is_here, connection.asked.load(Relaxed));
    open.iter().enumerate().min_by_key(|(at, connection)| (rank(connection), *at)).map(|(at, _)| at)
}

async fn connected(stream: TcpStream, peer: Peer, router: Router, tls: Option<Tls>, asked: Arc<AtomicBool>) {
    // An answer is small; waiting to fill a packet only delays it.
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    match timeout(HEADERS, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        _ => return,
    }
    /// The first byte of a TLS handshake; no request begins with it.
    const HANDSHAKE: u8 = 0x16;
    match tls {
        Some(tls) if first[0] == HANDSHAKE => {
            if let Ok(Ok(stream)) = timeout(HEADERS, tls.accept(stream)).await {
                answer(stream, Peer { is_tls: true, ..peer }, router, asked).await;
            }
        }
        _ => answer(stream, peer, router, asked).await,
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    asked: Arc<AtomicBool>,
) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        asked.store(true, Relaxed);
        request.extensions_mut().insert(peer);
        router.clone().call(request.map(axum::body::Body::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    // The other side may go whenever it likes.
    let _ = served.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_very_machine_is_here() {
        for (remote, local, here) in [
            ("127.0.0.1:9", "127.0.0.1:80", true),
            ("[::ffff:127.0.0.1]:9", "[::]:80", true),
            ("192.168.1.9:9", "192.168.1.9:80", true),
            ("[::ffff:192.168.1.9]:9", "192.168.1.9:80", true),
            ("192.168.1.20:9", "192.168.1.9:80", false),
            ("10.0.0.1:9", "127.0.0.1:80", false),
        ] {
            let peer = Peer { remote: remote.parse().unwrap(), local: local.parse().unwrap(), is_tls: false };
            assert_eq!(peer.is_here(), here, "{remote} {local}");
        }
    }

    #[tokio::test]
    async fn the_newest_and_those_of_the_machine_itself_are_never_the_first_to_go() {
        let connection = |is_here: bool, asked: bool| Connection {
            task: tokio::spawn(std::future::pending()),
            asked: Arc::new(AtomicBool::new(asked)),
            is_here,
        };
        for (open, goes) in [
            (vec![(false, true), (false, false), (false, false)], 1),
            (vec![(true, false), (false, true), (false, true)], 1),
            (vec![(true, true), (true, false), (true, false)], 1),
            (vec![(true, false), (false, false)], 1),
            (vec![(true, true), (true, true)], 0),
        ] {
            let open: VecDeque<_> = open.into_iter().map(|(is_here, asked)| connection(is_here, asked)).collect();
            assert_eq!(worst(&open), Some(goes));
        }
    }
}

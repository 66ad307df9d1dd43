//! Opens the station's page, and opens it again: the broadcast goes on without one.

use super::{Control, Handle, RETRY};
use crate::{home::Home, text::Said};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::{net::TcpListener, sync::mpsc};
use tracing::{error, warn};

/// Opens the page, however long that takes, and serves it.
pub(super) async fn open<F: Future<Output = ()> + Send + 'static>(
    listen: SocketAddr,
    mut control: Control,
    home: Home,
    handle: Handle,
    listening: mpsc::Sender<Result<Control, Said>>,
    pages: impl Fn(TcpListener, Handle, Control, Home) -> F,
) {
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => {
                control.address = from_here(listener.local_addr().unwrap_or(listen));
                tokio::spawn(write_control(control.clone(), home.clone()));
                // The daemon is gone if nobody listens any more.
                let _ = listening.send(Ok(control.clone())).await;
                let serving = pages(listener, handle.clone(), control.clone(), home.clone());
                // It serves for ever, unless it fails: then it is begun anew, and the broadcast goes on meanwhile.
                if let Err(error) = tokio::spawn(serving).await {
                    error!(%error, "the pages broke off; they are opened again in ten seconds");
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => {
                warn!(%error, "the page cannot be opened at {listen}; trying again in ten seconds");
                let fault = Said::new(
                    format!(
                        "页面地址 {listen} 打不开（{error}），播出不受影响；请关掉占用它的程序，或在 station.toml 里换一个端口"
                    ),
                    format!(
                        "the page cannot be opened at {listen} ({error}), the broadcast goes on; end the program that holds it, or choose another port in station.toml"
                    ),
                );
                let _ = listening.send(Err(fault)).await;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Returns the address at which this machine itself reaches a page that listens at `address`.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Lets the other commands find the daemon, as soon as the disk allows.
async fn write_control(control: Control, home: Home) {
    while let Err(error) = control.write(&home) {
        warn!(%error, "data/control.json cannot be written; the other commands do not find the daemon");
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_itself_reaches_a_page_for_the_network() {
        for (listens, reached) in
            [("0.0.0.0:8650", "127.0.0.1:8650"), ("[::]:80", "[::1]:80"), ("192.168.1.9:80", "192.168.1.9:80")]
        {
            assert_eq!(from_here(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}

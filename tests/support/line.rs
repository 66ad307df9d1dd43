//! A village's broadband between a station and its office: a relay of bytes that can be cut, fall silent, or crawl.
//!
//! What travels is TLS, so the line sees and changes nothing that is said; loss and reordering below TCP are the kernel's
//! to mend, and show here as what they become: waits and broken connections.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// What the line does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Bytes pass.
    Fair,
    /// Every connection is broken, and none is made.
    Cut,
    /// Connections stand and carry nothing: neither end is told.
    Silent,
    /// Bytes pass in small pieces, with a pause behind each.
    Crawling,
    /// Bytes arrive late.
    Far,
    /// Bytes arrive late; a fifth of the packets are lost, which makes all behind them wait until they were sent again; now
    /// and then that takes so long that the connection is given up.
    Lossy,
}

/// How often a relay looks at the weather.
const GLANCE: Duration = Duration::from_millis(20);
/// A piece on a crawling line.
const PIECE: usize = 512;

/// How late bytes arrive on a far line.
const DELAY: Duration = Duration::from_millis(200);
/// A packet that is lost once is sent again after so long, and twice as long after each further loss.
const RESENT: Duration = Duration::from_millis(200);
/// A packet that is lost so many times in a row ends the connection.
const GIVEN_UP: u32 = 4;

/// A line to an office.
pub struct Line {
    address: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    carried: Arc<AtomicU64>,
}

impl Line {
    /// Lays a line to `office`.
    pub fn to(office: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = Self {
            address: listener.local_addr().unwrap(),
            weather: Arc::new(Mutex::new(Weather::Fair)),
            carried: Arc::default(),
        };
        let (weather, carried) = (Arc::clone(&line.weather), Arc::clone(&line.carried));
        thread::spawn(move || {
            for station in listener.incoming().flatten() {
                let (weather, carried) = (Arc::clone(&weather), Arc::clone(&carried));
                thread::spawn(move || connected(station, office, weather, carried));
            }
        });
        line
    }

    /// Where the station finds it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, for open connections too.
    pub fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// How many bytes have passed.
    pub fn carried(&self) -> u64 {
        self.carried.load(Relaxed)
    }
}

fn connected(station: TcpStream, office: SocketAddr, weather: Arc<Mutex<Weather>>, carried: Arc<AtomicU64>) {
    if *weather.lock().unwrap() == Weather::Cut {
        return;
    }
    let Ok(office) = TcpStream::connect(office) else { return };
    let ends = [(&station, &office), (&office, &station)];
    thread::scope(|both| {
        for (from, to) in ends {
            let (weather, carried) = (&weather, &carried);
            both.spawn(move || relay(from, to, weather, carried));
        }
    });
}

/// How often in a row a packet is lost, each time with one chance in five.
fn losses(packet: u64) -> u32 {
    let mut dice = super::wave::mix(packet);
    let mut lost = 0;
    while lost < GIVEN_UP && dice.is_multiple_of(5) {
        dice /= 5;
        lost += 1;
    }
    lost
}

/// Carries bytes one way until either end is gone or the line is cut; then it breaks both ways.
fn relay(mut from: &TcpStream, mut to: &TcpStream, weather: &Mutex<Weather>, carried: &AtomicU64) {
    from.set_read_timeout(Some(GLANCE)).unwrap();
    let mut bytes = [0; 16 << 10];
    loop {
        let now = *weather.lock().unwrap();
        match now {
            Weather::Cut => break,
            Weather::Silent => {
                thread::sleep(GLANCE);
                continue;
            }
            Weather::Fair | Weather::Crawling | Weather::Far | Weather::Lossy => {}
        }
        let piece = if now == Weather::Crawling { PIECE } else { bytes.len() };
        match from.read(&mut bytes[..piece]) {
            Ok(0) => break,
            Ok(read) => {
                if matches!(now, Weather::Far | Weather::Lossy) {
                    thread::sleep(DELAY);
                }
                let lost = if now == Weather::Lossy { losses(carried.load(Relaxed)) } else { 0 };
                if lost == GIVEN_UP {
                    break;
                }
                thread::sleep(RESENT * ((1 << lost) - 1));
                // What it swallows now comes later, or never.
                while *weather.lock().unwrap() == Weather::Silent {
                    thread::sleep(GLANCE);
                }
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
                carried.fetch_add(read as u64, Relaxed);
                if now == Weather::Crawling {
                    thread::sleep(GLANCE);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // Gone already, or told now.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

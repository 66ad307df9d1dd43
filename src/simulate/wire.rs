//! The line of a light station: raw HTTP/1.1 over TLS, so that ten thousand of them fit into one process.
//!
//! One connection holds the watch. Another is opened when there is something to ask, serves what is asked meanwhile, and is
//! closed a second after the last answer: so a fleet holds little more than one connection a station, and each costs the
//! office a full handshake, as a real station does.
//!
//! Whatever certificate the office shows is believed: a fleet has nothing to lose. Not here: what is asked and when
//! ([`crate::link::station`]).

use crate::{
    clock,
    link::{
        BlobId, StationId,
        journal::{Acked, Batch, Turned},
        protocol::{Enrol, Enrolled, Envelopes, SignIn, WatchEvent, enrol_text, sign_in_text},
        shell::{Events, tls},
        station::{Answer, Call, Event, Held, RequestId},
        time::Nonce,
    },
    text::hex,
};
use ed25519_dalek::{Signer as _, SigningKey};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, client::Resumption, pki_types::ServerName},
};

/// A connection that takes longer is not coming.
const CONNECTING: Duration = Duration::from_secs(20);
/// An answer that takes longer is not coming.
const ANSWERING: Duration = Duration::from_secs(55);
/// A watch that says nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// A connection on which nothing is asked for so long is closed.
const IDLE: Duration = Duration::from_secs(1);
/// The largest answer.
const LARGEST: usize = 12 << 20;
/// The longest event of a watch.
const LONGEST_EVENT: usize = 512 << 10;
/// hyper's smallest buffer.
const BUFFER: usize = 8 << 10;
/// A body shorter than this is not worth packing.
const PACKED: usize = 1 << 10;
/// As many connections may be open beside the watches, in the whole fleet.
const ASKING: usize = 4_000;

/// Why a request came to nothing. Reads on from "the office did not answer: ".
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The address is not one of an office.
    #[error("`{0}` 不是镇中心的地址；要像 https://192.168.1.10:8660 这样写")]
    Address(String),
    /// No connection, or it broke off.
    #[error("连不上，或中途断开；请检查地址和网络")]
    Io(#[from] io::Error),
    /// The connection broke off.
    #[error("连接中途断开")]
    Broken(#[from] hyper::Error),
    /// No encrypted connection can be made.
    #[error("加密连接不能使用")]
    Tls(#[from] rustls::Error),
    /// Nothing came in time.
    #[error("等了太久")]
    Silent(#[from] tokio::time::error::Elapsed),
    /// It asks to be asked later.
    #[error("它请过一会再来")]
    Later(Option<Duration>),
    /// It refused.
    #[error("它拒绝了（{0}）：{1}")]
    Refused(StatusCode, String),
    /// It said something that makes no sense here.
    #[error("它的回答读不懂")]
    Unreadable,
}

/// The way to the office, shared by the whole fleet.
pub(super) struct Road {
    authority: String,
    address: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
    asking: Arc<Semaphore>,
}

impl Road {
    /// Finds the office at `https://host:port`.
    pub(super) async fn to(office: &str) -> Result<Self, WireError> {
        let bad = || WireError::Address(office.to_owned());
        let uri: Uri = office.trim_end_matches('/').parse().map_err(|_| bad())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(bad)?;
        let (host, port) = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(443));
        let address = tokio::net::lookup_host((host, port)).await?.next().ok_or_else(bad)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
        let mut config = tls::config(None, Default::default())?;
        // Each station is a machine of its own, which has no ticket of another.
        config.resumption = Resumption::disabled();
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { authority: authority.to_string(), address, name, tls, asking: Arc::new(Semaphore::new(ASKING)) })
    }

    async fn open(&self, permit: Option<OwnedSemaphorePermit>) -> Result<Connection, WireError> {
        let opening = async {
            let socket = TcpStream::connect(self.address).await?;
            socket.set_nodelay(true)?;
            let stream = self.tls.connect(self.name.clone(), socket).await?;
            let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream));
            let (send, connection) = handshake.await?;
            let driver = tokio::spawn(async move { drop(connection.await) });
            Ok(Connection { send, driver, used: 0, _permit: permit })
        };
        timeout(CONNECTING, opening).await?
    }

    fn request(&self, method: &Method, path: &str, token: Option<&str>, body: &Body) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.bytes.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if body.packed {
            request = request.header(CONTENT_ENCODING, "zstd");
        }
        request.body(Full::new(body.bytes.clone())).expect("method, path and headers are made here")
    }
}

/// What goes up with a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Body {
    bytes: Bytes,
    packed: bool,
}

impl Body {
    fn json(value: &impl serde::Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("the bodies of the protocol can be written as JSON");
        Self { bytes: bytes.into(), packed: false }
    }

    /// Packs it where that is worth it.
    fn packed(self) -> Self {
        match zstd::bulk::compress(&self.bytes, 3) {
            Ok(packed) if self.bytes.len() >= PACKED => Self { bytes: packed.into(), packed: true },
            _ => self,
        }
    }
}

/// An open connection. It is closed when it is dropped.
#[derive(Debug)]
struct Connection {
    send: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    /// Counts what was asked on it.
    used: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, WireError> {
        self.used += 1;
        self.send.ready().await?;
        Ok(self.send.send_request(request).await?)
    }
}

/// What came down the line for a station, and when.
#[derive(Debug)]
pub(super) struct Came {
    /// Which station.
    pub(super) station: usize,
    /// Which run of it.
    pub(super) life: u32,
    /// By the wall clock, as it was read from the connection.
    pub(super) at: Timestamp,
    /// What.
    pub(super) event: Heard,
}

/// Something that came down the line.
#[derive(Debug)]
pub(super) enum Heard {
    /// For the link.
    Link(Event),
    /// The office has taken the station in.
    Enrolled(Box<Enrolled>),
    /// It has not, or not yet.
    NotEnrolled(String),
}

/// Who asks, and where the answers go.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) road: Arc<Road>,
    pub(super) me: Arc<Me>,
    pub(super) index: usize,
    pub(super) life: u32,
    pub(super) came: mpsc::Sender<Came>,
}

/// What a station is known by, and its connection for what it asks.
pub(super) struct Me {
    pub(super) station: StationId,
    pub(super) key: SigningKey,
    token: Mutex<Option<String>>,
    connection: Mutex<Option<Connection>>,
}

impl Me {
    pub(super) fn new(station: StationId, key: SigningKey) -> Self {
        Self { station, key, token: Mutex::default(), connection: Mutex::default() }
    }
}

#[derive(Deserialize)]
struct Hello {
    nonce: Nonce,
    office: BlobId,
}

#[derive(Deserialize)]
struct Session {
    token: String,
}

impl Caller {
    async fn tell(&self, event: Heard) {
        let came = Came { station: self.index, life: self.life, at: clock::wall(), event };
        // Nobody listens any more once the fleet ends.
        let _ = self.came.send(came).await;
    }

    /// Asks to be taken in, and tells what came of it.
    pub(super) async fn enrol(self, code: String, name: String) {
        let key = hex(self.me.key.verifying_key().as_bytes());
        let text = enrol_text(&code, &self.me.station, &key);
        let signature = hex(&self.me.key.sign(text.as_bytes()).to_bytes());
        let body = Body::json(&Enrol { code, station: self.me.station.clone(), name, key, signature });
        let enrolled = self.once(&Method::POST, "/v1/enrol", None, &body).await;
        let heard = match enrolled.and_then(|bytes| read::<Enrolled>(&bytes)) {
            Ok(enrolled) => Heard::Enrolled(Box::new(enrolled)),
            Err(error) => Heard::NotEnrolled(error.to_string()),
        };
        self.tell(heard).await;
        self.close_idle().await;
    }

    /// Carries out what the link asks for, and tells the answer.
    pub(super) async fn carry(self, id: RequestId, call: Call, batch: Option<Batch>) {
        let answer = match self.answer(id, &call, batch).await {
            Ok(answer) => answer,
            Err(WireError::Later(after)) => Answer::Later(after),
            Err(_) => Answer::Failed,
        };
        self.tell(Heard::Link(Event::Answered(id, answer))).await;
        if !matches!(call, Call::Watch { .. }) {
            self.close_idle().await;
        }
    }

    async fn answer(&self, id: RequestId, call: &Call, batch: Option<Batch>) -> Result<Answer, WireError> {
        let nothing = Body::default();
        match call {
            Call::Watch { root, nonce, wait } => {
                let mut path = format!("/v1/watch?root={root}&nonce={}", nonce.as_str());
                if let Some(wait) = wait {
                    path += &format!("&wait={wait}");
                    let said: Vec<WatchEvent> = read(&self.send(&Method::GET, &path, &nothing).await?)?;
                    self.tell(Heard::Link(Event::Opened(id))).await;
                    for event in said {
                        self.tell(Heard::Link(Event::Watched(id, event))).await;
                    }
                    return Ok(Answer::Done);
                }
                self.watch(id, &path).await
            }
            Call::Trust { from } => self.envelopes(&format!("/v1/trust?from={from}")).await,
            Call::Desired => self.envelopes("/v1/desired").await,
            Call::Time { nonce } => self.envelopes(&format!("/v1/time?nonce={}", nonce.as_str())).await,
            Call::Blob { blob, bytes, .. } => self.blob(blob, *bytes).await,
            Call::Report(reported) => {
                self.send(&Method::PUT, "/v1/reported", &Body::json(reported)).await?;
                Ok(Answer::Done)
            }
            Call::Status(status) => {
                let path = format!("/v1/commands/{}/status", status.command);
                self.send(&Method::POST, &path, &Body::json(status)).await?;
                Ok(Answer::Done)
            }
            Call::Journal { .. } => {
                let batch = batch.ok_or(WireError::Unreadable)?;
                match self.send(&Method::POST, "/v1/journal", &Body::json(&batch).packed()).await {
                    Ok(bytes) => Ok(Answer::Acked(read::<Acked>(&bytes)?)),
                    Err(WireError::Refused(StatusCode::CONFLICT, said)) => {
                        Ok(Answer::Turned(read::<Turned>(said.as_bytes())?))
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn envelopes(&self, path: &str) -> Result<Answer, WireError> {
        Ok(Answer::Envelopes(read::<Envelopes>(&self.send(&Method::GET, path, &Body::default()).await?)?))
    }

    /// A light station keeps no sound: it holds what comes against the hash, and counts it as here.
    async fn blob(&self, blob: &BlobId, bytes: u64) -> Result<Answer, WireError> {
        let came = self.send(&Method::GET, &format!("/v1/blobs/{blob}"), &Body::default()).await?;
        let digest = hex(&Sha256::digest(&came));
        let whole = came.len() as u64 == bytes && digest == blob.to_string();
        Ok(Answer::Blob(if whole { Held::Whole } else { Held::Part(0) }))
    }

    /// Asks under the office's word for the station; where it does not know that any more, signs in and asks once more.
    async fn send(&self, method: &Method, path: &str, body: &Body) -> Result<Bytes, WireError> {
        for last in [false, true] {
            let token = self.sign_in().await?;
            match self.once(method, path, Some(&token), body).await {
                Err(WireError::Refused(StatusCode::UNAUTHORIZED, _)) if !last => {
                    self.me.token.lock().await.take_if(|known| *known == token);
                }
                answer => return answer,
            }
        }
        Err(WireError::Unreadable)
    }

    async fn sign_in(&self) -> Result<String, WireError> {
        let mut known = self.me.token.lock().await;
        if let Some(token) = &*known {
            return Ok(token.clone());
        }
        let hello: Hello = read(&self.once(&Method::GET, "/v1/hello", None, &Body::default()).await?)?;
        let text = sign_in_text(&self.me.station, &hello.nonce, &hello.office);
        let signature = hex(&self.me.key.sign(text.as_bytes()).to_bytes());
        let body = Body::json(&SignIn { station: self.me.station.clone(), nonce: hello.nonce, signature });
        let session: Session = read(&self.once(&Method::POST, "/v1/session", None, &body).await?)?;
        *known = Some(session.token.clone());
        Ok(session.token)
    }

    /// Asks once, on the connection that is open or on another.
    async fn once(&self, method: &Method, path: &str, token: Option<&str>, body: &Body) -> Result<Bytes, WireError> {
        let request = || self.road.request(method, path, token, body);
        let mut slot = self.me.connection.lock().await;
        let asking = async {
            let mut connection = match slot.take().filter(|open| !open.send.is_closed()) {
                Some(open) => open,
                None => {
                    let permit = Arc::clone(&self.road.asking).acquire_owned().await.ok();
                    self.road.open(permit).await?
                }
            };
            let answer = whole(connection.ask(request()).await?).await;
            if !matches!(answer, Err(WireError::Io(_) | WireError::Broken(_) | WireError::Unreadable)) {
                *slot = Some(connection);
            }
            answer
        };
        timeout(ANSWERING, asking).await?
    }

    /// Closes the connection once nothing was asked on it for a while.
    async fn close_idle(&self) {
        let used = self.me.connection.lock().await.as_ref().map(|open| open.used);
        let Some(used) = used else { return };
        sleep(IDLE).await;
        self.me.connection.lock().await.take_if(|open| open.used == used);
    }

    /// Holds a watch until it ends.
    async fn watch(&self, id: RequestId, path: &str) -> Result<Answer, WireError> {
        let token = self.sign_in().await?;
        let mut connection = self.road.open(None).await?;
        let mut request = self.road.request(&Method::GET, path, Some(&token), &Body::default());
        request.headers_mut().insert(ACCEPT, hyper::header::HeaderValue::from_static("text/event-stream"));
        let response = timeout(SILENCE, connection.ask(request)).await??;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.me.token.lock().await.take_if(|known| *known == token);
        }
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        self.tell(Heard::Link(Event::Opened(id))).await;
        let mut body = response.into_body();
        let mut events = Events::new(LONGEST_EVENT);
        while let Some(frame) = timeout(SILENCE, body.frame()).await? {
            let Ok(bytes) = frame?.into_data() else { continue };
            let mut said = Vec::new();
            let fed = events.feed(&bytes, |data| said.push(serde_json::from_slice::<WatchEvent>(data)));
            fed.map_err(|_| WireError::Unreadable)?;
            for event in said {
                self.tell(Heard::Link(Event::Watched(id, event.map_err(|_| WireError::Unreadable)?))).await;
            }
        }
        Ok(Answer::Done)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(|_| WireError::Unreadable)
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, WireError> {
    if !response.status().is_success() {
        return Err(refused(response).await);
    }
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        if bytes.len() + piece.len() > LARGEST {
            return Err(WireError::Unreadable);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

async fn refused(response: Response<Incoming>) -> WireError {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
    let said = response.into_body().collect().await.map(|said| said.to_bytes()).unwrap_or_default();
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => {
            WireError::Later(after.map(Duration::from_secs))
        }
        status => WireError::Refused(status, String::from_utf8_lossy(&said).into_owned()),
    }
}

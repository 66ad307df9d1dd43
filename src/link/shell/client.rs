//! The office over HTTPS: one [`Call`] in, one [`Answer`] out.
//!
//! A station signs in by signing a number that the office drew, and is known from then on by a word that the office gave it;
//! when the office does not know the word any more, the station signs in again. Nothing is believed here: what comes is
//! handed on as it came.
//!
//! Not here: when to ask, and what an answer means ([`crate::link::station`]).

use super::super::{
    BlobId, StationId,
    journal::{Acked, Batch, Turned},
    protocol::{Enrol, Enrolled, Envelopes, SignIn, WatchEvent, enrol_text, sign_in_text},
    station::{Answer, Call, Event, Held, RequestId},
    time::Nonce,
};
use super::{
    events::{Events, TooLong},
    files::Files,
    tls::{self, Pin, Seen},
};
use crate::{journal::read::Reader, text::hex};
use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// A connection that takes longer is not coming.
const CONNECTING: Duration = Duration::from_secs(20);
/// An answer that takes longer is not coming; the link waits no longer either.
const ANSWERING: Duration = Duration::from_secs(55);
/// A transfer of a sound that takes longer is ended; the rest is asked for anew.
const TRANSFER: Duration = Duration::from_secs(45);
/// A stream that says nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest answer: the plans of two offices and as much again.
const LONGEST: usize = 12 << 20;
/// The longest event of a watch: a command, as text inside text.
const LONGEST_EVENT: usize = 512 << 10;
/// A body shorter than this is not worth packing.
const PACKED: usize = 1 << 10;
/// No office asks to be left alone for longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// Why a call came to nothing. Reads on from "镇中心没有应答：".
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It asks to be asked later.
    #[error("它请本站过一会再来")]
    Later(Option<Duration>),
    /// No connection, or it broke.
    #[error("连不上，或中途断开；请检查网络和地址")]
    Broken(#[source] reqwest::Error),
    /// Nothing came in time.
    #[error("等了太久；请检查网络")]
    Silent,
    /// It refused.
    #[error("它拒绝了（{status}）：{}", sentence(said))]
    Refused {
        /// As in HTTP.
        status: StatusCode,
        /// What it said, if anything.
        said: String,
    },
    /// What came is not what was asked for.
    #[error("它的回答读不懂；地址可能不是镇中心的，或它的程序太旧")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something here went wrong.
    #[error("本站的文件不能读写；请检查磁盘空间和权限")]
    Here(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No encrypted connection can be made at all.
    #[error("加密连接不能使用")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

impl CallError {
    /// The same in English. Reads on from "the office did not answer as it should: ".
    pub fn en(&self) -> String {
        match self {
            Self::Later(_) => "it asks to be asked later".into(),
            Self::Broken(_) => "no connection, or it broke; check the network and the address".into(),
            Self::Silent => "nothing came in time; check the network".into(),
            Self::Refused { status, said } => format!("it refused ({status}): {}", sentence(said)),
            Self::Unreadable(_) => {
                "what it said makes no sense here; the address may be another's, or its program too old".into()
            }
            Self::Here(_) => "the station's files cannot be used; check disk space and permissions".into(),
            Self::Tls(_) => "no encrypted connection can be made".into(),
        }
    }
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::Silent } else { Self::Broken(error) }
    }
}

impl From<TooLong> for CallError {
    fn from(error: TooLong) -> Self {
        Self::Unreadable(error.into())
    }
}

/// Returns the sentence in what an office said when it refused.
fn sentence(said: &str) -> String {
    let error =
        serde_json::from_str::<serde_json::Value>(said).ok().and_then(|said| Some(said["error"].as_str()?.to_owned()));
    let sentence = error.unwrap_or_else(|| said.trim().to_owned());
    if sentence.is_empty() { "没有说明原因".into() } else { sentence.chars().take(200).collect() }
}

fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CallError {
    CallError::Unreadable(error.into())
}

fn here(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CallError {
    CallError::Here(error.into())
}

/// Why an address cannot be an office's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("地址要以 https:// 开头，例如 https://192.168.1.10:8660")]
pub struct NoOffice;

/// Returns an address as it is remembered: `https://…`, without a slash at its end.
pub fn address(text: &str) -> Result<String, NoOffice> {
    let text = text.trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&text).map_err(|_| NoOffice)?;
    let is_plain = url.scheme() == "https"
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if is_plain { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(NoOffice) }
}

/// A way to an office.
fn connection(pin: Option<Pin>, seen: Seen) -> Result<reqwest::Client, CallError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(pin, seen)?)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECTING)
        .pool_max_idle_per_host(2)
        .user_agent(concat!("dalaba/", env!("CARGO_PKG_VERSION")));
    Ok(client.build()?)
}

/// Asks an office to take the station in, or whether it has; returns what it answered and the key of its certificate.
pub(super) async fn enrol(
    office: &str,
    pin: Option<Pin>,
    key: &SigningKey,
    (code, station, name): (&str, &StationId, &str),
) -> Result<(Enrolled, Pin), CallError> {
    let seen = Seen::default();
    let client = connection(pin, Arc::clone(&seen))?;
    let public = hex(key.verifying_key().as_bytes());
    let text = enrol_text(code, station, &public);
    let body = Enrol {
        code: code.to_owned(),
        station: station.clone(),
        name: name.to_owned(),
        key: public,
        signature: hex(&key.sign(text.as_bytes()).to_bytes()),
    };
    let request = client.post(format!("{office}/v1/enrol")).timeout(ANSWERING);
    let enrolled = read(with_json(request, &body)?.send().await?).await?;
    let pin = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok((enrolled, pin.ok_or(CallError::Silent)?))
}

/// What the office says to whoever knocks.
#[derive(Deserialize)]
struct Hello {
    nonce: Nonce,
}

#[derive(Deserialize)]
struct Session {
    token: String,
}

/// A station that speaks to its office.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    office: String,
    station: StationId,
    key: SigningKey,
    /// The sha256 of a root that the station believes: it signs in to this office and to no other.
    root: BlobId,
    files: Files,
    journal: PathBuf,
    /// The word by which the office knows the station.
    token: Mutex<Option<String>>,
    /// Held while signing in, so that one does it for all.
    signing: tokio::sync::Mutex<()>,
}

impl Client {
    pub(super) fn new(
        (office, pin, root): (&str, Option<Pin>, BlobId),
        station: StationId,
        key: SigningKey,
        files: Files,
        journal: PathBuf,
    ) -> Result<Self, CallError> {
        let http = connection(pin, Seen::default())?;
        let office = office.to_owned();
        let (token, signing) = Default::default();
        Ok(Self { http, office, station, key, root, files, journal, token, signing })
    }

    /// Carries out a call. What comes down a watch goes to `events` under `id`.
    pub(super) async fn carry(
        &self,
        id: RequestId,
        call: Call,
        events: &mpsc::Sender<Event>,
    ) -> Result<Answer, CallError> {
        match call {
            Call::Watch { root, nonce, wait } => {
                let mut path = format!("/v1/watch?root={root}&nonce={}", nonce.as_str());
                if let Some(wait) = wait {
                    path += &format!("&wait={wait}");
                    return self.poll(id, &path, events).await;
                }
                self.watch(id, &path, events).await
            }
            Call::Trust { from } => self.envelopes(&format!("/v1/trust?from={from}")).await,
            Call::Desired => self.envelopes("/v1/desired").await,
            Call::Time { nonce } => self.envelopes(&format!("/v1/time?nonce={}", nonce.as_str())).await,
            Call::Blob { blob, bytes, .. } => self.blob(&blob, bytes).await.map(Answer::Blob),
            Call::Report(report) => {
                self.send(|| with_json(self.request(Method::PUT, "/v1/reported"), &*report)).await?;
                Ok(Answer::Done)
            }
            Call::Status(status) => {
                let path = format!("/v1/commands/{}/status", status.command);
                self.send(|| with_json(self.request(Method::POST, &path), &status)).await?;
                Ok(Answer::Done)
            }
            Call::Journal { epoch, after, newest } => self.journal(&epoch, after, newest).await,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.office)).timeout(ANSWERING)
    }

    /// Sends a request under the office's word for the station; where it does not know that any more, signs in and sends it
    /// once more.
    async fn send(&self, request: impl Fn() -> Result<RequestBuilder, CallError>) -> Result<Response, CallError> {
        for last in [false, true] {
            let token = self.sign_in().await?;
            let response = request()?.bearer_auth(&token).send().await?;
            if response.status() == StatusCode::UNAUTHORIZED && !last {
                let mut known = self.token.lock().unwrap_or_else(PoisonError::into_inner);
                known.take_if(|known| *known == token);
                continue;
            }
            return accepted(response).await;
        }
        unreachable!("the second time is the last")
    }

    async fn sign_in(&self) -> Result<String, CallError> {
        let known = || self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let _signing = self.signing.lock().await;
        if let Some(token) = known() {
            return Ok(token);
        }
        let hello: Hello = read(self.request(Method::GET, "/v1/hello").send().await?).await?;
        if !hello.nonce.is_sound() {
            return Err(unreadable("no nonce"));
        }
        let text = sign_in_text(&self.station, &hello.nonce, &self.root);
        let signature = hex(&self.key.sign(text.as_bytes()).to_bytes());
        let sign_in = SignIn { station: self.station.clone(), nonce: hello.nonce, signature };
        let request = with_json(self.request(Method::POST, "/v1/session"), &sign_in)?;
        let Session { token } = read(request.send().await?).await?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    async fn envelopes(&self, path: &str) -> Result<Answer, CallError> {
        let response = self.send(|| Ok(self.request(Method::GET, path).header(ACCEPT, "application/json"))).await?;
        Ok(Answer::Envelopes(json::<Envelopes>(response).await?))
    }

    /// Holds a watch until it ends.
    async fn watch(&self, id: RequestId, path: &str, events: &mpsc::Sender<Event>) -> Result<Answer, CallError> {
        // It ends when nothing comes for a minute, however long it lasts.
        let request = || {
            let request = self.http.get(format!("{}{path}", self.office)).header(ACCEPT, "text/event-stream");
            Ok(request.timeout(Duration::MAX))
        };
        let mut response = timeout(SILENCE, self.send(request)).await.map_err(|_| CallError::Silent)??;
        let mut tell = Teller { id, events };
        tell.say(Event::Opened(id)).await?;
        let mut stream = Events::new(LONGEST_EVENT);
        loop {
            let Some(bytes) = timeout(SILENCE, response.chunk()).await.map_err(|_| CallError::Silent)?? else {
                return Ok(Answer::Done);
            };
            let mut said = Vec::new();
            stream.feed(&bytes, |data| said.push(serde_json::from_slice::<WatchEvent>(data)))?;
            for event in said {
                tell.watched(event.map_err(unreadable)?).await?;
            }
        }
    }

    /// Asks once what there is, and waits for it.
    async fn poll(&self, id: RequestId, path: &str, events: &mpsc::Sender<Event>) -> Result<Answer, CallError> {
        let response = self.send(|| Ok(self.request(Method::GET, path).header(ACCEPT, "application/json"))).await?;
        let mut tell = Teller { id, events };
        tell.say(Event::Opened(id)).await?;
        for event in json::<Vec<WatchEvent>>(response).await? {
            tell.watched(event).await?;
        }
        Ok(Answer::Done)
    }

    /// Fetches what is missing of a sound, or as much of it as comes in time.
    async fn blob(&self, blob: &BlobId, bytes: u64) -> Result<Held, CallError> {
        let from = match self.files.look(blob, bytes) {
            Held::Whole => return Ok(Held::Whole),
            Held::Part(from) => from,
        };
        let request = || {
            let request = self.http.get(format!("{}/v1/blobs/{blob}", self.office)).timeout(TRANSFER);
            Ok(if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request })
        };
        let mut response = match self.send(request).await {
            // What is here is more than what is there, or of something else.
            Err(CallError::Refused { status: StatusCode::RANGE_NOT_SATISFIABLE, .. }) => {
                self.files.open_part(blob, 0).map_err(here)?;
                return Ok(Held::Part(0));
            }
            response => response?,
        };
        let begins = match response.status() {
            StatusCode::PARTIAL_CONTENT => range_start(&response).ok_or_else(|| unreadable("no range"))?,
            _ => 0,
        };
        if begins > from {
            return Err(unreadable("a range that was not asked for"));
        }
        let mut file = self.files.open_part(blob, begins).map_err(here)?;
        let mut length = begins;
        // Whatever ends the transfer, what came counts.
        while let Ok(Some(piece)) = response.chunk().await {
            length += piece.len() as u64;
            if length > bytes {
                break;
            }
            // A few kilobytes into the system's memory: not worth another thread.
            file.write_all(&piece).map_err(here)?;
        }
        drop(file);
        if length < bytes {
            return Ok(Held::Part(length));
        }
        let (files, blob) = (self.files.clone(), *blob);
        let finished = tokio::task::spawn_blocking(move || match length > bytes {
            true => files.open_part(&blob, 0).map(|_| Held::Part(0)),
            false => files.finish(&blob, bytes),
        });
        finished.await.map_err(here)?.map_err(here)
    }

    /// Sends the rows behind `after` up to `newest`, as many as fit.
    async fn journal(&self, epoch: &str, after: i64, newest: i64) -> Result<Answer, CallError> {
        let most = usize::try_from(newest - after).unwrap_or(0).min(super::super::journal::MOST_ROWS);
        let mut reader = Reader::open(&self.journal).await.map_err(here)?;
        let Some((prev, lines)) = reader.behind(epoch, after, most).await.map_err(here)? else {
            return Err(here("the journal is another one by now"));
        };
        drop(reader);
        let Some(batch) = Batch::of(epoch, after + 1, &prev, &lines, &self.key) else {
            return Err(here("there are no such rows"));
        };
        let body = serde_json::to_vec(&batch).map_err(here)?;
        let packed = (body.len() >= PACKED).then(|| zstd::bulk::compress(&body, 3)).transpose().map_err(here)?;
        let request = || {
            let request = self.request(Method::POST, "/v1/journal").header(CONTENT_TYPE, "application/json");
            Ok(match &packed {
                Some(packed) => request.header(CONTENT_ENCODING, "zstd").body(packed.clone()),
                None => request.body(body.clone()),
            })
        };
        match self.send(request).await {
            Ok(response) => Ok(Answer::Acked(json::<Acked>(response).await?)),
            Err(CallError::Refused { status: StatusCode::CONFLICT, said }) => {
                let turned = serde_json::from_str::<Turned>(&said).map_err(unreadable)?;
                Ok(Answer::Turned(turned))
            }
            Err(error) => Err(error),
        }
    }
}

/// Tells the link what comes down a watch.
struct Teller<'a> {
    id: RequestId,
    events: &'a mpsc::Sender<Event>,
}

impl Teller<'_> {
    async fn watched(&mut self, event: WatchEvent) -> Result<(), CallError> {
        self.say(Event::Watched(self.id, event)).await
    }

    async fn say(&mut self, event: Event) -> Result<(), CallError> {
        self.events.send(event).await.map_err(|_| here("nobody listens any more"))
    }
}

fn with_json(request: RequestBuilder, body: &impl serde::Serialize) -> Result<RequestBuilder, CallError> {
    let body = serde_json::to_vec(body).map_err(here)?;
    Ok(request
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .header(ACCEPT_LANGUAGE, "zh-CN")
        .body(body))
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, CallError> {
    json(accepted(response).await?).await
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, CallError> {
    let bytes = body(response, LONGEST).await?;
    serde_json::from_slice(&bytes).map_err(unreadable)
}

async fn body(mut response: Response, longest: usize) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if bytes.len() + piece.len() > longest {
            return Err(unreadable("longer than an answer may be"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Returns the answer where it is one.
async fn accepted(response: Response) -> Result<Response, CallError> {
    let status = response.status();
    match status {
        status if status.is_success() => Ok(response),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => {
            let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
            Err(CallError::Later(after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE))))
        }
        status => {
            let said = body(response, 4 << 10).await.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            Err(CallError::Refused { status, said: said.unwrap_or_default() })
        }
    }
}

/// Returns where a range begins: `bytes 5-9/10` begins at 5.
fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes")?;
    range.trim_start().split('-').next()?.parse().ok()
}

/// What a call came to, as the link hears of it.
pub(super) fn answer(result: Result<Answer, CallError>) -> Answer {
    match result {
        Ok(answer) => answer,
        Err(CallError::Later(after)) => Answer::Later(after),
        Err(_) => Answer::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_https() {
        for (typed, expected) in [
            ("https://office.example:8660/", Some("https://office.example:8660")),
            (" 192.168.1.10:8660 ", Some("https://192.168.1.10:8660")),
            ("https://a.example/county/", Some("https://a.example/county")),
            ("http://office.example", None),
            ("ftp://office.example", None),
            ("https://user:word@office.example", None),
            ("https://office.example/?a=b", None),
            ("", None),
        ] {
            assert_eq!(address(typed).ok().as_deref(), expected, "{typed}");
        }
    }
}

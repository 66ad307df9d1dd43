//! Asks the running daemon over loopback, with the token of `data/control.json`.

use crate::{daemon::Control, home::Home};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

/// A daemon that answers later than this hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const ANSWER: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("站点没有运行；请先执行 dalaba run")]
    NotRunning,
    #[error("站点没有及时回答")]
    Silent,
    #[error("与站点的通信中断")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Refused(String),
}

/// Sends `body` (or asks, without one) and returns the answer.
pub(super) async fn ask(home: &Home, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
    ask_within(PATIENCE, home, path, body).await
}

/// The same for what takes longer, as a word with somebody else.
pub(super) async fn ask_within(
    patience: Duration,
    home: &Home,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    let control = Control::read(home).map_err(|_| ClientError::NotRunning)?;
    timeout(patience, exchange(&control, path, body)).await.map_err(|_| ClientError::Silent)?
}

async fn exchange(control: &Control, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
    let stream = TcpStream::connect(control.address).await.map_err(|_| ClientError::NotRunning)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(if body.is_some() { "POST" } else { "GET" })
        .uri(path)
        .header(header::HOST, control.address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {}", control.token))
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default())))
        .map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), ANSWER).collect().await.map_err(ClientError::Broken)?.to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&bytes).map_err(broken);
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err(ClientError::NotRunning);
    }
    let said = serde_json::from_slice::<Value>(&bytes).ok().and_then(|value| Some(value["error"].as_str()?.to_owned()));
    Err(ClientError::Refused(said.unwrap_or_else(|| String::from_utf8_lossy(&bytes).trim().to_owned())))
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Broken(error.into())
}

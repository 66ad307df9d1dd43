//! `POST /v1/journal`: rows on their way, packed by zstd or not.
//!
//! A body is read when it is its turn, so that what waits takes no memory, and unpacked as far as a batch may be long and
//! no further: whatever a few bytes claim to become, nothing larger is ever held.

use super::{super::Office, Refusal, read};
use crate::{
    link::journal::{Acked, Batch, MOST_BYTES},
    office::{intake::IntakeError, watches::Member},
};
use axum::body::Bytes;
use axum::{
    Json,
    extract::{Extension, FromRequest as _, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{io::Read as _, sync::Arc, time::Duration};

/// The largest body as it comes.
pub(super) const PACKED: usize = 1 << 20;
/// The largest batch: its lines as texts of JSON, where each quotation mark is written as two characters.
const UNPACKED: usize = 3 * MOST_BYTES;
/// zstd may look back this far, as a power of two: it takes so much memory.
const WINDOW: u32 = 21;
/// How long a batch waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a body is no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unpacked {
    TooLong,
    Broken,
}

/// Returns what was packed, if it is no longer than a batch may be.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, Unpacked> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| Unpacked::Broken)?;
    decoder.window_log_max(WINDOW).map_err(|_| Unpacked::Broken)?;
    let mut bytes = Vec::new();
    decoder.take(UNPACKED as u64 + 1).read_to_end(&mut bytes).map_err(|_| Unpacked::Broken)?;
    if bytes.len() > UNPACKED { Err(Unpacked::TooLong) } else { Ok(bytes) }
}

pub(super) async fn journal(
    State(office): State<Office>,
    Extension(member): Extension<Arc<Member>>,
    request: Request,
) -> Result<Response, Refusal> {
    let is_packed = match encoding(request.headers()) {
        "" | "identity" => false,
        "zstd" => true,
        _ => {
            let said = "只支持 zstd 压缩 only zstd is unpacked here";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, said));
        }
    };
    let turn = tokio::time::timeout(PATIENCE, office.bodies.clone().acquire_owned()).await;
    let _turn = turn.ok().and_then(Result::ok).ok_or_else(Refusal::busy)?;
    let body = Bytes::from_request(request, &()).await;
    let body = body.map_err(|refused| Refusal::new(refused.status(), refused.body_text()))?;
    let batch = tokio::task::spawn_blocking(move || batch(&body, is_packed)).await;
    let batch = batch.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    match office.intake.take(&member.place.station, &member.key, batch).await {
        Ok(Acked { epoch, acked }) => Ok(Json(Acked { epoch, acked }).into_response()),
        Err(IntakeError::Turned(turned)) => Ok((StatusCode::CONFLICT, Json(turned)).into_response()),
        Err(error) => Err(error.into()),
    }
}

fn encoding(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"))
}

fn batch(body: &[u8], is_packed: bool) -> Result<Batch, Refusal> {
    let too_long = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "一批记录太长 a batch is too long");
    if !is_packed {
        return if body.len() > UNPACKED { Err(too_long()) } else { read(body) };
    }
    match unpack(body) {
        Ok(bytes) => read(&bytes),
        Err(Unpacked::TooLong) => Err(too_long()),
        Err(Unpacked::Broken) => Err(Refusal::bad("压缩内容读不出 what was packed cannot be unpacked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_unpacked_further_than_a_batch_is_long() {
        for (bytes, expected) in [(0, Ok(0)), (UNPACKED, Ok(UNPACKED)), (UNPACKED + 1, Err(Unpacked::TooLong))] {
            let packed = zstd::bulk::compress(&vec![b' '; bytes], 3).unwrap();
            assert_eq!(unpack(&packed).map(|bytes| bytes.len()), expected);
        }
        // A gigabyte in a few dozen kilobytes.
        let mut bomb = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..1024 {
            std::io::Write::write_all(&mut bomb, &[0; 1 << 20]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < PACKED, "{}", bomb.len());
        assert_eq!(unpack(&bomb), Err(Unpacked::TooLong));
        for broken in [&b"{}"[..], &[0x28, 0xb5, 0x2f, 0xfd], &bomb[..100]] {
            assert!(unpack(broken).is_err() || unpack(broken).unwrap().is_empty(), "{broken:?}");
        }
    }
}

//! `GET /v1/blobs/{sha256}`: sounds, whole or from where a transfer broke off. What a name stands for never changes, so
//! anybody in between may keep it.

use super::{super::Office, Refusal};
use crate::{link::BlobId, office::blobs::BlobError};
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{ops::Range, time::Duration};
use tokio_stream::StreamExt as _;

/// Transfers at a time; more have to wait for their turn.
pub(in crate::office) const TRANSFERS: usize = 256;
/// How long one transfer may last; what is missing is asked for again.
const LONGEST: Duration = Duration::from_secs(600);

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        if matches!(error, BlobError::NotHere) {
            return Self::new(StatusCode::NOT_FOUND, "没有这个音频 there is no such sound");
        }
        tracing::error!(error = &error as &dyn std::error::Error, "a sound cannot be sent");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).later()
    }
}

/// What part of a sound is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Whole,
    Some(Range<u64>),
    /// It begins behind the end.
    None,
}

impl Part {
    /// Reads the header of a request for something of `length` bytes. Several ranges at once, and what is no range, are
    /// answered by the whole, as the standard allows.
    fn of(headers: &HeaderMap, length: u64) -> Self {
        let Some(asked) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else { return Self::Whole };
        let Some((first, last)) = asked.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Self::Whole;
        };
        let number = |text: &str| text.trim().parse::<u64>();
        let (start, end) = match (first.trim(), last.trim()) {
            ("", last) => match number(last) {
                Ok(last) => (length.saturating_sub(last), length),
                Err(_) => return Self::Whole,
            },
            (first, "") => match number(first) {
                Ok(first) => (first, length),
                Err(_) => return Self::Whole,
            },
            (first, last) => match (number(first), number(last)) {
                (Ok(first), Ok(last)) if first <= last => (first, length.min(last.saturating_add(1))),
                _ => return Self::Whole,
            },
        };
        if start < end { Self::Some(start..end) } else { Self::None }
    }
}

pub(super) async fn blob(
    State(office): State<Office>,
    method: Method,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let nothing = || Refusal::from(BlobError::NotHere);
    let blob = BlobId::try_from(name).map_err(|_| nothing())?;
    let turn = office.transfers.clone().try_acquire_owned().map_err(|_| Refusal::busy())?;
    let length = office.blobs.len(&blob).await?.ok_or_else(nothing)?;
    let (status, range) = match Part::of(&headers, length) {
        Part::Whole => (StatusCode::OK, 0..length),
        Part::Some(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::None => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
    };
    let mut response = status.into_response();
    let about = response.headers_mut();
    about.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let said = match status {
        StatusCode::PARTIAL_CONTENT => Some(format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1))),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{length}")),
        _ => None,
    };
    if let Some(said) = said.and_then(|said| HeaderValue::try_from(said).ok()) {
        about.insert(header::CONTENT_RANGE, said);
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(response);
    }
    about.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    about.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    about.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    if let Ok(tag) = HeaderValue::try_from(format!("\"{blob}\"")) {
        about.insert(header::ETAG, tag);
    }
    if method == Method::HEAD {
        return Ok(response);
    }
    let pieces = office.blobs.range(&blob, range).await?;
    let deadline = tokio::time::Instant::now() + LONGEST;
    // The turn ends with the transfer.
    let pieces = pieces.take_while(move |_| {
        let _turn = &turn;
        tokio::time::Instant::now() < deadline
    });
    *response.body_mut() = Body::from_stream(pieces);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_the_standard_says() {
        for (asked, expected) in [
            ("", Part::Whole),
            ("bytes=0-", Part::Some(0..10)),
            ("bytes=4-", Part::Some(4..10)),
            ("bytes=4-6", Part::Some(4..7)),
            ("bytes=4-99", Part::Some(4..10)),
            ("bytes=-3", Part::Some(7..10)),
            ("bytes=-99", Part::Some(0..10)),
            ("bytes=10-", Part::None),
            ("bytes=-0", Part::None),
            ("bytes=99999999999999999999-", Part::Whole),
            ("bytes=0-18446744073709551615", Part::Some(0..10)),
            ("bytes=6-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=x-", Part::Whole),
            ("lines=0-1", Part::Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(asked));
            assert_eq!(Part::of(&headers, 10), expected, "{asked}");
        }
        assert_eq!(Part::of(&HeaderMap::new(), 0), Part::Whole);
    }
}

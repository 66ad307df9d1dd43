//! What the demuxer does not tell of a container: where an MP4's sound begins and ends, whether an MP3 states its
//! length, whether an Ogg file was cut off.
//!
//! Reads a bounded number of small pieces; whatever does not look right is not there.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

fn piece(mut source: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    source.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The part of an MP4's decoded sound that is meant to be heard, in frames of the track's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    /// Encoder delay.
    pub skip: u64,
    /// Without the padding at the end; none where the file does not say.
    pub length: Option<u64>,
}

/// Returns the edit of the first sound track, at `rate`; none where the file has none.
pub(super) fn edit(source: &File, rate: u32) -> Option<Edit> {
    let length = source.metadata().ok()?.len();
    let mut budget = 4096;
    let moov = boxes(source, 0..length, &mut budget).into_iter().find(|part| &part.kind == b"moov")?;
    let inside = boxes(source, moov.body.clone(), &mut budget);
    let movie_scale = inside.iter().find(|part| &part.kind == b"mvhd").and_then(|mvhd| timescale(source, mvhd))?;
    for track in inside.iter().filter(|part| &part.kind == b"trak") {
        let parts = boxes(source, track.body.clone(), &mut budget);
        let Some(media) = parts.iter().find(|part| &part.kind == b"mdia") else { continue };
        let media = boxes(source, media.body.clone(), &mut budget);
        let sound =
            media.iter().find(|part| &part.kind == b"hdlr").and_then(|hdlr| piece(source, hdlr.body.start, 12).ok());
        if sound.as_ref().and_then(|hdlr| hdlr.get(8..12)) != Some(b"soun") {
            continue;
        }
        let scale = media.iter().find(|part| &part.kind == b"mdhd").and_then(|mdhd| timescale(source, mdhd))?;
        let edits = parts.iter().find(|part| &part.kind == b"edts")?;
        let list = boxes(source, edits.body.clone(), &mut budget).into_iter().find(|part| &part.kind == b"elst")?;
        let list = piece(source, list.body.start, 4096).ok()?;
        return first_edit(&list, rate, scale, movie_scale);
    }
    None
}

/// Reads an `elst`: the first entry that is no empty edit.
fn first_edit(list: &[u8], rate: u32, scale: u32, movie_scale: u32) -> Option<Edit> {
    let wide = *list.first()? == 1;
    let count = u32_at(list, 4)?.min(64) as usize;
    let size = if wide { 20 } else { 12 };
    for entry in (0..count).map(|i| 8 + i * size) {
        let (length, start) = if wide {
            (u64_at(list, entry)?, u64_at(list, entry + 8)?.cast_signed())
        } else {
            (u64::from(u32_at(list, entry)?), i64::from(u32_at(list, entry + 4)?.cast_signed()))
        };
        let Ok(start) = u64::try_from(start) else { continue };
        let to_rate =
            |value: u64, scale: u32| u64::try_from(u128::from(value) * u128::from(rate) / u128::from(scale)).ok();
        let length = to_rate(length, movie_scale)?;
        return Some(Edit { skip: to_rate(start, scale)?, length: (length > 0).then_some(length) });
    }
    None
}

/// One box of an MP4.
struct Part {
    kind: [u8; 4],
    body: std::ops::Range<u64>,
}

/// Returns the boxes in `within`, as far as they fit into it and `budget` lasts.
fn boxes(source: &File, within: std::ops::Range<u64>, budget: &mut u32) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = within.start;
    while at + 8 <= within.end && *budget > 0 {
        *budget -= 1;
        let Ok(head) = piece(source, at, 16) else { break };
        let (Some(size), Some(kind)) = (u32_at(&head, 0), head.get(4..8).and_then(|kind| kind.try_into().ok())) else {
            break;
        };
        let (start, size) = match size {
            0 => (8, within.end - at),
            1 => match u64_at(&head, 8) {
                Some(size) => (16, size),
                None => break,
            },
            size => (8, u64::from(size)),
        };
        let Some(end) = at.checked_add(size).filter(|end| size >= start && *end <= within.end) else { break };
        parts.push(Part { kind, body: at + start..end });
        at = end;
    }
    parts
}

/// Reads the time scale of an `mvhd` or `mdhd`.
fn timescale(source: &File, part: &Part) -> Option<u32> {
    let head = piece(source, part.body.start, 32).ok()?;
    let at = if *head.first()? == 1 { 20 } else { 12 };
    u32_at(&head, at).filter(|scale| *scale > 0)
}

/// Returns whether an MP3 states its length in its first frame; where it does not, a length is a guess from its size.
pub(super) fn mp3_states_its_length(source: &File) -> bool {
    let stated = || -> io::Result<bool> {
        let mut at = 0;
        // Tags in front, one after the other.
        for _ in 0..8 {
            let head = piece(source, at, 10)?;
            if !head.starts_with(b"ID3") || head.len() < 10 {
                break;
            }
            let size = head[6..10].iter().fold(0u64, |size, byte| size << 7 | u64::from(byte & 0x7f));
            at += 10 + size + if head[5] & 0x10 != 0 { 10 } else { 0 };
        }
        let first = piece(source, at, 4096)?;
        Ok(first.windows(4).any(|word| matches!(word, b"Xing" | b"Info" | b"VBRI")))
    };
    stated().unwrap_or(false)
}

/// Returns whether an Ogg file ends in the middle of a page.
pub(super) fn ogg_is_cut(source: &File) -> bool {
    let cut = || -> Option<bool> {
        let length = source.metadata().ok()?.len();
        // A page has at most 65,307 bytes.
        let from = length.saturating_sub(66_000);
        let tail = piece(source, from, 66_000).ok()?;
        let page = tail.windows(4).rposition(|word| word == b"OggS")?;
        let head = &tail[page..];
        let Some(&segments) = head.get(26) else { return Some(true) };
        let Some(table) = head.get(27..27 + usize::from(segments)) else { return Some(true) };
        let size = 27 + table.len() + table.iter().map(|size| usize::from(*size)).sum::<usize>();
        Some(size > head.len())
    };
    cut().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_list_says_where_the_sound_begins() {
        let list = |entries: &[(u32, i32)]| {
            let mut bytes = vec![0, 0, 0, 0];
            bytes.extend((entries.len() as u32).to_be_bytes());
            for (length, start) in entries {
                bytes.extend(length.to_be_bytes());
                bytes.extend(start.to_be_bytes());
                bytes.extend([0, 1, 0, 0]);
            }
            bytes
        };
        let edit = |skip, length| Some(Edit { skip, length });
        for (bytes, expected) in [
            (list(&[(10_000, 1024)]), edit(1024, Some(441_000))),
            (list(&[(500, -1), (10_000, 2112)]), edit(2112, Some(441_000))),
            (list(&[(0, 1024)]), edit(1024, None)),
            (list(&[]), None),
            (vec![0; 5], None),
            (vec![0, 0, 0, 0, 255, 255, 255, 255], None),
        ] {
            assert_eq!(first_edit(&bytes, 44_100, 44_100, 1000), expected, "{bytes:?}");
        }
    }
}

//! Kinds of file that people take for sound, or that are sound nobody here decodes: told from their first bytes, never
//! from their name.

use super::{Refused, unreadable};
use crate::text::Said;
use std::{
    fs::File,
    io::{Read, Seek},
};

/// Refuses what is known not to be decodable, by name and with the remedy; leaves everything else to the probe.
pub(super) fn refuse_known(source: &mut File) -> Result<(), Refused> {
    let mut head = Vec::with_capacity(512);
    source.by_ref().take(512).read_to_end(&mut head).map_err(|error| unreadable(&error))?;
    source.rewind().map_err(|error| unreadable(&error))?;
    judge(&head)
}

fn judge(head: &[u8]) -> Result<(), Refused> {
    let unsupported: &[(&[u8], &str, &str)] = &[
        (b"#!AMR", "手机录音的 AMR 格式", "the AMR format of telephones"),
        (b"#!SILK", "微信语音的 SILK 格式", "the SILK format of WeChat"),
        (b"\x02#!SILK", "微信语音的 SILK 格式", "the SILK format of WeChat"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", " WMA/WMV 格式", "the WMA/WMV format"),
        (b"\x1a\x45\xdf\xa3", " MKV/WebM 格式", "the MKV/WebM format"),
        (b"MAC ", " APE 格式", "the APE format"),
        (b"wvpk", " WavPack 格式", "the WavPack format"),
        (b"caff", " CAF 格式", "the CAF format"),
        (b".RMF", " RealMedia 格式", "the RealMedia format"),
        (b"FLV", " FLV 视频格式", "FLV video"),
        (b"DSD ", " DSD 格式", "the DSD format"),
        (b"MThd", " MIDI 格式（其中只有乐谱，没有录音）", "MIDI, which holds notes and no recording,"),
        (b"CTENFDAM", "加密的网易云音乐下载文件", "an encrypted download of NetEase Music"),
    ];
    let not_audio: &[(&[u8], &str, &str)] = &[
        (b"PK\x03\x04", "压缩包或 Office 文档", "an archive or an Office document"),
        (b"Rar!", "压缩包", "an archive"),
        (b"7z\xbc\xaf", "压缩包", "an archive"),
        (b"\x1f\x8b", "压缩包", "an archive"),
        (b"%PDF", " PDF 文档", "a PDF document"),
        (b"\xff\xd8\xff", "图片", "a picture"),
        (b"\x89PNG", "图片", "a picture"),
        (b"GIF8", "图片", "a picture"),
        (b"MZ", " Windows 程序", "a Windows program"),
        (b"\x7fELF", "程序", "a program"),
        (b"SQLite format 3", "数据库", "a database"),
        (b"\xd0\xcf\x11\xe0", " Office 文档", "an Office document"),
    ];
    if let Some((_, zh, en)) = unsupported.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(Refused::Unsupported { what: Said::new(*zh, *en) });
    }
    if let Some((_, zh, en)) = not_audio.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(Refused::NotAudio { what: Said::new(*zh, *en) });
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"AVI ") {
        return Err(Refused::Unsupported { what: Said::new(" AVI 视频格式", "AVI video") });
    }
    if let Some((zh, en)) = wave_codec(head) {
        return Err(Refused::Unsupported { what: Said::new(zh, en) });
    }
    if let Some(text) = text(head) {
        let text = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
        let web = ["<!doctype", "<html", "<head", "<?xml", "<!--", "<script"];
        let (zh, en) = if web.iter().any(|start| text.starts_with(start)) {
            ("网页（下载时没有取到真正的音频）", "a web page that was saved in place of the sound")
        } else if text.starts_with("#extm3u") || text.starts_with("[playlist]") {
            ("播放列表", "a playlist")
        } else {
            ("文本文件", "a text file")
        };
        return Err(Refused::NotAudio { what: Said::new(zh, en) });
    }
    Ok(())
}

/// Returns the codec of a WAV that holds neither plain samples nor one of the simple codes; none of any other file.
fn wave_codec(head: &[u8]) -> Option<(&'static str, &'static str)> {
    if !head.starts_with(b"RIFF") || head.get(8..16) != Some(b"WAVEfmt ") {
        return None;
    }
    match u16::from_le_bytes(head.get(20..22)?.try_into().ok()?) {
        // Whole numbers, ADPCM of two kinds, floats, A-law, µ-law, and what says it further on.
        1..=3 | 6 | 7 | 0x11 | 0xfffe => None,
        0x50 | 0x55 => Some(("装在 WAV 里的 MP3 编码", "MP3 inside WAV")),
        _ => Some(("这个 WAV 文件里的音频编码", "the coding inside this WAV file")),
    }
}

/// Returns the first bytes as text if they can be nothing else: UTF-8 up to a character cut at the end, and no control
/// characters. A few bytes prove nothing.
fn text(head: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let plain = !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    (plain && text.len() >= 8).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sound_is_called_by_its_name() {
        for (head, word) in [
            (&b"<!DOCTYPE html><html>"[..], "网页"),
            (b"\xef\xbb\xbf  <HTML><body>", "网页"),
            (b"#EXTM3U\nhttp://radio", "播放列表"),
            ("村委会通知：明天停水".as_bytes(), "文本"),
            (b"#!AMR\n\x3c\x00", "AMR"),
            (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "WMA"),
            (b"PK\x03\x04\x14\x00", "压缩包"),
            (b"RIFF\x00\x00\x00\x00AVI LIST", "AVI"),
            (b"RIFF\x00\x00\x00\x00WAVEfmt \x1e\0\0\0\x55\0\x01\0", "MP3"),
            (b"RIFF\x00\x00\x00\x00WAVEfmt \x12\0\0\0\x61\x01\x02\0", "WAV"),
        ] {
            let said = judge(head).expect_err("known").to_string();
            assert!(said.contains(word), "{said} lacks {word}");
        }
    }

    #[test]
    fn what_may_be_sound_is_left_to_the_probe() {
        for head in [
            &b"RIFF\x24\x00\x00\x00WAVEfmt "[..],
            b"RIFF\x24\x00\x00\x00WAVEfmt \x10\0\0\0\x01\0\x02\0",
            b"ID3\x04\x00\x00\x00\x00\x00\x00",
            b"fLaC\x00\x00\x00\x22",
            b"OggS\x00\x02",
            b"\xff\xfb\x90\x64\x00",
        ] {
            assert_eq!(judge(head), Ok(()), "{head:?}");
        }
    }
}

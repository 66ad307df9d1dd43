//! The child `dalaba ingest-child`: a hostile file in, a prepared clip or a sentence out.
//!
//! A sound file can abort the process that decodes it, so it is decoded in a child of its own: [`child_main`] binds
//! itself ([`limits`]), decodes ([`decode`]), measures ([`loudness`]) and prepares ([`prepare`]). [`run_child`] is the
//! other end: it starts the child, bounds its time and turns any death of it into a [`Refused`].
//!
//! Always true: whatever the file holds, [`run_child`] returns, within seconds for a file that is no sound, and what it
//! says is a [`Prepared`] or a sentence a clerk can act on.
//!
//! Not here: which files there are and what is remembered of them ([`crate::library`]).

mod container;
mod decode;
mod flac;
mod limits;
mod loudness;
mod parent;
mod prepare;
mod sniff;

pub use parent::run_child;

use crate::text::Said;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

/// The hidden subcommand: `dalaba ingest-child FILE [--out FLAC]`.
pub const CHILD_COMMAND: &str = "ingest-child";

/// The longest clip, in seconds.
pub const LONGEST_SECONDS: u64 = 2 * 60 * 60;

/// The biggest file, in bytes.
pub const BIGGEST_BYTES: u64 = 200 * 1000 * 1000;

/// What import learned of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// From the file's tags; its stem where they say nothing.
    pub title: String,
    /// Of the file's bytes, lower-case hex.
    pub sha256: String,
    /// What a player would show: silence at the ends included, encoder delay left out.
    pub duration_ms: u64,
    /// Of the prepared sound, at 48 kHz: silence at the ends left out.
    pub frames: u64,
    /// EBU R128 integrated loudness of the channels as they are; none for less than 400 ms.
    pub loudness_lufs: Option<f64>,
    /// The highest true peak of any channel.
    pub true_peak_dbtp: f64,
    /// Loudness of the one channel that is played: what the gain is reckoned from.
    pub mix_lufs: Option<f64>,
    /// True peak of the one channel that is played; reckoned from its samples where there are several channels.
    pub mix_dbtp: f64,
    /// Short, lower-case: `mp3`.
    pub codec: String,
}

/// The highest true peak a clip is brought to.
const CEILING_DBTP: f64 = -1.0;

/// How far above its loudness the peak of speech lies: places a clip too short for a reading of loudness.
const CREST_DB: f64 = 10.0;

impl Prepared {
    /// Returns the factor that brings the prepared sound to `target_lufs`, kept under −1 dBTP.
    pub fn gain(&self, target_lufs: f64) -> f32 {
        let wanted = match self.mix_lufs {
            Some(loudness) => target_lufs - loudness,
            None => target_lufs + CREST_DB - self.mix_dbtp,
        };
        let decibels = wanted.min(CEILING_DBTP - self.mix_dbtp);
        if decibels.is_finite() { 10f64.powf(decibels / 20.0) as f32 } else { 1.0 }
    }
}

/// Why a file is no clip. Reads on from "`name`：".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each message says it")]
pub enum Refused {
    #[error("读不到这个文件（{why}）；请检查文件是否存在、是否有读取权限")]
    Unreadable { why: String },
    #[error("这不是普通文件；请选择一个音频文件")]
    NotAFile,
    #[error("文件是空的；请重新复制或重新录制")]
    Empty,
    #[error("文件有 {megabytes} MB，超过 200 MB 的上限；请转成 MP3 或剪短后再导入")]
    TooBig { megabytes: u64 },
    #[error("音频长 {minutes} 分钟，超过 2 小时的上限；请剪短后再导入")]
    TooLong { minutes: u64 },
    #[error("音频超过 2 小时的上限；请剪短后再导入")]
    Endless,
    #[error("这是{}，不是音频；请换成 MP3、WAV、FLAC、M4A 或 OGG 文件", what.zh)]
    NotAudio { what: Said },
    #[error("认不出这种文件，它可能不是音频；请换成 MP3、WAV、FLAC、M4A 或 OGG 文件")]
    Unknown,
    #[error("暂不支持{}；请用格式工厂等软件转成 MP3 或 WAV 后再导入", what.zh)]
    Unsupported { what: Said },
    #[error("文件不完整：应有 {promised_seconds} 秒，只读到 {heard_seconds} 秒；请重新复制这个文件")]
    Truncated { promised_seconds: u64, heard_seconds: u64 },
    #[error("文件不完整，末尾缺了一段；请重新复制这个文件")]
    CutOff,
    #[error("文件已损坏，读不出完整的声音；请重新复制，或用播放软件另存为 MP3 或 WAV")]
    Corrupt,
    #[error("整段没有声音；请检查录音，或换一个文件")]
    Silent,
    #[error("左右声道互相抵消，合成单声道后没有声音；请另存为单声道再导入")]
    Cancels,
    #[error("存不下处理好的音频（{why}）；请检查磁盘空间和 data 文件夹的权限")]
    NoRoom { why: String },
    #[error("解码这个文件所需的内存超过限制，文件可能已损坏；请用播放软件另存为 MP3 或 WAV 后再导入")]
    TooHungry,
    #[error("解码这个文件用时过长，已中止；请用播放软件另存为 MP3 或 WAV 后再导入")]
    TooSlow,
    #[error("解码这个文件时解码程序意外退出（{how}），文件可能已损坏；请用播放软件另存为 MP3 或 WAV 后再导入")]
    Died { how: String },
    #[error("无法启动解码程序（{why}）；请重新启动本程序，若仍不行请重装")]
    NoChild { why: String },
}

impl Refused {
    /// Returns the sentence in both languages.
    pub fn said(&self) -> Said {
        Said::new(self.to_string(), self.english())
    }

    fn english(&self) -> String {
        match self {
            Self::Unreadable { why } => format!("the file cannot be read ({why}); see that it exists and may be read"),
            Self::NotAFile => "this is no ordinary file; choose a sound file".into(),
            Self::Empty => "the file is empty; copy or record it again".into(),
            Self::TooBig { megabytes } => {
                format!("the file has {megabytes} MB, 200 MB is the limit; convert it to MP3 or shorten it")
            }
            Self::TooLong { minutes } => format!("the sound lasts {minutes} minutes, 2 hours is the limit; shorten it"),
            Self::Endless => "the sound is longer than the limit of 2 hours; shorten it".into(),
            Self::NotAudio { what } => {
                format!("this is {}, not sound; take an MP3, WAV, FLAC, M4A or OGG file", what.en)
            }
            Self::Unknown => "nobody knows this kind of file; take an MP3, WAV, FLAC, M4A or OGG file".into(),
            Self::Unsupported { what } => format!("{} cannot be played; convert it to MP3 or WAV", what.en),
            Self::Truncated { promised_seconds, heard_seconds } => format!(
                "the file is not whole: {promised_seconds} seconds are promised, {heard_seconds} are there; copy it again"
            ),
            Self::CutOff => "the file is not whole, its end is missing; copy it again".into(),
            Self::Corrupt => "the file is damaged; copy it again, or save it anew as MP3 or WAV".into(),
            Self::Silent => "there is no sound in it; check the recording, or take another file".into(),
            Self::Cancels => "left and right cancel each other out; save it as one channel".into(),
            Self::NoRoom { why } => {
                format!("the prepared sound cannot be stored ({why}); check the disk and the rights of data")
            }
            Self::TooHungry => {
                "decoding takes more memory than allowed, it may be damaged; save it anew as MP3 or WAV".into()
            }
            Self::TooSlow => "decoding took too long; save it anew as MP3 or WAV".into(),
            Self::Died { how } => {
                format!("the decoder died of it ({how}), it may be damaged; save it anew as MP3 or WAV")
            }
            Self::NoChild { why } => {
                format!("the decoder cannot be started ({why}); start the program again, or install it anew")
            }
        }
    }

    /// Returns whether the same bytes are refused again whatever the machine does: only then is the verdict kept.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Unreadable { .. } | Self::NoRoom { .. } | Self::NoChild { .. } | Self::TooSlow)
    }
}

/// Sound of a rate or with a number of channels that nobody records.
fn strange(rate: u32, channels: u32) -> Refused {
    let (zh, en) =
        (format!("采样率 {rate} Hz、{channels} 声道的音频"), format!("sound of {rate} Hz in {channels} channels"));
    Refused::Unsupported { what: Said::new(zh, en) }
}

/// The child's last line on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Prepared(Prepared),
    Refused(Refused),
}

/// The child's first line, once the first sound is decoded: the file is what it says it is.
const DECODING: &str = "decoding";

/// Carries out `ingest-child FILE [--out FLAC]`; `args` are what follows the subcommand. Returns the exit code.
pub fn child_main(args: &[OsString]) -> i32 {
    let (file, out) = match args {
        [file] => (Path::new(file), None),
        [file, flag, out] if flag == "--out" => (Path::new(file), Some(PathBuf::from(out))),
        _ => return 2,
    };
    limits::apply();
    let verdict = match ingest(file, out.as_deref(), &mut || say(DECODING)) {
        Ok(prepared) => Verdict::Prepared(prepared),
        Err(refused) => Verdict::Refused(refused),
    };
    let refused = matches!(verdict, Verdict::Refused(_));
    say(&serde_json::to_string(&verdict).expect("a verdict has string keys and no failing parts"));
    i32::from(refused)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may be gone; then nobody is left to tell.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Decodes, measures and prepares `file`; with `out`, writes the prepared sound there. `decoding` is called once, when
/// the first sound is decoded.
fn ingest(file: &Path, out: Option<&Path>, decoding: &mut dyn FnMut()) -> Result<Prepared, Refused> {
    let mut source = open(file)?;
    sniff::refuse_known(&mut source)?;
    let writer = out.map(create).transpose()?;
    let mut preparation = prepare::Preparation::new(writer);
    let mut started = false;
    let decoded = decode::decode(&source, &mut |rate, channels, samples| {
        if !started {
            started = true;
            decoding();
        }
        preparation.push(rate, channels, samples)
    })?;
    let sound = preparation.finish()?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Prepared {
        title: decoded.title.as_deref().and_then(clean).or_else(|| clean(&stem)).unwrap_or_else(|| "未命名".into()),
        sha256: hash(&mut source)?,
        duration_ms: decoded.frames * 1000 / u64::from(decoded.rate.max(1)),
        frames: sound.frames,
        loudness_lufs: sound.channels.lufs,
        true_peak_dbtp: sound.channels.dbtp,
        mix_lufs: sound.mix.lufs,
        mix_dbtp: sound.mix.dbtp,
        codec: decoded.codec,
    })
}

fn unreadable(error: &std::io::Error) -> Refused {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "文件不存在".into(),
        std::io::ErrorKind::PermissionDenied => "没有权限".into(),
        _ => error.to_string(),
    };
    Refused::Unreadable { why }
}

/// Opens a file of bearable size. Asks first what it is: to open a pipe would wait for its other end.
fn open(file: &Path) -> Result<File, Refused> {
    let about = std::fs::metadata(file).map_err(|error| unreadable(&error))?;
    if !about.is_file() {
        return Err(Refused::NotAFile);
    }
    match about.len() {
        0 => return Err(Refused::Empty),
        bytes if bytes > BIGGEST_BYTES => return Err(Refused::TooBig { megabytes: bytes.div_ceil(1_000_000) }),
        _ => {}
    }
    File::open(file).map_err(|error| unreadable(&error))
}

fn create(out: &Path) -> Result<File, Refused> {
    let no_room = |error: std::io::Error| Refused::NoRoom { why: error.to_string() };
    OpenOptions::new().write(true).create_new(true).open(out).map_err(no_room)
}

/// Returns the hash of all bytes, however the demuxer jumped about in them.
fn hash(source: &mut File) -> Result<String, Refused> {
    source.rewind().map_err(|error| unreadable(&error))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match source.read(&mut buffer).map_err(|error| unreadable(&error))? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(crate::text::hex(&hasher.finalize()))
}

/// The longest title, in characters.
const LONGEST_TITLE: usize = 200;

/// Returns a title fit for a page and a line of the journal; none if nothing visible is left.
fn clean(title: &str) -> Option<String> {
    let title = &unmangled(title);
    let turns_text = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept: String = title.chars().filter(|c| !c.is_control() && !turns_text(*c) && *c != '\u{feff}').collect();
    let short: String = kept.trim().chars().take(LONGEST_TITLE).collect();
    (!short.is_empty()).then_some(short)
}

/// Returns the text of a tag whose UTF-8 was read byte by byte.
fn unmangled(title: &str) -> String {
    let bytes: Option<Vec<u8>> = title.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| title.to_owned())
}

#[cfg(test)]
mod tests;

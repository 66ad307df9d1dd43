//! `GET /settings/backup`: everything of a station that cannot be made anew, as one .zip that any computer opens:
//! `station.toml`, `schedules/`, `audio/`, the people, the key, the journal. It is streamed as it is packed.
//!
//! Not here: reading one back ([`super::restore`]).

use super::Panel;
use crate::{
    disk::PIECE,
    journal::{JournalError, read::Reader},
    web::{Asked, Problem},
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// The names of the parts of `data/` in an archive.
pub(super) const PEOPLE: &str = "data/people.json";
pub(super) const KEY: &str = "data/station.key";
pub(super) const JOURNAL: &str = "data/journal.db";

/// Packed at a time before it is sent.
const CHUNK: usize = 64 * 1024;

/// One file on its way into the archive.
struct Member {
    name: String,
    file: PathBuf,
    /// Text shrinks; sounds are packed already.
    is_text: bool,
}

/// `GET /settings/backup`
pub(in crate::panel) async fn backup(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let failed = |why: String| {
        Problem::failed(asked.pick(
            format!("备份没有做成：{why}；请检查磁盘空间"),
            format!("There is no backup: {why}; check the free space of the disk."),
        ))
    };
    let copy = copy_journal(&seen.journal, &panel.home.data()).await.map_err(|error| failed(error.to_string()))?;
    let members = members(&panel, &seen.program.clips.local().map(|(path, _)| path.to_string()).collect::<Vec<_>>());
    let (send, receive) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let mut sender = Sender { send, full: Vec::with_capacity(CHUNK) };
        if let Err(error) = pack(&mut sender, &members, copy.as_ref().map(NamedTempFile::path)) {
            tracing::warn!(%error, "a backup broke off");
            // A download that breaks off is seen to be none. Who asked may be gone.
            let _ = sender.send.blocking_send(Err(error));
        }
    });
    tracing::info!(operator = asked.name(), "a backup is made");
    let day = seen.now.to_zoned_datetime(seen.zone.clone()).strftime("%Y%m%d").to_string();
    let name = format!("attachment; filename=\"dalaba-{}-{day}.zip\"", seen.config.id);
    let headers = [(header::CONTENT_TYPE, "application/zip".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(ReceiverStream::new(receive))).into_response())
}

/// Copies the journal as it is at one moment. None where there is none yet.
async fn copy_journal(journal: &Path, data: &Path) -> Result<Option<NamedTempFile>, JournalError> {
    if !journal.exists() {
        return Ok(None);
    }
    // The library sweeps pieces out of this folder at each start.
    let ready = data.join("ready");
    fs::create_dir_all(&ready)?;
    let copy = tempfile::Builder::new().prefix(PIECE).tempfile_in(ready)?;
    Reader::open(journal).await?.copy_to(copy.path()).await?;
    Ok(Some(copy))
}

/// Returns what belongs into a backup beside the journal.
fn members(panel: &Panel, clips: &[String]) -> Vec<Member> {
    let home = &panel.home.dir;
    let (texts, _) = panel.home.read();
    let texts = texts.station.iter().map(|_| crate::config::FILE.to_owned());
    let (read, _) = panel.home.read();
    let texts = texts.chain(read.schedules.into_keys()).chain(read.calendar.into_keys());
    let texts = texts.chain(["audio/clips.toml".to_owned(), PEOPLE.to_owned(), KEY.to_owned()]);
    let texts = texts.map(|name| (name, true));
    let clips = clips.iter().map(|path| (format!("audio/{path}"), false));
    texts.chain(clips).map(|(name, is_text)| Member { file: home.join(&name), name, is_text }).collect()
}

fn pack(to: &mut Sender, members: &[Member], journal: Option<&Path>) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(to);
    for member in members {
        let mut file = match File::open(&member.file) {
            Ok(file) => file,
            // It was removed meanwhile, or never was.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let method = if member.is_text { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        zip.start_file(member.name.as_str(), SimpleFileOptions::default().compression_method(method))?;
        io::copy(&mut file, &mut zip)?;
    }
    if let Some(journal) = journal {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
        zip.start_file(JOURNAL, options)?;
        io::copy(&mut File::open(journal)?, &mut zip)?;
    }
    zip.finish()?.into_inner().flush()
}

/// Sends what is written to it, a chunk at a time.
struct Sender {
    send: mpsc::Sender<io::Result<Bytes>>,
    full: Vec<u8>,
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.full.extend_from_slice(bytes);
        if self.full.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.full.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.full, Vec::with_capacity(CHUNK));
        self.send.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

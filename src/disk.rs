//! Files that are whole or not there at all, whenever the power fails.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

/// How the name of a file begins that is not whole yet; what an interrupted run left behind can be swept by it.
pub const PIECE: &str = ".part-";

/// Writes a file so that a power cut leaves the old one or the new one, never a part. Only its owner can read it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut piece = tempfile::Builder::new().prefix(PIECE).tempfile_in(dir)?;
    piece.write_all(bytes)?;
    piece.as_file().sync_all()?;
    piece.persist(path).map_err(|error| error.error)?;
    sync_folder(path)
}

/// Makes the name of `file` durable where that takes a step of its own.
pub fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) if cfg!(unix) => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

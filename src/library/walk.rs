//! Which files of `audio/` are taken for clips.

use super::cache::Stamp;
use crate::{
    link::BlobId,
    schedule::{ClipPath, Finding, Severity},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Folders in folders, at most.
const DEEPEST: usize = 8;

/// Files beyond this number are left out.
const MOST: usize = 20_000;

/// What lies beside clips and is none: notes, pictures, half downloads.
const NO_CLIPS: &[&str] = &[
    "toml",
    "md",
    "txt",
    "py",
    "sh",
    "bat",
    "ps1",
    "json",
    "csv",
    "xml",
    "htm",
    "html",
    "lrc",
    "srt",
    "m3u",
    "m3u8",
    "cue",
    "jpg",
    "jpeg",
    "png",
    "gif",
    "bmp",
    "webp",
    "pdf",
    "doc",
    "docx",
    "xls",
    "xlsx",
    "ppt",
    "pptx",
    "zip",
    "rar",
    "7z",
    "lnk",
    "url",
    "ini",
    "db",
    "tmp",
    "temp",
    "part",
    "partial",
    "crdownload",
    "download",
    "td",
    "bak",
    "swp",
];

/// Returns the files in byte order of path, and a finding for each that cannot be named.
pub(super) fn walk(audio: &Path) -> (BTreeMap<ClipPath, (PathBuf, Stamp)>, Vec<Finding>) {
    let mut found = BTreeMap::new();
    let mut findings = Vec::new();
    if let Ok(root) = audio.canonicalize() {
        folder(&root, audio, "", 0, &mut found, &mut findings);
    }
    findings.sort();
    (found, findings)
}

/// Returns the sounds that offices delivered. What has another name than a sha256 is none, or not whole yet.
pub(super) fn delivered(folder: &Path) -> Vec<(ClipPath, (PathBuf, Stamp))> {
    let sound = |entry: std::fs::DirEntry| {
        let blob = BlobId::try_from(entry.file_name().into_string().ok()?).ok()?;
        let about = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((ClipPath::sound(blob), (entry.path(), Stamp::from(&about))))
    };
    std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(sound).collect()
}

fn folder(
    root: &Path,
    at: &Path,
    prefix: &str,
    depth: usize,
    found: &mut BTreeMap<ClipPath, (PathBuf, Stamp)>,
    findings: &mut Vec<Finding>,
) {
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        let file = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || name.starts_with('~') || name.ends_with('~') {
            continue;
        }
        // A link may lead elsewhere within the folder, never out of it.
        let leads_out = entry.file_type().is_ok_and(|kind| kind.is_symlink())
            && !file.canonicalize().is_ok_and(|target| target.starts_with(root));
        let Ok(about) = std::fs::metadata(&file) else { continue };
        if leads_out {
            continue;
        }
        if about.is_dir() {
            if depth < DEEPEST {
                folder(root, &file, &format!("{prefix}{name}/"), depth + 1, found, findings);
            }
        } else if about.is_file() && !is_no_clip(&file) && found.len() < MOST {
            let utf8 = entry.file_name().into_string().is_ok();
            match ClipPath::try_from(format!("{prefix}{name}")) {
                Ok(path) if utf8 => {
                    found.insert(path, (file, Stamp::from(&about)));
                }
                _ => findings.push(Finding {
                    file: format!("audio/{prefix}{name}").replace(char::is_control, "?"),
                    line: None,
                    column: None,
                    severity: Severity::Warning,
                    code: "bad-file-name",
                    message: "文件名里有不能用的字符，这个音频不会播出；请改名后再放进来".into(),
                }),
            }
        }
    }
}

fn is_no_clip(file: &Path) -> bool {
    let extension = file.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| NO_CLIPS.contains(&extension.as_str()))
}

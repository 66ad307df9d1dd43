//! The schedules on disk: read, kept, and seen to be in force.

use super::super::Panel;
use crate::{
    disk,
    home::Home,
    text::hex,
    web::{Asked, Problem},
};
use sha2::{Digest as _, Sha256};
use std::{fs, io};

/// New texts by the name of their schedule; none removes it.
pub(in crate::panel) type Changes = Vec<(String, Option<String>)>;

/// Names a text, so that a change knows what it was based on. Nothing at all has a name of its own.
pub(in crate::panel) fn base(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), |text| hex(&Sha256::digest(text)[..8]))
}

/// Returns the path of a schedule relative to the home.
pub(in crate::panel) fn file(name: &str) -> String {
    format!("schedules/{name}.toml")
}

/// Returns whether `name` can be the stem of a file of `schedules/`, and of nothing outside it.
pub(in crate::panel) fn is_stem(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

/// Reads a schedule; what cannot be read is a problem with its remedy.
pub(in crate::panel) fn read(home: &Home, asked: &Asked, name: &str) -> Result<Option<String>, Problem> {
    home.schedule(name).map_err(|finding| {
        Problem::failed(asked.pick(
            format!("{} 读不出来：{}", finding.file, finding.message),
            format!("{} cannot be read; check that it is UTF-8 text that this program may read", finding.file),
        ))
    })
}

/// Writes new texts, has them looked at, and returns once they are in force. Whoever calls this holds `panel.writing`.
pub(in crate::panel) async fn keep(panel: &Panel, asked: &Asked, changes: Changes) -> Result<(), Problem> {
    let home = panel.home.clone();
    let written = changes.clone();
    let result = tokio::task::spawn_blocking(move || write(&home, &written)).await;
    let error = match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    // What could be written takes effect, whatever became of the rest.
    panel.daemon.reread().await?;
    if let Some(error) = error {
        return Err(Problem::failed(asked.pick(
            format!("没有保存：写不进磁盘（{error}）；请检查磁盘空间和权限"),
            format!("Not saved: the disk refused it ({error}); check its free space and permissions"),
        )));
    }
    let in_force = panel.daemon.texts().await?;
    if changes.iter().all(|(name, text)| in_force.schedules.get(&file(name)) == text.as_ref()) {
        tracing::info!(operator = asked.name(), files = changes.len(), "schedules changed on the page");
        return Ok(());
    }
    Err(Problem::failed(asked.pick(
        "文件已经写好，但没有生效，原来的计划仍在使用；请到首页看“需要处理”里的原因",
        "The file is written, but it did not take effect and the old one is still in force; the first page says why",
    )))
}

fn write(home: &Home, changes: &Changes) -> io::Result<()> {
    fs::create_dir_all(home.schedules())?;
    if let Some((name, _)) = changes.iter().find(|(name, _)| !is_stem(name)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of a schedule")));
    }
    for (name, text) in changes {
        let path = home.schedules().join(format!("{name}.toml"));
        match text {
            Some(text) => disk::write_whole(&path, text.as_bytes())?,
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => disk::sync_folder(&path)?,
            },
        }
    }
    Ok(())
}

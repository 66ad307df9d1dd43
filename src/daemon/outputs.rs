//! The sound outputs of this machine, as a page asks for them: listed and tried by a child of our own, `dalaba devices`,
//! since a dead sound server hangs whoever asks it.
//!
//! Not here: whether a tone may sound now ([`crate::gate`]); whoever asks for one ends it when that changes.

use crate::{schedule::Volume, speaker::device::Found};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsStr,
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{process::Command, time::timeout};

/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(12);

/// What became of a test tone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tone {
    /// The output that was opened, by its stable name.
    pub name: String,
    /// Accepted by the device.
    pub frames: u64,
    /// The highest sample that was handed over.
    pub peak_dbfs: f32,
    /// Why it may not have been heard, in plain words.
    pub note: Option<String>,
}

/// Why outputs cannot be listed, or a tone was not played: a sentence with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Untried(pub String);

/// Returns the outputs of this machine.
pub async fn sound_outputs() -> Result<Vec<Found>, Untried> {
    let output = devices(["--json"]).await?;
    let found = String::from_utf8_lossy(&output.stdout);
    Ok(found.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Plays a short tone through an output. Dropping the future ends the tone at once.
pub async fn play_tone(output: &str, volume: Volume) -> Result<Tone, Untried> {
    let percent = volume.percent().to_string();
    // One word, so that a name can never be taken for an option.
    let test = format!("--test={output}");
    let said = devices(["--json", test.as_str(), "--volume", percent.as_str()]).await?;
    let tone = serde_json::from_slice(&said.stdout);
    tone.map_err(|_| {
        let words = String::from_utf8_lossy(&said.stderr);
        // Sound libraries complain first; our own sentence is the last.
        let last = words.lines().rev().map(str::trim).find(|line| !line.is_empty());
        Untried(last.unwrap_or("测试音没有播出来；请检查声卡和连线").to_owned())
    })
}

async fn devices<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Output, Untried> {
    let program = std::env::current_exe().map_err(|error| Untried(format!("程序找不到自己的文件（{error}）")))?;
    let mut command = Command::new(program);
    command.arg("devices").args(words.into_iter().map(OsStr::new)).stdin(Stdio::null()).kill_on_drop(true);
    match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(Untried(format!("查看声卡的程序启动不了（{error}）"))),
        Err(_) => Err(Untried("声音服务没有应答；请重启声音服务或电脑后再试".into())),
    }
}

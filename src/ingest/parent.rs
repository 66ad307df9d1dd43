//! The parent's end: starts the child, bounds its time, and turns whatever becomes of it into one sentence.

use super::{CHILD_COMMAND, DECODING, Prepared, Refused, Verdict, open};
use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
    time::timeout,
};

/// Until the first sound is decoded: a file that is no sound is refused within 5 s.
const FIRST_SOUND: Duration = Duration::from_secs(4);

/// For the rest, and a second more for every 100 kB.
const WHOLE: Duration = Duration::from_secs(60);

/// The most the child may say, in bytes.
const MOST_WORDS: u64 = 64 * 1024;

/// Ingests `file` in a child of `program`, our own executable; with `out`, which must not exist, the prepared sound is
/// written there. A file refused may leave a piece at `out`: it is the caller's to remove.
pub async fn run_child(program: &Path, file: &Path, out: Option<&Path>) -> Result<Prepared, Refused> {
    // What can be said without decoding needs no child.
    let bytes = open(file)?.metadata().map_or(0, |about| about.len());
    let mut command = Command::new(program);
    command.arg(CHILD_COMMAND).arg(file);
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let no_child = |error: std::io::Error| Refused::NoChild { why: error.to_string() };
    let mut child = command.spawn().map_err(no_child)?;
    let Some(words) = child.stdout.take() else { return Err(Refused::NoChild { why: "没有输出".into() }) };
    let mut words = BufReader::new(words.take(MOST_WORDS));
    let heard = listen(&mut words, WHOLE + Duration::from_secs(bytes / 100_000)).await;
    let said = match heard {
        Ok(said) => said,
        Err(slow) => {
            // It may have ended in this very moment; then there is nothing to kill.
            let _ = child.kill().await;
            return Err(slow);
        }
    };
    if let Some(verdict) = said {
        // It has said everything; it is not waited for longer than it takes to end.
        let _ = timeout(FIRST_SOUND, child.wait()).await;
        return match verdict {
            Verdict::Prepared(prepared) => Ok(prepared),
            Verdict::Refused(refused) => Err(refused),
        };
    }
    match timeout(FIRST_SOUND, child.wait()).await {
        Ok(Ok(status)) => Err(death(status)),
        Ok(Err(error)) => Err(Refused::Died { how: error.to_string() }),
        Err(_) => {
            let _ = child.kill().await;
            Err(Refused::TooSlow)
        }
    }
}

/// Reads what the child says; none if it ended without a verdict.
async fn listen(words: &mut (impl AsyncBufRead + Unpin), whole: Duration) -> Result<Option<Verdict>, Refused> {
    let mut line = String::new();
    let first = timeout(FIRST_SOUND, words.read_line(&mut line)).await.map_err(|_| Refused::TooSlow)?;
    if first.is_ok() && line.trim_end() == DECODING {
        line.clear();
        let last = timeout(whole, words.read_line(&mut line)).await.map_err(|_| Refused::TooSlow)?;
        if last.is_err() {
            return Ok(None);
        }
    }
    Ok(serde_json::from_str(&line).ok())
}

/// Returns the sentence for a child that ended without one.
#[cfg(unix)]
fn death(status: ExitStatus) -> Refused {
    use rustix::process::Signal;
    use std::os::unix::process::ExitStatusExt;
    let Some(signal) = status.signal() else {
        return Refused::Died { how: format!("退出码 {}", status.code().unwrap_or(-1)) };
    };
    // Rust ends a process that gets no memory by SIGABRT; the system ends one that takes too much by SIGKILL.
    if signal == Signal::XCPU.as_raw() {
        Refused::TooSlow
    } else if signal == Signal::ABORT.as_raw() || signal == Signal::KILL.as_raw() {
        Refused::TooHungry
    } else {
        Refused::Died { how: format!("信号 {signal}") }
    }
}

#[cfg(not(unix))]
fn death(status: ExitStatus) -> Refused {
    Refused::Died { how: format!("退出码 {}", status.code().unwrap_or(-1)) }
}

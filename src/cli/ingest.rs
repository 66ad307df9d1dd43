//! `dalaba ingest FILE…`: what import would say. Needs no home and writes nothing.

use crate::ingest::{Prepared, Refused, run_child};
use serde::Serialize;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Says of each file what import would make of it. Returns the exit code: 1 if any is refused.
pub fn run(files: &[PathBuf], json: bool) -> i32 {
    if files.is_empty() {
        eprintln!("请给出至少一个音频文件：dalaba ingest FILE…");
        return 2;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, program) = match (runtime, std::env::current_exe()) {
        (Ok(runtime), Ok(program)) => (runtime, program),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("无法启动解码程序（{error}）；请重新启动本程序，若仍不行请重装");
            return 1;
        }
    };
    let mut code = 0;
    for file in files {
        let verdict = runtime.block_on(run_child(&program, file, None));
        code |= i32::from(verdict.is_err());
        if say(file, &verdict, json).is_err() {
            // Nobody reads on.
            return 1;
        }
    }
    code
}

/// What import would say of one file, as `--json` prints it.
#[derive(Serialize)]
struct Facts<'a> {
    title: &'a str,
    sha256: &'a str,
    duration_ms: u64,
    loudness_lufs: Option<f64>,
    true_peak_dbtp: f64,
    codec: &'a str,
}

fn say(file: &Path, verdict: &Result<Prepared, Refused>, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let name = file.display();
    match verdict {
        Ok(clip) if json => writeln!(
            out,
            "{}",
            serde_json::to_string(&Facts {
                title: &clip.title,
                sha256: &clip.sha256,
                duration_ms: clip.duration_ms,
                loudness_lufs: clip.loudness_lufs.map(tenth),
                true_peak_dbtp: tenth(clip.true_peak_dbtp),
                codec: &clip.codec,
            })?
        ),
        Ok(clip) => {
            let seconds = clip.duration_ms.div_ceil(1000);
            let loudness =
                clip.loudness_lufs.map_or("太短，测不出响度".to_owned(), |lufs| format!("响度 {lufs:.1} LUFS"));
            writeln!(
                out,
                "{name}：可以使用。标题“{}”，{} 分 {} 秒，{loudness}，真峰值 {:.1} dBTP，{}，sha256 {}",
                clip.title,
                seconds / 60,
                seconds % 60,
                clip.true_peak_dbtp,
                clip.codec,
                clip.sha256,
            )
        }
        Err(refused) => {
            eprintln!("{name}：{refused}");
            Ok(())
        }
    }
}

/// Two places after the point are more than a measurement of loudness means.
fn tenth(decibels: f64) -> f64 {
    (decibels * 100.0).round() / 100.0
}

//! `dalaba journal`: what played, why the rest did not, and the proof.

use super::Place;
use crate::{
    entry::Line,
    journal::{
        JournalError,
        read::{Csv, Reader, Stored, Verdict, verify_export},
    },
    plan::instant,
};
use anyhow::Context as _;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use std::{fs, io::BufReader, ops::Range, path::PathBuf};

/// 播出记录
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// 只看这一天应播的
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "until"])]
    on: Option<Date>,
    /// 从这一天起（含）
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// 到这一天止（含）
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
    /// 写成 CSV 表格
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// 检验记录有没有被改动；可以检验用 --json 导出的文件
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    verify: Option<Option<PathBuf>>,
}

pub(super) async fn run(arguments: Args) -> anyhow::Result<u8> {
    let home = arguments.place.home();
    if let Some(Some(file)) = &arguments.verify {
        let opened = fs::File::open(file).with_context(|| format!("打不开 {}", file.display()))?;
        return Ok(tell(&verify_export(&mut BufReader::new(opened))?, arguments.place.json));
    }
    if !home.journal().exists() {
        eprintln!("还没有播出记录（{}）；站点运行后才会有", home.journal().display());
        return Ok(u8::from(arguments.verify.is_some()));
    }
    let mut reader = Reader::open(&home.journal()).await?;
    if arguments.verify.is_some() {
        return Ok(tell(&reader.verify().await?, arguments.place.json));
    }
    let zone = home.zone();
    let window = window(&arguments, &zone);
    if let Some(file) = &arguments.csv {
        let to = fs::File::create(file).with_context(|| format!("写不了 {}", file.display()))?;
        let mut csv = Csv::new(to, zone)?;
        let mut rows = 0;
        reader
            .entries(window, |stored| {
                rows += 1;
                csv.row(&stored).map_err(anyhow::Error::from)
            })
            .await?;
        csv.finish()?;
        eprintln!("写了 {rows} 条到 {}", file.display());
        return Ok(0);
    }
    let json = arguments.place.json;
    reader
        .entries(window, |stored| {
            println!("{}", if json { stored.export() } else { words(&stored, &zone)? });
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    Ok(0)
}

fn window(arguments: &Args, zone: &TimeZone) -> Range<Timestamp> {
    let midnight = |date: Date| instant(zone, date.at(0, 0, 0, 0));
    let after = |date: Date| date.tomorrow().map_or(Timestamp::MAX, midnight);
    match arguments.on {
        Some(date) => midnight(date)..after(date),
        None => arguments.from.map_or(Timestamp::MIN, midnight)..arguments.until.map_or(Timestamp::MAX, after),
    }
}

fn tell(verdict: &Verdict, json: bool) -> u8 {
    let (fact, words, code) = match verdict {
        Verdict::Whole { rows, signed } => (
            serde_json::json!({ "whole": true, "rows": rows, "signed": signed }),
            format!("记录完整：{rows} 条，前 {signed} 条有站点签名"),
            0,
        ),
        Verdict::Broken { seq, why } => {
            (serde_json::json!({ "whole": false, "seq": seq, "why": why }), format!("第 {seq} 条不对：{why}"), 1)
        }
    };
    if json {
        println!("{fact}");
    } else {
        println!("{words}");
    }
    code
}

fn words(stored: &Stored, zone: &TimeZone) -> anyhow::Result<String> {
    let entry = serde_json::from_str::<Line>(&stored.line).map_err(JournalError::from)?.entry;
    let due = entry.due.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let reason = entry.reason.map_or_else(String::new, |reason| format!("（{}）", reason.zh()));
    let heard = if entry.heard_ms > 0 { format!("  {:.1} 秒", entry.heard_ms as f64 / 1000.0) } else { String::new() };
    let error =
        entry.start_error_us.map_or_else(String::new, |error| format!("  误差 {:+.1} 毫秒", error as f64 / 1000.0));
    Ok(format!("{due}  {}  {}{reason}{heard}{error}", entry.title, entry.outcome.zh()))
}

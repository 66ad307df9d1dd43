//! `dalaba journal`: what played, why the rest did not, and the proof.

use super::Place;
use crate::{
    clock,
    entry::Line,
    journal::{
        JournalError, PublicKey, SelfTest,
        export::{Csv, Row, export, verify},
        read::{Reader, Stored, Verdict},
        xlsx::{MOST_ROWS, Xlsx},
    },
    plan::instant,
};
use anyhow::Context as _;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use std::{
    fs,
    io::{BufReader, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

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
    #[arg(long, value_name = "FILE", conflicts_with = "xlsx")]
    csv: Option<PathBuf>,
    /// 写成 Excel 工作簿：实播记录和合计，最多 10 万条
    #[arg(long, value_name = "FILE")]
    xlsx: Option<PathBuf>,
    /// 检验记录有没有被改动；也可以检验用 --json 或 --csv 导出的文件，不需要站点
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    verify: Option<Option<PathBuf>>,
    /// 声卡夜间自检的结果，最近的在前
    #[arg(long, conflicts_with_all = ["verify", "csv", "xlsx", "on", "from", "until"])]
    self_tests: bool,
    /// 与已知的站点公钥比对：64 位十六进制数，或者写着它的文件
    #[arg(long, value_name = "KEY|FILE", requires = "verify")]
    key: Option<String>,
}

pub(super) async fn run(arguments: Args) -> anyhow::Result<u8> {
    let home = arguments.place.home();
    let known = arguments.key.as_deref().map(public_key).transpose()?;
    if let Some(Some(file)) = &arguments.verify {
        let opened = fs::File::open(file).with_context(|| format!("打不开 {}", file.display()))?;
        let verdict = verify(&mut BufReader::new(opened)).with_context(|| format!("读不了 {}", file.display()))?;
        return Ok(tell(&verdict, known.as_ref(), arguments.place.json));
    }
    if !home.journal().exists() {
        eprintln!("还没有播出记录（{}）；站点运行后才会有", home.journal().display());
        return Ok(u8::from(arguments.verify.is_some()));
    }
    let mut reader = Reader::open(&home.journal()).await?;
    if arguments.verify.is_some() {
        return Ok(tell(&reader.verify().await?, known.as_ref(), arguments.place.json));
    }
    let zone = home.zone();
    if arguments.self_tests {
        return list_tests(&reader.self_tests().await?, &zone, arguments.place.json);
    }
    let window = window(&arguments, &zone);
    if let Some(file) = &arguments.csv {
        let to = fs::File::create(file).with_context(|| format!("写不了 {}", file.display()))?;
        let mut csv = Csv::new(to, zone)?;
        let rows =
            export(&mut reader, &home.data(), clock::wall(), window, |row| csv.row(row).map_err(anyhow::Error::from))
                .await?;
        csv.finish()?;
        eprintln!("写了 {rows} 条到 {}", file.display());
        return Ok(0);
    }
    if let Some(file) = &arguments.xlsx {
        let rows = workbook(&mut reader, file, zone, window).await?;
        eprintln!("写了 {rows} 条到 {}", file.display());
        return Ok(0);
    }
    let json = arguments.place.json;
    export(&mut reader, &home.data(), clock::wall(), window, |row| {
        println!("{}", if json { row.json()? } else { words(row, &zone)? });
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    Ok(0)
}

/// Writes a workbook, and returns how many rows it has.
async fn workbook(reader: &mut Reader, file: &Path, zone: TimeZone, window: Range<Timestamp>) -> anyhow::Result<i64> {
    let rows = reader.count(&window).await?;
    anyhow::ensure!(
        rows <= MOST_ROWS,
        "这段时间有 {rows} 条，一个工作簿最多 {MOST_ROWS} 条；请用 --from 和 --until 分几次导出"
    );
    let mut xlsx = Xlsx::new(zone)?;
    let take = |stored: Stored| {
        let line = serde_json::from_str(&stored.line).map_err(JournalError::from)?;
        Ok::<_, anyhow::Error>(xlsx.row(&line, &stored.hash)?)
    };
    reader.entries(window, take).await?;
    let to = fs::File::create(file).with_context(|| format!("写不了 {}", file.display()))?;
    xlsx.finish(to).with_context(|| format!("写不了 {}", file.display()))?;
    Ok(rows)
}

fn list_tests(tests: &[SelfTest], zone: &TimeZone, json: bool) -> anyhow::Result<u8> {
    let mut out = std::io::stdout().lock();
    for test in tests {
        if json {
            writeln!(out, "{}", serde_json::to_string(test)?)?;
        } else {
            let at = test.at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
            let device = test.device.as_deref().unwrap_or("没有声卡");
            writeln!(out, "{at}  {device}  {}", test.fault.as_ref().map_or("正常", |fault| fault.zh.as_str()))?;
        }
    }
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

/// Reads a public key from what was typed, or from the file that it names.
fn public_key(typed: &str) -> anyhow::Result<PublicKey> {
    match typed.parse() {
        Ok(key) => Ok(key),
        Err(no_key) if !Path::new(typed).exists() => {
            Err(no_key).with_context(|| format!("--key {typed}：没有这个文件，也不是公钥"))
        }
        Err(_) => {
            let text = fs::read_to_string(typed).with_context(|| format!("读不了 {typed}"))?;
            text.parse().with_context(|| format!("{typed} 里的内容"))
        }
    }
}

fn tell(verdict: &Verdict, known: Option<&PublicKey>, json: bool) -> u8 {
    let (fact, words, code) = match verdict {
        Verdict::Whole { rows, signed, key } => {
            let is_known = known.map(|known| key.as_ref() == Some(known));
            let fact = serde_json::json!({
                "whole": is_known != Some(false), "rows": rows, "signed": signed,
                "key": key.map(|key| key.to_string()), "fingerprint": key.map(|key| key.fingerprint()),
                "known": is_known,
            });
            let whose = key.map_or_else(String::new, |key| format!("\n公钥 {key}，指纹 {}", key.fingerprint()));
            let words = match is_known {
                Some(false) => format!("记录前后相接，但没有给出的公钥的签名，不能采信{whose}"),
                Some(true) => format!("记录完整：{rows} 条，到第 {signed} 条为止有站点签名，与给出的公钥一致{whose}"),
                None => format!("记录完整：{rows} 条，到第 {signed} 条为止有站点签名{whose}"),
            };
            (fact, words, u8::from(is_known == Some(false)))
        }
        Verdict::Broken { seq, why } => (
            serde_json::json!({ "whole": false, "seq": seq, "why": why.zh }),
            format!("第 {seq} 条不对：{}", why.zh),
            1,
        ),
    };
    if json {
        println!("{fact}");
    } else {
        println!("{words}");
    }
    code
}

fn words(row: &Row, zone: &TimeZone) -> anyhow::Result<String> {
    let entry = serde_json::from_str::<Line>(&row.stored.line).map_err(JournalError::from)?.entry;
    let due = entry.due.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let reason = entry.reason.map_or_else(String::new, |reason| format!("（{}）", reason.zh()));
    let heard = if entry.heard_ms > 0 { format!("  {:.1} 秒", entry.heard_ms as f64 / 1000.0) } else { String::new() };
    let error =
        entry.start_error_us.map_or_else(String::new, |error| format!("  误差 {:+.1} 毫秒", error as f64 / 1000.0));
    Ok(format!("{due}  {}  {}{reason}{heard}{error}", entry.title, entry.outcome.zh()))
}

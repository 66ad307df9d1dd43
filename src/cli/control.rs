//! The commands that reach the running daemon: `next`, `play`, `stop`, `release`, `hush`, `volume`.

use super::{
    Place,
    client::{ClientError, ask},
};
use crate::{clock, panel::PlayRequest, plan::Line, schedule::Volume};
use jiff::{
    Timestamp, ZonedDateTime,
    civil::{DateTime, Time},
};
use serde_json::{Value, json};

/// 立即播放
#[derive(Debug, clap::Args)]
pub(super) struct Play {
    #[command(flatten)]
    place: Place,
    /// audio/ 里的音频路径，或播报的名称
    #[arg(value_name = "CLIP|ANNOUNCEMENT")]
    what: String,
    /// 紧急播报：静音时段、停播时也播出；必须写明原因
    #[arg(long, requires = "note")]
    emergency: bool,
    /// 原因，记入播出记录
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// 临时静音
#[derive(Debug, clap::Args)]
pub(super) struct Hush {
    #[command(flatten)]
    place: Place,
    /// 到什么时间：21:00、2026-06-17T21:00 或带时区的时间；写 now 立即结束静音
    #[arg(long, value_name = "TIME")]
    until: String,
    /// 原因，例如红白事；在状态页上显示，也写进略过的记录
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// 设置音量
#[derive(Debug, clap::Args)]
pub(super) struct VolumeArgs {
    #[command(flatten)]
    place: Place,
    /// 0 到 100
    #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
}

pub(super) async fn next(place: &Place) -> anyhow::Result<u8> {
    let answer = match ask(&place.home(), "/", None).await {
        Ok(answer) => answer,
        Err(error) => return Ok(failed(error)),
    };
    let ready = answer["ready"].as_bool().unwrap_or(false);
    match serde_json::from_value::<Option<Line>>(answer["next"][0].clone())? {
        Some(line) if place.json => println!("{}", serde_json::to_string(&line)?),
        Some(line) => println!("{}  {}", line.due, line.title),
        None => eprintln!("没有安排"),
    }
    for fault in answer["faults"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("{fault}");
    }
    if !ready {
        eprintln!("还没有准备好：正在导入音频，或声音程序还没有应答");
    }
    Ok(u8::from(!ready))
}

pub(super) async fn play(arguments: &Play) -> anyhow::Result<u8> {
    let request =
        PlayRequest { what: arguments.what.clone(), emergency: arguments.emergency, note: arguments.note.clone() };
    post(&arguments.place, "/play", serde_json::to_value(request)?).await
}

pub(super) async fn hush(arguments: &Hush) -> anyhow::Result<u8> {
    let now = clock::wall().to_zoned_datetime(arguments.place.home().zone());
    let Some(until) = moment(&arguments.until, &now) else {
        eprintln!("时间“{}”读不懂；请写 21:00 或 2026-06-17T21:00", arguments.until);
        return Ok(2);
    };
    post(&arguments.place, "/hush", json!({ "until": until, "note": arguments.note })).await
}

/// Reads a time of day (the next one to come), a local date and time, or an instant.
fn moment(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    if text == "now" {
        return Some(now.timestamp());
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let zone = now.time_zone();
    if let Ok(time) = text.parse::<Time>() {
        let today = crate::plan::instant(zone, now.date().to_datetime(time));
        let tomorrow = crate::plan::instant(zone, now.date().tomorrow().ok()?.to_datetime(time));
        return Some(if today > now.timestamp() { today } else { tomorrow });
    }
    Some(crate::plan::instant(zone, text.parse::<DateTime>().ok()?))
}

pub(super) async fn volume(arguments: &VolumeArgs) -> anyhow::Result<u8> {
    let percent = Volume::try_from(arguments.percent)?;
    post(&arguments.place, "/volume", json!({ "percent": percent })).await
}

pub(super) async fn post(place: &Place, path: &str, body: Value) -> anyhow::Result<u8> {
    match ask(&place.home(), path, Some(&body)).await {
        Ok(answer) if place.json => println!("{answer}"),
        Ok(answer) => println!("{}", words(&answer)),
        Err(error) => return Ok(failed(error)),
    }
    Ok(0)
}

fn words(answer: &Value) -> String {
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    match answer["done"].as_str() {
        Some("playing") => format!("开始播出（{}）", text("occurrence")),
        Some("stopped") => format!("已停播，到 {} 或恢复播出为止", text("until")),
        Some("released") => "已恢复播出".into(),
        Some("hushed") => format!("已静音，到 {}", text("until")),
        Some("unhushed") => "静音已结束".into(),
        Some("volume") => format!("音量 {}%", answer["percent"]),
        Some("confirmed") => "时间已确认".into(),
        _ => answer.to_string(),
    }
}

fn failed(error: ClientError) -> u8 {
    eprintln!("{:#}", anyhow::Error::from(error));
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_next_one_to_come() {
        let now: ZonedDateTime = "2026-06-17T20:00:00+08:00[Asia/Shanghai]".parse().expect("a moment");
        for (text, expected) in [
            ("21:00", Some("2026-06-17T13:00:00Z")),
            ("06:00", Some("2026-06-17T22:00:00Z")),
            ("2026-06-18T06:00", Some("2026-06-17T22:00:00Z")),
            ("2026-06-18T06:00:00+08:00", Some("2026-06-17T22:00:00Z")),
            ("now", Some("2026-06-17T12:00:00Z")),
            ("later", None),
        ] {
            let expected = expected.map(|text| text.parse().expect("an instant"));
            assert_eq!(moment(text, &now), expected, "{text}");
        }
    }
}

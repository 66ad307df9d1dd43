//! 现在: what plays, what is next, what is wrong, and 停播. A plain page that needs no script.

use super::Web;
use crate::{
    conductor::{Command, Playing},
    daemon::{Gone, Snapshot},
    plan::{Line, Occurrence},
    trust::ClockState,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde_json::json;
use std::fmt::Write as _;

/// `GET /`: the station now, as a page or, for `Accept: application/json`, as JSON.
pub(super) async fn now(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Gone> {
    let seen = web.daemon.snapshot().await?;
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    Ok(if wants_json { Json(as_json(&seen)).into_response() } else { Html(as_page(&seen)).into_response() })
}

/// `POST /stop`: 停播 from the machine itself needs no login.
pub(super) async fn stop(State(web): State<Web>) -> Result<Redirect, Gone> {
    // Stop is never refused.
    let _ = web.daemon.command(Command::Stop { operator: "page".into() }).await?;
    Ok(Redirect::to("/"))
}

/// `GET /style.css`
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css"))
}

fn as_json(seen: &Snapshot) -> serde_json::Value {
    let line = |occurrence: &Occurrence| Line::new(occurrence, &seen.zone);
    let playing = |playing: &Playing| {
        json!({ "occurrence": playing.occurrence.id, "title": playing.occurrence.title, "band": playing.occurrence.band,
                "heard_ms": i64::try_from(playing.heard.as_millis()).unwrap_or(i64::MAX),
                "level_dbfs": playing.level_dbfs })
    };
    json!({
        "station": seen.name,
        "now": seen.now,
        "ready": seen.ready,
        "clock": seen.status.clock,
        "device": seen.status.device,
        "volume": seen.status.volume,
        "playing": seen.status.playing.iter().map(playing).collect::<Vec<_>>(),
        "next": seen.status.next.iter().map(line).collect::<Vec<_>>(),
        "stopped_until": seen.status.stopped.as_ref().map(|stop| stop.until),
        "hushed_until": seen.status.hushed.as_ref().map(|hush| hush.until),
        "safe_mode_until": seen.status.safe_mode_until,
        "faults": seen.faults,
        "findings": *seen.findings,
        "self_test": seen.self_test,
    })
}

fn as_page(seen: &Snapshot) -> String {
    let local = |at: jiff::Timestamp| at.to_zoned_datetime(seen.zone.clone()).strftime("%m月%d日 %H:%M:%S").to_string();
    let mut body = String::new();
    for playing in &seen.status.playing {
        let _ = write!(
            body,
            "<p class=playing>正在播出：{} <small>{} / {} 秒</small></p>",
            escape(&playing.occurrence.title),
            playing.heard.as_secs(),
            playing.length.as_secs()
        );
    }
    if seen.status.playing.is_empty() {
        body.push_str("<p class=quiet>现在没有播出</p>");
    }
    for (until, what) in [
        (seen.status.stopped.as_ref().map(|stop| stop.until), "停播中，恢复请执行 dalaba release，或等到"),
        (seen.status.hushed.as_ref().map(|hush| hush.until), "临时静音，到"),
        (seen.status.safe_mode_until, "程序连续出错，暂停自动播出，到"),
    ] {
        if let Some(until) = until {
            let _ = write!(body, "<p class=held>{what} {}</p>", local(until));
        }
    }
    body.push_str("<form method=post action=/stop><button>停播</button></form><h2>接下来</h2><ol>");
    for occurrence in &seen.status.next {
        let _ = write!(body, "<li><time>{}</time> {}</li>", local(occurrence.due), escape(&occurrence.title));
    }
    body.push_str("</ol>");
    if seen.status.next.is_empty() {
        body.push_str("<p>没有安排。请把播放计划放进 schedules/ 文件夹。</p>");
    }
    let faults = seen.faults.iter().cloned().chain(seen.findings.iter().map(ToString::to_string));
    let faults: String = faults.fold(String::new(), |mut all, fault| {
        let _ = write!(all, "<li>{}</li>", escape(&fault));
        all
    });
    if !faults.is_empty() {
        let _ = write!(body, "<h2>需要处理</h2><ul class=faults>{faults}</ul>");
    }
    if let Some(test) = &seen.self_test {
        let result = if test.fault.is_none() { "正常" } else { "没有通过" };
        let _ = write!(body, "<p class=test>最近一次声卡自检：{} {result}</p>", local(test.at));
    }
    let clock = match seen.status.clock {
        ClockState::Trusted => "时间已同步",
        ClockState::Confirmed => "时间已由人确认",
        ClockState::Plausible => "时间未经网络核对",
        ClockState::Untrusted => "时间不对",
    };
    let device = seen.status.device.as_deref().map_or_else(|| "没有可用的声卡".to_owned(), escape);
    format!(
        "<!doctype html><html lang=zh-CN><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta http-equiv=refresh content=5><link rel=stylesheet href=/style.css><title>{name} · 大喇叭</title>\
         <header><h1>{name}</h1><p>{now} · {clock} · {device} · 音量 {volume}%</p></header><main>{body}</main></html>",
        name = escape(&seen.name),
        now = local(seen.now),
        volume = seen.status.volume,
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_never_become_markup() {
        assert_eq!(super::escape("<b onx='1'>&\""), "&lt;b onx=&#39;1&#39;&gt;&amp;&quot;");
    }
}

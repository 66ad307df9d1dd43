//! 计划 and 预排 with the real daemon: made by a form, foreseen, kept, seen in force, refused, cancelled for a day, restored.

#![cfg(target_os = "linux")]

mod support;

use serde_json::Value;
use std::fs;
use support::{Village, http::Client, wave::melody};

/// What the preview says of a text, and the text itself.
fn foreseen(client: &Client, name: &str, fields: &[(&str, &str)]) -> Value {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")];
    let answer = client.send("POST", &format!("/schedules/{name}/preview"), &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn said(foreseen: &Value) -> String {
    let said = foreseen["foreseen"]["said"].as_array().expect("sentences");
    said.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

const RULES: &str = "[announcement.morning]\ntitle = \"早间提示\" # 留着\nplay = [\"a.wav\"]\n\n\
                     [[rule]]\nplay = \"morning\"\nat = [\"07:00\"]\n";

#[test]
fn a_schedule_is_made_foreseen_kept_refused_when_bad_and_restored() {
    let mut village = Village::new();
    village.clip("a.wav", &melody(1, 1.0)).launch();
    village.wait("data/control.json", |village| village.home().join("data/control.json").exists());
    let client = Client::owner(&village);
    let path = village.home().join("schedules/daily.toml");

    let page = client.get("/schedules/new?name=daily&title=%E6%AF%8F%E5%A4%A9").text();
    assert!(page.contains("add-announcement") && !path.exists(), "nothing is written before it is saved");
    let first = foreseen(&client, "daily", &[("text", RULES), ("base", "none")]);
    assert!(said(&first).contains("多播 1 次：早间提示 07:00"), "{first:#}");
    assert_eq!(first["foreseen"]["may_save"], true, "{first:#}");
    assert!(!path.exists(), "a preview keeps nothing");

    // A browser sends every line end as two characters.
    let sent = RULES.replace('\n', "\r\n");
    assert_eq!(client.form("/schedules/daily", &[("text", &sent), ("base", "none")]).status, 303);
    assert_eq!(fs::read_to_string(&path).unwrap(), RULES);
    village.planned("morning");

    let base = client.json("/schedules/daily").json()["base"].as_str().unwrap().to_owned();
    let bad = RULES.replace("07:00", "25:00");
    let refused = client.form("/schedules/daily", &[("text", &bad), ("base", &base)]);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(fs::read_to_string(&path).unwrap(), RULES, "a bad save changes nothing");
    village.planned("morning");

    let moved = foreseen(&client, "daily", &[("rule.0.at", "07:30"), ("base", &base)]);
    assert!(said(&moved).contains("早间提示 07:00 改到 07:30"), "{moved:#}");
    let text = moved["text"].as_str().unwrap();
    assert_eq!(text, RULES.replace("07:00", "07:30"));
    assert_eq!(client.form("/schedules/daily", &[("text", text), ("base", &base)]).status, 303);

    let late = client.form("/schedules/daily", &[("text", RULES), ("base", &base)]);
    assert_eq!(late.status, 409, "based on what the file is no more");
    assert!(late.text().contains("07:00") && late.text().contains("07:30"), "both are shown");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let versions = client.json("/schedules/history").json()["versions"].as_array().unwrap().clone();
    assert_eq!(versions[0]["is_in_force"], true, "{versions:#?}");
    let before = versions[1]["revision"].as_str().unwrap();
    let back = client.json(&format!("/schedules/history/{before}")).json();
    assert!(said(&back).contains("早间提示 07:30 改到 07:00"), "{back:#}");
    let base = back["base"].as_str().unwrap();
    assert_eq!(client.form(&format!("/schedules/history/{before}/restore"), &[("base", base)]).status, 303);
    assert_eq!(fs::read_to_string(&path).unwrap(), RULES);

    let base = client.json("/schedules/daily").json()["base"].as_str().unwrap().to_owned();
    assert_eq!(client.form("/schedules/daily/delete", &[("base", &base)]).status, 303);
    assert!(!path.exists());
    assert_eq!(client.json("/schedules").json()["schedules"].as_array().unwrap().len(), 0);
}

#[test]
fn one_day_is_cancelled_and_comes_back_and_nothing_outside_schedules_is_touched() {
    let mut village = Village::new();
    village.clip("a.wav", &melody(2, 1.0)).schedule("daily", RULES).launch();
    village.wait("data/control.json", |village| village.home().join("data/control.json").exists());
    let client = Client::owner(&village);
    let path = village.home().join("schedules/daily.toml");
    let tomorrow = dalaba::clock::wall().to_zoned_datetime(support::zone()).date().tomorrow().unwrap().to_string();
    let state = || client.json(&format!("/plan?from={tomorrow}&days=1")).json()["days"][0]["moments"][0].clone();
    village.wait("the plan", |_| state()["state"] == "to-come");

    let one = [("date", &*tomorrow), ("schedule", "daily"), ("announcement", "morning"), ("note", "婚礼")];
    assert_eq!(client.form("/plan/override", &one).status, 303);
    let moment = state();
    assert_eq!(
        (&moment["state"], &moment["reason"], &moment["note"]),
        (&"left-out".into(), &"cancelled".into(), &"婚礼".into())
    );
    assert!(fs::read_to_string(&path).unwrap().starts_with(RULES));
    assert_eq!(client.form("/plan/override", &one).status, 409, "it is cancelled already");
    assert_eq!(client.form("/plan/override", &[("date", &tomorrow), ("back", "on")]).status, 303);
    assert_eq!(fs::read_to_string(&path).unwrap(), RULES);
    assert_eq!(state()["state"], "to-come");
    assert_eq!(client.form("/plan/override", &[("date", &tomorrow)]).status, 303, "the whole day");
    assert!(fs::read_to_string(&path).unwrap().contains("cancel = \"all\""));

    for date in ["2020-01-01", "soon", ""] {
        assert!(client.form("/plan/override", &[("date", date)]).status >= 400, "{date}");
    }
    for name in ["..", "..%2fstation", "calendar%2f2026", ".hidden", "a%00b", "%2e%2e%2fstation"] {
        for (path, fields) in [("", vec![("text", ""), ("base", "none")]), ("/delete", vec![("base", "none")])] {
            let answer = client.form(&format!("/schedules/{name}{path}"), &fields);
            assert!(answer.status >= 400, "{name}{path}: {}", answer.status);
        }
    }
    assert!(village.home().join("station.toml").exists());
    let stranger = Client::stranger(&village);
    assert_eq!(stranger.get("/schedules").header("location").as_deref(), Some("/first-run"));
    assert_eq!(stranger.form("/schedules/daily", &[("text", ""), ("base", "none")]).status, 303);
    assert!(path.exists());
}

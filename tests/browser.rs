//! The station's pages in a real browser, as a village broadcaster uses them: first run, upload, schedule, preview,
//! play now, stop, journal, print, roles; in Chinese, on a PC and on a phone.
//!
//! Every page that is shown is measured: nothing is wider than the window, every field has its label, nothing comes
//! from elsewhere. With `DALABA_PICTURES=1` the pictures of README are taken into `docs/`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use fantoccini::Locator;
use serde_json::json;
use std::{fs, path::Path};
use support::{
    PATIENCE, Village,
    browser::Browser,
    http,
    wave::{melody, wav},
};

fn in_a_browser(test: impl AsyncFnOnce(&Browser, &Village), village: &Village) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let browser = Browser::open(format!("http://{}", http::Client::stranger(village).address)).await;
        test(&browser, village).await;
        browser.client.clone().close().await.unwrap();
    });
}

/// The sounds and schedules that ship, in a home where nothing was set up yet.
fn untouched() -> Village {
    let mut village = Village::new();
    fs::remove_file(village.home().join("station.toml")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["audio/chime", "audio/enterprise", "audio/fraud", "audio/test"] {
        fs::create_dir_all(village.home().join(folder)).unwrap();
        for file in fs::read_dir(shipped.join(folder)).unwrap().flatten() {
            fs::copy(file.path(), village.home().join(folder).join(file.file_name())).unwrap();
        }
    }
    fs::copy(shipped.join("audio/clips.toml"), village.home().join("audio/clips.toml")).unwrap();
    village.launch();
    village.wait("the page is open", |village| village.home().join("data/control.json").exists());
    village
}

const NAME: &str = "王芳";
const PASSWORD: &str = "春天的大喇叭2026";

#[test]
fn a_broadcaster_sets_a_station_up_and_runs_it_from_the_page() {
    let village = untouched();
    in_a_browser(
        async |browser, village| {
            browser.go("/first-run").await;
            browser.look("first-run").await;
            browser.write("input[name=station]", "北庄村").await;
            browser.write("input[name=name]", NAME).await;
            browser.write("input[name=password]", PASSWORD).await;
            browser.write("input[name=again]", PASSWORD).await;
            browser.press("form[action='/first-run'] button").await;
            browser.says("北庄村").await;
            browser.says("早间反诈提示").await;
            village.wait("the station is ready", |village| village.dalaba(["next"]).code == 0);

            // The test may run at night.
            browser.go("/settings").await;
            browser.write("form[action='/settings/hours'] [name=quiet]", "").await;
            browser.press("form[action='/settings/hours'] button").await;
            browser.says("已保存").await;

            let clip = village.home().join("新提示.wav");
            fs::write(&clip, wav(&melody(3, 30.0))).unwrap();
            upload(browser, &clip).await;
            browser.go("/clips").await;
            browser.says("新提示").await;
            browser.look("clips").await;

            write_a_schedule(browser).await;
            browser.go("/plan").await;
            browser.says("午间提醒").await;
            browser.look("plan").await;

            play_and_stop(browser, village).await;
            browser.go("/journal").await;
            browser.says("部分播出").await;
            browser.look("journal").await;
            browser.go("/journal/print").await;
            browser.says("播出信息登记本").await;
            browser.look("journal-print").await;
            browser.go("/settings").await;
            browser.look("settings").await;
            browser.phone().await;
            for page in ["/", "/plan", "/schedules", "/clips", "/journal", "/settings", "/journal/print"] {
                browser.go(page).await;
                let name = if page == "/" { "now" } else { page.trim_start_matches('/') };
                browser.look(&format!("phone-{}", name.replace('/', "-"))).await;
            }
            browser.wide().await;
            in_english(browser).await;
            roles(browser).await;
        },
        &village,
    );
}

async fn upload(browser: &Browser, clip: &Path) {
    browser.go("/clips").await;
    let field = browser.client.find(Locator::Css("form[action='/clips'] input[type=file]")).await.unwrap();
    field.send_keys(clip.to_str().unwrap()).await.unwrap();
    browser.press("form[action='/clips'] button").await;
    browser.element(".uploads .good").await;
}

async fn write_a_schedule(browser: &Browser) {
    browser.go("/schedules").await;
    browser.look("schedules").await;
    browser.write("form[action='/schedules/new'] input[name=name]", "noon").await;
    browser.write("form[action='/schedules/new'] input[name=title]", "午间").await;
    browser.press("form[action='/schedules/new'] button").await;
    // As text: what is written is looked at while one types.
    browser.press("details:has(#schedule-text) summary").await;
    let broken = "title = \"午间\"\n[announcement.noon]\ntitle = \"午间提醒\"\nplay = [\"fraud/\"]\n[[rule]]\nplay = \"noon\"\nat = [\"25:00\"]\n";
    browser.write("#schedule-text", broken).await;
    browser.says("行 7").await;
    browser.write("#schedule-text", &broken.replace("25:00", "12:34")).await;
    browser.press("form:has(#schedule-text) button:not([formaction])").await;
    browser.says("12:34").await;
    browser.look("difference").await;
    browser.press("form[action='/schedules/noon'] button:not([formaction])").await;
    browser.says("已保存").await;
}

async fn play_and_stop(browser: &Browser, village: &Village) {
    browser.go("/").await;
    browser.press("form[action='/play'] option[value='fraud/fake-police.mp3']").await;
    browser.write("form[action='/play'] input[name=note]", "试播").await;
    browser.press("form[action='/play'] button").await;
    browser.says("正在播出").await;
    let meter = "return document.querySelector('meter') && document.querySelector('meter').value > -60";
    let since = dalaba::clock::monotonic();
    while browser.run(meter).await != json!(true) {
        assert!(since.elapsed() < PATIENCE, "the meter moves");
    }
    browser.look("now").await;
    browser.press("button.stop").await;
    browser.says("停播中").await;
    village.wait("the stop is on record", |village| {
        village.journal().iter().any(|entry| entry["reason"] == "stopped" && entry["operator"] == NAME)
    });
    browser.press("form[action='/release'] button").await;
    browser.says("已恢复播出").await;
}

async fn in_english(browser: &Browser) {
    browser.go("/").await;
    browser.press("form[action='/language'] button").await;
    browser.says("Now in English").await;
    for page in ["/", "/plan", "/schedules", "/clips", "/journal", "/settings"] {
        browser.go(page).await;
        assert_eq!(browser.run("return document.documentElement.lang").await, json!("en"));
        browser.look(&format!("english{}", page.replace('/', "-").trim_end_matches('-'))).await;
    }
    browser.go("/").await;
    browser.press("form[action='/language'] button").await;
    browser.says("已换成中文").await;
}

async fn roles(browser: &Browser) {
    browser.go("/settings").await;
    let form = "form[action='/settings/people']";
    browser.write(&format!("{form} input[name=name]"), "赵敏").await;
    browser.write(&format!("{form} input[name=password]"), "只看不动的人2026").await;
    browser.press(&format!("{form} option[value=viewer]")).await;
    browser.press(&format!("{form} button")).await;
    browser.says("赵敏").await;
    browser.press("form[action='/sign-out'] button").await;
    browser.says("已退出").await;
    browser.sign_in("赵敏", "只看不动的人2026").await;
    browser.says("赵敏").await;
    browser.go("/").await;
    let forms = browser.run("return [...document.querySelectorAll('main form')].length").await;
    assert_eq!(forms, json!(0), "a viewer changes nothing");
    browser.go("/settings").await;
    assert!(browser.text().await.contains("没有这个权限"));
}

#[test]
fn the_first_page_is_small_and_soon_there() {
    let village = untouched();
    in_a_browser(
        async |browser, _| {
            browser.go("/").await;
            let since = dalaba::clock::monotonic();
            let facts = loop {
                let facts = browser.run(FACTS).await;
                if facts["paint"].is_number() {
                    break facts;
                }
                assert!(since.elapsed() < PATIENCE, "the page is painted: {facts}");
            };
            println!("现在: {} bytes, first paint after {} ms", facts["bytes"], facts["paint"]);
            assert!(facts["bytes"].as_u64().unwrap() <= 60 << 10, "{facts}");
        },
        &village,
    );
}

/// What a page cost: all bytes of it and its files, and the milliseconds until the browser painted the first of it.
const FACTS: &str = "
const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return { bytes: all.reduce((sum, one) => sum + one.transferSize, 0), paint: paint ? paint.startTime : null };
";

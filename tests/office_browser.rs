//! The office's pages in a real browser, as a clerk uses them: first run, enrolment, a campaign from the recording to the
//! villages and back, a case bulletin, an emergency with a second look, a drill, a roll call, a play, the volume, keys, the
//! month's assessment; live where it changes; in Chinese and English, on a PC and on a phone.
//!
//! The villages are light stations of `dalaba simulate`. With `DALABA_PICTURES=1` the pictures of README are taken.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use serde_json::json;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};
use support::{
    browser::Browser,
    town::{ADMIN, DIVISION, PASSWORD, Town},
    wave::{melody, wav},
};

fn in_a_browser(town: &mut Town, test: impl AsyncFnOnce(&Browser, &mut Town)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let browser = Browser::open(format!("http://{}", town.pages.address)).await;
        test(&browser, town).await;
        browser.client.clone().close().await.unwrap();
    });
}

/// A recording on the disk of whoever sits at the browser.
fn recording(town: &Town, name: &str, seconds: f64) -> String {
    let file = town.folder().join(name);
    fs::write(&file, wav(&melody(3, seconds))).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_clerk_sets_an_office_up_and_takes_a_village_in() {
    in_a_browser(&mut Town::untouched(), async |browser, town| {
        browser.go("/").await;
        browser.says("首次设置").await;
        browser.look("office-first-run").await;
        browser.write("input[name=office]", "桐溪镇大喇叭中心").await;
        browser.write("input[name=division]", DIVISION).await;
        browser.write("input[name=name]", ADMIN).await;
        browser.write("input[name=password]", PASSWORD).await;
        browser.write("input[name=again]", "另一个密码2026").await;
        browser.press("form[action='/first-run'] button").await;
        browser.says("两次输入的密码不一样").await;
        browser.write("input[name=password]", PASSWORD).await;
        browser.write("input[name=again]", PASSWORD).await;
        browser.press("form[action='/first-run'] button").await;
        browser.says("还没有站点").await;
        assert_eq!(town.stranger().get("/").status, 303, "a stranger is sent to sign in");

        browser.press("main a[href='/enrol']").await;
        browser.write("form[action='/enrol/code'] input[name=name]", "北庄村").await;
        browser.write("form[action='/enrol/code'] input[name=division]", "330127104201").await;
        browser.press("form[action='/enrol/code'] button").await;
        browser.element(".code-read").await;
        browser.look("office-enrol").await;
        let code = browser.element(".code-read").await.text().await.unwrap();
        assert_eq!(code.trim().len(), 9, "{code}");
    });
}

#[test]
fn a_campaign_goes_from_the_recording_to_every_village_and_back() {
    let mut town = Town::new();
    town.populate(6);
    in_a_browser(&mut town, async |browser, town| {
        browser.sign_in(ADMIN, PASSWORD).await;
        browser.go("/").await;
        browser.says("在线").await;
        browser.look("office-stations").await;

        write_a_campaign(browser, town).await;
        try_and_publish(browser).await;
        write_a_bulletin(browser, town).await;

        // A village's own page, its groups, and who did what.
        browser.go("/groups").await;
        browser.write("form[action='/groups'] input[name=name]", "沿河").await;
        browser.press("input[name=everybody]").await;
        browser.press("form[action='/groups'] button[value=in]").await;
        browser.says("沿河").await;
        browser.look("office-groups").await;
        browser.go("/").await;
        browser.press("main tbody th a").await;
        browser.says("播出记录").await;
        browser.look("office-station").await;
        browser.go("/records").await;
        browser.says("发布").await;
        browser.look("office-records").await;
        phone_and_english(browser, town).await;
        roles(browser, town).await;
    });
}

async fn write_a_campaign(browser: &Browser, town: &Town) {
    browser.go("/campaigns").await;
    browser.press("main a[href='/campaigns/new?kind=campaign']").await;
    browser.write("input[name=title]", "防溺水宣传").await;
    browser.press("input[name=everybody]").await;
    let field = browser.element("input[type=file]").await;
    field.send_keys(&recording(town, "防溺水提醒.wav", 12.0)).await.unwrap();
    browser.press("button[value=upload]").await;
    browser.says("防溺水提醒.wav").await;
    // What is filled in outlives the upload, and the new sound is played.
    let title = browser.element("input[name=title]").await.prop("value").await.unwrap();
    assert_eq!(title.as_deref(), Some("防溺水宣传"));
    browser.press("button.hidden ~ p button[value=preview], main > form > p button[value=preview]").await;
    browser.says("没有保存").await;
    browser.look("office-campaign-findings").await;
    open_parts(browser).await;
    browser.write("input[name='rule.0.at']", "00:10 07:30 18:30").await;
    browser.look("office-campaign-edit").await;
    browser.press("main > form > p button[value=preview]").await;
    browser.says("6 村将多播").await;
    browser.look("office-campaign-preview").await;
    browser.press("button[value=save]").await;
    browser.says("还没有下发").await;
}

async fn open_parts(browser: &Browser) {
    browser.run("document.querySelectorAll('details.part').forEach(part => part.open = true)").await;
}

async fn try_and_publish(browser: &Browser) {
    browser.press("input[name=step][value=try] ~ button").await;
    browser.says("1 村将多播").await;
    browser.press("form[action$='/step'] button").await;
    reload_until(browser, "1 村已生效").await;
    browser.press("input[name=step][value=publish] ~ button").await;
    browser.says("5 村将多播").await;
    browser.look("office-campaign-look").await;
    browser.press("form[action$='/step'] button").await;
    browser.says("已发布").await;
    reload_until(browser, "6 村已生效").await;
    browser.look("office-campaign").await;
    // Another version, and back in one press.
    browser.press("main a[href$='/edit']").await;
    open_parts(browser).await;
    browser.write("input[name='rule.0.at']", "07:30").await;
    browser.press("main > form > p button[value=preview]").await;
    browser.says("6 村将少播").await;
    browser.press("button[value=save]").await;
    browser.press("input[name=step][value=publish] ~ button").await;
    browser.press("form[action$='/step'] button").await;
    browser.says("恢复上一版").await;
    browser.press("form[action$='/step'] input[value=restore] ~ button").await;
    browser.says("已恢复").await;
    reload_until(browser, "6 村已生效").await;
    browser.press("input[name=step][value=withdraw] ~ button").await;
    browser.says("6 村将少播").await;
    browser.press("form[action$='/step'] button").await;
    browser.says("已撤回").await;
}

/// Looks again until the page says something: what the villages report comes by and by.
async fn reload_until(browser: &Browser, what: &str) {
    let since = dalaba::clock::monotonic();
    loop {
        let text = browser.text().await;
        if text.contains(what) {
            return;
        }
        assert!(since.elapsed() < support::PATIENCE, "in vain: {what}\n{text}");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        browser.client.refresh().await.unwrap();
    }
}

async fn write_a_bulletin(browser: &Browser, town: &Town) {
    browser.go("/campaigns/new?kind=bulletin").await;
    browser.write("input[name=title]", "冒充客服退款").await;
    browser.press("input[name=everybody]").await;
    let field = browser.element("input[type=file]").await;
    field.send_keys(&recording(town, "客服退款骗局.wav", 8.0)).await.unwrap();
    browser.press("button[value=upload]").await;
    browser.says("客服退款骗局.wav").await;
    browser.write("textarea[name=trick]", "冒充网购客服，说快递丢了要退款").await;
    browser.write("textarea[name=loss]", "北庄村一户被骗 3.2 万元").await;
    browser.write("textarea[name=lesson]", "真客服不会要验证码，也不会让人转账").await;
    browser.write("textarea[name=reminder]", "接到这样的电话先挂断，再打 96110").await;
    browser.write("input[name=times]", "07:00 12:00 18:00").await;
    browser.run("document.querySelector('input[name=last_day]').value = '2099-12-31'").await;
    browser.look("office-bulletin").await;
    browser.press("main > form > p button[value=preview]").await;
    browser.says("6 村将多播").await;
    browser.press("button[value=save]").await;
    browser.says("骗术：冒充网购客服").await;
    browser.press("input[name=step][value=publish] ~ button").await;
    browser.press("form[action$='/step'] button").await;
    reload_until(browser, "6 村已生效").await;
    browser.go("/campaigns").await;
    browser.says("案例通报").await;
    browser.look("office-campaigns").await;
}

const PAGES: [&str; 12] = [
    "/",
    "/campaigns",
    "/sounds",
    "/emergency",
    "/drill",
    "/play",
    "/volume",
    "/roll-call",
    "/groups",
    "/enrol",
    "/people",
    "/keys",
];

async fn phone_and_english(browser: &Browser, town: &Town) {
    browser.phone().await;
    let station = town.pages.json("/").json()["stations"][0]["id"].as_str().unwrap().to_owned();
    let station = format!("/stations/{station}");
    for page in PAGES.into_iter().chain(["/records", "/campaigns/new", "/campaigns/new?kind=bulletin", &station]) {
        browser.go(page).await;
        let name = page.trim_start_matches('/').split(['/', '?']).next().unwrap();
        let name = match name {
            "" => "stations",
            "stations" => "station",
            name => name,
        };
        browser.look(&format!("phone-office-{name}")).await;
    }
    browser.wide().await;
    browser.go("/").await;
    browser.press("form[action='/language'] button").await;
    browser.says("Now in English").await;
    for page in PAGES {
        browser.go(page).await;
        assert_eq!(browser.run("return document.documentElement.lang").await, json!("en"));
        browser.look(&format!("english-office{}", page.replace('/', "-").trim_end_matches('-'))).await;
    }
    browser.go("/").await;
    browser.press("form[action='/language'] button").await;
    browser.says("已换成中文").await;
}

async fn roles(browser: &Browser, town: &Town) {
    browser.go("/people").await;
    let form = "form[action='/people']";
    browser.write(&format!("{form} input[name=name]"), "赵敏").await;
    browser.write(&format!("{form} input[name=password]"), PASSWORD).await;
    browser.press(&format!("{form} button")).await;
    browser.says("已保存").await;
    browser.press("form[action='/sign-out'] button").await;
    browser.sign_in("赵敏", PASSWORD).await;
    browser.go("/").await;
    browser.says("赵敏").await;
    for page in ["/emergency", "/people", "/enrol", "/campaigns/new"] {
        browser.go(page).await;
        browser.says("没有这个权限").await;
    }
    let records = town.pages.json("/records").json().to_string();
    assert!(records.contains("赵敏"), "who was added stands in the audit trail: {records}");
}

#[test]
fn an_emergency_is_looked_at_twice_followed_to_every_village_stopped_and_cleared() {
    let mut town = Town::new();
    town.populate(5);
    in_a_browser(&mut town, async |browser, town| {
        browser.sign_in(ADMIN, PASSWORD).await;
        browser.go("/sounds").await;
        for (name, seconds) in [("洪水转移.wav", 20.0), ("险情解除.wav", 9.0)] {
            let field = browser.element("input[type=file]").await;
            field.send_keys(&recording(town, name, seconds)).await.unwrap();
            browser.press("form[action='/sounds'] button").await;
            browser.says("音频已上传").await;
        }
        browser.look("office-sounds").await;

        fill_in(browser, "/emergency", "上游泄洪，沿河立即转移").await;
        browser.look("office-emergency").await;
        browser.press("form[action='/emergency/look'] button").await;
        browser.says("5 个村在线，会立即播出").await;
        for name in town.names() {
            assert!(browser.text().await.contains(&name), "{name} is named");
        }
        browser.look("office-emergency-look").await;
        browser.write("input[name=word]", "立即").await;
        browser.press("form[action='/emergency'] button").await;
        browser.says("没有播出").await;
        assert_eq!(orders(town), 0, "a slip of the hand says nothing");
        browser.write("input[name=word]", "立即播出").await;
        browser.press("form[action='/emergency'] button").await;
        browser.says("指令已签发").await;
        // Live, without a reload.
        browser.says("5 在线：5 已").await;
        browser.look("office-emergency-live").await;
        browser.press("form[action$='/all-clear'] button").await;
        browser.says("解除").await;
        browser.says("5 在线：5 已").await;

        fill_in(browser, "/drill", "防汛演练").await;
        browser.look("office-drill").await;
        browser.press("form[action='/drill/look'] button").await;
        browser.says("确认演练").await;
        browser.look("office-drill-look").await;
        browser.press("form[action='/drill'] button").await;
        browser.says("5 在线：5 已").await;
        browser.element(".drill-mark").await;
        browser.go("/emergency").await;
        assert!(!browser.text().await.contains("防汛演练"), "a drill does not stand among the real ones");

        browser.go("/roll-call").await;
        browser.press("input[name=everybody]").await;
        browser.press("form[action='/roll-call'] button").await;
        browser.says("5 在线：5 已完成").await;
        browser.look("office-roll-call").await;
    });
}

async fn fill_in(browser: &Browser, page: &str, subject: &str) {
    browser.go(page).await;
    browser.write("input[name=subject]", subject).await;
    browser.press("select[name=sound] option:nth-child(2)").await;
    browser.press("input[name=everybody]").await;
    browser.press("select[name=clear_sound] option:nth-child(3)").await;
    browser.write("input[name=clear_text]", "险情解除，可以回家").await;
}

fn orders(town: &Town) -> usize {
    town.pages.json("/emergency").json()["before"].as_array().unwrap().len()
}

#[test]
fn whoever_looks_at_the_stations_sees_them_change_until_they_sign_out() {
    let mut town = Town::new();
    town.populate(3);
    in_a_browser(&mut town, async |browser, town| {
        browser.sign_in(ADMIN, PASSWORD).await;
        browser.go("/").await;
        browser.write("input[name=text]", "尚未查找").await;
        browser.run("window.untouched = true").await;
        let first = town.pages.json("/").json()["stations"][0].clone();
        let (id, division) = (first["id"].as_str().unwrap(), first["division"].as_str().unwrap());
        let fields = [("name", "新名字村"), ("division", division), ("groups", "沿河")];
        assert_eq!(town.pages.form_json(&format!("/stations/{id}/place"), &fields).status, 200);
        browser.says("新名字村").await;
        let field = browser.element("input[name=text]").await.prop("value").await.unwrap();
        assert_eq!(field.as_deref(), Some("尚未查找"), "what somebody writes stays");
        assert_eq!(browser.run("return window.untouched").await, json!(true), "the page was not loaded again");
        // A page that shows one group follows in its own way, from the same look at the tables.
        browser.go("/?group=%E6%B2%BF%E6%B2%B3").await;
        browser.says("新名字村").await;
        assert_eq!(browser.run("return document.querySelectorAll('main tbody tr').length").await, json!(1));
        town.leave();
        browser.says("离线 ·").await;
    });
    let mut clerk = town.stranger();
    assert_eq!(clerk.sign_in(ADMIN, PASSWORD).status, 303);
    for path in ["/events", "/events?show=down"] {
        assert_eq!(town.stranger().get(path).status, 303, "{path} is for those who have signed in");
    }
    let mut stream = TcpStream::connect(clerk.address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(&clerk.written("GET", "/events", &[], b"")).unwrap();
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&heard).contains("新名字村") {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the stream goes on");
        heard.extend_from_slice(&chunk[..read]);
    }
    assert_eq!(clerk.form("/sign-out", &[]).status, 303);
    stream.read_to_end(&mut heard).expect("the stream ends with the session");
}

#[test]
fn keys_are_renewed_with_a_second_look_and_a_restored_office_is_put_right() {
    let mut town = Town::new();
    town.populate(3);
    in_a_browser(&mut town, async |browser, town| {
        browser.sign_in(ADMIN, PASSWORD).await;
        browser.go("/").await;
        browser.press("nav a[href='/keys']").await;
        browser.says("应急播报").await;
        reload_until(browser, "全部村已换到这一版").await;
        browser.look("office-keys").await;
        let before = town.pages.json("/keys").json();
        browser.press("form:has(input[value=content]) button").await;
        browser.says("3 个村在线，马上知道").await;
        browser.look("office-keys-look").await;
        assert_eq!(town.pages.json("/keys").json()["version"], before["version"], "a look renews nothing");
        browser.press("form[action='/keys/renew'] button").await;
        browser.says("密钥已更换").await;
        // Every village follows, and obeys the new key.
        reload_until(browser, "全部村已换到这一版").await;
        let after = town.pages.json("/keys").json();
        let kid = |seen: &serde_json::Value, signs: &str| {
            let keys = seen["keys"].as_array().unwrap();
            keys.iter().find(|key| key["signs"] == signs).unwrap()["kid"].clone()
        };
        assert_ne!(kid(&before, "content"), kid(&after, "content"));
        assert_eq!(kid(&before, "emergency"), kid(&after, "emergency"));
        // Pressed again on a page that was left open, nothing is renewed again.
        let version = before["version"].to_string();
        let again = town.pages.form_json("/keys/renew", &[("renew", "content"), ("version", &version)]);
        assert_eq!(again.status, 409, "{}", again.text());
        assert_eq!(town.pages.json("/keys").json()["version"], after["version"]);
        let call = town.pages.form_json("/roll-call", &[("everybody", "on")]).json();
        browser.go(&format!("/orders/{}", call["command"].as_str().unwrap())).await;
        browser.says("3 在线：3 已完成").await;

        // What villages report that know more than an office restored from an old backup.
        town.leave();
        let file = format!("sqlite://{}/office.db", town.home().display());
        sqlx::any::install_default_drivers();
        let tables = sqlx::AnyPool::connect(&file).await.unwrap();
        sqlx::query("UPDATE reported SET ahead = 1").execute(&tables).await.unwrap();
        browser.go("/").await;
        browser.says("从旧备份恢复的：3 个站点").await;
        browser.look("office-stations-ahead").await;
        browser.press("main a[href='/keys']").await;
        browser.says("开始新的一代").await;
        browser.look("office-keys-ahead").await;
        browser.phone().await;
        for page in ["/keys", "/keys/look?renew=generation", "/"] {
            browser.go(page).await;
            browser.look(&format!("phone-office-ahead{}", page.replace(['/', '?', '='], "-"))).await;
        }
        browser.wide().await;
        browser.go("/keys").await;
        browser.press("main form:has(input[value=generation]) button").await;
        browser.says("只在从旧备份恢复以后使用").await;
        browser.press("form[action='/keys/renew'] button").await;
        browser.says("已开始新的一代").await;
        assert!(!browser.text().await.contains("不再接受这里下发的"), "{}", browser.text().await);
        let renewed = town.pages.json("/keys").json();
        assert!(renewed["generation"].as_u64() > after["generation"].as_u64());
        let records = town.pages.json("/records").json();
        let keys = records["records"].as_array().unwrap().iter().filter(|record| record["what"] == "keys");
        let details: Vec<_> = keys.map(|record| record["detail"].as_str().unwrap()).collect();
        assert_eq!(details, ["generation", "content"]);
    });
}

#[test]
fn an_operator_plays_now_and_sets_the_volume_and_stops_no_emergency() {
    let mut town = Town::new();
    town.populate(4);
    let owner = town.pages.clone();
    let person = [("name", "赵敏"), ("password", PASSWORD), ("role", "operator")];
    assert_eq!(owner.form_json("/people", &person).status, 200);
    in_a_browser(&mut town, async |browser, town| {
        browser.sign_in("赵敏", PASSWORD).await;
        browser.go("/sounds").await;
        let field = browser.element("input[type=file]").await;
        field.send_keys(&recording(town, "停水通知.wav", 40.0)).await.unwrap();
        browser.press("form[action='/sounds'] button").await;
        browser.says("音频已上传").await;

        browser.press("nav a[href='/play']").await;
        browser.write("input[name=subject]", "今晚停水").await;
        browser.press("select[name=sound] option:nth-child(2)").await;
        browser.look("office-play").await;
        browser.press("form[action='/play/look'] button").await;
        browser.says("没有已入网的村").await;
        browser.press("input[name=everybody]").await;
        browser.press("form[action='/play/look'] button").await;
        browser.says("4 个村在线，会立即播出").await;
        for name in town.names() {
            assert!(browser.text().await.contains(&name), "{name} is named");
        }
        browser.look("office-play-look").await;
        assert_eq!(town.pages.json("/play").json()["before"], json!([]), "a look plays nothing");
        browser.press("form[action='/play'] button").await;
        browser.says("指令已签发").await;
        browser.says("4 在线：4 已").await;
        browser.press("form[action$='/stop'] button").await;
        browser.says("停播：今晚停水").await;
        browser.says("4 在线：4 已完成").await;

        browser.go("/volume").await;
        browser.write("input[name=percent]", "40").await;
        browser.press("input[name=everybody]").await;
        browser.look("office-volume").await;
        browser.press("form[action='/volume/look'] button").await;
        browser.says("音量调到 40%").await;
        browser.says("4 个村在线，马上调好").await;
        browser.look("office-volume-look").await;
        browser.press("form[action='/volume'] button").await;
        browser.says("4 在线：4 已完成").await;
        browser.look("office-volume-order").await;
        browser.phone().await;
        for page in ["/play", "/volume"] {
            browser.go(page).await;
            browser.look(&format!("phone-office{}", page.replace('/', "-"))).await;
        }
    });
    // What only an administrator may order, only an administrator may stop.
    let sound = owner.json("/play").json()["sounds"][0]["sha256"].as_str().unwrap().to_owned();
    let emergency = [("subject", "山洪"), ("sound", &*sound), ("everybody", "on"), ("word", "立即播出")];
    let ordered = owner.form_json("/emergency", &emergency).json()["command"].as_str().unwrap().to_owned();
    let mut operator = town.stranger();
    assert_eq!(operator.sign_in("赵敏", PASSWORD).status, 303);
    assert_eq!(operator.form_json(&format!("/orders/{ordered}/stop"), &[]).status, 403);
    assert_eq!(operator.form_json("/emergency", &emergency).status, 403);
    assert_eq!(owner.form_json(&format!("/orders/{ordered}/stop"), &[]).status, 200);
    for bad in ["101", "-1", "", "loud"] {
        let refused = operator.form_json("/volume", &[("percent", bad), ("everybody", "on")]);
        assert_eq!(refused.status, 422, "{bad}: {}", refused.text());
    }
}

#[test]
fn the_month_is_assessed_from_what_the_villages_played() {
    let mut town = Town::new();
    town.populate(4);
    let ids: Vec<_> = {
        let seen = town.pages.json("/").json();
        seen["stations"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let members: Vec<_> = ids.iter().take(2).map(|id| format!("station.{id}")).collect();
    let mut fields = vec![("name", "沿河"), ("do", "in")];
    fields.extend(members.iter().map(|name| (name.as_str(), "on")));
    let changed = town.pages.form_json("/groups", &fields).json();
    assert_eq!(changed["stations"], 2, "{changed}");
    town.wait("rows of every village have come", |town| {
        let seen = town.pages.json("/assess").json();
        let rows = seen["stations"].as_array().cloned().unwrap_or_default();
        (rows.len() == 4 && rows.iter().all(|row| row["planned"].as_i64() > Some(0))).then_some(())
    });
    in_a_browser(&mut town, async |browser, town| {
        browser.sign_in(ADMIN, PASSWORD).await;
        browser.press("nav a[href='/assess']").await;
        browser.says("名次").await;
        for name in town.names() {
            assert!(browser.text().await.contains(&name), "{name} has its place");
        }
        browser.says("沿河").await;
        browser.look("office-assess").await;
        browser.run("document.querySelectorAll('details').forEach(one => one.open = true)").await;
        // Each number says how it is made.
        for term in ["应播", "已播", "准点", "补播", "漏播", "免责", "责任播出率"] {
            let row = format!(
                "return [...document.querySelectorAll('details dt, details th')].some(one => one.textContent.includes('{term}'))"
            );
            assert_eq!(browser.run(&row).await, json!(true), "{term} is defined");
        }
        browser.run("document.querySelector('main dl.terms').scrollIntoView()").await;
        browser.look("office-assess-definitions").await;
        browser.run("window.scrollTo(0, 0)").await;

        // The workbook that the page's own link names, as the browser gets it.
        let workbook = browser
            .run(
                "const link = document.querySelector(\"a[href^='/assess.xlsx']\");
                 return fetch(link.href).then(async (answer) => [answer.status, answer.headers.get('content-type'),
                     answer.headers.get('content-disposition'), [...new Uint8Array(await answer.arrayBuffer())].slice(0, 2)])",
            )
            .await;
        assert_eq!(workbook[0], 200);
        assert_eq!(workbook[1], "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
        assert!(workbook[2].as_str().unwrap().contains(".xlsx"), "{workbook}");
        assert_eq!(workbook[3], json!([b'P', b'K']));

        browser.press("main tbody th a").await;
        browser.says("逐日").await;
        browser.look("office-assess-station").await;
        browser.go("/assess").await;
        browser.press("a[href^='/assess/print']").await;
        browser.says("制表人").await;
        browser.says("桐溪镇").await;
        for term in ["应播", "责任播出率"] {
            browser.says(term).await;
        }
        browser.look("office-assess-print").await;
        browser.phone().await;
        for page in ["/assess", "/assess/print", "/assess/year", &format!("/assess/{}", ids[0])] {
            browser.go(page).await;
            let name = if page.ends_with(&ids[0]) { "-assess-station".to_owned() } else { page.replace('/', "-") };
            browser.look(&format!("phone-office{name}")).await;
        }
    });
}

//! A real browser, without a window, and what holds for every page that it shows: nothing is wider than the window, every
//! field has its label, nothing comes from elsewhere, every text stands out. With `DALABA_PICTURES=1` pictures of the pages
//! are taken into `docs/`.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::PATIENCE;
use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A browser of its own, without a window.
pub struct Browser {
    driver: Child,
    /// To ask it directly.
    pub client: Client,
    root: String,
}

impl Browser {
    /// Opens one for the pages at `root`, as `http://127.0.0.1:8650`.
    pub async fn open(root: String) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver, which scripts/test installs");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver says its port").unwrap();
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // It goes on speaking; somebody has to listen.
        std::thread::spawn(move || lines.for_each(drop));
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"];
        let options = json!({ "args": arguments, "prefs": { "intl.accept_languages": "zh-CN" } });
        let Value::Object(capabilities) = json!({ "goog:chromeOptions": options }) else { unreachable!("an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser");
        let browser = Self { driver, client, root };
        browser.wide().await;
        browser
    }

    /// The window of a PC.
    pub async fn wide(&self) {
        self.client.set_window_size(1100, 900).await.unwrap();
    }

    /// The window of a phone.
    pub async fn phone(&self) {
        self.client.set_window_size(400, 900).await.unwrap();
    }

    /// Opens a page.
    pub async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.root)).await.unwrap();
    }

    /// What the page says. Where it gives way to the next while it is read, that one is read.
    pub async fn text(&self) -> String {
        let since = dalaba::clock::monotonic();
        loop {
            let read = match self.client.find(Locator::Css("body")).await {
                Ok(body) => body.text().await,
                Err(error) => Err(error),
            };
            match read {
                Ok(text) => return text,
                Err(error) => assert!(since.elapsed() < PATIENCE, "the page: {error}"),
            }
        }
    }

    /// Fills a field in.
    pub async fn write(&self, field: &str, text: &str) {
        let field = self.element(field).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Presses something; what was replaced between the look and the press is looked for again.
    pub async fn press(&self, what: &str) {
        let since = dalaba::clock::monotonic();
        while let Err(error) = self.element(what).await.click().await {
            assert!(since.elapsed() < PATIENCE, "{what}: {error}");
        }
    }

    /// Waits for an element: a page may still be on its way.
    pub async fn element(&self, what: &str) -> Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(what)).await;
        found.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Waits until the page says something.
    pub async fn says(&self, what: &str) {
        let since = dalaba::clock::monotonic();
        loop {
            let text = self.text().await;
            if text.contains(what) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "in vain: {what}\n{text}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Runs a script.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Holds the page that is shown against what holds for every page, and takes its picture.
    pub async fn look(&self, name: &str) {
        let wide = self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert!(wide.as_i64().unwrap() <= 0, "{name} is {wide} pixels too wide: {}", self.widest().await);
        let bare = self
            .run(
                "return [...document.querySelectorAll('input, select, textarea')]
                    .filter(field => field.type !== 'hidden' && !field.hidden && !field.labels?.length && !field.ariaLabel)
                    .map(field => field.outerHTML)",
            )
            .await;
        assert_eq!(bare, json!([]), "fields of {name} without a label");
        let foreign = self
            .run(
                "return performance.getEntriesByType('resource').map(entry => entry.name)
                    .filter(name => !name.startsWith(location.origin))",
            )
            .await;
        assert_eq!(foreign, json!([]), "{name} asks elsewhere");
        let unclear = self.run(CONTRAST).await;
        assert_eq!(unclear, json!([]), "texts of {name} below a contrast of 4.5");
        if std::env::var_os("DALABA_PICTURES").is_some() {
            let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
            fs::create_dir_all(&docs).unwrap();
            fs::write(docs.join(format!("{name}.png")), self.client.screenshot().await.unwrap()).unwrap();
        }
    }

    async fn widest(&self) -> Value {
        self.run(
            "return [...document.querySelectorAll('body *')]
                .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
                .map(one => one.tagName + '.' + one.className + ' ' + one.textContent.slice(0, 40)).slice(0, 5)",
        )
        .await
    }

    /// Signs in.
    pub async fn sign_in(&self, name: &str, password: &str) {
        self.go("/sign-in").await;
        self.write("input[name=name]", name).await;
        self.write("main input[name=password]", password).await;
        self.press("main form button").await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A driver that is killed leaves its browser behind; they are one group.
        kill_process_group(Pid::from_child(&self.driver), Signal::KILL).ok();
        self.driver.wait().ok();
    }
}

/// Returns the texts whose contrast with what lies behind them is below 4.5 (WCAG 2, AA).
const CONTRAST: &str = "
const parts = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
const shine = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (one) => {
    for (; one; one = one.parentElement) {
        const colour = parts(getComputedStyle(one).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
};
return [...document.querySelectorAll('body *')]
    .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()) && one.checkVisibility())
    .filter(one => !one.disabled && !one.closest('fieldset:disabled, svg, option'))
    .map(one => {
        const [a, b] = [shine(parts(getComputedStyle(one).color)), shine(behind(one))].sort((a, b) => b - a);
        return [(a + 0.05) / (b + 0.05), one.textContent.trim().slice(0, 30)];
    })
    .filter(([contrast]) => contrast < 4.5);
";

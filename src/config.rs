//! `station.toml`: who and where this station is, and its limits. Unknown keys are refused; each default stands
//! beside its field.

use crate::{
    calendar::{DaySet, DayWindow, Hours, Weekdays, WorkingHours},
    schedule::{Finding, Severity, Volume},
    text::{civil_date, place},
};
use jiff::{SignedDuration, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The file's name in the station's home.
pub const FILE: &str = "station.toml";

/// What kind of place the loudspeaker stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    #[default]
    Village,
    Enterprise,
    School,
    Shop,
    PublicOffice,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Village, Self::Enterprise, Self::School, Self::Shop, Self::PublicOffice];

    /// Returns the word that the station file has for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Village => "village",
            Self::Enterprise => "enterprise",
            Self::School => "school",
            Self::Shop => "shop",
            Self::PublicOffice => "public-office",
        }
    }
}

/// Who may see the screen page, which asks for no sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Screen {
    /// A screen of this very machine.
    #[default]
    Machine,
    /// Every machine that reaches the page.
    Lan,
    /// Nobody.
    Off,
}

impl Screen {
    /// Returns the word that the station file has for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Lan => "lan",
            Self::Off => "off",
        }
    }
}

/// A station's configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// a-z, 0-9, '-'.
    pub id: String,
    /// What people call the station.
    pub name: String,
    /// What kind of place it is.
    pub kind: Kind,
    /// The named zone in which every time is meant.
    pub zone: TimeZone,
    /// Quiet and working hours, daily limit.
    pub hours: Hours,
    /// Days on which nothing scheduled sounds.
    pub closed: Vec<Date>,
    /// Outputs, volume, loudness.
    pub sound: Sound,
    /// Where the page listens: this machine alone, or its network too, which is served over TLS.
    pub listen: SocketAddr,
    /// Names that the page is served under beside the machine's own.
    pub hosts: Vec<String>,
    /// Who may see the screen page.
    pub screen: Screen,
}

/// How the station sounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// In order of preference: `pulse:SINK`, `alsa:PCM`, `wasapi:NAME`, `default`.
    pub outputs: Vec<String>,
    /// Of the station.
    pub volume: Volume,
    /// No source gets past it.
    pub ceiling: Volume,
    /// Target of every clip, LUFS.
    pub loudness: f64,
    /// Sound card to air.
    pub latency_offset: SignedDuration,
    /// Whether a muted, suspended or all but silent output is put right while something sounds.
    pub keep_audible: bool,
    /// Switches an amplifier.
    pub amplifier: Amplifier,
}

/// Command lines that switch an amplifier; no shell reads them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Amplifier {
    /// Program and arguments; empty for none.
    pub on: Vec<String>,
    /// Program and arguments; empty for none.
    pub off: Vec<String>,
    /// Between switching on and the first sample.
    pub warm_up: SignedDuration,
}

impl Config {
    /// The configuration of a home that has no `station.toml` yet.
    pub fn first_run() -> Self {
        check(
            Raw {
                station: RawStation { id: "station".into(), name: "未命名站点".into(), ..RawStation::default() },
                ..Raw::default()
            },
            "",
        )
        .expect("the defaults are a valid configuration")
    }

    /// Reads the text of a `station.toml`; returns every mistake that can be told apart.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        let text = text.trim_start_matches('\u{feff}');
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| place(text, span.start));
            vec![Finding {
                file: FILE.into(),
                line: at.map(|(line, _)| line),
                column: at.map(|(_, column)| column),
                severity: Severity::Error,
                code: if error.message().starts_with("unknown field") { "unknown-key" } else { "bad-station-file" },
                message: format!("这一处读不懂（{}）；请对照说明改正后保存", error.message().replace('\n', " ")),
            }]
        })?;
        check(raw, text)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Raw {
    station: RawStation,
    hours: RawHours,
    closed: Vec<RawClosed>,
    sound: RawSound,
    panel: RawPanel,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawStation {
    id: String,
    name: String,
    #[serde(default)]
    kind: Kind,
    /// Asia/Shanghai
    zone: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawHours {
    /// ["21:30-06:00"]
    quiet: Option<Vec<String>>,
    /// 08:00-12:00 and 13:30-17:30 on workdays
    working: Option<Vec<RawWorking>>,
    /// 4h
    daily_limit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawWorking {
    days: RawDays,
    times: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawDays {
    Named(String),
    Weekdays(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawClosed {
    date: toml::value::Datetime,
    #[serde(default, rename = "note")]
    _note: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawSound {
    /// ["default"]
    output: Option<Vec<String>>,
    /// 80
    volume: Option<i64>,
    /// 100
    ceiling: Option<i64>,
    /// -16
    loudness: Option<f64>,
    /// 0ms
    latency_offset: Option<String>,
    keep_audible: Option<bool>,
    amplifier: RawAmplifier,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawAmplifier {
    on: Vec<String>,
    off: Vec<String>,
    /// 0s
    warm_up: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawPanel {
    /// 127.0.0.1:8650
    listen: Option<String>,
    /// []
    hosts: Vec<String>,
    /// machine
    screen: Screen,
}

fn check(raw: Raw, text: &str) -> Result<Config, Vec<Finding>> {
    let mut faults = Faults { text, found: Vec::new() };
    let station = raw.station;
    if station.id.is_empty()
        || station.id.len() > 64
        || !station.id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    {
        faults.add(&["id"], "bad-id", format!("站点编号“{}”只能用小写字母、数字和 -，最长 64 个字符", station.id));
    }
    if station.name.trim().is_empty() || station.name.chars().count() > 64 {
        faults.add(&["name"], "bad-name", "站点名称不能为空，最长 64 个字".into());
    }
    let zone_name = station.zone.unwrap_or_else(|| "Asia/Shanghai".into());
    let zone = TimeZone::get(&zone_name).unwrap_or_else(|_| {
        faults.add(&["zone"], "unknown-zone", format!("没有名为“{zone_name}”的时区；中国大陆请写 \"Asia/Shanghai\""));
        TimeZone::UTC
    });

    let defaults = Hours::default();
    let quiet = raw.hours.quiet.map_or(defaults.quiet, |texts| faults.windows(&texts));
    let working = raw.hours.working.map_or(defaults.working, |all| {
        let one = |raw: RawWorking| WorkingHours { days: faults.days(&raw.days), times: faults.windows(&raw.times) };
        all.into_iter().map(one).collect()
    });
    let daily_limit = match raw.hours.daily_limit {
        Some(text) => faults.duration("daily-limit", &text, SignedDuration::ZERO, SignedDuration::from_hours(24)),
        None => defaults.daily_limit,
    };
    let closed = raw.closed.iter().filter_map(|closed| faults.date(&closed.date)).collect();

    let sound = raw.sound;
    let outputs = sound.output.unwrap_or_else(|| vec!["default".into()]);
    for output in &outputs {
        if !is_output(output) {
            let message = format!(
                "输出“{output}”不认识；请写 \"default\"、\"pulse:名称\"、\"alsa:名称\" 或 \"wasapi:名称\"（用 dalaba devices 查看）"
            );
            faults.add(&["output"], "unknown-output", message);
        }
    }
    if outputs.is_empty() {
        faults.add(&["output"], "no-output", "output 至少要写一个输出，例如 [\"default\"]".into());
    }
    let loudness = sound.loudness.unwrap_or(-16.0);
    if !(-36.0..=-8.0).contains(&loudness) {
        faults.add(&["loudness"], "bad-loudness", format!("响度 {loudness} 不合适；请写 -36 到 -8 之间的数，常用 -16"));
    }
    let amplifier = Amplifier {
        on: sound.amplifier.on,
        off: sound.amplifier.off,
        warm_up: sound.amplifier.warm_up.map_or(SignedDuration::ZERO, |text| {
            faults.duration("warm-up", &text, SignedDuration::ZERO, SignedDuration::from_mins(1))
        }),
    };
    let second = SignedDuration::from_secs(1);
    let sound = Sound {
        outputs,
        volume: faults.volume("volume", sound.volume.unwrap_or(80)),
        ceiling: faults.volume("ceiling", sound.ceiling.unwrap_or(100)),
        loudness,
        latency_offset: sound
            .latency_offset
            .map_or(SignedDuration::ZERO, |text| faults.duration("latency-offset", &text, -second, second)),
        keep_audible: sound.keep_audible.unwrap_or(true),
        amplifier,
    };
    let listen = raw.panel.listen.unwrap_or_else(|| "127.0.0.1:8650".into());
    let listen = match listen.parse::<SocketAddr>() {
        Ok(address) if !address.ip().is_multicast() => address,
        _ => {
            let message = format!(
                "“{listen}”不是本机的地址；只在本机打开请写 \"127.0.0.1:8650\"，局域网也能打开请写 \"0.0.0.0:8650\""
            );
            faults.add(&["listen"], "bad-address", message);
            SocketAddr::from(([127, 0, 0, 1], 8650))
        }
    };
    let mut hosts = Vec::new();
    for host in raw.panel.hosts {
        match full_host(&host, listen.port()) {
            Some(full) => hosts.push(full),
            None => {
                let message = format!("“{host}”不是主机名；请写成 \"radio.example\" 或 \"radio.example:8650\"");
                faults.add(&[&host, "hosts"], "bad-host", message);
            }
        }
    }
    if !faults.found.is_empty() {
        faults.found.sort();
        return Err(faults.found);
    }
    Ok(Config {
        id: station.id,
        name: station.name,
        kind: station.kind,
        zone,
        hours: Hours { quiet, working, daily_limit },
        closed,
        sound,
        listen,
        hosts,
        screen: raw.panel.screen,
    })
}

/// Returns whether `text` can be the name of an output.
pub fn is_output(text: &str) -> bool {
    let hosts = ["pulse:", "alsa:", "wasapi:"];
    text == "default" || hosts.iter().any(|host| text.strip_prefix(host).is_some_and(|name| !name.is_empty()))
}

/// Returns a name as a browser sends it, with its port: the page's own where none is written. None for no name.
fn full_host(host: &str, port: u16) -> Option<String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()?),
        None => (host, port),
    };
    let is_name = (1..=253).contains(&name.len())
        && name.split('.').all(|part| !part.is_empty())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    is_name.then(|| format!("{name}:{port}"))
}

struct Faults<'a> {
    text: &'a str,
    found: Vec<Finding>,
}

impl Faults<'_> {
    /// Adds a fault at the line where the first of `needles` stands as a key or a quoted value.
    fn add(&mut self, needles: &[&str], code: &'static str, message: String) {
        let at = needles.iter().find_map(|needle| {
            self.text.match_indices(needle).map(|(at, _)| at).find(|at| {
                let line = self.text[..*at].rsplit('\n').next().unwrap_or("");
                !line.trim_start().starts_with('#')
            })
        });
        let at = at.map(|at| place(self.text, at));
        self.found.push(Finding {
            file: FILE.into(),
            line: at.map(|(line, _)| line),
            column: at.map(|(_, column)| column),
            severity: Severity::Error,
            code,
            message,
        });
    }

    fn windows(&mut self, texts: &[String]) -> Vec<DayWindow> {
        let mut windows = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(window) => windows.push(window),
                Err(error) => self.add(&[text], "bad-window", format!("{error}")),
            }
        }
        windows
    }

    fn days(&mut self, days: &RawDays) -> DaySet {
        match days {
            RawDays::Named(name) => DaySet::named(name).unwrap_or_else(|| {
                let message =
                    format!("日子“{name}”不认识；请写 every-day、workdays、rest-days、holidays 或 [\"mon\", \"tue\"]");
                self.add(&[name], "unknown-days", message);
                DaySet::EveryDay
            }),
            RawDays::Weekdays(names) => {
                let mut week = Weekdays::default();
                for name in names {
                    match Weekdays::day(name) {
                        Some(day) => week.insert(day),
                        None => self.add(
                            &[name],
                            "unknown-weekday",
                            format!("星期“{name}”不认识；请写 mon tue wed thu fri sat sun"),
                        ),
                    }
                }
                DaySet::Weekdays(week)
            }
        }
    }

    fn duration(&mut self, key: &str, text: &str, least: SignedDuration, most: SignedDuration) -> SignedDuration {
        match text.parse::<SignedDuration>() {
            Ok(length) if (least..=most).contains(&length) => length,
            _ => {
                let message =
                    format!("{key} 的时长“{text}”不合适；请写成 2m、30s、4h 这样，在 {least:#} 到 {most:#} 之间");
                self.add(&[text, key], "bad-duration", message);
                least
            }
        }
    }

    fn volume(&mut self, key: &str, percent: i64) -> Volume {
        u8::try_from(percent).ok().and_then(|percent| Volume::try_from(percent).ok()).unwrap_or_else(|| {
            self.add(&[key], "bad-volume", format!("{key} = {percent} 不合适；请写 0 到 100 的整数"));
            Volume::FULL
        })
    }

    fn date(&mut self, written: &toml::value::Datetime) -> Option<Date> {
        let date = civil_date(written);
        if date.is_none() {
            let text = written.to_string();
            self.add(&[&text], "bad-date", format!("“{text}”不是日期；请写成 2026-12-13"));
        }
        date
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATION: &str = "[station]\nid = \"beizhuang\"\nname = \"北庄村\"\n";

    #[test]
    fn two_keys_are_enough_and_the_rest_are_the_defaults_of_the_brief() {
        let config = Config::parse(STATION).expect("the smallest station file");
        assert_eq!((config.sound.volume.percent(), config.sound.loudness), (80, -16.0));
        assert_eq!(config.hours.quiet, ["21:30-06:00".parse().expect("a window")]);
        assert_eq!(config.hours.daily_limit, SignedDuration::from_hours(4));
        assert_eq!(config.listen.port(), 8650);
    }

    #[test]
    fn the_page_may_listen_on_the_network_under_names_of_its_own() {
        let text =
            "[panel]\nlisten = \"0.0.0.0:80\"\nhosts = [\"radio.village\", \"10.0.0.9:443\"]\nscreen = \"lan\"\n";
        let config = Config::parse(&format!("{STATION}{text}")).expect("a page for the network");
        assert!(config.listen.ip().is_unspecified());
        assert_eq!(config.hosts, ["radio.village:80", "10.0.0.9:443"]);
        assert_eq!(config.screen, Screen::Lan);
    }

    #[test]
    fn each_mistake_is_named_with_its_line() {
        for (tail, code, line) in [
            ("zone = \"Asia/Beijing\"", "unknown-zone", 4),
            ("colour = \"red\"", "unknown-key", 4),
            ("[hours]\nquiet = [\"9pm-6am\"]", "bad-window", 5),
            ("[hours]\ndaily-limit = \"long\"", "bad-duration", 5),
            ("[sound]\nvolume = 130", "bad-volume", 5),
            ("[sound]\nvolume = \"loud\"", "bad-station-file", 5),
            ("[sound]\noutput = [\"null\"]", "unknown-output", 5),
            ("[sound]\noutput = []", "no-output", 5),
            ("[panel]\nlisten = \"8650\"", "bad-address", 5),
            ("[panel]\nhosts = [\"http://a/\"]", "bad-host", 5),
            ("[panel]\nscreen = \"everybody\"", "bad-station-file", 5),
            ("[[closed]]\ndate = 2026-02-30\nnote = \"\"", "bad-station-file", 5),
            ("[hours]\nworking = [{ days = [\"mon\", \"someday\"], times = [\"08:00-12:00\"] }]", "unknown-weekday", 5),
        ] {
            let findings = Config::parse(&format!("{STATION}{tail}\n")).expect_err(tail);
            assert_eq!((findings[0].code, findings[0].line), (code, Some(line)), "{tail}: {findings:?}");
        }
    }
}

//! Schedule text to a [`Schedule`] and its [`Finding`]s, with line and column.
//!
//! One mistake costs what it stands in and nothing else: a rule with an impossible date is lost alone, an announcement
//! that cannot be read takes its own rules with it. All mistakes are told at once, in order of place. No text makes
//! this panic.
//!
//! | code | what is wrong |
//! | --- | --- |
//! | `too-large`, `too-many-rules` | the whole file is refused: above 1 MiB, above 2,000 rules |
//! | `syntax` | not TOML: a quote, a bracket, an equals sign |
//! | `duplicate-key`, `duplicate-announcement` | the same key or announcement twice |
//! | `unquoted-name` | a Chinese name in a header without quotes; understood (warning) |
//! | `unknown-key` | a key that means nothing here; ignored (warning) |
//! | `missing-key`, `wrong-type`, `empty-list`, `bad-text` | a value that is absent, of another type, or empty |
//! | `bad-name`, `empty-play`, `bad-path`, `bad-band`, `emergency-band`, `bad-pick`, `bad-volume` | of an announcement |
//! | `unknown-announcement` | a rule or override names what the file does not hold |
//! | `one-of-at-every-cron`, `between-without-every` | keys that do not go together |
//! | `bad-time`, `duplicate-time`, `bad-duration`, `bad-window`, `bad-cron` | of a rule's moments (`duplicate-time`: warning) |
//! | `bad-days`, `bad-lunar-date`, `bad-term`, `bad-date`, `bad-during` | of a rule's days |
//! | `from-after-until` | a term that holds no day |
//! | `bad-cancel` | of an override |
//!
//! Not here: what only a plan can tell ([`crate::plan`]): clashes, missing clips, announcements that no rule plays.

mod reader;
mod recover;
#[cfg(test)]
mod tests;

use super::{
    Announcement, Band, Cancel, CronLine, During, Finding, Override, Pick, Rule, Schedule, Severity, Source, Volume,
    When, is_name,
};
use crate::calendar::{DaySet, LunarDate, Weekdays};
use jiff::{
    SignedDuration,
    civil::{Time, Weekday},
};
use reader::{Read, Reader, Reported, Table, Value, nearest, shown};
use recover::{Block, Kind};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::{DeArray, DeTable, DeValue};

/// A schedule file as far as it could be read.
#[derive(Debug)]
pub struct Parsed {
    /// None if the structure cannot be recovered: then the version in force stays in force.
    pub schedule: Option<Schedule>,
    /// Every mistake at once, in order of place.
    pub findings: Vec<Finding>,
}

/// The longest text that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// As many rules as one file may hold.
const MOST_RULES: usize = 2_000;

/// How late an occurrence may still start where the rule does not say.
const GRACE: SignedDuration = SignedDuration::from_mins(2);

/// Reads one schedule file. `file` is its path relative to the home, for the findings; its stem is the schedule's name.
pub fn parse(source: Source, file: &str, text: &str) -> Parsed {
    if text.len() > LARGEST {
        let finding = Finding {
            file: file.to_owned(),
            line: None,
            column: None,
            severity: Severity::Error,
            code: "too-large",
            message: "文件超过 1 MiB，整个文件不采用；请拆成几个文件".to_owned(),
        };
        return Parsed { schedule: None, findings: vec![finding] };
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let blocks = recover::blocks(text);
    if let Some(at) = rules_of(&blocks).nth(MOST_RULES) {
        let mut reader = Reader::default();
        let message = format!("规则超过 {MOST_RULES} 条，整个文件不采用；请合并或拆成几个文件");
        reader.remark(at, Severity::Error, "too-many-rules", message);
        return Parsed { schedule: None, findings: reader.findings(file, text) };
    }
    let name = stem(file);
    let mut draft = Draft::new(Schedule {
        name: name.to_owned(),
        source,
        title: name.to_owned(),
        enabled: true,
        from: None,
        until: None,
        announcements: BTreeMap::new(),
        rules: Vec::new(),
        overrides: Vec::new(),
    });
    // Announcements first: rules and overrides name them wherever they stand.
    for block in &blocks {
        draft.reader.enter(block);
        draft.report_mistakes(text, block);
        // What a torn header leaves loose is not the file's own.
        if !(block.headed && draft.reader.is_torn()) {
            draft.settings(&block.table);
        }
        draft.announcements(&block.table);
    }
    for block in &blocks {
        draft.reader.enter(block);
        draft.rules(&block.table);
        draft.overrides(&block.table);
    }
    let torn = blocks.iter().flat_map(|block| &block.mistakes).any(|mistake| mistake.kind.tears());
    let schedule = (!torn || !draft.schedule.rules.is_empty()).then_some(draft.schedule);
    Parsed { schedule, findings: draft.reader.findings(file, text) }
}

/// Returns the name of `file` without its folders and its ending.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".toml").unwrap_or(name)
}

/// Returns where each rule stands.
fn rules_of(blocks: &[Block<'_>]) -> impl Iterator<Item = usize> {
    blocks.iter().flat_map(|block| {
        let rules = block.table.get("rule").and_then(|rules| rules.get_ref().as_array());
        rules.into_iter().flat_map(|rules| rules.iter()).map(|rule| block.base + rule.span().start)
    })
}

/// A schedule as it is being read.
struct Draft {
    schedule: Schedule,
    /// Every announcement that the file holds, also those that cannot be used.
    declared: BTreeSet<String>,
    reader: Reader,
}

impl Draft {
    fn new(schedule: Schedule) -> Self {
        Self { schedule, declared: BTreeSet::new(), reader: Reader::default() }
    }

    fn report_mistakes(&mut self, text: &str, block: &Block<'_>) {
        for mistake in &block.mistakes {
            let at = block.base + mistake.span.start;
            let line = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..];
            if mistake.kind == Kind::UnquotedName && !line.trim_start().starts_with('[') {
                continue; // An unknown key, and soon called one.
            }
            let (code, message) = describe(mistake.kind);
            let severity = if mistake.kind == Kind::UnquotedName { Severity::Warning } else { Severity::Error };
            let hint = if mistake.kind.tears() && line.lines().next().is_some_and(is_full_width) {
                "（这一行有中文标点，引号、逗号、等号和括号都要用英文的）"
            } else {
                ""
            };
            self.reader.remark(mistake.span.start, severity, code, format!("{message}{hint}"));
        }
    }

    /// Reads what concerns the whole file. A setting that cannot be read is ignored: the rules still play.
    fn settings(&mut self, fields: &DeTable<'_>) {
        const KEYS: [&str; 7] = ["title", "enabled", "from", "until", "announcement", "rule", "override"];
        let reader = &mut self.reader;
        reader.refuse_unknown(fields, &KEYS);
        let table = Table { fields, at: 0 };
        if let Ok(Some(title)) = reader.optional(table, "title", Reader::text) {
            self.schedule.title = title;
        }
        if let Ok(Some(enabled)) = reader.optional(table, "enabled", Reader::flag) {
            self.schedule.enabled = enabled;
        }
        if let Ok(Some(from)) = reader.optional(table, "from", Reader::date) {
            self.schedule.from = Some(from);
        }
        if let Ok(Some(until)) = reader.optional(table, "until", Reader::date) {
            self.schedule.until = Some(until);
            if let (Some(from), Some(place)) = (self.schedule.from, fields.get("until"))
                && from > until
            {
                let message = format!("结束日期 {until} 早于开始日期 {from}，整个计划都不会播；请改正 from 或 until");
                reader.wrong(place.span(), "from-after-until", message);
            }
        }
    }

    fn announcements(&mut self, fields: &DeTable<'_>) {
        let Some(value) = fields.get("announcement") else { return };
        let Some(announcements) = value.get_ref().as_table() else {
            self.reader.mistyped(value, "播报，如 [announcement.morning]");
            return;
        };
        for (key, value) in announcements {
            let name: &str = key.get_ref();
            if !is_name(name) {
                let message = format!(
                    "“{}”不能作播报的名字；请用 1 到 64 个字母、数字、汉字、“-”或“_”，汉字要加引号，如 [announcement.\"早间\"]",
                    shown(name)
                );
                self.reader.wrong(key.span(), "bad-name", message);
            }
            if !self.declared.insert(name.to_owned()) {
                let message = format!("播报“{}”写了两次，采用前一个；请改名或删去一个", shown(name));
                self.reader.wrong(key.span(), "duplicate-announcement", message);
                continue;
            }
            if let Ok(announcement) = self.announcement(name, value)
                && is_name(name)
                && !self.reader.is_broken(&value.span())
            {
                self.schedule.announcements.insert(name.to_owned(), announcement);
            }
        }
    }

    fn announcement(&mut self, name: &str, value: &Value<'_>) -> Read<Announcement> {
        const KEYS: [&str; 8] = ["title", "enabled", "band", "chime", "play", "pick", "volume", "screen"];
        let reader = &mut self.reader;
        let table = of_table(reader, value, "播报的各项，如 play = [\"fraud/\"]")?;
        reader.refuse_unknown(table.fields, &KEYS);
        let title = reader.optional(table, "title", Reader::text);
        let enabled = reader.optional(table, "enabled", Reader::flag);
        let band = reader.optional(table, "band", band);
        let chime = reader.optional(table, "chime", Reader::clip);
        let play = reader.required(table, "play", "play = [\"fraud/\"]", |reader, value| {
            let play = reader.list(value, "列表，如 [\"fraud/\"]", Reader::play_path)?;
            if play.is_empty() {
                return Err(reader.wrong(
                    value.span(),
                    "empty-play",
                    "没有写播什么；请写音频或文件夹，如 [\"fraud/\"]",
                ));
            }
            Ok(play)
        });
        let pick = reader.optional(table, "pick", pick);
        let volume = reader.optional(table, "volume", Reader::volume);
        let screen = reader.optional(table, "screen", Reader::text);
        Ok(Announcement {
            title: title?.unwrap_or_else(|| name.to_owned()),
            enabled: enabled?.unwrap_or(true),
            band: band?.unwrap_or_default(),
            chime: chime?,
            play: play?,
            pick: pick?.unwrap_or_default(),
            volume: volume?.unwrap_or(Volume::FULL),
            screen: screen?,
        })
    }

    fn rules(&mut self, fields: &DeTable<'_>) {
        for value in of_tables(&mut self.reader, fields, "rule") {
            if let Ok(Some(rule)) = self.rule(value)
                && !self.reader.is_broken(&value.span())
            {
                self.schedule.rules.push(rule);
            }
        }
    }

    /// Reads one rule; none where the announcement it plays could not be used, which has been said.
    fn rule(&mut self, value: &Value<'_>) -> Read<Option<Rule>> {
        const KEYS: [&str; 11] =
            ["play", "enabled", "at", "every", "cron", "between", "on", "during", "except", "grace", "hard"];
        let table = of_table(&mut self.reader, value, "规则，如 [[rule]]")?;
        let reader = &mut self.reader;
        reader.refuse_unknown(table.fields, &KEYS);
        let declared = &self.declared;
        let play = reader.required(table, "play", "play = \"播报的名字\"", |reader, value| {
            reader.string(value).and_then(|name| declared_name(reader, declared, value, name))
        });
        let enabled = reader.optional(table, "enabled", Reader::flag);
        let when = when(reader, table);
        let on = reader.optional(table, "on", days);
        let during = reader.optional(table, "during", during);
        let except = reader
            .optional(table, "except", |reader, value| reader.list(value, "日期列表，如 [2026-12-13]", Reader::date));
        let grace = reader.optional(table, "grace", Reader::duration);
        let hard = reader.optional(table, "hard", Reader::flag);
        let rule = Rule {
            play: play?,
            enabled: enabled?.unwrap_or(true),
            when: when?,
            on: on?.unwrap_or_default(),
            during: during?,
            except: except?.unwrap_or_default(),
            grace: grace?.unwrap_or(GRACE),
            hard: hard?.unwrap_or(false),
        };
        Ok(self.schedule.announcements.contains_key(&rule.play).then_some(rule))
    }

    fn overrides(&mut self, fields: &DeTable<'_>) {
        for value in of_tables(&mut self.reader, fields, "override") {
            if let Ok(change) = self.change(value)
                && !self.reader.is_broken(&value.span())
            {
                self.schedule.overrides.push(change);
            }
        }
    }

    fn change(&mut self, value: &Value<'_>) -> Read<Override> {
        let table = of_table(&mut self.reader, value, "当天调整，如 [[override]]")?;
        let reader = &mut self.reader;
        reader.refuse_unknown(table.fields, &["date", "cancel", "note"]);
        let date = reader.required(table, "date", "date = 2026-12-13", Reader::date);
        let declared = &self.declared;
        let cancel =
            reader.required(table, "cancel", "cancel = \"all\"", |reader, value| cancel(reader, declared, value));
        // A note that cannot be read is no reason to sound on a day of mourning.
        let note = reader.optional(table, "note", Reader::text).unwrap_or_default();
        Ok(Override { date: date?, cancel: cancel?, note: note.unwrap_or_default() })
    }
}

/// Returns the code and the sentence for what TOML does not accept.
fn describe(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::BadDate => ("bad-date", "这个日期或时间不存在；请改正，日期如 2026-12-13，时间如 06:30"),
        Kind::DuplicateKey => {
            ("duplicate-key", "同一项写了两次，不知道该用哪一个；请删去一个（多条规则各用一个 [[rule]]）")
        }
        Kind::UnquotedName => ("unquoted-name", "名字里有英文以外的字要加引号，如 [announcement.\"早间\"]；请加上"),
        Kind::Quotes => ("syntax", "文字要放在一对英文双引号里，如 \"06:30\"；请补上引号"),
        Kind::List => ("syntax", "列表没有写完整；请检查方括号成对、各项之间有英文逗号，如 [\"06:30\", \"18:00\"]"),
        Kind::Other => ("syntax", "这里的写法看不懂；每一行应是“名称 = 值”，或 [[rule]] 这样的标题，请改正"),
    }
}

/// Returns whether `line` holds a mark that a Chinese keyboard types in place of one of TOML's.
fn is_full_width(line: &str) -> bool {
    line.contains(['“', '”', '‘', '’', '，', '＝', '［', '］', '【', '】', '：', '。'])
}

fn of_table<'a>(reader: &mut Reader, value: &'a Value<'a>, shape: &str) -> Read<Table<'a>> {
    match value.get_ref() {
        DeValue::Table(fields) => Ok(Table { fields, at: value.span().start }),
        _ => Err(reader.mistyped(value, shape)),
    }
}

/// Returns the tables under `key`, which are written `[[key]]`.
fn of_tables<'a>(reader: &mut Reader, fields: &'a DeTable<'a>, key: &str) -> &'a [Value<'a>] {
    let Some(value) = fields.get(key) else { return &[] };
    let Some(tables) = value.get_ref().as_array() else {
        reader.mistyped(value, &format!("双层方括号的 [[{key}]]，每条各写一个"));
        return &[];
    };
    DeArray::as_ref(tables)
}

/// Returns `name` if the file holds such an announcement.
fn declared_name(reader: &mut Reader, declared: &BTreeSet<String>, value: &Value<'_>, name: String) -> Read<String> {
    if declared.contains(&name) {
        return Ok(name);
    }
    let remedy = match nearest(&name, declared.iter().map(String::as_str)) {
        Some(near) => format!("是不是想写“{near}”？"),
        None => format!("请加上 [announcement.{}]，或改成已有的名字", shown(&name)),
    };
    Err(reader.wrong(value.span(), "unknown-announcement", format!("没有名叫“{}”的播报；{remedy}", shown(&name))))
}

fn band(reader: &mut Reader, value: &Value<'_>) -> Read<Band> {
    match reader.string(value)?.as_str() {
        "background" => Ok(Band::Background),
        "normal" => Ok(Band::Normal),
        "urgent" => Ok(Band::Urgent),
        "emergency" => {
            let message = "紧急播报只能由人下令，不能写在计划里；请改成 \"urgent\"";
            Err(reader.wrong(value.span(), "emergency-band", message))
        }
        _ => Err(reader.wrong(value.span(), "bad-band", "优先级请写 \"background\"、\"normal\" 或 \"urgent\"")),
    }
}

fn pick(reader: &mut Reader, value: &Value<'_>) -> Read<Pick> {
    match reader.string(value)?.as_str() {
        "in-turn" => Ok(Pick::InTurn),
        "shuffle" => Ok(Pick::Shuffle),
        "all" => Ok(Pick::All),
        _ => {
            let message = "请写 \"in-turn\"（轮流）、\"shuffle\"（打乱）或 \"all\"（全部）";
            Err(reader.wrong(value.span(), "bad-pick", message))
        }
    }
}

/// Reads `at`, `every` or `cron`, exactly one of them.
fn when(reader: &mut Reader, table: Table<'_>) -> Read<When> {
    let at = reader.optional(table, "at", times);
    let every = reader.optional(table, "every", period);
    let between = reader.optional(table, "between", Reader::window);
    let cron = reader.optional(table, "cron", cron);
    let present = |key| table.fields.get(key);
    let kinds: Vec<_> = ["at", "every", "cron"].into_iter().filter_map(present).collect();
    match kinds[..] {
        [_] => {}
        [] if reader.is_torn() => return Err(Reported),
        [] => {
            let message = "没有写什么时候播；请写 at、every、cron 中的一个，如 at = [\"06:30\"]";
            return Err(reader.wrong(table.at..table.at, "one-of-at-every-cron", message));
        }
        [_, ref more @ ..] => {
            let second = more.iter().map(|value| value.span().start).chain([kinds[0].span().start]).max().unwrap_or(0);
            let message = "at、every、cron 只能写一个；请留下一个，其余另写 [[rule]]";
            return Err(reader.wrong(second..second, "one-of-at-every-cron", message));
        }
    }
    if let (None, Some(between)) = (present("every"), present("between")) {
        let message = "between 只能和 every 一起用；请删去，或改用 during 限定时段";
        return Err(reader.wrong(between.span(), "between-without-every", message));
    }
    match (at?, every?, cron?) {
        (Some(at), _, _) => Ok(When::At(at)),
        (_, Some(period), _) => Ok(When::Every { period, between: between? }),
        (_, _, Some(line)) => Ok(When::Cron(line)),
        (None, None, None) => Err(Reported),
    }
}

/// Reads times of the day; one that stands twice counts once.
fn times(reader: &mut Reader, value: &Value<'_>) -> Read<Vec<Time>> {
    let times = reader.filled(value, "时间列表，如 [\"06:30\", \"18:00\"]", |reader, value| {
        Ok((reader.time(value)?, value.span().start))
    })?;
    let mut seen = BTreeSet::new();
    let mut distinct = Vec::with_capacity(times.len());
    for (time, at) in times {
        if seen.insert(time) {
            distinct.push(time);
        } else {
            let message = format!("时间 {} 写了两次，只播一次；请删去一个", time.strftime("%H:%M:%S"));
            reader.remark(at, Severity::Warning, "duplicate-time", message);
        }
    }
    Ok(distinct)
}

/// Reads the length of `every`, in whole seconds: an occurrence is known by its second.
fn period(reader: &mut Reader, value: &Value<'_>) -> Read<SignedDuration> {
    let period = reader.duration(value)?;
    if period < SignedDuration::from_secs(1) || period.subsec_nanos() != 0 {
        return Err(reader.wrong(value.span(), "bad-duration", "间隔要是整秒，至少 1 秒，如 \"30m\"；请改正"));
    }
    Ok(period)
}

fn cron(reader: &mut Reader, value: &Value<'_>) -> Read<CronLine> {
    let line = reader.string(value)?;
    line.parse().map_err(|error: super::CronError| reader.wrong(value.span(), "bad-cron", error.to_string()))
}

fn during(reader: &mut Reader, value: &Value<'_>) -> Read<During> {
    const SHAPE: &str = " \"working-hours\"、\"after-hours\" 或时段列表，如 [\"06:00-21:00\"]";
    match value.get_ref().as_str() {
        Some("working-hours") => Ok(During::WorkingHours),
        Some("after-hours") => Ok(During::AfterHours),
        Some(_) => Err(reader.wrong(value.span(), "bad-during", format!("这里要写{SHAPE}；请改正"))),
        None => reader.filled(value, SHAPE, Reader::window).map(During::Windows),
    }
}

fn days(reader: &mut Reader, value: &Value<'_>) -> Read<DaySet> {
    const SHAPE: &str = " \"every-day\"、\"workdays\"、\"rest-days\"、\"holidays\"、[\"mon\", \"fri\"]，\
                         或 { lunar = [\"12-23\"] }、{ lunar-day-ends = [3, 8] }、{ terms = [\"冬至\"] }、{ dates = [2026-12-13] }";
    match value.get_ref() {
        DeValue::String(word) => DaySet::named(word)
            .ok_or_else(|| reader.wrong(value.span(), "bad-days", format!("这里要写{SHAPE}；请改正"))),
        DeValue::Array(_) => {
            let days = reader.filled(value, "星期列表，如 [\"mon\", \"fri\"]", weekday)?;
            let mut weekdays = Weekdays::default();
            for day in days {
                weekdays.insert(day);
            }
            Ok(DaySet::Weekdays(weekdays))
        }
        DeValue::Table(fields) => {
            let table = Table { fields, at: value.span().start };
            reader.refuse_unknown(fields, &["lunar", "lunar-day-ends", "terms", "dates"]);
            let lunar = reader.optional(table, "lunar", |reader, value| {
                reader.filled(value, "农历日期列表，如 [\"12-23\"]", lunar_date).map(DaySet::Lunar)
            });
            let ends = reader.optional(table, "lunar-day-ends", |reader, value| {
                reader.filled(value, "农历日的尾数，如 [3, 8]", digit).map(DaySet::LunarDayEnds)
            });
            let terms = reader.optional(table, "terms", |reader, value| {
                reader.filled(value, "节气列表，如 [\"冬至\"]", term).map(DaySet::Terms)
            });
            let dates = reader.optional(table, "dates", |reader, value| {
                reader.filled(value, "日期列表，如 [2026-12-13]", Reader::date).map(DaySet::Dates)
            });
            let mut sets = [lunar?, ends?, terms?, dates?].into_iter().flatten();
            match (sets.next(), sets.next()) {
                (Some(set), None) => Ok(set),
                _ => {
                    let message =
                        "花括号里要写 lunar、lunar-day-ends、terms、dates 中的一个；请改正，其余另写 [[rule]]";
                    Err(reader.wrong(value.span(), "bad-days", message))
                }
            }
        }
        _ => Err(reader.mistyped(value, SHAPE)),
    }
}

fn weekday(reader: &mut Reader, value: &Value<'_>) -> Read<Weekday> {
    Weekdays::day(&reader.string(value)?).ok_or_else(|| {
        reader.wrong(value.span(), "bad-days", "星期请写 mon、tue、wed、thu、fri、sat、sun（周一到周日）")
    })
}

fn lunar_date(reader: &mut Reader, value: &Value<'_>) -> Read<LunarDate> {
    let text = reader.string(value)?;
    text.parse().map_err(|_| {
        let message = "农历日期请写“月-日”，如 \"12-23\"，闰月写 \"闰06-15\"，\"12-30\" 是腊月最后一天；请改正";
        reader.wrong(value.span(), "bad-lunar-date", message)
    })
}

fn digit(reader: &mut Reader, value: &Value<'_>) -> Read<u8> {
    let DeValue::Integer(number) = value.get_ref() else {
        return Err(reader.mistyped(value, " 0 到 9 的整数，如逢三逢八写 [3, 8]"));
    };
    let digit = u8::from_str_radix(number.as_str(), number.radix()).ok();
    digit
        .filter(|digit| *digit <= 9)
        .ok_or_else(|| reader.wrong(value.span(), "bad-days", "尾数是 0 到 9，如逢三逢八写 [3, 8]；请改正"))
}

fn term(reader: &mut Reader, value: &Value<'_>) -> Read<String> {
    let name = reader.string(value)?;
    if DaySet::is_term(&name) {
        return Ok(name);
    }
    let message = format!("“{}”不是节气；请写二十四节气的名字，如 \"冬至\"", shown(&name));
    Err(reader.wrong(value.span(), "bad-term", message))
}

fn cancel(reader: &mut Reader, declared: &BTreeSet<String>, value: &Value<'_>) -> Read<Cancel> {
    const SHAPE: &str = " \"all\"（全部），或播报名字的列表，如 [\"morning\"]";
    match value.get_ref() {
        DeValue::String(word) if word == "all" => Ok(Cancel::All),
        DeValue::Array(_) => {
            // A name that nobody bears cancels nothing; the others are cancelled all the same.
            let names = reader.filled(value, SHAPE, |reader, value| {
                let name = reader.string(value)?;
                Ok(declared_name(reader, declared, value, name).ok())
            })?;
            Ok(Cancel::Named(names.into_iter().flatten().collect()))
        }
        DeValue::String(_) => Err(reader.wrong(value.span(), "bad-cancel", format!("这里要写{SHAPE}；请改正"))),
        _ => Err(reader.mistyped(value, SHAPE)),
    }
}

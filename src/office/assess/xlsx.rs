//! 考评 as a workbook: 说明 with every definition, 汇总, 排名, 分组 and 原因 whose sums and rates are formulas that anybody can
//! look at, and 原始记录, each row that was counted with its number and hash. In Chinese, as the books of a town are; the
//! definitions are in English too.
//!
//! Always true: a cell that holds text holds it as text, whatever it begins with, and a formula carries the number that it
//! comes to. Raw rows go to a file for the time being, so that a month of a county takes no memory.
//!
//! Not here: proof. A workbook proves nothing; [`super::evidence`] does.

use super::{Assessment, ByReason, Class, Numbers, Row, Span, Unplaced, definitions};
use crate::{
    journal::xlsx::{day, text, time},
    link::{GroupName, StationId},
    office::store::Found,
    outcome::{Outcome, Reason},
    plan::OccurrenceId,
    text::Language,
};
use jiff::{Timestamp, tz::TimeZone};
use rust_xlsxwriter::{
    Format, FormatAlign, FormatBorder, Formula, Workbook, Worksheet, XlsxError, utility::column_number_to_name,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Seek, Write},
};

/// A workbook holds at most as many raw rows; with more no spreadsheet of an office's PC is pleasant.
pub const MOST_ROWS: i64 = 200_000;

const ABOUT: &str = "说明";
const SUMMARY: &str = "汇总";
const PLACES: &str = "排名";
const GROUPS: &str = "分组";
const REASONS: &str = "原因";
const RAW: &str = "原始记录";

/// Rows above the first station: a title, a line about it, the head.
const TOP: u32 = 3;

/// The columns of 汇总 with their widths.
const COLUMNS: [(&str, f64); 27] = [
    ("站点", 20.0),
    ("编号", 18.0),
    ("分组", 18.0),
    ("应播", 8.0),
    ("已播", 8.0),
    ("准点", 8.0),
    ("补播", 8.0),
    ("部分", 8.0),
    ("漏播", 8.0),
    ("免责", 8.0),
    ("责任", 8.0),
    ("按规则不播", 11.0),
    ("临时播出", 10.0),
    ("播出分钟", 10.0),
    ("计入天数", 10.0),
    ("有记录", 8.0),
    ("无应播", 8.0),
    ("无记录", 8.0),
    ("在线小时", 10.0),
    ("计入小时", 10.0),
    ("播出率", 9.0),
    ("准点率", 9.0),
    ("责任播出率", 11.0),
    ("在线率", 9.0),
    ("得分", 9.0),
    ("不排名次的原因", 16.0),
    ("与原始记录核对", 15.0),
];

/// Where a number of 汇总 comes from.
enum Cell {
    Number(f64),
    /// Of the row with the number `{r}` in it.
    Formula(&'static str, Option<f64>),
}

/// The numbers of a row of 汇总, from column D on.
fn cells(numbers: &Numbers) -> [Cell; 22] {
    use Cell::{Formula, Number};
    let whole = |number: i64| Number(number as f64);
    let sum = |formula, number: i64| Formula(formula, Some(number as f64));
    let hours = |ms: i64| Number(ms as f64 / 3_600_000.0);
    [
        sum("=E{r}+J{r}+K{r}", numbers.planned),
        sum("=F{r}+G{r}", numbers.played),
        whole(numbers.on_time),
        whole(numbers.made_up),
        whole(numbers.partial),
        sum("=D{r}-E{r}-H{r}", numbers.missed),
        whole(numbers.excused),
        whole(numbers.blamed),
        whole(numbers.chosen),
        whole(numbers.asked),
        Number(numbers.minutes()),
        sum("=P{r}+Q{r}+R{r}", numbers.days),
        whole(numbers.recorded),
        whole(numbers.unplanned),
        whole(numbers.silent),
        hours(numbers.online_ms),
        hours(numbers.known_ms),
        Formula("=IF(D{r}=0,\"\",E{r}/D{r})", numbers.rate()),
        Formula("=IF(E{r}=0,\"\",F{r}/E{r})", numbers.punctuality()),
        Formula("=IF(D{r}-J{r}=0,\"\",E{r}/(D{r}-J{r}))", numbers.fair_rate()),
        Formula("=IF(T{r}=0,\"\",S{r}/T{r})", numbers.online_rate()),
        Formula("=IF(D{r}-J{r}=0,\"\",W{r}*IF(O{r}=0,1,(O{r}-R{r})/O{r}))", numbers.score()),
    ]
}

/// A formula with the number that it comes to; empty where it comes to none.
fn formula(text: impl Into<String>, result: Option<f64>) -> Formula {
    Formula::new(text.into()).set_result(result.map_or_else(String::new, |number| number.to_string()))
}

/// A workbook being written.
pub struct Xlsx<'a> {
    book: Workbook,
    office: &'a str,
    report: &'a Assessment,
    zone: TimeZone,
    /// None where the raw rows are left out.
    raw: Option<Raw<'a>>,
    forms: Forms,
}

/// The raw rows so far.
#[derive(Default)]
struct Raw<'a> {
    rows: u32,
    /// Name and counted days of each station, and how many rows there are of it.
    stations: BTreeMap<StationId, (&'a str, Span, i64)>,
}

struct Forms {
    title: Format,
    head: Format,
    whole: Format,
    tenth: Format,
    percent: Format,
    date: Format,
    time: Format,
    wrapped: Format,
}

impl Forms {
    fn new() -> Self {
        Self {
            title: Format::new().set_bold().set_font_size(14.0),
            head: Format::new()
                .set_bold()
                .set_background_color(0xE3_E9_F2)
                .set_border_bottom(FormatBorder::Thin)
                .set_text_wrap(),
            whole: Format::new().set_num_format("0"),
            tenth: Format::new().set_num_format("0.0"),
            percent: Format::new().set_num_format("0.0%"),
            date: Format::new().set_num_format("yyyy-mm-dd"),
            time: Format::new().set_num_format("hh:mm:ss"),
            wrapped: Format::new().set_text_wrap().set_align(FormatAlign::Top),
        }
    }

    /// How the number in a column of 汇总 looks.
    fn of(&self, column: u16) -> &Format {
        match column {
            13 | 18 | 19 => &self.tenth,
            20..=24 => &self.percent,
            _ => &self.whole,
        }
    }
}

impl<'a> Xlsx<'a> {
    /// Starts the workbook of an office's report, with times in the office's zone, and with raw rows or without.
    pub fn new(office: &'a str, report: &'a Assessment, zone: TimeZone, has_raw: bool) -> Result<Self, XlsxError> {
        let (mut book, forms) = (Workbook::new(), Forms::new());
        for name in [ABOUT, SUMMARY, PLACES, GROUPS, REASONS] {
            let sheet = book.add_worksheet().set_name(name)?.set_landscape().set_print_fit_to_pages(1, 0);
            // What a formula without a number comes to.
            sheet.set_formula_result_default("");
        }
        if has_raw {
            let sheet = book.add_worksheet_with_constant_memory()?;
            sheet.set_name(RAW)?.set_freeze_panes(1, 0)?.set_landscape().set_print_fit_to_pages(1, 0);
            head(sheet, 0, &RAW_COLUMNS, &forms)?;
        }
        let station =
            |row: &'a Row| (row.station.clone(), (row.name.as_str(), Span { first: row.first, last: row.last }, 0));
        let raw = has_raw.then(|| Raw { rows: 0, stations: report.stations.iter().map(station).collect() });
        Ok(Self { book, office, report, zone, raw, forms })
    }

    /// Writes one raw row, if it counts and rows are written at all.
    pub fn row(&mut self, found: &Found) -> Result<(), XlsxError> {
        let Some(raw) = &mut self.raw else { return Ok(()) };
        let Some((name, span, rows)) = raw.stations.get_mut(&found.station) else { return Ok(()) };
        if !span.contains(found.date) {
            return Ok(());
        }
        *rows += 1;
        raw.rows += 1;
        let row = raw.rows;
        let sheet = self.book.worksheet_from_name(RAW)?;
        let local = |at: Timestamp| at.to_zoned_datetime(self.zone.clone()).datetime();
        let seconds = |ms: i64| ms as f64 / 1000.0;
        text(sheet, row, 0, found.station.as_str())?;
        text(sheet, row, 1, name)?;
        day(sheet, row, 2, found.date, &self.forms.date)?;
        time(sheet, row, 3, local(found.due).time(), &self.forms.time)?;
        text(sheet, row, 4, &found.title)?;
        text(sheet, row, 5, &found.announcement)?;
        text(sheet, row, 6, found.outcome.zh())?;
        text(sheet, row, 7, found.reason.map_or("", Reason::zh))?;
        text(sheet, row, 8, counts_as(found))?;
        sheet.write_number_with_format(row, 9, seconds(found.expected_ms), &self.forms.tenth)?;
        sheet.write_number_with_format(row, 10, seconds(found.heard_ms), &self.forms.tenth)?;
        if let Some(late) = found.late_ms {
            sheet.write_number_with_format(row, 11, seconds(late), &self.forms.tenth)?;
        }
        text(sheet, row, 12, &found.epoch)?;
        sheet.write_number(row, 13, found.seq as f64)?;
        text(sheet, row, 14, &found.occurrence)?;
        text(sheet, row, 15, &found.hash)
    }

    /// Writes the other sheets, and the workbook to `to`.
    pub fn finish(mut self, to: impl Write + Seek + Send) -> Result<(), XlsxError> {
        // By name, as people look for them; 排名 has them by place.
        let mut by_name: Vec<_> = self.report.stations.iter().collect();
        by_name.sort_by(|one, other| (&one.name, &one.station).cmp(&(&other.name, &other.station)));
        let rows: BTreeMap<_, _> = (TOP..).zip(&by_name).map(|(row, one)| (one.station.clone(), row + 1)).collect();
        self.about()?;
        self.summary(&by_name)?;
        self.places(&rows)?;
        self.groups(&rows)?;
        self.reasons(&by_name)?;
        if let Some(rows) = self.raw.as_ref().map(|raw| raw.rows) {
            let columns = u16::try_from(RAW_COLUMNS.len()).unwrap_or(u16::MAX);
            self.book.worksheet_from_name(RAW)?.autofilter(0, 0, rows, columns - 1)?;
        }
        self.book.save_to_writer(to)
    }

    fn title(&self, what: &str) -> (String, String) {
        let at = self.report.at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let running = if self.report.is_running { "，当月尚未结束" } else { "" };
        (format!("{} {} {what}", self.office, self.report.month), format!("生成于 {at}{running}"))
    }

    fn about(&mut self) -> Result<(), XlsxError> {
        let (title, line) = self.title("考评说明");
        let raw = match &self.raw {
            Some(raw) => format!("“{RAW}”列出计入的每一条记录（{} 条）及其编号和校验值。", raw.rows),
            None => format!("记录超过 {MOST_ROWS} 条，没有附上“{RAW}”；请按站点或分组分别下载。"),
        };
        let forms = &self.forms;
        let sheet = self.book.worksheet_from_name(ABOUT)?;
        for (column, width) in [(0, 16.0), (1, 70.0), (2, 20.0), (3, 70.0)] {
            sheet.set_column_width(column, width)?;
        }
        sheet.write_string_with_format(0, 0, title, &forms.title)?;
        let lines = [
            line,
            format!("“{SUMMARY}”“{PLACES}”“{GROUPS}”里的合计、比率和名次都是公式，点开单元格可以看到怎样算出。{raw}"),
            "工作簿可以改动，不能作为证明。要证明一个站点当月的记录没有被改动、中间没有缺少，请在考评页下载该站点的证据文件，\
             在任何一台装有本程序的电脑上运行：dalaba journal --verify 文件 --key 站点公钥（不需要联网）。"
                .to_owned(),
        ];
        let mut row = 1;
        for line in lines {
            text(sheet, row, 0, &line)?;
            row += 1;
        }
        row += 1;
        for (column, name) in (0_u16..).zip(["名称", "含义", "Term", "Meaning"]) {
            sheet.write_string_with_format(row, column, name, &forms.head)?;
        }
        for definition in definitions::definitions() {
            row += 1;
            let (term, meaning) = (definition.term, definition.text);
            for (column, cell) in (0_u16..).zip([term.zh, meaning.zh, term.en, meaning.en]) {
                sheet.write_string_with_format(row, column, cell, &forms.wrapped)?;
            }
        }
        row += 2;
        for (column, name) in (0_u16..).zip(["归类", "原因", "Class", "Reasons"]) {
            sheet.write_string_with_format(row, column, name, &forms.head)?;
        }
        let classes = definitions::reasons(Language::Chinese).into_iter().zip(definitions::reasons(Language::English));
        for ((class, list), (class_en, list_en)) in classes {
            row += 1;
            for (column, cell) in (0_u16..).zip([class, list, class_en, list_en]) {
                sheet.write_string_with_format(row, column, cell, &forms.wrapped)?;
            }
        }
        Ok(())
    }

    fn summary(&mut self, stations: &[&Row]) -> Result<(), XlsxError> {
        let (title, line) = self.title("考评汇总");
        let (raw, forms, total) = (&self.raw, &self.forms, &self.report.total);
        let sheet = self.book.worksheet_from_name(SUMMARY)?;
        sheet.set_freeze_panes(TOP, 1)?.set_repeat_rows(TOP - 1, TOP - 1)?;
        sheet.write_string_with_format(0, 0, title, &forms.title)?;
        text(sheet, 1, 0, &line)?;
        head(sheet, TOP - 1, &COLUMNS, forms)?;
        for (row, station) in (TOP..).zip(stations) {
            text(sheet, row, 0, &station.name)?;
            text(sheet, row, 1, station.station.as_str())?;
            text(sheet, row, 2, &group_names(&station.groups))?;
            for (column, cell) in (3_u16..).zip(cells(&station.numbers)) {
                write(sheet, row, column, &cell, forms)?;
            }
            text(sheet, row, 25, station.unplaced.map_or("", Unplaced::zh))?;
            if let Some(raw) = raw {
                let (at, numbers) = (row + 1, &station.numbers);
                let counted = numbers.planned + numbers.chosen + numbers.asked;
                let listed = raw.stations.get(&station.station).map_or(0, |(.., rows)| *rows);
                // Row 2 even where there is none: a range must not run backwards into the head.
                let last = raw.rows.max(1) + 1;
                let check = format!("=IF(COUNTIF('{RAW}'!$A$2:$A${last},B{at})=D{at}+L{at}+M{at},\"一致\",\"不一致\")");
                sheet.write_formula(
                    row,
                    26,
                    Formula::new(check).set_result(if listed == counted { "一致" } else { "不一致" }),
                )?;
            }
        }
        let count = u32::try_from(stations.len()).unwrap_or(u32::MAX);
        let row = TOP + count;
        sheet.write_string_with_format(row, 0, "合计", &forms.head)?;
        for (column, cell) in (3_u16..).zip(cells(total)) {
            let cell = match (cell, count) {
                // Rates of the whole are those of its sums.
                (cell @ Cell::Formula(..), _) if column >= 20 => cell,
                (_, 0) => Cell::Number(0.0),
                (Cell::Number(number) | Cell::Formula(_, Some(number)), _) => {
                    let letter = column_number_to_name(column);
                    let sum = format!("=SUM({letter}{}:{letter}{row})", TOP + 1);
                    sheet.write_formula_with_format(row, column, formula(sum, Some(number)), forms.of(column))?;
                    continue;
                }
                (cell, _) => cell,
            };
            write(sheet, row, column, &cell, forms)?;
        }
        Ok(())
    }

    fn places(&mut self, rows: &BTreeMap<StationId, u32>) -> Result<(), XlsxError> {
        let (title, line) = self.title("考评排名");
        let (forms, report) = (&self.forms, self.report);
        let sheet = self.book.worksheet_from_name(PLACES)?;
        sheet.set_freeze_panes(TOP, 0)?;
        sheet.write_string_with_format(0, 0, title, &forms.title)?;
        text(sheet, 1, 0, &line)?;
        let columns = [
            ("名次", 16.0),
            ("站点", 20.0),
            ("得分", 10.0),
            ("播出率", 10.0),
            ("准点率", 10.0),
            ("应播", 10.0),
            ("已播", 10.0),
            ("免责", 10.0),
            ("责任", 10.0),
            ("无记录（天）", 13.0),
        ];
        head(sheet, TOP - 1, &columns, forms)?;
        let placed = report.stations.iter().filter(|station| station.place.is_some()).count();
        let last = TOP + u32::try_from(placed).unwrap_or(u32::MAX);
        for (row, station) in (TOP..).zip(&report.stations) {
            let Some(of) = rows.get(&station.station) else { continue };
            match (station.place, station.unplaced) {
                (Some(place), _) => {
                    let rank = format!("=RANK(C{},$C${}:$C${last})", row + 1, TOP + 1);
                    sheet.write_formula(row, 0, formula(rank, Some(f64::from(place))))?;
                }
                (None, why) => text(sheet, row, 0, &format!("不排名：{}", why.map_or("", Unplaced::zh)))?,
            }
            sheet.write_formula(row, 1, Formula::new(format!("='{SUMMARY}'!A{of}")).set_result(&station.name))?;
            let numbers = &station.numbers;
            for (column, letter, number) in [
                (2, "Y", numbers.score()),
                (3, "U", numbers.rate()),
                (4, "V", numbers.punctuality()),
                (5, "D", Some(numbers.planned as f64)),
                (6, "E", Some(numbers.played as f64)),
                (7, "J", Some(numbers.excused as f64)),
                (8, "K", Some(numbers.blamed as f64)),
                (9, "R", Some(numbers.silent as f64)),
            ] {
                let form = if column <= 4 { &forms.percent } else { &forms.whole };
                let same = formula(format!("='{SUMMARY}'!{letter}{of}"), number);
                sheet.write_formula_with_format(row, column, same, form)?;
            }
        }
        Ok(())
    }

    /// Each group with its sums over the rows below, one for each station in each of its groups.
    fn groups(&mut self, rows: &BTreeMap<StationId, u32>) -> Result<(), XlsxError> {
        let (title, line) = self.title("分组考评");
        let (forms, report) = (&self.forms, self.report);
        let sheet = self.book.worksheet_from_name(GROUPS)?;
        sheet.write_string_with_format(0, 0, title, &forms.title)?;
        text(sheet, 1, 0, &line)?;
        // Where a number stands in 汇总.
        let letters = ["D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "R"];
        let numbers = |of: &Numbers| {
            let whole = [of.planned, of.played, of.on_time, of.made_up, of.partial, of.missed, of.excused, of.blamed];
            let mut numbers: Vec<_> = whole.into_iter().chain([of.chosen, of.asked]).map(|of| of as f64).collect();
            numbers.extend([of.minutes(), of.silent as f64]);
            numbers
        };
        let mut columns = vec![("分组", 18.0), ("站点数", 20.0)];
        columns.extend(letters.map(|letter| COLUMNS[column_of(letter)]));
        columns.extend([("播出率", 9.0), ("责任播出率", 11.0), ("准点率", 9.0)]);
        head(sheet, TOP - 1, &columns, forms)?;
        let groups = u32::try_from(report.groups.len()).unwrap_or(u32::MAX);
        let memberships: usize = report.groups.iter().map(|row| members(report, &row.group).count()).sum();
        // An empty row and a head lie between the groups and the stations.
        let first = TOP + groups + 2;
        let last = first + u32::try_from(memberships).unwrap_or(u32::MAX);
        let form = |index: usize| if index == 10 { &forms.tenth } else { &forms.whole };
        for (row, group) in (TOP..).zip(&report.groups) {
            text(sheet, row, 0, name_of(&group.group))?;
            let (from, at) = (first + 1, row + 1);
            let count = format!("=COUNTIF($A${from}:$A${last},A{at})");
            sheet.write_formula(row, 1, formula(count, Some(group.stations as f64)))?;
            for (index, (column, number)) in (2_u16..).zip(numbers(&group.numbers)).enumerate() {
                let letter = column_number_to_name(column);
                let sum = format!("=SUMIF($A${from}:$A${last},$A{at},{letter}${from}:{letter}${last})");
                sheet.write_formula_with_format(row, column, formula(sum, Some(number)), form(index))?;
            }
            for (column, rate, number) in [
                (14, format!("=IF(C{at}=0,\"\",D{at}/C{at})"), group.numbers.rate()),
                (15, format!("=IF(C{at}-I{at}=0,\"\",D{at}/(C{at}-I{at}))"), group.numbers.fair_rate()),
                (16, format!("=IF(D{at}=0,\"\",E{at}/D{at})"), group.numbers.punctuality()),
            ] {
                sheet.write_formula_with_format(row, column, formula(rate, number), &forms.percent)?;
            }
        }
        columns[1].0 = "站点";
        head(sheet, first - 1, &columns[..14], forms)?;
        let mut row = first;
        for group in &report.groups {
            for station in members(report, &group.group) {
                let Some(of) = rows.get(&station.station) else { continue };
                text(sheet, row, 0, name_of(&group.group))?;
                sheet.write_formula(row, 1, Formula::new(format!("='{SUMMARY}'!A{of}")).set_result(&station.name))?;
                let all = (2_u16..).zip(letters).zip(numbers(&station.numbers));
                for (index, ((column, letter), number)) in all.enumerate() {
                    let same = formula(format!("='{SUMMARY}'!{letter}{of}"), Some(number));
                    sheet.write_formula_with_format(row, column, same, form(index))?;
                }
                row += 1;
            }
        }
        Ok(())
    }

    /// Each station with how often each reason befell it.
    fn reasons(&mut self, stations: &[&Row]) -> Result<(), XlsxError> {
        let (title, line) = self.title("未完整播出的原因（次）");
        let (forms, report) = (&self.forms, self.report);
        let sheet = self.book.worksheet_from_name(REASONS)?;
        sheet.set_freeze_panes(TOP + 1, 1)?;
        sheet.write_string_with_format(0, 0, title, &forms.title)?;
        text(sheet, 1, 0, &line)?;
        let mut met: Vec<_> = report.reasons.iter().collect();
        met.sort_by_key(|by| (std::cmp::Reverse(by.class), by.reason));
        head(sheet, TOP - 1, &[("归类", 20.0)], forms)?;
        head(sheet, TOP, &[("站点", 20.0)], forms)?;
        for (column, by) in (1_u16..).zip(&met) {
            sheet.set_column_width(column, 12.0)?;
            sheet.write_string_with_format(TOP - 1, column, by.class.said(Language::Chinese), &forms.head)?;
            sheet.write_string_with_format(TOP, column, by.reason.zh(), &forms.head)?;
        }
        let times = |rows: &[ByReason], reason: Reason| {
            rows.iter().find(|by| by.reason == reason).map_or(0, |by| by.partial + by.missed)
        };
        for (row, station) in (TOP + 1..).zip(stations) {
            text(sheet, row, 0, &station.name)?;
            for (column, by) in (1_u16..).zip(&met) {
                sheet.write_number(row, column, times(&station.reasons, by.reason) as f64)?;
            }
        }
        let row = TOP + 1 + u32::try_from(stations.len()).unwrap_or(u32::MAX);
        sheet.write_string_with_format(row, 0, "合计", &forms.head)?;
        for (column, by) in (1_u16..).zip(&met) {
            let letter = column_number_to_name(column);
            let sum = format!("=SUM({letter}{}:{letter}{row})", TOP + 2);
            sheet.write_formula(row, column, formula(sum, Some((by.partial + by.missed) as f64)))?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Xlsx<'_> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Xlsx").field("raw", &self.raw.as_ref().map(|raw| raw.rows)).finish_non_exhaustive()
    }
}

/// The columns of 原始记录 with their widths.
const RAW_COLUMNS: [(&str, f64); 16] = [
    ("站点编号", 18.0),
    ("站点", 20.0),
    ("日期", 12.0),
    ("应播时间", 11.0),
    ("播报", 24.0),
    ("播报编号", 16.0),
    ("结果", 10.0),
    ("原因", 20.0),
    ("计为", 12.0),
    ("应播时长（秒）", 15.0),
    ("实播时长（秒）", 15.0),
    ("晚于应播（秒）", 15.0),
    ("记录本", 34.0),
    ("序号", 8.0),
    ("场次编号", 44.0),
    ("校验值", 20.0),
];

/// The column of 汇总 under which a row counts.
fn counts_as(found: &Found) -> &'static str {
    let class = found.reason.map(Class::of);
    if OccurrenceId::from(found.occurrence.clone()).is_asked() {
        return "临时播出";
    }
    match (found.outcome, class) {
        (_, Some(Class::Chosen)) => "按规则不播",
        (Outcome::Played, _) if found.is_on_time() => "准点",
        (Outcome::Played, _) => "补播",
        (Outcome::Partial, Some(Class::Excused)) => "部分·免责",
        (Outcome::Partial, _) => "部分·责任",
        (_, Some(Class::Excused)) => "漏播·免责",
        _ => "漏播·责任",
    }
}

fn write(sheet: &mut Worksheet, row: u32, column: u16, cell: &Cell, forms: &Forms) -> Result<(), XlsxError> {
    match cell {
        Cell::Number(number) => sheet.write_number_with_format(row, column, *number, forms.of(column))?,
        Cell::Formula(text, result) => {
            let formula = formula(text.replace("{r}", &(row + 1).to_string()), *result);
            sheet.write_formula_with_format(row, column, formula, forms.of(column))?
        }
    };
    Ok(())
}

fn head(sheet: &mut Worksheet, row: u32, columns: &[(&str, f64)], forms: &Forms) -> Result<(), XlsxError> {
    for (column, (name, width)) in (0_u16..).zip(columns) {
        sheet.set_column_width(column, *width)?;
        sheet.write_string_with_format(row, column, *name, &forms.head)?;
    }
    Ok(())
}

/// The stations of a group.
fn members<'r>(report: &'r Assessment, group: &'r Option<GroupName>) -> impl Iterator<Item = &'r Row> {
    report.stations.iter().filter(move |station| match group {
        Some(group) => station.groups.contains(group),
        None => station.groups.is_empty(),
    })
}

fn group_names(groups: &BTreeSet<GroupName>) -> String {
    groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join("、")
}

fn name_of(group: &Option<GroupName>) -> &str {
    group.as_ref().map_or("（未分组）", GroupName::as_str)
}

/// The place of a column of 汇总 by its letter.
fn column_of(letter: &str) -> usize {
    letter.bytes().next().map_or(0, |byte| usize::from(byte - b'A'))
}

#[cfg(test)]
mod tests;

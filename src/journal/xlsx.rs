//! Rows as a workbook for people: 实播记录, one row an entry, and 合计, whose numbers are formulas over it that anybody can
//! look at. Both are in Chinese, as the books of a village are.
//!
//! Every cell has its type: dates and times, seconds, text. Text stays text whatever it begins with. Rows go to a file
//! for the time being, so that a year of them takes no memory.
//!
//! Not here: proof. A workbook proves nothing; the CSV and JSON of [`super::export`] do.

use super::totals::{Count, Total};
use crate::{
    entry::Line,
    outcome::{Evidence, Outcome, Reason},
    text::Language,
};
use jiff::{Timestamp, tz::TimeZone};
use rust_xlsxwriter::{ExcelDateTime, Format, FormatBorder, Formula, Workbook, Worksheet, XlsxError};
use std::io::{Seek, Write};

/// A workbook of more rows is refused: no spreadsheet of a village's PC opens it.
pub const MOST_ROWS: i64 = 100_000;

const ROWS: &str = "实播记录";
const TOTALS: &str = "合计";

/// The columns with their widths.
const COLUMNS: [(&str, f64); 19] = [
    ("序号", 8.0),
    ("日期", 12.0),
    ("应播时间", 11.0),
    ("实播时间", 11.0),
    ("播报", 24.0),
    ("播放计划", 14.0),
    ("优先级", 8.0),
    ("结果", 10.0),
    ("原因", 20.0),
    ("应播时长（秒）", 15.0),
    ("实播时长（秒）", 15.0),
    ("开始误差（毫秒）", 16.0),
    ("音量（%）", 10.0),
    ("证据", 14.0),
    ("声卡", 24.0),
    ("操作人", 12.0),
    ("备注", 24.0),
    ("编号", 44.0),
    ("校验值", 20.0),
];

/// A workbook being written.
pub struct Xlsx {
    book: Workbook,
    zone: TimeZone,
    rows: u32,
    count: Count,
    date: Format,
    time: Format,
    seconds: Format,
    head: Format,
}

impl Xlsx {
    /// Starts one, with times in the station's zone.
    pub fn new(zone: TimeZone) -> Result<Self, XlsxError> {
        let head = Format::new().set_bold().set_background_color(0xE3_E9_F2).set_border_bottom(FormatBorder::Thin);
        let mut xlsx = Self {
            book: Workbook::new(),
            zone,
            rows: 0,
            count: Count::default(),
            date: Format::new().set_num_format("yyyy-mm-dd"),
            time: Format::new().set_num_format("hh:mm:ss"),
            seconds: Format::new().set_num_format("0.0"),
            head,
        };
        let sheet = xlsx.book.add_worksheet_with_constant_memory()?;
        sheet
            .set_name(ROWS)?
            .set_freeze_panes(1, 0)?
            .set_landscape()
            .set_print_fit_to_pages(1, 0)
            .set_repeat_rows(0, 0)?;
        for (column, (name, width)) in (0_u16..).zip(COLUMNS) {
            sheet.set_column_width(column, width)?;
            sheet.write_string_with_format(0, column, name, &xlsx.head)?;
        }
        Ok(xlsx)
    }

    /// Writes one row: the line as the journal has it, and its hash.
    pub fn row(&mut self, line: &Line, hash: &str) -> Result<(), XlsxError> {
        let entry = &line.entry;
        self.count.add(entry);
        self.rows += 1;
        let row = self.rows;
        let local = |at: Timestamp| at.to_zoned_datetime(self.zone.clone()).datetime();
        let due = local(entry.due);
        let sheet = self.book.worksheet_from_name(ROWS)?;
        sheet.write_number(row, 0, line.seq as f64)?;
        day(sheet, row, 1, due.date(), &self.date)?;
        time(sheet, row, 2, due.time(), &self.time)?;
        if let Some(started) = entry.started {
            time(sheet, row, 3, local(started).time(), &self.time)?;
        }
        text(sheet, row, 4, &entry.title)?;
        text(sheet, row, 5, &entry.schedule)?;
        text(sheet, row, 6, entry.band.said(Language::Chinese))?;
        text(sheet, row, 7, entry.outcome.zh())?;
        text(sheet, row, 8, entry.reason.map_or("", Reason::zh))?;
        sheet.write_number_with_format(row, 9, seconds(entry.expected_ms), &self.seconds)?;
        sheet.write_number_with_format(row, 10, seconds(entry.heard_ms), &self.seconds)?;
        if let Some(micros) = entry.start_error_us {
            sheet.write_number_with_format(row, 11, micros as f64 / 1000.0, &self.seconds)?;
        }
        sheet.write_number(row, 12, f64::from(entry.volume))?;
        text(sheet, row, 13, entry.evidence.map_or("", Evidence::zh))?;
        text(sheet, row, 14, entry.device.as_deref().unwrap_or_default())?;
        text(sheet, row, 15, entry.operator.as_deref().unwrap_or_default())?;
        text(sheet, row, 16, entry.note.as_deref().unwrap_or_default())?;
        text(sheet, row, 17, &entry.occurrence.to_string())?;
        text(sheet, row, 18, hash)
    }

    /// Writes the sheet of totals, and the workbook to `to`.
    pub fn finish(mut self, to: impl Write + Seek + Send) -> Result<(), XlsxError> {
        let last = self.rows;
        let columns = u16::try_from(COLUMNS.len()).unwrap_or(u16::MAX);
        self.book.worksheet_from_name(ROWS)?.autofilter(0, 0, last, columns - 1)?;
        self.write_totals()?;
        self.book.save_to_writer(to)
    }

    fn write_totals(&mut self) -> Result<(), XlsxError> {
        // Row 2 even where there is none: a range must not run backwards into the head.
        let last = self.rows.max(1) + 1;
        let column = |letter: char| format!("'{ROWS}'!${letter}$2:${letter}${last}");
        let totals = self.count.totals();
        let minutes = Format::new().set_num_format("0.0");
        let sheet = self.book.add_worksheet();
        sheet.set_name(TOTALS)?.set_freeze_panes(1, 0)?;
        for (at, (name, width)) in
            (0_u16..).zip([("结果", 12.0), ("原因", 24.0), ("次数", 10.0), ("应播分钟", 12.0), ("实播分钟", 12.0)])
        {
            sheet.set_column_width(at, width)?;
            sheet.write_string_with_format(0, at, name, &self.head)?;
        }
        let all = (String::new(), String::new(), totals.due);
        let of = |outcome: Outcome, total| (outcome.zh().to_owned(), String::new(), total);
        let outcomes = [
            of(Outcome::Played, totals.played),
            of(Outcome::Partial, totals.partial),
            of(Outcome::Skipped, totals.skipped),
            of(Outcome::Missed, totals.missed),
        ];
        let reasons = totals.reasons.iter().map(|by| (by.outcome.zh().to_owned(), by.reason.zh().to_owned(), by.total));
        for (row, (outcome, reason, total)) in (1_u32..).zip([all].into_iter().chain(outcomes).chain(reasons)) {
            // The conditions stand in the row's own first cells, so whoever looks at a formula sees what it counts.
            let (outcomes, reasons, cell) = (column('H'), column('I'), row + 1);
            let conditions = match (outcome.is_empty(), reason.is_empty()) {
                (true, _) => String::new(),
                (false, true) => format!(",{outcomes},$A{cell}"),
                (false, false) => format!(",{outcomes},$A{cell},{reasons},$B{cell}"),
            };
            text(sheet, row, 0, if outcome.is_empty() { "应播" } else { &outcome })?;
            text(sheet, row, 1, &reason)?;
            let times = match conditions.strip_prefix(',') {
                None => format!("=COUNT({})", column('A')),
                Some(conditions) => format!("=COUNTIFS({conditions})"),
            };
            sheet.write_formula(row, 2, Formula::new(times).set_result(total.times.to_string()))?;
            let sum = |letter, ms| {
                let formula = match conditions.as_str() {
                    "" => format!("=SUM({})/60", column(letter)),
                    conditions => format!("=SUMIFS({}{conditions})/60", column(letter)),
                };
                Formula::new(formula).set_result((seconds(ms) / 60.0).to_string())
            };
            let Total { expected_ms, heard_ms, .. } = total;
            sheet.write_formula_with_format(row, 3, sum('J', expected_ms), &minutes)?;
            sheet.write_formula_with_format(row, 4, sum('K', heard_ms), &minutes)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Xlsx {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Xlsx").field("rows", &self.rows).finish_non_exhaustive()
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// The most characters of a cell.
const CELL: usize = 32_000;

/// Writes a text as it is, whatever it begins with.
pub(crate) fn text(sheet: &mut Worksheet, row: u32, column: u16, text: &str) -> Result<(), XlsxError> {
    if text.is_empty() {
        return Ok(());
    }
    let kept: String = text.chars().take(CELL).collect();
    sheet.write_string(row, column, kept).map(|_| ())
}

/// Writes a day. Spreadsheets know no year before 1900; such a day is written as text.
pub(crate) fn day(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    date: jiff::civil::Date,
    form: &Format,
) -> Result<(), XlsxError> {
    let parts = (u16::try_from(date.year()), u8::try_from(date.month()), u8::try_from(date.day()));
    let (Ok(year), Ok(month), Ok(day)) = parts else { return text(sheet, row, column, &date.to_string()) };
    match ExcelDateTime::from_ymd(year, month, day) {
        Ok(date) => sheet.write_datetime_with_format(row, column, &date, form).map(|_| ()),
        Err(_) => text(sheet, row, column, &date.to_string()),
    }
}

/// Writes a time of day.
pub(crate) fn time(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    time: jiff::civil::Time,
    form: &Format,
) -> Result<(), XlsxError> {
    let of_day = f64::from(time.hour()) * 3600.0 + f64::from(time.minute()) * 60.0 + f64::from(time.second());
    sheet.write_number_with_format(row, column, of_day / 86_400.0, form).map(|_| ())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        entry::{ClockNote, Entry},
        plan::OccurrenceId,
        schedule::{Band, Source},
        trust::ClockState,
    };
    use calamine::{Data, Reader as _, Xlsx as Read, open_workbook_from_rs};
    use std::io::Cursor;

    pub(in crate::journal) fn entry(outcome: Outcome, reason: Option<Reason>, heard_ms: i64) -> Entry {
        let due: Timestamp = "2026-06-17T22:30:00Z".parse().unwrap();
        Entry {
            occurrence: OccurrenceId::from("station/daily/morning@2026-06-18T06:30:00".to_owned()),
            source: Source::Station,
            schedule: "daily".into(),
            announcement: "morning".into(),
            title: "=HYPERLINK(\"http://x\")".into(),
            clips: Vec::new(),
            band: Band::Normal,
            due,
            started: (heard_ms > 0).then_some(due),
            ended: due,
            expected_ms: 10_000,
            heard_ms,
            start_error_us: (heard_ms > 0).then_some(1_500),
            outcome,
            reason,
            evidence: (heard_ms > 0).then_some(Evidence::Monitor),
            device: Some("pulse:village".into()),
            peak_dbfs: None,
            rms_dbfs: None,
            underruns: 0,
            volume: 80,
            clock: ClockNote { state: ClockState::Trusted, offset_ms: None },
            operator: Some("@王".into()),
            note: Some("-1+1".into()),
            revision: "0".repeat(16),
        }
    }

    fn book(entries: &[Entry]) -> Read<Cursor<Vec<u8>>> {
        let mut xlsx = Xlsx::new(TimeZone::get("Asia/Shanghai").unwrap()).unwrap();
        for (seq, entry) in (1..).zip(entries) {
            let line = Line { epoch: "e".into(), seq, entry: entry.clone(), prev: "p".into() };
            xlsx.row(&line, "hash").unwrap();
        }
        let mut bytes = Cursor::new(Vec::new());
        xlsx.finish(&mut bytes).unwrap();
        open_workbook_from_rs(bytes).unwrap()
    }

    #[test]
    fn each_cell_has_its_type_and_text_stays_text() {
        let mut book = book(&[entry(Outcome::Played, None, 10_000)]);
        assert_eq!(book.sheet_names(), [ROWS, TOTALS]);
        let rows = book.worksheet_range(ROWS).unwrap();
        let cell = |column: u32| rows.get_value((1, column)).cloned().unwrap_or(Data::Empty);
        let said = |column| cell(column).to_string();
        assert_eq!(cell(0), Data::Float(1.0));
        let Data::DateTime(date) = cell(1) else { panic!("{:?}", cell(1)) };
        assert_eq!(date.as_f64(), 46_191.0, "18 June 2026 in the station's zone");
        let Data::DateTime(time) = cell(2) else { panic!("{:?}", cell(2)) };
        assert!((time.as_f64() - 6.5 / 24.0).abs() < 1e-9);
        for (column, text) in [(4, "=HYPERLINK(\"http://x\")"), (7, "已播"), (15, "@王"), (16, "-1+1"), (18, "hash")]
        {
            assert_eq!(cell(column), Data::String(text.into()));
        }
        assert_eq!((said(9), said(10), said(11)), ("10".into(), "10".into(), "1.5".into()));
        assert!(book.worksheet_formula(ROWS).unwrap().is_empty(), "no text has become a formula");
    }

    #[test]
    fn the_totals_are_formulas_over_the_rows_with_the_numbers_they_come_to() {
        let mut book = book(&[
            entry(Outcome::Played, None, 12_000),
            entry(Outcome::Missed, Some(Reason::StationDown), 0),
            entry(Outcome::Missed, Some(Reason::ClipMissing), 0),
        ]);
        let numbers = book.worksheet_range(TOTALS).unwrap();
        let lines: Vec<String> = numbers
            .rows()
            .map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").trim().to_owned())
            .collect();
        assert_eq!(
            lines,
            [
                "结果 原因 次数 应播分钟 实播分钟",
                "应播  3 0.5 0.2",
                "已播  1 0.16666666666666666 0.2",
                "部分播出  0 0 0",
                "略过  0 0 0",
                "漏播  2 0.3333333333333333 0",
                "漏播 关机或程序未运行 1 0.16666666666666666 0",
                "漏播 缺少音频 1 0.16666666666666666 0",
            ]
        );
        let formulas = book.worksheet_formula(TOTALS).unwrap();
        let formula = |at| formulas.get_value(at).cloned().unwrap_or_default();
        assert_eq!(formula((1, 2)), "COUNT('实播记录'!$A$2:$A$4)");
        assert_eq!(formula((1, 4)), "SUM('实播记录'!$K$2:$K$4)/60");
        assert_eq!(
            formula((6, 3)),
            "SUMIFS('实播记录'!$J$2:$J$4,'实播记录'!$H$2:$H$4,$A7,'实播记录'!$I$2:$I$4,$B7)/60"
        );
    }

    #[test]
    fn a_period_without_rows_is_a_workbook_all_the_same() {
        let mut book = book(&[]);
        assert_eq!(book.worksheet_range(ROWS).unwrap().height(), 1);
        let formulas = book.worksheet_formula(TOTALS).unwrap();
        assert_eq!(formulas.get_value((1, 2)).unwrap(), "COUNT('实播记录'!$A$2:$A$2)");
    }
}

//! The workbook is read back, and each of its formulas is worked out anew: what it comes to is what was computed, and what
//! stands in the cell for whoever does not work it out.

use super::*;
use crate::office::assess::{
    Tally, assess,
    count::tests::tally,
    tests::{after, november, record, zone},
};
use calamine::{Data, Reader as _, Xlsx as Read, open_workbook_from_rs};
use jiff::civil::date;
use std::io::Cursor;

/// A sheet's cells by name, row and column: what stands there, and the formula behind it.
type Cells = BTreeMap<(String, u32, u32), (Value, Option<String>)>;

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(f64),
    Text(String),
}

impl Value {
    fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) if text.is_empty() => 0.0,
            Self::Text(text) => panic!("{text:?} is no number"),
        }
    }
}

/// Works formulas out, as far as ours go.
struct Formulas<'a> {
    cells: &'a Cells,
    sheet: String,
    text: Vec<char>,
    at: usize,
}

enum Argument {
    One(Value),
    Range(Vec<Value>),
}

impl<'a> Formulas<'a> {
    fn work_out(cells: &'a Cells, sheet: &str, text: &str) -> Value {
        let mut formulas = Self { cells, sheet: sheet.to_owned(), text: text.chars().collect(), at: 0 };
        let value = formulas.comparison();
        assert_eq!(formulas.at, formulas.text.len(), "{text} is understood to the end");
        value
    }

    fn cell(&self, sheet: &str, row: u32, column: u32) -> Value {
        match self.cells.get(&(sheet.to_owned(), row, column)) {
            Some((_, Some(formula))) => Self::work_out(self.cells, sheet, formula),
            Some((value, None)) => value.clone(),
            None => Value::Text(String::new()),
        }
    }

    fn takes(&mut self, wanted: char) -> bool {
        let is_there = self.text.get(self.at) == Some(&wanted);
        self.at += usize::from(is_there);
        is_there
    }

    fn takes_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let taken: String = self.text[self.at..].iter().copied().take_while(|one| wanted(*one)).collect();
        self.at += taken.chars().count();
        taken
    }

    fn comparison(&mut self) -> Value {
        let one = self.sum();
        if !self.takes('=') {
            return one;
        }
        let other = self.sum();
        Value::Number(f64::from(one.number() == other.number()))
    }

    fn sum(&mut self) -> Value {
        let mut value = self.product();
        loop {
            value = if self.takes('+') {
                Value::Number(value.number() + self.product().number())
            } else if self.takes('-') {
                Value::Number(value.number() - self.product().number())
            } else {
                return value;
            };
        }
    }

    fn product(&mut self) -> Value {
        let mut value = self.atom();
        loop {
            value = if self.takes('*') {
                Value::Number(value.number() * self.atom().number())
            } else if self.takes('/') {
                Value::Number(value.number() / self.atom().number())
            } else {
                return value;
            };
        }
    }

    fn atom(&mut self) -> Value {
        match self.argument() {
            Argument::One(value) => value,
            Argument::Range(_) => panic!("a range is no value: {:?}", self.text.iter().collect::<String>()),
        }
    }

    fn argument(&mut self) -> Argument {
        if self.takes('(') {
            let value = self.comparison();
            assert!(self.takes(')'));
            return Argument::One(value);
        }
        if self.takes('"') {
            let text = self.takes_while(|one| one != '"');
            assert!(self.takes('"'));
            return Argument::One(Value::Text(text));
        }
        if self.text[self.at].is_ascii_digit() {
            let digits = self.takes_while(|one| one.is_ascii_digit() || one == '.');
            return Argument::One(Value::Number(digits.parse().unwrap()));
        }
        let mut sheet = self.sheet.clone();
        if self.takes('\'') {
            sheet = self.takes_while(|one| one != '\'');
            assert!(self.takes('\'') && self.takes('!'));
        }
        let name = self.takes_while(|one| one.is_ascii_alphanumeric() || one == '$');
        if self.takes('(') {
            return Argument::One(self.function(&name));
        }
        let (row, column) = place(&name);
        if !self.takes(':') {
            return Argument::One(self.cell(&sheet, row, column));
        }
        let (last_row, last_column) = place(&self.takes_while(|one| one.is_ascii_alphanumeric() || one == '$'));
        assert!(row <= last_row && column == last_column, "a range runs down one column");
        Argument::Range((row..=last_row).map(|row| self.cell(&sheet, row, column)).collect())
    }

    fn function(&mut self, name: &str) -> Value {
        let mut arguments = Vec::new();
        loop {
            // A comparison, a range or a value.
            let begin = self.at;
            arguments.push(match self.argument() {
                range @ Argument::Range(_) => range,
                Argument::One(_) => {
                    // A branch that is not taken may divide by nothing.
                    self.at = begin;
                    Argument::One(self.comparison())
                }
            });
            if self.takes(')') {
                break;
            }
            assert!(self.takes(','));
        }
        let one = |index: usize| match &arguments[index] {
            Argument::One(value) => value.clone(),
            Argument::Range(_) => panic!("{name} takes a value there"),
        };
        let range = |index: usize| match &arguments[index] {
            Argument::Range(values) => values,
            Argument::One(_) => panic!("{name} takes a range there"),
        };
        let numbers = |index: usize| range(index).iter().map(Value::number).collect::<Vec<_>>();
        match name {
            "IF" => one(if one(0).number() != 0.0 { 1 } else { 2 }),
            "SUM" => Value::Number(numbers(0).iter().sum()),
            "RANK" => {
                let value = one(0).number();
                Value::Number(1.0 + numbers(1).iter().filter(|other| **other > value).count() as f64)
            }
            "COUNTIF" => Value::Number(range(0).iter().filter(|value| **value == one(1)).count() as f64),
            "SUMIF" => {
                let chosen = range(0).iter().zip(range(2)).filter(|(value, _)| **value == one(1));
                Value::Number(chosen.map(|(_, number)| number.number()).sum())
            }
            other => panic!("{other} is not among our functions"),
        }
    }
}

/// Row and column of `$C$7`, from nothing.
fn place(name: &str) -> (u32, u32) {
    let name = name.replace('$', "");
    let letters = name.trim_end_matches(|one: char| one.is_ascii_digit());
    let column = letters.bytes().fold(0, |column, letter| column * 26 + u32::from(letter - b'A') + 1);
    (name[letters.len()..].parse::<u32>().unwrap() - 1, column - 1)
}

fn value(data: &Data) -> Value {
    match data {
        Data::Float(number) => Value::Number(*number),
        Data::Int(number) => Value::Number(*number as f64),
        Data::DateTime(moment) => Value::Number(moment.as_f64()),
        other => Value::Text(other.to_string()),
    }
}

fn read(report: &Assessment, rows: Option<&[Found]>) -> (Vec<String>, Cells) {
    let mut xlsx = Xlsx::new("=青石镇", report, zone(), rows.is_some()).unwrap();
    for row in rows.unwrap_or_default() {
        xlsx.row(row).unwrap();
    }
    let mut bytes = Cursor::new(Vec::new());
    xlsx.finish(&mut bytes).unwrap();
    let mut book: Read<_> = open_workbook_from_rs(bytes).unwrap();
    let mut cells = Cells::new();
    for sheet in book.sheet_names() {
        let values = book.worksheet_range(&sheet).unwrap();
        let (top, left) = values.start().unwrap_or_default();
        for (row, column, data) in values.used_cells() {
            cells.insert((sheet.clone(), row as u32 + top, column as u32 + left), (value(data), None));
        }
        let formulas = book.worksheet_formula(&sheet).unwrap();
        let (top, left) = formulas.start().unwrap_or_default();
        for (row, column, formula) in formulas.used_cells() {
            let at = (sheet.clone(), row as u32 + top, column as u32 + left);
            cells.entry(at).or_insert((Value::Text(String::new()), None)).1 = Some(formula.clone());
        }
    }
    (book.sheet_names(), cells)
}

fn found(station: &str, seq: i64, outcome: Outcome, reason: Option<Reason>) -> Found {
    let day = date(2026, 11, 2);
    let due = "2026-11-01T22:30:00Z".parse().unwrap();
    Found {
        station: station.to_owned().try_into().unwrap(),
        epoch: format!("{station}-0"),
        seq,
        occurrence: format!("town/daily/morning@{day}T06:30:0{seq}"),
        date: day,
        due,
        source: "town".into(),
        announcement: "morning".into(),
        title: "=HYPERLINK(\"http://x\")".into(),
        outcome,
        reason,
        expected_ms: 1500,
        heard_ms: if outcome == Outcome::Played { 1500 } else { 0 },
        late_ms: (outcome == Outcome::Played).then_some(200),
        hash: "ab".repeat(32),
    }
}

/// Three stations in two groups, one of them with nothing, and the raw rows of the first.
fn village() -> (Assessment, Vec<Found>) {
    let played = |times| tally(Outcome::Played, None, times);
    let mut first = record("a", vec![played(2), tally(Outcome::Missed, Some(Reason::StationDown), 1)]);
    let mut second = record(
        "b",
        vec![
            Tally { on_time: 3, ..played(4) },
            tally(Outcome::Partial, Some(Reason::Crash), 1),
            tally(Outcome::Skipped, Some(Reason::QuietHours), 2),
            Tally { asked: true, ..played(1) },
        ],
    );
    let mut third = record("c", Vec::new());
    (third.dates, third.journals) = (BTreeSet::new(), Vec::new());
    first.subject.name = "+北庄".into();
    second.dates.remove(&date(2026, 11, 30));
    second.journals[0].last = date(2026, 11, 29);
    for (one, groups) in [(&mut first, "北片 山区"), (&mut second, "北片")] {
        one.subject.groups = groups.split(' ').map(|group| group.to_owned().try_into().unwrap()).collect();
    }
    let rows = vec![
        found("a", 1, Outcome::Played, None),
        found("a", 2, Outcome::Played, None),
        found("a", 3, Outcome::Missed, Some(Reason::StationDown)),
        // Of a station that does not count.
        found("z", 1, Outcome::Played, None),
    ];
    (assess(november(), &[first, second, third], after(), &zone()), rows)
}

#[test]
fn each_formula_comes_to_the_number_that_stands_in_its_cell() {
    let (report, rows) = village();
    for rows in [Some(&rows[..]), None] {
        let (_, cells) = read(&report, rows);
        let mut formulas = 0;
        for ((sheet, row, column), (value, formula)) in &cells {
            let Some(formula) = formula else { continue };
            formulas += 1;
            let worked_out = Formulas::work_out(&cells, sheet, formula);
            let same = match (&worked_out, value) {
                (Value::Number(one), Value::Number(other)) => (one - other).abs() < 1e-9,
                (one, other) => one == other,
            };
            assert!(same, "{sheet} {row} {column}: {formula} comes to {worked_out:?}, and {value:?} stands there");
        }
        assert!(formulas > 100, "{formulas}");
    }
}

#[test]
fn the_summary_says_what_was_computed_and_how() {
    let (report, rows) = village();
    let (sheets, cells) = read(&report, Some(&rows));
    assert_eq!(sheets, [ABOUT, SUMMARY, PLACES, GROUPS, REASONS, RAW]);
    let row = |sheet: &str, row: u32, columns: std::ops::Range<u32>| {
        let said = |column| match cells.get(&(sheet.to_owned(), row, column)) {
            Some((Value::Number(number), _)) => format!("{}", (number * 1000.0).round() / 1000.0),
            Some((Value::Text(text), _)) => text.clone(),
            None => String::new(),
        };
        columns.map(said).collect::<Vec<_>>().join("|")
    };
    let formula = |sheet: &str, row, column| cells[&(sheet.to_owned(), row, column)].1.clone().unwrap_or_default();
    assert_eq!(row(SUMMARY, 0, 0..1), "=青石镇 2026-11 考评汇总");
    assert_eq!(row(SUMMARY, 3, 0..18), "+北庄|a|北片、山区|3|2|2|0|0|1|1|0|0|0|0.033|30|30|0|0");
    assert_eq!(row(SUMMARY, 4, 0..18), "b|b|北片|5|4|3|1|1|0|0|1|2|1|0.1|30|29|0|1");
    assert_eq!(row(SUMMARY, 5, 0..18), "c|c||0|0|0|0|0|0|0|0|0|0|0|30|0|0|30");
    assert_eq!(row(SUMMARY, 6, 0..18), "合计|||8|6|5|1|1|1|1|1|2|1|0.133|90|59|0|31");
    assert_eq!(row(SUMMARY, 3, 20..27), "0.667|1|1|0|1||一致");
    assert_eq!(row(SUMMARY, 4, 20..27), "0.8|0.75|0.8|0|0.773||不一致");
    assert_eq!(row(SUMMARY, 5, 20..27), "|||0||整月无记录|一致");
    assert_eq!(formula(SUMMARY, 3, 20), "IF(D4=0,\"\",E4/D4)");
    assert_eq!(formula(SUMMARY, 6, 3), "SUM(D4:D6)");
    assert_eq!(formula(SUMMARY, 6, 20), "IF(D7=0,\"\",E7/D7)");
    assert_eq!(row(PLACES, 3, 0..3), "1|+北庄|1");
    assert_eq!(row(PLACES, 4, 0..3), "2|b|0.773");
    assert_eq!(row(PLACES, 5, 0..3), "不排名：整月无记录|c|");
    assert_eq!(formula(PLACES, 3, 0), "RANK(C4,$C$4:$C$5)");
    assert_eq!(row(GROUPS, 3, 0..4), "北片|2|8|6");
    assert_eq!(row(GROUPS, 4, 0..4), "山区|1|3|2");
    assert_eq!(row(GROUPS, 5, 0..4), "（未分组）|1|0|0");
    assert_eq!(row(REASONS, 2, 0..4), "归类|责任|免责|按规则不播");
    assert_eq!(row(REASONS, 3, 0..4), "站点|程序中断|关机或程序未运行|静音时段");
    assert_eq!(row(REASONS, 7, 0..4), "合计|1|1|2");
}

#[test]
fn raw_rows_are_typed_and_counted_and_text_stays_text() {
    let (report, rows) = village();
    let (_, cells) = read(&report, Some(&rows));
    let raw: Vec<_> = cells.iter().filter(|((sheet, row, _), _)| sheet == RAW && *row > 0).collect();
    assert_eq!(raw.iter().map(|((_, row, _), _)| row).max(), Some(&3), "one station does not count");
    assert!(raw.iter().all(|(_, (_, formula))| formula.is_none()));
    let cell = |row, column| cells[&(RAW.to_owned(), row, column)].0.clone();
    for (column, expected) in [
        (0, Value::Text("a".into())),
        (1, Value::Text("+北庄".into())),
        (2, Value::Number(46_328.0)),
        (4, Value::Text("=HYPERLINK(\"http://x\")".into())),
        (8, Value::Text("准点".into())),
        (9, Value::Number(1.5)),
        (11, Value::Number(0.2)),
        (13, Value::Number(1.0)),
        (15, Value::Text("ab".repeat(32))),
    ] {
        assert_eq!(cell(1, column), expected, "{column}");
    }
    let Value::Number(time) = cell(1, 3) else { panic!() };
    assert!((time - 6.5 / 24.0).abs() < 1e-9);
    assert_eq!(cell(3, 8), Value::Text("漏播·免责".into()));
}

#[test]
fn an_office_without_stations_has_a_workbook_all_the_same() {
    let report = assess(november(), &[], after(), &zone());
    for rows in [Some(&[][..]), None] {
        let (_, cells) = read(&report, rows);
        for ((sheet, ..), (_, formula)) in &cells {
            if let Some(formula) = formula {
                assert_eq!(Formulas::work_out(&cells, sheet, formula), Value::Text(String::new()), "{formula}");
            }
        }
    }
}

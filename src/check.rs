//! What is wrong with a station beyond its texts: clips that are missing, moments that the rules leave out, days with too
//! much on them. `dalaba check` and the page that edits schedules say the same.
//!
//! Not here: what is wrong in a text itself ([`crate::schedule::file`]).

use crate::{
    outcome::Reason,
    plan::{ClipState, Clips, DAILY_OCCURRENCES, Plan, Program, Verdict, crowded_days, plan},
    schedule::{Finding, PlayPath, Schedule, Severity, file_of},
};
use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};
use std::collections::BTreeSet;

/// How far ahead a station is planned.
const YEAR: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Returns what a year's plan from `now` on and the library say of a program.
pub fn findings(program: &Program, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let window = now..now.saturating_add(YEAR).unwrap_or(Timestamp::MAX);
    let year = plan(program, window);
    let today = now.to_zoned_datetime(program.zone.clone()).date();
    for schedule in &program.schedules {
        of_announcements(schedule, &program.clips, today, &mut findings);
    }
    of_plan(program, &year, &mut findings);
    if let Some(date) = crowded_days(program, today..today.saturating_add(1.year())).first() {
        let message = format!("{date} 有 {DAILY_OCCURRENCES} 次以上的播报，超过每天的上限；请减少规则或放宽间隔");
        findings.push(remark("schedules", Severity::Error, "too-many-a-day", message));
    }
    of_calendar(program, today, &mut findings);
    findings
}

fn remark(file: &str, severity: Severity, code: &'static str, message: String) -> Finding {
    Finding { file: file.to_owned(), line: None, column: None, severity, code, message }
}

/// What an announcement names and cannot have; what nothing plays.
fn of_announcements(schedule: &Schedule, clips: &Clips, today: Date, findings: &mut Vec<Finding>) {
    let file = schedule.file();
    let used: BTreeSet<_> = schedule.rules.iter().map(|rule| &rule.play).collect();
    for (name, announcement) in &schedule.announcements {
        let mut say = |severity, code, message| findings.push(remark(&file, severity, code, message));
        if !used.contains(name) {
            say(Severity::Note, "unused-announcement", format!("播报“{name}”没有规则使用；只能手动播放"));
        }
        for folder in &announcement.play {
            if let PlayPath::Folder(path) = folder
                && clips.expand(std::slice::from_ref(folder)).is_empty()
            {
                let message = format!("播报“{name}”的文件夹 {}/ 里没有音频；请放入音频或改正路径", path.file());
                say(Severity::Error, "empty-folder", message);
            }
        }
        let paths = clips.expand(&announcement.play);
        for path in paths.iter().chain(&announcement.chime) {
            match clips.get(path).map(|clip| &clip.state) {
                None => {
                    let message = format!("播报“{name}”要用的 {} 不存在；请放入这个文件或改正路径", path.file());
                    say(Severity::Error, "clip-missing", message);
                }
                Some(ClipState::Refused(why)) => {
                    let message = format!("播报“{name}”要用的 {} 不能播放：{}", path.file(), why.zh);
                    say(Severity::Error, "clip-refused", message);
                }
                Some(ClipState::Ready { .. } | ClipState::Pending) => {}
            }
        }
        let expired = |path| clips.get(path).is_some_and(|clip| clip.valid_until.is_some_and(|until| until < today));
        for path in paths.iter().filter(|path| expired(path)) {
            let message = format!("播报“{name}”的 {} 已过有效期；请更换音频或修改 audio/clips.toml", path.file());
            say(Severity::Warning, "clip-expired", message);
        }
    }
}

/// What the rules settle among themselves, once for each announcement and reason.
fn of_plan(program: &Program, year: &Plan, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for occurrence in &year.occurrences {
        let Verdict::Skip(reason) = occurrence.verdict else { continue };
        if !seen.insert((&occurrence.schedule, &occurrence.announcement, reason)) {
            continue;
        }
        let (severity, code) = match reason {
            Reason::Overlap => (Severity::Note, "overlap"),
            Reason::QuietHours => (Severity::Warning, "in-quiet-hours"),
            Reason::DailyLimit => (Severity::Warning, "over-daily-limit"),
            Reason::ClipExpired => (Severity::Warning, "clips-expire"),
            _ => continue,
        };
        let message = format!(
            "播报“{}”在 {} 应播而不播：{}",
            occurrence.announcement,
            occurrence.local.strftime("%Y-%m-%d %H:%M:%S"),
            reason.zh()
        );
        findings.push(remark(&file_of(occurrence.source, &occurrence.schedule), severity, code, message));
    }
    let planned: BTreeSet<_> =
        year.occurrences.iter().map(|occurrence| (&occurrence.schedule, &occurrence.announcement)).collect();
    for schedule in program.schedules.iter().filter(|schedule| schedule.enabled) {
        for rule in &schedule.rules {
            if !planned.contains(&(&schedule.name, &rule.play)) {
                let message = format!("播报“{}”今后一年没有一次应播；请检查规则的日子和时间", rule.play);
                findings.push(remark(&schedule.file(), Severity::Warning, "never-due", message));
            }
        }
    }
}

/// Years that the plan reaches and no official arrangement covers.
fn of_calendar(program: &Program, today: Date, findings: &mut Vec<Finding>) {
    for year in [today.year(), today.year() + 1] {
        if !program.calendar.is_official(year) {
            let message = format!(
                "{year} 年的放假调休安排尚未收到正式通知，按法定节假日和周末推算；收到后请放入 schedules/calendar/{year}.toml"
            );
            findings.push(remark(
                &format!("schedules/calendar/{year}.toml"),
                Severity::Note,
                "unofficial-year",
                message,
            ));
        }
    }
}

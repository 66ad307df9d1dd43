//! `dalaba plan`: what falls due, what is left out, and why.

use super::{Place, look};
use crate::plan::{Line, plan};
use jiff::{ToSpan as _, civil::Date};

/// 预排
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    place: Place,
    /// 从哪一天开始（默认今天）
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// 几天
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(i64).range(1..=3660))]
    days: i64,
}

pub(super) async fn run(arguments: &PlanArgs) -> anyhow::Result<u8> {
    let looked = look(&arguments.place.home()).await?;
    for finding in &looked.findings {
        eprintln!("{finding}");
    }
    let program = &looked.assembled.program;
    let zone = &program.zone;
    let first = arguments.from.unwrap_or_else(|| looked.now.to_zoned_datetime(zone.clone()).date());
    let last = first.checked_add(arguments.days.days())?;
    let window = crate::plan::instant(zone, first.at(0, 0, 0, 0))..crate::plan::instant(zone, last.at(0, 0, 0, 0));
    for occurrence in plan(program, window).occurrences {
        let line = Line::new(&occurrence, zone);
        if arguments.place.json {
            println!("{}", serde_json::to_string(&line)?);
        } else {
            let reason = line.reason.map_or_else(String::new, |reason| format!("  不播：{}", reason.zh()));
            println!("{}  {}{reason}", occurrence.local.strftime("%Y-%m-%d %H:%M:%S"), occurrence.title);
        }
    }
    let unofficial: Vec<i16> =
        (first.year()..=last.year()).filter(|year| !program.calendar.is_official(*year)).collect();
    for year in unofficial {
        eprintln!("提示：{year} 年的放假调休安排尚未收到正式通知，按法定节假日和周末推算；调休上班日未定");
    }
    Ok(u8::from(!looked.assembled.is_usable()))
}

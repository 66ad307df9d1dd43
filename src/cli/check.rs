//! `dalaba check`: runs exactly the code that loads a home, plans a year, and says what is wrong.

use super::{Place, look};
use crate::{
    check,
    schedule::{Finding, Severity},
};

pub(super) async fn run(place: &Place) -> anyhow::Result<u8> {
    let looked = look(&place.home()).await?;
    let mut findings = looked.findings;
    findings.extend(check::findings(&looked.assembled.program, looked.now));
    if !place.home().dir.join(crate::config::FILE).exists() {
        let message = "还没有 station.toml，正在用默认设置；请按 README 写一份".to_owned();
        findings.push(Finding {
            file: crate::config::FILE.to_owned(),
            line: None,
            column: None,
            severity: Severity::Note,
            code: "no-station-file",
            message,
        });
    }
    findings.sort();
    findings.dedup();
    for finding in &findings {
        if place.json {
            println!("{}", serde_json::to_string(finding)?);
        } else {
            println!("{finding}");
        }
    }
    let bad = findings.iter().filter(|finding| finding.severity >= Severity::Warning).count();
    eprintln!(
        "{}（{}）：{} 个文件，{} 处需要处理",
        looked.config.name,
        looked.config.id,
        looked.assembled.texts.schedules.len(),
        bad
    );
    Ok(u8::from(bad > 0))
}

//! Why the office did not do it, as the pages say it: a sentence in the language of whoever asked.

use crate::{
    office::{desk::DeskError, enrol::EnrolError, keys::KeysError},
    schedule::Finding,
    text::Language,
    web::Problem,
};
use axum::http::StatusCode;

/// Why an enrolment did not go on.
pub(super) fn enrol(error: &EnrolError, language: Language) -> Problem {
    match error {
        EnrolError::Refused(said) => Problem::bad(said.in_language(language)),
        EnrolError::Wait(seconds) => Problem {
            status: StatusCode::TOO_MANY_REQUESTS,
            said: language.pick(format!("请 {seconds} 秒后再试"), format!("try again in {seconds} s")),
        },
        EnrolError::Desk(error) => desk(error, language),
        EnrolError::Store(_) | EnrolError::NoRandom(_) => {
            tracing::error!(?error, "an enrolment failed");
            let en = "the office could not do it; check its database and disk, and try again";
            Problem { status: StatusCode::SERVICE_UNAVAILABLE, said: language.pick(error.to_string(), en.to_owned()) }
        }
    }
}

/// Why keys were not renewed.
pub(super) fn keys(error: &KeysError, language: Language) -> Problem {
    tracing::error!(error = error as &dyn std::error::Error, "keys were not renewed");
    let en = match error {
        KeysError::File { .. } => "keys.json cannot be read or written; check the disk and its permissions",
        KeysError::Unreadable { .. } => "keys.json cannot be understood; bring it back from a backup",
        KeysError::Another { .. } => "keys.json is another office's; bring this office's own",
        KeysError::Old { .. } => "keys.json is older than the roots in the database; copy the newest one here",
        KeysError::NoRandom(_) => "the system gives no random bits; try again",
        KeysError::Refused(_) => "the new root did not hold; nothing was changed",
        KeysError::Store(_) => "the database did not take it; look at the office's log and try again",
    };
    let status = if matches!(error, KeysError::Old { .. } | KeysError::Another { .. }) {
        StatusCode::CONFLICT
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Problem { status, said: language.pick(error.to_string(), en.to_owned()) }
}

/// Why the desk did not do it.
pub(super) fn desk(error: &DeskError, language: Language) -> Problem {
    let said = error.said().in_language(language).to_owned();
    match error {
        DeskError::Findings(findings) => Problem::bad(format!("{said} {}", remarks(findings, language).join("；"))),
        DeskError::Refused(_) | DeskError::Compose(_) => Problem::bad(said),
        DeskError::Cannot(_) => Problem::refused(said),
        DeskError::Store(_) | DeskError::Keys(_) | DeskError::Broken(_) => {
            tracing::error!(?error, "the desk failed");
            Problem { status: StatusCode::SERVICE_UNAVAILABLE, said }
        }
    }
}

/// Findings as sentences, with their lines.
pub(super) fn remarks(findings: &[Finding], language: Language) -> Vec<String> {
    findings.iter().map(|finding| finding.remark(language).to_owned()).collect()
}

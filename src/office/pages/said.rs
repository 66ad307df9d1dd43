//! Why the office did not do it, as the pages say it: a sentence in the language of whoever asked.

use crate::{
    office::{desk::DeskError, enrol::EnrolError},
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

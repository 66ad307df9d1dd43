//! Why the office did not do it, as the pages say it: a sentence in the language of whoever asked.

use crate::{office::desk::DeskError, schedule::Finding, text::Language, web::Problem};
use axum::http::StatusCode;

/// Why the desk did not do it.
pub(super) fn desk(error: &DeskError, language: Language) -> Problem {
    let said = error.said().in_language(language).to_owned();
    match error {
        DeskError::Findings(findings) => Problem::bad(format!("{said} {}", remarks(findings, language).join("；"))),
        DeskError::Refused(_) | DeskError::Compose(_) => Problem::bad(said),
        DeskError::Cannot(_) => Problem::refused(said),
        DeskError::Store(_) | DeskError::Broken(_) => {
            tracing::error!(?error, "the desk failed");
            Problem { status: StatusCode::SERVICE_UNAVAILABLE, said }
        }
    }
}

/// Findings as sentences, with their lines.
pub(super) fn remarks(findings: &[Finding], language: Language) -> Vec<String> {
    findings.iter().map(|finding| finding.remark(language).to_owned()).collect()
}

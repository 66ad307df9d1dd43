//! One remark about a file that a person wrote, with the place and the remedy.

use serde::Serialize;
use std::fmt;

/// How bad a [`Finding`] is. `check` fails on an error or a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not meant.
    Warning,
    /// Something will not play as written.
    Error,
}

/// One remark about a file, as `dalaba check` prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Relative to the station's home, with `/`.
    pub file: String,
    /// From 1; none where the finding is about the whole file.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// Stable, kebab-case: `unknown-key`.
    pub code: &'static str,
    /// What is wrong and what to do about it, in Chinese.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "提示",
            Severity::Warning => "警告",
            Severity::Error => "错误",
        };
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {severity}[{}] {}", self.code, self.message)
    }
}

//! Which language a person reads.

use crate::text::Language;
use axum::http::{HeaderMap, header};

/// The cookie with a person's choice.
pub const COOKIE: &str = "language";

/// Returns the language that was chosen, else the first of ours that the browser names, else Chinese.
pub fn language(headers: &HeaderMap) -> Language {
    if let Some(chosen) = cookie(headers, COOKIE).and_then(|tag| Language::tagged(&tag)) {
        return chosen;
    }
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').find_map(|tag| Language::tagged(tag.trim())).unwrap_or_default()
}

/// Returns the value of a cookie.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_choice_counts_before_the_browser_and_chinese_is_the_default() {
        for (cookies, accepted, expected) in [
            ("", "", Language::Chinese),
            ("", "de, en-US;q=0.8, zh;q=0.5", Language::English),
            ("", "zh-CN,en", Language::Chinese),
            ("a=b; language=en", "zh-CN", Language::English),
            ("language=fr", "fr", Language::Chinese),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(cookies));
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(accepted));
            assert_eq!(language(&headers), expected, "{cookies} {accepted}");
        }
    }
}

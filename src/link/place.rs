//! Who is who: names of stations, keys and groups, division codes, and whom a document is meant for.

use crate::schedule::is_name;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// A text that is no name here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}")]
pub struct BadName {
    text: String,
    what: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $is:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// As it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                let is: fn(&str) -> bool = $is;
                if is(&text) {
                    return Ok(Self(text));
                }
                Err(BadName { text: text.chars().take(80).collect(), what: $what })
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

name! {
    /// The id of a station, as in its `station.toml`: a-z, 0-9 and `-`.
    StationId, "station id", is_plain
}
name! {
    /// The name of a key: a-z, 0-9 and `-`. Never used again for another key.
    KeyId, "key id", is_plain
}
name! {
    /// A group of stations, as people call it: letters, digits, `-` and `_` of any script.
    GroupName, "group", is_name
}

/// A node of the tree of administrative divisions: the digits of its code that mean something (`330127104` for the town
/// 330127104000). A code that begins with another's lies inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Division(String);

/// A text that is no division code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no division code of 2, 4, 6, 9 or 12 digits")]
pub struct BadDivision(String);

impl Division {
    /// Digits from the province down to the village.
    const LEVELS: [usize; 5] = [2, 4, 6, 9, 12];

    /// The digits that mean something.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `other` is this division or lies inside it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Returns whether it is a county or higher.
    pub fn is_county_or_above(&self) -> bool {
        self.0.len() <= 6
    }
}

impl TryFrom<String> for Division {
    type Error = BadDivision;
    fn try_from(mut text: String) -> Result<Self, BadDivision> {
        if !Self::LEVELS.contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadDivision(text.chars().take(20).collect()));
        }
        // Zeros fill a code up to twelve digits; no division below another has the number zero.
        for level in Self::LEVELS.windows(2).rev() {
            if text.len() == level[1] && text[level[0]..].bytes().all(|b| b == b'0') {
                text.truncate(level[0]);
            }
        }
        if text == "00" { Err(BadDivision(text)) } else { Ok(Self(text)) }
    }
}

impl From<Division> for String {
    fn from(division: Division) -> Self {
        division.0
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a station belongs, as its office says under a `content` key: pinned at enrolment, and replaced by a higher
/// revision only. It is signed, since whoever could tell a station its groups could re-aim a true command at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The root's.
    pub generation: u64,
    /// Higher than every one before it in this generation.
    pub revision: u64,
    /// Which station.
    pub station: StationId,
    /// The station's public key as the office has it, 64 hexadecimal digits: a station that finds another key here was
    /// enrolled through somebody in between.
    pub key: String,
    /// Its village, or what it belongs to.
    pub division: Division,
    /// Groups that the office made.
    pub groups: BTreeSet<GroupName>,
}

/// Whom a document is meant for: every station that one of the three names. Nobody where all are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Targets {
    /// By name.
    pub stations: BTreeSet<StationId>,
    /// Members of these groups.
    pub groups: BTreeSet<GroupName>,
    /// Everything inside these divisions.
    pub divisions: BTreeSet<Division>,
}

impl Targets {
    /// Returns whether a station in this place is meant.
    pub fn include(&self, place: &Place) -> bool {
        self.stations.contains(&place.station)
            || self.groups.iter().any(|group| place.groups.contains(group))
            || self.divisions.iter().any(|division| division.contains(&place.division))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn division(text: &str) -> Option<String> {
        Division::try_from(text.to_owned()).ok().map(Into::into)
    }

    #[test]
    fn a_code_says_its_level_without_the_zeros_that_fill_it_up() {
        for (code, expected) in [
            ("330127104201", Some("330127104201")),
            ("330127104000", Some("330127104")),
            ("330127000000", Some("330127")),
            ("330100000000", Some("3301")),
            ("330000000000", Some("33")),
            ("330127", Some("330127")),
            ("33012", None),
            ("", None),
            ("00", None),
            ("000000000000", None),
            ("33012710420x", None),
            ("３３", None),
        ] {
            assert_eq!(division(code).as_deref(), expected, "{code}");
        }
    }

    #[test]
    fn a_division_contains_what_lies_below_it() {
        let of = |code: &str| Division::try_from(code.to_owned()).unwrap();
        for (above, below, expected) in [
            ("330127000000", "330127104201", true),
            ("330127104000", "330127104201", true),
            ("330127104201", "330127104201", true),
            ("330127104201", "330127104000", false),
            ("330127105000", "330127104201", false),
        ] {
            assert_eq!(of(above).contains(&of(below)), expected, "{above} {below}");
        }
    }

    #[test]
    fn nobody_is_meant_unless_named() {
        let place = Place {
            generation: 1,
            revision: 1,
            station: StationId::try_from("beizhuang".to_owned()).unwrap(),
            key: String::new(),
            division: Division::try_from("330127104201".to_owned()).unwrap(),
            groups: [GroupName::try_from("沿河".to_owned()).unwrap()].into(),
        };
        for (json, expected) in [
            ("{}", false),
            (r#"{"stations":["beizhuang"]}"#, true),
            (r#"{"stations":["nanzhuang"]}"#, false),
            (r#"{"groups":["沿河"]}"#, true),
            (r#"{"groups":["山区"],"divisions":["330127104000"]}"#, true),
            (r#"{"divisions":["330127104202"]}"#, false),
        ] {
            assert_eq!(serde_json::from_str::<Targets>(json).unwrap().include(&place), expected, "{json}");
        }
    }
}

//! A schedule's text as a form: its announcements and rules in fields, on whichever page it is changed.
//!
//! The text is what counts: every field is read from it and put back into it ([`crate::schedule::edit::fields`]), and a
//! button changes it. A text whose structure must be put right first has no fields.

use crate::{
    schedule::{
        edit::{
            Torn,
            fields::{self, Fields, WEEK},
        },
        is_name,
    },
    text::Language,
};
use serde::Deserialize;

/// Texts of the form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Words {
    pub schedule_title: String,
    pub enabled: String,
    pub announcement: String,
    pub chime: String,
    pub play: String,
    pub play_hint: String,
    pub pick: String,
    pub pick_in_turn: String,
    pub pick_shuffle: String,
    pub pick_all: String,
    pub band: String,
    pub band_background: String,
    pub band_normal: String,
    pub band_urgent: String,
    pub volume: String,
    pub screen: String,
    pub rule: String,
    pub rule_play: String,
    pub at: String,
    pub every: String,
    pub between: String,
    pub cron: String,
    pub days: String,
    pub every_day: String,
    pub workdays: String,
    pub rest_days: String,
    pub holidays: String,
    pub weekdays: String,
    pub lunar: String,
    pub lunar_day_ends: String,
    pub terms: String,
    pub dates: String,
    pub day_list: String,
    pub mon: String,
    pub tue: String,
    pub wed: String,
    pub thu: String,
    pub fri: String,
    pub sat: String,
    pub sun: String,
    pub during: String,
    pub except: String,
    pub grace: String,
    pub hard: String,
    pub add_announcement: String,
    pub add_name: String,
    pub add_title: String,
    pub add_rule: String,
    pub remove: String,
    pub remove_announcement: String,
}

impl Words {
    /// Values of `pick` and what they mean.
    pub fn picks(&self) -> [(&'static str, &str); 3] {
        [("in-turn", &self.pick_in_turn), ("shuffle", &self.pick_shuffle), ("all", &self.pick_all)]
    }

    /// Values of `band` and what they mean.
    pub fn bands(&self) -> [(&'static str, &str); 3] {
        [("background", &self.band_background), ("normal", &self.band_normal), ("urgent", &self.band_urgent)]
    }

    /// Values of `on` and what they mean.
    pub fn day_sets(&self) -> [(&'static str, &str); 9] {
        [
            ("every-day", &self.every_day),
            ("workdays", &self.workdays),
            ("rest-days", &self.rest_days),
            ("holidays", &self.holidays),
            ("weekdays", &self.weekdays),
            ("lunar", &self.lunar),
            ("lunar-day-ends", &self.lunar_day_ends),
            ("terms", &self.terms),
            ("dates", &self.dates),
        ]
    }

    /// Days of the week and what they are called.
    pub fn week(&self) -> [(&'static str, &str); 7] {
        let names = [&self.mon, &self.tue, &self.wed, &self.thu, &self.fri, &self.sat, &self.sun];
        std::array::from_fn(|day| (WEEK[day], names[day].as_str()))
    }
}

/// One announcement, rule or the whole file, as a part of the form.
pub(crate) struct Part {
    pub id: String,
    pub prefix: String,
    values: Fields,
}

impl Part {
    fn of(all: &Fields, prefix: &str, id: &str) -> Self {
        let own = all.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(prefix)?;
            (!key.contains('.')).then(|| (key.to_owned(), value.clone()))
        });
        Self { id: id.to_owned(), prefix: prefix.to_owned(), values: own.collect() }
    }

    /// What stands in a field.
    pub fn get(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    /// Returns whether it is this.
    pub fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == value
    }

    /// Returns whether `on` names this day of the week.
    pub fn has_day(&self, day: &str) -> bool {
        self.is(&format!("on-{day}"), "on")
    }

    /// Returns what people call it.
    pub fn title(&self) -> &str {
        Some(self.get("title")).filter(|title| !title.is_empty()).unwrap_or(&self.id)
    }
}

/// A text taken apart.
pub(crate) struct Parts {
    /// Of the whole schedule.
    pub settings: Part,
    pub announcements: Vec<Part>,
    pub rules: Vec<Part>,
    /// Every field.
    pub all: Fields,
}

impl Parts {
    /// Takes a text apart; none for one that must be put right as text first.
    pub fn of(text: &str, name: &str) -> Option<Self> {
        let all = fields::read(text).ok()?;
        // Each part has one field of this name.
        let ids = |kind: &str, field: &str| -> Vec<String> {
            all.keys()
                .filter_map(|name| name.strip_prefix(kind)?.strip_suffix(field).map(str::to_owned))
                .filter(|id| !id.contains('.'))
                .collect()
        };
        let announcement = |id: &String| Part::of(&all, &format!("announcement.{id}."), id);
        let announcements = ids("announcement.", ".pick").iter().map(announcement).collect();
        let mut numbers: Vec<usize> = ids("rule.", ".grace").iter().filter_map(|id| id.parse().ok()).collect();
        numbers.sort_unstable();
        let rules = numbers.iter().map(|at| Part::of(&all, &format!("rule.{at}."), &at.to_string())).collect();
        Some(Self { settings: Part::of(&all, "", name), announcements, rules, all })
    }
}

/// Returns the text after a button of the form was pressed, and what is wrong with what was filled in for it.
pub(crate) fn press(text: &str, pressed: &str, form: &Fields, language: Language) -> (String, Option<&'static str>) {
    let given = |key: &str| form.get(key).map(|text| text.trim()).unwrap_or_default();
    let changed = match pressed.split_once('.') {
        Some(("remove-rule", index)) => index.parse().map_or(Err(Torn), |index| fields::remove_rule(text, index)),
        Some(("remove-announcement", name)) => fields::remove_announcement(text, name),
        None if pressed == "add-announcement" && !is_name(given("add-name")) => {
            let problem = language.pick(
                "播报的名字请用 1 到 64 个字母、数字、汉字、“-”或“_”",
                "an announcement's name is 1 to 64 letters, digits, - or _",
            );
            return (text.to_owned(), Some(problem));
        }
        None if pressed == "add-announcement" => fields::add_announcement(text, given("add-name"), given("add-title")),
        None if pressed == "add-rule" => fields::add_rule(text, given("add-play")),
        _ => Err(Torn),
    };
    (changed.unwrap_or_else(|Torn| text.to_owned()), None)
}

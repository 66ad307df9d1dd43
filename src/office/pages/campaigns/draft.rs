//! A campaign under somebody's hands: the fields of its form, and the campaign that they say.

use super::targets;
use crate::{
    link::{BlobId, Division},
    office::{
        campaign::{Bulletin, Campaign, CampaignId, CampaignKind, Content, Days, Sound, Weekday},
        desk::Opened,
        store::{Shelved, Station},
    },
    schedule::{
        Band, ClipPath, Volume,
        edit::fields::{self, Fields, WEEK},
    },
    text::Language,
    web::Problem,
};
use jiff::civil::{Date, Time};
use std::collections::BTreeSet;

/// Sounds offered in a form: the newest, and those that are chosen.
const OFFERED: usize = 100;
/// The longest name that is made of a title, in characters.
const LONGEST_NAME: usize = 40;

/// The fields of a form.
#[derive(Debug, Clone)]
pub(super) struct Draft(Fields);

impl Draft {
    /// An empty form.
    pub fn new(kind: CampaignKind) -> Self {
        let mut draft = Self(Fields::new());
        draft.set("kind", kind.key().to_owned());
        for (name, value) in [("band", "urgent"), ("volume", "100"), ("days", "every-day")] {
            draft.set(name, value.to_owned());
        }
        if kind == CampaignKind::Campaign {
            let text = fields::add_announcement("", "main", "");
            let text = text.and_then(|text| fields::add_rule(&text, "main")).unwrap_or_default();
            draft.set("text", text);
        }
        draft
    }

    /// The form of a campaign's newest version.
    pub fn of(opened: &Opened, stations: &[Station], office: &Division) -> Self {
        let Campaign { id, title, content, audio, targets, from, until } = &opened.newest;
        let mut draft = Self::new(opened.newest.kind());
        let day = |day: &Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
        for (name, value) in [
            ("id", id.to_string()),
            ("base", opened.filed.standing.version.to_string()),
            ("title", title.clone()),
            ("first_day", day(from)),
            ("last_day", day(until)),
        ] {
            draft.set(name, value);
        }
        draft.0.extend(targets::Choice::of(stations, office, targets.clone()).fields());
        for sound in audio {
            draft.set(&format!("sound.{}", sound.sha256), "on".to_owned());
            draft.set(&format!("path.{}", sound.sha256), sound.path.to_string());
        }
        match content {
            Content::Campaign { schedule } => draft.set("text", schedule.clone()),
            Content::Bulletin(bulletin) => draft.fill(bulletin),
        }
        draft
    }

    fn fill(&mut self, bulletin: &Bulletin) {
        let Bulletin { trick, loss, lesson, reminder, band, volume, chime, times, days } = bulletin;
        let band = match band {
            Band::Background => "background",
            Band::Normal => "normal",
            Band::Urgent | Band::Emergency => "urgent",
        };
        let times: Vec<_> = times.iter().map(|time| time.strftime("%H:%M").to_string()).collect();
        let (named, week) = match days {
            Days::EveryDay => ("every-day", BTreeSet::new()),
            Days::Workdays => ("workdays", BTreeSet::new()),
            Days::RestDays => ("rest-days", BTreeSet::new()),
            Days::Holidays => ("holidays", BTreeSet::new()),
            Days::Weekdays(week) => ("weekdays", week.clone()),
        };
        for (name, value) in [
            ("trick", trick.clone()),
            ("loss", loss.clone()),
            ("lesson", lesson.clone()),
            ("reminder", reminder.clone()),
            ("band", band.to_owned()),
            ("volume", volume.percent().to_string()),
            ("chime", chime.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("times", times.join(" ")),
            ("days", named.to_owned()),
        ] {
            self.set(name, value);
        }
        for day in week {
            self.set(&format!("day-{}", day.key()), "on".to_owned());
        }
    }

    /// A form that was sent: what its fields say of the schedule stands in its text from here on.
    pub fn sent(fields: Fields) -> Self {
        let mut draft = Self(fields);
        if draft.kind() == CampaignKind::Campaign {
            // A text that was torn is left as it is.
            if let Ok(text) = fields::write(draft.get("text"), &draft.0) {
                draft.set("text", text);
            }
        }
        draft
    }

    /// Every field.
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// The fields that make this form again: those of the schedule stand in its text.
    pub fn kept(&self) -> Vec<(&String, &String)> {
        let is_part = |name: &str| {
            name.starts_with("announcement.") || name.starts_with("rule.") || name.starts_with("add-") || name == "do"
        };
        self.0.iter().filter(|(name, _)| !is_part(name)).collect()
    }

    /// What stands in a field.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Puts something into a field.
    pub fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    /// Returns whether a field is this.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// Returns whether this day of the week is ticked.
    pub fn has_day(&self, day: &str) -> bool {
        self.is(&format!("day-{day}"), "on")
    }

    /// Which kind it is.
    pub fn kind(&self) -> CampaignKind {
        if self.is("kind", CampaignKind::Bulletin.key()) { CampaignKind::Bulletin } else { CampaignKind::Campaign }
    }

    /// Returns whether it is the bulletin of a case.
    pub fn is_bulletin(&self) -> bool {
        self.kind() == CampaignKind::Bulletin
    }

    /// The version on which it was written; none for a new one.
    pub fn base(&self) -> Option<u64> {
        self.get("base").parse().ok()
    }

    /// Returns whether a sound is chosen.
    pub fn has_sound(&self, sound: &Shelved) -> bool {
        self.is(&format!("sound.{}", sound.sha256), "on")
    }

    /// What the schedule calls a sound.
    pub fn path(&self, sound: &Shelved) -> String {
        let known = self.get(&format!("path.{}", sound.sha256));
        if known.is_empty() { path_for(sound) } else { known.to_owned() }
    }

    /// Chooses a sound that has just come, and plays it where the schedule still plays nothing.
    pub fn add_sound(&mut self, sha256: BlobId, shelf: &[Shelved]) {
        self.set(&format!("sound.{sha256}"), "on".to_owned());
        let Some(sound) = shelf.iter().find(|sound| sound.sha256 == sha256) else { return };
        let path = self.path(sound);
        let empty = |(name, value): (&String, &String)| {
            (name.starts_with("announcement.") && name.ends_with(".play") && value.trim().is_empty())
                .then(|| name.clone())
        };
        let wanted = fields::read(self.get("text")).ok().and_then(|fields| fields.iter().find_map(empty));
        if let Some(name) = wanted {
            let fields = Fields::from([(name, path)]);
            if let Ok(text) = fields::write(self.get("text"), &fields) {
                self.set("text", text);
            }
        }
    }

    /// The sounds that the form offers: the chosen ones, then the newest.
    pub fn shelf<'a>(&self, shelf: &'a [Shelved]) -> Vec<&'a Shelved> {
        let (chosen, others): (Vec<_>, Vec<_>) = shelf.iter().partition(|sound| self.has_sound(sound));
        chosen.into_iter().chain(others.into_iter().take(OFFERED)).collect()
    }

    /// Returns the campaign that the fields say.
    pub fn read(
        &self,
        shelf: &[Shelved],
        stations: &[Station],
        office: &Division,
        language: Language,
    ) -> Result<Campaign, Problem> {
        let title = self.get("title").trim().to_owned();
        let bad = |zh: String, en: String| Problem::bad(language.pick(zh, en));
        let name = if self.get("id").is_empty() { name_for(&title) } else { self.get("id").to_owned() };
        let id = CampaignId::try_from(name).map_err(|_| bad("请写标题".into(), "write a title".into()))?;
        let day = |name: &str| match self.get(name).trim() {
            "" => Ok(None),
            text => text.parse::<Date>().map(Some).map_err(|_| {
                bad(
                    format!("看不懂日期“{text}”；请写成 2026-06-17 这样"),
                    format!("“{text}” is no date; write 2026-06-17"),
                )
            }),
        };
        let (from, until) = (day("first_day")?, day("last_day")?);
        let mut audio = Vec::new();
        for sound in shelf.iter().filter(|sound| self.has_sound(sound)) {
            let path = ClipPath::try_from(self.path(sound)).map_err(|error| Problem::bad(error.to_string()))?;
            audio.push(Sound { path, sha256: sound.sha256, bytes: sound.bytes, title: sound.title.clone() });
        }
        audio.sort_by(|a, b| a.path.cmp(&b.path));
        let targets = targets::read(&self.0, stations, office, language)?;
        let content = match self.kind() {
            CampaignKind::Campaign => Content::Campaign { schedule: self.get("text").replace("\r\n", "\n") },
            CampaignKind::Bulletin => Content::Bulletin(self.bulletin(language)?),
        };
        Ok(Campaign { id, title, content, audio, targets, from, until })
    }

    fn bulletin(&self, language: Language) -> Result<Bulletin, Problem> {
        let bad = |zh: String, en: String| Problem::bad(language.pick(zh, en));
        let mut times = BTreeSet::new();
        for text in targets::parted(self.0.get("times")) {
            let time = text.replace('：', ":").parse::<Time>();
            times.insert(time.map_err(|_| {
                bad(format!("看不懂时间“{text}”；请写成 07:00 这样"), format!("“{text}” is no time; write 07:00"))
            })?);
        }
        if times.is_empty() {
            return Err(bad("请写几点播，例如 07:00 18:30".into(), "write when it is said, as 07:00 18:30".into()));
        }
        let volume = self.get("volume").parse().ok().and_then(|percent: u8| Volume::try_from(percent).ok());
        let volume = volume.ok_or_else(|| bad("音量请写 0 到 100".into(), "a volume is 0 to 100".into()))?;
        let chime = Some(self.get("chime")).filter(|path| !path.is_empty());
        let chime = chime.map(|path| ClipPath::try_from(path.to_owned())).transpose();
        const DAYS: [Weekday; 7] =
            [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
        let days = match self.get("days") {
            "workdays" => Days::Workdays,
            "rest-days" => Days::RestDays,
            "holidays" => Days::Holidays,
            "weekdays" => Days::Weekdays(
                WEEK.iter().zip(DAYS).filter(|(name, _)| self.has_day(name)).map(|(_, day)| day).collect(),
            ),
            _ => Days::EveryDay,
        };
        Ok(Bulletin {
            trick: self.get("trick").trim().to_owned(),
            loss: self.get("loss").trim().to_owned(),
            lesson: self.get("lesson").trim().to_owned(),
            reminder: self.get("reminder").trim().to_owned(),
            band: match self.get("band") {
                "background" => Band::Background,
                "normal" => Band::Normal,
                _ => Band::Urgent,
            },
            volume,
            chime: chime.map_err(|error| Problem::bad(error.to_string()))?,
            times,
            days,
        })
    }
}

/// What a schedule calls a sound that it did not know before.
fn path_for(sound: &Shelved) -> String {
    let title: String = sound.title.chars().take(80).collect();
    format!("{title}.{}", sound.extension)
}

/// Makes a name of a title: letters and digits of any script, the rest as dashes.
fn name_for(title: &str) -> String {
    let plain: String = title.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join("-").to_lowercase().chars().take(LONGEST_NAME).collect::<String>().trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn shelved(title: &str) -> Shelved {
        Shelved {
            sha256: BlobId::of(title.as_bytes()),
            bytes: 9,
            title: title.into(),
            extension: "mp3".into(),
            duration_ms: 1000,
            made_by: "a".into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn office() -> Division {
        "330127104".to_owned().try_into().unwrap()
    }

    fn read(draft: &Draft, shelf: &[Shelved]) -> Result<Campaign, String> {
        draft.read(shelf, &[], &office(), Language::Chinese).map_err(|problem| problem.said)
    }

    #[test]
    fn a_title_names_a_campaign() {
        for (title, name) in [
            ("反诈宣传周", "反诈宣传周"),
            (" 防溺水 (2026) ", "防溺水-2026"),
            ("Fire!  Safety", "fire-safety"),
            ("！！", ""),
        ] {
            assert_eq!(name_for(title), name, "{title}");
        }
    }

    #[test]
    fn a_sound_that_comes_is_chosen_and_played_where_nothing_was() {
        let mut draft = Draft::new(CampaignKind::Campaign);
        let shelf = [shelved("防溺水"), shelved("别的")];
        draft.add_sound(shelf[0].sha256, &shelf);
        assert!(draft.get("text").contains("防溺水.mp3"), "{}", draft.get("text"));
        draft.add_sound(shelf[1].sha256, &shelf);
        assert!(!draft.get("text").contains("别的.mp3"), "it plays something already");
        draft.set("title", "防溺水".into());
        draft.set("everybody", "on".into());
        let campaign = read(&draft, &shelf).unwrap();
        assert_eq!(campaign.audio.len(), 2);
        assert!(campaign.targets.divisions.contains(&office()));
    }

    #[test]
    fn a_bulletin_is_read_as_its_form_says_and_told_what_it_lacks() {
        let mut draft = Draft::new(CampaignKind::Bulletin);
        for (name, value, expected) in [
            ("title", "冒充公检法", Err("请写几点播")),
            ("times", "7点", Err("看不懂时间")),
            ("times", "07:00、18：30", Ok(2)),
            ("last_day", "明天", Err("看不懂日期")),
            ("last_day", "2026-12-31", Ok(2)),
            ("volume", "300", Err("音量")),
            ("volume", "80", Ok(2)),
        ] {
            draft.set(name, value.into());
            let said = read(&draft, &[]).map(|campaign| match campaign.content {
                Content::Bulletin(bulletin) => bulletin.times.len(),
                Content::Campaign { .. } => 0,
            });
            match (said, expected) {
                (Ok(times), Ok(expected)) => assert_eq!(times, expected, "{name} {value}"),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{name} {value}: {said}"),
                (said, expected) => panic!("{name} {value}: {said:?} {expected:?}"),
            }
        }
    }
}

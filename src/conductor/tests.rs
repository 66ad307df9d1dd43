//! One short test for each transition: what a village sees, step by step.

use super::*;
use crate::{
    calendar::{Calendar, DaySet, Hours},
    outcome::Evidence,
    plan::{Clip, ClipState, Clips},
    schedule::{Announcement, ClipPath, Pick, PlayPath, Rule, Schedule, When},
    speaker::protocol::{End, Level, Playout, Word},
};
use jiff::tz::TimeZone;

/// How loud every sound of these tests is.
const LEVEL: Level = Level { peak_dbfs: -3.0, rms_dbfs: -20.0 };

/// Returns the moment at `time` on 17 June 2026 in Beizhuang.
fn at(time: &str) -> Timestamp {
    format!("2026-06-17T{time}+08:00").parse().unwrap()
}

fn path(name: &str) -> ClipPath {
    ClipPath::try_from(format!("{name}.wav")).unwrap()
}

/// A village that plays `(name, band, time, seconds)` every day, quiet from 21:30 to 06:00.
fn village(plays: &[(&str, Band, &str, u64)]) -> Arc<Program> {
    let mut schedule = Schedule {
        name: "daily".into(),
        source: Source::Station,
        title: "每日".into(),
        enabled: true,
        from: None,
        until: None,
        announcements: BTreeMap::new(),
        rules: Vec::new(),
        overrides: Vec::new(),
    };
    let mut clips = Clips::default();
    for (name, band, time, seconds) in plays {
        let frames = seconds * u64::from(crate::plan::RATE);
        let state = ClipState::Ready { sha256: "00".into(), file: "x.flac".into(), frames, gain: 1.0 };
        clips.0.insert(
            path(name),
            Clip { title: (*name).into(), valid_from: None, valid_until: None, retired: false, state },
        );
        schedule.announcements.insert(
            (*name).into(),
            Announcement {
                title: (*name).into(),
                enabled: true,
                band: *band,
                chime: None,
                play: vec![PlayPath::Clip(path(name))],
                pick: Pick::InTurn,
                volume: Volume::FULL,
                screen: None,
            },
        );
        schedule.rules.push(Rule {
            play: (*name).into(),
            enabled: true,
            when: When::At(vec![time.parse().unwrap()]),
            on: DaySet::EveryDay,
            during: None,
            except: Vec::new(),
            grace: SignedDuration::from_mins(2),
            hard: false,
        });
    }
    Arc::new(Program {
        zone: TimeZone::get("Asia/Shanghai").unwrap(),
        schedules: vec![schedule],
        calendar: Calendar::default(),
        hours: Hours {
            quiet: vec!["21:30-06:00".parse().unwrap()],
            working: Vec::new(),
            daily_limit: SignedDuration::from_hours(4),
        },
        closed: Vec::new(),
        clips,
    })
}

/// A station under test: its clocks, and everything it ever asked for.
struct Station {
    conductor: Conductor,
    now: Reading,
    done: Vec<Action>,
}

impl Station {
    /// A station that starts at `time` with a device and remembers `memory`.
    fn starts(time: &str, memory: Memory, program: Arc<Program>) -> Self {
        let now = Reading {
            wall: at(time),
            since_boot: Duration::from_secs(60),
            awake: Duration::from_secs(60),
            synchronised: false,
        };
        let limits = Limits {
            volume: Volume::try_from(80).unwrap(),
            ceiling: Volume::FULL,
            released: at("00:00:00"),
            lead: SignedDuration::from_secs(10),
        };
        let (conductor, done) = Conductor::new(now, memory, limits, program, "v1".into());
        let mut station = Self { conductor, now, done };
        station.hears(Word::Ready { device: "pulse:village".into() });
        station
    }

    /// A station that has nothing on record.
    fn new(time: &str, plays: &[(&str, Band, &str, u64)]) -> Self {
        Self::starts(time, Memory::default(), village(plays))
    }

    fn happens(&mut self, event: Event) {
        self.done.extend(self.conductor.handle(self.now, event));
    }

    fn hears(&mut self, word: Word) {
        self.happens(Event::Speaker(word));
    }

    /// Lets time pass evenly until `time`, and the conductor wake whenever it asked to.
    fn waits_until(&mut self, time: &str) {
        while self.now.wall < at(time) {
            let next = self.conductor.next_wake().min(at(time));
            self.passes(next.duration_since(self.now.wall));
            self.happens(Event::Woke);
        }
    }

    fn passes(&mut self, span: SignedDuration) {
        let passed = Duration::try_from(span).unwrap();
        self.now.wall = plus(self.now.wall, span);
        self.now.since_boot += passed;
        self.now.awake += passed;
    }

    /// Somebody sets the clock.
    fn is_set_to(&mut self, time: Timestamp) {
        self.now.wall = time;
        self.happens(Event::Woke);
    }

    fn playout(&self, name: &str) -> Option<Playout> {
        self.done.iter().rev().find_map(|action| match action {
            Action::Play { playout } if playout.occurrence.as_str().contains(name) => Some(playout.clone()),
            _ => None,
        })
    }

    /// The speaker starts `name` and says so.
    fn begins(&mut self, name: &str) {
        let occurrence = self.playout(name).unwrap().occurrence;
        let at = self.now.wall;
        self.hears(Word::Started { occurrence, at, error_us: 40 });
    }

    /// The speaker plays so many seconds of `name`, telling of its progress.
    fn sounds(&mut self, name: &str, seconds: u64) {
        let playout = self.playout(name).unwrap();
        for second in 1..=seconds {
            self.passes(SignedDuration::from_secs(1));
            let frames = second * u64::from(crate::plan::RATE);
            self.hears(Word::Progress {
                occurrence: playout.occurrence.clone(),
                frames,
                level: LEVEL,
                now_dbfs: -20.0,
            });
        }
    }

    fn ends(&mut self, name: &str, seconds: u64, end: End) {
        let occurrence = self.playout(name).unwrap().occurrence;
        let (at, frames) = (self.now.wall, seconds * u64::from(crate::plan::RATE));
        self.hears(Word::Ended { occurrence, frames, level: LEVEL, at, end, evidence: Evidence::Accepted, note: None });
    }

    fn asks(&mut self, command: Command) -> Result<Done, Refusal> {
        self.happens(Event::Asked { ask: 7, command });
        let answers = self.done.iter().rev().filter_map(|action| match action {
            Action::Answer { ask: 7, answer } => Some(answer.clone()),
            _ => None,
        });
        answers.take(1).next().unwrap()
    }

    fn plays_by_hand(&mut self, name: &str, emergency: bool) -> Result<Done, Refusal> {
        self.asks(Command::Play {
            id: OccurrenceId::manual(uuid::Uuid::from_u128(1)),
            what: Playable::Announcement(name.into()),
            operator: "王".into(),
            emergency,
            note: emergency.then(|| "台风".into()),
        })
    }

    /// What became of `name`: outcome and reason, in the words of the journal; every final entry of it.
    fn fates(&self, name: &str) -> Vec<String> {
        self.done
            .iter()
            .filter_map(|action| match action {
                Action::Finish(entry) if entry.occurrence.as_str().contains(name) => {
                    Some(format!("{:?} {}", entry.outcome, entry.reason.map_or("", Reason::zh)).trim().to_owned())
                }
                _ => None,
            })
            .collect()
    }

    fn asked_for(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.done.iter().any(wanted)
    }
}

const MORNING: (&str, Band, &str, u64) = ("morning", Band::Normal, "06:30:00", 30);
const BULLETIN: (&str, Band, &str, u64) = ("bulletin", Band::Urgent, "06:30:10", 5);
const RADIO: (&str, Band, &str, u64) = ("radio", Band::Background, "06:29:00", 600);

#[test]
fn an_announcement_is_on_record_then_armed_then_played() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.waits_until("06:29:51");
    let begun = station.done.iter().position(|action| matches!(action, Action::Begin(_))).unwrap();
    let armed = station.done.iter().position(|action| matches!(action, Action::Play { .. })).unwrap();
    assert!(begun < armed);
    assert_eq!(station.playout("morning").unwrap().start, at("06:30:00"));
    station.waits_until("06:30:00");
    station.begins("morning");
    station.sounds("morning", 30);
    station.ends("morning", 30, End::Finished);
    assert_eq!(station.fates("morning"), ["Played"]);
}

#[test]
fn what_fell_due_while_the_station_was_down_is_missed_or_plays_within_its_grace() {
    for (starts, expected) in [("06:31:30", ""), ("06:32:00", ""), ("06:33:00", "Missed 关机或程序未运行")] {
        let memory = Memory { tick: Some(at("06:00:00")), newest: Some(at("06:00:00")), ..Memory::default() };
        let station = Station::starts(starts, memory, village(&[MORNING]));
        assert_eq!(station.fates("morning").join(","), expected, "{starts}");
        assert_eq!(station.playout("morning").is_some(), expected.is_empty(), "{starts}");
    }
}

#[test]
fn a_clock_set_back_asks_the_journal_and_repeats_nothing() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.waits_until("06:30:00");
    station.begins("morning");
    station.sounds("morning", 30);
    station.ends("morning", 30, End::Finished);
    station.is_set_to(at("06:27:00"));
    assert!(station.asked_for(|action| matches!(action, Action::Recall { since } if *since == at("06:27:00"))));
    station.happens(Event::Recalled { decided: BTreeSet::new() });
    station.waits_until("06:40:00");
    assert_eq!(station.fates("morning"), ["Played"]);
}

#[test]
fn a_clock_set_forward_records_what_it_jumped_over() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.is_set_to(at("09:00:00"));
    assert_eq!(station.fates("morning"), ["Missed 时钟跳变"]);
}

#[test]
fn a_clock_that_is_not_believed_decides_nothing_until_it_is() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.is_set_to("2000-01-01T00:00:00Z".parse().unwrap());
    assert!(station.asked_for(|action| *action == Action::Alarm(Alarm::ClockUntrusted)));
    station.passes(SignedDuration::from_mins(60));
    station.happens(Event::Woke);
    assert!(station.fates("morning").is_empty());
    station.is_set_to(at("07:20:00"));
    assert_eq!(station.fates("morning"), ["Missed 时间不可信"]);
    assert!(station.asked_for(|action| *action == Action::Clear(Alarm::ClockUntrusted)));
}

#[test]
fn a_machine_that_slept_was_down() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.now.wall = at("08:00:00");
    station.now.since_boot += Duration::from_secs(6000);
    station.happens(Event::Woke);
    assert_eq!(station.fates("morning"), ["Missed 关机或程序未运行"]);
}

#[test]
fn the_more_pressing_cuts_and_is_heard_on_time() {
    let mut station = Station::new("06:20:00", &[MORNING, BULLETIN]);
    station.waits_until("06:30:00");
    station.begins("morning");
    station.sounds("morning", 9);
    station.happens(Event::Woke);
    assert!(station.asked_for(|action| matches!(action, Action::Stop(id) if id.as_str().contains("morning"))));
    station.ends("morning", 9, End::Stopped);
    assert_eq!(station.fates("morning"), ["Partial 被更高优先级抢占"]);
    assert_eq!(station.playout("bulletin").unwrap().start, at("06:30:10"));
}

#[test]
fn background_goes_down_under_an_announcement_and_up_again() {
    let mut station = Station::new("06:20:00", &[RADIO, MORNING]);
    station.waits_until("06:29:00");
    station.begins("radio");
    station.sounds("radio", 60);
    station.begins("morning");
    let gains = |station: &Station| -> Vec<bool> {
        let full = Volume::try_from(80).unwrap().gain();
        let gains = station.done.iter().filter_map(|action| match action {
            Action::Gain { gain, .. } => Some(*gain < full / 2.0),
            _ => None,
        });
        gains.collect()
    };
    assert_eq!(gains(&station), [true]);
    station.ends("morning", 30, End::Finished);
    assert_eq!(gains(&station), [true, false]);
}

#[test]
fn a_stop_ends_what_sounds_and_holds_until_released() {
    let mut station = Station::new("06:20:00", &[MORNING, ("noon", Band::Normal, "06:40:00", 5)]);
    station.waits_until("06:30:00");
    station.begins("morning");
    station.sounds("morning", 5);
    let stopped = station.asks(Command::Stop { operator: "王".into() });
    assert_eq!(stopped, Ok(Done::Stopped(at("07:00:05"))));
    station.ends("morning", 5, End::Stopped);
    assert_eq!(station.fates("morning"), ["Partial 停播"]);
    assert_eq!(station.plays_by_hand("noon", false), Err(Refusal::Stopped(at("07:00:05"))));
    station.waits_until("06:40:00");
    assert_eq!(station.fates("noon"), ["Skipped 停播"]);
    assert_eq!(station.asks(Command::Release { operator: "王".into() }), Ok(Done::Released));
    assert!(station.plays_by_hand("noon", false).is_ok());
}

#[test]
fn an_entry_says_who_silenced_the_station_and_what_for_and_how_loud_it_was() {
    let mut station = Station::new("06:20:00", &[MORNING, ("noon", Band::Normal, "06:40:00", 5)]);
    station.waits_until("06:30:00");
    station.begins("morning");
    station.sounds("morning", 5);
    station.hears(Word::Underrun { micros: 900 });
    station.asks(Command::Stop { operator: "王".into() }).unwrap();
    station.ends("morning", 5, End::Stopped);
    station.asks(Command::Release { operator: "王".into() }).unwrap();
    let note = Some("李家办喜事".to_owned());
    station.asks(Command::Hush { until: at("07:00:00"), operator: "赵".into(), note }).unwrap();
    station.waits_until("06:43:00");
    let entry = |name: &str| {
        station.done.iter().rev().find_map(|action| match action {
            Action::Finish(entry) if entry.occurrence.as_str().contains(name) => Some(entry.clone()),
            _ => None,
        })
    };
    assert_eq!(entry("noon").unwrap().note.as_deref(), Some("临时静音（赵）：李家办喜事"));
    let morning = entry("morning").unwrap();
    assert_eq!(morning.note.as_deref(), Some("停播（王）"));
    assert_eq!((morning.peak_dbfs, morning.underruns), (Some(-3.0), 1));
    assert!(morning.rms_dbfs.is_some_and(|rms| (rms + 20.0).abs() < 0.01), "{morning:?}");
}

#[test]
fn only_an_emergency_with_a_note_sounds_in_quiet_hours() {
    let mut station = Station::new("22:00:00", &[MORNING]);
    assert_eq!(station.plays_by_hand("morning", false), Err(Refusal::QuietHours));
    assert!(station.plays_by_hand("morning", true).is_ok());
    assert_eq!(station.playout("manual").unwrap().band, Band::Emergency);
    station.begins("manual");
    station.asks(Command::Stop { operator: "王".into() }).unwrap();
    station.ends("manual", 1, End::Stopped);
    assert_eq!(station.fates("manual"), ["Partial 停播"]);
}

#[test]
fn an_armed_announcement_follows_an_edit() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.waits_until("06:29:55");
    station.happens(Event::Reprogrammed { program: village(&[]), revision: "v2".into() });
    assert!(station.asked_for(|action| matches!(action, Action::Stop(_))));
    station.ends("morning", 0, End::Stopped);
    assert!(station.asked_for(|action| matches!(action, Action::Abandon(_))));
    station.waits_until("06:40:00");
    assert!(station.fates("morning").is_empty());
}

#[test]
fn what_broke_off_re_enters_where_the_clock_is() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.waits_until("06:30:00");
    station.begins("morning");
    station.sounds("morning", 10);
    station.happens(Event::SpeakerDied);
    station.passes(SignedDuration::from_secs(2));
    station.hears(Word::Ready { device: "pulse:village".into() });
    assert_eq!(station.playout("morning").unwrap().skip_frames, 12 * u64::from(crate::plan::RATE));
    station.begins("morning");
    station.sounds("morning", 18);
    station.ends("morning", 18, End::Finished);
    assert_eq!(station.fates("morning"), ["Partial 程序中断"]);
}

#[test]
fn an_end_by_a_lost_device_says_nothing_of_the_device_after_it() {
    // The speaker finds its device again by itself and tells only of changes: here it was back before the end was told.
    let mut station = Station::new("06:20:00", &[MORNING, ("later", Band::Normal, "06:31:00", 5)]);
    station.waits_until("06:30:00");
    station.begins("morning");
    station.sounds("morning", 28);
    station.passes(SignedDuration::from_secs(2));
    station.ends("morning", 28, End::DeviceLost);
    assert_eq!(station.fates("morning"), ["Partial 声卡中断"]);
    station.waits_until("06:30:59");
    assert!(station.playout("later").is_some());
}

#[test]
fn a_speaker_without_progress_is_replaced_and_the_third_death_is_safe_mode() {
    let mut station = Station::new("06:20:00", &[MORNING, ("later", Band::Normal, "06:35:00", 5)]);
    station.waits_until("06:30:00");
    station.begins("morning");
    station.waits_until("06:30:03");
    assert!(station.asked_for(|action| *action == Action::ReplaceSpeaker));
    for _ in 0..3 {
        station.happens(Event::SpeakerDied);
        station.hears(Word::Ready { device: "pulse:village".into() });
    }
    assert!(station.asked_for(|action| *action == Action::Alarm(Alarm::SafeMode)));
    station.waits_until("06:35:00");
    assert_eq!(station.fates("later"), ["Missed 安全模式"]);
}

#[test]
fn a_device_that_comes_within_the_grace_is_taken() {
    for (comes, expected) in [(Some("06:31:00"), ""), (None, "Missed 没有可用声卡")] {
        let mut station = Station::new("06:20:00", &[MORNING]);
        station.hears(Word::NoDevice { why: "拔掉了".into() });
        if let Some(comes) = comes {
            station.waits_until(comes);
            station.hears(Word::Ready { device: "usb".into() });
            assert_eq!(station.playout("morning").unwrap().start, at(comes));
        }
        station.waits_until("06:32:01");
        assert_eq!(station.fates("morning").join(","), expected);
    }
}

#[test]
fn a_volume_set_by_command_outlives_a_restart_until_the_station_file_says_another() {
    let mut station = Station::new("06:00:00", &[MORNING]);
    let volume = Volume::try_from(35).unwrap();
    assert_eq!(station.asks(Command::Volume { volume, operator: "张".into() }), Ok(Done::Volume(35)));
    let last = station.done.last();
    assert!(matches!(last, Some(Action::Answer { .. })), "answered when it is on record: {last:?}");
    let ticked = |action: &Action| if let Action::Tick(tick) = action { Some(tick.volume) } else { None };
    let remembered = station.done.iter().rev().find_map(ticked).flatten();
    // What the station file says at the next start, the ceiling then, and the volume then.
    for (file, ceiling, expected) in [(80, 100, 35), (80, 30, 30), (60, 100, 60)] {
        let limits = Limits {
            volume: Volume::try_from(file).unwrap(),
            ceiling: Volume::try_from(ceiling).unwrap(),
            released: at("00:00:00"),
            lead: SignedDuration::from_secs(10),
        };
        let memory = Memory { volume: remembered, ..Memory::default() };
        let (restarted, _) = Conductor::new(station.now, memory, limits, village(&[MORNING]), "v1".into());
        assert_eq!(restarted.status(station.now).volume, expected, "{file} {ceiling}");
    }
}

#[test]
fn limits_changed_while_something_sounds_take_effect_at_once() {
    let percent = |percent: u8| Volume::try_from(percent).unwrap();
    // The volume set by command, the file's new volume and ceiling, and what is heard then.
    for (set, volume, ceiling, expected) in [
        (None, 80, 30, 30),
        (None, 60, 100, 60),
        (Some(35), 80, 100, 35),
        (Some(35), 80, 20, 20),
        (Some(35), 60, 100, 60),
    ] {
        let mut station = Station::new("06:20:00", &[MORNING]);
        if let Some(set) = set {
            station.asks(Command::Volume { volume: percent(set), operator: "张".into() }).unwrap();
        }
        station.waits_until("06:30:00");
        station.begins("morning");
        station.happens(Event::Limited(Limits {
            volume: percent(volume),
            ceiling: percent(ceiling),
            released: at("00:00:00"),
            lead: SignedDuration::from_secs(10),
        }));
        let heard = station.done.iter().rev().find_map(|action| match action {
            Action::Gain { gain, .. } => Some(*gain),
            _ => None,
        });
        assert_eq!(heard, Some(percent(expected).gain()), "{set:?} {volume} {ceiling}");
        assert_eq!(station.conductor.status(station.now).volume, expected);
    }
}

#[test]
fn five_starts_in_ten_minutes_are_a_crash_loop() {
    for (starts, expected) in [(4, false), (5, true)] {
        let memory = Memory { starts: vec![at("06:19:00"); starts], ..Memory::default() };
        let station = Station::starts("06:20:00", memory, village(&[]));
        assert_eq!(station.asked_for(|action| *action == Action::Alarm(Alarm::SafeMode)), expected, "{starts}");
    }
}

#[test]
fn silence_where_there_should_be_sound_is_an_alarm() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.waits_until("06:30:00");
    station.begins("morning");
    let occurrence = station.playout("morning").unwrap().occurrence;
    let frames = 30 * u64::from(crate::plan::RATE);
    let at = station.now.wall;
    station.hears(Word::Ended {
        occurrence,
        frames,
        level: Level { peak_dbfs: -120.0, rms_dbfs: -120.0 },
        at,
        end: End::Finished,
        evidence: Evidence::Accepted,
        note: None,
    });
    assert!(station.asked_for(|action| *action == Action::Alarm(Alarm::Silence)));
}

#[test]
fn what_was_running_when_the_power_went_goes_on_or_is_closed() {
    let mut station = Station::new("06:20:00", &[MORNING]);
    station.waits_until("06:30:00");
    station.begins("morning");
    station.sounds("morning", 10);
    let running = station.done.iter().rev().find_map(|action| match action {
        Action::Progress(running) => Some(running.clone()),
        _ => None,
    });
    for (back, expected) in [("06:30:20", ""), ("06:45:00", "Partial 断电")] {
        let memory = Memory {
            tick: Some(at("06:30:05")),
            newest: Some(at("06:30:05")),
            running: running.iter().map(|running| (**running).clone()).collect(),
            ..Memory::default()
        };
        // The machine booted a minute before it starts: after 06:30 in the second case alone.
        let station = Station::starts(back, memory, village(&[MORNING]));
        assert_eq!(station.fates("morning").join(","), expected, "{back}");
        let skipped = station.playout("morning").map(|playout| playout.skip_frames / u64::from(crate::plan::RATE));
        assert_eq!(skipped, expected.is_empty().then_some(20), "{back}");
    }
}

const ID: &str = "command/018f0000-0000-7000-8000-000000000000";

/// An office has ten seconds said by `clip`, within a minute, for at most `longest` seconds.
fn order(band: Band, clip: &str, longest: i64, until: u64) -> Command {
    Command::Order(Box::new(Order {
        id: OccurrenceId::from(ID.to_owned()),
        title: "案情通报".into(),
        clips: vec![path(clip)],
        band,
        longest: SignedDuration::from_secs(longest),
        volume: Volume::FULL,
        screen: None,
        until: Duration::from_secs(until),
        operator: "镇中心·王".into(),
        note: None,
    }))
}

/// So many seconds after the boot, every deadline of these tests is far away.
const LATER: u64 = 86_400;

#[test]
fn an_order_sounds_once_however_often_it_comes() {
    let mut station = Station::new("12:00:00", &[("said", Band::Normal, "06:30:00", 10)]);
    for _ in 0..3 {
        let _ = station.asks(order(Band::Urgent, "said", 600, LATER));
    }
    station.begins(ID);
    let _ = station.asks(order(Band::Urgent, "said", 600, LATER));
    station.sounds(ID, 10);
    station.ends(ID, 10, End::Finished);
    let _ = station.asks(order(Band::Urgent, "said", 600, LATER));
    assert_eq!(station.fates(ID), ["Played"]);
    assert_eq!(station.done.iter().filter(|action| matches!(action, Action::Play { .. })).count(), 1);
}

#[test]
fn an_office_never_gets_past_the_limits_of_the_station() {
    use Band::{Emergency, Urgent};
    let plays = [("said", Band::Normal, "06:30:00", 10)];
    let (stop, hush) = (
        || Command::Stop { operator: "李".into() },
        |until| Command::Hush { until, operator: "李".into(), note: None },
    );
    for (time, before, band, until, expected) in [
        ("12:00:00", None, Urgent, LATER, ""),
        ("22:00:00", None, Urgent, LATER, "Skipped 静音时段"),
        ("22:00:00", None, Emergency, LATER, ""),
        ("12:00:00", Some(stop()), Urgent, LATER, "Skipped 停播"),
        ("12:00:00", Some(stop()), Emergency, LATER, ""),
        ("12:00:00", Some(hush(at("13:00:00"))), Urgent, LATER, "Skipped 临时静音"),
        ("12:00:00", None, Emergency, 60, "Skipped 指令过期"),
        ("12:00:00", None, Emergency, 0, "Skipped 指令过期"),
    ] {
        let mut station = Station::new(time, &plays);
        if let Some(before) = before.clone() {
            station.asks(before).unwrap();
        }
        let _ = station.asks(order(band, "said", 600, until));
        assert_eq!(station.fates(ID).join(","), expected, "{time} {before:?} {band:?} {until}");
        assert_eq!(station.playout(ID).is_some(), expected.is_empty());
    }
    let mut closed = village(&plays);
    Arc::make_mut(&mut closed).closed.push(jiff::civil::date(2026, 6, 17));
    for (band, expected) in [(Urgent, "Skipped 当日取消"), (Emergency, "")] {
        let mut station = Station::starts("12:00:00", Memory::default(), Arc::clone(&closed));
        let _ = station.asks(order(band, "said", 600, LATER));
        assert_eq!(station.fates(ID).join(","), expected, "{band:?}");
    }
    for (band, expected) in [(Urgent, "Missed 时间不可信"), (Emergency, "")] {
        let mut station = Station::new("12:00:00", &plays);
        station.is_set_to("2000-01-01T12:00:00Z".parse().unwrap());
        let _ = station.asks(order(band, "said", 600, LATER));
        assert_eq!(station.fates(ID).join(","), expected, "{band:?}");
    }
}

#[test]
fn an_order_lasts_no_longer_than_it_may_and_no_louder_than_the_ceiling() {
    let mut station = Station::new("12:00:00", &[("said", Band::Normal, "06:30:00", 10)]);
    let mut limits = station.conductor.limits.clone();
    limits.ceiling = Volume::try_from(30).unwrap();
    station.happens(Event::Limited(limits));
    let _ = station.asks(order(Band::Emergency, "said", 4, LATER));
    let playout = station.playout(ID).unwrap();
    assert_eq!(playout.not_after, Some((plus(playout.start, SignedDuration::from_secs(4)), Reason::MaxLength)));
    assert!((playout.gain - Volume::try_from(30).unwrap().gain()).abs() < f32::EPSILON);
    // The speaker dies and the rest of the order is played by another: it may last no longer for that.
    station.begins(ID);
    station.sounds(ID, 2);
    station.happens(Event::SpeakerDied);
    station.hears(Word::Ready { device: "pulse:village".into() });
    assert_eq!(station.playout(ID).unwrap().not_after, playout.not_after);
    station.waits_until("12:00:04");
    station.ends(ID, 1, End::Gate);
    // What interrupted it first is the reason.
    assert_eq!(station.fates(ID), ["Partial 程序中断"]);
}

#[test]
fn an_office_ends_one_order_or_everything_and_spares_an_emergency_where_it_has_no_say() {
    use Band::{Emergency, Urgent};
    let plays = [("said", Band::Normal, "06:30:00", 10)];
    let this = || Some(OccurrenceId::from(ID.to_owned()));
    for (band, begun, only, spares, expected, holds) in [
        (Urgent, true, this(), true, "Partial 停播", false),
        (Emergency, true, this(), true, "", false),
        (Emergency, true, this(), false, "Partial 停播", false),
        (Urgent, true, None, true, "Partial 停播", true),
        (Emergency, true, None, true, "", true),
        (Emergency, true, None, false, "Partial 停播", true),
        (Urgent, true, Some(OccurrenceId::from("command/other".to_owned())), false, "", false),
        (Urgent, false, this(), true, "Skipped 已被新指令取代", false),
    ] {
        let mut station = Station::new("12:00:00", &plays);
        if !begun {
            station.hears(Word::NoDevice { why: String::new() });
        }
        let _ = station.asks(order(band, "said", 600, LATER));
        if begun {
            station.begins(ID);
            station.sounds(ID, 2);
        }
        let _ = station.asks(Command::Silence { only, spares_emergencies: spares, operator: "镇中心·王".into() });
        if begun && !expected.is_empty() {
            station.ends(ID, 2, End::Stopped);
        }
        assert_eq!(station.fates(ID).join(","), expected, "{band:?} {begun} {spares}");
        assert_eq!(station.conductor.status(station.now).stopped.is_some(), holds);
    }
}

#[test]
fn an_order_that_the_last_daemon_had_begun_goes_on_or_comes_again() {
    let plays = [("said", Band::Normal, "06:30:00", 60)];
    for (heard, again, expected) in [(true, 1, ""), (false, 0, "")] {
        let mut before = Station::new("12:00:00", &plays);
        let _ = before.asks(order(Band::Emergency, "said", 600, LATER));
        if heard {
            before.begins(ID);
            before.sounds(ID, 5);
        }
        let running = before.done.iter().rev().find_map(|action| match action {
            Action::Begin(running) | Action::Progress(running) => Some((**running).clone()),
            _ => None,
        });
        let mut running = running.unwrap();
        if !heard {
            // It was armed, and the power went before its first sample.
            running.seen = plus(running.start, -SignedDuration::from_secs(1));
        }
        let memory = Memory {
            tick: Some(at("12:00:00")),
            newest: Some(at("12:00:00")),
            running: vec![running],
            ..Memory::default()
        };
        let mut station = Station::starts("12:00:10", memory, village(&plays));
        assert_eq!(station.done.iter().filter(|action| matches!(action, Action::Play { .. })).count(), again);
        // The link carries it again in any case.
        let _ = station.asks(order(Band::Emergency, "said", 600, LATER));
        assert_eq!(station.done.iter().filter(|action| matches!(action, Action::Play { .. })).count(), 1, "{heard}");
        assert_eq!(station.playout(ID).unwrap().skip_frames > 0, heard);
        assert_eq!(station.fates(ID).join(","), expected);
    }
}

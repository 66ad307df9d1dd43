//! Who may use the pages: people with their roles and passwords, and the sessions of those who are signed in.
//!
//! People are in `data/people.json`, readable by the owner of `data/` alone; a password is kept as its argon2id hash.
//! Sessions live in memory, known by the hash of their token: a restart signs everybody out. Signing in gives a fresh
//! token, so that one planted before is worth nothing; a new password, another role or the end of a person ends their
//! sessions.
//!
//! Guessing: after three wrong passwords a name waits, one second, two, four, up to 15 minutes, whoever asks and from
//! wherever; a name that does not exist costs the same time. 停播 from the machine itself asks for no sign-in at all.
//!
//! Not here: which role a page needs ([`crate::panel`]).

pub(crate) mod forms;

use crate::{disk::write_whole, text::hex};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// What a person may do; each may do everything that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// 只看: looks at everything but people and keys.
    Viewer,
    /// 播音: plays, stops, hushes, uploads, changes schedules.
    Operator,
    /// 管理: the station's settings, people, emergencies.
    Admin,
}

impl Role {
    /// Every one, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Returns the word that files and forms have for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// A person who may sign in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Person {
    /// What they sign in with, and what stands in the journal.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// A PHC string of argon2id.
    hash: String,
}

/// Why somebody cannot be signed in, added or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Name or password is wrong.
    Wrong,
    /// Too many wrong passwords: so many seconds to wait.
    Wait(i64),
    /// A name is 1 to 32 characters without control characters.
    BadName,
    /// A password is 8 to 256 characters.
    BadPassword,
    /// There is a person of this name.
    Taken,
    /// There is no person of this name.
    Unknown,
    /// The last administrator stays one.
    LastAdmin,
    /// More people than a station has.
    TooMany,
    /// The disk takes nothing.
    Disk,
}

/// A session without a request for so long is over.
const IDLE: SignedDuration = SignedDuration::from_hours(12);
/// A session lasts no longer than this.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Sessions at a time; the one unused the longest goes.
const SESSIONS: usize = 256;
/// Names whose wrong passwords are remembered; the oldest go.
const NAMES: usize = 4096;
/// People of one station.
const PEOPLE: usize = 100;
/// Characters of a password.
pub const PASSWORD: std::ops::RangeInclusive<usize> = 8..=256;
/// Wrong passwords before a name has to wait.
const FREE: u32 = 3;
/// The longest wait.
const WAIT: i64 = 15 * 60;

/// Everybody who may use the pages.
#[derive(Debug)]
pub struct People {
    file: PathBuf,
    inside: Mutex<Inside>,
    /// One password at a time is hashed: each takes 19 MiB.
    hashing: tokio::sync::Semaphore,
    /// Told whenever somebody ends a session.
    endings: watch::Sender<()>,
}

/// A session, as others than its browser may know it: it signs nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId([u8; 32]);

#[derive(Debug, Default)]
struct Inside {
    people: Vec<Person>,
    sessions: BTreeMap<SessionId, Session>,
    wrong: BTreeMap<String, Wrong>,
}

#[derive(Debug)]
struct Session {
    name: String,
    since: Timestamp,
    seen: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.seen) > IDLE || now.duration_since(self.since) > LONGEST
    }
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    times: u32,
    until: Timestamp,
}

impl People {
    /// Reads who there is. A file that cannot be read is an error: whoever could make it unreadable must not become the
    /// first administrator.
    pub fn open(file: PathBuf) -> io::Result<Self> {
        let people = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let inside = Mutex::new(Inside { people, ..Inside::default() });
        let (endings, _) = watch::channel(());
        Ok(Self { file, inside, hashing: tokio::sync::Semaphore::new(1), endings })
    }

    /// Returns whether nobody was ever added: the first run.
    pub fn is_empty(&self) -> bool {
        self.inside().people.is_empty()
    }

    /// Returns everybody, by name.
    pub fn all(&self) -> Vec<(String, Role)> {
        let mut all: Vec<_> = self.inside().people.iter().map(|one| (one.name.clone(), one.role)).collect();
        all.sort();
        all
    }

    /// Adds a person. With `first`, only while there is nobody.
    pub async fn add(&self, name: &str, password: &str, role: Role, first: bool) -> Result<(), Refused> {
        let name = good_name(name)?;
        let hash = self.hash(password).await?;
        self.change(|people| {
            if first && !people.is_empty() || people.iter().any(|one| one.name == name) {
                return Err(Refused::Taken);
            }
            if people.len() >= PEOPLE {
                return Err(Refused::TooMany);
            }
            people.push(Person { name, role, hash });
            Ok(())
        })
    }

    /// Gives a person another password and ends their sessions.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), Refused> {
        let hash = self.hash(password).await?;
        self.change(|people| {
            people.iter_mut().find(|one| one.name == name).ok_or(Refused::Unknown)?.hash = hash;
            Ok(())
        })?;
        self.end(name);
        Ok(())
    }

    /// Gives a person another role and ends their sessions.
    pub fn set_role(&self, name: &str, role: Role) -> Result<(), Refused> {
        self.change(|people| {
            people.iter_mut().find(|one| one.name == name).ok_or(Refused::Unknown)?.role = role;
            Ok(())
        })?;
        self.end(name);
        Ok(())
    }

    /// Removes a person and ends their sessions. What they did stays on record.
    pub fn remove(&self, name: &str) -> Result<(), Refused> {
        self.change(|people| {
            let before = people.len();
            people.retain(|one| one.name != name);
            if people.len() == before { Err(Refused::Unknown) } else { Ok(()) }
        })?;
        self.end(name);
        Ok(())
    }

    /// Returns whether these bytes are the people of a station, an administrator among them.
    pub fn is_readable(bytes: &[u8]) -> bool {
        Self::read(bytes).is_some_and(|people| people.iter().any(|one| one.role == Role::Admin))
    }

    /// Adds the people of a backup. Whoever is here stays as they are: nobody is locked out by what was.
    pub fn join(&self, bytes: &[u8]) -> Result<(), Refused> {
        let others = Self::read(bytes).ok_or(Refused::Unknown)?;
        self.change(|people| {
            for one in others {
                if !people.iter().any(|here| here.name == one.name) && people.len() < PEOPLE {
                    people.push(one);
                }
            }
            Ok(())
        })
    }

    fn read(bytes: &[u8]) -> Option<Vec<Person>> {
        let people: Vec<Person> = serde_json::from_slice(bytes).ok()?;
        let sound = |one: &Person| {
            good_name(&one.name).is_ok_and(|name| name == one.name) && PasswordHash::new(&one.hash).is_ok()
        };
        (people.len() <= PEOPLE && people.iter().all(sound)).then_some(people)
    }

    /// Signs a person in and returns the token of a new session.
    pub async fn sign_in(&self, name: &str, password: &str, now: Timestamp) -> Result<String, Refused> {
        self.may_try(name, now)?;
        let hash = self.inside().people.iter().find(|one| one.name == name).map(|one| one.hash.clone());
        let right = self.verify(hash, password).await;
        let mut inside = self.inside();
        if !right {
            note_wrong(&mut inside.wrong, name, now);
            return Err(Refused::Wrong);
        }
        inside.wrong.remove(name);
        if inside.sessions.len() >= SESSIONS
            && let Some(oldest) = inside.sessions.iter().min_by_key(|(_, session)| session.seen).map(|(key, _)| *key)
        {
            inside.sessions.remove(&oldest);
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| Refused::Disk)?;
        let token = hex(&bytes);
        inside.sessions.insert(digest(&token), Session { name: name.to_owned(), since: now, seen: now });
        Ok(token)
    }

    /// Returns who holds this token, if its session is not over.
    pub fn who(&self, token: &str, now: Timestamp) -> Option<(String, Role, SessionId)> {
        let mut inside = self.inside();
        let key = digest(token);
        let session = inside.sessions.get_mut(&key)?;
        if session.is_over(now) {
            inside.sessions.remove(&key);
            return None;
        }
        session.seen = session.seen.max(now);
        let name = session.name.clone();
        let role = inside.people.iter().find(|one| one.name == name)?.role;
        Some((name, role, key))
    }

    /// Returns whether a session is not over. To ask does not keep it alive.
    pub fn goes_on(&self, session: &SessionId, now: Timestamp) -> bool {
        self.inside().sessions.get(session).is_some_and(|session| !session.is_over(now))
    }

    /// Tells whenever somebody ends a session; one that grows too old ends without a word.
    pub fn endings(&self) -> watch::Receiver<()> {
        self.endings.subscribe()
    }

    /// Ends one session.
    pub fn sign_out(&self, token: &str) {
        self.inside().sessions.remove(&digest(token));
        self.endings.send_replace(());
    }

    /// Ends all sessions of a person.
    fn end(&self, name: &str) {
        self.inside().sessions.retain(|_, session| session.name != name);
        self.endings.send_replace(());
    }

    fn may_try(&self, name: &str, now: Timestamp) -> Result<(), Refused> {
        match self.inside().wrong.get(name) {
            Some(wrong) if wrong.until > now => {
                let left = wrong.until.duration_since(now);
                Err(Refused::Wait(left.as_secs() + i64::from(left.subsec_nanos() > 0)))
            }
            _ => Ok(()),
        }
    }

    async fn hash(&self, password: &str) -> Result<String, Refused> {
        if !PASSWORD.contains(&password.chars().count()) {
            return Err(Refused::BadPassword);
        }
        let (password, _one) = (password.to_owned(), self.hashing.acquire().await);
        let hashed = tokio::task::spawn_blocking(move || {
            Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string())
        });
        hashed.await.ok().and_then(Result::ok).ok_or(Refused::Disk)
    }

    /// Compares; without a hash it takes as long and says no.
    async fn verify(&self, hash: Option<String>, password: &str) -> bool {
        let (password, _one) = (password.to_owned(), self.hashing.acquire().await);
        let verified = tokio::task::spawn_blocking(move || {
            let exists = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
            let Ok(hash) = PasswordHash::new(&hash) else { return false };
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && exists
        });
        verified.await.unwrap_or(false)
    }

    /// Changes who there is, on disk first.
    fn change(&self, change: impl FnOnce(&mut Vec<Person>) -> Result<(), Refused>) -> Result<(), Refused> {
        let mut inside = self.inside();
        let mut people = inside.people.clone();
        change(&mut people)?;
        if !people.iter().any(|one| one.role == Role::Admin) {
            return Err(Refused::LastAdmin);
        }
        let text = serde_json::to_vec_pretty(&people).map_err(|_| Refused::Disk)?;
        write_whole(&self.file, &text).map_err(|_| Refused::Disk)?;
        inside.people = people;
        Ok(())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing in here panics half-way through a change.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash of a password that nobody has, with the costs of every other.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn note_wrong(wrong: &mut BTreeMap<String, Wrong>, name: &str, now: Timestamp) {
    // A name nobody could have is not worth remembering.
    if good_name(name).is_err() {
        return;
    }
    if wrong.len() >= NAMES
        && let Some(oldest) = wrong.iter().min_by_key(|(_, wrong)| wrong.until).map(|(name, _)| name.clone())
    {
        wrong.remove(&oldest);
    }
    let noted = wrong.entry(name.to_owned()).or_insert(Wrong { times: 0, until: now });
    noted.times = noted.times.saturating_add(1);
    if noted.times >= FREE {
        let wait = 1_i64.checked_shl(noted.times - FREE).filter(|wait| (1..WAIT).contains(wait)).unwrap_or(WAIT);
        noted.until = now.saturating_add(SignedDuration::from_secs(wait)).unwrap_or(Timestamp::MAX);
    }
}

fn good_name(name: &str) -> Result<String, Refused> {
    let name = name.trim();
    let good = (1..=32).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    good.then(|| name.to_owned()).ok_or(Refused::BadName)
}

fn digest(token: &str) -> SessionId {
    SessionId(Sha256::digest(token.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> (tempfile::TempDir, People) {
        let folder = tempfile::tempdir().unwrap();
        let people = People::open(folder.path().join("people.json")).unwrap();
        (folder, people)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + second).unwrap()
    }

    #[tokio::test]
    async fn the_first_person_is_added_once_and_signs_in_with_the_password_alone() {
        let (folder, people) = people();
        assert!(people.is_empty());
        assert_eq!(people.add("王芳", "1234567", Role::Admin, true).await, Err(Refused::BadPassword));
        assert_eq!(people.add("王芳", "大喇叭2026年", Role::Admin, true).await, Ok(()));
        assert_eq!(people.add("贼", "大喇叭2026年", Role::Admin, true).await, Err(Refused::Taken));
        assert_eq!(people.sign_in("王芳", "大喇叭2026", at(0)).await, Err(Refused::Wrong));
        assert_eq!(people.sign_in("贼", "大喇叭2026年", at(0)).await, Err(Refused::Wrong));
        let token = people.sign_in("王芳", "大喇叭2026年", at(0)).await.unwrap();
        let who = people.who(&token, at(1)).map(|(name, role, _)| (name, role));
        assert_eq!(who, Some(("王芳".to_owned(), Role::Admin)));
        let kept = fs::read_to_string(folder.path().join("people.json")).unwrap();
        assert!(kept.contains("$argon2id$") && !kept.contains("大喇叭2026年"));
        let again = People::open(folder.path().join("people.json")).unwrap();
        assert_eq!(again.who(&token, at(1)), None, "a restart signs everybody out");
        assert!(again.sign_in("王芳", "大喇叭2026年", at(2)).await.is_ok());
    }

    #[tokio::test]
    async fn the_people_of_a_backup_come_beside_those_who_are_here() {
        let (before, old) = people();
        old.add("a", "password-old", Role::Admin, true).await.unwrap();
        old.add("b", "password-b", Role::Viewer, false).await.unwrap();
        let kept = fs::read(before.path().join("people.json")).unwrap();
        let (_folder, people) = people();
        people.add("a", "password-new", Role::Admin, true).await.unwrap();
        assert!(People::is_readable(&kept));
        people.join(&kept).unwrap();
        assert!(people.sign_in("a", "password-new", at(0)).await.is_ok());
        assert!(people.sign_in("b", "password-b", at(0)).await.is_ok());
        for evil in
            ["", "[]", r#"[{"name":"c","role":"admin","hash":"x"}]"#, r#"[{"name":" c","role":"admin","hash":""}]"#]
        {
            assert!(!People::is_readable(evil.as_bytes()), "{evil}");
        }
    }

    #[tokio::test]
    async fn guesses_come_ever_more_slowly_and_other_names_do_not_suffer() {
        let (_folder, people) = people();
        people.add("a", "password-a", Role::Admin, true).await.unwrap();
        people.add("b", "password-b", Role::Viewer, false).await.unwrap();
        let mut now = 0;
        let mut tried = 0;
        while now < 24 * 3600 {
            match people.may_try("a", at(now)) {
                Ok(()) => {
                    note_wrong(&mut people.inside().wrong, "a", at(now));
                    tried += 1;
                }
                Err(Refused::Wait(seconds)) => now += seconds,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(tried < 120, "{tried} guesses in a day");
        assert!(people.sign_in("b", "password-b", at(now)).await.is_ok());
        assert!(matches!(people.sign_in("a", "password-a", at(now - 1)).await, Err(Refused::Wait(_))));
        assert!(people.sign_in("a", "password-a", at(now + WAIT)).await.is_ok(), "the right one ends the wait");
        assert_eq!(people.may_try("a", at(now + WAIT)), Ok(()));
    }

    #[tokio::test]
    async fn a_session_ends_when_unused_when_old_and_when_the_person_changes() {
        let (_folder, people) = people();
        people.add("a", "password-a", Role::Admin, true).await.unwrap();
        people.add("b", "password-b", Role::Operator, false).await.unwrap();
        let hours = |hours: i64| at(hours * 3600);
        let token = people.sign_in("b", "password-b", hours(0)).await.unwrap();
        assert!(people.who(&token, hours(11)).is_some());
        assert!(people.who(&token, hours(24)).is_none(), "13 hours unused");
        let token = people.sign_in("b", "password-b", hours(0)).await.unwrap();
        assert!((1..=16).all(|n| people.who(&token, hours(n * 10)).is_some()));
        assert!(people.who(&token, hours(169)).is_none(), "more than a week old");
        for change in 0..3 {
            let token = people.sign_in("b", "password-b", hours(0)).await.unwrap();
            match change {
                0 => people.set_role("b", Role::Viewer).unwrap(),
                1 => people.set_password("b", "password-b").await.unwrap(),
                _ => people.remove("b").unwrap(),
            }
            assert!(people.who(&token, hours(0)).is_none(), "change {change}");
        }
        assert_eq!(people.remove("a"), Err(Refused::LastAdmin));
        assert_eq!(people.set_role("a", Role::Viewer), Err(Refused::LastAdmin));
        assert_eq!(people.who("0000", hours(0)), None);
    }
}

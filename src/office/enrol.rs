//! How a station comes to its office: a code that a clerk makes, a station that asks by it, a clerk who agrees.
//!
//! A code is read over the telephone once: eight characters of an alphabet in which nobody takes one for another, 40 bits.
//! It lives for a day, lets in one station into one division, and cannot be searched for: wrong codes of one address are
//! counted, and of all together.
//!
//! A clerk agrees after comparing the words of the root, which both sides show. Only then the station's place is signed;
//! without it a station obeys nobody. The same for another machine that comes in a station's place, which also brings a
//! journal of its own.
//!
//! Not here: the tables ([`super::store`]), how a station asks ([`super::wire`]).

use super::{
    Office,
    desk::DeskError,
    store::{self, Asked, Asking, Change, Code, Deed, Station, StationState, Store, StoreError},
};
use crate::{
    clock,
    link::{
        Division, Envelope, GroupName, Kind, Pinned, Place, StationId,
        protocol::{Enrol, Enrolled, enrol_text},
        words::Words,
    },
    text::{Said, hex, unhex},
    web::network,
};
use ed25519_dalek::{Signature, VerifyingKey};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Letters and digits that nobody takes for each other: 32, so that a byte chooses one evenly.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Characters of a code.
const LENGTH: usize = 8;
/// How long a code lets somebody in.
const LIVES: SignedDuration = SignedDuration::from_hours(24);
/// As many stations as one code may let in, for trying things out.
const MOST_USES: i64 = 100_000;
/// Characters of a station's name.
const NAME: std::ops::RangeInclusive<usize> = 1..=64;
/// As many groups as a station may be in.
const MOST_GROUPS: usize = 64;

/// Why an enrolment did not go on.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// No such code.
    #[error("{}", .0.zh)]
    Refused(Said),
    /// Too many wrong codes: so many seconds to wait.
    #[error("错误的入网码太多；请 {0} 秒后再试")]
    Wait(i64),
    /// The tables did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No plan could be made for it.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// No random bits.
    #[error("系统给不出随机数")]
    NoRandom(#[from] getrandom::Error),
}

fn refused(zh: &str, en: &str) -> EnrolError {
    EnrolError::Refused(Said::new(zh, en))
}

/// What a code lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Where the station is.
    pub division: Division,
    /// What the clerk calls it; empty where each names itself.
    pub name: String,
    /// How many stations may ask by the code.
    pub uses: i64,
    /// They are taken in without a clerk: for trying things out, never for a town.
    pub automatic: bool,
}

/// Returns how a code is known: people write it in any case, with spaces and dashes.
fn known_by(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    hex(&Sha256::digest(plain.as_bytes()))
}

/// What a village is told that is invited.
#[derive(Debug, Clone, PartialEq)]
pub struct Invited {
    /// The code as it is read out. It is shown once and kept nowhere.
    pub code: String,
    /// From here on it lets nobody in.
    pub expires: Timestamp,
    /// Where the office's dates are.
    pub zone: TimeZone,
    /// What both sides compare.
    pub words: Words,
}

/// Makes a code at the office in this home, whether its program runs or not.
pub async fn invite(
    home: &Path,
    database: Option<&str>,
    who: &str,
    invitation: Invitation,
) -> Result<Invited, EnrolError> {
    let no_office =
        || refused("这个文件夹里没有设置好的中心；请用 --home 写明", "no office was set up here; say where by --home");
    if database.is_none() && !home.join(store::FILE).is_file() {
        return Err(no_office());
    }
    let store = Store::open(database, home).await?;
    let about = store.about().await?.ok_or_else(no_office)?;
    let (_, root) = store.roots_after(0).await?.pop().ok_or_else(no_office)?;
    let root = Pinned::first(root.as_bytes()).map_err(|why| StoreError::Unreadable(why.said().zh))?;
    let (code, expires) = make_code(&store, who, invitation).await?;
    Ok(Invited { code, expires, zone: about.time_zone()?, words: root.words() })
}

async fn make_code(store: &Store, who: &str, invitation: Invitation) -> Result<(String, Timestamp), EnrolError> {
    let Invitation { division, name, uses, automatic } = invitation;
    let name = name.trim().to_owned();
    if !name.is_empty() && !is_name(&name) || name.is_empty() && uses == 1 && !automatic {
        return Err(refused("请写 1 到 64 个字的站点名称", "give the station a name of 1 to 64 characters"));
    }
    if !(1..=MOST_USES).contains(&uses) {
        return Err(refused("一个入网码最多入网 100000 个站点", "one code lets in at most 100,000 stations"));
    }
    must_be_ours(store, &division).await?;
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes)?;
    let code: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let expires = crate::trust::plus(clock::wall(), LIVES);
    let about = if name.is_empty() { division.to_string() } else { name.clone() };
    let kept = Code { hash: known_by(&code), division, name, made_by: who.to_owned(), expires, uses, automatic };
    let mut change = store.change().await?;
    change.code(&kept).await?;
    change.commit(who, Deed::MadeCode, &about, &uses.to_string()).await?;
    let (first, second) = code.split_at(LENGTH / 2);
    Ok((format!("{first}-{second}"), expires))
}

async fn must_be_ours(store: &Store, division: &Division) -> Result<(), EnrolError> {
    let about = store.about().await?;
    if about.is_some_and(|about| about.division.contains(division)) {
        return Ok(());
    }
    Err(refused(
        "这个区划不归本中心管；请填写本级或下级的区划代码",
        "this division is not this office's; give its own code or one below it",
    ))
}

impl Office {
    /// Makes a code, and returns it as it is read out: `ABCD-EFGH`. It is shown once and kept nowhere.
    pub async fn make_code(&self, who: &str, invitation: Invitation) -> Result<(String, Timestamp), EnrolError> {
        make_code(&self.store, who, invitation).await
    }

    /// Takes the asking of a station.
    pub(super) async fn enrol(&self, asked: &Enrol, from: IpAddr) -> Result<Enrolled, EnrolError> {
        let now = clock::wall();
        self.guesses.may_try(from, now).map_err(EnrolError::Wait)?;
        let key = unhex(&asked.key).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = key.filter(|_| asked.key == asked.key.to_ascii_lowercase());
        let key = key.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()).filter(|key| !key.is_weak());
        let signature = unhex(&asked.signature).and_then(|bytes| Signature::from_slice(&bytes).ok());
        let text = enrol_text(&asked.code, &asked.station, &asked.key);
        let is_by = key.zip(signature).is_some_and(|(key, by)| key.verify_strict(text.as_bytes(), &by).is_ok());
        if !is_by {
            let said = ("申请没有用站点自己的密钥签名", "what was sent is not signed by the station's own key");
            return Err(refused(said.0, said.1));
        }
        if !is_name(&asked.name) {
            return Err(refused("站点名称应为 1 到 64 个字", "the name of a station has 1 to 64 characters"));
        }
        let hash = known_by(&asked.code);
        let asking = Asking { hash: &hash, station: &asked.station, name: &asked.name, key: &asked.key };
        let (station, code) = match self.store.ask(asking, now).await? {
            Asked::NoCode => {
                self.guesses.wrong(from, now);
                return Err(refused(
                    "入网码不对、已用过或已过期；请向镇里要一个新的",
                    "the code is wrong, used up or too old; ask the office for another",
                ));
            }
            Asked::Taken => {
                return Err(refused(
                    "这个站点编号已属于别的村；请在 station.toml 里换一个编号",
                    "this station id belongs to another village; choose another in station.toml",
                ));
            }
            Asked::Known(station, code) => (*station, code),
        };
        let is_in = station.state == StationState::Active && station.key == asked.key;
        if !is_in && code.automatic {
            self.confirm(&code.made_by, &station.id).await?;
        }
        let root = self.keys.root().envelope().text().to_owned();
        let place = if is_in || code.automatic { self.store.signed_place(&station.id).await? } else { None };
        Ok(Enrolled { root, place, division: station.division })
    }

    /// A clerk agrees: the station that asked is taken in, or another machine takes its place.
    pub async fn confirm(&self, who: &str, id: &StationId) -> Result<(), EnrolError> {
        let mut change = self.change_to_sign().await?;
        let station = change.station(id).await?.ok_or_else(unknown)?;
        let key = match (station.state, &station.next_key) {
            (_, Some(key)) => key.clone(),
            (StationState::Pending, None) => station.key.clone(),
            (StationState::Active | StationState::Revoked, None) => {
                return Err(refused("没有等待确认的申请", "nobody waits to be taken in here"));
            }
        };
        let detail = if station.state == StationState::Pending { "入网" } else { "换机" };
        let place = Place { key, ..self.place_of(&station, change.revision) };
        let envelope = self.sign_place(&place)?;
        change.take_in(&place, &envelope, clock::wall()).await?;
        self.compose_for_place(&mut change, &station, &place).await?;
        change.commit(who, Deed::Confirmed, id.as_str(), detail).await?;
        self.watches.hint();
        Ok(())
    }

    /// A clerk does not agree: whoever asks is forgotten.
    pub async fn decline(&self, who: &str, id: &StationId) -> Result<(), EnrolError> {
        let mut change = self.store.change().await?;
        let station = change.station(id).await?.ok_or_else(unknown)?;
        match station.state {
            StationState::Pending => change.revoke(id).await?,
            StationState::Active | StationState::Revoked => change.refuse_key(id).await?,
        }
        change.commit(who, Deed::Revoked, id.as_str(), "拒绝入网").await?;
        self.watches.hint();
        Ok(())
    }

    /// Trusts a station no longer: nothing comes from it or goes to it any more. What it sent stays.
    pub async fn revoke(&self, who: &str, id: &StationId) -> Result<(), EnrolError> {
        let mut change = self.store.change().await?;
        change.station(id).await?.ok_or_else(unknown)?;
        change.revoke(id).await?;
        change.commit(who, Deed::Revoked, id.as_str(), "").await?;
        self.watches.hint();
        Ok(())
    }

    /// Puts a station elsewhere: under another name, in another division, into other groups.
    pub async fn put(
        &self,
        who: &str,
        id: &StationId,
        name: &str,
        division: &Division,
        groups: &BTreeSet<GroupName>,
    ) -> Result<(), EnrolError> {
        let name = name.trim();
        if !is_name(name) {
            return Err(refused("站点名称应为 1 到 64 个字", "the name of a station has 1 to 64 characters"));
        }
        if groups.len() > MOST_GROUPS {
            return Err(refused("一个站点最多属于 64 个分组", "a station is in at most 64 groups"));
        }
        must_be_ours(&self.store, division).await?;
        let mut change = self.change_to_sign().await?;
        let station = change.station(id).await?.ok_or_else(unknown)?;
        if station.state != StationState::Active {
            return Err(refused("站点还没有入网，或已停用", "the station has not been taken in, or no longer is"));
        }
        if station.name != name {
            change.rename(id, name).await?;
        }
        if station.division != *division || station.groups != *groups {
            let (division, groups) = (division.clone(), groups.clone());
            let place = Place { division, groups, ..self.place_of(&station, change.revision) };
            let envelope = self.sign_place(&place)?;
            change.place(&place, &envelope).await?;
            self.compose_for_place(&mut change, &station, &place).await?;
        }
        let list: Vec<_> = groups.iter().map(GroupName::as_str).collect();
        let detail = format!("{name} {division} {}", list.join(" "));
        change.commit(who, Deed::Placed, id.as_str(), detail.trim_end()).await?;
        self.watches.hint();
        Ok(())
    }

    /// Puts stations into a group, or takes them out of it: all of them with their plans in one change, so that nobody is
    /// half-way there. Returns how many were not as they should be before.
    pub async fn regroup(
        &self,
        who: &str,
        stations: &BTreeSet<StationId>,
        group: &GroupName,
        is_in: bool,
    ) -> Result<usize, EnrolError> {
        let mut change = self.change_to_sign().await?;
        let mut moved = Vec::new();
        for id in stations {
            let station = change.station(id).await?.ok_or_else(unknown)?;
            let mut groups = station.groups.clone();
            let differs = if is_in { groups.insert(group.clone()) } else { groups.remove(group) };
            if station.state != StationState::Active || !differs {
                continue;
            }
            if groups.len() > MOST_GROUPS {
                return Err(EnrolError::Refused(Said::new(
                    format!("“{}”已在 64 个分组里，这是上限；没有改动任何村", station.name),
                    format!("“{}” is in 64 groups already, the most there can be; nothing was changed", station.name),
                )));
            }
            let place = Place { groups: groups.clone(), ..self.place_of(&station, change.revision) };
            let envelope = self.sign_place(&place)?;
            change.place(&place, &envelope).await?;
            moved.push(Station { groups, ..station });
        }
        if moved.is_empty() {
            return Ok(0);
        }
        self.compose_for(&mut change, &moved).await?;
        let names: Vec<_> = moved.iter().map(|station| station.name.as_str()).collect();
        let detail = format!("{}“{group}”：{}", if is_in { "放进" } else { "拿出" }, names.join("、"));
        change.commit(who, Deed::Placed, "", &detail).await?;
        self.watches.hint();
        Ok(moved.len())
    }

    /// Another place is another plan, in the same change: nobody is ever left with the plan of where it was.
    async fn compose_for_place(&self, change: &mut Change, station: &Station, place: &Place) -> Result<(), EnrolError> {
        let Place { key, division, groups, .. } = place.clone();
        let station = Station { key, division, groups, state: StationState::Active, ..station.clone() };
        Ok(self.compose_for(change, &[station]).await?)
    }

    fn place_of(&self, station: &Station, revision: i64) -> Place {
        Place { revision: revision.unsigned_abs(), ..station.place(self.keys.generation()) }
    }

    fn sign_place(&self, place: &Place) -> Result<Envelope, EnrolError> {
        let signed = Envelope::of(Kind::Place, place, &[self.keys.content()]);
        signed.map_err(|error| StoreError::Unreadable(error.to_string()).into())
    }
}

fn unknown() -> EnrolError {
    refused("没有这个站点", "there is no such station")
}

fn is_name(name: &str) -> bool {
    NAME.contains(&name.chars().count()) && !name.chars().any(char::is_control) && name.trim() == name
}

/// Wrong codes of one address that cost nothing.
const FREE: u32 = 5;
/// The longest wait of one address, in seconds.
const LONGEST_WAIT: i64 = 3600;
/// Addresses whose wrong codes are remembered; where there are more, the oldest go.
const ADDRESSES: usize = 10_000;
/// Wrong codes of everybody together that cost nothing; each ten seconds give one back. So a day of guessing tries fewer
/// than ten thousand of 2⁴⁰ codes.
const TOGETHER: i64 = 200;
/// How often one wrong code of everybody is forgotten, in seconds.
const BACK: i64 = 10;

/// Wrong codes, so that nobody searches for one.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<Wrong>);

#[derive(Debug, Default)]
struct Wrong {
    by: HashMap<IpAddr, (u32, i64)>,
    together: i64,
    since: i64,
}

impl Guesses {
    /// Returns how many seconds an address has to wait.
    fn may_try(&self, from: IpAddr, now: Timestamp) -> Result<(), i64> {
        let mut wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.as_second();
        wrong.forget(now);
        if wrong.together >= TOGETHER {
            return Err(BACK);
        }
        match wrong.by.get(&network(from)) {
            Some((_, until)) if *until > now => Err(until - now),
            _ => Ok(()),
        }
    }

    /// Counts a wrong code: after the fifth an address waits one second, two, four, up to an hour.
    fn wrong(&self, from: IpAddr, now: Timestamp) {
        let mut wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.as_second();
        wrong.together += 1;
        if wrong.by.len() >= ADDRESSES
            && let Some(oldest) = wrong.by.iter().min_by_key(|(_, (_, until))| *until).map(|(address, _)| *address)
        {
            wrong.by.remove(&oldest);
        }
        let (times, until) = wrong.by.entry(network(from)).or_insert((0, now));
        *times += 1;
        let wait = if *times < FREE { 0 } else { 1_i64 << (*times - FREE).min(20) };
        *until = now + wait.min(LONGEST_WAIT);
    }
}

impl Wrong {
    fn forget(&mut self, now: i64) {
        let back = (now - self.since).max(0) / BACK;
        self.together = (self.together - back).max(0);
        self.since = if self.together == 0 { now } else { self.since + back * BACK };
        self.by.retain(|_, (_, until)| *until + LONGEST_WAIT > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_781_000_000 + second).unwrap()
    }

    #[test]
    fn a_code_is_known_however_it_is_typed() {
        for typed in ["ABCD-2345", "abcd2345", " abcd 2345 ", "ABCD—2345"] {
            assert_eq!(known_by(typed), known_by("ABCD2345"), "{typed}");
        }
        assert_ne!(known_by("ABCD2346"), known_by("ABCD2345"));
    }

    #[test]
    fn an_address_that_guesses_waits_ever_longer_and_others_do_not() {
        let guesses = Guesses::default();
        let (guesser, neighbour, honest) = ("2001:db8::1", "2001:db8::2", "192.168.1.9");
        let may = |from: &str, second| guesses.may_try(from.parse().unwrap(), at(second)).err();
        let mut waits = Vec::new();
        for _ in 0..10 {
            guesses.wrong(guesser.parse().unwrap(), at(0));
            waits.push(may(guesser, 0).unwrap_or(0));
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32]);
        assert_eq!(may(neighbour, 0), Some(32), "one network, one guesser");
        assert_eq!(may(honest, 0), None);
        assert_eq!(may(guesser, 32), None);
    }

    #[test]
    fn all_addresses_together_try_fewer_than_ten_thousand_codes_a_day() {
        let guesses = Guesses::default();
        let mut tried = 0;
        for second in 0..24 * 3600 {
            // A fresh address for each: a thousand machines that somebody rents.
            let from = IpAddr::from(u32::try_from(second).unwrap().to_be_bytes());
            if guesses.may_try(from, at(second)).is_ok() {
                guesses.wrong(from, at(second));
                tried += 1;
            }
        }
        assert!((8_640..10_000).contains(&tried), "{tried}");
    }
}

//! The office's own keys: `keys.json` in its home, readable by the owner alone.
//!
//! The database holds no secret that could make a loudspeaker speak. Whoever runs a second office process on one
//! PostgreSQL brings it a copy of this file, and again after every renewal: a process whose file does not know the root in
//! force signs nothing.
//!
//! Always true: a set of keys is on the disk before the root that names it is in force, and stays there afterwards. So a
//! renewal that broke off is completed at the next start, and so is one that the restore of an old database undid.
//!
//! Not here: what is signed ([`crate::link`]); whose signature counts for what ([`crate::link::root`]).

use super::store::{Change, Deed, Store, StoreError};
use crate::{
    disk::write_whole,
    link::{BlobId, Division, Envelope, KeyId, Kind, Pinned, Refused, Role, Root, Signer, root, words::Words},
    text::{hex, unhex},
};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// The name of the file in the office's home.
const FILE: &str = "keys.json";
/// So long a key signs, unless it is renewed before: a town should not fall silent because nobody remembered a date.
const LIVES: SignedDuration = SignedDuration::from_hours(24 * 365 * 20);

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file is not to be had.
    #[error("密钥文件 {} 读不出或写不进；没有它，中心不能签发任何内容。请从备份恢复，或检查磁盘和权限", file.display())]
    File {
        /// Where it should be.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It was made by something else.
    #[error("密钥文件 {} 的内容读不懂；请从备份恢复", file.display())]
    Unreadable {
        /// Where it is.
        file: PathBuf,
    },
    /// It is of another office.
    #[error("密钥文件 {} 属于另一个中心，不是这个数据库的；请复制正确的 keys.json", file.display())]
    Another {
        /// Where it is.
        file: PathBuf,
    },
    /// It does not know the root in force.
    #[error("密钥文件 {} 比数据库里的信任名单旧；请从另一台中心电脑复制最新的 keys.json", file.display())]
    Old {
        /// Where it is.
        file: PathBuf,
    },
    /// No random bits.
    #[error("系统给不出随机数")]
    NoRandom(#[from] getrandom::Error),
    /// What was made does not hold.
    #[error("新的信任名单没有通过检查：{}", .0.said().zh)]
    Refused(Refused),
    /// The tables did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Renewal {
    /// The key of places, plans and commands.
    Content,
    /// The key of emergencies.
    Emergency,
    /// The key of the time.
    Time,
    /// The key of roots.
    Root,
    /// The office's memory: after the restore of an old backup revisions and counters start again.
    Generation,
}

impl Renewal {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Content, Self::Emergency, Self::Time, Self::Root, Self::Generation];

    /// Its word in forms and on record.
    pub fn key(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Emergency => "emergency",
            Self::Time => "time",
            Self::Root => "root",
            Self::Generation => "generation",
        }
    }
}

/// The office's keys. A renewal is seen by everybody who holds them.
#[derive(Debug)]
pub struct Keys {
    file: PathBuf,
    inside: RwLock<Arc<Inside>>,
    /// One renewal at a time.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Inside {
    /// Signs the tokens of stations' sessions; every process of one office has the same.
    session: SigningKey,
    /// Every set there was, oldest first; the last is in force.
    sets: Vec<Set>,
}

/// Keys with the root that names them.
#[derive(Debug, Clone)]
struct Set {
    root: Pinned,
    signers: Signers,
}

/// Who signs what.
#[derive(Debug, Clone)]
struct Signers {
    roots: Vec<Signer>,
    content: Signer,
    emergency: Signer,
    time: Signer,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Written {
    session: String,
    sets: Vec<WrittenSet>,
}

#[derive(Serialize, Deserialize)]
struct WrittenSet {
    root: String,
    roots: Vec<WrittenKey>,
    content: WrittenKey,
    emergency: WrittenKey,
    time: WrittenKey,
}

#[derive(Serialize, Deserialize)]
struct WrittenKey {
    kid: KeyId,
    seed: String,
}

impl WrittenKey {
    fn of(signer: &Signer) -> Self {
        Self { kid: signer.kid.clone(), seed: hex(signer.key.as_bytes()) }
    }

    fn read(self) -> Option<Signer> {
        Some(Signer { kid: self.kid, key: signing_key(&self.seed)? })
    }
}

fn signing_key(seed: &str) -> Option<SigningKey> {
    let seed: [u8; 32] = unhex(seed)?.try_into().ok()?;
    Some(SigningKey::from_bytes(&seed))
}

fn fresh_key() -> Result<SigningKey, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Makes a key. Its name carries the version of the root that brings it, so that none is ever used again.
fn fresh(what: &str, version: u64) -> Result<Signer, KeysError> {
    let kid = KeyId::try_from(format!("{what}-{version}")).map_err(|_| KeysError::Refused(Refused::Other))?;
    Ok(Signer { kid, key: fresh_key()? })
}

/// A number above the last: the time in seconds, where that is more. So a restored office gives none again.
fn number_after(last: u64, now: Timestamp) -> u64 {
    now.as_second().unsigned_abs().max(last + 1)
}

impl Set {
    fn version(&self) -> u64 {
        self.root.root().version
    }
}

impl Signers {
    fn fresh(version: u64) -> Result<Self, KeysError> {
        Ok(Self {
            roots: vec![fresh("root", version)?],
            content: fresh("content", version)?,
            emergency: fresh("emergency", version)?,
            time: fresh("time", version)?,
        })
    }

    /// Every key by its name.
    fn kids(&self) -> BTreeSet<KeyId> {
        let others = [&self.content, &self.emergency, &self.time];
        self.roots.iter().chain(others).map(|signer| signer.kid.clone()).collect()
    }

    /// Returns `root` with these keys in it.
    fn listed(&self, root: Root, scope: &Division, now: Timestamp) -> Root {
        let public = |signer: &Signer| root::PublicKey::ed25519(signer.kid.clone(), &signer.key.verifying_key());
        let not_after = crate::trust::plus(now, LIVES);
        let key = |(signer, role)| root::Key { public: public(signer), role, scope: scope.clone(), not_after };
        let keys = [(&self.content, Role::Content), (&self.emergency, Role::Emergency), (&self.time, Role::Time)];
        Root { roots: self.roots.iter().map(public).collect(), keys: keys.map(key).into(), ..root }
    }

    /// Signs a root by the root keys of this set, and of the one before where there is one.
    fn seal(self, root: &Root, before: Option<&Set>) -> Result<Set, KeysError> {
        let mut by = self.roots.clone();
        let others = before.into_iter().flat_map(|set| &set.signers.roots);
        by.extend(others.filter(|other| self.roots.iter().all(|own| own.kid != other.kid)).cloned());
        let envelope = Envelope::of(Kind::Root, root, &by).map_err(|_| KeysError::Refused(Refused::Other))?;
        let root = match before {
            Some(before) => before.root.follow(envelope),
            None => Pinned::first(envelope.text().as_bytes()),
        };
        Ok(Set { root: root.map_err(KeysError::Refused)?, signers: self })
    }
}

impl Inside {
    fn read(bytes: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(bytes).ok()?;
        let set = |written: WrittenSet| {
            let root = Pinned::first(written.root.as_bytes()).ok()?;
            let signers = Signers {
                roots: written.roots.into_iter().map(WrittenKey::read).collect::<Option<_>>()?,
                content: written.content.read()?,
                emergency: written.emergency.read()?,
                time: written.time.read()?,
            };
            Some(Set { root, signers })
        };
        let sets: Vec<_> = written.sets.into_iter().map(set).collect::<Option<_>>()?;
        let session = signing_key(&written.session)?;
        (!sets.is_empty()).then_some(Self { session, sets })
    }

    fn write(&self, file: &Path) -> Result<(), KeysError> {
        let set = |set: &Set| WrittenSet {
            root: set.root.envelope().text().to_owned(),
            roots: set.signers.roots.iter().map(WrittenKey::of).collect(),
            content: WrittenKey::of(&set.signers.content),
            emergency: WrittenKey::of(&set.signers.emergency),
            time: WrittenKey::of(&set.signers.time),
        };
        let sets = self.sets.iter().map(set).collect();
        let written = Written { session: hex(self.session.as_bytes()), sets };
        let bytes = serde_json::to_vec_pretty(&written).map_err(io::Error::other);
        // `write_whole` keeps what it writes to its owner.
        let done = bytes.and_then(|bytes| write_whole(file, &bytes));
        done.map_err(|source| KeysError::File { file: file.to_owned(), source })
    }

    fn newest(&self) -> &Set {
        self.sets.last().expect("a file without keys is not read")
    }

    /// Stores the roots after a version, and signs again what stations should have.
    async fn put_in_force(&self, change: &mut Change, stored: u64) -> Result<(), StoreError> {
        for set in self.sets.iter().filter(|set| set.version() > stored) {
            change.root(set.version(), set.root.root().generation, set.root.envelope().text()).await?;
        }
        change.sign_again(&self.newest().signers.content, self.newest().root.root().generation).await
    }
}

impl Keys {
    /// Makes the keys of a new office with its first root, and writes them into `home`, over what lay there of an office
    /// that never came to be.
    pub fn make(home: &Path, office: &str, division: &Division, now: Timestamp) -> Result<Self, KeysError> {
        let version = number_after(0, now);
        let root = Root {
            version,
            generation: version,
            office: office.to_owned(),
            threshold: 1,
            roots: Vec::new(),
            keys: Vec::new(),
            revoked: BTreeSet::new(),
        };
        let signers = Signers::fresh(version)?;
        let root = signers.listed(root, division, now);
        let inside = Inside { session: fresh_key()?, sets: vec![signers.seal(&root, None)?] };
        let file = home.join(FILE);
        inside.write(&file)?;
        Ok(Self::of(file, inside))
    }

    fn of(file: PathBuf, inside: Inside) -> Self {
        Self { file, inside: RwLock::new(Arc::new(inside)), renewing: tokio::sync::Mutex::default() }
    }

    /// Opens the keys of the office that is in `store`. A renewal that the database does not know is put in force.
    pub async fn open(home: &Path, store: &Store) -> Result<Self, KeysError> {
        let file = home.join(FILE);
        let keys = Self::of(file.clone(), read(&file)?);
        keys.follow(store).await?;
        let inside = keys.inside();
        let stored = store.roots_after(0).await?.last().map_or(0, |(version, _)| *version);
        if inside.newest().version() > stored {
            let mut change = store.change().await?;
            inside.put_in_force(&mut change, stored).await?;
            change.commit(FILE, Deed::Keys, "", "补完密钥更换").await?;
        }
        Ok(keys)
    }

    /// Holds the keys against the roots in force, and reads the file again where it fell behind: another process has
    /// renewed them, and somebody brought its file.
    pub async fn follow(&self, store: &Store) -> Result<(), KeysError> {
        let roots = store.roots_after(0).await?;
        let (Some((_, first)), Some((version, newest))) = (roots.first(), roots.last()) else { return Ok(()) };
        if *version > self.root().root().version {
            self.swap(read(&self.file)?.into());
        }
        let inside = self.inside();
        let is_ours = |envelope: &str| inside.sets.iter().any(|set| set.root.envelope().text() == envelope);
        match (is_ours(first), *version > inside.newest().version(), is_ours(newest)) {
            (true, false, true) => Ok(()),
            (true, true, _) => Err(KeysError::Old { file: self.file.clone() }),
            _ => Err(KeysError::Another { file: self.file.clone() }),
        }
    }

    /// Makes sure, within a change, that these keys are those of the root in force, whose version it is; reads the file again
    /// where they fell behind.
    pub(in crate::office) fn must_be(&self, version: u64) -> Result<(), KeysError> {
        if version > self.root().root().version {
            self.swap(read(&self.file)?.into());
        }
        match self.root().root().version == version {
            true => Ok(()),
            false => Err(KeysError::Old { file: self.file.clone() }),
        }
    }

    /// Makes new keys of these kinds, which take the place of those in force, and revokes the old ones. Everything that is
    /// signed for stations is signed again.
    pub async fn renew(
        &self,
        store: &Store,
        what: &BTreeSet<Renewal>,
        who: &str,
        now: Timestamp,
    ) -> Result<(), KeysError> {
        let _turn = self.renewing.lock().await;
        let mut change = store.change().await?;
        let before = self.inside();
        let newest = before.newest();
        // Under the lock of the change: another process may have been quicker.
        if change.newest_root().await? != newest.version() {
            return Err(KeysError::Old { file: self.file.clone() });
        }
        let old = newest.root.root();
        let version = number_after(old.version, now);
        let mut signers = newest.signers.clone();
        for renewal in what {
            match renewal {
                Renewal::Content => signers.content = fresh("content", version)?,
                Renewal::Emergency => signers.emergency = fresh("emergency", version)?,
                Renewal::Time => signers.time = fresh("time", version)?,
                Renewal::Root => signers.roots = vec![fresh("root", version)?],
                Renewal::Generation => {}
            }
        }
        let is_new = what.contains(&Renewal::Generation);
        let generation = if is_new { number_after(old.generation, now) } else { old.generation };
        let revoked = &old.revoked | &(&newest.signers.kids() - &signers.kids());
        let scope = old.keys.first().map(|key| key.scope.clone()).ok_or(KeysError::Refused(Refused::Other))?;
        let root = Root { version, generation, revoked, ..old.clone() };
        let root = signers.listed(root, &scope, now);
        let set = signers.seal(&root, Some(newest))?;
        let sets = before.sets.iter().cloned().chain([set]).collect();
        let after = Arc::new(Inside { session: before.session.clone(), sets });
        after.write(&self.file)?;
        after.put_in_force(&mut change, newest.version()).await?;
        // Before the commit: whoever has his turn after this change must sign with the new keys already.
        self.swap(Arc::clone(&after));
        let detail: Vec<_> = what.iter().map(|renewal| renewal.key()).collect();
        if let Err(error) = change.commit(who, Deed::Keys, "", &detail.join(" ")).await {
            self.swap(before);
            return Err(error.into());
        }
        Ok(())
    }

    fn inside(&self) -> Arc<Inside> {
        Arc::clone(&self.inside.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn swap(&self, inside: Arc<Inside>) {
        *self.inside.write().unwrap_or_else(PoisonError::into_inner) = inside;
    }

    /// Signs places, plans, and commands below an emergency. Within a change, ask after it has begun: keys are renewed in
    /// changes too.
    pub fn content(&self) -> Signer {
        self.inside().newest().signers.content.clone()
    }

    /// Signs emergencies, and commands about them.
    pub fn emergency(&self) -> Signer {
        self.inside().newest().signers.emergency.clone()
    }

    /// Signs the time.
    pub fn time(&self) -> Signer {
        self.inside().newest().signers.time.clone()
    }

    /// Signs roots.
    pub fn roots(&self) -> Vec<Signer> {
        self.inside().newest().signers.roots.clone()
    }

    /// The root in force.
    pub fn root(&self) -> Pinned {
        self.inside().newest().root.clone()
    }

    /// The root's, which every document carries.
    pub fn generation(&self) -> u64 {
        self.inside().newest().root.root().generation
    }

    /// The words that a clerk compares with a station's, and that the office is known by.
    pub fn words(&self) -> Words {
        self.inside().newest().root.words()
    }

    /// Returns whether `hash` names this office: it is the sha256 of the payload of a root that was in force.
    pub fn is_named(&self, hash: &BlobId) -> bool {
        self.names().contains(hash)
    }

    /// What the office is known by to whoever signs in: one for each root, as a station has the root that it has.
    pub fn names(&self) -> Vec<BlobId> {
        self.inside().sets.iter().rev().map(|set| BlobId::of(set.root.envelope().payload())).collect()
    }

    /// Signs what only processes of this office read.
    pub(in crate::office) fn stamp(&self, text: &str) -> String {
        hex(&self.inside().session.sign(text.as_bytes()).to_bytes())
    }

    /// Returns whether a process of this office made this stamp on this text.
    pub(in crate::office) fn is_stamped(&self, text: &str, stamp: &str) -> bool {
        let stamp = unhex(stamp).and_then(|bytes| Signature::from_slice(&bytes).ok());
        let key = self.inside().session.verifying_key();
        stamp.is_some_and(|stamp| key.verify_strict(text.as_bytes(), &stamp).is_ok())
    }
}

fn read(file: &Path) -> Result<Inside, KeysError> {
    let bytes = fs::read(file).map_err(|source| KeysError::File { file: file.to_owned(), source })?;
    Inside::read(&bytes).ok_or_else(|| KeysError::Unreadable { file: file.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::store::About;
    use tempfile::TempDir;

    fn now() -> Timestamp {
        "2026-06-17T00:00:00Z".parse().unwrap()
    }

    /// An office that has just been set up.
    async fn office() -> (TempDir, Store, Keys) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::in_folder(home.path()).await.unwrap();
        let division = Division::try_from("330127104000".to_owned()).unwrap();
        let keys = Keys::make(home.path(), "青石镇", &division, now()).unwrap();
        let about = About {
            name: "青石镇".into(),
            division,
            zone: "Asia/Shanghai".into(),
            generation: keys.generation(),
            revision: 0,
        };
        let root = keys.root();
        let change = store.found(&about, root.root().version, root.envelope().text()).await.unwrap().unwrap();
        change.commit("admin", Deed::SetUp, "", "").await.unwrap();
        (home, store, keys)
    }

    #[tokio::test]
    async fn stations_follow_every_renewal_and_revoked_keys_count_for_nothing() {
        let (home, store, keys) = office().await;
        let mut pinned = Pinned::first(keys.root().envelope().text().as_bytes()).unwrap();
        let (mut at, old) = (now(), keys.content());
        for what in [Renewal::Content, Renewal::Root, Renewal::Emergency, Renewal::Generation, Renewal::Time] {
            let (from, generation) = (pinned.root().version, keys.generation());
            at += SignedDuration::from_secs(1);
            keys.renew(&store, &[what].into(), "admin", at).await.unwrap();
            for (_, envelope) in store.roots_after(from).await.unwrap() {
                pinned = pinned.follow(Envelope::read(envelope.as_bytes()).unwrap()).unwrap();
            }
            assert_eq!(pinned, keys.root());
            assert_eq!(keys.generation() > generation, what == Renewal::Generation);
            assert_eq!(store.about().await.unwrap().unwrap().generation, keys.generation());
        }
        let sealed = |signer: Signer| Envelope::sign(Kind::Plan, b"{}", &[signer]);
        assert!(matches!(pinned.root().signer(&sealed(old)), Err(Refused::Revoked { .. })));
        assert!(pinned.root().signer(&sealed(keys.content())).is_ok());
        assert_eq!(Keys::open(home.path(), &store).await.unwrap().root(), keys.root());
    }

    #[tokio::test]
    async fn a_process_with_an_old_file_signs_nothing_and_one_with_the_new_file_goes_on() {
        let (home, store, keys) = office().await;
        let other = tempfile::tempdir().unwrap();
        fs::copy(home.path().join(FILE), other.path().join(FILE)).unwrap();
        let second = Keys::open(other.path(), &store).await.unwrap();
        keys.renew(&store, &[Renewal::Content].into(), "admin", now()).await.unwrap();
        assert!(matches!(second.follow(&store).await, Err(KeysError::Old { .. })));
        assert!(matches!(Keys::open(other.path(), &store).await, Err(KeysError::Old { .. })));
        let renewed = second.renew(&store, &[Renewal::Time].into(), "admin", now()).await;
        assert!(matches!(renewed, Err(KeysError::Old { .. })));
        fs::copy(home.path().join(FILE), other.path().join(FILE)).unwrap();
        second.follow(&store).await.unwrap();
        assert_eq!(second.content().kid, keys.content().kid);
        let (_stranger, theirs, _) = office().await;
        assert!(matches!(second.follow(&theirs).await, Err(KeysError::Another { .. })));
    }

    #[tokio::test]
    async fn a_renewal_that_the_database_lost_is_put_in_force_again() {
        let (home, store, keys) = office().await;
        let backup = fs::read(home.path().join("office.db")).unwrap();
        let log = fs::read(home.path().join("office.db-wal")).unwrap_or_default();
        keys.renew(&store, &[Renewal::Content, Renewal::Root].into(), "admin", now()).await.unwrap();
        let restored = tempfile::tempdir().unwrap();
        fs::write(restored.path().join("office.db"), backup).unwrap();
        fs::write(restored.path().join("office.db-wal"), log).unwrap();
        fs::copy(home.path().join(FILE), restored.path().join(FILE)).unwrap();
        let store = Store::in_folder(restored.path()).await.unwrap();
        assert_eq!(store.roots_after(0).await.unwrap().len(), 1);
        let opened = Keys::open(restored.path(), &store).await.unwrap();
        assert_eq!(opened.root(), keys.root());
        assert_eq!(store.roots_after(0).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_stamp_holds_for_its_text_and_in_every_process() {
        let (home, store, keys) = office().await;
        let stamp = keys.stamp("beizhuang");
        let second = Keys::open(home.path(), &store).await.unwrap();
        for (text, stamp, expected) in
            [("beizhuang", stamp.as_str(), true), ("nanzhuang", &stamp, false), ("beizhuang", "00", false)]
        {
            assert_eq!(second.is_stamped(text, stamp), expected);
        }
    }
}

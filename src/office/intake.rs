//! Takes in what stations send of their journals: many batches of many stations in one transaction.
//!
//! A batch is checked beside the others, on as many threads as the machine has, against what is here of its journal. Then
//! it waits in a queue of bounded size for the next transaction, where its journal is looked at once more under lock; what
//! changed in between is checked again. The answer comes after the commit.
//!
//! Always true: what was answered with [`Acked`] is on the disk; every row is here once, however often and through
//! however many offices it was sent; one batch that the database refuses does not spoil those it shares a transaction
//! with; and what waits never takes more than [`ROOM_KIB`], because a batch that finds no room is told to come back.
//!
//! Not here: whether rows follow ([`crate::link::journal`]), the SQL ([`super::store::journal`]).

use super::store::{
    Engine, Store, StoreError,
    journal::{DayKey, DayTotal, Ready, Stored, Taking},
};
use crate::{
    clock,
    link::{
        StationId,
        journal::{self, Acked, Batch, Cursor, LONGEST_LINE, MOST_BYTES, Row, Turned},
    },
    schedule::Source,
};
use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    thread::available_parallelism,
};
use tokio::{
    sync::{Mutex, Semaphore, mpsc, oneshot},
    task::spawn_blocking,
};

/// Lines of all batches that are on their way to the disk, in KiB; with what is made of them they take about four times
/// as much memory.
const ROOM_KIB: u32 = 32 << 10;
/// Batches that wait for a transaction.
const QUEUE: usize = 1024;
/// Rows after which a transaction takes no further batch. On SQLite nobody else writes meanwhile.
const GROUP_ROWS: usize = 4096;
/// Batches after which it takes no further one.
const GROUP_BATCHES: usize = 64;
/// Transactions at a time on PostgreSQL: while one waits for its disk, another is being filled.
const WRITERS: usize = 3;
/// The longest name of a journal.
const LONGEST_EPOCH: usize = 128;
/// What started later than this is not on time.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);
/// The longest that one row counts for, in milliseconds: nothing sounds longer than a day, whatever a row says.
const LONGEST_MS: i64 = 24 * 60 * 60 * 1000;

/// Why a batch was not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IntakeError {
    /// It is not what the office can store.
    #[error(transparent)]
    Turned(#[from] Turned),
    /// Too much is on its way; the station is to come back.
    #[error("同时上传的台站太多；稍后会自动重试")]
    Full,
    /// The store did not take it. Others may have the same trouble at the same time.
    #[error(transparent)]
    Store(Arc<StoreError>),
}

impl From<StoreError> for IntakeError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Takes batches in. Cheap to clone; what is on its way is shared.
#[derive(Debug, Clone)]
pub struct Intake {
    store: Store,
    zone: TimeZone,
    room: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    queue: mpsc::Sender<Waiting>,
}

/// A batch, and what is known of where it comes from.
#[derive(Debug)]
struct Work {
    station: StationId,
    key: VerifyingKey,
    batch: Batch,
    zone: TimeZone,
}

/// A batch that was checked against a cursor.
#[derive(Debug, Clone)]
struct Checked {
    against: Option<Cursor>,
    outcome: Result<Arc<Ready>, Turned>,
}

/// A batch that waits for a transaction.
#[derive(Debug)]
struct Waiting {
    work: Arc<Work>,
    checked: Checked,
    answer: oneshot::Sender<Result<Acked, IntakeError>>,
}

impl Intake {
    /// Starts to take in; dates are those of `zone`.
    pub fn new(store: Store, zone: TimeZone) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        let writers = if store.engine() == Engine::Postgres { WRITERS } else { 1 };
        for _ in 0..writers {
            tokio::spawn(write(store.clone(), waiting.clone()));
        }
        let threads = available_parallelism().map_or(1, usize::from);
        let room = Arc::new(Semaphore::new(ROOM_KIB as usize));
        Self { store, zone, room, checks: Arc::new(Semaphore::new(threads)), queue }
    }

    /// Takes a batch in that a station with this key sent. The answer comes when it is on the disk.
    pub async fn take(&self, station: &StationId, key: &VerifyingKey, batch: Batch) -> Result<Acked, IntakeError> {
        let bytes: usize = batch.lines.iter().map(String::len).sum();
        if bytes > MOST_BYTES.max(LONGEST_LINE) || batch.epoch.len() > LONGEST_EPOCH {
            return Err(Turned::Malformed.into());
        }
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(ROOM_KIB);
        let _room = self.room.try_acquire_many(kib).map_err(|_| IntakeError::Full)?;
        let work = Arc::new(Work { station: station.clone(), key: *key, batch, zone: self.zone.clone() });
        let against = self.store.cursor(station).await?;
        let hashes = match asked(&against, &work.batch) {
            Some(seqs) => self.store.hashes(station, &work.batch.epoch, seqs).await?,
            None => BTreeMap::new(),
        };
        let checked = {
            let _turn = self.checks.acquire().await.map_err(|_| IntakeError::Full)?;
            check(work.clone(), against, hashes).await
        };
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { work, checked, answer }).map_err(|_| IntakeError::Full)?;
        // Without an answer the office is ending.
        answered.await.unwrap_or(Err(IntakeError::Full))
    }
}

/// The rows whose hashes it takes to check a batch, besides the cursor's own.
fn asked(cursor: &Option<Cursor>, batch: &Batch) -> Option<[i64; 2]> {
    let cursor = cursor.as_ref().filter(|cursor| cursor.epoch == batch.epoch && batch.from <= cursor.acked)?;
    Some([batch.from.saturating_sub(1), batch.to.min(cursor.acked)])
}

/// Checks a batch on a thread of its own.
async fn check(work: Arc<Work>, against: Option<Cursor>, hashes: BTreeMap<i64, String>) -> Checked {
    let now = clock::wall();
    let cursor = against.clone();
    let outcome = spawn_blocking(move || weigh(&work, cursor.as_ref(), &hashes, now).map(Arc::new)).await;
    // What cannot be checked is not taken in.
    Checked { against, outcome: outcome.unwrap_or(Err(Turned::Malformed)) }
}

/// Holds a batch against what is here of its station's journal, and says what it adds.
fn weigh(
    work: &Work,
    current: Option<&Cursor>,
    hashes: &BTreeMap<i64, String>,
    now: Timestamp,
) -> Result<Ready, Turned> {
    let batch = &work.batch;
    if batch.epoch.is_empty() || batch.epoch.chars().any(char::is_control) {
        return Err(Turned::Malformed);
    }
    // The first journal of a station is believed.
    let new = Cursor::new(&batch.epoch);
    let cursor = current.unwrap_or(&new);
    if cursor.epoch != batch.epoch {
        // A clerk is asked about a journal only if it is the station's own.
        return match journal::take(&new, batch, &work.key, |_| None) {
            Err(turned @ (Turned::Malformed | Turned::Signature)) => Err(turned),
            _ => Err(Turned::Epoch),
        };
    }
    let (rows, after) = journal::take(cursor, batch, &work.key, |seq| hashes.get(&seq).cloned())?;
    Ok(ready(rows, after, &work.zone, now))
}

/// What these rows add to the tables. Text is kept as PostgreSQL can; the line keeps what the station wrote.
fn ready(rows: Vec<Row>, after: Cursor, zone: &TimeZone, now: Timestamp) -> Ready {
    let today = zone.to_datetime(now).date().to_string().into();
    let mut ready = Ready { rows: Vec::with_capacity(rows.len()), today, days: BTreeMap::new(), sounded: None, after };
    let mut dates: HashMap<i64, Arc<str>> = HashMap::new();
    for row in rows {
        let entry = row.says.entry;
        // Few of them differ within one quarter of an hour, and no zone changes its offset within one.
        let quarter = entry.due.as_second().div_euclid(15 * 60);
        let date =
            dates.entry(quarter).or_insert_with(|| zone.to_datetime(entry.due).date().to_string().into()).clone();
        let outcome = word(&entry.outcome);
        let reason = entry.reason.as_ref().map(word);
        let late = entry.started.map(|started| started.duration_since(entry.due));
        let heard_ms = entry.heard_ms.clamp(0, LONGEST_MS);
        let day = DayKey {
            date: date.clone(),
            outcome: outcome.clone(),
            reason: reason.clone().unwrap_or_default(),
            asked: entry.occurrence.is_asked(),
        };
        let total: &mut DayTotal = ready.days.entry(day).or_default();
        total.times += 1;
        total.on_time += i64::from(late.is_some_and(|late| late.abs() <= ON_TIME));
        total.heard_ms += heard_ms;
        if entry.started.is_some() && heard_ms > 0 {
            // A station whose clock is ahead did not sound in the future.
            ready.sounded = ready.sounded.max(Some(entry.ended.min(now).as_millisecond()));
        }
        ready.rows.push(Stored {
            seq: row.seq,
            occurrence: storable(entry.occurrence.as_str()),
            date,
            due: entry.due.as_millisecond(),
            source: match entry.source {
                Source::Station => "station",
                Source::Town => "town",
                Source::County => "county",
            },
            announcement: storable(&entry.announcement),
            title: storable(&entry.title),
            outcome,
            reason,
            expected_ms: entry.expected_ms.clamp(0, LONGEST_MS),
            heard_ms,
            late_ms: late.map(|late| i64::try_from(late.as_millis()).unwrap_or(i64::MAX)),
            line: row.line,
            hash: row.hash,
        });
    }
    ready
}

/// The word of a closed list, as JSON has it.
fn word(value: &impl Serialize) -> Arc<str> {
    serde_json::to_string(value).unwrap_or_default().trim_matches('"').into()
}

/// PostgreSQL keeps every character but one.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Takes what waits into the tables, until no more can come.
async fn write(store: Store, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    loop {
        let mut group = Vec::new();
        {
            let mut waiting = waiting.lock().await;
            let Some(first) = waiting.recv().await else { return };
            let mut rows = first.work.batch.lines.len();
            group.push(first);
            while rows < GROUP_ROWS && group.len() < GROUP_BATCHES {
                let Ok(next) = waiting.try_recv() else { break };
                rows += next.work.batch.lines.len();
                group.push(next);
            }
        }
        // In this order no two transactions wait for each other, and the batches of one station follow.
        group.sort_by(|a, b| (&a.work.station, a.work.batch.from).cmp(&(&b.work.station, b.work.batch.from)));
        match take_in(&store, &group).await {
            Ok(answers) => answer(group, answers),
            Err(StoreError::Database(_) | StoreError::Unreadable(_)) if group.len() > 1 => {
                for one in group {
                    let answers = take_in(&store, std::slice::from_ref(&one)).await;
                    answer(vec![one], answers.unwrap_or_else(|error| vec![Err(error.into())]));
                }
            }
            Err(error) => {
                let error = IntakeError::from(error);
                let answers = vec![Err(error); group.len()];
                answer(group, answers);
            }
        }
    }
}

fn answer(group: Vec<Waiting>, answers: Vec<Result<Acked, IntakeError>>) {
    for (waiting, answer) in group.into_iter().zip(answers) {
        // Whoever no longer waits sends it again.
        let _ = waiting.answer.send(answer);
    }
}

/// Takes batches in, in one transaction.
async fn take_in(store: &Store, group: &[Waiting]) -> Result<Vec<Result<Acked, IntakeError>>, StoreError> {
    let mut taking = store.taking().await?;
    let mut answers = Vec::with_capacity(group.len());
    for waiting in group {
        answers.push(take_one(&mut taking, waiting).await?.map_err(IntakeError::from));
    }
    taking.commit().await?;
    Ok(answers)
}

async fn take_one(taking: &mut Taking, waiting: &Waiting) -> Result<Result<Acked, Turned>, StoreError> {
    let (work, mut checked) = (&waiting.work, waiting.checked.clone());
    let (station, epoch) = (&work.station, &work.batch.epoch);
    // Once more where another office was the first to open the journal.
    for _ in 0..2 {
        let current = taking.lock(station).await?;
        if current != checked.against {
            let hashes = match asked(&current, &work.batch) {
                Some(seqs) => taking.hashes(station, epoch, seqs).await?,
                None => BTreeMap::new(),
            };
            checked = check(work.clone(), current.clone(), hashes).await;
        }
        let now = clock::wall();
        match &checked.outcome {
            Ok(ready) => {
                if current.is_none() && !taking.open(station, &Cursor::new(epoch)).await? {
                    continue;
                }
                taking.store(station, &work.key, &work.batch, ready, now).await?;
                return Ok(Ok(Acked { epoch: epoch.clone(), acked: ready.after.acked }));
            }
            // To be asked for earlier rows is nothing out of the ordinary.
            Err(turned @ Turned::Need { .. }) => return Ok(Err(turned.clone())),
            Err(turned) => {
                // A name of a journal that nothing proves to be the station's is not put on record.
                let is_proven = !matches!(turned, Turned::Malformed | Turned::Signature);
                if current.is_some_and(|current| is_proven || current.epoch == *epoch) {
                    taking.turn(station, epoch, turned, now).await?;
                }
                return Ok(Err(turned.clone()));
            }
        }
    }
    Err(StoreError::Unreadable(format!("journal {epoch}")))
}

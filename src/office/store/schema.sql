-- What an office keeps, version 1; the same text for SQLite and PostgreSQL. Times are milliseconds since 1970, dates
-- `2026-06-17` in the office's zone, lists and documents JSON, hashes lower-case hex. What comes from stations is kept as
-- it came, byte for byte.

-- One row. `revision` rises with every change of what some station should have or some person sees, in the transaction of
-- that change and under this row's lock: it is the feed that every office process polls.
CREATE TABLE office (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    name       TEXT   NOT NULL,
    division   TEXT   NOT NULL,           -- digits that mean something
    zone       TEXT   NOT NULL,           -- as `Asia/Shanghai`
    generation BIGINT NOT NULL,           -- the root's
    revision   BIGINT NOT NULL
);

-- Every root that was in force, as it was signed.
CREATE TABLE root (
    version  BIGINT PRIMARY KEY,
    envelope TEXT   NOT NULL
);

-- A station that asked to be taken in, and what became of it.
CREATE TABLE station (
    id             TEXT   PRIMARY KEY,
    name           TEXT   NOT NULL,
    public_key     TEXT   NOT NULL,
    division       TEXT   NOT NULL,
    groups         TEXT   NOT NULL,       -- names, a JSON list
    state          TEXT   NOT NULL,       -- pending, active, revoked
    asked          BIGINT NOT NULL,
    confirmed      BIGINT,
    place          TEXT,                  -- the place's envelope, once confirmed
    plan           TEXT,                  -- the plan's envelope, once there is one
    plan_revision  BIGINT NOT NULL,       -- the plan's, 0 before the first
    wants          BIGINT NOT NULL,       -- the office's revision at which place, plan, key or state last changed
    next_key       TEXT,                  -- of a machine that asks to take this one's place: a clerk has to agree
    code           TEXT,                  -- the hash of the code by which it last asked
    heard          BIGINT,                -- the last word from it
    sounded        BIGINT,                -- the end of the last announcement that was heard at it
    up             BIGINT NOT NULL,       -- 1 while a watch of it is open
    node           TEXT                   -- at which office process
);
CREATE INDEX station_wants ON station (wants);

-- Codes that let a station in, known by their hash.
CREATE TABLE enrol_code (
    hash      TEXT   PRIMARY KEY,         -- sha256 of the code as it is read out, without spaces, capital letters
    division  TEXT   NOT NULL,
    name      TEXT   NOT NULL,            -- what the clerk calls the village; empty where each station names itself
    made_by   TEXT   NOT NULL,
    expires   BIGINT NOT NULL,
    uses      BIGINT NOT NULL,            -- so many stations may still ask by it
    automatic BIGINT NOT NULL             -- 1 where they are taken in without a clerk: for trying things out
);

-- Coming and going, changes only.
CREATE TABLE presence (
    station TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    up      BIGINT NOT NULL,
    PRIMARY KEY (station, at, up)
);

-- The office processes: one that was not seen for a minute is gone, and the watches at it with it.
CREATE TABLE node (
    id   TEXT   PRIMARY KEY,
    seen BIGINT NOT NULL
);

-- What a station last said of itself.
CREATE TABLE reported (
    station  TEXT   PRIMARY KEY,
    sequence BIGINT NOT NULL,
    document TEXT   NOT NULL,
    at       BIGINT NOT NULL,             -- by the office's clock
    ahead    BIGINT NOT NULL              -- 1 where it has seen what this office does not know to have said
);

-- Every document that a station did not accept.
CREATE TABLE rejected (
    station TEXT   NOT NULL,
    sha256  TEXT   NOT NULL,              -- of its text
    at      BIGINT NOT NULL,              -- by the station's clock
    kind    TEXT,                         -- what it claimed to be
    why     TEXT   NOT NULL,
    came    BIGINT NOT NULL,              -- by the office's clock
    PRIMARY KEY (station, sha256, at)
);
CREATE INDEX rejected_came ON rejected (came);

-- How far the office holds each journal of a station.
CREATE TABLE journal (
    station TEXT   NOT NULL,
    epoch   TEXT   NOT NULL,
    acked   BIGINT NOT NULL,
    head    TEXT   NOT NULL,
    turned  TEXT,                         -- why the last batch was not taken in, as it was answered; none while it is
    at      BIGINT NOT NULL,              -- of the last batch
    is_current BIGINT NOT NULL,           -- 1 for the journal that the station is known to write
    PRIMARY KEY (station, epoch)
);
CREATE UNIQUE INDEX journal_current ON journal (station) WHERE is_current = 1;

-- The station's signature under the last batch of new rows that came on each day: what is up to here, the station wrote.
-- Kept in the transaction that stores the rows; a day's last batch takes the place of an earlier one of that day.
CREATE TABLE head (
    station   TEXT   NOT NULL,
    epoch     TEXT   NOT NULL,
    date      TEXT   NOT NULL,            -- on which it came, by the office's clock
    first     BIGINT NOT NULL,            -- the batch's `from`, `to`, `head` and `signature`
    seq       BIGINT NOT NULL,
    hash      TEXT   NOT NULL,
    signature TEXT   NOT NULL,
    key       TEXT   NOT NULL,            -- by which it is: the station's public key, which may be another one now
    PRIMARY KEY (station, epoch, date)
);

-- The rows of every journal.
CREATE TABLE entry (
    station      TEXT   NOT NULL,
    epoch        TEXT   NOT NULL,
    seq          BIGINT NOT NULL,
    occurrence   TEXT   NOT NULL,
    date         TEXT   NOT NULL,         -- of `due`
    due          BIGINT NOT NULL,
    source       TEXT   NOT NULL,
    announcement TEXT   NOT NULL,
    title        TEXT   NOT NULL,
    outcome      TEXT   NOT NULL,
    reason       TEXT,
    expected_ms  BIGINT NOT NULL,
    heard_ms     BIGINT NOT NULL,
    late_ms      BIGINT,                  -- started less due; none where nothing sounded
    line         TEXT   NOT NULL,
    hash         TEXT   NOT NULL,
    PRIMARY KEY (station, epoch, seq)
);
CREATE INDEX entry_date ON entry (date, station);

-- What `entry` adds up to by day; kept in the transaction that stores the rows.
CREATE TABLE day (
    station  TEXT   NOT NULL,
    date     TEXT   NOT NULL,
    outcome  TEXT   NOT NULL,
    reason   TEXT   NOT NULL,             -- empty where there is none
    asked    BIGINT NOT NULL,             -- 1 for what no plan held: a person or a command asked for it
    times    BIGINT NOT NULL,
    on_time  BIGINT NOT NULL,             -- of those that sounded, started within 60 s of their due moment
    heard_ms BIGINT NOT NULL,
    PRIMARY KEY (station, date, outcome, reason, asked)
);
CREATE INDEX day_date ON day (date);

-- A sound that is among the blobs.
CREATE TABLE blob (
    sha256      TEXT   PRIMARY KEY,
    bytes       BIGINT NOT NULL,
    title       TEXT   NOT NULL,
    extension   TEXT   NOT NULL,          -- of the file as it came: mp3, wav
    duration_ms BIGINT NOT NULL,
    made_by     TEXT   NOT NULL,
    at          BIGINT NOT NULL
);

-- A campaign or a case bulletin: its state, and every version of it.
CREATE TABLE campaign (
    id        TEXT   PRIMARY KEY,         -- a name of a schedule
    kind      TEXT   NOT NULL,            -- campaign, bulletin
    title     TEXT   NOT NULL,
    state     TEXT   NOT NULL,            -- draft, trial, published, withdrawn
    trial     TEXT,                       -- the one station that has it while it is on trial
    version   BIGINT NOT NULL,            -- the one that counts
    published BIGINT,                     -- the version that stations have; none before the first
    changed   BIGINT NOT NULL,            -- the office's revision at which what stations have of it last changed
    at        BIGINT NOT NULL
);
CREATE TABLE campaign_version (
    campaign TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    document TEXT   NOT NULL,
    made_by  TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    went_out BIGINT,                      -- when it first went to all it is meant for; none where it never did
    PRIMARY KEY (campaign, version)
);

-- A command as it was signed, and how far each station is with it.
CREATE TABLE command (
    id        TEXT   PRIMARY KEY,
    revision  BIGINT NOT NULL,            -- the office's, when it was issued
    op        TEXT   NOT NULL,            -- play, emergency, stop, volume, report
    kid       TEXT   NOT NULL,
    counter   BIGINT NOT NULL,
    issued    BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    drill     BIGINT NOT NULL,
    title     TEXT   NOT NULL,
    targets   TEXT   NOT NULL,
    envelope  TEXT   NOT NULL,
    made_by   TEXT   NOT NULL,
    note      TEXT   NOT NULL,            -- for the office's own record
    all_clear TEXT                        -- what was prepared to be said when it is over; unsigned
);
CREATE INDEX command_not_after ON command (not_after);
CREATE INDEX command_revision ON command (revision);
CREATE UNIQUE INDEX command_counter ON command (kid, counter);
CREATE TABLE command_station (
    command TEXT   NOT NULL,
    station TEXT   NOT NULL,
    state   TEXT   NOT NULL,              -- as it was said
    at      BIGINT NOT NULL,              -- by the station's clock
    came    BIGINT NOT NULL,              -- by the office's
    PRIMARY KEY (command, station)
);

-- Who changed what.
CREATE TABLE audit (
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    who      TEXT   NOT NULL,
    what     TEXT   NOT NULL,             -- a word of a closed list: see `store::Deed`
    about    TEXT   NOT NULL,             -- the station, campaign or command
    detail   TEXT   NOT NULL,
    PRIMARY KEY (revision)
);

-- The journal of one station, version 1. Everything that a station can prove about itself is in `entry` and `head`.

-- One row for each occurrence that has its final word. Rows are only ever added.
CREATE TABLE entry (
    seq        INTEGER PRIMARY KEY,      -- 1, 2, 3 … without gap
    occurrence TEXT    NOT NULL UNIQUE,  -- exactly one outcome each
    due        INTEGER NOT NULL,         -- milliseconds since 1970, as in `line`
    line       TEXT    NOT NULL,         -- the entry as JSON with epoch, seq and prev, kept as written
    hash       TEXT    NOT NULL          -- lower-case hex of sha256(prev ‖ line); the next row's prev
);
CREATE INDEX entry_due ON entry (due);

-- What sounds, or is armed to sound. Outside the chain: gone in the transaction that writes its entry.
CREATE TABLE running (
    occurrence TEXT PRIMARY KEY,
    json       TEXT NOT NULL
);

-- tick, newest (milliseconds since 1970), stopped, hushed (JSON: until, operator, note), volume, volume-instead-of
-- (percent), epoch, public-key (hex).
CREATE TABLE state (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- When the daemon started, milliseconds since 1970.
CREATE TABLE start (
    at INTEGER NOT NULL
);
CREATE INDEX start_at ON start (at);

-- Signatures of the station over the head of the chain: hourly and at the end of a run.
CREATE TABLE head (
    seq       INTEGER PRIMARY KEY,       -- the entry that was the head
    hash      TEXT    NOT NULL,          -- its hash
    at        INTEGER NOT NULL,          -- milliseconds since 1970
    signature TEXT    NOT NULL           -- hex; ed25519 over the text that `head_text` in src/journal/sign.rs writes
);

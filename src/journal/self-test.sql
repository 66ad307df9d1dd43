-- Version 2: what the nightly self-test of the sound card found. Outside the chain: nothing was owed.
CREATE TABLE self_test (
    at     INTEGER NOT NULL,             -- milliseconds since 1970
    device TEXT,                         -- the output that was opened; none where none opened
    fault  TEXT                          -- in plain words; none where frames flowed
);
CREATE INDEX self_test_at ON self_test (at);

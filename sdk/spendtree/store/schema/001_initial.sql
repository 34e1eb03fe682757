-- The ledger: accounts and open holds are the present, events are everything that ever happened.
-- Names that repeat (who, which accounts, which model) are rows of their own, so that a call is a
-- row of small integers. All money is pico-dollars, all times are microseconds since 1970 UTC.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    session TEXT NOT NULL,
    agent TEXT NOT NULL,
    customer TEXT NOT NULL,
    team TEXT NOT NULL,
    period TEXT NOT NULL,
    cap INTEGER,
    spent INTEGER NOT NULL DEFAULT 0,
    presumed INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    -- A session's money that reserved envelopes keep, and the runs that reserve this envelope now.
    reserved INTEGER NOT NULL DEFAULT 0,
    standing INTEGER NOT NULL DEFAULT 0,
    -- Warning marks (JSON array, millionths of the cap, ascending), how many are passed, and the
    -- spent and presumed money at which the next one is.
    marks TEXT NOT NULL DEFAULT '[]',
    passed INTEGER NOT NULL DEFAULT 0,
    warn_next INTEGER
) STRICT;

-- Which run reserves which envelope of which session: given back when the run or its process ends.
CREATE TABLE reservation (
    run BLOB PRIMARY KEY,
    session TEXT NOT NULL,
    envelope TEXT NOT NULL,
    owner INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Warnings that nobody has been told of yet; the log has all.
CREATE TABLE warning (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    account TEXT NOT NULL,
    mark INTEGER NOT NULL,
    cap INTEGER NOT NULL,
    used INTEGER NOT NULL
) STRICT;

-- Who spends, and the accounts (JSON array of ids, outermost first) that this is charged to.
-- Two processes may write the same context twice: readers compare values, not numbers.
CREATE TABLE context (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    customer TEXT NOT NULL,
    team TEXT NOT NULL,
    agent TEXT NOT NULL,
    run TEXT NOT NULL,
    parent TEXT NOT NULL,
    level INTEGER NOT NULL,
    cycle INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    path TEXT NOT NULL,
    origin TEXT NOT NULL
) STRICT;
CREATE INDEX context_session ON context (session);

CREATE TABLE request (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    purpose TEXT NOT NULL,
    UNIQUE (provider, model, purpose)
) STRICT;

-- The processes that hold money; a hold of a dead one lapses.
CREATE TABLE owner (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    host TEXT NOT NULL,
    boot TEXT NOT NULL,
    pid INTEGER NOT NULL,
    start INTEGER NOT NULL
) STRICT;

-- Only holds that have not ended: what ended is an event.
CREATE TABLE hold (
    id BLOB PRIMARY KEY,
    context INTEGER NOT NULL,
    request INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a follower must never see a number twice, also after the newest rows are pruned.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    context INTEGER NOT NULL,
    request INTEGER NOT NULL,
    cost INTEGER,
    held INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    status INTEGER NOT NULL,
    duration INTEGER,
    data TEXT
) STRICT;
CREATE UNIQUE INDEX event_id ON event (id, kind);
CREATE INDEX event_context ON event (context);
-- All but the calls (kind 5), which are nearly everything.
CREATE INDEX event_kind ON event (kind) WHERE kind <> 5;

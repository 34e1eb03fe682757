-- Pruning leaves one event where there were several of one kind (see rollups.py). How many it
-- stands for is a column for the sums that are made here; readers find it in the event's data.
ALTER TABLE event ADD COLUMN count INTEGER NOT NULL DEFAULT 1;

-- Sessions that were pruned, up to which event. Their calls are known one by one no more.
CREATE TABLE pruned (
    session TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each step of pruning, and the span of the log in which it moved figures to earlier events. Who
-- was reading inside of it would miss some. AUTOINCREMENT: no epoch ever comes twice.
CREATE TABLE pruning (
    epoch INTEGER PRIMARY KEY AUTOINCREMENT,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL
) STRICT;

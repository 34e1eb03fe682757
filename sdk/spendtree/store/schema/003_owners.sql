-- Who may be judged by pid: a process of the same kernel and PID namespace ("" where that is not
-- known, as in rows of older versions). Everybody else is judged by a lock that a living process
-- has on the file beside the store: which file (its inode) and which byte, "" without one.
ALTER TABLE owner ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
ALTER TABLE owner ADD COLUMN lock TEXT NOT NULL DEFAULT '';
-- Which configuration set a budget's cap: the order of its version, NULL where it had none.
ALTER TABLE account ADD COLUMN version INTEGER;
-- Processes that do not know of a budget look here, once a second, whether another one opened any.
CREATE INDEX account_payer ON account (no) WHERE kind IN ('customer', 'team');

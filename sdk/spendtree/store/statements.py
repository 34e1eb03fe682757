"""The guarded statements over a path of `count` accounts, by count. Text only."""

from functools import cache

INSERT_HOLD = (
    "INSERT INTO hold SELECT ?1,?2,?3,?4,?5,?6 "
    "WHERE NOT EXISTS (SELECT 1 FROM event WHERE id=?1 AND kind IN (5,6,9)) ON CONFLICT DO NOTHING"
)
DELETE_HOLD = "DELETE FROM hold WHERE id=?"
KNOWN_EVENT = "SELECT 1 FROM event WHERE id=? AND kind=?"
OPEN_ACCOUNT = (
    "INSERT INTO account (id, kind, session, agent, customer, team, period, cap) "
    "VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
)


BALANCE_COLUMNS = "cap, spent, presumed, held, reserved, standing, marks, passed, warn_next"
SELECT_BALANCE = f"SELECT {BALANCE_COLUMNS} FROM account WHERE no=?"
UPDATE_BALANCE = (
    "UPDATE account SET cap=?, spent=?, presumed=?, held=?, reserved=?, standing=?, passed=?, "
    "warn_next=? WHERE no=?"
)
SET_VERSION = "UPDATE account SET version=? WHERE no=?"
SELECT_VERSION = "SELECT version FROM account WHERE no=?"
SET_MARKS = "UPDATE account SET marks=?, warn_next=? WHERE no=?"
INSERT_WARNING = "INSERT INTO warning (session, account, mark, cap, used) VALUES (?,?,?,?,?)"


@cache
def hold(count: int) -> str:
    """?1 is held at every account where it is free; all rows changed = granted.

    Not where an envelope is reserved: what is free there is for the rules to say.
    """
    return (
        f"UPDATE account SET held = held + ?1 WHERE no IN ({_marks(2, count)}) AND standing = 0 "
        "AND (cap IS NULL OR ?1 <= cap - spent - presumed - held - reserved)"
    )


@cache
def settle(count: int) -> str:
    """?1 is no longer held, ?2 is spent; all rows changed = nothing else follows.

    Not where an envelope is reserved or a warning is due: the rules say what follows there.
    """
    return (
        "UPDATE account SET held = held - ?1, spent = spent + ?2 "
        f"WHERE no IN ({_marks(3, count)}) AND standing = 0 "
        "AND (warn_next IS NULL OR spent + presumed + ?2 < warn_next)"
    )


def _marks(first: int, count: int) -> str:
    return ",".join(f"?{number}" for number in range(first, first + count))

"""The guarded statements over a path of `count` accounts, by count. Text only."""

from functools import cache

INSERT_HOLD = (
    "INSERT INTO hold SELECT ?1,?2,?3,?4,?5,?6 "
    "WHERE NOT EXISTS (SELECT 1 FROM event WHERE id=?1 AND kind IN (5,6))"
)
DELETE_HOLD = "DELETE FROM hold WHERE id=?"
KNOWN_EVENT = "SELECT 1 FROM event WHERE id=? AND kind=?"
OPEN_ACCOUNT = (
    "INSERT INTO account (id, kind, session, agent, customer, team, period, cap) "
    "VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
)


@cache
def guarded_hold(count: int) -> str:
    """?1 is held at every account where it is free; all rows changed = granted."""
    return f"{hold(count)} AND (cap IS NULL OR ?1 <= cap - spent - presumed - held)"


@cache
def hold(count: int) -> str:
    """?1 is held whatever is free."""
    return f"UPDATE account SET held = held + ?1 WHERE no IN ({_marks(2, count)})"


@cache
def settle(count: int) -> str:
    """?1 is no longer held, ?2 is spent."""
    return (
        f"UPDATE account SET held = held - ?1, spent = spent + ?2 WHERE no IN ({_marks(3, count)})"
    )


@cache
def lapse(count: int) -> str:
    """?1 is no longer held but presumed."""
    return (
        "UPDATE account SET held = held - ?1, presumed = presumed + ?1 "
        f"WHERE no IN ({_marks(2, count)})"
    )


@cache
def adjust(count: int) -> str:
    """?1 is no longer presumed, ?2 is spent."""
    return (
        "UPDATE account SET presumed = presumed - ?1, spent = spent + ?2 "
        f"WHERE no IN ({_marks(3, count)})"
    )


def _marks(first: int, count: int) -> str:
    return ",".join(f"?{number}" for number in range(first, first + count))

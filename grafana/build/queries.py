"""Queries: PromQL with the dashboards' variables in it, checked against the catalogue.

A selector gets a matcher for each variable whose label its series have. Two exporters of one store
show the same: `once` takes the larger figure, before anything is added up.
"""

from spendtree.metrics import family

VARIABLES = ("customer", "team", "agent", "model")
"""Labels that a dashboard's user can choose, in the order in which choices follow."""

UNITS = ("", "_bucket", "_sum", "_count")


def select(name: str, matchers: str = "", *, suffix: str = "", skip: tuple[str, ...] = ()) -> str:
    """Return the selector of a family's series under the dashboard's variables.

    `name` is that of the catalogue, `suffix` one of a histogram's; LookupError for another.
    `skip` names variables that are not meant, although the family has their label.
    """
    found = family(name)
    assert suffix in UNITS, suffix
    return _selector(found.full_name + suffix, found.labels, matchers, skip)


TODAY = "day_of_month() == day_of_month(vector($__to / 1000))"
THIS_MONTH = "month() == month(vector($__to / 1000))"
"""Of the day and the month (UTC) in which the time that is shown ends."""

SPENDING = "customer_team_agent_level_model:spendtree_cost_usd:rate5m"
"""Cost per second by everything that can be chosen."""


def of_roles(name: str, matchers: str = "") -> str:
    """Return the selector of a family on a dashboard where only roles and models are chosen."""
    return select(name, matchers, skip=("customer", "team"))


def recorded(name: str, matchers: str = "", *, skip: tuple[str, ...] = ()) -> str:
    """Return the selector of a recording rule's series; its labels stand before the first colon."""
    level = name.partition(":")[0]
    labels = ("customer", "team") if level == "budget" else tuple(level.split("_"))
    return _selector(name, labels, matchers, skip)


def _selector(name: str, labels: tuple[str, ...], matchers: str, skip: tuple[str, ...]) -> str:
    chosen = [
        f'{label}=~"${label}"' for label in VARIABLES if label in labels and label not in skip
    ]
    inside = ", ".join([*([matchers] if matchers else []), *chosen])
    return f"{name}{{{inside}}}" if inside else name


def once(expr: str) -> str:
    """Return the larger figure of the exporters that show one store."""
    return f"max without (instance, pod) ({expr})"


def total(expr: str, by: str = "") -> str:
    """Return the sum over stores, by labels if any are named."""
    return f"sum by ({by}) ({once(expr)})" if by else f"sum({once(expr)})"


def rate(selector: str, by: str = "") -> str:
    """Return a counter's rate per second at each point of a graph."""
    return total(f"rate({selector}[$__rate_interval])", by)


def grown(selector: str, by: str = "", *, over: str = "$__range") -> str:
    """Return what a counter has grown by in the time that is shown."""
    return total(f"increase({selector}[{over}])", by)


def added_up(rate5m: str, by: str = "", *, over: str = "$__range") -> str:
    """Return what a recorded rate has come to in the time that is shown, in steps of five minutes.

    For the largest counters: no raw sample of them is read.
    """
    summed = f"300 * sum_over_time({rate5m}[{over}:5m])"
    return f"sum by ({by}) ({summed})" if by else f"sum({summed})"


def now_by(rate5m: str, by: str) -> str:
    """Return a recorded rate by labels, at each point of a graph."""
    return f"sum by ({by}) ({rate5m})"


def seen(selector: str) -> str:
    """Return the last value of session series in the time that is shown: their spend, as it ended.

    Session series are read by value, never as a rate: they begin at 0 with their session.
    """
    return once(f"last_over_time({selector}[$__range])")


def per_hour(expr: str) -> str:
    """Return dollars an hour of dollars a second."""
    return f"3600 * {expr}"


def share(part: str, whole: str) -> str:
    """Return a ratio that is not there, rather than NaN, where there is nothing to divide by."""
    return f"{part} / ({whole} > 0)"


def threshold(name: str) -> str:
    """Return the limit that the alerts compare with, by its name."""
    return f'spendtree:alert_threshold:max{{name="{name}"}}'

"""From a call to a message: what applications spend is told to whom it concerns, and only that.

Two chains of real programs run side by side for the same time, over the shipped rules, routes and
templates with an hour as a minute: one for a load that is in trouble, one for a healthy one.
"""

import re
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import pytest

from alerts.receiver import Message
from tests.alerts import loads
from tests.alerts.running import asked, until
from tests.alerts.stack import Stack, complaints, stack

Fact = tuple[str, str]
"""An alert's name and whom it is about."""

CAUSED: dict[Fact, set[str]] = {
    **{("SessionRunaway", name): {"team-search"} for name in loads.RUNAWAYS},
    ("EnvelopeExhaustionHigh", "research/extractor"): {"spend"},
    ("CostAmplificationHigh", "umbrella"): {"spend"},
    # Who routes again does so because runs fail, and what they have cost is lost.
    ("FailedRunCostHigh", "support/researcher"): {"spend"},
    ("BudgetExhausted", "acme"): {"pager", "account-acme", "spend"},
}
"""Every alert that the troubled load has to cause, and who has to be told."""

SILENCED: set[Fact] = {("BudgetNearLimit", "acme")}
"""What fires as well and is told to nobody: it follows from another alert."""

PATIENCE_SECONDS = 150.0


def fact(labels: dict[str, str]) -> Fact:
    name = labels["alertname"].removeprefix("Spendtree")
    if "session" in labels:
        return name, labels["session"]
    if "agent" in labels:
        return name, f"{labels.get('team', '')}/{labels['agent']}"
    return name, labels.get("customer", "")


def told(chain: Stack) -> dict[Fact, set[str]]:
    """Return what has been told to be firing, and to whom."""
    found: dict[Fact, set[str]] = defaultdict(set)
    for receiver, alert in chain.alerts():
        if alert["status"] == "firing":
            found[fact(alert["labels"])].add(receiver)
    return dict(found)


def over(chain: Stack) -> dict[Fact, set[str]]:
    """Return what was last told to be over, and to whom."""
    last = {
        (receiver, fact(alert["labels"])): alert["status"] for receiver, alert in chain.alerts()
    }
    found: dict[Fact, set[str]] = defaultdict(set)
    for (receiver, what), status in last.items():
        if status == "resolved":
            found[what].add(receiver)
    return dict(found)


def fired(chain: Stack) -> set[Fact]:
    """Return every alert that has fired at any time, as Prometheus itself recorded it."""
    samples = asked(chain.prometheus, 'max_over_time(ALERTS{alertstate="firing"}[1h])')
    return {fact(sample["metric"]) for sample in samples}


@pytest.mark.slow
def test_trouble_is_told_to_whom_it_concerns_until_it_is_over_and_health_to_nobody(
    tmp_path: Path,
) -> None:
    with ExitStack() as running:
        bad = running.enter_context(stack(tmp_path / "bad", loads.config(loads.BUDGET)))
        good = running.enter_context(stack(tmp_path / "good", loads.config(loads.LARGE_BUDGET)))
        healthy = loads.Healthy(good.store, loads.LARGE_BUDGET)
        healthy.start()
        running.callback(healthy.stop)

        troubled = loads.Troubled(bad.store, loads.BUDGET)
        troubled.start()
        try:
            until(
                lambda: told(bad) == CAUSED,
                what="message of everything",
                seconds=PATIENCE_SECONDS,
            )
        except AssertionError as error:
            error.add_note(f"told: {told(bad)}\nfired: {fired(bad)}")
            raise
        finally:
            troubled.stop()
        firing = [message for message in bad.texts() if message.status == "firing"]
        assert fired(bad) == CAUSED.keys() | SILENCED

        loads.raise_budget(bad.store)
        until(
            lambda: over(bad) == CAUSED,
            what="end of everything",
            seconds=PATIENCE_SECONDS,
        )

        assert told(bad) == CAUSED
        assert fired(bad) == CAUSED.keys() | SILENCED
        assert fired(good) == set()
        assert_alerts_could_have_fired(good)
        assert good.receiver.messages() == []
        assert complaints(tmp_path / "bad") + complaints(tmp_path / "good") == []

    (tmp_path / "messages.txt").write_text("\n\n\n".join(map(str, bad.texts())), "utf-8")
    assert_sessions_came_together(bad)
    assert_readable(firing)
    assert_over(bad.texts())


def assert_alerts_could_have_fired(good: Stack) -> None:
    """The healthy load was large enough for every ratio to speak, and its budget was seen."""
    for query in (
        'customer:spendtree_sessions:increase1h{customer="umbrella"} > 20',
        'team_agent_kind:spendtree_envelopes:increase1h{agent="extractor"} > 20',
        'team_agent:spendtree_runs:increase1h{agent="researcher", team="support"} > 20',
        'customer:spendtree_cost_amplification:ratio1h{customer="umbrella"} > 1',
        'budget:spendtree_budget_used:ratio{customer="acme"} > 0',
        "count(spendtree:alert_threshold:max) > 20",
    ):
        assert asked(good.prometheus, query), query


def assert_sessions_came_together(bad: Stack) -> None:
    """Sessions of one customer that run away are one group, and not a message each."""
    groups = {
        message.payload["groupKey"]
        for message in bad.receiver.messages()
        if message.door == "/webhook"
        and message.payload["commonLabels"].get("alertname") == "SpendtreeSessionRunaway"
    }
    most = max(
        len(message.payload["alerts"])
        for message in bad.receiver.messages()
        if message.door == "/webhook" and message.payload["groupKey"] in groups
    )

    assert len(groups) == 1
    assert most == len(loads.RUNAWAYS)


def text_of(messages: list[Message], channel: str, what: str) -> str:
    """Return the last message about something in a channel, as a person reads it."""
    found = [one for one in messages if one.channel == channel and what in one.title]
    assert found, f"nothing about {what!r} in {channel}"
    return f"{found[-1].title}\n{found[-1].text}"


def assert_readable(messages: list[Message]) -> None:
    """Each says what, who, how much and how fast, what to do and where to look."""
    for message in messages:
        everything = f"{message.title}\n{message.text}"
        assert re.search(r"^\[(CRITICAL|WARNING)\] \w+", message.title), everything
        assert re.search(r"\$\d|\d%|\d times", message.text), f"no number in {everything}"
        assert "To do: " in message.text, everything
        assert "follow its runbook" not in message.text, everything
        assert re.search(r"Dashboard: http://\S+/d/spendtree-\w+", message.text), everything
        assert re.search(r"Runbook: https://\S+/Spendtree\w+\.md", message.text), everything
        assert not re.search(r"%!|<no value>|\{\{|<error|NaN|Inf", everything), everything

    budget = text_of(messages, "#pager", "budget is exhausted")
    assert budget.startswith("[CRITICAL] A budget is exhausted · acme")
    assert "customer acme" in budget
    assert "100%" in budget
    assert "$1.00 of $1.00" in budget

    runaway = text_of(messages, "#team-search", "session")
    assert "globex · team search" in runaway
    assert all(f"session {name}" in runaway for name in loads.RUNAWAYS)
    assert all(f"spendtree tree {name}" in runaway for name in loads.RUNAWAYS)
    assert "$0.300, 5.0 times" in runaway

    amplified = text_of(messages, "#spend", "Routing again")
    assert "customer umbrella" in amplified
    times = re.search(r"cost (\d\.\d) times", amplified)
    assert times, amplified
    assert 2 < float(times[1]) < 4  # three cycles cost three times one, by rates over five seconds

    envelope = text_of(messages, "#spend", "envelope")
    assert "team research, agent extractor" in envelope
    assert "100%" in envelope


def assert_over(messages: list[Message]) -> None:
    """The last word in every channel is that it is over."""
    last: dict[tuple[str, str], Message] = {}
    for message in messages:
        what = re.sub(r"^\[\w+\] | \(.*\)$", "", message.title)
        last[message.channel, what] = message

    assert {one.status for one in last.values()} == {"resolved"}
    assert all("over at" in one.text for one in last.values())

"""Every alert has a runbook that somebody can act on, with queries and commands that work."""

import re
from pathlib import Path

import promql_parser as promql
import pytest

from tests.alerts.promql import ALERTS, alerts, labels_of, matchers, produced, selectors
from tests.test_docs import FENCE, LINK, blocks, commands, usage

RUNBOOKS = sorted((ALERTS / "runbooks").glob("*.md"))

each_runbook = pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)


def queries(page: Path) -> list[str]:
    return [line for block in blocks(page, "promql") for line in block.splitlines()]


def test_every_alert_has_its_runbook_and_no_runbook_is_left_over() -> None:
    assert {page.stem for page in RUNBOOKS} == {rule["alert"] for rule in alerts()}


@each_runbook
def test_a_runbook_has_its_four_parts_and_something_in_each(page: Path) -> None:
    text = page.read_text("utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)

    assert parts[0].strip() == f"# {page.stem}"
    assert parts[1::2] == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert all(len(part.strip()) > 40 for part in parts[2::2])
    assert parts[-1].strip().startswith("- ")


@each_runbook
def test_queries_of_a_runbook_can_be_pasted(page: Path) -> None:
    assert queries(page)
    for query in queries(page):
        expr = promql.parse(query)
        for selector in selectors(expr):
            if selector.name:
                asked = {matcher.name for matcher in matchers(selector)}
                assert asked <= labels_of(selector.name), query
        if "__name__" not in query:
            produced(expr)


@each_runbook
def test_commands_of_a_runbook_exist_with_their_options(page: Path) -> None:
    for command in commands(page, "spendtree"):
        known = usage("spendtree", command[1])
        for option in [word for word in command[1:] if word.startswith("--")]:
            assert re.search(rf"{option}\b", known), " ".join(command)


@each_runbook
def test_links_of_a_runbook_lead_to_runbooks(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        assert (page.parent / link).exists(), link

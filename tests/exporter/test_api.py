"""The JSON API over real HTTP: what it answers, in which order, and how it refuses."""

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from spendtree.account import session_account
from spendtree.errors import StoreUnavailableError
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.store import Store, open_store
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.serve import serving

SECOND = 1_000_000
T0 = 1_760_000_000 * SECOND
"""2025-10-09T08:53:20Z, when the first session starts."""

PICO = 10**12


def book(
    store: Store, name: str, start: int, costs: dict[str, int], *, status: str = "succeeded",
    customer: str = "acme", team: str = "search",
) -> None:  # fmt: skip
    """Record a session with one call of each agent, one second apart."""
    account = session_account(name)
    top = Context(name, customer, team, path=(account.id,))
    id = derived_id("session", name)
    events = [Event(0, Kind.SESSION_OPENED, start, id, top, started=start)]
    for number, (agent, cost) in enumerate(costs.items()):
        run = derived_id("run", name, agent)
        own = top._replace(agent=agent, run=run.hex(), level=1)
        at = start + number * SECOND
        events.append(Event(0, Kind.RUN_OPENED, at, run, own, started=at, data={"task": "<b>x"}))
        call = derived_id("call", name, agent)
        model = Request("openai", "gpt-4o")
        events.append(
            Event(
                0, Kind.CALL, at + 1, call, own, model, cost, cost, 100, 10, status="ok", started=at
            )
        )
        events.append(Event(0, Kind.RUN_CLOSED, at + 2, run, own, cost=cost, status="failed"))
    if status != "open":
        end = start + 60 * SECOND
        events.append(Event(0, Kind.SESSION_CLOSED, end, id, top, status=status))
    store.load([account], events)


ODD = 'a/b ?#%<script>"\n\ud800ü'
"""A session's id as nobody should choose it, but somebody may."""


def fill(store: Store) -> None:
    for number in range(25):
        book(
            store,
            f"s-{number:02d}",
            T0 + number * 60 * SECOND,
            {"coordinator": (number % 7) * PICO, "researcher": PICO // 3},
            customer=f"customer-{number % 3}",
            team=("search", "legal")[number % 2],
            status=("succeeded", "failed", "open")[number % 3],
        )
    book(store, ODD, T0 - 60 * SECOND, {"coordinator": 5}, customer="")
    lost = Event(
        0, Kind.CALL, T0, b"l" * 16, Context(), Request("", "m"), 7 * PICO, status="ok", started=T0
    )
    store.load([], [lost])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('api')}/spend.db")
    fill(store)
    # The open sessions are long idle, and shall stay open all the same.
    with (
        serving(create_app(store, session_idle_seconds=10**9)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client
    store.close()


def told(api: httpx.Client, path: str, **parameters: str) -> Any:
    answer = api.get(f"/api/v1/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def refused(api: httpx.Client, path: str, code: int, **parameters: str) -> str:
    answer = api.get(f"/api/v1/{path}", params=parameters)
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == code
    return str(body["detail"])


def names(page: Any) -> list[str]:
    return [row["session"] for row in page["sessions"]]


def test_sessions_stand_latest_first_with_their_sums(api: httpx.Client) -> None:
    page = told(api, "sessions", limit="2")

    assert names(page) == ["s-24", "s-23"]
    first = page["sessions"][0]
    assert first["customer"] == "customer-0"
    assert first["status"] == "succeeded"
    assert first["started"] == "2025-10-09T09:17:20Z"
    assert first["calls"] == 2
    assert first["input_tokens"] == 200
    assert first["cost_usd"] == "3.333333333333"
    assert Decimal(first["cost_usd"]) == 3 + Decimal(PICO // 3) / PICO


@pytest.mark.parametrize("sort", ["-started", "started", "-cost", "cost"])
def test_pages_follow_each_other_without_gap_or_repetition(api: httpx.Client, sort: str) -> None:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = told(api, "sessions", sort=sort, limit="7", **after)
        found += page["sessions"]
        if page["next"] is None:
            break
        assert len(page["sessions"]) == 7
        after = {"after": page["next"]}

    assert len(found) == 26
    assert len({row["session"] for row in found}) == 26
    key = "cost_usd" if "cost" in sort else "started"
    values = [Decimal(row[key]) if key == "cost_usd" else row[key] for row in found]
    assert values == sorted(values, reverse=sort.startswith("-"))


def test_a_page_goes_on_where_the_last_one_ended_whatever_came_meanwhile() -> None:
    store = MemoryStore()
    for number in range(4):
        book(store, f"s-{number}", T0 + number * SECOND, {"a": 1})
    with serving(create_app(store)) as url, httpx.Client(base_url=url) as api:
        first = told(api, "sessions", limit="2")
        book(store, "newer", T0 + 9 * SECOND, {"a": 1})
        second = told(api, "sessions", limit="2", after=first["next"])

    assert names(first) + names(second) == ["s-3", "s-2", "s-1", "s-0"]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"customer": "customer-1"}, 8),
        ({"customer": ""}, 1),
        ({"team": "legal"}, 12),
        ({"status": "open"}, 8),
        ({"agent": "researcher"}, 25),
        ({"agent": "nobody"}, 0),
        ({"from": "2025-10-09T08:53:20Z", "to": "2025-10-09T08:55:20Z"}, 2),
        ({"from": "2025-10-09T10:53:20+02:00"}, 25),
        ({"from": "2025-10-10"}, 0),
        ({"customer": "customer-0", "team": "search", "status": "succeeded"}, 5),
    ],
)
def test_sessions_are_filtered(api: httpx.Client, filters: dict[str, str], count: int) -> None:
    assert len(told(api, "sessions", **filters)["sessions"]) == count


def test_one_session_is_told_with_its_agents_and_with_its_tree(api: httpx.Client) -> None:
    session, tree = told(api, "sessions/s-03"), told(api, "sessions/s-03/tree")

    assert session["agents"] == {"coordinator": "3", "researcher": "0.333333333333"}
    assert session["totals"]["cost_usd"] == "3.333333333333"
    assert "roots" not in session
    roots = tree.pop("roots")
    assert tree == session
    assert [(root["agent"], root["own"]["cost_usd"], root["status"]) for root in roots] == [
        ("coordinator", "3", "failed"),
        ("researcher", "0.333333333333", "failed"),
    ]


def test_an_id_may_hold_any_character() -> None:
    store = MemoryStore()
    book(store, "a/b ?#%<x>\nü/tree", T0, {"coordinator": 5})
    with serving(create_app(store)) as url, httpx.Client(base_url=url) as api:
        id = quote("a/b ?#%<x>\nü/tree", safe="")
        assert told(api, f"sessions/{id}")["session"] == "a/b ?#%<x>\nü/tree"
        assert told(api, f"sessions/{id}/tree")["roots"][0]["agent"] == "coordinator"


def test_an_id_that_is_no_unicode_is_listed_all_the_same(api: httpx.Client) -> None:
    (last,) = told(api, "sessions", sort="started", limit="1")["sessions"]

    assert last["session"].startswith('a/b ?#%<script>"\n')
    assert told(api, f"sessions/{quote(last['session'], safe='')}")["customer"] == ""


def test_costs_add_up_to_the_ledger_by_any_dimensions(api: httpx.Client) -> None:
    ledger = sum(n % 7 for n in range(25)) + 7 + 25 * (Decimal(PICO // 3) / PICO)
    ledger += Decimal(5) / PICO
    for by in ("customer", "customer,agent", "team,level,routing_cycle", "session"):
        costs = told(api, "costs", by=by)
        assert costs["by"] == by.split(",")
        assert Decimal(costs["total"]["cost_usd"]) == ledger
        assert sum(Decimal(group["cost_usd"]) for group in costs["groups"]) == ledger
        assert sum(group["calls"] for group in costs["groups"]) == costs["total"]["calls"] == 52

    first = told(api, "costs", by="customer,agent")["groups"][0]
    assert (first["customer"], first["agent"]) == ("customer-0", "coordinator")


def test_costs_of_a_span_of_time_are_exact_also_within_a_session(api: httpx.Client) -> None:
    """Session s-03 starts at 08:56:20 with its coordinator; its researcher calls a second later."""
    whole = told(
        api, "costs", by="agent", **{"from": "2025-10-09T08:56:20Z", "to": "2025-10-09T08:57:20Z"}
    )
    part = told(
        api, "costs", by="agent", **{"from": "2025-10-09T08:56:20Z", "to": "2025-10-09T08:56:21Z"}
    )
    rest = told(api, "costs", by="agent", **{"from": "2025-10-09T08:56:21Z"})
    before = told(api, "costs", by="agent", to="2025-10-09T08:56:21Z")
    everything = told(api, "costs", by="agent")

    assert whole["total"]["cost_usd"] == "3.333333333333"
    assert whole["from"] == "2025-10-09T08:56:20Z"
    assert [(g["agent"], g["cost_usd"]) for g in part["groups"]] == [("coordinator", "3")]
    total = Decimal(everything["total"]["cost_usd"])
    parts = [Decimal(each["total"]["cost_usd"]) for each in (rest, before)]
    assert sum(parts) == total
    assert all(parts)


def test_a_span_of_time_cuts_through_one_run() -> None:
    store = MemoryStore()
    account = session_account("s")
    context = Context("s", "acme", agent="a", path=(account.id,))
    calls = [
        Event(
            0, Kind.CALL, T0 + n * SECOND + 5, bytes([n] * 16), context, Request("", "m"), 10**n,
            status="ok", started=T0 + n * SECOND,
        )
        for n in range(5)
    ]  # fmt: skip
    store.load([account], calls)
    with serving(create_app(store)) as url, httpx.Client(base_url=url) as api:
        bounds = {"from": "2025-10-09T08:53:21Z", "to": "2025-10-09T08:53:23.000001Z"}
        costs = told(api, "costs", by="agent", **bounds)

    assert costs["total"]["calls"] == 3
    assert Decimal(costs["total"]["cost_usd"]) * PICO == 1110


def test_groups_beyond_the_limit_are_left_out_and_still_in_the_total(api: httpx.Client) -> None:
    short, whole = told(api, "costs", by="session", limit="3"), told(api, "costs", by="session")

    assert short["truncated"]
    assert not whole["truncated"]
    assert short["groups"] == whole["groups"][:3]
    assert short["total"] == whole["total"]


@pytest.mark.parametrize(
    ("path", "parameters", "reason"),
    [
        ("sessions", {"limit": "0"}, "between 1 and 1000"),
        ("sessions", {"limit": "1001"}, "between 1 and 1000"),
        ("sessions", {"limit": "9" * 5000}, "between 1 and 1000"),
        ("sessions", {"limit": "²"}, "not a whole number"),
        ("sessions", {"sort": "name"}, "none of -started"),
        ("sessions", {"status": "asleep"}, "none of open"),
        ("sessions", {"from": "yesterday"}, "2026-01-31T12:00:00Z"),
        ("sessions", {"from": "2025-13-01"}, "is no time"),
        ("sessions", {"from": "2025-10-09T00:00:00"}, "is no time"),
        ("sessions", {"to": ""}, "is no time"),
        ("sessions", {"after": "x"}, "is no cursor"),
        ("sessions", {"after": "W10"}, "is no cursor"),
        ("sessions", {"after": "ü"}, "is no cursor"),
        ("sessions", {"color": "red"}, "no parameter 'color'"),
        ("sessions/s-00", {"color": "red"}, "known: none"),
        ("costs", {}, "none of customer"),
        ("costs", {"by": "customer,price"}, "'price'"),
        ("costs", {"by": "agent,agent"}, "twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(
    api: httpx.Client, path: str, parameters: dict[str, str], reason: str
) -> None:
    assert reason in refused(api, path, 422, **parameters)


def test_a_parameter_given_twice_is_refused(api: httpx.Client) -> None:
    answer = api.get("/api/v1/sessions?limit=1&limit=2")

    assert answer.status_code == 422
    assert "more than once" in answer.json()["detail"]


def test_a_cursor_of_another_order_is_refused(api: httpx.Client) -> None:
    page = told(api, "sessions", sort="cost", limit="1")

    assert "sorted by 'cost'" in refused(api, "sessions", 422, sort="-cost", after=page["next"])


@pytest.mark.parametrize(
    "path",
    ["sessions/nobody", "sessions/", "sessions/s-00/leaves", "nothing", "sessions/nobody/tree"],
)
def test_what_is_not_there_is_a_404_with_the_reason(api: httpx.Client, path: str) -> None:
    assert refused(api, path, 404)


def test_another_method_is_refused_with_those_there_are(api: httpx.Client) -> None:
    answer = api.post("/api/v1/sessions")

    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert answer.headers["content-type"] == "application/problem+json"


class Away(MemoryStore):
    """A store that cannot be read."""

    def totals(self, session: str | None = None) -> Any:
        raise StoreUnavailableError("the disk is away")

    def events(self, **_: Any) -> Iterator[Event]:
        raise StoreUnavailableError("the disk is away")


@pytest.mark.parametrize("path", ["sessions", "sessions/x", "sessions/x/tree", "costs?by=team"])
def test_a_store_out_of_reach_is_a_503_with_the_reason(path: str) -> None:
    with serving(create_app(Away())) as url:
        answer = httpx.get(f"{url}/api/v1/{path}")

    assert answer.status_code == 503
    assert answer.json()["detail"] == "the disk is away"
    assert answer.headers["retry-after"] == "5"


def test_the_api_describes_itself(api: httpx.Client) -> None:
    document = told(api, "openapi.json")

    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/api/v1/sessions",
        "/api/v1/sessions/{id}",
        "/api/v1/sessions/{id}/tree",
        "/api/v1/costs",
        "/api/v1/openapi.json",
    }


FUZZED = {
    # `after` is opaque: of the texts that its pattern admits, nearly all are no cursor.
    "sessions": (
        "--include-path=/api/v1/sessions",
        "--phases=examples,coverage,fuzzing",
        "--exclude-checks=positive_data_acceptance",
    ),
    "the others": ("--exclude-path=/api/v1/sessions", "--phases=examples,coverage,fuzzing"),
    "links": ("--phases=stateful", "--exclude-checks=positive_data_acceptance"),
}


@pytest.mark.slow
@pytest.mark.parametrize("flags", FUZZED.values(), ids=FUZZED)
def test_a_fuzzer_finds_nothing_that_the_description_does_not_say(
    api: httpx.Client, flags: tuple[str, ...], tmp_path: Path
) -> None:
    pytest.importorskip("schemathesis", reason="pip install schemathesis")
    code = "from schemathesis.cli import schemathesis; schemathesis()"
    result = subprocess.run(
        [
            *(sys.executable, "-c", code, "run", f"{api.base_url}/api/v1/openapi.json"),
            *("--max-examples=40", "--generation-database=none", "--seed=1", "--no-color"),
            *("--warnings=off", *flags),
        ],
        cwd=tmp_path,  # it writes what it found where it runs
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stdout[-6_000:] + result.stderr[-2_000:]
    assert "generated" in result.stdout


def test_the_description_is_json_that_a_reader_can_follow() -> None:
    """Every $ref names a schema that is there, and every schema is used."""
    from importlib.resources import files  # noqa: PLC0415

    text = files("spendtree_exporter").joinpath("openapi.json").read_text("utf-8")
    schemas = {f"#/components/schemas/{name}" for name in json.loads(text)["components"]["schemas"]}
    used = {line.split('"')[3] for line in text.splitlines() if '"$ref"' in line}
    assert used == schemas

"""Files that people have: what `import` makes of each, against what is right by its provider.

The files are kept beside the repository. For each: sessions, calls, the cost of all calls in
dollars, and what else must be so.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from spendtree.event import Event, Kind
from spendtree.ingest import ImportReport, import_files
from spendtree.money import to_usd
from spendtree.pricing import PriceBook
from spendtree.store import Store, open_store
from spendtree.usage import Usage

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cases" / "import"

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason=f"needs the case files in {CASES}, kept beside the repository"
)

PRICES = PriceBook()

Check = Callable[[list[Event]], bool]


class Right(NamedTuple):
    """What is right: `cost_usd` None is unpriced; `problems` are lines on what was not read."""

    sessions: int
    calls: int
    cost_usd: str | None
    check: Check = lambda calls: True
    problems: int = 0


def usage(*expected: Usage) -> Check:
    return lambda calls: [event.usage for event in calls] == list(expected)


def answered(*models: str) -> Check:
    return lambda calls: [(event.data or {}).get("answered_by", "") for event in calls] == [*models]


def agents(*names: str) -> Check:
    return lambda calls: sorted({event.context.agent for event in calls}) == sorted(names)


def stated(calls: list[Event]) -> bool:
    return all("stated_cost" in event.marks for event in calls)


ONE = Right(1, 1, "0.0035", usage(Usage(1000, 100)))
"""A thousand tokens into gpt-4o and a hundred out."""

RIGHT = {
    "otlp_semconv_cache_write.json": Right(
        1, 1, "0.12603", usage(Usage(10, 400, cache_write_tokens=32_000))
    ),
    "otlp_claude_code.json": Right(
        1,
        1,
        "0.03755",
        usage(Usage(10, 400, cache_read_tokens=30_000, cache_write_tokens=2_000)),
    ),
    "otlp_azure_deploy.json": Right(1, 1, "0.0035", answered("gpt-4o-2024-08-06")),
    "otlp_bedrock_arn.json": Right(
        1, 1, "0.00495", answered("us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    ),
    "otlp_fallback_model.json": Right(
        1, 2, "0.00471", answered("anthropic/claude-sonnet-4.5", "gpt-4o-mini-2024-07-18")
    ),
    "otlp_response_model.json": Right(
        4,
        4,
        "2.95",
        answered("gpt-4o-2024-08-06", "openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18", ""),
    ),
    "otlp_tier.json": Right(1, 1, "0.01625", lambda calls: calls[0].data == {"served": ["flex"]}),
    "otlp_litellm.json": Right(1, 1, "0.21836925"),
    "otlp_same_response_two_traces.json": ONE,
    "langfuse_1h.json": Right(
        1,
        1,
        "0.02703",
        usage(Usage(10, 400, cache_read_tokens=30_000, cache_write_1h_tokens=2_000)),
    ),
    "langfuse_audio.json": Right(
        1, 1, "0.0847", usage(Usage(200, 100, units={"input_audio": 800, "output_audio": 900}))
    ),
    "langfuse_api_page.json": ONE,
    "langfuse_blob_observations.jsonl": ONE,
    "langfuse_v2_one_observation.json": Right(1, 1, "0.00027"),
    "langfuse_custom_price.json": Right(1, 1, "0.0035", stated),
    "langfuse_cost_only.json": Right(1, 1, "0.006", stated),
    "phoenix_nested.json": ONE,
    "trail_nested.json": Right(1, 4, "0.0363671", agents("", "CodeAgent.run")),
    "mlflow3_trace.json": Right(1, 1, "0.005182", agents("predict")),
    "langsmith_runs.jsonl": ONE,
    "litellm_spend_logs.json": Right(
        1, 1, "0.0105", lambda calls: calls[0].context[1:3] == ("acme", "t1")
    ),
    "openai_agents_export.jsonl": Right(1, 1, "0.006", agents("researcher")),
    "tempo_v1.json": ONE,
    "copilot_otel.jsonl": Right(
        1,
        2,
        "0.12675765",
        usage(
            Usage(19_304, 281, cache_read_tokens=123, cache_write_tokens=25, reasoning_tokens=128),
            Usage(20_000, 300),
        ),
    ),
    "gemini_cli_telemetry.log": Right(
        1, 1, "0.0035375", usage(Usage(800, 250, cache_read_tokens=300, reasoning_tokens=200))
    ),
    "claude_code_otlp_logs.json": Right(
        1, 1, "0.015036", lambda calls: (calls[0].data or {})["stated_difference"] == -36_000_000
    ),
    "claude_code.jsonl": Right(1, 2, "0.05406", agents("claude-code", "subagent")),
    "claude_code_transcript_head.jsonl": Right(
        1, 7, "0.09693525", lambda calls: [e.output_tokens for e in calls][:2] == [172, 1]
    ),
    # Two of its lines were cut off, and with them the model.
    "codex_rollout_head.jsonl": Right(
        1,
        1,
        None,
        usage(Usage(39_316, 204, cache_read_tokens=3_456, reasoning_tokens=124)),
        problems=1,
    ),
    "compact_1h.jsonl": Right(
        6,
        6,
        "0.409324",
        lambda calls: (
            len({event.cost for event in calls[:4]}) == 1 and not any(e.marks for e in calls)
        ),
    ),
    "vertex_thinking_in_total.json": Right(
        1, 1, "0.0050465", lambda calls: (calls[0].data or {})["unread"] == {"total": 2023}
    ),
    "logfire_rows.jsonl": ONE,
    "sdk_attrs_as_string.json": ONE,
}


def imported(*paths: Path) -> tuple[Store, ImportReport]:
    store = open_store("memory:")
    return store, import_files(store, paths, prices=PRICES)


@pytest.mark.parametrize("name", RIGHT)
def test_a_file_is_read_as_it_is_right(name: str) -> None:
    right = RIGHT[name]

    store, report = imported(CASES / name)

    calls = list(store.events(kinds={Kind.CALL, Kind.LAPSE}))
    assert (report.sessions, report.calls, len(calls)) == (right.sessions, right.calls, right.calls)
    costs = [event.cost for event in calls]
    if right.cost_usd is None:
        assert costs == [None] * len(calls)
    else:
        assert sum(to_usd(cost) for cost in costs if cost is not None) == Decimal(right.cost_usd)
    assert right.check(calls), [(event.usage, event.data) for event in calls]
    assert len(report.problems) == right.problems


def test_every_file_of_the_folder_is_tried() -> None:
    assert {path.name for path in CASES.iterdir()} == set(RIGHT)


@pytest.mark.parametrize("name", RIGHT)
def test_importing_a_file_again_changes_nothing(name: str) -> None:
    store, _ = imported(CASES / name)
    again = import_files(store, [CASES / name], prices=PRICES)
    assert again.new_events == 0

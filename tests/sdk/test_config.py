import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendtree.config import (
    AgentSettings,
    Config,
    ContractSettings,
    MetricsSettings,
    PayerSettings,
    PeriodSettings,
    SessionSettings,
    Step,
    load_config,
)
from spendtree.config.describing import describe
from spendtree.config.loading import AGENT, PAYER, PERIOD, SECTIONS, SESSION
from spendtree.config.sections import CONTRACT, METRICS
from spendtree.errors import ConfigurationError

WHOLE = """
mode: warn
busy_timeout_seconds: 2.5
session:
  ceiling_usd: 0.10
  warn_at: [0.9, 0.5]
agents:
  coordinator: {envelope_usd: "0.05", max_output_tokens: 4000}
  on:
    max_cost_usd: 1e-3
prices:
  own-model:
    input_usd_per_mtok: 3
    output_usd_per_mtok: 15.0
    provider: acme
"""

EVERYTHING = """
modes: {customer: warn, run: record}
session: {min_cost_usd: 0.002}
agents:
  coordinator: {envelope_usd: 0.05, reserved: true, policy: careful}
  researcher:
    max_cost_usd: 0.06
    min_cost_usd: 0.005
    warn_at: [0.9, 0.5]
    policy: [{clamp: {floor: 64}}, skip]
    on_exhausted: skip
    contract: {output_tokens: {min: 50, max: 800}, mode: truncate}
customers:
  acme: {budgets_usd: {day: 5, month: 100}, mode: record, warn_at: 0.75}
teams:
  search: {budgets_usd: {week: 20.50}}
periods:
  day: {customer_usd: 1}
  month: {customer_usd: 10, team_usd: 1000}
policies:
  careful:
    - wait: {seconds: 5}
    - refuse
metrics: {max_customers: 500, linger_seconds: 60}
"""

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> str:
        path = tmp_path / "spendtree.yaml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def refusal(source: Any) -> str:
    """Return the message, without the directory of the file."""
    with pytest.raises(ConfigurationError) as caught:
        load_config(source)
    text = str(caught.value)
    return text[text.index("spendtree.yaml") :] if "spendtree.yaml" in text else text


def test_nothing_configured_is_every_default() -> None:
    assert load_config(None) == load_config({}) == Config()
    assert Config().mode == "enforce"
    assert Config().session == SessionSettings(ceiling_usd=None, warn_at=(Decimal("0.8"),))
    assert Config().busy_timeout_seconds == 30


def test_an_empty_file_and_empty_sections_are_every_default(write: Write) -> None:
    assert load_config(write("# nothing yet\n")) == Config()
    assert load_config(write("session:\nagents:\nprices:\n")) == Config()


def test_a_file_is_read_into_typed_values(write: Write) -> None:
    config = load_config(Path(write(WHOLE)))

    assert config.mode == "warn"
    assert config.busy_timeout_seconds == 2.5
    assert config.session.ceiling_usd == Decimal("0.10")
    assert config.session.warn_at == (Decimal("0.5"), Decimal("0.9"))
    assert config.agents == {
        "coordinator": AgentSettings(envelope_usd=Decimal("0.05"), max_output_tokens=4000),
        "on": AgentSettings(max_cost_usd=Decimal("0.001")),
    }


def test_scalars_of_a_file_stay_the_text_that_stands_there(write: Write) -> None:
    config = load_config(write(WHOLE))

    assert config.prices["own-model"] == {
        "input_usd_per_mtok": "3",
        "output_usd_per_mtok": "15.0",
        "provider": "acme",
    }


def test_a_mapping_may_hold_numbers_as_python_has_them() -> None:
    config = load_config(
        {
            "session": {"ceiling_usd": 0.1, "warn_at": 0.75},
            "agents": {"a": {"max_output_tokens": 10, "max_cost_usd": Decimal("0.2")}},
            "busy_timeout_seconds": 0,
        }
    )

    assert config.session == SessionSettings(ceiling_usd=Decimal("0.1"), warn_at=(Decimal("0.75"),))
    assert config.agents["a"] == AgentSettings(max_cost_usd=Decimal("0.2"), max_output_tokens=10)
    assert config.busy_timeout_seconds == 0


def test_every_section_is_read_into_typed_values(write: Write) -> None:
    config = load_config(write(EVERYTHING))

    assert config.modes == {"customer": "warn", "run": "record"}
    assert config.session.min_cost_usd == Decimal("0.002")
    assert config.agents["coordinator"] == AgentSettings(
        envelope_usd=Decimal("0.05"), reserved=True, policy="careful"
    )
    assert config.agents["researcher"] == AgentSettings(
        max_cost_usd=Decimal("0.06"),
        min_cost_usd=Decimal("0.005"),
        warn_at=(Decimal("0.5"), Decimal("0.9")),
        policy=(Step("clamp", floor=64), Step("skip")),
        on_exhausted="skip",
        contract=ContractSettings(min_output_tokens=50, max_output_tokens=800, mode="truncate"),
    )
    assert config.customers["acme"] == PayerSettings(
        budgets_usd={"day": Decimal(5), "month": Decimal(100)},
        mode="record",
        warn_at=(Decimal("0.75"),),
    )
    assert config.teams == {"search": PayerSettings(budgets_usd={"week": Decimal("20.50")})}
    assert config.periods == {
        "day": PeriodSettings(customer_usd=Decimal(1)),
        "month": PeriodSettings(customer_usd=Decimal(10), team_usd=Decimal(1000)),
    }
    assert config.policies == {"careful": (Step("wait", seconds=5.0), Step("refuse"))}
    assert config.metrics == MetricsSettings(max_customers=500, linger_seconds=60.0)


def test_every_value_is_frozen_and_slotted() -> None:
    for kind in (
        AgentSettings,
        Config,
        ContractSettings,
        MetricsSettings,
        PayerSettings,
        PeriodSettings,
        SessionSettings,
    ):
        made = kind()
        assert not hasattr(made, "__dict__")
        with pytest.raises(FrozenInstanceError):
            setattr(made, fields(made)[0].name, None)


def test_a_role_that_is_not_configured_has_no_limits(write: Write) -> None:
    config = load_config(write(WHOLE))

    assert config.agent("coordinator") is config.agents["coordinator"]
    assert config.agent("stranger") == AgentSettings()


def test_anchors_may_be_reused(write: Write) -> None:
    config = load_config(write("agents:\n  a: &small {envelope_usd: 0.01}\n  b: *small\n"))

    assert config.agents["a"] == config.agents["b"] == AgentSettings(envelope_usd=Decimal("0.01"))


def test_a_mapping_is_not_changed_and_later_changes_of_it_change_nothing() -> None:
    prices = {"m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}}

    config = load_config({"prices": prices})
    prices["m"]["input_usd_per_mtok"] = "9"

    assert config.prices["m"]["input_usd_per_mtok"] == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "session:\n\n  ceiling_usd: abc\n",
            "spendtree.yaml:3: session.ceiling_usd: 'abc' is no amount of dollars; ",
        ),
        (
            "session: {ceiling_usd: -1}",
            "spendtree.yaml:1: session.ceiling_usd: '-1' is negative; "
            "amounts of dollars are 0 or more",
        ),
        (
            "session: {ceiling_usd: .nan}",
            "spendtree.yaml:1: session.ceiling_usd: '.nan' is no amount of dollars; ",
        ),
        (
            "session:\n  ceiling_usd:\n",
            "spendtree.yaml:2: session.ceiling_usd: is empty; give an amount of dollars, "
            "or leave the key out",
        ),
        (
            "session:\n  cieling_usd: 1\n",
            "spendtree.yaml:2: session.cieling_usd: unknown key; did you mean 'ceiling_usd'?",
        ),
        (
            "session:\n  ceiling_usd: 1\n  ceiling_usd: 2\n",
            "spendtree.yaml:3: session.ceiling_usd: is given twice, first on line 2",
        ),
        (
            "colour: red\n",
            "spendtree.yaml:1: colour: unknown key; allowed are mode, modes, busy_timeout_seconds, "
            "session, agents, customers, teams, periods, plans, policies, prices, metrics, alerts",
        ),
        ("session: 5\n", "spendtree.yaml:1: session: '5' is no mapping of ceiling_usd, warn_at"),
        ("- mode\n", "spendtree.yaml:1: ['mode'] is no mapping of mode, modes"),
        (
            "modes: {sesion: warn}",
            "spendtree.yaml:1: modes.sesion: unknown key; did you mean 'session'?",
        ),
        (
            "agents:\n  a:\n    reserved: yes\n",
            "spendtree.yaml:3: agents.a.reserved: 'yes' is neither true nor false",
        ),
        (
            "agents: {a: {on_exhausted: stop}}",
            "spendtree.yaml:1: agents.a.on_exhausted: 'stop' is none of raise, skip",
        ),
        ('agents: {"": {}}', 'spendtree.yaml:1: agents."": a name is empty'),
        (
            "customers:\n  acme:\n    budgets_usd: {year: 5}\n",
            "spendtree.yaml:3: customers.acme.budgets_usd.year: unknown key; "
            "allowed are day, week, month",
        ),
        (
            "customers: {acme: {budgets_usd: 5}}",
            "spendtree.yaml:1: customers.acme.budgets_usd: '5' is no mapping of day, week, month",
        ),
        (
            "periods: {day: {customers_usd: 5}}",
            "spendtree.yaml:1: periods.day.customers_usd: unknown key; "
            "did you mean 'customer_usd'?",
        ),
        (
            "agents:\n  a:\n    policy: carefull\npolicies:\n  careful: [wait]\n",
            "spendtree.yaml:3: agents.a.policy: 'carefull' is no policy; did you mean 'careful'?",
        ),
        (
            "agents: {a: {policy: clamp}}",
            "spendtree.yaml:1: agents.a.policy: 'clamp' is no policy; "
            "for this one step write [clamp]",
        ),
        (
            "agents: {a: {policy: cheap}}",
            "spendtree.yaml:1: agents.a.policy: 'cheap' is no policy; "
            "there is none under `policies`",
        ),
        ("mode: off\n", "spendtree.yaml:1: mode: 'off' is none of record, warn, enforce"),
        ("mode: [warn]\n", "spendtree.yaml:1: mode: ['warn'] is none of record, warn, enforce"),
        (
            "agents:\n  a b:\n    max_output_tokens: 1.5\n",
            "spendtree.yaml:3: agents.\"a b\".max_output_tokens: '1.5' is no count of tokens; "
            "give a whole number from 1",
        ),
        (
            "session:\n  warn_at:\n  - 0.8\n  - 80\n",
            "spendtree.yaml:4: session.warn_at.1: '80' is no fraction of the cap; "
            "give a number above 0, at most 1",
        ),
        (
            "session: {warn_at: [0.8, 0.80]}",
            "spendtree.yaml:1: session.warn_at.1: '0.80' is given twice",
        ),
        (
            "busy_timeout_seconds: soon",
            "spendtree.yaml:1: busy_timeout_seconds: 'soon' is not a number of seconds",
        ),
        (
            "busy_timeout_seconds: -1",
            "spendtree.yaml:1: busy_timeout_seconds: '-1' is no number of seconds; give 0 or more",
        ),
        (
            "alerts: {thresholds: {cost_amplification_ratio: 1e30}}",
            "spendtree.yaml:1: alerts.thresholds.cost_amplification_ratio: '1e30' is too large; "
            "give at most 1000000000000000",
        ),
        (
            "metrics: {linger_seconds: 1e308}",
            "spendtree.yaml:1: metrics.linger_seconds: '1e308' is too many seconds; "
            "give at most 1000000000",
        ),
        (
            "mode: !secret warn",
            "spendtree.yaml:1: mode: the tag !secret is not understood, only plain values are",
        ),
        ("agents: &a\n  b: *a\n", "spendtree.yaml:2: agents.b: contains itself"),
        ("agents:\n  <<: {}\n", "spendtree.yaml:2: agents: merge keys (<<) are not understood"),
        ("agents:\n  [a]: {}\n", "spendtree.yaml:2: agents: a key is no text"),
        ("mode: warn\n mode: x\n", "spendtree.yaml:2: is no YAML: mapping values are not allowed"),
        ("agents: " + "[" * 5000 + "]" * 5000, "spendtree.yaml: is nested too deeply"),
        ("a: 1\n---\nb: 2\n", "spendtree.yaml:2: is no YAML: but found another document"),
    ],
)
def test_what_cannot_be_meant_is_refused_naming_file_line_value_and_way_out(
    write: Write, text: str, message: str
) -> None:
    assert refusal(write(text)).startswith(message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"session": {"ceiling_usd": float("nan")}},
            "session.ceiling_usd: nan is not a finite amount of dollars",
        ),
        ({"agents": {"a.b": {"max": 1}}}, 'agents."a.b".max: unknown key; allowed are '),
        ({"agents": {3: {}}}, "agents: the key 3 is no text"),
        ({"agents": {"a": {"max_output_tokens": True}}}, "agents.a.max_output_tokens: True is no"),
        ({"mode": None}, "mode: None is none of record, warn, enforce"),
        ({"busy_timeout_seconds": [1]}, "busy_timeout_seconds: [1] is not a number of seconds"),
        (["mode"], "config: ['mode'] is neither a path nor a mapping"),
    ],
)
def test_a_mapping_is_refused_naming_the_key(source: Any, message: str) -> None:
    assert refusal(source).startswith(message)


def test_a_price_is_refused_on_its_line(write: Write) -> None:
    text = "prices:\n  gpt-4.1:\n    input_usd_per_mtok: 3\n    output_usd_per_mtok: dear\n"

    message = refusal(write(text))

    assert message.startswith('spendtree.yaml:4: prices."gpt-4.1".output_usd_per_mtok: ')
    assert "'dear'" in message


@pytest.mark.parametrize("key", ["context_window", "max_output_tokens"])
def test_a_count_of_very_many_digits_is_refused_on_its_line(write: Write, key: str) -> None:
    price = "input_usd_per_mtok: 3, output_usd_per_mtok: 1"
    text = f"prices:\n  m: {{{price},\n    {key}: {'9' * 5000}}}\n"

    assert refusal(write(text)).startswith(f"spendtree.yaml:3: prices.m.{key}: '999")


def test_aliases_that_multiply_are_refused_on_the_line_of_the_first_too_many(write: Write) -> None:
    tenfold = "".join(f"  - &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 12))

    message = refusal(write(f"agents:\n  - &l0 [lol]\n{tenfold}"))

    assert message.startswith("spendtree.yaml:")
    assert "agents." in message
    assert "aliases (*) repeat too much" in message


def test_a_few_aliases_are_read_as_what_they_stand_for(write: Write) -> None:
    customers = "".join(f"  c{n}: *usual\n" for n in range(1000))

    config = load_config(write(f"customers:\n  a: &usual {{budgets_usd: {{day: 5}}}}\n{customers}"))

    assert config.customers["c999"] == config.customers["a"]


def test_a_price_key_that_nobody_knows_is_refused_on_its_line(write: Write) -> None:
    text = "prices:\n  m:\n    input_usd_per_mtok: 3\n    output_usd_per_token: 1\n"

    assert refusal(write(text)).startswith("spendtree.yaml:4: prices.m.output_usd_per_token: ")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("    flex: half", "prices.m.flex: 'half' is neither a factor"),
        ("    regions: {eu: much}", "prices.m.regions.eu: 'much' is neither a factor"),
        ("    regions:\n      eu: {}", "prices.m.regions.eu.input_usd_per_mtok: missing"),
        ("    tiers:\n      - {above: 9}", "prices.m.tiers.0.input_usd_per_mtok: missing"),
        (
            "    tiers:\n      - {above: nine}",
            "prices.m.tiers.0.above: 'nine' is not",
        ),
        (f"    tiers:\n      - {{above: {'9' * 5000}}}", "prices.m.tiers.0.above: '999"),
    ],
)
def test_what_is_wrong_within_a_price_is_told_with_its_line(
    write: Write, line: str, where: str
) -> None:
    text = f"prices:\n  m:\n    input_usd_per_mtok: 3\n    output_usd_per_mtok: 4\n{line}\n"
    number = 5 + line.count("\n")

    assert refusal(write(text)).startswith(f"spendtree.yaml:{number}: {where}")


def test_a_price_that_lacks_a_key_is_refused_at_its_model(write: Write) -> None:
    message = refusal(write("prices:\n  m:\n    input_usd_per_mtok: 3\n"))

    assert message.startswith("spendtree.yaml:2: prices.m.output_usd_per_mtok: missing")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "spendtree.yaml"

    assert refusal(path) == "spendtree.yaml: there is no such configuration file"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in refusal_of_directory(tmp_path)


def refusal_of_directory(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    return str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spendtree.yaml"
    path.write_bytes(b"mode: \xff\xfe\x00warn")

    assert refusal(path).startswith("spendtree.yaml: is no YAML: ")


def test_yaml_is_loaded_only_for_a_file() -> None:
    code = "import sys; from spendtree.config import load_config; load_config({'mode': 'warn'}); "
    code += "print('yaml' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["wait", "enforce", "skip", "0.5", "1e999999", "NaN", "-0"])
)
KEYS = st.sampled_from(
    sorted({*SECTIONS, *SESSION, *AGENT, *PAYER, *PERIOD, *METRICS, *CONTRACT, "a", "", "day"})
) | st.sampled_from(["wait", "fallback", "clamp", "floor", "seconds", "model", "min", "max"])
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from(sorted(SECTIONS)), DATA, max_size=3))
@settings(deadline=None)
def test_whatever_stands_there_is_a_configuration_or_a_configuration_error(
    data: dict[str, Any],
) -> None:
    try:
        config = load_config(data)
    except ConfigurationError:
        return
    shown = describe(config)
    assert describe(load_config(shown)) == shown

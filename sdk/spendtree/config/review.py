"""Review: what is allowed in a configuration, but likely not meant. Pure.

A remark never stops anything: limits may also be given in code, which wins. Each check is a
function in `CHECKS`.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import combinations, pairwise
from typing import Any, Literal, NamedTuple

from spendtree.config.place import Path
from spendtree.config.settings import (
    EVERY_AGENT,
    PERIODS,
    AgentSettings,
    Config,
    SessionSettings,
)
from spendtree.config.steps import Step
from spendtree.pricing import PriceBook, Sheet, Tier
from spendtree.pricing.own import MODIFIERS, RATES, UNIT_KEYS
from spendtree.usage import UNITS

UNIT_FACTOR = 100
"""A price that far from the catalogue's is rather one per another number of tokens."""

BOUGHT_BEFORE = ("scale", "provisioned")
"""What is paid by the hour, so that a call may well cost nothing."""

FACTOR_MAX = 10
"""A factor from there on is rather a percentage."""


class Remark(NamedTuple):
    """Something suspicious: the key path where it stands, and what is odd about it."""

    path: Path
    text: str


def review(config: Config) -> list[Remark]:
    """Return what is suspicious in a configuration, check by check.

    Loads the price catalogue (0.2 s) where a model is named.
    """
    return [remark for check in CHECKS for remark in check(config)]


def _caps_above_the_ceiling(config: Config) -> Iterator[Remark]:
    ceiling = config.session.ceiling_usd
    for role in config.agents:
        for key, cap in _own_caps(config, role):
            if ceiling is not None and cap > ceiling:
                text = f"{_usd(cap)} is above session.ceiling_usd, {_usd(ceiling)}"
                yield Remark(("agents", role, key), f"{text}: that binds first")


def _reserved_money(config: Config) -> Iterator[Remark]:
    reserved = {role: agent for role, agent in config.agents.items() if agent.reserved}
    for role, agent in reserved.items():
        if agent.envelope_usd is None and not _inherits(config, role, "reserved"):
            text = "there is no envelope_usd here that could be reserved"
            yield Remark(("agents", role, "reserved"), text)
    total = sum((agent.envelope_usd or Decimal(0) for agent in reserved.values()), Decimal(0))
    ceiling = config.session.ceiling_usd
    if ceiling is not None and total > ceiling:
        text = f"reserved envelopes come to {_usd(total)}, above the session's {_usd(ceiling)}"
        yield Remark(("agents",), f"{text}: not all of these agents can start")


def _never_starts(config: Config) -> Iterator[Remark]:
    ceiling, least = config.session.ceiling_usd, config.session.min_cost_usd
    if ceiling is not None and least > ceiling:
        text = f"{_usd(least)} is above ceiling_usd, {_usd(ceiling)}: no session can start"
        yield Remark(("session", "min_cost_usd"), text)
    for role, agent in config.agents.items():
        least = config.min_cost_for(role)
        own = agent.min_cost_usd is not None
        path: Path = ("agents", role, "min_cost_usd") if own else ("session", "min_cost_usd")
        for key, cap in _own_caps(config, role) if not own else _caps(agent):
            if least > cap:
                text = f"{_usd(least)} is above {key}, {_usd(cap)}: {role!r} can never start"
                yield Remark(path, text)


def _requires_nothing(config: Config) -> Iterator[Remark]:
    mode = config.mode_for("session")
    if config.session.required and mode != "enforce":
        text = f"refuses nothing in mode {mode!r}: what has no session is logged only"
        yield Remark(("session", "required"), text)


def _marks_without_a_cap(config: Config) -> Iterator[Remark]:
    if config.session.warn_at != SessionSettings().warn_at and not _has_any_cap(config):
        yield Remark(("session", "warn_at"), "there is no cap in this configuration to warn about")
    for role, agent in config.agents.items():
        if agent.warn_at and not _caps(agent) and not _inherits(config, role, "warn_at"):
            text = "warns of nothing: neither envelope_usd nor max_cost_usd is given here"
            yield Remark(("agents", role, "warn_at"), text)
    for section, kind, name in _payers(config):
        if config.payer(kind, name).warn_at and not config.budgets(kind, name):
            text = "warns of nothing: no budget is given here or under `periods`"
            yield Remark((section, name, "warn_at"), text)


def _budgets_that_never_bind(config: Config) -> Iterator[Remark]:
    for section, kind, name in _payers(config):
        budgets = config.budgets(kind, name)
        for short, long in combinations(PERIODS, 2):
            if short in budgets and long in budgets and budgets[short] > budgets[long]:
                text = f"the {short}'s {_usd(budgets[short])} is above the {long}'s"
                path = (section, name, "budgets_usd", short)
                yield Remark(path, f"{text} {_usd(budgets[long])}: that binds first")


def _floors_above_the_limit(config: Config) -> Iterator[Remark]:
    for role, agent in config.agents.items():
        for step in config.policy_for(role):
            limit = agent.max_output_tokens
            if step.floor is not None and limit is not None and step.floor > limit:
                text = f"never clamps: its floor, {step.floor}, is above max_output_tokens, {limit}"
                yield Remark(("agents", role, "policy"), text)


def _policies_nobody_names(config: Config) -> Iterator[Remark]:
    named = {agent.policy for agent in config.agents.values() if isinstance(agent.policy, str)}
    for name in config.policies:
        if name not in named:
            yield Remark(("policies", name), "no agent names this policy")


def _fallbacks_without_a_price(config: Config) -> Iterator[Remark]:
    book = PriceBook(config.prices)
    for path, step in _steps(config):
        if step.name == "fallback" and book.sheet(step.model, step.provider) is None:
            of = f" of provider {step.provider!r}" if step.provider else ""
            text = f"no price is known for model {step.model!r}{of}: it is refused under a cap"
            yield Remark((*path, "fallback", "model"), f"{text}; add it under `prices`")


def _limits_without_a_price(config: Config) -> Iterator[Remark]:
    book = PriceBook(config.prices)
    for model, provider in _priced_models(config):
        if not book.is_own(model, provider) and book.sheet(model, provider) is None:
            text = "states limits only, and the catalogue knows no price: add the prices"
            yield Remark(("prices", model), text)


def _models_held_at_their_window(config: Config) -> Iterator[Remark]:
    """Name the models of which a call without an output limit holds the whole window."""
    if not _has_any_cap(config) or default_limit(config) is not None:
        return
    book = PriceBook(config.prices)
    named: list[tuple[Path, str, str]] = [
        (("prices", model), model, provider) for model, provider in _priced_models(config)
    ]
    for path, step in _steps(config):
        if step.name == "fallback":
            named.append(((*path, "fallback", "model"), step.model, step.provider))
    for where, model, provider in named:
        window = held_window(book, model, provider)
        if window is not None:
            text = f"a call that names no output limit holds the whole context window, {window:,}"
            way_out = f"give prices.{model}.max_output_tokens or session.max_output_tokens"
            yield Remark(where, f"{text} tokens of {model!r}; {way_out}")


def default_limit(config: Config) -> int | None:
    """Return the output limit of calls that name none, None where there is none for all."""
    return config.session.max_output_tokens or config.agent(EVERY_AGENT).max_output_tokens


def held_window(book: PriceBook, model: str, provider: str = "") -> int | None:
    """Return the window that a call holds which names no output limit, None if it holds less."""
    sheet = book.sheet(model, provider)
    if sheet is None or sheet.context_window is None or not _bills_output(sheet):
        return None
    return None if book.output_limit(model, provider) else sheet.context_window


def _bills_output(sheet: Sheet) -> bool:
    """Tell whether a model writes anything: one that only embeds or ranks does not."""
    return any(tier.rates.output for listing in sheet.listings for tier in listing.tiers)


def _prices_beside_the_catalogue(config: Config) -> Iterator[Remark]:
    own, catalogue = PriceBook(config.prices), PriceBook()
    for model, price in config.prices.items():
        provider = str(price.get("provider", ""))
        mine = _only_tier(own.sheet(model, provider))
        listed = _only_tier(catalogue.sheet(model, provider))
        if mine is None or listed is None:
            continue
        if mine.rates == listed.rates and set(price) <= {*RATES, "provider"}:
            text = "is what the catalogue says too; left out, it would follow its updates"
            yield Remark(("prices", model), text)
        for name in ("input", "output"):
            odd = _far_apart(getattr(mine.rates, name), getattr(listed.rates, name))
            if odd:
                hint = f"{odd}; prices are dollars per million tokens"
                yield Remark(("prices", model, f"{name}_usd_per_mtok"), hint)
        for key, name in UNIT_KEYS.items():
            odd = _far_apart(mine.units.get(name, 0), listed.units.get(name, 0))
            if odd and key in price:
                unit = UNITS[name]
                per = "a million of them" if unit.family == "tokens" else f"one {unit.words}"
                yield Remark(("prices", model, key), f"{odd}; the price is dollars for {per}")


def _odd_modifiers(config: Config) -> Iterator[Remark]:
    """Name factors that are rather percentages, and larger calls that cost less."""
    for model, price in config.prices.items():
        given: dict[Path, Any] = {(name,): price[name] for name in MODIFIERS if name in price}
        given |= {("regions", name): each for name, each in price.get("regions", {}).items()}
        for path, factor in given.items():
            if path[0] in BOUGHT_BEFORE or isinstance(factor, Mapping):
                continue
            if not 0 < Decimal(str(factor)) < FACTOR_MAX:
                text = f"makes every token {factor} times as expensive; half the price is 0.5"
                yield Remark(("prices", model, *path), text)
        tiers = [price, *price.get("tiers", ())]
        for index, (small, large) in enumerate(pairwise(tiers)):
            for key in ("input_usd_per_mtok", "output_usd_per_mtok"):
                if key in small and Decimal(str(large[key])) < Decimal(str(small[key])):
                    text = f"${large[key]} is less than the ${small[key]} of smaller calls"
                    yield Remark(("prices", model, "tiers", index, key), text)


def _far_apart(mine: int, listed: int) -> str:
    """Return what is odd about a price beside the catalogue's, "" if nothing is."""
    low, high = sorted((mine, listed))
    if not low or high < low * UNIT_FACTOR:
        return ""
    word = "dearer" if mine > listed else "cheaper"
    return f"{high // low:,} times {word} than in the catalogue"


def _only_tier(sheet: Sheet | None) -> Tier | None:
    """Return the prices of a model that has the same ones at all times and for all sizes."""
    if sheet is None or len(sheet.listings) > 1 or len(sheet.listings[0].tiers) > 1:
        return None
    return sheet.listings[0].tiers[0]


def _priced_models(config: Config) -> Iterator[tuple[str, str]]:
    """Iterate over the models under `prices`, each with the provider that it is meant for."""
    for model, price in config.prices.items():
        yield model, str(price.get("provider", ""))


def _steps(config: Config) -> Iterator[tuple[Path, Step]]:
    """Iterate over all steps of policies, with where they stand."""
    for name, steps in config.policies.items():
        for index, step in enumerate(steps):
            yield ("policies", name, index), step
    for role, agent in config.agents.items():
        if isinstance(agent.policy, tuple) and not _inherits(config, role, "policy"):
            for index, step in enumerate(agent.policy):
                yield ("agents", role, "policy", index), step


def _payers(config: Config) -> Iterator[tuple[str, Literal["customer", "team"], str]]:
    """Iterate over customers and teams: the section, the kind of account, the name."""
    for name in config.customers:
        yield "customers", "customer", name
    for name in config.teams:
        yield "teams", "team", name


def _has_any_cap(config: Config) -> bool:
    return (
        config.session.ceiling_usd is not None
        or any(_caps(agent) for agent in config.agents.values())
        or any(config.budgets(kind, name) for _, kind, name in _payers(config))
        or any(shared.customer_usd or shared.team_usd for shared in config.periods.values())
    )


def _caps(agent: AgentSettings) -> list[tuple[str, Decimal]]:
    """Return the caps that an agent has, by their keys."""
    caps = (("envelope_usd", agent.envelope_usd), ("max_cost_usd", agent.max_cost_usd))
    return [(key, cap) for key, cap in caps if cap is not None]


def _own_caps(config: Config, role: str) -> list[tuple[str, Decimal]]:
    """Return the caps that a role does not have from the defaults of every agent."""
    caps = _caps(config.agent(role))
    return [(key, cap) for key, cap in caps if not _inherits(config, role, key)]


def _inherits(config: Config, role: str, key: str) -> bool:
    """Tell whether a role has a setting from the defaults of every agent, where it is reviewed."""
    shared = config.agents.get(EVERY_AGENT)
    if shared is None or role == EVERY_AGENT:
        return False
    return bool(getattr(config.agent(role), key) == getattr(shared, key))


def _usd(dollars: Decimal) -> str:
    """Return an exact amount with at least its cents."""
    places = max(2, -int(dollars.as_tuple().exponent))
    return f"${dollars:.{places}f}"


CHECKS: tuple[Callable[[Config], Iterator[Remark]], ...] = (
    _never_starts,
    _requires_nothing,
    _marks_without_a_cap,
    _caps_above_the_ceiling,
    _reserved_money,
    _floors_above_the_limit,
    _budgets_that_never_bind,
    _policies_nobody_names,
    _fallbacks_without_a_price,
    _limits_without_a_price,
    _models_held_at_their_window,
    _prices_beside_the_catalogue,
    _odd_modifiers,
)

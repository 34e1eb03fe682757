"""What the log tells of calls that nobody meant to make so: outside scopes, or of unknown price."""

from spendtree.cli import output
from spendtree.cli.doctor.finding import Section
from spendtree.money import PICO_PER_USD, format_usd
from spendtree.store.health import Doubtful, Health, Stated, Stray, Unrecorded
from spendtree.tree import iso

REASONS = {
    "no_scope": (
        "were made outside any session",
        "open a spendtree.session around what makes them; `spendtree.instrument` alone opens none. "
        "session.required in spendtree.yaml refuses such calls",
    ),
    "lost_thread": (
        "lost the scope on the way into a thread",
        "its ceiling did not stop them: use spendtree.ThreadPoolExecutor or asyncio.to_thread, or "
        "scope.bind(function) for other pools and threads; the program's log says where",
    ),
    "imported": (
        "were imported without a session",
        "nothing to do, if their traces had none",
    ),
}
"""Why a call is unattributed -> what that means, and what to do about it."""

DOUBTS = {
    "presumed": (
        "{calls} ended without a known cost; {amount} is presumed spent",
        "the runbook SpendtreeUnmeteredCalls says where a usage gets lost",
    ),
    "partly_unpriced": (
        "{calls} of {amount} have a part without a price, so they may have cost more: {names}",
        "give the parts a price under `prices:` in spendtree.yaml",
    ),
    "unread": (
        "{calls} of {amount} have a usage that was not understood as a whole: {names}",
        "see `unread` in docs/metrics.md, and report keys that a provider documents",
    ),
}
"""Why a cost is not certain -> what that means, and what to do about it."""

MODELS_SHOWN = 3
PLACES_SHOWN = 5

DIFFERENCE_MIN = PICO_PER_USD // 100
"""What stated costs and the price list may differ by before it is told; and a tenth of the cost."""


def look(health: Health) -> Section:
    """Look at what was recorded."""
    section = Section(name="log", title="Log")
    section.facts = {
        "events": health.events,
        "last": iso(health.last_at) if health.last_at else None,
        "unattributed": [
            {
                "reason": each.reason,
                "calls": each.calls,
                "cost_usd": output.usd(each.cost),
                "last": iso(each.last_at),
            }
            for each in health.strays
        ],
        "unpriced": [each._asdict() for each in health.unpriced],
        "unrecorded": [each._asdict() for each in health.unrecorded],
        "uncertain": [
            {
                "reason": each.reason,
                "calls": each.calls,
                "cost_usd": output.usd(each.amount),
                "names": list(each.names),
            }
            for each in health.doubtful
        ],
        "stated": [
            {
                "provider": each.provider,
                "model": each.model,
                "calls": each.calls,
                "cost_usd": output.usd(each.cost),
                "difference_usd": output.usd(each.difference),
            }
            for each in health.stated
        ],
    }
    if not health.events:
        section.note("nothing is recorded yet", "`spendtree demo` shows what it looks like")
        return section
    section.ok(
        f"{output.plural(health.events, 'event')}, the last at {output.moment(health.last_at)} UTC"
    )
    for stray in health.strays:
        _stray(section, stray)
    if health.unpriced:
        _unpriced(section, health)
    for unrecorded in health.unrecorded[:PLACES_SHOWN]:
        _unrecorded(section, unrecorded)
    more = health.unrecorded[PLACES_SHOWN:]
    if more:
        calls = sum(each.calls for each in more)
        section.warn(
            f"{output.plural(calls, 'call')} more were left without a recorded response, at "
            f"{output.plural(len(more), 'other place')}",
            "`spendtree doctor --json` names them all",
        )
    for doubtful in health.doubtful:
        _doubtful(section, doubtful)
    for stated in health.stated:
        if abs(stated.difference) > max(DIFFERENCE_MIN, stated.cost // 10):
            _stated(section, stated)
    return section


def _stray(section: Section, stray: Stray) -> None:
    meaning, fix = REASONS.get(stray.reason, (f"have no scope ({stray.reason})", "see the docs"))
    text = (
        f"{output.plural(stray.calls, 'call')} of {format_usd(stray.cost)} {meaning}, the last at "
        f"{output.moment(stray.last_at)} UTC"
    )
    if stray.reason == "imported":
        section.note(text, fix)
    else:
        section.warn(text, fix)


def _unrecorded(section: Section, found: Unrecorded) -> None:
    verb = "was" if found.calls == 1 else "were"
    section.warn(
        f"{output.plural(found.calls, 'call')} of {found.model} {verb} left without a recorded "
        f"response, at {found.place or 'an unknown line'}: what was held is presumed spent",
        "call.record(response) there, or call.void(reason) where nothing was sent",
    )


def _doubtful(section: Section, doubtful: Doubtful) -> None:
    meaning, fix = DOUBTS[doubtful.reason]
    more = len(doubtful.names) - MODELS_SHOWN
    names = ", ".join(doubtful.names[:MODELS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    calls = output.plural(doubtful.calls, "call")
    text = meaning.format(calls=calls, amount=format_usd(doubtful.amount), names=names)
    if doubtful.reason == "presumed":
        section.note(text, fix)
    else:
        section.warn(text, fix)


def _stated(section: Section, stated: Stated) -> None:
    more = "more" if stated.difference > 0 else "less"
    who = " ".join(part for part in (stated.provider, stated.model) if part)
    section.warn(
        f"{who}: {output.plural(stated.calls, 'call')} counted {format_usd(stated.cost)}, and the "
        f"stated costs are {format_usd(abs(stated.difference))} {more} than the price list says",
        "`spendtree explain CALL` shows one; see stated costs in docs/pricing.md",
    )


def _unpriced(section: Section, health: Health) -> None:
    calls = sum(each.calls for each in health.unpriced)
    names = [each.model or "(no model)" for each in health.unpriced[:MODELS_SHOWN]]
    more = len(health.unpriced) - len(names)
    models = ", ".join(names) + (f" and {more} more" if more > 0 else "")
    section.warn(
        f"{output.plural(calls, 'call')} of unknown price, which cost extra: {models}",
        "give the models a price under `prices:` in spendtree.yaml",
    )

"""The families of sessions that ended, and of envelopes. A table; nothing here counts anything."""

from spendtree.metrics.family import counter, histogram

COST = "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1.0 2.0 5.0 10.0 20.0 50.0 100.0"
"""Dollars, 1-2-5 per decade: what an envelope of a tier can be told from."""

CALLS = "1.0 2.0 5.0 10.0 20.0 50.0 100.0 200.0 500.0 1000.0"
AMPLIFICATION = "1.0 1.1 1.25 1.5 2.0 2.5 3.0 4.0 5.0 10.0"
EXPECTED = "0.25 0.5 0.75 0.9 1.0 1.1 1.25 1.5 2.0 3.0 5.0 10.0"
USAGE = "0.1 0.25 0.5 0.75 0.8 0.9 1.0 1.1 1.5 2.0"

_ONCE = "Each session once, when it first ends; what it spends when continued is not in here."
_ENVELOPE = "customer team agent kind"

SESSIONS = (
    counter(
        "sessions_total",
        "customer team status",
        "Sessions that ended; one that is continued afterwards is not counted again.",
        "succeeded, failed, budget_exceeded or abandoned (its process is gone). Not open ones.",
        'sum(rate(spendtree_sessions_total{status="budget_exceeded"}[1h]))',
    ),
    histogram(
        "completed_session_cost_usd",
        "customer status",
        COST,
        "True cost of sessions that ended.",
        _ONCE + " Presumed money is not in it.",
        "histogram_quantile(0.95, sum by (le, customer) "
        "(rate(spendtree_completed_session_cost_usd_bucket[1d])))",
    ),
    histogram(
        "completed_session_calls",
        "status",
        CALLS,
        "Finished calls of sessions that ended.",
        _ONCE,
        "histogram_quantile(0.5, sum by (le) (rate(spendtree_completed_session_calls_bucket[1d])))",
    ),
    histogram(
        "completed_session_amplification_ratio",
        "status",
        AMPLIFICATION,
        "Cost of the whole session divided by the cost of its first routing cycle.",
        _ONCE + " Sessions whose first cycle cost nothing are left out. Rounded up to 1e-6.",
        "histogram_quantile(0.9, sum by (le) "
        "(rate(spendtree_completed_session_amplification_ratio_bucket[1d])))",
    ),
    histogram(
        "completed_session_cost_to_expected_ratio",
        "status",
        EXPECTED,
        "Cost of the session divided by its expected_usd.",
        _ONCE + " Only sessions that said what they should cost. Rounded up to 1e-6.",
        "histogram_quantile(0.9, sum by (le) "
        "(rate(spendtree_completed_session_cost_to_expected_ratio_bucket[1d])))",
    ),
    counter(
        "completed_multiagent_cost_usd_total",
        "customer part",
        "Cost of ended sessions in which two agents or more made calls, by part.",
        "coordinator is level 0 and 1, worker everything below. " + _ONCE,
        'sum(rate(spendtree_completed_multiagent_cost_usd_total{part="coordinator"}[1d])) / '
        "sum(rate(spendtree_completed_multiagent_cost_usd_total[1d]))",
    ),
    counter(
        "envelopes_total",
        _ENVELOPE,
        "Caps that ended with their session, one per session, agent and kind.",
        "envelope is the cap on a role, max_cost the caps on its runs (one, however many runs).",
        "sum by (agent, kind) (increase(spendtree_envelopes_total[1d]))",
    ),
    counter(
        "envelopes_exhausted_total",
        _ENVELOPE,
        "Those of envelopes_total that denied a call or a run at least once.",
        "Not caps that only would have denied (modes warn and record).",
        "sum by (agent) (increase(spendtree_envelopes_exhausted_total[1d])) / "
        "sum by (agent) (increase(spendtree_envelopes_total[1d]))",
    ),
    histogram(
        "envelope_usage_ratio",
        "agent kind",
        USAGE,
        "True cost divided by the cap as it stood last, of the caps in envelopes_total.",
        "One per session, agent and kind; of several max_cost the one that came nearest its cap. "
        "Caps of 0 are left out. Rounded up to 1e-6.",
        "histogram_quantile(0.95, sum by (le, agent) "
        "(rate(spendtree_envelope_usage_ratio_bucket[7d])))",
    ),
    counter(
        "transfers_total",
        "source target",
        "Moves of unused money between two agents' caps.",
        "Moves that took place. Those that were refused are not in it.",
        "sum by (source, target) (increase(spendtree_transfers_total[1d]))",
    ),
    counter(
        "transferred_usd_total",
        "source target",
        "Money moved between two agents' caps; it is not spend.",
        "As transfers_total.",
        "sum by (target) (increase(spendtree_transferred_usd_total[1d]))",
    ),
)

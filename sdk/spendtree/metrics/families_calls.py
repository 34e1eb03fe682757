"""The families that calls, messages and transfers fill. A table; nothing here counts anything."""

from spendtree.metrics.family import counter, gauge, histogram

_SESSION = "session agent customer routing_cycle"
_ENDED = "customer team agent routing_cycle status"
_MISSED = "customer team agent kind reason"

WAIT = "0.001 0.005 0.01 0.05 0.1 0.5 1.0 5.0 10.0 30.0 60.0"

CALLS = (
    counter(
        "cost_usd_total",
        "customer team agent level provider model routing_cycle",
        "True cost of everything recorded; spend outside any agent has level 0.",
        "Settled calls, tool charges and late truths, inside sessions and outside. Not money that "
        "is held or presumed, and nothing of calls whose price is unknown.",
        "sum by (customer) (increase(spendtree_cost_usd_total[1h]))",
    ),
    counter(
        "calls_total",
        "customer agent model status",
        "Finished calls; lapsed and unmetered ones ended without known usage.",
        "Each attempt once, a retry is another call; statuses are ok, failed, unmetered and "
        "lapsed. Not calls that were denied, nor tool charges; late truth is no second call.",
        'sum(rate(spendtree_calls_total{status="failed"}[5m])) / '
        "sum(rate(spendtree_calls_total[5m]))",
    ),
    counter(
        "tokens_total",
        "customer agent provider model type",
        "Tokens processed, in disjoint types; input is what no cache served or stored.",
        "All types together are everything processed; reasoning is a part of output. Text has the "
        "types input, cache_read, cache_write and output; other modalities have input_audio, "
        "cache_read_audio, output_audio, the same of image and video, and citation.",
        'sum by (model) (rate(spendtree_tokens_total{type="output"}[5m]))',
    ),
    counter(
        "session_cost_usd_total",
        _SESSION,
        "True cost of one session; starts at 0, so its value is the spend.",
        "As cost_usd_total, of sessions that are open or ended less than 15 minutes ago. Sessions "
        'beyond the limit share session="_overflow". Read the value, never increase().',
        "topk(10, sum by (session) (spendtree_session_cost_usd_total))",
    ),
    counter(
        "session_calls_total",
        _SESSION,
        "Finished calls of one session; starts at 0.",
        "As calls_total, shown as long as session_cost_usd_total.",
        "sum by (session) (spendtree_session_calls_total) > 100",
    ),
    counter(
        "session_tokens_total",
        _SESSION,
        "Tokens of all types of one session; starts at 0.",
        "As tokens_total, shown as long as session_cost_usd_total.",
        "sum by (session, agent) (spendtree_session_tokens_total)",
    ),
    counter(
        "agent_runs_total",
        _ENDED,
        "Agent runs that ended.",
        "Each spawn once, when it ends: succeeded, failed or exhausted (out of money). Not runs "
        "that were refused before they began; those are in denied_calls_total.",
        'sum by (agent) (rate(spendtree_agent_runs_total{status="failed"}[15m]))',
    ),
    counter(
        "agent_run_cost_usd_total",
        _ENDED,
        "Cost of the run's own calls, posted when the run ends.",
        "What the run itself spent, not what its children did, nor late truth after its end.",
        'sum(increase(spendtree_agent_run_cost_usd_total{status="failed"}[1d]))',
    ),
    counter(
        "denied_calls_total",
        _MISSED,
        "Calls and agent runs refused before anything was sent, by kind of account.",
        "One per call that was given up, not per try; reason is exhausted, busy (waited in vain), "
        "unknown_price or store. Not calls that waited and were then made.",
        "sum by (customer, kind) (increase(spendtree_denied_calls_total[1h]))",
    ),
    counter(
        "would_deny_calls_total",
        _MISSED,
        "Calls that enforcing would have refused (mode warn); they were made.",
        "As denied_calls_total, in mode warn. Read it before you enforce.",
        "sum by (kind) (increase(spendtree_would_deny_calls_total[1d]))",
    ),
    histogram(
        "hold_wait_seconds",
        "kind",
        WAIT,
        "How long calls waited for money that others held, by the kind of account they waited at.",
        "Calls that waited and were then made. Not those that were granted at once, nor those that "
        'waited in vain (denied_calls_total, reason="busy").',
        "histogram_quantile(0.95, sum by (le, kind) "
        "(rate(spendtree_hold_wait_seconds_bucket[5m])))",
    ),
    gauge(
        "oldest_hold_age_seconds",
        "",
        "Age of the oldest hold that has not ended; no sample while there is none.",
        "Held money of every call in flight, and of processes that died with it until it lapses.",
        "spendtree_oldest_hold_age_seconds > 900",
    ),
    counter(
        "overrun_usd_total",
        "customer agent model",
        "True cost above the money that was held for the call.",
        "Only the part above the hold, of calls and late truths that had one.",
        "sum by (model) (increase(spendtree_overrun_usd_total[1d]))",
    ),
    counter(
        "presumed_usd_total",
        "customer agent model",
        "Money presumed spent by calls of unclear ending; never part of the cost counters.",
        "The whole hold of a call that timed out, was cut off or came back without usage.",
        "sum(spendtree_presumed_usd_total) - sum(spendtree_presumed_resolved_usd_total)",
    ),
    counter(
        "presumed_resolved_usd_total",
        "customer agent model",
        "Presumed money taken back because the true cost became known.",
        "The presumption, not the true cost, which is in cost_usd_total.",
        "sum(increase(spendtree_presumed_resolved_usd_total[1d]))",
    ),
    counter(
        "messages_total",
        "source target",
        "Results that an agent handed to another one.",
        "One per delivery, by sender and receiver; also those that broke a contract.",
        "sum by (source, target) (increase(spendtree_messages_total[1h]))",
    ),
    counter(
        "message_tokens_total",
        "source target",
        "Tokens of results handed to another agent.",
        "Tokens as the receiver will read them. They cost nothing by themselves yet.",
        "sum by (target) (rate(spendtree_message_tokens_total[15m]))",
    ),
    counter(
        "message_cost_usd_total",
        "source target",
        "What reading the results costs at the receiver's input price; not part of cost_usd_total.",
        "Deliveries whose receiver's price is known. The true cost is in the receiver's next call.",
        "topk(5, sum by (source, target) (increase(spendtree_message_cost_usd_total[1d])))",
    ),
    counter(
        "contract_violations_total",
        "agent kind",
        "Results longer (max) or shorter (min) than the agent's output contract allows.",
        "One per delivery that broke it, whatever the contract's mode did about it.",
        "sum by (agent) (increase(spendtree_contract_violations_total[1d]))",
    ),
    counter(
        "contract_excess_tokens_total",
        "agent kind",
        "Tokens by which results missed their contract: above the most, or below the least.",
        "Only the difference to the limit.",
        "sum by (agent) (increase(spendtree_contract_excess_tokens_total[1d]))",
    ),
    counter(
        "unpriced_calls_total",
        "provider model",
        "Calls whose price is unknown; they add nothing to the cost counters.",
        "Calls and late truths. Give the model a price under `prices:`.",
        "sum by (provider, model) (increase(spendtree_unpriced_calls_total[1d])) > 0",
    ),
    gauge(
        "stated_cost_difference_usd",
        "provider model",
        "What providers stated that calls cost, less what the price list says of them, in all.",
        "Calls that have both, and no part without a price; negative where less is stated. The "
        "stated cost is in cost_usd_total, see docs/pricing.md. It stays with the log: a sum since "
        "its beginning.",
        "abs(sum by (provider, model) (spendtree_stated_cost_difference_usd)) > 1",
    ),
    counter(
        "unmetered_calls_total",
        "provider model",
        "Calls that were answered without usage.",
        "Their holds are in presumed_usd_total until the truth is known.",
        "sum by (model) (increase(spendtree_unmetered_calls_total[1h]))",
    ),
    counter(
        "billed_units_total",
        "customer agent provider model unit",
        "What calls used that is billed beside tokens: searches, seconds of audio, pages.",
        "By the response's own count. Costs are in cost_usd_total, where the unit has a price.",
        "sum by (model, unit) (increase(spendtree_billed_units_total[1d]))",
    ),
    counter(
        "partly_unpriced_calls_total",
        "provider model part",
        "Calls of which a part has no price: a modality, a fee, a service tier or a region.",
        "Their cost is that of the other parts; under a cap it is at least what was held. Give the "
        "part a price under `prices:`.",
        "sum by (model, part) (increase(spendtree_partly_unpriced_calls_total[1d])) > 0",
    ),
    counter(
        "unread_usage_keys_total",
        "provider key",
        "Keys of usage objects that were not understood, or that contradict the rest.",
        "Once per call and key. What a total or a split says more than was read is in the cost, as "
        "the most expensive that it can be.",
        "topk(10, sum by (provider, key) (increase(spendtree_unread_usage_keys_total[1d])))",
    ),
    counter(
        "uncertain_cost_usd_total",
        "customer agent model reason",
        "True cost of calls of which something was not understood or has no price.",
        "A part of cost_usd_total; reason is partly_unpriced or unread; a call with both counts as "
        "partly_unpriced. What was not priced at all is in unpriced_calls_total, what is "
        "presumed in presumed_usd_total.",
        "sum by (reason) (increase(spendtree_uncertain_cost_usd_total[1d])) / ignoring (reason) "
        "group_left () sum(increase(spendtree_cost_usd_total[1d]))",
    ),
    counter(
        "unattributed_calls_total",
        "model reason",
        "Finished calls outside any session.",
        "reason is no_scope, lost_thread (a thread without its scope; also where an agent then "
        "started a session of its own) or imported.",
        "sum by (reason) (increase(spendtree_unattributed_calls_total[1h])) > 0",
    ),
    counter(
        "unattributed_cost_usd_total",
        "model reason",
        "True cost of calls outside any session; part of the cost counters too.",
        "As cost_usd_total, only what belongs to no session, or lost the one that it belongs to.",
        "sum(increase(spendtree_unattributed_cost_usd_total[1d]))",
    ),
)

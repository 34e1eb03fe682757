"""The families about the exporter and the collector themselves. A table; nothing here counts."""

from spendtree.metrics.family import Family, counter, gauge

EXPORTER = (
    counter(
        "label_overflow_total",
        "label",
        "Finished calls shown under _other or _overflow because this label was full.",
        'One per call and full label; label "session" is the limit of session series, "series" '
        "that of all. Totals stay exact.",
        "sum by (label) (increase(spendtree_label_overflow_total[1h])) > 0",
    ),
    counter(
        "unrecorded_calls_total",
        "",
        "Calls that went on although their record could not be stored.",
        "Only the collector in the application's own process knows them; the exporter shows none. "
        "Never calls under an enforced cap: those are refused.",
        "increase(spendtree_unrecorded_calls_total[15m]) > 0",
    ),
    counter(
        "exporter_events_read_total",
        "",
        "Events that this exporter has read from the store since it started.",
        "Events of every kind, history included. A snapshot saves reading the older ones.",
        "rate(spendtree_exporter_events_read_total[5m])",
    ),
    counter(
        "exporter_store_errors_total",
        "",
        "Reads of the store that failed; the figures shown are the last good ones.",
        "Each failed try.",
        "increase(spendtree_exporter_store_errors_total[5m]) > 0",
    ),
    gauge(
        "exporter_lag_seconds",
        "",
        "Time since the exporter last stood at the end of the log.",
        "Below a second while the store answers.",
        "spendtree_exporter_lag_seconds > 60",
    ),
    gauge(
        "exporter_series",
        "part",
        "Series shown, by part: those that carry a session, and the standing ones.",
        "Buckets of histograms and gauges of budgets included; the exporter's own are not.",
        "spendtree_exporter_series / on (store, part) spendtree_exporter_series_limit > 0.8",
    ),
    gauge(
        "exporter_series_limit",
        "part",
        "Most series of that part; beyond it spend is shown under _other or _overflow.",
        "metrics.max_session_series, and metrics.max_series less that.",
        "spendtree_exporter_series_limit",
    ),
    gauge(
        "exporter_live_sessions",
        "",
        "Sessions that are open.",
        "Opened and not closed yet, whether they have series or not.",
        "spendtree_exporter_live_sessions",
    ),
    gauge(
        "exporter_writer",
        "",
        "1 if this exporter writes to the store, 0 if another one does and this one reads.",
        "The writer closes abandoned sessions and lapses the holds of dead processes.",
        "sum by (store) (spendtree_exporter_writer) != 1",
    ),
    gauge(
        "exporter_config_last_reload_successful",
        "",
        "1 if all files of settings are in force as they were last read, 0 if one was refused.",
        "--config.file at SIGHUP, --web.config.file and --otlp.token-file when they change; the "
        "log says which one and why. What was in force stays so.",
        "spendtree_exporter_config_last_reload_successful == 0",
    ),
    counter(
        "exporter_received_spans_total",
        "result",
        "Spans received over OTLP: accepted, rejected as unreadable, or ignored because "
        "nothing in their trace is a call, an agent or a session.",
        "Spans of any kind, also those that are no LLM call.",
        'increase(spendtree_exporter_received_spans_total{result="rejected"}[1h]) > 0',
    ),
    gauge(
        "exporter_pending_spans",
        "",
        "Spans received whose trace may not be complete; they are recorded once it is.",
        "Spans in memory.",
        "spendtree_exporter_pending_spans",
    ),
    counter(
        "exporter_set_aside_total",
        "item",
        "Received spans that can never be recorded, and damaged lines of the journal.",
        'Item "span" or "journal_line"; each stands with its reason in the file '
        "-exporter-spans.set-aside beside the store.",
        "increase(spendtree_exporter_set_aside_total[1h]) > 0",
    ),
    gauge(
        "exporter_scrape_duration_seconds",
        "",
        "Time that the scrape before this one took to render and compress.",
        "Scrapes that shared one rendering count once.",
        "spendtree_exporter_scrape_duration_seconds > 1",
    ),
    Family(
        name="build_info",
        kind="gauge",
        labels=("version",),
        help="Always 1; the label says which version serves this.",
        counts="One series per exporter.",
        query="count by (version) (spendtree_build_info)",
    ),
)

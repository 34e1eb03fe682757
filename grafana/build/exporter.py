"""Exporter health: whether the figures on the other dashboards are fresh and whole."""

from grafana.build import colours
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    BYTES,
    COUNT,
    RATIO,
    SECONDS,
    About,
    Column,
    Query,
    graph,
    stat_of,
    table_of,
)
from grafana.build.queries import (
    once,
)

JOB = '{job=~"spendtree.*"}'


def _none(label: str) -> str:
    """Return a zero for what never was: an empty graph would look broken."""
    return f'label_replace(vector(0), "{label}", "none", "", "")'


_exporters_up = stat_of(
    About(
        "Exporters up",
        "Of the exporters that Prometheus knows, those it can scrape. Below 100 % the figures of "
        "a store stand still: see the log of that exporter.",
        RATIO,
        0,
    ),
    f"avg(up{JOB})",
    thresholds=colours.falling(0.5, 1),
    empty="none known",
)

_age_of_the_figures = stat_of(
    About(
        "Age of the figures",
        "How long ago the slowest exporter stood at the end of its log. Above a minute it cannot "
        "read its store, or is overrun: see “Store” below.",
        SECONDS,
        1,
    ),
    "max(spendtree_exporter_lag_seconds)",
    thresholds=colours.steps(10, 60),
)

_scrape_time = stat_of(
    About(
        "Scrape time",
        "The longest time that rendering a scrape takes. Prometheus gives up after 10 s: above "
        "some seconds, lower metrics.max_series.",
        SECONDS,
        3,
    ),
    "max(spendtree_exporter_scrape_duration_seconds)",
    thresholds=colours.steps(1, 5),
)

_series_used = stat_of(
    About(
        "Series used",
        "Of the series that an exporter may show, the fuller of its two parts. At 100 % spend "
        "goes to `_other`: raise the limit, or look for a label that has too many values.",
        RATIO,
        1,
    ),
    "max(spendtree_exporter_series / on (instance, store, part) (spendtree_exporter_series_limit "
    "> 0))",
    thresholds=colours.steps(0.8, 0.95),
)

_stores_without_a_writer = stat_of(
    About(
        "Stores without a writer",
        "Stores of which no exporter closes abandoned sessions and lapses dead holds. Start one "
        "with write access to the store.",
        COUNT,
        0,
    ),
    "count(max by (store) (spendtree_exporter_writer) < 1) or vector(0)",
    thresholds=colours.steps(1, 1),
)

_calls_under_other = stat_of(
    About(
        "Calls under _other",
        "Finished calls in the time shown that stand under `_other` or `_overflow`, since a label "
        "was full. Totals are right all the same; which label it is, is below.",
        COUNT,
        0,
    ),
    f"sum({once('increase(spendtree_label_overflow_total[$__range])')}) or vector(0)",
    thresholds=colours.steps(1, 1000),
)

_top = Line(
    4,
    [
        (4, _exporters_up),
        (4, _age_of_the_figures),
        (4, _scrape_time),
        (4, _series_used),
        (4, _stores_without_a_writer),
        (4, _calls_under_other),
    ],
)

_lag_by_exporter = graph(
    About(
        "Lag by exporter",
        "How long ago each stood at the end of its log. It should be below a second; if it "
        "climbs, the store cannot be read.",
        SECONDS,
        2,
    ),
    [Query("spendtree_exporter_lag_seconds", "{{instance}} {{store}}")],
    top=1,
)

_events_read = graph(
    About(
        "Events read",
        "Per second, by exporter. It follows what your agents do; if it is zero while they work, "
        "the exporter follows another store than they write.",
        COUNT,
        2,
    ),
    [
        Query(
            "rate(spendtree_exporter_events_read_total[$__rate_interval])",
            "{{instance}} {{store}}",
        )
    ],
    interval="1m",
)

_store = graph(
    About(
        "Store",
        "Reads of the store that failed. Figures shown are the last good ones; see the exporter's "
        "log, the file's rights and the disk.",
        COUNT,
        0,
    ),
    [
        Query(
            "increase(spendtree_exporter_store_errors_total[$__rate_interval])",
            "{{instance}} {{store}}",
        )
    ],
    colour=colours.fixed(colours.OVER),
    interval="1m",
    calcs=("sum",),
    top=1,
)

_which_exporters_are_there = table_of(
    About(
        "Which exporters are there?",
        "One row for each. Two on one store are fine: one writes (1), the other shows the same. "
        "Versions should be the same, too.",
        COUNT,
        0,
    ),
    [
        "max by (instance, store, version) (spendtree_build_info)",
        "max by (instance, store) (spendtree_exporter_writer)",
        "max by (instance, store) (spendtree_exporter_live_sessions)",
        "max by (instance, store) (spendtree_exporter_lag_seconds)",
    ],
    [
        Column("instance", "Instance"),
        Column("store", "Store", width=110),
        Column("version", "Version", width=90),
        Column("Value #B", "Writes", COUNT, 0, 80),
        Column("Value #C", "Open sessions", COUNT, 0, 120),
        Column("Value #D", "Lag", SECONDS, 2, 90),
    ],
    sort="Instance",
)

_fresh = Section(
    "Freshness and store",
    [
        Line(8, [(12, _lag_by_exporter), (12, _events_read)]),
        Line(8, [(12, _store), (12, _which_exporters_are_there)]),
    ],
)

_series = graph(
    About(
        "Series",
        "What each exporter shows: series of single sessions, and standing ones. The first go a "
        "quarter of an hour after their session; if the second only ever grow, a label has too "
        "many values.",
        COUNT,
        1,
    ),
    [
        Query(
            "sum by (instance, part) (spendtree_exporter_series)",
            "{{instance}} {{part}}",
        )
    ],
    stacked=True,
    overrides=[
        (colours.like("/session$/"), [colours.colour(colours.SPENT)]),
        (colours.like("/standing$/"), [colours.colour(colours.FREE)]),
    ],
)

_which_label_is_full = graph(
    About(
        "Which label is full?",
        "Finished calls shown under `_other` or `_overflow`, by the label that had no room. Raise "
        "metrics.max_customers and its like, or give a customer a plan or a budget: then it "
        "always keeps its name.",
        COUNT,
        0,
    ),
    [
        Query(
            "sum by (label) ("
            + once("increase(spendtree_label_overflow_total[$__rate_interval])")
            + f") or {_none('label')}",
            "{{label}}",
        )
    ],
    stacked=True,
    bars=True,
    calcs=("sum",),
    interval="10m",
    top=1,
)

_scrape_time_by_exporter = graph(
    About(
        "Scrape time by exporter",
        "Rendering and compressing, as the exporter says, and the whole scrape, as Prometheus "
        "does. Where the two are far apart, the network is slow.",
        SECONDS,
        3,
    ),
    [
        Query(
            "max by (instance) (spendtree_exporter_scrape_duration_seconds)",
            "{{instance}} rendering",
        ),
        Query(
            f"max by (instance) (scrape_duration_seconds{JOB})",
            "{{instance}} scrape",
        ),
    ],
    narrow=True,
)

_memory = graph(
    About(
        "Memory",
        "Resident memory of each exporter. About 400 bytes a series are usual; if it grows "
        "without them, restart it and tell us.",
        BYTES,
        0,
    ),
    [Query(f"process_resident_memory_bytes{JOB}", "{{instance}}")],
    narrow=True,
)

_processor = graph(
    About(
        "Processor",
        "Cores that each exporter uses. An idle one takes a hundredth; if it is near one, it is "
        "overrun: fewer scrapers, or fewer series.",
        RATIO,
        1,
    ),
    [
        Query(
            f"rate(process_cpu_seconds_total{JOB}[$__rate_interval])",
            "{{instance}}",
        )
    ],
    interval="1m",
    narrow=True,
    top=0.1,
)

_size = Section(
    "Size",
    [
        Line(8, [(12, _series), (12, _which_label_is_full)]),
        Line(8, [(8, _scrape_time_by_exporter), (8, _memory), (8, _processor)]),
    ],
)

_spans_received = graph(
    About(
        "Spans received",
        "Per second, by what became of them. Rejected ones were unreadable: see the exporter's "
        "log. Ignored ones are of traces without a call.",
        COUNT,
        2,
    ),
    [
        Query(
            "sum by (result) (rate(spendtree_exporter_received_spans_total[$__rate_interval])) "
            f"or {_none('result')}",
            "{{result}}",
        )
    ],
    stacked=True,
    interval="1m",
    narrow=True,
    top=1,
)

_spans_that_wait = graph(
    About(
        "Spans that wait",
        "Spans whose trace may not be complete yet. Some seconds are usual; if it only grows, "
        "roots of traces never arrive.",
        COUNT,
        0,
    ),
    [Query(f"spendtree_exporter_pending_spans or {_none('instance')}", "{{instance}}")],
    narrow=True,
    top=1,
)

_age_of_the_price_list = stat_of(
    About(
        "Age of the price list",
        "Since the date of the price catalogue in use. Above 90 days prices may have changed: "
        "upgrade genai-prices, or give prices in spendtree.yaml.",
        SECONDS,
        0,
    ),
    "time() - min(spendtree_price_catalogue_timestamp_seconds)",
    thresholds=colours.steps(60 * 86_400, 90 * 86_400),
    empty="not known",
)

_unrecorded_calls = stat_of(
    About(
        "Unrecorded calls",
        "Calls that went on although their record could not be stored, in the time shown. Only "
        "`spendtree.collector()` knows them: see the application's log.",
        COUNT,
        0,
    ),
    "sum(increase(spendtree_unrecorded_calls_total[$__range])) or vector(0)",
    thresholds=colours.steps(1, 1),
)

_spans = Section(
    "Spans received over OTLP, and the price list",
    [
        Line(
            7,
            [
                (8, _spans_received),
                (8, _spans_that_wait),
                (4, _age_of_the_price_list),
                (4, _unrecorded_calls),
            ],
        )
    ],
)

BOARD = Board(
    uid="spendtree-exporter",
    title="Spendtree / Exporter health",
    description="Whether the figures on the other dashboards are fresh and whole.",
    sections=[Section("", [_top]), _fresh, _size, _spans],
    variables=(),
    marked="Spendtree(Exporter|UnrecordedCalls).*",
)

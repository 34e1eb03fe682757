"""The application's own metrics: its own spans as series of its own prometheus_client registry.

`hearing` says what this process books, `collecting` folds it, `families` and `exemplars` turn the
fold into prometheus_client's values, `workers` tells where that would be wrong, `serving` is an
ASGI app. The figures are those of `spendtree.metrics`; nothing here counts anything itself, and
nothing of prometheus_client is loaded before use.
"""

import os
from typing import TYPE_CHECKING

from spendtree.collector.workers import why_many
from spendtree.default import default
from spendtree.errors import ConfigurationError
from spendtree.store.locks import ProcessLock

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from spendtree.collector.collecting import Collector
    from spendtree.collector.serving import MetricsApp
    from spendtree.tracker import Spendtree

_locks = ProcessLock()


def collector(
    registry: "CollectorRegistry | None" = None, *, tracker: "Spendtree | None" = None
) -> "Collector":
    """Register what this process spends with a prometheus_client registry, from now on.

    Make it before the first session. `registry` is prometheus_client's own unless given, `tracker`
    the default Spendtree. Asked again, it returns the same collector; in a forked child a new one,
    of the child's spend alone. Raises ConfigurationError where several worker processes serve one
    address (each scrape would reach another one, and counters would go backwards), and where the
    registry holds the figures of another Spendtree.
    """
    # On use: prometheus_client and the catalogue are 30 ms that most programs never need.
    from prometheus_client import REGISTRY  # noqa: PLC0415

    from spendtree.collector.collecting import Collector  # noqa: PLC0415
    from spendtree.collector.hearing import hear, hearing  # noqa: PLC0415

    reason = why_many()
    if reason:
        raise ConfigurationError(
            f"collector(): {reason}. Each scrape would reach one of several processes, and "
            "counters would go backwards. Run spendtree-exporter on the store instead: it counts "
            "them all"
        )
    chosen, asked = registry or REGISTRY, tracker or default()
    with _locks.here:
        inherited = hearing(asked)
        if inherited is not None and inherited.pid != os.getpid():
            for each in inherited.listeners:
                each.close()  # the parent's figures, brought here by a fork
        for each in hear(asked).listeners:
            if each.registry is chosen:
                return each
        return Collector(asked, hear(asked), chosen)


def metrics_app(
    registry: "CollectorRegistry | None" = None, *, tracker: "Spendtree | None" = None
) -> "MetricsApp":
    """Return an ASGI app that serves a registry with `collector()` in it, to mount or to route to.

    In the text format or OpenMetrics, as the scraper asks, with gzip. Arguments and errors are
    those of `collector`; whatever else the registry holds is served too.
    """
    from spendtree.collector.serving import MetricsApp  # noqa: PLC0415 - loads prometheus_client

    return MetricsApp(collector(registry, tracker=tracker).registry)


__all__ = ["collector", "metrics_app"]

"""Process: what every Python exporter tells about its own process, under the names all use.

CPU time, memory, file descriptors, start time, Python's version and garbage collection, by the
collectors of prometheus_client, as text to be put into our body.
"""

from functools import lru_cache

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.openmetrics import exposition as openmetrics_exposition

_EOF = b"# EOF\n"


def process_figures(*, openmetrics: bool) -> bytes:
    """Return the families as text, without the mark that ends an OpenMetrics body.

    Where /proc is missing, those of the process are, too.
    """
    if not openmetrics:
        return generate_latest(_registry())
    told: bytes = openmetrics_exposition.generate_latest(_registry())  # type: ignore[no-untyped-call]
    return told.removesuffix(_EOF)


@lru_cache(maxsize=1)
def _registry() -> CollectorRegistry:
    """Return a registry of our own: the default one belongs to the application around us."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry

"""Own: what the exporter tells about itself, as samples of the catalogue's families."""

from importlib.metadata import version

from spendtree_exporter.follow import Follower
from spendtree_exporter.render import Own

VERSION = version("spendtree")


def own_figures(follower: Follower, scrape_us: int) -> Own:
    """Return the exporter's own samples; the caller holds the follower's lock.

    The fold is brought up to date by it, so ask before you render. `scrape_us` is how many
    microseconds the scrape before this one took.
    """
    follower.refresh()
    fold, oldest = follower.fold, follower.oldest_hold
    limits = fold.limits
    return {
        "oldest_hold_age_seconds": [] if oldest is None else [((), max(follower.now - oldest, 0))],
        "exporter_events_read_total": [((), follower.events_read)],
        "exporter_store_errors_total": [((), follower.store_errors)],
        "exporter_lag_seconds": [((), round(follower.lag_seconds * 1e6))],
        "exporter_series": [
            (("session",), fold.session_series),
            (("standing",), fold.standing_series),
        ],
        "exporter_series_limit": [
            (("session",), limits.session_series),
            (("standing",), limits.standing_series),
        ],
        "exporter_live_sessions": [((), fold.live_sessions)],
        "exporter_scrape_duration_seconds": [((), scrape_us)],
        "build_info": [((VERSION,), 1)],
        **follower.configured,
    }

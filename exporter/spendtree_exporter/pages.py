"""Pages: the landing page, as a function of values."""

from html import escape

from spendtree_exporter.layout import navigation, page


def landing(
    *,
    version: str,
    telemetry_path: str,
    store: str,
    problem: str,
    events: int,
    series: int,
    live_sessions: int,
    lag_seconds: float,
) -> str:
    """Return the page at `/`: what this is, how it stands, where to go.

    `problem` says why the figures are not shown yet, "" if they are.
    """
    facts = {
        "Store": store,
        "Events": f"{events:,}",
        "Series": f"{series:,}",
        "Open sessions": f"{live_sessions:,}",
        "Behind the store": f"{lag_seconds:.1f} s",
    }
    rows = "\n".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    links = {
        telemetry_path: "Metrics",
        "/sessions": "Sessions",
        "/api/v1/openapi.json": "API",
        "/-/healthy": "Health",
        "/-/ready": "Readiness",
    }
    notice = f'<p class="problem" role="status">{escape(problem)}</p>\n' if problem else ""
    return page(
        "Spendtree exporter",
        f"""<h1>Spendtree exporter <small>{escape(version)}</small></h1>
<p>Who spends what in a multi-agent LLM system, as Prometheus metrics.</p>
{notice}<dl>
{rows}
</dl>
{navigation(links)}""",
    )

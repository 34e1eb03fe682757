"""Pages: HTML for people, as functions of values. No assets from elsewhere, no scripts."""

from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2321; --soft: #5d6b66; --paper: #fbfcfb;
  --card: #fff; --line: #dfe6e2; --leaf: #1f7a4d; --warn: #a4480b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ece9; --soft: #97a59f; --paper: #121715;
  --card: #1a211e; --line: #2c3632; --leaf: #5fcf97; --warn: #f0a35e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 44rem; margin: 12vh auto 4rem; padding: 0 1.5rem; }
h1 { font-size: 1.75rem; letter-spacing: -.02em; margin: 0 0 .25rem; }
h1 small { color: var(--soft); font-size: .9rem; font-weight: 400; letter-spacing: 0; }
p { margin: .25rem 0 1.75rem; color: var(--soft); }
p.problem { color: var(--warn); }
dl { display: grid; grid-template-columns: max-content 1fr; margin: 0 0 1.75rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
dt, dd { margin: 0; padding: .55rem 1rem; border-top: 1px solid var(--line); }
dt:first-of-type, dd:first-of-type { border-top: 0; }
dt { color: var(--soft); }
dd { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .6rem; }
a { color: var(--leaf); border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); padding: .4rem .9rem; text-decoration: none; }
a:hover, a:focus-visible { border-color: var(--leaf); }
"""


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
    links = {telemetry_path: "Metrics", "/-/healthy": "Health", "/-/ready": "Readiness"}
    anchors = "\n".join(f'<a href="{escape(k)}">{v}</a>' for k, v in links.items())
    notice = f'<p class="problem" role="status">{escape(problem)}</p>\n' if problem else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Spendtree exporter</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Spendtree exporter <small>{escape(version)}</small></h1>
<p>Who spends what in a multi-agent LLM system, as Prometheus metrics.</p>
{notice}<dl>
{rows}
</dl>
<nav>
{anchors}
</nav>
</main>
</body>
</html>
"""

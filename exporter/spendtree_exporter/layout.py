"""Layout: what all pages share: head, style, navigation. No assets from elsewhere, no scripts."""

from html import escape

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Sent with every page: whatever a label smuggles in, nothing of it may run or load."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2321; --soft: #5d6b66; --paper: #fbfcfb;
  --card: #fff; --line: #dfe6e2; --leaf: #1f7a4d; --bar: #bfe0cf; --faint: #e9f3ee;
  --warn: #a4480b; --bad: #b3261e; --badbg: #fbe9e7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ece9; --soft: #97a59f; --paper: #121715;
  --card: #1a211e; --line: #2c3632; --leaf: #5fcf97; --bar: #2c5f47; --faint: #22302a;
  --warn: #f0a35e; --bad: #ff8a80; --badbg: #3a1f1d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 44rem; margin: 12vh auto 4rem; padding: 0 1.5rem; }
main.wide { max-width: 76rem; margin: 2rem auto 4rem; }
h1 { font-size: 1.6rem; letter-spacing: -.02em; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h1 small { color: var(--soft); font-size: .9rem; font-weight: 400; letter-spacing: 0; }
h2 { font-size: 1rem; margin: 2rem 0 .6rem; }
p { margin: .25rem 0 1.5rem; color: var(--soft); }
p.problem { color: var(--warn); }
dl { display: grid; grid-template-columns: max-content 1fr; margin: 0 0 1.75rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
dt, dd { margin: 0; padding: .5rem 1rem; border-top: 1px solid var(--line); }
dt:first-of-type, dd:first-of-type { border-top: 0; }
dt { color: var(--soft); }
dd { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .6rem; margin: 0 0 1.5rem; }
a { color: var(--leaf); text-decoration: none; }
a:hover { text-decoration: underline; }
nav a, button { color: var(--leaf); border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); padding: .35rem .85rem; font: inherit; cursor: pointer; }
nav a:hover, nav a:focus-visible, button:hover { border-color: var(--leaf); text-decoration: none; }
form { display: flex; flex-wrap: wrap; gap: .6rem .9rem; align-items: end; margin: 0 0 1.25rem; }
label { display: grid; gap: .15rem; color: var(--soft); font-size: .8rem; }
input, select { font: inherit; color: var(--ink); background: var(--card); width: 9.5rem;
  height: 2.2rem;
  border: 1px solid var(--line); border-radius: .4rem; padding: .3rem .5rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .8rem; border-top: 1px solid var(--line);
  vertical-align: top; }
thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: .8rem;
  white-space: nowrap; }
tbody th { font-weight: 500; }
.n { text-align: right; white-space: nowrap; }
.t { white-space: nowrap; }
.name { overflow-wrap: anywhere; min-width: 11rem; }
.who { overflow-wrap: anywhere; min-width: 6rem; }
.id { overflow-wrap: anywhere; min-width: 17.5rem; font-family: ui-monospace, monospace;
  font-size: .8rem; }
.soft { color: var(--soft); font-size: .85rem; font-weight: 400; }
.cost { min-width: 7.5rem; width: 15%; }
.cost .soft { display: block; white-space: nowrap; }
.track { display: block; height: .45rem; border-radius: .25rem; background: var(--faint);
  margin-top: .25rem; overflow: hidden; }
.track i { display: block; height: 100%; background: var(--bar); float: left; }
.track i.own { background: var(--leaf); }
.badge { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .55rem; font-size: .8rem;
  color: var(--soft); white-space: nowrap; }
.badge.good { color: var(--leaf); }
.badge.bad { color: var(--bad); border-color: currentColor; }
.badge.live { color: var(--warn); }
tr.bad > * { background: var(--badbg); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .6rem .9rem; }
.facts b { display: block; font-size: 1.25rem; font-weight: 600; letter-spacing: -.01em; }
.facts span { color: var(--soft); font-size: .8rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 1.5rem; }
"""


def page(title: str, body: str, *, wide: bool = False) -> str:
    """Return a whole page. `title` is text, `body` is HTML in which all text is escaped."""
    width = ' class="wide"' if wide else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main{width}>
{body}
</main>
</body>
</html>
"""


def navigation(links: dict[str, str]) -> str:
    """Return a row of links: path -> text."""
    anchors = "\n".join(f'<a href="{escape(k)}">{escape(v)}</a>' for k, v in links.items())
    return f"<nav>\n{anchors}\n</nav>"


def bar(part: int, whole: int, own: int | None = None) -> str:
    """Return a bar of `part` of a `whole`, of which `own` stands out; nothing of nothing."""
    if whole <= 0:
        return '<span class="track"></span>'
    strong = min(max(own or 0, 0), part)
    widths = [("own", strong), ("", part - strong)] if own is not None else [("own", part)]
    pieces = [
        f'<i class="{name}" style="width:{min(100 * amount / whole, 100):.2f}%"></i>'
        for name, amount in widths
        if amount > 0
    ]
    return f'<span class="track">{"".join(pieces)}</span>'

"""A receiver that shows what Alertmanager sends: for the stack and for tests, not for production.

Run it as `python alerts/receiver.py --listen 127.0.0.1:9095`. It needs nothing but Python, so that
it runs in any image; it may therefore not import Spendtree.

`POST /slack` takes what Alertmanager would send to Slack (the text that a person reads), and `POST
/webhook` its plain payload (what a program reads). Texts are printed, and shown on `/`; everything
is on `/api/messages` as JSON, the newest first.
"""

import argparse
import html
import json
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOST_KEPT = 200
MOST_BYTES = 4 << 20

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>Alerts received</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: auto; padding: 1rem }}
article {{ border-left: 4px solid #888; padding: 0 1rem; margin: 1.5rem 0 }}
article.firing {{ border-color: #c4162a }} article.resolved {{ border-color: #37872d }}
pre {{ white-space: pre-wrap; font: inherit }} h2 {{ font-size: 1rem; margin: 0 }}
p {{ color: #666 }}
</style></head><body><h1>Alerts received</h1>{messages}</body></html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One notification: when it came, by which door, for whom, firing or resolved, its text."""

    time: str
    door: str
    channel: str
    status: str
    title: str
    text: str
    payload: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.time}  {self.channel}\n{self.title}\n{self.text}".rstrip()


def from_slack(payload: dict[str, Any]) -> dict[str, str]:
    """Return channel, status, title and text of a Slack message as Alertmanager writes it."""
    attachments = payload.get("attachments") or [{}]
    first = attachments[0]
    # Slack messages carry no status; the colour is what tells a resolved one from a firing one.
    status = "resolved" if first.get("color") == "good" else "firing"
    text = "\n".join(str(one.get("text", "")) for one in attachments)
    return {
        "channel": str(payload.get("channel", "")),
        "status": status,
        "title": str(first.get("title", "")),
        "text": text,
    }


def from_webhook(payload: dict[str, Any]) -> dict[str, str]:
    """Return the same of Alertmanager's own payload: one line per alert."""
    receiver, status, alerts = payload["receiver"], payload["status"], payload["alerts"]
    lines = [
        f"{alert['status']}: " + ", ".join(f"{k}={v}" for k, v in sorted(alert["labels"].items()))
        for alert in alerts
    ]
    return {
        "channel": receiver,
        "status": status,
        "title": f"{status}: {len(alerts)} of {receiver}",
        "text": "\n".join(lines),
    }


DOORS: dict[str, Callable[[dict[str, Any]], dict[str, str]]] = {
    "/slack": from_slack,
    "/webhook": from_webhook,
}


class Receiver(ThreadingHTTPServer):
    """The server, and the messages that it has taken so far."""

    daemon_threads = True

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tell: Callable[[Message], None] = lambda message: None,
    ) -> None:
        super().__init__((host, port), Handler)
        self._tell = tell
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque(maxlen=MOST_KEPT)

    @property
    def url(self) -> str:
        """The address, with the port that was free."""
        return "http://{}:{}".format(*self.server_address[:2])

    def messages(self) -> list[Message]:
        """Return what has come, the oldest first."""
        with self._lock:
            return list(self._messages)

    def take(self, door: str, payload: dict[str, Any]) -> None:
        """Keep and tell one message."""
        message = Message(
            time=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            door=door,
            payload=payload,
            **DOORS[door](payload),
        )
        with self._lock:
            self._messages.append(message)
        self._tell(message)


class Handler(BaseHTTPRequestHandler):
    """One request: a message that comes, or somebody who looks."""

    server: Receiver

    def do_POST(self) -> None:
        """Take a message; 400 for what is none, so that Alertmanager reports it."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.path not in DOORS:
            return self._answer(404, "text/plain", f"post to one of {', '.join(DOORS)}\n")
        if length > MOST_BYTES:
            return self._answer(413, "text/plain", "too large\n")
        try:
            self.server.take(self.path, json.loads(self.rfile.read(length)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return self._answer(400, "text/plain", f"not a notification: {error!r}\n")
        return self._answer(200, "text/plain", "ok")

    def do_GET(self) -> None:
        """Show the messages, as a page or as JSON."""
        newest = self.server.messages()[::-1]
        if self.path == "/api/messages":
            rows = [asdict(message) for message in newest]
            return self._answer(200, "application/json", json.dumps(rows))
        if self.path == "/-/healthy":
            return self._answer(200, "text/plain", "ok\n")
        if self.path != "/":
            return self._answer(404, "text/plain", "see /, /api/messages and /-/healthy\n")
        shown = [article(message) for message in newest if message.door == "/slack"]
        page = PAGE.format(messages="".join(shown) or "<p>None yet.</p>")
        return self._answer(200, "text/html; charset=utf-8", page)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what matters is the messages."""

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def article(message: Message) -> str:
    """Return one message as HTML; everything in it comes from outside."""
    title, text = html.escape(message.title), html.escape(message.text)
    kind, when = html.escape(message.status), html.escape(f"{message.time} {message.channel}")
    return f'<article class="{kind}"><h2>{title}</h2><p>{when}</p><pre>{text}</pre></article>'


def print_text(message: Message) -> None:
    """Print a message as a person reads it; the plain payload would say it all twice."""
    if message.door == "/slack":
        print(f"\n{message}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, printing what comes."""
    parser = argparse.ArgumentParser(description="Show what Alertmanager sends.")
    parser.add_argument("--listen", default="127.0.0.1:9095", metavar="HOST:PORT")
    host, _, port = parser.parse_args(arguments).listen.rpartition(":")
    with Receiver(host or "0.0.0.0", int(port), tell=print_text) as server:
        stop = threading.Thread(target=server.shutdown)

        def ended(*_: object) -> None:
            # shutdown() waits for serve_forever(), which runs in the thread that is interrupted.
            if not stop.is_alive():
                stop.start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ended)
        print(f"listening on {server.url}", file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()

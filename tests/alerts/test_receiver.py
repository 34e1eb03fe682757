"""The stack's receiver shows what comes, and takes nothing else."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.alerts import running
from tests.processes import rest_of

PROGRAM = Path(__file__).resolve().parents[2] / "alerts" / "receiver.py"

TEXT = {
    "channel": "#spend",
    "username": "Alertmanager",
    "attachments": [
        {
            "title": "[WARNING] A budget is <nearly> used up",
            "text": "• customer acme\n  $80 of $100",
            "color": "warning",
        }
    ],
}
PAYLOAD = {
    "receiver": "spend",
    "status": "resolved",
    "alerts": [{"status": "resolved", "labels": {"alertname": "A", "customer": "acme"}}],
}


def test_a_text_is_kept_and_shown_with_everything_escaped() -> None:
    with running.receiver() as receiver:
        answer = httpx.post(f"{receiver.url}/slack", json=TEXT)
        page = httpx.get(receiver.url).text
        (message,) = httpx.get(f"{receiver.url}/api/messages").json()

    assert (answer.status_code, answer.text) == (200, "ok")
    assert "[WARNING] A budget is &lt;nearly&gt; used up" in page
    assert "• customer acme\n  $80 of $100" in page
    assert (message["channel"], message["status"]) == ("#spend", "firing")
    assert message["payload"] == TEXT


def test_a_green_text_is_one_of_something_that_is_over() -> None:
    over = {**TEXT, "attachments": [{**TEXT["attachments"][0], "color": "good"}]}  # type: ignore[dict-item]

    with running.receiver() as receiver:
        httpx.post(f"{receiver.url}/slack", json=over)

    assert [message.status for message in receiver.messages()] == ["resolved"]


def test_the_plain_payload_is_kept_but_not_shown_beside_its_text() -> None:
    with running.receiver() as receiver:
        httpx.post(f"{receiver.url}/webhook", json=PAYLOAD)
        page = httpx.get(receiver.url).text

    (message,) = receiver.messages()
    assert message.title == "resolved: 1 of spend"
    assert message.text == "resolved: alertname=A, customer=acme"
    assert "None yet" in page


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/webhook", b"not json", 400),
        ("/webhook", b"[]", 400),
        ("/webhook", b'{"status": "firing"}', 400),
        ("/slack", b'"text"', 400),
        ("/elsewhere", b"{}", 404),
    ],
)
def test_what_is_no_notification_is_refused_and_not_kept(
    path: str, body: bytes, status: int
) -> None:
    with running.receiver() as receiver:
        answer = httpx.post(f"{receiver.url}{path}", content=body)

    assert answer.status_code == status
    assert receiver.messages() == []


def test_the_newest_is_first_and_the_oldest_is_forgotten() -> None:
    with running.receiver() as receiver:
        for number in range(201):
            receiver.take("/slack", {"channel": f"#{number}"})
        listed = httpx.get(f"{receiver.url}/api/messages").json()

    assert [message["channel"] for message in listed][:2] == ["#200", "#199"]
    assert listed[-1]["channel"] == "#1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_program_it_prints_texts_and_ends_at_a_signal(number: signal.Signals) -> None:
    """Isolated, without site-packages: it has to run where nothing but Python is."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(PROGRAM), "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found
        assert httpx.get(f"{found[0]}/-/healthy").text == "ok\n"
        httpx.post(f"{found[0]}/slack", json=TEXT)
        httpx.post(f"{found[0]}/webhook", json=PAYLOAD)
        process.send_signal(number)
        printed, complaints = rest_of(process)

    assert process.returncode == 0
    assert "#spend\n[WARNING] A budget is <nearly> used up\n• customer acme\n  $80" in printed
    assert "resolved" not in printed
    assert complaints == ""

"""`python -m tests.stack`: raise the stack without Docker, and keep it up until interrupted."""

import argparse
import json
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.stack.local import StackError, raised
from tests.stack.ports import HOST, PROGRAMS, defaults, free

PAGES = {
    "exporter": "the sessions and what they cost",
    "prometheus": "queries, rules and alerts",
    "alertmanager": "what is firing, and silences",
    "receiver": "the messages that were sent",
}


def main() -> int:
    """Raise the stack; return 0 when interrupted, 1 if a program is missing or ends."""
    options = parsed()
    ports = free(dict.fromkeys(PROGRAMS, 0) if options.free_ports else defaults())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="spendtree-stack-") as folder:
            keep_up(Path(folder), ports, as_json=options.json)
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    return 0


def keep_up(folder: Path, ports: dict[str, int], *, as_json: bool) -> None:
    """Raise the stack, say where it is, and stay until it fails or is interrupted."""
    print("raising workload, exporter, receiver, Alertmanager and Prometheus", file=sys.stderr)
    with raised(folder, ports) as stack:
        urls = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
        if as_json:
            print(json.dumps({"urls": urls, "pids": stack.pids}), flush=True)
        else:
            for name, url in urls.items():
                print(f"  {url}  {PAGES[name]} ({name})")
            print(f"logs and data are in {folder} while it is up; Ctrl-C ends it", flush=True)
        pause = threading.Event()
        while not pause.wait(1):
            stack.check()


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack", description=__doc__)
    parser.add_argument(
        "--free-ports", action="store_true", help="any ports, instead of those of .env"
    )
    parser.add_argument("--json", action="store_true", help="tell addresses and processes as JSON")
    return parser.parse_args()


def interrupt(_number: int, _frame: object) -> None:
    """Turn the first signal into the exception that ends everything in its order."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""`python -m grafana.build`: write every dashboard's JSON."""

import sys
from pathlib import Path

from grafana.build.boards import BOARDS
from grafana.build.dashboard import as_json

DASHBOARDS = Path(__file__).resolve().parents[1] / "dashboards"


def main() -> None:
    """Write the files; what is no dashboard of ours any more has to be deleted by hand."""
    for board in BOARDS:
        target = DASHBOARDS / f"{board.uid}.json"
        target.write_text(as_json(board), "utf-8")
        sys.stdout.write(f"{target.name}\n")


if __name__ == "__main__":
    main()

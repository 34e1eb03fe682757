"""`python -m grafana.build [DIRECTORY]`: write every dashboard's JSON, into grafana/dashboards."""

import sys
from pathlib import Path

from grafana.build.boards import BOARDS
from grafana.build.dashboard import as_json

DASHBOARDS = Path(__file__).resolve().parents[1] / "dashboards"


def main(directory: Path) -> None:
    """Write the files; what is no dashboard of ours any more has to be deleted by hand."""
    for board in BOARDS:
        target = directory / f"{board.uid}.json"
        target.write_text(as_json(board), "utf-8")
        sys.stdout.write(f"{target.name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else DASHBOARDS)

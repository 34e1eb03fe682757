"""The `spendtree` command: the script's door, which works without the extra just to say so.

typer and rich are imported only inside this package, behind `main`.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (None: that of the process) and return its exit code.

    0 done; 1 something could not be done, said in one line on stderr; 2 wrong usage, or the
    extra `cli` is not installed.
    """
    # typer and rich are an extra: an application that only records spend has neither.
    try:
        from spendtree.cli.app import run  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        if missing.name not in ("click", "rich", "typer"):
            raise
        print(
            f"spendtree: the command line needs {missing.name!r}: pip install 'spendtree[cli]'",
            file=sys.stderr,
        )
        return 2
    return run(arguments)

"""`python -m spendtree.cli`: the same command where no script was installed."""

import sys

from spendtree.cli import main

if __name__ == "__main__":
    sys.exit(main())

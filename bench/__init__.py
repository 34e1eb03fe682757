"""What the README's figures come from: `python -m bench`, or `make bench`."""

from bench.figure import Figure

__all__ = ["Figure"]

"""`python -m spendtree.metrics`: print the page about the metrics, docs/metrics.md."""

from spendtree.metrics.page import page

if __name__ == "__main__":
    print(page(), end="")

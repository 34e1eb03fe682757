"""A long scrape of a busy exporter by real Prometheus servers: `make soak`, and a short one.

`load` is what spends, `watching` starts everything and says what the servers have to complain of.
"""

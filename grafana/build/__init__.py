"""The dashboards, as Python: `python -m grafana.build` writes grafana/dashboards/*.json.

The words, names and labels of metrics come from the catalogue; nothing here reads a clock, a
network or a Grafana.
"""

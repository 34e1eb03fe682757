"""Boards: the six dashboards, in the order in which they are read."""

from grafana.build import budgets, customers, efficiency, exporter, overview, sessions

BOARDS = (
    overview.BOARD,
    sessions.BOARD,
    budgets.BOARD,
    customers.BOARD,
    efficiency.BOARD,
    exporter.BOARD,
)

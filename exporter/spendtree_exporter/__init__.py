"""Follows a Spendtree store and serves its figures over HTTP."""

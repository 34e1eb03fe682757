"""Who spends what in a multi-agent LLM system, stopped before it spends more than it may."""

__version__ = "0.1.0"

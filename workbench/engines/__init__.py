"""External programs for polynomial systems, run with limits, their answers read by a grammar of our own and checked."""

__all__: list[str] = []

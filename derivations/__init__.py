"""Derivations package of the landscape workbench."""

__all__: list[str] = []

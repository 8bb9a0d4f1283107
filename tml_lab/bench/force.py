"""Decisions imposed from outside: how a turn-based rival is made out of the same model."""

from __future__ import annotations

from collections.abc import Callable

Force = Callable[[int, str], str | None]
"""`(turn, decision of the turn before) -> "<silent>", "<speak>" or None` (None: the model decides).

Called once for every turn, in order; it may keep state, so each episode needs its own.
"""

"""The one error of this floor."""

from __future__ import annotations


class SignalError(ValueError):
    """Sound or pictures that cannot be used; the message says what, where and what to do about it."""

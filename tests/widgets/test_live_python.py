"""What a live session asks of the interpreter is given back when the last one has ended."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from tml_widgets.live_python import SWITCH_INTERVAL, LivePython


@pytest.fixture
def thawed() -> Iterator[None]:
    gc.unfreeze()
    before = sys.getswitchinterval()
    yield
    gc.unfreeze()
    sys.setswitchinterval(before)


def test_two_sessions_and_then_none(thawed: None) -> None:
    python, before = LivePython(), sys.getswitchinterval()
    python.enter()
    frozen = gc.get_freeze_count()
    python.enter()
    python.leave()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)
    assert min(frozen, gc.get_freeze_count()) > 10_000
    python.leave()
    assert sys.getswitchinterval() == pytest.approx(before) and gc.get_freeze_count() == 0


def test_a_collection_passes_over_what_was_there_before(thawed: None) -> None:
    python = LivePython()
    python.enter()
    looked_at = len(gc.get_objects())  # what a collection goes through
    python.leave()
    assert looked_at < len(gc.get_objects()) / 10


def test_what_somebody_else_froze_stays_so(thawed: None) -> None:
    gc.freeze()
    theirs = gc.get_freeze_count()
    python = LivePython()
    python.enter()
    python.leave()
    assert 0.9 * theirs < gc.get_freeze_count() <= theirs  # a frozen object still goes when nothing refers to it

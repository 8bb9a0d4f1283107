"""A learner's ticks: kept in one file, never lost to a damaged one, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tml_lab.course import progress
from tml_lab.course.checks import ch15_passes


def by_hand(typed: int, patches: int, words: int, speaking: bool) -> list[int]:
    return [5 + typed + patches, *([1] * (words + 4) if speaking else [])]


def test_a_right_answer_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TML_LAB_PROGRESS", str(tmp_path / "new" / "p.json"))
    assert progress.read() == {}
    ch15_passes(by_hand)
    ch15_passes.restore()
    first = progress.read()
    assert list(first) == ["ch15_passes"]
    progress.solved("ch15_passes")
    progress.solved("ch01_played_span")
    assert set(progress.read()) == {"ch15_passes", "ch01_played_span"}
    progress.forget()
    assert progress.read() == {}


@pytest.mark.parametrize("damage", ["", "[1]", "{"])
def test_a_damaged_file_is_an_empty_one(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TML_LAB_PROGRESS", str(tmp_path / "p.json"))
    progress.place().write_text(damage)
    assert progress.read() == {}
    progress.solved("ch01_played_span")
    assert list(progress.read()) == ["ch01_played_span"]


def test_no_place_to_write_costs_the_tick_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TML_LAB_PROGRESS", str(tmp_path / "file" / "p.json"))
    with pytest.warns(UserWarning, match="could not be kept"):
        progress.solved("ch01_played_span")

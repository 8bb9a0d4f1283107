"""Columns in bounded memory: what comes back is what went in, wherever it lay meanwhile."""

from __future__ import annotations

import gc
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.stream.columns import BLOCKS, Column, Spill
from tml_lab.stream.reels import MemoryReel, Pictures

ROW = 4 * 3  # bytes of a row float32 [3]


def rows_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)


def column(memory: int = ROW * BLOCKS * 2, zeros: int = 0) -> Column:
    return Column(np.float32, (3,), Spill(), memory, zeros)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["append", "array", "fork"]), st.integers(0, 60)), max_size=12),
    st.integers(0, 9),
)
def test_a_column_holds_what_was_appended(steps: list[tuple[str, int]], zeros: int) -> None:
    mine = column(zeros=zeros)
    expected = np.zeros((zeros, 3), np.float32)
    left: list[tuple[Column, np.ndarray]] = []
    for seed, (what, n) in enumerate(steps):
        if what == "append":
            new = rows_of(n, seed)
            mine.extend(new)
            expected = np.concatenate([expected, new])
        elif what == "array":
            assert np.array_equal(mine.array(), expected)
        else:  # both go on, each by itself
            left.append((mine, expected))
            mine = mine.copy(Spill())
            older, old = left[-1]
            new = rows_of(n, seed)
            older.extend(new)
            left[-1] = (older, np.concatenate([old, new]))
    for one, whole in [*left, (mine, expected)]:
        assert len(one) == len(whole)
        some = np.random.default_rng(1).integers(0, max(1, len(whole)), min(len(whole), 20))
        assert np.array_equal(one.take(some), whole[some])
        assert np.array_equal(one.part(len(whole) // 2), whole[len(whole) // 2 :])
        assert np.array_equal(one.array(), whole)
        assert np.array_equal(one.array(), whole)  # asking changes nothing


def test_memory_is_bounded_and_short_columns_touch_no_disk() -> None:
    long, short = column(), column()
    long.extend(rows_of(1000))
    short.extend(rows_of(10))
    assert long.spilled + len(long.blocks) * long.block >= 1000 and len(long.blocks) <= BLOCKS + 1
    assert short.array().shape == (10, 3) and not short.parts and "_folder" not in vars(short.spill)


def test_what_was_read_stays_while_the_column_grows() -> None:
    mine = column()
    mine.extend(rows_of(100))
    before = mine.array()
    mine.extend(rows_of(100, seed=1))
    assert np.array_equal(before, rows_of(100)) and len(mine.array()) == 200


def test_the_folder_goes_with_the_last_reader() -> None:
    mine = column()
    mine.extend(rows_of(500))
    folder = Path(mine.spill._folder.name)
    twin = mine.copy(Spill())
    del mine
    gc.collect()
    assert folder.exists() and np.array_equal(twin.array(), rows_of(500))
    del twin
    gc.collect()
    assert not folder.exists()


def test_a_full_disk_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = column()
    mine.extend(rows_of(100))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.warns(UserWarning, match="No space left.*TMPDIR"):
            mine.extend(rows_of(100, seed=1))
        assert np.array_equal(mine.array(), np.concatenate([rows_of(100), rows_of(100, seed=1)]))
    mine.extend(rows_of(100, seed=2))
    assert np.array_equal(mine.array()[200:], rows_of(100, seed=2))


def test_pictures_of_changing_sizes_come_back() -> None:
    rng = np.random.default_rng(0)
    sizes = [(2, 4, 6, 3), None, (2, 8, 4, 3), (2, 4, 6, 3)] * 30
    shown = [None if size is None else rng.integers(0, 255, size, np.uint8) for size in sizes]
    pictures = Pictures(Spill(), memory=2000)
    for frames in shown[:100]:
        pictures.append(frames)
    kept = pictures.copy(Spill())  # a recording of the first hundred
    for frames in shown[100:]:
        pictures.append(frames)
    for there, whole in ((kept, shown[:100]), (pictures, shown)):
        assert len(there) == len(whole)
        assert all(
            one is None if other is None else one is not None and np.array_equal(one, other)
            for one, other in zip(there, whole, strict=True)
        )
    with pytest.raises(IndexError, match="120"):
        pictures[120]


def test_a_reel_and_its_copy_go_different_ways() -> None:
    reel = MemoryReel()
    turn = np.full(3200, 0.5, np.float32)
    for n in range(3):
        reel.write(turn * n, turn * -n, None)
    twin = reel.copy()
    turn[:] = 9  # the caller's own buffer
    reel.write(turn, turn, None)
    heard, own, frames = twin.contents()
    assert heard.shape == own.shape == (3 * 3200,) and frames is None
    assert heard[-1] == 1.0 and own[-1] == -1.0 and reel.contents()[0][-1] == 9.0


def test_another_thread_may_read_while_one_appends() -> None:
    mine, whole, wrong = column(), rows_of(4000), []

    def read() -> None:
        while len(mine) < len(whole):
            there = len(mine)
            wrong.append(not np.array_equal(mine.part(max(0, there - 40), there), whole[max(0, there - 40) : there]))

    reader = threading.Thread(target=read)
    reader.start()
    mine.extend(whole)
    reader.join()
    assert not any(wrong)


def test_pictures_go_to_another_process_as_a_list() -> None:
    pictures = Pictures(Spill(), memory=2000)
    turns = [np.full((2, 4, 5, 3), n, np.uint8) if n % 3 else None for n in range(40)]
    for frames in turns:
        pictures.append(frames)
    again = pickle.loads(pickle.dumps(pictures))
    assert len(again) == 40 and [frames is None for frames in again] == [frames is None for frames in turns]
    assert all(np.array_equal(one, other) for one, other in zip(again, turns, strict=True) if other is not None)

"""What the queue drops, and what it never drops."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.serve.catch_up import Rule
from tml_lab.serve.chunk_queue import Chunk, ChunkQueue
from tml_lab.stream.recording import SKIPPED


def chunk(seq: int, video: bool = True, text: str | None = None) -> Chunk:
    frames = np.zeros((2, 4, 4, 3), np.uint8) if video else None
    return Chunk(seq, np.zeros(3200, np.float32), frames, text)


def drain(queue: ChunkQueue) -> list[Chunk]:
    """What was heard, without the turns that were skipped for it."""
    items = [item for item in iter(lambda: queue.get(0), None) if isinstance(item, Chunk)]
    return [item for item in items if isinstance(item.audio, np.ndarray)]


@given(n=st.integers(0, 30), keep_video=st.integers(1, 6), more=st.integers(0, 6))
def test_video_goes_first_and_then_the_oldest_sound(n: int, keep_video: int, more: int) -> None:
    queue = ChunkQueue(keep_video, keep_video + more)
    for seq in range(n):
        queue.put(chunk(seq))
    left = drain(queue)
    assert [c.seq for c in left] == list(range(n))[-(keep_video + more) :]
    assert [c.seq for c in left if c.frames is not None] == list(range(n))[-keep_video:]
    assert queue.lost_audio == max(0, n - keep_video - more)
    assert queue.lost_video == max(0, n - keep_video)


def test_a_chunk_dropped_whole_had_lost_its_pictures_first() -> None:
    queue = ChunkQueue(keep_video=2, keep_audio=4)
    for seq in range(4):
        queue.put(chunk(seq))
    assert (queue.lost_video, queue.lost_audio) == (2, 0)
    queue.put(chunk(4))
    assert (queue.lost_video, queue.lost_audio) == (3, 1)


def test_typed_words_survive_the_loss_of_their_chunk() -> None:
    queue = ChunkQueue(1, 1)
    queue.put(chunk(0, text="repeat"))
    queue.put(chunk(1))
    queue.type("please")
    (left,) = drain(queue)
    assert (left.seq, left.text) == (1, "repeat please")


def test_typed_words_go_to_exactly_one_turn() -> None:
    queue = ChunkQueue()
    queue.type("hello")
    queue.put(chunk(0))
    queue.put(chunk(1))
    assert [c.text for c in drain(queue)] == ["hello", None]


def test_commands_keep_their_place_and_are_never_dropped() -> None:
    queue, order = ChunkQueue(1, 1), []
    queue.command(lambda: order.append("first"))
    for seq in range(5):
        queue.put(chunk(seq))
    queue.command(lambda: order.append("second"))
    for item in iter(lambda: queue.get(0), None):
        if not isinstance(item, Chunk):
            item()
        elif item.audio is not SKIPPED:
            order.append(item.seq)
    assert order == ["first", 4, "second"]


def test_put_blocking_waits_for_room_and_loses_nothing() -> None:
    queue = ChunkQueue(keep_video=2, keep_audio=2)
    feeder = threading.Thread(target=lambda: [queue.put_blocking(chunk(seq)) for seq in range(20)])
    feeder.start()
    taken = [queue.get(10) for _ in range(20)]
    feeder.join(10)
    assert [c.seq for c in taken if isinstance(c, Chunk) and c.frames is not None] == list(range(20))
    assert queue.lost_audio == queue.lost_video == 0


def test_close_wakes_a_waiting_taker() -> None:
    queue, got = ChunkQueue(), []
    taker = threading.Thread(target=lambda: got.append(queue.get()))
    taker.start()
    queue.close()
    taker.join(10)
    assert got == [None]


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="keep_video"):
        ChunkQueue(keep_video=5, keep_audio=2)


class Seconds:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(queue: ChunkQueue) -> list[tuple[int, str, str | None, bool]]:
    """`(seq, what, typed, late)` of all that can be taken now."""
    items = [item for item in iter(lambda: queue.get(0), None) if isinstance(item, Chunk)]
    return [
        (c.seq, "gap" if c.audio is None else f"skip {c.turns}" if c.audio is SKIPPED else "heard", c.text, c.late)
        for c in items
    ]


def test_a_missing_chunk_is_a_gap_with_the_words_typed_meanwhile() -> None:
    clock = Seconds()
    queue = ChunkQueue(clock=clock, rule=Rule(bridge=1))
    queue.put(chunk(0))
    assert taken(queue) == [(0, "heard", None, False)]
    queue.type("hello")
    clock.now = 0.6
    queue.put(chunk(3))
    assert taken(queue) == [(1, "gap", "hello", False), (2, "gap", None, False), (3, "heard", None, False)]
    queue.type("again")
    clock.now = 1.0
    queue.put(chunk(5))  # only one is missing: it is bridged
    assert taken(queue) == [(4, "skip 1", None, False), (5, "heard", "again", False)]
    clock.now = 1.4
    queue.put(chunk(7))  # so soon after a bridge: a gap
    assert taken(queue) == [(6, "gap", None, False), (7, "heard", None, False)]


def test_a_burst_is_heard_whole_and_its_old_turns_are_late() -> None:
    clock = Seconds()
    queue = ChunkQueue(clock=clock)
    queue.put(chunk(0))
    assert len(taken(queue)) == 1
    clock.now = 3.2
    for seq in range(1, 17):
        queue.put(chunk(seq))
    assert [(seq, late) for seq, what, _, late in taken(queue) if what == "heard"] == [
        (seq, seq <= 10) for seq in range(1, 17)
    ]
    assert queue.lost_audio == 0


def test_a_closed_lid_is_skipped_and_no_words_are_lost() -> None:
    clock = Seconds()
    queue = ChunkQueue(clock=clock)
    queue.put(chunk(0))
    assert len(taken(queue)) == 1
    clock.now = 1200.0
    queue.put(chunk(1, text="back"))
    skip, *gaps, back = taken(queue)
    assert skip[1] == "skip 5849" and {what for _, what, _, _ in gaps} == {"gap"} and len(gaps) == 150
    assert back == (1, "heard", "back", False)


def test_patience_ends_when_no_chunk_comes_although_turns_go_on() -> None:
    clock = Seconds()
    queue = ChunkQueue(clock=clock)
    queue.put(chunk(0))
    assert isinstance(queue.get(10), Chunk)
    clock.now = 6.0
    assert len(taken(queue)) == 29  # gaps, to the present
    clock.now = 11.0
    assert [what for _, what, _, _ in taken(queue)] == ["gap"] * 25
    assert queue.get(10) is None


def test_while_paused_time_stands_still() -> None:
    clock = Seconds()
    queue = ChunkQueue(clock=clock)
    queue.put(chunk(0))
    queue.pause()
    assert len(taken(queue)) == 1
    clock.now = 100.0
    assert taken(queue) == []
    queue.resume()
    queue.put(chunk(9))
    assert taken(queue) == [(9, "heard", None, False)]


def test_what_is_given_up_is_skipped_and_its_words_stay() -> None:
    queue = ChunkQueue(clock=Seconds())
    queue.put(chunk(0))
    assert len(taken(queue)) == 1
    queue.put(chunk(1, text="repeat"))
    queue.put(chunk(2))
    queue.give_up()
    queue.pause()
    assert len(queue) == 0 and queue.lost_audio == 2
    assert [item for item in taken(queue) if item[1] == "heard"] == []
    queue.resume()
    queue.put(chunk(7))
    (left,) = [item for item in taken(queue) if item[1] == "heard"]
    assert (left[0], left[2]) == (7, "repeat")


def test_a_clip_that_is_not_in_real_time_is_never_late() -> None:
    clock = Seconds()
    queue = ChunkQueue(clock=clock)
    for seq in range(3):
        queue.put_blocking(chunk(seq))
        clock.now += 60.0
    assert taken(queue) == [(seq, "heard", None, False) for seq in range(3)]

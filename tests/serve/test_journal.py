"""The journal by itself: every byte where it can be cut, segments, branches, a disk that takes no more."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.scene import pictures, sound
from tml_lab.serve import journal as module
from tml_lab.serve.journal import FRAME, Journal
from tml_lab.serve.records import RecordError, TurnIn, pack_output, unpack_input, unpack_output
from tml_lab.stream.session import Session

GIVEN = [
    TurnIn(sound(0), watched=(2, 1)),
    TurnIn(None, gap=True),
    TurnIn(sound(2), pictures(2), "héllo \ud800", lost=1),
    TurnIn(None, text="stop", shed=True),
]


@pytest.fixture(scope="module")
def outputs(model, tokenizer) -> list[bytes]:
    """What came of turns with other inputs: some silent, some spoken, one with a watched head."""
    session, packed = Session(model, tokenizer, seed=3), []
    for n in range(6):
        session.attention = (2, 0) if n == 4 else None
        packed.append(pack_output(session.step(sound(n)), session.tape))
    assert {"<silent>", "<speak>"} <= set(session.tape.names)
    return packed


def same_input(one: TurnIn, other: TurnIn) -> bool:
    arrays = all(
        (a is None and b is None) or np.array_equal(a, b) for a, b in zip(one[:2], other[:2], strict=True)
    )
    return arrays and one[2:] == other[2:]


def written(folder: Path, outputs: list[bytes]) -> Journal:
    """Four turns, of which one was taken back, and the last has no output; the last two frames are short."""
    journal = Journal(folder)
    outputs = [*outputs[:2], min(outputs, key=len)]
    for n, each in enumerate(GIVEN):
        journal.begin(each)
        if n == 2:
            journal.void()
            journal.begin(each)
        if n < 3:
            assert journal.end(outputs[n])
    journal.close()
    return journal


def test_what_was_written_is_read_back(tmp_path, outputs):
    journal = written(tmp_path, outputs)
    again = Journal(tmp_path)
    again.recover()
    assert (again.turns, again.done, again.dropped) == (4, 3, 0)
    assert again.inputs == journal.inputs and again.outputs == journal.outputs and again.bytes == journal.bytes
    assert all(same_input(again.input(n), each) for n, each in enumerate(GIVEN))
    for n in range(2):
        one, other = again.output(n), unpack_output(outputs[n])
        assert one.result.audio.tobytes() == other.result.audio.tobytes() and one.rows == other.rows
        assert (one.result.decision, one.result.p_speak) == (other.result.decision, other.result.p_speak)


def test_an_output_has_the_bits_of_the_turn(model, tokenizer):
    session = Session(model, tokenizer, seed=3, attention=(2, 0))
    for n in range(6):
        result = session.step(sound(n))
        out = unpack_output(pack_output(result, session.tape))
        assert out.result.audio.tobytes() == result.audio.tobytes() and out.result.timings == result.timings
        assert (out.voice is None) == (result.decision != "<speak>") and out.head == (2, 0)
        assert result.attention is not None and out.result.attention.keys() == result.attention.keys()
        for stream, weight in result.attention.items():
            assert np.array_equal(out.result.attention[stream], weight)


def test_a_torn_end_is_cut_off_at_every_byte(tmp_path, outputs):
    """The last two frames, an OUTPUT and an INPUT, cut after every single byte."""
    (tmp_path / "whole").mkdir()
    journal = written(tmp_path / "whole", outputs)
    whole = journal.path(0).read_bytes()
    at_output, at_input = journal.outputs[2][1], journal.inputs[3][1]
    file = tmp_path / "torn" / "000000.journal"
    file.parent.mkdir()
    for cut in range(at_output, len(whole)):
        file.write_bytes(whole[:cut])
        torn = Journal(file.parent)
        torn.recover()
        assert (torn.turns, torn.done) == (3, 3 if cut >= at_input else 2), cut
        kept = at_input if cut >= at_input else at_output
        assert torn.dropped == cut - kept and file.stat().st_size == kept
        assert torn.torn == (torn.dropped > 0)
    torn.begin(GIVEN[3])  # and it goes on from there
    torn.close()
    assert file.read_bytes() == whole


@settings(max_examples=150)
@given(data=st.data())
def test_damage_anywhere_keeps_what_is_before_it(tmp_path_factory, outputs, data):
    folder = tmp_path_factory.mktemp("fuzz")
    journal = written(folder, outputs)
    whole = bytearray(journal.path(0).read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    journal.path(0).write_bytes(whole)
    again = Journal(folder)
    again.recover()
    before = [n for n, (_, place) in enumerate(journal.inputs) if place + FRAME.size <= at]
    assert again.turns in (len(before), len(before) - 1, len(before) - 2) and again.dropped > 0
    assert all(same_input(again.input(n), GIVEN[n]) for n in range(again.turns))


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_no_journal(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("junk")
    (folder / "000000.journal").write_bytes(junk)
    journal = Journal(folder)
    journal.recover()
    assert (journal.turns, journal.dropped) == (0, len(junk))


@given(st.binary(max_size=200))
def test_any_bytes_are_no_record(junk):
    for unpack in (unpack_input, unpack_output):
        with pytest.raises(RecordError) as refused:
            unpack(junk)
        assert "\n" not in str(refused.value)


def test_segments_and_branches(tmp_path, outputs, monkeypatch):
    monkeypatch.setattr(module, "SEGMENT", 30_000)
    (tmp_path / "one").mkdir()
    one = Journal(tmp_path / "one")
    for n in range(6):
        one.begin(TurnIn(sound(n)))
        one.end(outputs[n])
    assert len(list(one.folder.glob("*.journal"))) == 3
    for turns in range(7):
        folder = tmp_path / f"fork{turns}"
        folder.mkdir()
        twin = one.branch(folder, turns)
        assert (twin.turns, twin.done) == (turns, turns)
        twin.begin(TurnIn(sound(77)))
        twin.close()
        again = Journal(folder)
        again.recover()
        assert (again.turns, again.done, again.dropped) == (turns + 1, turns, 0)
        assert again.inputs == twin.inputs and again.bytes == twin.bytes
        assert np.array_equal(again.input(turns).audio, sound(77))
    assert all(np.array_equal(one.input(n).audio, sound(n)) for n in range(6))  # the parent has its own future
    one.close()
    first = one.path(0)
    first.write_bytes(first.read_bytes()[:-1])  # damage in a segment that is not the last
    again = Journal(one.folder)
    again.recover()
    assert not again.torn and again.dropped > 30_000 and len(list(one.folder.glob("*.lost"))) == 2


@pytest.mark.parametrize("part", [0, 1, 100])
def test_a_full_disk_takes_a_part_and_the_file_stays_whole(tmp_path, outputs, monkeypatch, part):
    journal = Journal(tmp_path)
    journal.begin(GIVEN[0])
    real, full = module._write_all, True

    def write(file, data):
        if full:
            real(file, data[:part])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, data)

    monkeypatch.setattr(module, "_write_all", write)
    size = journal.path(0).stat().st_size
    assert not journal.end(outputs[0]) and journal.done == 1  # owed
    with pytest.raises(OSError, match="No space"):
        journal.begin(GIVEN[1])
    assert journal.turns == 1 and journal.path(0).stat().st_size == size
    assert journal.output(0).result.turn == 0
    folder = tmp_path / "fork"
    folder.mkdir()
    twin = journal.branch(folder, 1)
    assert twin.done == 1
    full = False
    for each in (journal, twin):
        each.begin(GIVEN[1])
        each.void()
        each.close()
        again = Journal(each.folder)
        again.recover()
        assert (again.turns, again.done, again.dropped) == (1, 1, 0)

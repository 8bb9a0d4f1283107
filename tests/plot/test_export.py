"""Exports: other programs read them, all stands in its second, and a full disk leaves no half file."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrid_read import read_textgrid

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES
from tml_lab.plot.export import KINDS, export
from tml_lab.plot.export_sound import pieces
from tml_lab.plot.export_textgrid import textgrid
from tml_lab.stream.recording import Inputs, Recording, RecordingError
from tml_lab.stream.replay import differences


def test_tiers_stand_in_their_seconds(recording, tmp_path):
    path = export(recording, tmp_path / "talk.TextGrid", heard=[(1.0, 1.5, 'say "five"'), (1.4, 1.9, "now")])
    length, tiers = read_textgrid(path.read_text(encoding="utf-8"))
    assert length == pytest.approx(4.2) and list(tiers) == ["heard", "typed", "decision", "said"]
    assert tiers["heard"] == [(0, 1, ""), (1, 1.5, 'say "five"'), (1.5, 1.9, "now"), (1.9, 4.2, "")]
    assert tiers["typed"] == [(0.4, 'say <b>"five"</b> </script>')]
    assert [row for row in tiers["said"] if row[2]] == [(1.4, 1.8, "five"), (2.6, 2.7, "two"), (2.7, 2.8, "three")]
    assert [row for row in tiers["decision"] if row[2] == "speak"] == [(1.2, 1.6, "speak"), (2.4, 2.6, "speak")]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-1, 6), st.floats(-1, 6), st.text(max_size=6)), max_size=8),
    st.lists(st.tuples(st.integers(0, 20), st.text(max_size=6)), max_size=6),
    st.floats(0, 3), st.floats(0.01, 4),
)  # fmt: skip
def test_any_words_make_a_textgrid(heard, typed, start, seconds):
    nothing = Recording(Inputs(np.zeros(21 * TURN_SAMPLES), tuple(typed)))
    length, tiers = read_textgrid(textgrid(nothing, start, start + seconds, heard))
    for name, rows in tiers.items():
        if name == "typed":
            times = [time for time, _ in rows]
            assert times == sorted(set(times)) and all(0 <= time <= length for time in times)
            continue
        assert rows[0][0] == 0 and rows[-1][1] == length  # no hole, no overlap
        assert all(a[1] == b[0] for a, b in pairwise(rows)) and all(a < b for a, b, _ in rows)


def test_sound_of_both_sides(recording, tmp_path):
    path = export(recording, tmp_path / "talk.wav")
    sound, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE and sound.shape == (21 * TURN_SAMPLES, 2)
    np.testing.assert_allclose(sound[: 20 * TURN_SAMPLES, 0], recording.inputs.audio, atol=1e-4)
    np.testing.assert_allclose(sound[:, 1], recording.played_audio(), atol=1e-4)
    part, _ = soundfile.read(export(recording, tmp_path / "part.wav", (1.3, 1.9)), dtype="float32")
    assert np.array_equal(part, sound[round(1.3 * SAMPLE_RATE) : round(1.9 * SAMPLE_RATE)])


def test_pieces_reach_over_the_ends(recording):
    (around,) = pieces(recording, 4.0, 5.0)
    assert around.shape == (2, SAMPLE_RATE) and not around[0].any()
    np.testing.assert_array_equal(around[1, :TURN_SAMPLES], recording.audio_out[-TURN_SAMPLES:])


def clicks(turns: int = 20) -> tuple[Recording, list[float]]:
    """A click and a white picture in the same tenths of a second, else silence and black."""
    audio = np.zeros(turns * TURN_SAMPLES, np.float32)
    frames = [np.zeros((2, 120, 160, 3), np.uint8) for _ in range(turns)]
    at = [1.0, 1.5, 2.9]
    for t in at:
        first = round(t * SAMPLE_RATE)
        audio[first : first + 1600] = 0.8 * np.sin(np.arange(1600) / 3)
        frames[int(t * 5 + 1e-6)][round(t * 10) % 2] = 255
    silent = Recording(Inputs(audio, (), frames), ("<silent>",) * turns, np.zeros(turns, np.float32), ((),) * turns,
                       np.zeros_like(audio))  # fmt: skip
    return silent, at


def test_a_film_with_sound_in_sync(tmp_path):
    av = pytest.importorskip("av")
    recording, at = clicks()
    path = export(recording, tmp_path / "talk.mp4")
    with av.open(str(path)) as film:
        kinds = [stream.codec_context.name for stream in film.streams]
        assert kinds == ["h264", "aac"] and film.duration / 1e6 == pytest.approx(4.2, abs=0.1)
        white = [frame.time for frame in film.decode(video=0) if frame.to_ndarray(format="gray")[100:300].mean() > 128]
    with av.open(str(path)) as film:
        frames = list(film.decode(audio=0))
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    began, rate = frames[0].time, frames[0].sample_rate
    loud = began + np.flatnonzero(np.abs(sound) > 0.3) / rate
    for t in at:
        assert min(abs(np.array(white) - t)) < 0.02
        assert loud[loud > t - 0.1][0] == pytest.approx(t, abs=0.03)


def test_a_film_without_a_camera_is_the_strip(recording, tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(export(recording, tmp_path / "talk.mp4", (1.0, 2.0)))) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(pictures) == 10 and pictures[0].shape == (240, 640, 3)
    orange = (pictures[9].astype(int) - [213, 94, 0])[100:140]
    assert (np.abs(orange).max(-1) < 40).any()  # it speaks at 1.2 s


def test_the_page_and_the_recording(recording, tmp_path):
    page = export(recording, tmp_path / "talk.html", title="a talk").read_text(encoding="utf-8")
    assert "<title>a talk" in page
    back = Recording.load(export(recording, tmp_path / "talk.tml.zip"))
    assert differences(recording, back) == []


@pytest.mark.parametrize(
    ("name", "span", "says"),
    [
        ("talk.mp3", None, "does not say what kind"),
        ("talk.wav", (9.0, 10.0), "nothing between"),
        ("talk.html", (1.0, 2.0), "whole recording"),
        ("file/talk.wav", None, "cannot write the sound"),
        ("file/talk.mp4", None, "cannot write the film"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(recording, tmp_path, name, span, says):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=says) as caught:
        export(recording, tmp_path / name, span)
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == ["file"]


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from tml_lab.plot.export import KINDS, export
from tml_lab.stream.recording import Inputs, Recording, RecordingError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
turns = 60
noise = np.random.default_rng(0).uniform(-0.5, 0.5, turns * 3200).astype(np.float32)
typed = tuple((n, "word " * 40) for n in range(turns))
recording = Recording(Inputs(noise, typed), ("<silent>",) * turns, np.zeros(turns, np.float32), ((),) * turns, noise)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # no file may grow beyond it, as on a full disk
for suffix in KINDS.values():
    try:
        print(export(recording, Path(sys.argv[1]) / f"talk{suffix}"))
    except RecordingError as error:
        print(error)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path):
    for suffix in KINDS.values():
        (tmp_path / f"talk{suffix}").write_text("the one before")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, env=os.environ, timeout=120
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(KINDS) and all("write" in line or "writing" in line for line in lines), done.stderr
    assert sorted(os.listdir(tmp_path)) == sorted(f"talk{suffix}" for suffix in KINDS.values())
    assert all((tmp_path / f"talk{suffix}").read_text() == "the one before" for suffix in KINDS.values())


def test_gaps_and_skipped_turns_are_a_tier(recording):
    turns = recording.inputs.audio.reshape(-1, TURN_SAMPLES).copy()
    turns[[3, 4, 9]] = 0.0
    lost = replace(recording, inputs=replace(recording.inputs, audio=turns.reshape(-1), gaps=(4, 9), skipped=(3,)))
    _, tiers = read_textgrid(textgrid(lost, 0.0, 4.2))
    assert [row for row in tiers["missing"] if row[2]] == [(0.6, 0.8, "skipped"), (0.8, 1.0, "gap"), (1.8, 2.0, "gap")]
    assert (0.6, 0.8, "skipped") in tiers["decision"]

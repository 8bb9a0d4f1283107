"""Recordings as one file; and whatever is done to a recording's files: one sentence, or a whole recording."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.recording import Inputs, Recording, RecordingError
from tml_lab.stream.recording_zip import PARTS, load_zip
from tml_lab.stream.replay import differences
from tml_lab.stream.session import Session

TURNS = 8
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def recording(model, tokenizer, run) -> Recording:
    return run(Session(model, tokenizer, seed=3, attention=(2, 0)), TURNS).recording({"source": "a test"})


@pytest.fixture(scope="module")
def folder(recording, tmp_path_factory) -> Path:
    return recording.save(tmp_path_factory.mktemp("whole") / "recording")


@pytest.fixture(scope="module")
def packed(recording, tmp_path_factory) -> bytes:
    return recording.save(tmp_path_factory.mktemp("zip") / "talk.tml.zip").read_bytes()


def one_sentence(load: Callable[[], Recording]) -> None:
    """Either a recording of which everything can be read, or one RecordingError in one line."""
    try:
        found = load()
        read_all(found)
    except RecordingError as error:
        assert str(error).strip() and "\n" not in str(error)
        return
    assert found.turns >= 0


def read_all(found: Recording) -> None:
    """Everything that a view of a recording asks for."""
    assert len(found.audio_out) == found.turns * TURN_SAMPLES and np.asarray(found.inputs.audio).size >= 0
    for frames in found.inputs.frames or ():
        assert frames is None or frames.shape[::3] == (2, 3)
    assert all(token.label for token in found.tokens)
    assert len(found.said()) == sum(map(len, found.words)) and found.requests() is not None
    found.fork(t=0.0)


def test_one_file_there_and_back(recording, packed, tmp_path):
    (tmp_path / "talk.tml.zip").write_bytes(packed)
    back = Recording.load(tmp_path / "talk.tml.zip")
    assert differences(recording, back) == []
    assert np.array_equal(back.inputs.audio, recording.inputs.audio) and np.array_equal(back.voice, recording.voice)
    (tmp_path / "talk.tml.zip").unlink()
    for mine, theirs in zip(recording.inputs.frames, back.inputs.frames, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or np.array_equal(mine, theirs)
    assert differences(recording, Recording.load(back.save(tmp_path / "again.zip"))) == []


def test_a_folder_that_somebody_zipped(recording, folder, tmp_path):
    """As the systems' own tools do: with a folder inside, and with things that do not belong."""
    with zipfile.ZipFile(tmp_path / "by hand.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in PARTS:
            archive.write(folder / name, f"my talk/{name}")
        archive.writestr("__MACOSX/my talk/._recording.json", b"\0\1")
        archive.writestr("my talk/.DS_Store", b"\0\1")
    assert differences(recording, Recording.load(tmp_path / "by hand.zip")) == []


def test_what_was_unpacked_goes_with_the_recording(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "talk.zip").write_bytes(packed)
    back = Recording.load(tmp_path / "talk.zip")
    assert len(list(tmp_path.iterdir())) == 2
    del back
    assert [path.name for path in tmp_path.iterdir()] == ["talk.zip"]


@pytest.mark.parametrize("name", ["../../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "recording.json/../evil.txt"])
def test_a_path_that_climbs_out_is_never_followed(packed, tmp_path, monkeypatch, name):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(inner))
    bad = io.BytesIO(packed)
    with zipfile.ZipFile(bad, "a") as archive:
        archive.writestr(name, "evil")
    (inner / "talk.zip").write_bytes(bad.getvalue())
    Recording.load(inner / "talk.zip")
    assert not list(tmp_path.rglob("*evil*")) and not Path("/tmp/evil.txt").exists()


def test_a_bomb_is_put_out(packed, tmp_path):
    """40 MB of silence in some 40 kB, and the file says that they are 10 bytes."""
    parts = {name: zipfile.ZipFile(io.BytesIO(packed)).read(name) for name in PARTS}
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in PARTS:
            archive.writestr(name, bytes(40_000_000) if name == "own.wav" else parts[name])
    with pytest.raises(RecordingError, match="unpacks to more than 2 MB"):
        load_zip(bomb, most_bytes=2_000_000)
    raw = bytearray(bomb.read_bytes())
    at = raw.rindex(b"own.wav") - 46 + 24  # the size in the central directory
    raw[at : at + 4] = (10).to_bytes(4, "little")
    bomb.write_bytes(raw)
    with pytest.raises(RecordingError):
        load_zip(bomb, most_bytes=2_000_000)


def test_pictures_that_promise_too_much(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "edited")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2, 9**6, 9**6, 3)})
    with zipfile.ZipFile(tmp_path / "edited" / "frames.npz", "w") as archive:
        archive.writestr("1.npy", header.getvalue())
    back = Recording.load(tmp_path / "edited")
    with pytest.raises(RecordingError, match="turn 1 cannot be read"):
        _ = back.inputs.frames[1]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("readme.txt", b"hello")], "holds no recording"),
        ([("a/recording.json", b"{}"), ("b/recording.json", b"{}")], "holds 2 recordings"),
        ([("recording.json", b"{}"), ("own.wav", b""), ("own.wav", b"")], "own.wav twice"),
        ([("recording.json", b"{}")], "not a recording of this lab"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_zips(members, says, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    with pytest.raises(RecordingError, match=says) as caught:
        Recording.load(tmp_path / "other.zip")
    assert "other.zip" in str(caught.value) and "tml-recording-" not in str(caught.value)


@FUZZ
@given(st.integers(0, 10**9), st.integers(0, 4), st.integers(0, 2**32 - 1))
@example(0, 0, 0)
def test_any_zip_that_was_cut_or_edited(packed, tmp_path, length, edits, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(packed[: length % (len(packed) + 1)] if length % 3 else packed)
    for _ in range(edits):
        if data:
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
    if len(data) > 200 and seed % 2:  # half of them in the directory at the end, where the promises are
        data[-int(rng.integers(1, 200))] = int(rng.integers(256))
    (tmp_path / "cut.zip").write_bytes(data)
    one_sentence(lambda: Recording.load(tmp_path / "cut.zip"))


@FUZZ
@given(st.sampled_from(PARTS), st.floats(0, 1), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_any_part_that_was_cut_or_edited(folder, tmp_path, name, keep, edits, seed):
    rng = np.random.default_rng(seed)
    edited = tmp_path / "edited"
    shutil.rmtree(edited, ignore_errors=True)
    shutil.copytree(folder, edited)
    data = bytearray((edited / name).read_bytes())
    if seed % 2:
        data = data[: int(keep * len(data))]
    head = min(len(data), 600 if seed % 3 else len(data))  # mostly where the promises are
    for _ in range(edits if head else 0):
        data[int(rng.integers(head))] = int(rng.integers(256))
    (edited / name).write_bytes(data)
    one_sentence(lambda: Recording.load(edited))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@FUZZ
@given(st.data())
def test_any_header_that_was_edited(folder, tmp_path, data):
    """Still JSON, with a value of another kind, or none."""
    edited = tmp_path / "edited"
    shutil.rmtree(edited, ignore_errors=True)
    shutil.copytree(folder, edited)
    header = json.loads((edited / "recording.json").read_text())
    name = data.draw(st.sampled_from(sorted(header)))
    if data.draw(st.booleans()):
        header[name] = data.draw(JSON)
    else:
        del header[name]
    (edited / "recording.json").write_text(json.dumps(header))
    one_sentence(lambda: Recording.load(edited))


@FUZZ
@given(st.data())
def test_any_column_that_was_edited(folder, tmp_path, data):
    """Still safetensors, with a column of another length, kind or range."""
    edited = tmp_path / "edited"
    shutil.rmtree(edited, ignore_errors=True)
    shutil.copytree(folder, edited)
    columns = load_file(edited / "turns.safetensors")
    name = data.draw(st.sampled_from(sorted(columns)))
    column = columns[name]
    change = data.draw(st.sampled_from(["shorter", "kind", "value", "shape", "gone"]))
    if change == "gone":
        del columns[name]
    elif change == "value" and column.size:
        raw = bytearray(column.tobytes())
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        columns[name] = np.frombuffer(bytes(raw), column.dtype).reshape(column.shape)
    else:
        changed = {"shorter": column[:-1], "kind": column.astype(np.float64)}
        columns[name] = np.ascontiguousarray(changed.get(change, column.reshape(1, -1)))
    save_file(columns, edited / "turns.safetensors")
    one_sentence(lambda: Recording.load(edited))


FULL = """
import resource, signal, sys
import numpy as np
from tml_lab.stream.recording import Inputs, Recording, RecordingError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
turns = 40
noise = np.random.default_rng(0).standard_normal(turns * 3200).astype(np.float32)
recording = Recording(Inputs(noise), ("<silent>",) * turns, np.zeros(turns, np.float32), ((),) * turns, noise)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))  # no file may grow beyond it
try:
    recording.save(sys.argv[1])
except RecordingError as error:
    print(error)
"""


@pytest.mark.parametrize("most", [100_000, 600_000])  # the sound does not fit; only the zip does not
def test_a_full_disk_leaves_what_was_there(tmp_path, most):
    path = tmp_path / "talk.tml.zip"
    path.write_bytes(b"the one before")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(most)], capture_output=True, text=True, env=os.environ, timeout=60
    )
    assert "cannot write" in done.stdout or "failed" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1 and str(path) in done.stdout
    assert path.read_bytes() == b"the one before" and os.listdir(tmp_path) == ["talk.tml.zip"]


def test_nothing_to_save_is_saved_too(tmp_path):
    empty = Recording(Inputs(np.zeros(0)))
    assert Recording.load(empty.save(tmp_path / "empty.zip")).turns == 0

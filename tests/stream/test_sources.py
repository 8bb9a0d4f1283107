"""Sound and video files, one turn at a time: equal to reading them whole, and plain words for what cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from tml_lab.config import TURN_SAMPLES
from tml_lab.signal.audio import read_audio
from tml_lab.signal.errors import SignalError
from tml_lab.stream.sources import SoundFile, VideoFile

av = pytest.importorskip("av")


def write(path, seconds, rate, channels=1, subtype="PCM_16"):
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(path, np.stack([tone * (1 - 0.5 * c) for c in range(channels)], 1), rate, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "suffix"),
    [
        (16000, 1, "PCM_16", "wav"),
        (8000, 2, "PCM_16", "wav"),
        (48000, 1, "FLOAT", "wav"),
        (44100, 2, "PCM_24", "flac"),
    ],
)
def test_turns_equal_the_whole_file(tmp_path, rate, channels, subtype, suffix):
    path = write(tmp_path / f"a.{suffix}", 2.37, rate, channels, subtype)
    file = SoundFile(path)
    turns = list(file)
    assert all(turn.shape == (TURN_SAMPLES,) and turn.dtype == np.float32 for turn in turns)
    assert len(turns) == file.turns == 12 and file.notes == []
    whole = read_audio(path)
    np.testing.assert_allclose(
        np.concatenate(turns)[: len(whole)], whole, atol=2e-4
    )  # block against one-shot soxr
    assert file.seconds == pytest.approx(2.37, abs=1e-3)


def test_one_sample_is_one_turn(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5]), 16000)
    (turn,) = SoundFile(tmp_path / "a.wav")
    assert turn[0] == 0.5 and not turn[1:].any()


def test_truncated_wav_is_used_and_noted(tmp_path):
    path = write(tmp_path / "a.wav", 2.0, 16000)
    path.write_bytes(path.read_bytes()[:20_000])
    file = SoundFile(path)
    assert len(list(file)) == 4
    assert file.notes == ["a.wav is cut off: used the 0.6 s that are there."]


def test_loud_and_clipped_sound_is_noted(tmp_path):
    soundfile.write(tmp_path / "loud.wav", np.full(4000, 3.0), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "clipped.wav", np.full(4000, 1.0), 16000, subtype="FLOAT")
    for name, says in (("loud", "beyond -1..1"), ("clipped", "clipped")):
        list(file := SoundFile(tmp_path / f"{name}.wav"))
        assert len(file.notes) == 1 and says in file.notes[0]


def test_nan_is_located(tmp_path):
    sound = np.zeros(32000, np.float32)
    sound[24000] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, 16000, subtype="FLOAT")
    with pytest.raises(SignalError, match=r"NaN or infinity at 1\.500 s"):
        list(SoundFile(tmp_path / "nan.wav"))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty file"), (b"some text", "cannot be read as sound"), (None, "no sound file")],
)
def test_what_is_no_sound(tmp_path, content, says):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SignalError, match=says):
        SoundFile(path)


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    with pytest.raises(SignalError, match="without a single sample"):
        SoundFile(tmp_path / "a.wav")


def video(path, shades, rate=25, size=(320, 240)):
    """A lossless video in which frame n is a plain grey of the value `shades[n]`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "bgr0"
        for shade in shades:
            picture = np.full((size[1], size[0], 3), shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_video_shows_the_last_frame_at_each_instant(tmp_path):
    file = VideoFile(video(tmp_path / "a.mkv", [4 * n for n in range(25)]))  # one second at 25 frames/s
    pairs = [file.next_turn() for _ in range(7)]
    assert all(pair.shape == (2, 120, 160, 3) and pair.dtype == np.uint8 for pair in pairs[:5])
    shown = [int(pair[k].mean()) for pair in pairs[:5] for k in (0, 1)]
    assert shown == [
        4 * int(n * 2.5) for n in range(10)
    ]  # at 0.0, 0.1 ... s frames 0, 2, 5, 7 ... are on screen
    assert pairs[5:] == [None, None]


def test_slow_video_repeats_and_wide_video_gets_borders(tmp_path):
    file = VideoFile(video(tmp_path / "a.mkv", [100, 200], rate=2, size=(320, 160)))
    pairs = [file.next_turn() for _ in range(5)]
    shown = [int(pair[k, 60].mean()) for pair in pairs for k in (0, 1)]
    assert shown == [100] * 5 + [200] * 5
    assert not pairs[0][:, :20].any() and not pairs[0][:, 100:].any() and pairs[0][:, 20:100].all()


@pytest.mark.parametrize("content", [b"", b"some text", None])
def test_what_is_no_video(tmp_path, content):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SignalError, match=r"cannot be read as video|no video file"):
        VideoFile(path)


def test_sound_is_no_video(tmp_path):
    with pytest.raises(SignalError, match="no video track"):
        VideoFile(write(tmp_path / "a.wav", 0.5, 16000))

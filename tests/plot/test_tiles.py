"""Tiles show what lies in their seconds, on every level; what is too large to be kept whole is never made whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES
from tml_lab.plot.tiles import BackTiles, DMelTiles, PictureTiles, SpectrogramTiles, WaveTiles
from tml_lab.signal.dmel import dmel
from tml_lab.stream.recording import Attention

TURNS = 80
AUDIO = np.random.default_rng(0).uniform(-0.9, 0.9, TURNS * TURN_SAMPLES).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(0, 10_000))
def test_a_wave_column_holds_the_extremes_of_its_samples(turns, seed):
    rng = np.random.default_rng(seed)
    audio = rng.uniform(-1, 1, turns * TURN_SAMPLES).astype(np.float32)
    tiles = WaveTiles(audio)
    level = int(rng.integers(len(tiles.seconds)))
    index = int(rng.integers(tiles.count(level)))
    columns = np.frombuffer(tiles.tile(level, index), "<i2").reshape(-1, 2) / 32767
    step = round(tiles.seconds[level] * SAMPLE_RATE)
    part = audio[index * 1024 * step : (index + 1) * 1024 * step]
    for n in rng.integers(0, max(1, -(-len(part) // step)), 20) if len(part) else ():
        here = part[n * step : (n + 1) * step]
        np.testing.assert_allclose(columns[n], [here.min(), here.max()], atol=1 / 32767)
    assert not columns[-(-len(part) // step) :].any()  # behind the end there is nothing


def test_levels_go_up_to_one_tile_that_holds_all():
    for tiles in (WaveTiles(AUDIO), SpectrogramTiles(AUDIO), DMelTiles(AUDIO)):
        assert tiles.count(len(tiles.seconds) - 1) == 1
        assert np.allclose(np.diff(np.log(tiles.seconds)), np.log(4))
        with pytest.raises(IndexError, match="no tile"):
            tiles.tile(0, tiles.count(0))


def test_dmel_tiles_are_what_the_model_hears():
    tiles = DMelTiles(AUDIO)
    image = np.frombuffer(tiles.tile(0, 0), np.uint8).reshape(80, 256)
    heard = dmel(torch.from_numpy(AUDIO)).numpy()  # [320, 80]
    assert np.array_equal(image.T, heard[:256] * 17)
    second = np.frombuffer(tiles.tile(0, 1), np.uint8).reshape(80, 256)
    assert np.array_equal(second[:, :64].T, heard[256:] * 17) and not second[:, 64:].any()
    coarse = np.frombuffer(tiles.tile(1, 0), np.uint8).reshape(80, 256)[:, :80]
    np.testing.assert_allclose(coarse.T, (heard * 17.0).reshape(80, 4, 80).mean(1), atol=0.51)


def test_a_tone_stands_in_its_row_as_loud_as_it_is():
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = (0.1 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)  # -20 dB
    image = np.frombuffer(SpectrogramTiles(tone).tile(0, 0), np.uint8).reshape(128, 256)[:, 20:230]
    assert set(image.argmax(0)) == {16}  # 1000 Hz in rows of 62.5 Hz
    np.testing.assert_allclose(image[16] / 255 * 80 - 80, -20, atol=1)


def test_damaged_sound_is_drawn_as_nothing():
    audio = AUDIO.copy()
    audio[5000:6000] = np.nan
    for tiles in (WaveTiles(audio), SpectrogramTiles(audio), DMelTiles(audio)):
        assert all(tiles.tile(level, 0) for level in range(len(tiles.seconds)))


def test_pictures_where_the_camera_was_on():
    av = pytest.importorskip("av")
    frames = [np.full((2, 60, 80, 3), 10 * n, np.uint8) if n % 8 != 3 else None for n in range(16)]
    tiles = PictureTiles(frames)
    first = tiles.tile(0, 0)
    assert list(first[:8]) == [1, 1, 1, 0, 1, 1, 1, 1]
    codec = av.CodecContext.create("mjpeg", "r")
    (picture,) = codec.decode(av.Packet(first[8:]))
    shown = picture.to_ndarray(format="rgb24")
    assert shown.shape == (72, 8 * 96, 3)
    assert [round(float(shown[:, n * 96 + 20 : n * 96 + 70].mean()), -1) for n in (0, 1, 4)] == [0, 10, 40]
    assert list(tiles.tile(1, 0)[:4]) == [1, 1, 1, 1]


def test_where_a_head_looked_in_blocks_of_turns():
    lag = np.zeros((70, 2, 5), np.float16)
    lag[66, 1, 3] = 0.5
    lag[2, 0, 0] = 0.125
    tiles = BackTiles(Attention(1, 0, ("audio_in", "text_out"), lag, lag.sum(2)))
    assert tiles.count(0) == 2
    second = np.frombuffer(tiles.tile(0, 1), np.uint8).reshape(-1, 2, 5)
    assert second.shape[0] == 6 and second[2, 1, 3] == 255 and second.astype(int).sum() == 255
    assert np.frombuffer(tiles.tile(0, 0), np.uint8).reshape(64, 2, 5)[2, 0, 0] == 128  # the root of a quarter

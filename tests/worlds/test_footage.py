"""Real clips behind scenes: whole packages on one side, no jump, nothing else changed, the same film each time."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.config import VIDEO_FRAMES_PER_TURN, VIDEO_SIZE
from tml_lab.signal.patches import turns_to_patches
from tml_lab.train.pictures import PICTURES, Film
from tml_lab.worlds.build_footage import SHOTS
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.film import SIZES, SceneFilm, pictures, scene_patches
from tml_lab.worlds.seen.footage import FOLDER, SHARE, SPLITS, clips, draw_showing, is_drawn, readable, reel
from tml_lab.worlds.seen.scene import Scene, Script

CPU = torch.device("cpu")
BEFORE, DRAWN = next(s for s in range(99) if is_drawn(s)), next(s for s in range(99) if not is_drawn(s))


def script(seed: int, n_frames: int = 20) -> Script:
    scene = Scene(np.random.default_rng(seed))
    scene.thing("ball", "red", Span(0, 9), 80, 60, size=14)
    made = scene.script(n_frames)
    return Script(made.shapes, seed)


def test_no_package_is_on_both_sides() -> None:
    sides = [{clip.package for clip in clips(split)} for split in SPLITS]
    assert all(sides) and not sides[0] & sides[1]
    assert {clip.name for split in SPLITS for clip in clips(split)} == {shot.name for shot in SHOTS}
    with pytest.raises(ValueError, match="unknown split 'human'"):
        clips("human")


def test_every_clip_is_small_and_its_author_and_licence_are_named() -> None:
    page = (FOLDER.parents[1] / "SOURCES.md").read_text(encoding="utf-8")
    for clip in (clip for split in SPLITS for clip in clips(split)):
        row = next(line for line in page.splitlines() if f"`{clip.name}`" in line)
        assert clip.package in row and clip.author in row and clip.licence in row and f"| {clip.split}" in row
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


@pytest.mark.parametrize("split", SPLITS)
def test_the_reel_holds_every_clip_and_each_of_them_moves(split: str) -> None:
    frames = reel(split, CPU)
    assert frames.shape == (sum(clip.frames for clip in clips(split)), VIDEO_SIZE[1], VIDEO_SIZE[0], 3)
    start = 0
    for clip in clips(split):
        own = frames[start : start + clip.frames].float()
        assert float((own[1:] - own[:-1]).abs().mean()) > 0.3, clip.name
        assert float(own.std()) > 20, clip.name
        start += clip.frames


@given(st.integers(0, 2**31 - 1), st.sampled_from(SPLITS), st.sampled_from((*SIZES, *PICTURES)))
def test_a_clip_goes_there_and_back_inside_its_frames_and_its_picture(seed: int, split: str, size: tuple) -> None:
    showing = draw_showing(seed, split)
    assert showing == draw_showing(seed, split)
    place = showing.frame(range(400))
    assert place.min() >= showing.start and place.max() < showing.start + showing.length
    assert np.abs(np.diff(place)).max() == 1  # no jump cut
    rows, columns = showing.pixels(size)
    assert (len(columns), len(rows)) == size
    for pixels, most in ((rows, VIDEO_SIZE[1]), (columns, VIDEO_SIZE[0])):
        assert pixels.min() >= 0 and pixels.max() < most and len(np.unique(np.sign(np.diff(pixels)))) <= 2


def test_training_shows_a_share_of_films_before_clips_and_the_others_as_ever() -> None:
    assert np.mean([is_drawn(seed) for seed in range(2000)]) == pytest.approx(SHARE, abs=0.04)
    for seed in (BEFORE, DRAWN):
        as_trained = script(seed).before_footage("train") if seed == BEFORE else script(seed)
        film = pictures(as_trained, VIDEO_SIZE).view(-1, VIDEO_FRAMES_PER_TURN, *VIDEO_SIZE[::-1], 3)
        assert torch.equal(scene_patches([SceneFilm(VIDEO_SIZE, script(seed))]), turns_to_patches(film))


def test_a_clip_beside_them_changes_nothing_in_drawn_films() -> None:
    films = [SceneFilm(VIDEO_SIZE, script(seed)) for seed in (DRAWN, BEFORE)]
    alone, both = scene_patches(films[:1]), scene_patches(films)
    grain = 0.2  # of at most 10 of 255, in units of about 67: it is drawn for the batch
    assert float((both[: len(alone)] - alone).abs().mean()) < grain


@pytest.mark.parametrize("size", SIZES)
def test_what_is_in_the_scene_stands_in_front_of_the_clip(size: tuple[int, int]) -> None:
    film = pictures(script(3).before_footage("test"), size)
    assert torch.equal(film, pictures(script(3).before_footage("test"), size))
    ball = film[5:15, size[1] // 2, size[0] // 2].float()
    assert torch.all((ball[:, 0] > 100) & (ball[:, 1] < 90) & (ball[:, 2] < 90))
    assert not torch.equal(film, pictures(script(3), size))
    assert script(3).before_footage("test").first(4).footage == "test"


def test_the_held_out_clips_are_not_those_of_training() -> None:
    train, test = (reel(split, CPU).flatten(1)[:, ::97] for split in SPLITS)  # a few hundred numbers of each frame
    assert torch.cdist(test.float(), train.float()).min() > 100


def test_an_idle_camera_sees_clips_too() -> None:
    patches = Film(4, (80, 80), BEFORE).patches()
    assert patches.shape == (16, 2, 40, 40, 3) and torch.equal(patches, Film(4, (80, 80), BEFORE).patches())
    assert not torch.equal(patches, Film(4, (80, 80), DRAWN).patches())


def test_without_pyav_training_says_so_once_and_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    readable.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match="pip install av") as said:
        assert not is_drawn(BEFORE) and not is_drawn(BEFORE)
    assert len(said) == 1
    readable.cache_clear()

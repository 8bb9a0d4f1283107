"""Scenes and films: what was put before the camera is in the picture, then and there; the same film each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tml_lab.config import VIDEO_SIZE
from tml_lab.worlds.lexicon import COLOURS, THINGS
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.film import SIZES, SceneFilm, pictures, scaled, scene_patches
from tml_lab.worlds.seen.scene import Scene, Script, written_tracks
from tml_lab.worlds.seen.things import PAINT
from tml_lab.worlds.seen.writing import strokes


def still(scene: Scene) -> Scene:
    """No shaking hand, so that pixels can be compared."""
    scene.rng = np.random.default_rng(1)
    return scene


def grey(n: int) -> torch.Tensor:
    return torch.full((n, VIDEO_SIZE[1], VIDEO_SIZE[0], 3), 128.0)


@pytest.mark.parametrize("kind", THINGS)
def test_a_thing_is_seen_in_its_span_in_its_place_and_colour(kind: str) -> None:
    scene = Scene(np.random.default_rng(1))
    scene.thing(kind, "red", Span(1.0, 2.0), 40, 50, size=14)
    scene.thing(kind, "blue", Span(0.0, 9.0), 120, 50, size=14)
    shapes = torch.from_numpy(scene.script(40).shapes.astype(np.float32))
    from tml_kernels.draw import draw

    film = draw(grey(40), shapes)
    red, blue = film[:, 50, 40], film[:, 50, 120]
    assert torch.all(red[:9] == 128) and torch.all(red[21:] == 128)
    assert torch.all((red[13:17, 0] > 150) & (red[13:17, 1] < 90))
    assert torch.all((blue[5:, 2] > 150) & (blue[5:, 0] < 90))


def test_changing_colour_and_moving() -> None:
    from tml_kernels.draw import draw

    scene = Scene(np.random.default_rng(2))
    thing = scene.thing("square", "black", Span(0.0, 9.0), 40, 60, size=12)
    scene.recolour(thing, "white", 1.0)
    scene.move(thing, 2.0, 1.0, 80, 0)
    film = draw(grey(40), torch.from_numpy(scene.script(40).shapes.astype(np.float32)))
    assert film[8, 60, 40].max() < 60 and film[12, 60, 40].min() > 200
    assert film[35, 60, 120].min() > 200 and torch.all((film[35, 60, 40] - 128).abs() < 1)


def test_every_colour_and_every_letter_can_be_shown() -> None:
    assert set(PAINT) == set(COLOURS)
    assert len(strokes("twenty 20")) > 20
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789":
        assert len(strokes(letter)) >= 1
    with pytest.raises(ValueError, match="cannot be written"):
        strokes("é")
    letters = {tuple(map(tuple, strokes(c))) for c in "abcdefghijklmnopqrstuvwxyz123456789"}
    assert len(letters) == 35  # no two alike (but o and 0)


def test_words_share_a_track_unless_they_meet() -> None:
    one, two = np.ones((3, 11)), np.full((5, 11), 2.0)
    apart = written_tracks([(Span(0, 1), one), (Span(1, 2), two)], 30)
    assert len(apart) == 1 and apart[0].shape == (30, 5, 11)
    assert np.all(apart[0][0, :3] == 1) and not apart[0][0, 3:].any() and np.all(apart[0][10] == 2)
    assert len(written_tracks([(Span(0, 1.5), one), (Span(1, 2), two)], 30)) == 2


def test_a_film_is_the_same_each_time_and_fits_its_turns() -> None:
    scene = Scene(np.random.default_rng(4))
    scene.person("clap").do("clap", [Span(0.5, 1.5)])
    script = scene.script(20)
    first, second = pictures(script, VIDEO_SIZE), pictures(script, VIDEO_SIZE)
    assert torch.equal(first, second) and first.shape == (20, 120, 160, 3) and first.dtype == torch.uint8
    assert len(torch.unique(first)) > 20
    for size in SIZES:
        patches = scene_patches([SceneFilm(size, script)])
        assert patches.shape == (10 * (size[0] // 40) * (size[1] // 40), 2, 40, 40, 3)
    other = scene_patches([SceneFilm(VIDEO_SIZE, Script(script.shapes, script.seed + 1))])
    assert not torch.equal(other, scene_patches([SceneFilm(VIDEO_SIZE, script)]))  # another light, another wall


def test_films_of_a_batch_are_what_they_are_alone_but_for_their_grain() -> None:
    films = []
    for seed in range(3):
        scene = Scene(np.random.default_rng(seed))
        for _ in range(seed + 1):
            scene.thing("star", "pink", Span(0.1 * seed, 3.0), 50 + 20 * seed, 60)
        films.append(SceneFilm(VIDEO_SIZE, scene.script(20 + 4 * seed)))
    together = scene_patches(films)
    alone = [scene_patches([film]) for film in films]
    assert together.shape[0] == sum(len(one) for one in alone)
    for mine, one in zip(together.split([len(one) for one in alone]), alone, strict=True):
        assert float((mine - one).abs().mean()) < 0.2  # grain of at most 10 of 255, in units of about 67
        assert float((mine.mean((1, 2, 3)) - one.mean((1, 2, 3))).abs().max()) < 0.02


def test_a_smaller_picture_shows_the_same_scene() -> None:
    from tml_kernels.draw import draw

    scene = Scene(np.random.default_rng(1))
    scene.thing("ball", "green", Span(0, 9), 80, 60, size=15)
    shapes = torch.from_numpy(scene.script(2).shapes.astype(np.float32))
    large = draw(grey(2), shapes)
    small = draw(torch.full((2, 80, 120, 3), 128.0), scaled(shapes, (120, 80)))
    covered = [float(((film - 128).abs().amax(-1) > 20).float().sum()) for film in (large, small)]
    assert covered[1] == pytest.approx(covered[0] * 4 / 9, rel=0.12)
    assert small[0, 40, 60, 1] == pytest.approx(float(large[0, 60, 80, 1]), abs=2)

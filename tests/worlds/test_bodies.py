"""People in a scene: limbs keep their length, feet stand on the floor, repetitions go and come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.worlds.seen.actions import ACTIONS, STAND, Span, blend, phase
from tml_lab.worlds.seen.body import LIMBS, N_SHAPES, View, body_shapes, draw_body, joints
from tml_lab.worlds.seen.capture import CLIPS, replayed
from tml_lab.worlds.seen.scene import Scene


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(ACTIONS)), st.integers(0, 99), st.floats(0, 1))
def test_a_moving_body_keeps_its_limbs_and_its_floor(action: str, seed: int, far: float) -> None:
    body = draw_body(np.random.default_rng(seed))
    rest, end = ACTIONS[action].keys(body, far)
    at = joints(body, blend(rest, end, np.linspace(0, 1, 9)))
    for side in ("left", "right"):
        for a, b, length in (
            ("shoulder", "elbow", body.upper_arm), ("elbow", "hand", body.forearm), ("hip", "knee", body.thigh),
            ("knee", "foot", body.shin),
        ):  # fmt: skip
            way = at[f"{side}_{b}"] - at[f"{side}_{a}"]
            np.testing.assert_allclose(np.linalg.norm(way, axis=-1), length, rtol=1e-6)
    lowest = np.min([points[:, 1] for points in at.values()], axis=0)
    np.testing.assert_allclose(lowest, np.linspace(0, 1, 9) * end["lift"][1], atol=1e-9)
    tall = max(points[:, 1].max() for points in at.values())
    assert (0.15 if ACTIONS[action].lies else 0.6) < tall < 1.5


def test_a_push_up_rests_on_hands_and_feet_and_a_squat_goes_down() -> None:
    body = draw_body(np.random.default_rng(3))
    rest, end = ACTIONS["push up"].keys(body, 1.0)
    at = joints(body, blend(rest, end, np.linspace(0, 1, 5)))
    for name in ("left_hand", "right_hand", "left_foot", "right_foot"):
        assert np.all(at[name][:, 1] < 0.05), name
    assert np.all(np.diff(at["neck"][:, 1]) < 0)
    rest, end = ACTIONS["squat"].keys(body, 1.0)
    at = joints(body, blend(rest, end, np.linspace(0, 1, 5)))
    assert at["pelvis"][-1, 1] < 0.7 * at["pelvis"][0, 1]
    rest, end = ACTIONS["clap"].keys(body, 1.0)
    at = joints(body, blend(rest, end, np.array([0.0, 1.0])))
    apart = np.linalg.norm(at["left_hand"] - at["right_hand"], axis=-1)
    assert apart[1] < 0.12 < 0.2 < apart[0]


def test_a_repetition_goes_and_comes_back() -> None:
    far = phase([Span(1.0, 2.0), Span(2.0, 3.0)], 40)
    assert np.all(far[:10] == 0) and np.all(far[30:] == 0)
    assert far[14] > 0.98 and far[24] > 0.98 and far[19] < 0.1 and far[20] < 0.1
    held = phase([Span(1.0, 3.0)], 40, hold=0.8)
    assert np.all(held[13:27] == 1.0)


def test_turning_is_even_and_the_ends_are_the_poses() -> None:
    rest, end = ACTIONS["jumping jack"].keys(draw_body(np.random.default_rng(0)), 1.0)
    moved = blend(rest, end, np.array([0.0, 0.5, 1.0]))
    for limb in LIMBS:
        np.testing.assert_allclose(np.linalg.norm(moved[limb], axis=-1), 1, atol=1e-6)
        np.testing.assert_allclose(moved[limb][0], rest[limb] / np.linalg.norm(rest[limb]), atol=1e-6)
        np.testing.assert_allclose(moved[limb][2], end[limb] / np.linalg.norm(end[limb]), atol=1e-6)


def test_the_nearer_limb_is_painted_later() -> None:
    body = draw_body(np.random.default_rng(5))
    at = joints(body, blend(*ACTIONS["squat"].keys(body, 1.0), np.array([1.0])))
    shapes = body_shapes(body, at, View(0.0, 80, 110, 90))
    assert shapes.shape == (1, N_SHAPES, 11)
    skin = np.all(shapes[0, :, 7:10] == body.skin, axis=1)
    trunk = np.all(shapes[0, :, 7:10] == body.shirt, axis=1)
    assert np.flatnonzero(skin)[-1] > np.flatnonzero(trunk)[0]  # hands stretched forward, before the chest


def test_a_captured_jump_leaves_the_floor_once_and_a_kick_lifts_one_foot() -> None:
    body = draw_body(np.random.default_rng(1))
    for action in CLIPS:
        moved = replayed(action, [Span(0.5, 2.0), Span(2.5, 4.0)], 50, STAND)
        for limb in LIMBS:
            assert moved[limb].shape == (50, 3) and np.abs(np.linalg.norm(moved[limb][8], axis=-1) - 1).max() < 0.3
        assert not moved["lift"][[0, 22, 45]].any()  # before, between and after
        at = joints(body, moved)
        if action == "jump":
            high = at["left_foot"][:, 1] > 0.1
            assert 1 <= high[5:20].sum() <= 8 and 1 <= high[25:40].sum() <= 8
        if action == "kick":
            apart = np.abs(at["left_foot"][:, 1] - at["right_foot"][:, 1])
            assert apart.max() > 0.25
        elif action == "punch":
            assert max(at["left_hand"][:, 2].max(), at["right_hand"][:, 2].max()) > 0.25


def test_nobody_does_what_they_cannot() -> None:
    scene = Scene(np.random.default_rng(0))
    with pytest.raises(ValueError, match="is done lying"):
        scene.person("squat").do("push up", [Span(0, 1)])
    with pytest.raises(ValueError, match="nobody can do 'fly'"):
        scene.person("squat").do("fly", [Span(0, 1)])

"""A person drawn with capsules: proportions, clothes, and joints in space from the directions of the limbs.

Space is measured in body heights: x to the viewer's right, y up from the floor, z towards the viewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tml_kernels.draw import CAPSULE, NUMBERS

Pose = Mapping[str, np.ndarray]
"""Limb -> the direction it points in, away from the trunk's middle: `[3]`, or `[frames, 3]` while it moves; and `lift`,
how far the whole body is above the floor, as `[0, height, 0]`."""
LIMBS = (
    "trunk", "left_upper", "left_fore", "right_upper", "right_fore", "left_thigh", "left_shin", "right_thigh",
    "right_shin",
)  # fmt: skip
SKIN = ((255, 219, 190), (241, 194, 150), (224, 172, 120), (198, 134, 86), (141, 85, 48), (92, 56, 36))
HAIR = ((35, 25, 20), (80, 50, 30), (140, 90, 50), (200, 170, 110), (120, 120, 125), (170, 70, 40))
N_SHAPES = 18


@dataclass(frozen=True)
class Body:
    """Lengths and radii in body heights; colours red, green, blue in 0..255."""

    trunk: float = 0.30
    upper_arm: float = 0.17
    forearm: float = 0.16
    thigh: float = 0.25
    shin: float = 0.24
    shoulders: float = 0.11  # from the middle to each side
    hips: float = 0.06
    head: float = 0.07  # radius
    limb: float = 0.030  # radius of an arm
    leg: float = 0.042
    chest: float = 0.085
    skin: tuple[float, float, float] = SKIN[1]
    hair: tuple[float, float, float] = HAIR[1]
    shirt: tuple[float, float, float] = (60, 90, 160)
    trousers: tuple[float, float, float] = (50, 50, 60)
    sleeves: bool = True  # the forearms are clothed too
    long_hair: bool = False


def draw_body(rng: np.random.Generator) -> Body:
    """Somebody: lanky or stout, in any clothes."""
    stout = float(rng.uniform(0.75, 1.4))
    colours = rng.uniform(20, 240, (2, 3)) if rng.uniform() < 0.7 else np.repeat(rng.uniform(20, 240, (2, 1)), 3, 1)
    legs, arms = rng.uniform(0.9, 1.12), rng.uniform(0.88, 1.12)
    return Body(
        trunk=0.30 * (2 - legs),
        upper_arm=0.17 * arms, forearm=0.16 * arms * rng.uniform(0.93, 1.07),
        thigh=0.25 * legs, shin=0.24 * legs,
        shoulders=0.11 * rng.uniform(0.85, 1.2), hips=0.06 * rng.uniform(0.8, 1.3),
        head=0.07 * rng.uniform(0.85, 1.2),
        limb=0.030 * stout, leg=0.042 * stout, chest=0.085 * stout,
        skin=SKIN[int(rng.integers(len(SKIN)))], hair=HAIR[int(rng.integers(len(HAIR)))],
        shirt=_colour(colours[0]), trousers=_colour(colours[1]),
        sleeves=bool(rng.uniform() < 0.5), long_hair=bool(rng.uniform() < 0.4),
    )  # fmt: skip


def _colour(rgb: np.ndarray) -> tuple[float, float, float]:
    return float(rgb[0]), float(rgb[1]), float(rgb[2])


def unit(v: np.ndarray) -> np.ndarray:
    """`[..., 3]` -> the same directions, one long."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def joints(body: Body, pose: Pose) -> dict[str, np.ndarray]:
    """Where everything is, with the lowest hand or foot on the floor, or `lift` above it: name -> `[frames, 3]`."""
    way = {limb: unit(np.atleast_2d(pose[limb])) for limb in LIMBS}  # each [frames or 1, 3]
    frames = max(len(v) for v in way.values())
    pelvis = np.zeros((frames, 3))
    neck = pelvis + body.trunk * way["trunk"]
    side = np.array([1.0, 0.0, 0.0])
    at = {"pelvis": pelvis, "neck": neck, "head": neck + (body.head * 1.25) * way["trunk"]}
    for name, sign in (("left", -1.0), ("right", 1.0)):  # the viewer's left and right
        shoulder = neck - 0.12 * body.trunk * way["trunk"] + sign * body.shoulders * side
        elbow = shoulder + body.upper_arm * way[f"{name}_upper"]
        hip = pelvis + sign * body.hips * side
        knee = hip + body.thigh * way[f"{name}_thigh"]
        hand, foot = elbow + body.forearm * way[f"{name}_fore"], knee + body.shin * way[f"{name}_shin"]
        at |= {
            f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_hand": hand,
            f"{name}_hip": hip, f"{name}_knee": knee, f"{name}_foot": foot,
        }  # fmt: skip
    lowest = np.min([p[:, 1] for p in at.values()], axis=0)  # [frames]
    floor = np.stack([0 * lowest, lowest, 0 * lowest], -1) - np.atleast_2d(pose.get("lift", np.zeros(3)))  # [frames, 3]
    return {name: p - floor for name, p in at.items()}


@dataclass(frozen=True)
class View:
    """How a body comes into the picture: `yaw` radians it is turned away, `x, y` the pixel where it stands, `scale`
    pixels per body height, `tilt` radians the camera looks down."""

    yaw: float
    x: float
    y: float
    scale: float
    tilt: float = 0.0


def project(points: np.ndarray, view: View) -> np.ndarray:
    """`[frames, 3]` in body heights -> `[frames, 3]`: x, y in pixels, and how near (larger is nearer)."""
    c, s = np.cos(view.yaw), np.sin(view.yaw)
    x, z = c * points[:, 0] + s * points[:, 2], c * points[:, 2] - s * points[:, 0]
    y = np.cos(view.tilt) * points[:, 1] - np.sin(view.tilt) * z
    near = np.cos(view.tilt) * z + np.sin(view.tilt) * points[:, 1]
    size = view.scale / (1.0 - 0.25 * near)  # perspective from four body heights away
    return np.stack([view.x + size * x, view.y - size * y, near], -1)


def body_shapes(body: Body, at: Mapping[str, np.ndarray], view: View) -> np.ndarray:
    """The person as capsules, the furthest first: `[frames, 18, 11]` (see `tml_kernels.draw`)."""
    seen = {name: project(points, view) for name, points in at.items()}
    lower = body.shirt if body.sleeves else body.skin
    parts = [
        ("pelvis", "neck", body.chest * 0.9, body.chest, body.shirt),
        ("left_shoulder", "right_shoulder", body.limb * 1.5, body.limb * 1.5, body.shirt),
        ("left_hip", "right_hip", body.leg * 1.2, body.leg * 1.2, body.trousers),
        ("head", "head", body.head, body.head, body.skin),
    ]
    for side in ("left", "right"):
        parts += [
            (f"{side}_shoulder", f"{side}_elbow", body.limb * 1.15, body.limb, body.shirt),
            (f"{side}_elbow", f"{side}_hand", body.limb, body.limb * 0.85, lower),
            (f"{side}_hand", f"{side}_hand", body.limb * 1.1, body.limb * 1.1, body.skin),
            (f"{side}_hip", f"{side}_knee", body.leg * 1.2, body.leg, body.trousers),
            (f"{side}_knee", f"{side}_foot", body.leg, body.leg * 0.8, body.trousers),
            (f"{side}_foot", f"{side}_foot", body.leg, body.leg, (30, 30, 30)),
        ]
    capsules = [_capsule(seen[a], seen[b], r0, r1, colour, view) for a, b, r0, r1, colour in parts]
    capsules += _hair(body, at, view)
    shapes, near = (np.stack(column, 1) for column in zip(*capsules, strict=True))  # [frames, 18, 11], [frames, 18]
    order = np.argsort(near, axis=1, kind="stable")
    return np.take_along_axis(shapes, order[:, :, None], axis=1)


def _hair(body: Body, at: Mapping[str, np.ndarray], view: View) -> list[tuple[np.ndarray, np.ndarray]]:
    """A cap behind and above the face, and a mane down to the neck if the hair is long."""
    up = unit(at["head"] - at["neck"])
    back = at["head"] + 0.35 * body.head * up - np.array([0, 0, 0.45 * body.head])
    down = at["neck"] - np.array([0, 0, 0.5 * body.head]) if body.long_hair else back
    cap = _capsule(project(back, view), project(back, view), body.head, body.head, body.hair, view)
    mane = _capsule(project(back, view), project(down, view), 0.8 * body.head, 0.9 * body.head, body.hair, view)
    return [cap, mane]


def _capsule(
    a: np.ndarray, b: np.ndarray, r0: float, r1: float, colour: tuple[float, float, float], view: View
) -> tuple[np.ndarray, np.ndarray]:
    """`([frames, 11], how near [frames])` of one limb between two projected points `[frames, 3]`."""
    shape = np.zeros((len(a), NUMBERS))
    shape[:, 0], shape[:, 10] = CAPSULE, 1.0
    shape[:, 1:3], shape[:, 3:5] = a[:, :2], b[:, :2]
    shape[:, 5] = view.scale * r0 / (1.0 - 0.25 * a[:, 2])
    shape[:, 6] = view.scale * r1 / (1.0 - 0.25 * b[:, 2])
    shape[:, 7:10] = colour
    return shape, (a[:, 2] + b[:, 2]) / 2

"""What people do: poses between which a body moves, and when.

An action is a rest pose and a far pose; one repetition goes from the first to the second and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tml_lab.config import VIDEO_FPS
from tml_lab.worlds.seen.body import LIMBS, Body, Pose, unit


def both(name: str, x: float, y: float, z: float) -> dict[str, np.ndarray]:
    """The same limb left and right, mirrored."""
    return {f"left_{name}": np.array([-x, y, z]), f"right_{name}": np.array([x, y, z])}


def limb(name: str, x: float, y: float, z: float) -> dict[str, np.ndarray]:
    """One limb."""
    return {name: np.array([x, y, z])}


STAND: Pose = {
    **limb("trunk", 0, 1, 0), **both("upper", 0.16, -1, 0), **both("fore", 0.08, -1, 0.12),
    **both("thigh", 0.07, -1, 0), **both("shin", 0.02, -1, 0), "lift": np.zeros(3),
}  # fmt: skip


def squat(depth: float) -> Pose:
    """Down on bent knees, arms stretched forward for balance."""
    return {
        **limb("trunk", 0, 1, 0.35 * depth), **both("upper", 0.15, -1 + 0.95 * depth, depth),
        **both("fore", 0.1, -1 + depth, depth + 0.1), **both("thigh", 0.35, -1 + 0.85 * depth, 1.1 * depth),
        **both("shin", -0.05, -1, -0.5 * depth), "lift": np.zeros(3),
    }  # fmt: skip


def push_up(body: Body, down: float) -> Pose:
    """On hands and feet, `down` from 0 (arms straight) to 1 (chest near the floor)."""
    upper = unit(np.array([0.5 * down, -1 + 0.9 * down, -0.7 * down]))
    fore = unit(np.array([-0.2 * down, -1, 0.35 * down]))
    reach = -(body.upper_arm * upper[1] + body.forearm * fore[1])  # from the shoulder down to the floor
    slope = np.arcsin(np.clip(reach / (0.88 * body.trunk + body.thigh + body.shin), 0.05, 0.9))
    axis = np.array([0.0, np.sin(slope), np.cos(slope)])
    legs = {**both("thigh", 0, -axis[1], -axis[2]), **both("shin", 0, -axis[1], -axis[2])}
    return {**limb("trunk", *axis), **both("upper", *upper), **both("fore", *fore), **legs, "lift": np.zeros(3)}


Keys = Callable[[Body, float], tuple[Pose, Pose]]
"""`(body, how far 0..1) -> (rest pose, far pose)`."""


def _jack(body: Body, far: float) -> tuple[Pose, Pose]:
    out = {**both("upper", 0.7, 0.2 + 0.8 * far, 0.1), **both("fore", 0.15, 1, 0.1), **both("thigh", 0.45 * far, -1, 0)}
    return STAND, {**STAND, **out, **both("shin", 0.35 * far, -1, 0)}


def _wave(body: Body, far: float) -> tuple[Pose, Pose]:
    up = {**STAND, **limb("right_upper", 0.8, 0.25, 0.15)}
    return {**up, **limb("right_fore", -0.35 * far, 1, 0.2)}, {**up, **limb("right_fore", 0.9 * far + 0.2, 1, 0.2)}


def _clap(body: Body, far: float) -> tuple[Pose, Pose]:
    front = {**STAND, **both("upper", 0.1, -0.75, 0.7)}
    return {**front, **both("fore", 0.5 * far + 0.1, 0.15, 1)}, {**front, **both("fore", -0.75, 0.2, 0.6)}


def _raise(body: Body, far: float) -> tuple[Pose, Pose]:
    return STAND, {**STAND, **limb("right_upper", 0.25, 0.9, 0.1), **limb("right_fore", 0.02, 1, 0.05)}


def _jump(body: Body, far: float) -> tuple[Pose, Pose]:
    high = {**STAND, **both("upper", 0.35, 0.2 + 0.6 * far, 0.3), **both("fore", 0.1, 1, 0.2)}
    return STAND, {**high, "lift": np.array([0, 0.08 + 0.1 * far, 0])}


def _kick(body: Body, far: float) -> tuple[Pose, Pose]:
    out = {**limb("right_thigh", 0.05, -0.6 + 0.5 * far, 1), **limb("right_shin", 0.02, -0.5 + 0.4 * far, 1)}
    return STAND, {**STAND, **out, **limb("trunk", 0, 1, -0.15 * far)}


def _punch(body: Body, far: float) -> tuple[Pose, Pose]:
    guard = {**STAND, **both("upper", 0.3, -1, 0.15), **both("fore", -0.25, 0.9, 0.6)}
    return guard, {**guard, **limb("right_upper", 0.15, -0.1, 0.5 + 0.5 * far), **limb("right_fore", -0.1, 0.1, 1)}


@dataclass(frozen=True)
class Action:
    """`keys`: its two poses; `seconds`: how long a repetition takes, from .. to; `yaws`: from where it can be seen, in
    radians; `lies`: it happens on the floor."""

    keys: Keys
    seconds: tuple[float, float]
    yaws: tuple[float, float] = (-0.7, 0.7)
    lies: bool = False


ACTIONS: dict[str, Action] = {
    "push up": Action(lambda b, far: (push_up(b, 0.0), push_up(b, 0.55 + 0.45 * far)), (1.0, 2.6), (1.0, 2.1), True),
    "squat": Action(lambda b, far: (STAND, squat(0.6 + 0.4 * far)), (1.0, 2.6), (-1.3, 1.3)),
    "jumping jack": Action(_jack, (0.9, 1.8)),
    "wave": Action(_wave, (0.8, 1.6)),
    "clap": Action(_clap, (0.8, 1.6), (-0.9, 0.9)),
    "raised hand": Action(_raise, (1.2, 2.6)),
    "jump": Action(_jump, (0.8, 1.4), (-1.3, 1.3)),
    "kick": Action(_kick, (0.8, 1.6), (0.4, 1.5)),
    "punch": Action(_punch, (0.8, 1.4), (0.4, 1.5)),
}


@dataclass(frozen=True)
class Span:
    """`[start, end)` in seconds: one repetition, or one stretch of an action."""

    start: float
    end: float


def phase(spans: Sequence[Span], n_frames: int, hold: float = 0.1) -> np.ndarray:
    """How far the far pose is reached at each frame: `[frames]` in 0..1, 0 outside of the spans.

    Over a span it goes smoothly up, stays for `hold` of the span, and goes down again. A frame shows its middle.
    """
    t = (np.arange(n_frames) + 0.5) / VIDEO_FPS  # seconds
    far = np.zeros(n_frames)
    for span in spans:
        u = (t - span.start) / max(span.end - span.start, 1e-6)
        rise = np.clip(np.minimum(u, 1 - u) / max((1 - hold) / 2, 1e-6), 0, 1)  # 0 -> 1 -> 0
        far = np.maximum(far, np.where((u > 0) & (u < 1), 0.5 - 0.5 * np.cos(np.pi * rise), 0.0))
    return far


def blend(a: Pose, b: Pose, far: np.ndarray) -> dict[str, np.ndarray]:
    """Between two poses, `far [frames]` of the way: limb -> `[frames, 3]`, turned evenly, not cut across."""
    moved = {"lift": far[:, None] * b["lift"] + (1 - far[:, None]) * a["lift"]}  # [frames, 3]
    for name in LIMBS:
        u, v = np.broadcast_arrays(unit(np.atleast_2d(a[name])), unit(np.atleast_2d(b[name])))
        angle = np.arccos(np.clip((u * v).sum(-1, keepdims=True), -1, 1))  # [1 or frames, 1]
        w = far[:, None]
        straight = (1 - w) * u + w * v
        turned = (np.sin((1 - w) * angle) * u + np.sin(w * angle) * v) / np.maximum(np.sin(angle), 1e-6)
        moved[name] = np.where(angle > 1e-3, turned, straight)  # [frames, 3]
    return moved


def sway(rng: np.random.Generator, n_frames: int, amount: float = 0.05) -> dict[str, np.ndarray]:
    """What nobody keeps from doing: slow small turns of every limb, `[frames, 3]` to be added to a direction."""
    t = np.arange(n_frames)[:, None] / VIDEO_FPS
    drift = {}
    for name in LIMBS:
        size = amount * (0.3 if name in ("trunk", "left_thigh", "right_thigh", "left_shin", "right_shin") else 1.0)
        waves = np.sin(2 * np.pi * (rng.uniform(0.05, 0.35, 3) * t + rng.uniform(size=3)))
        drift[name] = size * rng.uniform(0.3, 1.0) * waves
    return drift

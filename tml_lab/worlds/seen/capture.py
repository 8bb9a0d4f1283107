"""Movements of real people, captured: a jump, a kick, a punch. Held out: no training scene shows them.

Clips in DeepMimic's form (Peng et al. 2018), of PyPI `pybullet`; `python -m tml_lab.worlds.seen.capture FOLDER` makes
`data/recordings/motion/captured.json` of them: for each clip its frames' limb directions at 30 a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tml_lab.config import VIDEO_FPS
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.body import LIMBS, Pose

ASSET = Path(__file__).resolve().parents[3] / "data" / "recordings" / "motion" / "captured.json"
CLIPS = {"jump": "humanoid3d_jump.txt", "kick": "humanoid3d_kick.txt", "punch": "humanoid3d_punch.txt"}
RATE = 30  # frames a second of the asset
STANDING = 0.85  # metres from the floor to the pelvis of whoever was captured


def rotate(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vectors `[frames, 3]` turned by unit quaternions `[frames, 4]`, w first."""
    w, u = q[:, :1], q[:, 1:]
    return v + 2 * np.cross(u, np.cross(u, v) + w * v)


def _hinge(angle: np.ndarray) -> np.ndarray:
    """Down, turned about the body's side axis by `angle [frames]`: `[frames, 3]`."""
    return np.stack([np.sin(angle), -np.cos(angle), 0 * angle], -1)


def limbs_of(frames: np.ndarray) -> dict[str, np.ndarray]:
    """DeepMimic's `[n, 44]` -> limb directions `[n, 3]` in this house's space, and `lift`.

    There x is forward, y up and z to the person's right; here z is towards the viewer and x to the viewer's right.
    """
    q = {name: frames[:, i : i + 4] for name, i in (
        ("root", 4), ("chest", 8), ("right_thigh", 16), ("right_upper", 25), ("left_thigh", 30), ("left_upper", 39),
    )}  # fmt: skip
    hinge = {"right_thigh": frames[:, 20], "right_upper": frames[:, 29], "left_thigh": frames[:, 34],
             "left_upper": frames[:, 43]}  # fmt: skip
    down = np.tile([0.0, -1.0, 0.0], (len(frames), 1))
    heading = _without_turn(q["root"])
    found = {"trunk": _house(rotate(heading, rotate(q["chest"], -down)))}
    for side, here in (("right", "left"), ("left", "right")):  # the person's right is the viewer's left
        for limb, outer, chain in (("upper", "fore", ("chest",)), ("thigh", "shin", ())):
            name = f"{side}_{limb}"
            for part, way in ((limb, down), (outer, _hinge(hinge[name]))):
                turned = rotate(q[name], way)
                for joint in chain:
                    turned = rotate(q[joint], turned)
                found[f"{here}_{part}"] = _house(rotate(heading, turned))
    feet = np.minimum(_reach(found, "left"), _reach(found, "right"))  # [n], how far down the lower foot is
    lift = np.maximum(0.0, (frames[:, 2] + feet * STANDING / 0.49 - 0.02) / 1.75)
    found["lift"] = np.stack([0 * lift, lift, 0 * lift], -1)
    return found


def _without_turn(q: np.ndarray) -> np.ndarray:
    """The root's rotation without the way it faced in the first frame."""
    yaw = 2 * np.arctan2(q[0, 2], q[0, 0])
    back = np.tile([np.cos(yaw / 2), 0.0, -np.sin(yaw / 2), 0.0], (len(q), 1))
    w1, x1, y1, z1 = back.T
    w2, x2, y2, z2 = q.T
    return np.stack([
        w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2, w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
        w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2, w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
    ], -1)  # fmt: skip


def _house(v: np.ndarray) -> np.ndarray:
    return np.stack([-v[:, 2], v[:, 1], v[:, 0]], -1)


def _reach(found: dict[str, np.ndarray], side: str) -> np.ndarray:
    """Height of a foot below the pelvis, as a negative number of body heights: `[n]`."""
    return 0.25 * found[f"{side}_thigh"][:, 1] + 0.24 * found[f"{side}_shin"][:, 1]


@cache
def captured(action: str) -> dict[str, np.ndarray]:
    """One repetition: limb -> `[frames, 3]` at `RATE`. Raises KeyError for an action that was not captured."""
    clips = json.loads(ASSET.read_text())["clips"]
    return {limb: np.array(way, float) for limb, way in clips[action].items()}


def replayed(action: str, spans: Sequence[Span], n_frames: int, rest: Pose) -> dict[str, np.ndarray]:
    """The clip once in each span, stretched to it; the pose `rest` otherwise: limb -> `[n_frames, 3]`."""
    clip = captured(action)
    t = (np.arange(n_frames) + 0.5) / VIDEO_FPS
    moved = {limb: np.tile(rest[limb], (n_frames, 1)).astype(float) for limb in (*LIMBS, "lift")}
    for span in spans:
        u = (t - span.start) / (span.end - span.start)
        now = (u >= 0) & (u < 1)
        place = u[now] * (len(clip["trunk"]) - 1)
        low = np.clip(place.astype(int), 0, len(clip["trunk"]) - 2)
        edge = np.clip(np.minimum(u[now], 1 - u[now]) * (span.end - span.start) / 0.15, 0, 1)[:, None]  # no jump cut
        for limb, way in moved.items():
            exact = clip[limb][low] + (place - low)[:, None] * (clip[limb][low + 1] - clip[limb][low])
            way[now] = (1 - edge) * way[now] + edge * exact
    return moved


def build(folder: Path) -> None:
    """Write the asset from the clips below `folder`."""
    clips = {}
    for action, name in CLIPS.items():
        frames = np.array(json.loads(next(folder.rglob(name)).read_text())["Frames"], float)
        at = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
        limbs = limbs_of(frames)
        places = np.arange(0, at[-1], 1 / RATE)
        clips[action] = {
            limb: np.round(np.stack([np.interp(places, at, way[:, i]) for i in range(3)], -1), 3).tolist()
            for limb, way in limbs.items()
        }
    ASSET.parent.mkdir(parents=True, exist_ok=True)
    ASSET.write_text(json.dumps({"rate": RATE, "clips": clips}) + "\n")


if __name__ == "__main__":
    build(Path(sys.argv[1]))

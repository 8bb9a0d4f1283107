"""A scene: what the camera has before it through an episode, as shapes frame by frame and a backdrop's numbers.

Nothing is drawn here. `Scene.script()` is small enough to be kept with an episode; `tml_lab.worlds.seen.film` makes
pictures of it, where they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tml_kernels.draw import NUMBERS
from tml_lab.config import VIDEO_FPS, VIDEO_SIZE
from tml_lab.worlds.lexicon import COLOURS
from tml_lab.worlds.lexicon import NUMBERS as NUMBER_WORDS
from tml_lab.worlds.seen.actions import ACTIONS, STAND, Span, blend, phase, sway
from tml_lab.worlds.seen.body import Body, View, body_shapes, draw_body, joints
from tml_lab.worlds.seen.capture import CLIPS, replayed
from tml_lab.worlds.seen.cast import KINDS, STANDS, WRITTEN, cast_of_thing, cast_of_writing, joined
from tml_lab.worlds.seen.things import PAINT, Thing, paint
from tml_lab.worlds.seen.writing import written

NUMBERS_IN_FIGURES = {str(i): word for i, word in enumerate(NUMBER_WORDS)}
WIDTH, HEIGHT = VIDEO_SIZE  # pixels that shapes are placed in, whatever size the picture is drawn in
MOST_FRAMES = 4000


RAMP = 0.3  # seconds in which somebody gets into an action's rest pose, and out of it


@dataclass(frozen=True)
class Stretch:
    """Somebody does `action` during `span`: as often as there are `reps` in it."""

    action: str
    span: Span
    reps: tuple[Span, ...]
    hold: float = 0.1  # share of a repetition in which the far pose is kept


@dataclass
class Person:
    """Somebody in the scene: a body, how the camera sees it, and what it does when."""

    body: Body
    view: View
    lies: bool = False
    did: list[Stretch] = field(default_factory=list)
    far: float = 1.0  # how far the repetitions go, 0..1
    amount: float = 0.05  # of unrest
    seed: int = 0  # of the unrest
    mirrored: bool = False
    real: bool = False  # moves as somebody did who was captured, where there is a clip of it

    def do(self, action: str, reps: Sequence[Span], span: Span | None = None, hold: float = 0.1) -> None:
        """Repeat `action` in each of `reps`; between them, and in all of `span`, its rest pose is kept.

        `hold`: the share of a repetition in which the far pose is kept.

        Raises ValueError for an action that there is not, or that one does not do standing (or lying) as this person
        is.
        """
        if action not in ACTIONS:
            raise ValueError(f"nobody can do {action!r}; actions are {', '.join(ACTIONS)}")
        if ACTIONS[action].lies != self.lies:
            way = "lying" if ACTIONS[action].lies else "standing"
            raise ValueError(f"{action!r} is done {way}: let another person do it")
        self.did.append(Stretch(action, span or Span(reps[0].start, reps[-1].end), tuple(reps), hold))

    def cast(self, n_frames: int) -> np.ndarray:
        """Where they are, what they do, how often they did it and how far they are: `[n_frames, 6]`.

        Source: `tml_lab.worlds.seen.cast`.
        """
        t = (np.arange(n_frames) + 0.5) / VIDEO_FPS
        does, done, far = np.full(n_frames, KINDS.index(STANDS)), np.zeros(n_frames), np.zeros(n_frames)
        for stretch in self.did:
            does[(t >= stretch.span.start) & (t < stretch.span.end)] = KINDS.index(stretch.action)
            done += (t[:, None] >= [rep.end for rep in stretch.reps]).sum(1)
            far = np.maximum(far, phase(stretch.reps, n_frames, stretch.hold))
        fixed = (np.full(n_frames, number) for number in (self.view.x, self.view.y, -1.0))
        return np.stack((*fixed, does, done, far), -1)

    def shapes(self, n_frames: int) -> np.ndarray:
        """`[n_frames, 18, 11]`."""
        rest = ACTIONS["push up"].keys(self.body, self.far)[0] if self.lies else STAND
        pose = {limb: np.broadcast_to(np.atleast_2d(way), (n_frames, 3)) for limb, way in rest.items()}
        for stretch in self.did:
            near, far = ACTIONS[stretch.action].keys(self.body, self.far)
            moved = blend(near, far, phase(stretch.reps, n_frames, stretch.hold))
            if self.real and stretch.action in CLIPS:
                moved = replayed(stretch.action, stretch.reps, n_frames, near)
            pose = blend(pose, moved, held(stretch.span, n_frames))
        drift = sway(np.random.default_rng(self.seed), n_frames, 0.0 if self.lies else self.amount)
        pose = {limb: way + drift.get(limb, 0.0) for limb, way in pose.items()}
        shapes = body_shapes(self.body, joints(self.body, pose), self.view)
        return _mirror(shapes, self.view.x) if self.mirrored else shapes


def held(span: Span, n_frames: int) -> np.ndarray:
    """`[n_frames]`: 1 within `span`, 0 outside, with a ramp of `RAMP` seconds before and after it."""
    t = (np.arange(n_frames) + 0.5) / VIDEO_FPS
    return np.clip(np.minimum(t - span.start + RAMP, span.end + RAMP - t) / RAMP, 0, 1)


def _frames(span: Span, n_frames: int) -> slice:
    return slice(max(0, int(span.start * VIDEO_FPS)), min(n_frames, int(np.ceil(span.end * VIDEO_FPS))))


def _mirror(shapes: np.ndarray, about: float) -> np.ndarray:
    """Left-handed people: the picture of a person turned over at its own middle."""
    flipped = shapes.copy()
    flipped[..., 1], flipped[..., 3] = 2 * about - shapes[..., 1], 2 * about - shapes[..., 3]
    return flipped


@dataclass
class Script:
    """Everything a film is drawn from. `shapes [frames, n, 11]` float16, in pixels of 160 x 120; `seed` of the
    backdrop, its grain and the camera's unrest; `footage`: real clips of that split are the backdrop ("train" or
    "test"), None for a drawn one; `plain`: a drawn one is a wall of one colour. `cast`: who and what is there, in words
    (`tml_lab.worlds.seen.cast`); nothing is drawn from it."""

    shapes: np.ndarray
    seed: int
    footage: str | None = None
    plain: bool = False
    cast: np.ndarray | None = None

    def first(self, n_frames: int) -> Script:
        """The beginning of the same film."""
        return self.only(slice(n_frames))

    def only(self, frames: slice | np.ndarray) -> Script:
        """The same film without the other frames."""
        return replace(self, shapes=self.shapes[frames], cast=None if self.cast is None else self.cast[frames])

    def before_footage(self, split: str) -> Script:
        """The same scene before a real clip of a split; which one, its seed says."""
        return replace(self, footage=split)


@dataclass
class Scene:
    """Collects people, things and writing; later ones stand in front."""

    rng: np.random.Generator
    people: list[Person] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    words: list[tuple[Span, np.ndarray]] = field(default_factory=list)
    read: list[tuple[Span, str, float, float]] = field(default_factory=list)  # when, which word, where it ends
    plain: bool = False  # before a wall of one colour

    def person(self, action: str, x: float | None = None) -> Person:
        """Somebody placed so that `action` can be seen; adds and returns them."""
        kind, rng = ACTIONS[action], self.rng
        scale = float(rng.uniform(72, 100) if not kind.lies else rng.uniform(80, 108))
        x = float(rng.uniform(60, 100)) if x is None else x
        view = View(float(rng.uniform(*kind.yaws)), x, float(rng.uniform(104, 116)), scale, float(rng.uniform(0, 0.25)))
        someone = Person(
            draw_body(rng), view, kind.lies, far=float(rng.uniform(0.5, 1.0)), amount=float(rng.uniform(0.02, 0.1)),
            seed=int(rng.integers(1 << 31)), mirrored=bool(rng.uniform() < 0.5),
        )  # fmt: skip
        self.people.append(someone)
        return someone

    def thing(self, kind: str, colour: str, span: Span, x: float, y: float, size: float | None = None) -> Thing:
        """Something that is there in `span` (seconds) at pixel `x, y`; it comes and goes within a frame or two."""
        frames = self.n_frames_for(span.end)
        t = (np.arange(frames) + 0.5) / VIDEO_FPS
        soft = float(self.rng.uniform(0.02, 0.25))  # seconds
        there = np.clip((t - span.start) / soft, 0, 1) * np.clip((span.end - t) / soft, 0, 1)
        rgb = np.tile(paint(self.rng, colour), (frames, 1))
        size = float(self.rng.uniform(9, 18)) if size is None else size
        turned = float(self.rng.uniform(-0.3, 0.3))
        named = np.full(frames, COLOURS.index(colour))
        new = Thing(kind, np.full(frames, x), np.full(frames, y), size, rgb, there, named, turned)
        self.things.append(new)
        return new

    def recolour(self, thing: Thing, colour: str, at: float) -> None:
        """From `at` seconds on the thing has another colour."""
        since = int(at * VIDEO_FPS)
        thing.rgb[since:], thing.colour[since:] = paint(self.rng, colour), COLOURS.index(colour)

    def move(self, thing: Thing, at: float, seconds: float, dx: float, dy: float) -> None:
        """From `at` on the thing goes `dx, dy` pixels within `seconds`, and stays there."""
        t = (np.arange(len(thing.x)) + 0.5) / VIDEO_FPS
        far = np.clip((t - at) / seconds, 0, 1)
        far = far * far * (3 - 2 * far)
        thing.x, thing.y = thing.x + dx * far, thing.y + dy * far

    def write(self, text: str, span: Span, y: float | None = None) -> None:
        """A word or number on the screen in `span` seconds, on a plate of its own."""
        rng = self.rng
        dark = bool(rng.uniform() < 0.5)
        ink = rng.uniform(0, 60, 3) if dark else rng.uniform(200, 255, 3)
        plate = rng.uniform(190, 255, 3) if dark else rng.uniform(0, 70, 3)
        height = float(min(rng.uniform(22, 34), 130 / (0.95 * len(text))))
        y = float(rng.uniform(30, 90)) if y is None else y
        lines = written(text, WIDTH / 2, y, height, ink, float(rng.uniform(-0.15, 0.15)), float(rng.uniform(0.1, 0.2)))
        half = 0.5 * height * (len(text) * 0.95) + 0.4 * height
        board = np.array([[2.0, WIDTH / 2, y, 0, 0, half, 0.85 * height, *plate, 1.0]])
        self.words.append((span, np.concatenate([board, lines])))
        word = NUMBERS_IN_FIGURES.get(text, text)
        if word in WRITTEN:
            self.read.append((span, word, WIDTH / 2 + half - 0.4 * height, y + 0.4 * height))

    def n_frames_for(self, seconds: float) -> int:
        """Frames that hold `seconds`."""
        return min(MOST_FRAMES, int(np.ceil(seconds * VIDEO_FPS)))

    def script(self, n_frames: int) -> Script:
        """The scene as it is to be drawn, `n_frames` long; what was planned for later is cut off."""
        parts = [fit(thing.shapes(), n_frames) for thing in self.things]
        parts += [person.shapes(n_frames) for person in self.people]
        parts += written_tracks(self.words, n_frames)
        shapes = np.concatenate([np.zeros((n_frames, 0, NUMBERS)), *parts], 1)
        shaken = _unsteady(shapes, self.rng).astype(np.float16)
        cast = [cast_of_thing(thing, n_frames) for thing in self.things]
        cast += [person.cast(n_frames) for person in self.people]
        cast += [cast_of_writing(word, _frames(span, n_frames), x, y, n_frames) for span, word, x, y in self.read]
        return Script(shaken, int(self.rng.integers(1 << 31)), plain=self.plain, cast=joined(cast, n_frames))


def written_tracks(words: Sequence[tuple[Span, np.ndarray]], n_frames: int) -> list[np.ndarray]:
    """Each `[n_frames, strokes, 11]`: words that are never there together share one."""
    tracks: list[np.ndarray] = []
    for span, drawn in words:
        now = _frames(span, n_frames)
        free = next((i for i, track in enumerate(tracks) if not track[now].any()), None)
        if free is None:
            free = len(tracks)
            tracks.append(np.zeros((n_frames, 0, NUMBERS)))
        more = max(0, len(drawn) - tracks[free].shape[1])
        tracks[free] = np.pad(tracks[free], ((0, 0), (0, more), (0, 0)))
        tracks[free][now, : len(drawn)] = drawn
    return tracks


def fit(shapes: np.ndarray, n_frames: int) -> np.ndarray:
    """`[frames, n, 11]` cut, or made longer by frames with nothing in them."""
    short = n_frames - len(shapes)
    return shapes[:n_frames] if short <= 0 else np.concatenate([shapes, np.zeros((short, *shapes.shape[1:]))])


def _unsteady(shapes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera is held by a hand: everything moves a little, slowly; or it stands still."""
    if rng.uniform() < 0.5 or not shapes.size:
        return shapes
    t = np.arange(len(shapes))[:, None] / VIDEO_FPS
    size = rng.uniform(0.3, 2.0)
    shift = size * np.sin(2 * np.pi * (rng.uniform(0.1, 0.8, 2) * t + rng.uniform(size=2)))  # [frames, 2]
    moved = shapes.copy()
    moved[..., 1:3] += shift[:, None]
    ends = moved[..., 0] == 1.0  # a capsule's other end moves too; a box has its angle there
    moved[..., 3:5] += np.where(ends[..., None], shift[:, None], 0.0)
    return moved


def other_colour(rng: np.random.Generator, *taken: str, among: Sequence[str] = tuple(PAINT)) -> str:
    """A colour that is none of those taken."""
    free = [colour for colour in among if colour not in taken]
    return free[int(rng.integers(len(free)))]

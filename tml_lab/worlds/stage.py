"""The stage on which an episode is played: voices are placed on a time axis, replies on a turn axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES, TURN_SECONDS, VIDEO_FRAMES_PER_TURN, VIDEO_SIZE
from tml_lab.stream.recording import Inputs
from tml_lab.worlds.augment import augment, distant
from tml_lab.worlds.reply_voice import reply_turns
from tml_lab.worlds.seen.film import pictures
from tml_lab.worlds.seen.scene import Scene, Script
from tml_lab.worlds.style import Style, draw_synthetic
from tml_lab.worlds.voices import WIDER_SYNTHETIC, Voice, VoiceBank
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_more import MORE_WORDINGS
from tml_lab.worlds.wordings_seen import SEEN_WORDINGS

EVERY_WORDING = WORDINGS | MORE_WORDINGS | SEEN_WORDINGS
SURE = 0.20  # seconds of quiet after a cued word before the model can know that the word is over
SETTLED = 0.30  # the same after a question, whose sense is complete
OPEN_END = 0.55  # after speech that could go on ("repeat after me two five ...")
LATE = 0.15  # share of replies given one turn later, so that the model learns to catch up when it was unsure


def reply_turn(due: float, margin: float) -> int:
    """The first turn that has heard everything up to `margin` seconds after `due` (seconds, heard clock).

    A microsecond less will do: 0.6 seconds are three turns, whatever floats make of it.
    """
    return math.ceil((due + margin) / TURN_SECONDS - 1e-6) - 1


@dataclass
class Segment:
    """Something heard in `[start, end)` seconds, heard clock. `role`: user, other, background or noise."""

    start: float
    end: float
    text: str
    role: str


@dataclass
class Expect:
    """Something the model should say: `words` at `due` seconds (heard clock).

    `asked` is the interval that was asked for (TimeSpeak), None for cues and answers. `kind`: cue, time, answer or
    backchannel. `contrast`: what else could have been said in its place. `until`: the second up to which it still makes
    sense, where that is known: then what was seen is gone.
    """

    words: tuple[str, ...]
    due: float
    asked: float | None
    contrast: tuple[str, ...]
    kind: str
    until: float | None = None


@dataclass
class Say:
    """A word of the model's script and the turn in which it is emitted."""

    turn: int
    word: str


@dataclass
class Episode:
    """A scene with sound and script. `audio`: f32 [turns * 3200] at 16 kHz; `typed`: (turn, text).

    `speaking`: the turns in which the model sounds: turn -> (word, how many turns into the word).
    """

    family: str
    audio: np.ndarray
    typed: list[tuple[int, str]]
    script: list[Say]
    speaking: dict[int, tuple[str, int]]
    expects: list[Expect]
    segments: list[Segment]
    seed: int
    split: str
    scene: Script | None = None  # what the camera sees, two frames a turn; None without a camera
    requests: list[tuple[int, str]] = field(default_factory=list)  # (turn, what the background model is asked)
    results: list[tuple[int, str]] = field(default_factory=list)  # (turn, what comes back as typed text)
    # what a bad line made of it (`tml_lab.worlds.spoiled`): turns of which nothing was heard, that were not run at all,
    # or whose pictures were lost; from which turn on nothing can be asked, since it could not be heard
    gaps: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    excused_from: int | None = None

    @property
    def n_turns(self) -> int:
        """How many turns the episode lasts."""
        return len(self.audio) // TURN_SAMPLES

    def pictures(self) -> np.ndarray | None:
        """Draw what the camera sees: uint8 `[turns, 2, 120, 160, 3]`, None without a camera. A second is 0.6 MB."""
        if self.scene is None:
            return None
        film = pictures(self.scene, VIDEO_SIZE).numpy()  # [turns * 2, 120, 160, 3]
        return film.reshape(-1, VIDEO_FRAMES_PER_TURN, *film.shape[1:])

    def inputs(self) -> Inputs:
        """What a session hears, sees and reads of it; turns that a bad line lost are heard as the silence they hold."""
        film = self.pictures()
        return Inputs(self.audio, tuple(self.typed), None if film is None else list(film))


@dataclass
class Stage:
    """Collects what happens; `now` (seconds) is where the user's next words go."""

    bank: VoiceBank
    rng: np.random.Generator
    split: str
    user: Voice
    style: Style | None
    typing: float = 0.3  # probability that an instruction is typed
    pace: float = 1.0  # of the waits between things that happen; below 1, more happens in less time
    lull: float = 0.0  # probability that nothing happens for some seconds where something could
    again: int = 0  # up to so many more things of a scene's kind happen in it
    quiet: bool = False  # whether the user says nothing that asks for nothing while there is something to see
    now: float = 0.0
    free_turn: int = 0  # the first turn in which the model's mouth is free
    sounds: list[tuple[float, np.ndarray]] = field(default_factory=list)
    typed: list[tuple[int, str]] = field(default_factory=list)
    speaking: dict[int, tuple[str, int]] = field(default_factory=dict)
    expects: list[Expect] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    scene: Scene | None = None  # what the camera sees, where there is one
    requests: list[tuple[int, str]] = field(default_factory=list)
    results: list[tuple[int, str]] = field(default_factory=list)

    def watch(self) -> Scene:
        """Switch the camera on, for the whole episode; the same scene each time it is asked for."""
        self.scene = self.scene or Scene(self.rng)
        return self.scene

    def chance(self, p: float) -> bool:
        """True with probability `p`."""
        return bool(self.rng.uniform() < p)

    def pick(self, items):
        """One item of a sequence, uniformly."""
        return items[int(self.rng.integers(len(items)))]

    def wait(self, low: float, high: float | None = None) -> None:
        """Let `low..high` seconds pass, at the stage's pace; `low` alone is kept to the letter."""
        self.now += low if high is None else self.pace * float(self.rng.uniform(low, high))

    def more(self) -> int:
        """How many more things of its kind happen in this scene: none in a test, up to `again` in training."""
        return int(self.rng.integers(0, self.again + 1)) if self.again else 0

    def perhaps_lull(self, share: float = 1.0) -> None:
        """Now and then nothing happens for 2.5 to 7 seconds: what was asked must outlast them."""
        if self.lull and self.chance(self.lull * share):
            self.now += float(self.rng.uniform(2.5, 7.0))

    def say(self, text: str, voice: Voice | None = None, role: str = "user", language: str = "en") -> Segment:
        """The user (or another voice) says `text` now; time moves to its end."""
        voice = voice or self.user
        style = self.style if voice is self.user and voice.kind == "synthetic" else None
        audio = self.bank.say(text, voice, self.rng, language=language, style=style)
        segment = self.place(audio, self.now, text, role)
        self.now = segment.end
        return segment

    def place(self, audio: np.ndarray, at: float, text: str, role: str) -> Segment:
        """Put a sound at `at` seconds without moving time."""
        self.sounds.append((at, audio))
        segment = Segment(at, at + len(audio) / SAMPLE_RATE, text, role)
        self.segments.append(segment)
        return segment

    def elsewhere(self, text: str, at: float, voice: Voice | None = None) -> Segment:
        """Somebody in the background, far from the microphone, says `text` at `at` seconds."""
        voice = voice or self.bank.choose(self.rng, (text,))
        audio = distant(self.bank.say(text, voice, self.rng), self.rng)
        return self.place(audio, at, text, "background")

    def ask(self, name: str, typed: float | None = None, **slots: object) -> float:
        """Put an instruction or question, spoken or typed, in one of its wordings; returns when it is complete."""
        text = self.pick(EVERY_WORDING[name]).format(**slots)
        return self.put(text, typed)

    def put(self, text: str, typed: float | None = None) -> float:
        """Say `text`, or type it with probability `typed`; returns the second at which it is complete."""
        if self.chance(self.typing if typed is None else typed):
            turn = int(self.now / TURN_SECONDS)
            self.typed.append((turn, text))
            self.now = (turn + 1) * TURN_SECONDS
            return self.now
        guest = self.bank.guest
        if guest is not None and guest.can_say(text):
            return self.say(text, guest).end
        if not self.user.can_say(text):
            speaker = self.bank.choose(self.rng, (text,), human_share=0.0)
            return self.say(text, speaker).end
        return self.say(text).end

    def reply(
        self, words: tuple[str, ...], due: float, kind: str, margin: float = SURE, asked: float | None = None,
        contrast: tuple[str, ...] = (), on_time: bool = False, lead: tuple[str, ...] = (), until: float | None = None,
    ) -> float:
        """The model should say `words` for something due at `due`; returns when its last word has been played.

        `lead` are words that come before them and are not asked for ("that is").

        The first word is emitted in the first turn that has heard `due + margin`; now and then one turn later.
        With `on_time` it is instead played in the turn that holds `due`.
        """
        turn = round(due / TURN_SECONDS) - 1 if on_time else reply_turn(due, margin)
        if not on_time and self.chance(LATE):
            turn += 1
        self.expects.append(Expect(words, due, asked, contrast, kind, until))
        turn = max(turn, self.free_turn, 0)
        for word in (*lead, *words):
            turn = self.utter(word, turn)
        return (turn + 1) * TURN_SECONDS

    def delegate(self, request: str, due: float, margin: float = SETTLED) -> None:
        """The model asks the background model, without a sound, for something that was asked at `due` seconds."""
        turn = max(reply_turn(due, margin), self.free_turn, 0)
        self.requests.append((turn, request))
        self.free_turn = turn + 1

    def result(self, text: str, at: float) -> int:
        """What comes back is read at `at` seconds, after the request was made; returns the turn."""
        turn = max(int(at / TURN_SECONDS), self.requests[-1][0] + 1)
        self.results.append((turn, text))
        return turn

    def utter(self, word: str, turn: int) -> int:
        """Put one word into the script at `turn`; returns the first free turn after it."""
        for k in range(reply_turns(word)):
            self.speaking[turn + k] = (word, k)
        self.free_turn = turn + reply_turns(word)
        return self.free_turn

    def hush(self, from_turn: int) -> None:
        """The model falls silent at `from_turn`, in the middle of a word if need be."""
        self.speaking = {turn: what for turn, what in self.speaking.items() if turn < from_turn}
        self.free_turn = min(self.free_turn, from_turn)

    def after_reply(self, low: float, high: float) -> None:
        """Move time to `low..high` seconds after the model's last word (or after now, whichever is later)."""
        self.now = max(self.now, (self.free_turn + 1) * TURN_SECONDS)
        self.wait(low, high)

    def finish(self, family: str, seed: int, tail: float = 1.0, noisy: bool = True) -> Episode:
        """Mix, send through a channel, and cut into whole turns."""
        last = max([self.free_turn, *(turn for turn, _ in self.results)])
        end = max([self.now + tail, (last + 2) * TURN_SECONDS] + [s.end + 0.3 for s in self.segments])
        n_turns = math.ceil(end / TURN_SECONDS)
        audio = np.zeros(n_turns * TURN_SAMPLES, np.float32)
        for at, sound in self.sounds:
            start = int(at * SAMPLE_RATE)
            piece = sound[: len(audio) - start]
            audio[start : start + len(piece)] += piece
        audio = augment(audio, self.rng) if noisy else audio
        speaking = {t: what for t, what in self.speaking.items() if t < n_turns}
        script = [Say(turn, word) for turn, (word, k) in sorted(speaking.items()) if k == 0]
        typed = sorted(self.typed)
        seen = self.scene.script(n_turns * VIDEO_FRAMES_PER_TURN) if self.scene else None
        return Episode(family, audio.astype(np.float32), typed, script, speaking, self.expects,
                       sorted(self.segments, key=lambda s: s.start), seed, self.split, seen,
                       self.requests, sorted(self.results))  # fmt: skip


def open_stage(bank: VoiceBank, rng: np.random.Generator, split: str) -> Stage:
    """An empty stage with a user whose voice and manner stay the same through the episode."""
    synthetic = [v for v in bank.voices if v.kind == "synthetic"]
    user = bank.choose(rng, human_share=0.0, kind="synthetic") if synthetic else bank.choose(rng)
    style = draw_synthetic(rng, WIDER_SYNTHETIC if split == "train" else 1.0)
    return Stage(bank, rng, split, user, style, now=float(rng.uniform(0.2, 1.0)))


def open_easy_stage(bank: VoiceBank, rng: np.random.Generator) -> Stage:
    """A stage for beginners: every eighth synthetic voice and all people, one accent, an even manner."""
    synthetic = [v for v in bank.voices if v.kind == "synthetic"]
    people = [v for v in bank.voices if v.kind == "human"]
    few = VoiceBank(bank.split, [*synthetic[::8], *synthetic[-3:], *people])
    stage = open_stage(few, rng, "train")
    stage.user = replace(stage.user, accent="en-us")
    stage.style = Style(rate=float(rng.uniform(0.9, 1.1)))
    return stage

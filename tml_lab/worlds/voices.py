"""The voice bank: who can speak in an episode; no voice of a test was ever heard in training.

    bank = VoiceBank.open("train")
    voice = bank.choose(rng)
    audio = bank.say("what is three plus five", voice, rng)   # f32 [n] at 16 kHz

Splits: `train` = espeak-ng but for twelve held-out variants, flite, RHVoice, and the training packages of
human recordings; `test` = those twelve variants and two engines never heard in training (SVOX Pico, festival);
`human` = real people whose recordings were wholly kept out of training. What each engine and recording is:
`data/SOURCES.md`.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any, Literal, Protocol

import numpy as np

from tml_lab.worlds.clips import Audio, ClipCache, cache_dir, level, trim
from tml_lab.worlds.engines_espeak import ACCENTS, LANGUAGES
from tml_lab.worlds.style import PLAIN, Style, draw_human, draw_synthetic, restyle

Split = Literal["train", "test", "human"]
SPLITS: tuple[Split, ...] = ("train", "test", "human")

# Held out of training: distinct timbres, with near twins (steph2 of steph, iven2 of iven, ...) on one side
# only.
TEST_VARIANTS = (
    "Alicia", "Annie", "grandma", "f3", "m3", "Denis", "Marco", "sandro", "Reed", "quincy", "travis", "Storm",
)  # fmt: skip
# How often an engine is chosen; espeak has the most voices, flite the most natural of the training engines.
# How much further than in a test a voice is varied in training: few speakers stand for many.
WIDER_HUMAN, WIDER_SYNTHETIC = 1.6, 1.4
ENGINE_WEIGHTS = {"espeak": 0.7, "flite": 0.35, "rhvoice": 0.5, "pico": 0.35, "festival": 0.25}


class HumanVoice(Protocol):
    """One person's recordings, as `tml_lab/worlds/humans.py` gives them through `human_voices(split)`."""

    @property
    def name(self) -> str: ...

    @property
    def texts(self) -> Sequence[str]: ...

    @property
    def sex(self) -> str | None: ...

    @property
    def package(self) -> str: ...

    @property
    def licence(self) -> str: ...

    def clip(self, text: str, rng: np.random.Generator) -> Audio: ...


@lru_cache(maxsize=20_000)
def normal_text(text: str) -> str:
    """Lower case, without punctuation, single spaces: how texts are compared with what a person recorded."""
    return " ".join(re.sub(r"[^\w' ]+", " ", text.lower()).split())


@dataclass(frozen=True)
class Voice:
    """A speaker. `accent` is espeak's; `person` is set for recordings of real people."""

    name: str
    engine: str
    kind: Literal["synthetic", "human"] = "synthetic"
    sex: str | None = None
    accent: str = "en-us"
    languages: tuple[str, ...] = ("en",)
    person: Any = field(default=None, repr=False, compare=False)
    # What a person recorded: normalised text -> the text their package knows it by.
    recorded: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def can_say(self, text: str, language: str = "en") -> bool:
        """Synthetic voices: any text in their languages; people: only what they recorded."""
        if self.kind == "human":
            return normal_text(text) in self.recorded
        return language in self.languages


def recorded_voice(person: HumanVoice) -> Voice:
    """Somebody who can say what they recorded and nothing else."""
    recorded = {normal_text(text): text for text in person.texts}
    sex = {"f": "female", "m": "male"}.get(person.sex or "", person.sex)
    return Voice(person.name, "human", "human", sex, "", ("en",), person, recorded)


def _load_people(split: Split) -> list[Voice]:
    """Training people for "train", held-out people for "human", none for "test"."""
    if split == "test":
        return []
    try:
        humans = importlib.import_module("tml_lab.worlds.humans")
    except ModuleNotFoundError as error:
        if error.name != "tml_lab.worlds.humans":
            raise
        return []
    return [recorded_voice(person) for person in humans.human_voices(split)]


@cache
def _engine(name: str) -> tuple[Any, str]:
    """(the engine, "") or (None, one clause saying how to get it); each is started once per process."""
    module = importlib.import_module(f"tml_lab.worlds.engines_{name}")
    kind = getattr(module, name.capitalize())
    try:
        return kind(), ""
    except (ImportError, OSError, RuntimeError):
        return None, f"{name} ({kind.how_to_get})"


@cache
def _clip_cache() -> ClipCache:
    return ClipCache(cache_dir() / "clips.sqlite")


def _espeak_voices(engine: Any, split: Split) -> list[Voice]:
    chosen = [v for v in engine.variants if (v in TEST_VARIANTS) == (split == "test")]
    return [
        Voice(
            f"espeak/{v}",
            "espeak",
            sex=engine.sex(v),
            accent=ACCENTS[i % len(ACCENTS)],
            languages=tuple(LANGUAGES),
        )
        for i, v in enumerate(chosen)
    ]


def _program_voices(engine: Any) -> list[Voice]:
    languages = getattr(engine, "languages", ("en",))
    return [
        Voice(f"{engine.name}/{v}", engine.name, sex=s, languages=languages) for v, s in engine.voices.items()
    ]


class VoiceBank:
    """The voices of one split.

    `open` is the way in; engines and caches are shared by all banks of a process.
    """

    def __init__(
        self, split: Split, voices: list[Voice], missing: tuple[str, ...] = (), guest: Voice | None = None
    ) -> None:
        self.split: Split = split
        self.voices = voices
        self.guest = guest  # who asks, where they have recorded the question: somebody to get to know
        self.missing = missing  # engines that are not installed here, each with the way to get it
        self._by_name = {voice.name: voice for voice in voices}

    @classmethod
    def open(cls, split: Split, quiet: bool = False) -> VoiceBank:
        """Every voice of `split` that this machine has; one sentence on stderr names the engines it lacks.

        Raises: ValueError for an unknown split; RuntimeError when nothing at all can speak.
        """
        if split not in SPLITS:
            raise ValueError(f"VoiceBank.open: split must be one of {', '.join(SPLITS)}, not {split!r}.")
        names = {"train": ("espeak", "flite", "rhvoice"), "test": ("espeak", "pico", "festival"), "human": ()}[split]
        voices, missing = [], []
        for name in names:
            engine, how = _engine(name)
            if engine is None:
                missing.append(how)
            else:
                voices += _espeak_voices(engine, split) if name == "espeak" else _program_voices(engine)
        voices += _load_people(split)
        if missing and not quiet:
            print(f"VoiceBank {split!r}: going on without {'; '.join(missing)}.", file=sys.stderr)
        if not voices:
            raise RuntimeError(
                f"VoiceBank {split!r}: no voice is installed; {'; '.join(missing) or _NO_PEOPLE}."
            )
        return cls(split, voices, tuple(missing))

    def voice(self, name: str) -> Voice:
        """The voice called `name`, for instance "espeak/f1". Raises KeyError naming what exists."""
        if name not in self._by_name:
            raise KeyError(
                f"VoiceBank {self.split!r} has no voice {name!r}; it has {', '.join(sorted(self._by_name))}."
            )
        return self._by_name[name]

    def choose(
        self,
        rng: np.random.Generator,
        texts: Sequence[str] = (),
        kind: str | None = None,
        language: str = "en",
        human_share: float = 0.25,
    ) -> Voice:
        """A voice that can say all `texts`; engines are weighted so that none drowns the others.

        espeak's accent is drawn too.
        `human_share` is the probability of a person when both a person and an engine can say them; without
        `texts` nobody knows what a person will be asked for, so an engine is chosen if there is one.
        Raises ValueError when nobody can.
        """
        able = [
            v for v in self.voices if kind in (None, v.kind) and all(v.can_say(t, language) for t in texts)
        ]
        people = [v for v in able if v.kind == "human"]
        engines = sorted({v.engine for v in able if v.kind == "synthetic" and language in v.languages})
        if engines and not texts:
            people = []  # who will be asked for any text at all must be able to say it
        if not people and not engines:
            raise ValueError(f"VoiceBank {self.split!r}: nobody can say {list(texts)!r} in {language!r}.")
        if people and (not engines or rng.uniform() < human_share):
            return people[int(rng.integers(len(people)))]
        weights = np.array([ENGINE_WEIGHTS[e] for e in engines])
        engine = engines[int(rng.choice(len(engines), p=weights / weights.sum()))]
        voice = _pick(rng, [v for v in able if v.engine == engine and language in v.languages])
        accent = ACCENTS[0] if rng.uniform() < 0.4 else ACCENTS[int(rng.integers(len(ACCENTS)))]
        return replace(voice, accent=accent) if engine == "espeak" else voice

    def human_words(self, voice: Voice) -> tuple[str, ...]:
        """The texts a person recorded, normalised; empty for a synthetic voice."""
        return tuple(voice.recorded)

    def say(
        self,
        text: str,
        voice: Voice,
        rng: np.random.Generator | None,
        language: str = "en",
        style: Style | None = None,
    ) -> Audio:
        """`text` in `voice`: f32 [n] at 16 kHz, silence trimmed to 10 ms, speech at -23 dBFS RMS.

        `rng` draws rate, pitch and formants anew for each call; None gives the voice as it is; `style` fixes
        them (to keep one speaker the same through an episode). Same text, voice and rng state: same audio.
        Raises: ValueError when the voice cannot say the text.
        """
        if not text.strip() or not voice.can_say(text, language):
            raise ValueError(f"{voice.name} cannot say {text!r} in {language!r}; ask voice.can_say first.")
        if voice.kind == "human":
            return self._person(text, voice, rng, style)
        if style is None:
            wider = WIDER_SYNTHETIC if self.split == "train" else 1.0
            style = PLAIN if rng is None else draw_synthetic(rng, wider)
        engine, _ = _engine(voice.engine)
        speaker = voice.name.split("/", 1)[1]
        if voice.engine == "espeak":
            accent = voice.accent if language == "en" else LANGUAGES[language]
            return level(trim(engine.synth(text, speaker, accent, style)))
        arguments = (text, speaker) if language == "en" else (text, speaker, language)
        made = getattr(engine, "clips", "")  # which generation of an engine's clips
        key = "/".join(part for part in (voice.name, language, text, made) if part)
        clip = _clip_cache().get(key, _maker(engine, arguments))
        return level(trim(restyle(clip, replace(style, warp=(style.pitch * style.warp) ** 0.5))))

    def _person(self, text: str, voice: Voice, rng: np.random.Generator | None, style: Style | None) -> Audio:
        rng_clip = np.random.default_rng(0) if rng is None else rng
        clip = voice.person.clip(voice.recorded[normal_text(text)], rng_clip)
        if style is None:
            style = PLAIN if rng is None else draw_human(rng, WIDER_HUMAN if self.split == "train" else 1.0)
        return level(trim(restyle(np.asarray(clip, np.float32), style), floor_db=-38.0))


_NO_PEOPLE = "held-out human recordings are listed in data/SOURCES.md with their packages"


def _pick(rng: np.random.Generator, voices: list[Voice]) -> Voice:
    return voices[int(rng.integers(len(voices)))]


def _maker(engine: Any, arguments: tuple[str, ...]) -> Callable[[], Audio]:
    return lambda: trim(engine.synth(*arguments))

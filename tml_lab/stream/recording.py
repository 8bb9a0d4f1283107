"""A Recording: everything that went in and came out of a session, with the seeds that make it repeatable.

Inputs, seeds, configuration and the checkpoint's hash are the cause; decisions, words and sound are the
effect.
`replay` (in `replay.py`) computes the effect anew from the cause. `fork` keeps the past and changes the
cause from some instant on: that is how a counterfactual is asked. `until` keeps the past alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tml_lab.config import OUT_DIM, SAMPLE_RATE, TURN_SAMPLES
from tml_lab.stream.clock import heard_start, played_span, played_start, turn_hearing, turns_covering
from tml_lab.stream.tokens import TokenTable

Typed = tuple[tuple[int, str], ...]  # (turn in which the words arrived, words)


class Skipped(Enum):
    """What `Session.step` takes in place of sound for a turn that is not computed at all."""

    SKIPPED = "skipped"


SKIPPED = Skipped.SKIPPED
Sound = np.ndarray | Skipped | None
"""What one turn heard: float32 [3200]; None: nothing, a gap; `SKIPPED`: not even that was noticed."""


class RecordingError(ValueError):
    """A recording could not be written, read or forked; the message is one sentence that says why."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a session hears, sees and reads.

    Args:
        audio: float32 [turns * 3200], mono at 16 kHz (a shorter last turn is padded with silence).
        typed: `(turn, words)` pairs, kept in the order of their turns; those of one turn in the order given.
        frames: per turn uint8 [2, H, W, 3] or None, or None when no camera ran.
        gaps: turns in which nothing was heard (see `Session.step`), in ascending order; their sound is silence.
        skipped: those of the gaps that were not computed: they have no positions in the sequence.

    Raises RecordingError, in one sentence, for parts that do not fit together.
    """

    audio: np.ndarray
    typed: Typed = ()
    frames: Sequence[np.ndarray | None] | None = None
    gaps: tuple[int, ...] = ()
    skipped: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        audio = np.asarray(self.audio, np.float32)
        if audio.ndim != 1:
            raise RecordingError(f"audio must be one channel [samples], not shape {list(audio.shape)}.")
        turns = turns_covering(len(audio))
        if len(audio) != turns * TURN_SAMPLES:
            audio = np.pad(audio, (0, turns * TURN_SAMPLES - len(audio)))
        object.__setattr__(self, "audio", audio)
        typed = [(int(turn), str(text)) for turn, text in self.typed]
        object.__setattr__(self, "typed", tuple(sorted(typed, key=lambda one: one[0])))  # as they came, within a turn
        if self.frames is not None and len(self.frames) != turns:
            raise RecordingError(f"{len(self.frames)} turns of pictures do not fit {turns} turns of sound.")
        object.__setattr__(self, "skipped", tuple(sorted({int(turn) for turn in self.skipped})))
        object.__setattr__(self, "gaps", tuple(sorted({int(turn) for turn in (*self.gaps, *self.skipped)})))
        for turn in self.gaps:
            if not 0 <= turn < turns:
                raise RecordingError(f"turn {turn} cannot be a gap: the sound has turns 0..{turns - 1}.")
            if audio[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES].any():
                raise RecordingError(f"turn {turn} is a gap, and yet there is sound in it: leave it out of the gaps.")

    @property
    def turns(self) -> int:
        """Number of whole turns."""
        return len(self.audio) // TURN_SAMPLES

    @cached_property
    def _unheard(self) -> dict[int, Skipped | None]:
        """The gaps as `Session.step` takes them."""
        return dict.fromkeys(self.gaps) | dict.fromkeys(self.skipped, SKIPPED)  # an hour is 18,000 of them

    def turn(self, turn: int) -> tuple[Sound, np.ndarray | None, str | None]:
        """What `Session.step` takes in one turn: audio float32 [3200] (None in a gap), frames, typed words."""
        words = [text for at, text in self.typed if at == turn]
        frames = self.frames[turn] if self.frames is not None else None
        heard = self.audio[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES]
        return self._unheard.get(turn, heard), frames, " ".join(words) or None

    def until(self, turn: int) -> Inputs:
        """The first `turn` turns; sound and pictures are not copied. Raises RecordingError for a turn outside."""
        if not 0 <= turn <= self.turns:
            raise RecordingError(f"cannot be cut at turn {turn}: give 0..{self.turns}, its number of turns.")
        typed = tuple((at, text) for at, text in self.typed if at < turn)
        frames = None if self.frames is None else _First(self.frames, turn)
        gaps, skipped = (tuple(at for at in turns if at < turn) for turns in (self.gaps, self.skipped))
        return Inputs(self.audio[: turn * TURN_SAMPLES], typed, frames, gaps, skipped)


class _First(Sequence["np.ndarray | None"]):
    """The first turns of a recording's pictures, read when they are asked for: an hour of them fills no memory."""

    def __init__(self, frames: Sequence[np.ndarray | None], turns: int) -> None:
        self.frames, self.turns = frames, turns

    def __len__(self) -> int:
        return self.turns

    def __getitem__(self, turn: int) -> np.ndarray | None:  # type: ignore[override]
        if not 0 <= turn < self.turns:
            raise IndexError(f"turn {turn} is outside the recording's {self.turns} turns")
        return self.frames[turn]


@dataclass(frozen=True)
class Attention:
    """Where one head looked from each turn's decision, pooled over the positions of each attended turn.

    Args:
        layer, head: which head.
        streams: names, length S.
        lag: float16 [turns, S, L]; `lag[n, s, k]` is the weight on stream s of turn n - k.
        share: float32 [turns, S], the same summed over *all* earlier turns, so that each row sums to 1.
    """

    layer: int
    head: int
    streams: tuple[str, ...]
    lag: np.ndarray
    share: np.ndarray


@dataclass(frozen=True, eq=False)
class Recording:
    """What happened in one session, turn by turn.

    Args:
        inputs: what was heard, seen and typed.
        decisions: per turn, the decision token's name, e.g. "<silent>".
        p_speak: float32 [turns], probability of `<speak>` among the decision tokens.
        words: per turn, the words emitted in it.
        audio_out: float32 [turns * 3200]; turn n's part is *played* in [0.2 (n + 1), 0.2 (n + 2)).
        tokens: one row per position of the model's sequence.
        voice: uint8 [audio_out positions, 320], the own voice as it was fed back to the model, bins 0..15.
        seed: of the session.
        checkpoint: {"name", "sha256"} of the weights.
        config: the model's configuration.
        timings: {stage: float32 [turns]} in seconds.
        attention: present when the session was asked to watch a head.
        about: anything else worth keeping (source file, machine, versions).
        panel: what was drawn beside the conversation: plain data, one entry for each change, with the "turn" in which
            it came (see `tml_lab.background.panel`). Like typed words it comes from outside, so a replay keeps it.
        unplayed: turns that spoke and were not heard, because they were run after their moment (a late chunk): the
            model said it, and nobody knows. It comes from outside too.
        policy: what the session remembered by (`tml_lab.stream.policy`); empty: as the model was trained.
        notes: `(turn, words)` that the policy typed. Not an input: a replay makes them anew.
    """

    inputs: Inputs
    decisions: tuple[str, ...] = ()
    p_speak: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    words: tuple[tuple[str, ...], ...] = ()
    audio_out: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    tokens: TokenTable = field(default_factory=TokenTable.empty)
    voice: np.ndarray = field(default_factory=lambda: np.zeros((0, OUT_DIM), np.uint8))
    seed: int = 0
    checkpoint: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, np.ndarray] = field(default_factory=dict)
    attention: Attention | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    panel: tuple[Mapping[str, Any], ...] = ()
    unplayed: tuple[int, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    notes: Typed = ()

    def __repr__(self) -> str:
        return f"Recording({self.turns} turns, {heard_start(self.turns):.1f} s: {self.text!r})"

    @property
    def turns(self) -> int:
        """Turns for which there are outputs (a fork has fewer of these than of inputs)."""
        return len(self.decisions)

    @property
    def gaps(self) -> tuple[int, ...]:
        """Turns in which nothing was heard: a chunk was lost, or came too late. Some may have been skipped."""
        return self.inputs.gaps

    @property
    def text(self) -> str:
        """All words said, joined."""
        return " ".join(word for words in self.words for word in words)

    def requests(self) -> list[tuple[int, str]]:
        """`(turn, request)` of each turn in which the background model was asked."""
        found = []
        for turn, decision in enumerate(self.decisions):
            if decision == "<delegate>":
                asked = self.tokens.where("text_out", turn)[1:]  # after the decision itself
                words = " ".join(self.tokens[int(at)].label for at in asked)
                found.append((turn, words.replace(" ##", "")))  # a word that is spelled is many positions
        return found

    def said(self) -> list[tuple[str, float, float]]:
        """`(word, start, end)` in seconds on the *played* clock, of all words that were played.

        Words of one turn share it; the last one goes on sounding through the `<speak>` turns that bring no
        new word.
        """
        out = []
        for turn, words in enumerate(self.words):
            if turn in self.unplayed:
                continue
            start, end = played_span(turn)
            part = (end - start) / max(1, len(words))
            ends = [start + (i + 1) * part for i in range(len(words) - 1)] + [self._sounds_until(turn)]
            out += [(word, start + i * part, ends[i]) for i, word in enumerate(words)]
        return out

    def _sounds_until(self, turn: int) -> float:
        """Second (played clock) at which the last word of `turn` ends."""
        after = turn + 1
        while after < self.turns and self.decisions[after] == "<speak>" and not self.words[after]:
            after += 1
        return played_start(after)

    def played_audio(self) -> np.ndarray:
        """Own voice as it was heard, on the recording's axis: float32 [(turns + 1) * 3200], sample 0 = second 0."""
        heard = np.concatenate([np.zeros(TURN_SAMPLES, np.float32), self.audio_out])
        for turn in self.unplayed:
            heard[(turn + 1) * TURN_SAMPLES : (turn + 2) * TURN_SAMPLES] = 0.0
        return heard

    def fork(self, t: float | None = None, inputs: Inputs | Mapping[str, Any] | None = None) -> Recording:
        """A recording that shares the past with this one, with other inputs from `t` on, to be replayed.

        Args:
            t: seconds on the heard clock; the turn that hears `t` is the first that may differ. None: the
            end.
            inputs: what is heard, typed and seen *from that turn on*: an `Inputs` (whose turn 0 is that
                turn), or a dict with some of "audio" (float32 [n]), "typed" ([(seconds, words)], seconds on
                this recording's heard clock) and "frames" (one per new turn). What a dict leaves out stays
                as it was. None: the same inputs, so that replay must agree.

        Raises RecordingError when `t` lies outside the recording.
        """
        total = self.inputs.turns
        at = total if t is None else turn_hearing(t)
        if at > total:
            raise RecordingError(f"t={t} s lies after the recording's end at {heard_start(total):.1f} s.")
        past = self._outputs_until(at)
        return replace(
            past,
            inputs=self.inputs if inputs is None else _splice(self.inputs, at, inputs),
            about={**self.about, "forked_at_turn": at},
            panel=self.panel if inputs is None else past.panel,
            unplayed=self.unplayed if inputs is None else past.unplayed,
        )

    def until(self, turn: int) -> Recording:
        """The first `turn` turns alone: nothing that came in, went out or was drawn later is in it.

        Its replay is the beginning of this one's, to the bit. Raises RecordingError for a turn outside the recording.
        """
        return replace(self._outputs_until(turn), inputs=self.inputs.until(turn))

    def _outputs_until(self, turn: int) -> Recording:
        """The same inputs; of all that came of them, and came beside them, the first `turn` turns."""
        kept = min(turn, self.turns)
        tokens, watched = self.tokens.until(kept), self.attention
        if watched is not None:
            watched = replace(watched, lag=watched.lag[:kept], share=watched.share[:kept])
        return replace(
            self,
            decisions=self.decisions[:kept],
            p_speak=self.p_speak[:kept],
            words=self.words[:kept],
            audio_out=self.audio_out[: kept * TURN_SAMPLES],
            tokens=tokens,
            voice=self.voice[: len(tokens.where("audio_out"))],
            timings={stage: seconds[:kept] for stage, seconds in self.timings.items()},
            attention=watched,
            panel=tuple(change for change in self.panel if change["turn"] < turn),
            unplayed=tuple(at for at in self.unplayed if at < turn),
            notes=tuple((at, text) for at, text in self.notes if at < kept),
        )

    def save(self, path: str | Path) -> Path:
        """Write the recording as a folder of float32 WAV, safetensors and JSON; returns the path.

        A name that ends in `.zip` (we write `talk.tml.zip`) gives all of it as one file to share.

        Raises RecordingError, in one sentence, when it cannot be written; of one file then nothing is left.
        """
        from tml_lab.stream.recording_io import save_folder
        from tml_lab.stream.recording_zip import save_zip

        path = Path(path)
        return save_zip(self, path) if path.suffix.lower() == ".zip" else save_folder(self, path)

    @staticmethod
    def load(path: str | Path) -> Recording:
        """Read what `save` wrote. Sound and pictures are mapped from disk, not copied into memory.

        Raises RecordingError, in one sentence, when something is missing, truncated, edited or of another format.
        """
        from tml_lab.stream.recording_io import load_folder
        from tml_lab.stream.recording_zip import load_zip

        path = Path(path)
        return load_zip(path) if path.is_file() else load_folder(path)


def _splice(old: Inputs, at: int, new: Inputs | Mapping[str, Any]) -> Inputs:
    """`old` before turn `at`, `new` from it on."""
    past = old.until(at)
    if isinstance(new, Inputs):
        typed_later = [(turn + at, text) for turn, text in new.typed]
        later: dict[str, Any] = {
            "audio": new.audio, "typed": typed_later, "frames": new.frames, "gaps": [turn + at for turn in new.gaps],
            "skipped": [turn + at for turn in new.skipped],
        }  # fmt: skip
    else:
        later = dict(new)
        if unknown := set(later) - {"audio", "typed", "frames"}:
            raise RecordingError(f"inputs has unknown parts {sorted(unknown)}; give audio, typed or frames.")
        if "typed" in later:
            later["typed"] = [(turn_hearing(seconds), text) for seconds, text in later["typed"]]
        # what is heard in place of a gap is heard
        for name, turns in (("gaps", old.gaps), ("skipped", old.skipped)):
            later[name] = [] if "audio" in later else [turn for turn in turns if turn >= at]
    later = {
        "audio": old.audio[at * TURN_SAMPLES :],
        "typed": [(turn, text) for turn, text in old.typed if turn >= at],
        **later,
    }
    tail = np.asarray(later["audio"], np.float32)
    if tail.ndim != 1:
        raise RecordingError(f"the new audio must be one channel [samples], not shape {list(tail.shape)}.")
    if any(turn < at for turn, _ in later["typed"]):
        raise RecordingError(f"typed words must come at {heard_start(at):.1f} s or later: the past is kept.")
    frames = _splice_frames(old, at, later, at + turns_covering(len(tail)))
    return Inputs(
        np.concatenate([past.audio, tail]), (*past.typed, *later["typed"]), frames,
        (*past.gaps, *later["gaps"]), (*past.skipped, *later["skipped"]),
    )  # fmt: skip


def _splice_frames(old: Inputs, at: int, later: dict[str, Any], turns: int) -> list[np.ndarray | None] | None:
    if old.frames is None and later.get("frames") is None:
        return None
    before: list[np.ndarray | None] = (
        [None] * at if old.frames is None else [old.frames[n] for n in range(at)]
    )
    if "frames" in later:
        after = list(later["frames"] or [])
    else:
        after = [old.frames[n] for n in range(at, old.turns)] if old.frames is not None else []
    frames = [*before, *after][:turns]
    return frames + [None] * (turns - len(frames))


def seconds_of(recording: Recording) -> float:
    """Length of the played time axis in seconds: the last turn's output ends one turn after its input."""
    return (max(recording.inputs.turns, recording.turns) + 1) * TURN_SAMPLES / SAMPLE_RATE

"""Does the model know a voice? Numbers in a person's recordings that it was not trained on, repeated and counted on.

    knows(person, "nano"), knows(person, "runs/me")     # before and after `tml_lab.train.adapt`

Scenes and grading are those of `human_numbers`; the person is whoever read themselves in, and what they say is the last
take of each number, which training leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tml_lab.bench.grading import Estimate
from tml_lab.bench.human_numbers import FAMILIES, measure
from tml_lab.bench.runner import ModelPlayer
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.worlds.episode import episode
from tml_lab.worlds.humans import HumanVoice
from tml_lab.worlds.lexicon import NUMBERS
from tml_lab.worlds.reading import ReadingError, last_takes, open_voice
from tml_lab.worlds.stage import Episode
from tml_lab.worlds.voices import VoiceBank, recorded_voice

LEAST = 8  # different numbers that scenes are made of
SEED = 500_000  # scenes that no benchmark draws


def scenes(person: HumanVoice, n: int = 10) -> list[Episode]:
    """`n` scenes of each of `human_numbers`' families, in the last takes of numbers.

    Raises ReadingError when too few numbers were read twice.
    """
    heard = last_takes(person, NUMBERS)
    if len(heard.texts) < LEAST:
        raise ReadingError(f"{person.name} read {len(heard.texts)} numbers twice; a test takes {LEAST} of them")
    bank = VoiceBank("human", [recorded_voice(heard)])
    return [episode(family, SEED + i, "human", bank) for family in FAMILIES for i in range(n)]


def knows(person: HumanVoice, checkpoint: str, n: int = 10, device: str = "cpu") -> dict[str, Estimate]:
    """`human_numbers`' figures, `strict` and `per_number` among them, for one voice. Raises ReadingError."""
    return _played(scenes(person, n), checkpoint, device)


def _played(items: Sequence[Episode], checkpoint: str, device: str = "cpu") -> dict[str, Estimate]:
    model, tokenizer = load_checkpoint(checkpoint, device)
    return measure(items, ModelPlayer(model, tokenizer).play(items), SEED)


def compare(voice: Path, before: str, after: Path | str, n: int = 10) -> str:
    """What `before` and `after` make of the voice in a folder, in a sentence."""
    try:
        items = scenes(open_voice(voice), n)
        shares = [_played(items, str(checkpoint))["per_number"].value for checkpoint in (before, after)]
    except ReadingError as error:
        return f"not tested: {error}"
    return (
        f"numbers in recordings that were kept for the test, answered rightly and in time: {shares[0]:.2f} before, "
        f"{shares[1]:.2f} now"
    )

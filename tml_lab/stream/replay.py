"""Replay: compute a recording's outputs anew from its inputs and seed; and its one offline pass.

On one machine, with one thread count, a replay is the same to the bit. The offline pass sees the same
positions in a single forward without state; streaming agrees with it to rounding (1e-5 on the logits).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.interaction import InteractionModel, Tokens
from tml_lab.model.text import TextTokenizer
from tml_lab.signal.dmel import dmel
from tml_lab.signal.patches import frames_to_patches
from tml_lab.stream.checkpoint_hash import warn_of_other_weights
from tml_lab.stream.observer import Observer
from tml_lab.stream.policy import policy_of
from tml_lab.stream.recording import Recording, RecordingError
from tml_lab.stream.session import Session, TurnResult


def replay(
    recording: Recording,
    model: InteractionModel,
    tokenizer: TextTokenizer,
    on_turn: Callable[[TurnResult], None] | None = None,
    observer: Observer | None = None,
) -> Recording:
    """Run all inputs of `recording` through a fresh session with its seed, and return what happens.

    Args:
        recording: whose inputs, seed and watched head are used; its outputs are not looked at, so a `fork`
            with other inputs is replayed in the same way.
        on_turn: called after each turn.
        observer: sees, and may change, what is computed inside (`tml_lab.interp.observe` makes one of edits).

    Warns when the weights are not those of the recording: the outputs may then differ.
    """
    warn_of_other_weights(recording.checkpoint, model, "decisions and sound may differ.")
    watched = (recording.attention.layer, recording.attention.head) if recording.attention else None
    session = Session(model, tokenizer, seed=recording.seed, attention=watched, policy=policy_of(recording.policy))
    session.observer = observer
    for turn in range(recording.inputs.turns):
        result = session.step(*recording.inputs.turn(turn))
        if on_turn is not None:
            on_turn(result)
    return replace(session.recording(recording.about), panel=recording.panel, unplayed=recording.unplayed)


def differences(one: Recording, other: Recording) -> list[str]:
    """What differs between the outputs of two recordings, one sentence each; empty when nothing does.

    Decisions, words, p(speak) and sound are compared exactly; timings are not compared.
    """
    found = []
    if one.turns != other.turns:
        return [f"one has {one.turns} turns, the other {other.turns}."]
    pairs: list[tuple[str, Sequence[object], Sequence[object]]] = [
        ("decision", one.decisions, other.decisions),
        ("words", one.words, other.words),
        ("p(speak)", one.p_speak.tolist(), other.p_speak.tolist()),
    ]
    for what, left, right in pairs:
        at = next((n for n in range(one.turns) if left[n] != right[n]), None)
        if at is not None:
            found.append(f"the {what} of turn {at} differs: {left[at]!r} and {right[at]!r}.")
    unequal = np.flatnonzero(one.audio_out != other.audio_out)
    if len(unequal):
        size = float(np.abs(one.audio_out[unequal] - other.audio_out[unequal]).max())
        found.append(f"the sound differs from sample {unequal[0]} on, by {size:.1e} at most.")
    return found


def offline_tokens(recording: Recording, device: torch.device | str = "cpu") -> Tokens:
    """All positions of a recording as one sequence, ready for `model.embed`.

    Raises RecordingError for a fork that has not been replayed yet: its later outputs do not exist.
    """
    if recording.turns != recording.inputs.turns:
        raise RecordingError(
            f"{recording.turns} of {recording.inputs.turns} turns have outputs: replay the recording first."
        )
    table = recording.tokens
    turns = np.array(recording.inputs.audio).reshape(-1, TURN_SAMPLES)
    run = np.setdiff1d(np.arange(recording.turns), recording.inputs.skipped)  # what was skipped has no positions
    pictures = recording.inputs.frames or ()
    patches = [frames_to_patches(pair) for pair in pictures if pair is not None]

    def ids(column: np.ndarray) -> Tensor:
        return torch.as_tensor(column.astype(np.int64), device=device)

    return Tokens(
        stream=ids(table.stream),
        token=ids(np.maximum(table.token_id, 0)),
        turn=ids(table.turn),
        first=torch.as_tensor(table.slot == 0, device=device),
        heard=dmel(turns[run].reshape(-1)).to(device),  # uint8 [turns run * 4, 80]
        voice=torch.as_tensor(recording.voice, device=device),
        patches=torch.cat(patches).to(device) if patches else None,
    )


@torch.no_grad()
def offline_logits(recording: Recording, model: InteractionModel) -> Tensor:
    """Text logits of every position in one pass without state: float32 [positions, vocab].

    Attention is quadratic here: meant for recordings of a few minutes.
    """
    tokens = offline_tokens(recording, next(model.parameters()).device)
    return model.text_logits(model(model.embed(tokens)[None])[0]).float()


def decision_positions(recording: Recording) -> np.ndarray:
    """The position whose hidden state decides each turn, its last heard frame: int64 [turns].

    A turn that was skipped decided nothing: the last decision before it stands there (or the first one of all).
    """
    found = np.flatnonzero(recording.tokens.decides)
    if not recording.inputs.skipped or not len(found):
        return found
    latest = np.searchsorted(recording.tokens.turn[found], np.arange(recording.turns), side="right") - 1
    return found[np.maximum(latest, 0)]

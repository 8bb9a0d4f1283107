"""One turn's input: checked, one sentence for each thing that can be wrong, and turned into positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import FRAMES_PER_TURN, SAMPLE_RATE, TURN_SAMPLES, TURN_SECONDS
from tml_lab.model.interaction import Tokens
from tml_lab.model.text import TextTokenizer
from tml_lab.signal.dmel import DMelStream
from tml_lab.signal.patches import frames_to_patches
from tml_lab.stream.layout import Stream

MAX_TYPED = 500  # characters in one turn


class SessionError(ValueError):
    """A session cannot take this input or do this; the message is one sentence that says what to do."""


def check_audio(audio: np.ndarray | Tensor) -> np.ndarray:
    """One turn of sound, float32 [3200], as a copy of its own. Raises SessionError."""
    samples = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else audio
    if not isinstance(samples, np.ndarray):
        raise SessionError(
            f"step takes a float32 array of {TURN_SAMPLES} samples, not {type(audio).__name__}."
        )
    if samples.dtype != np.float32:
        hint = "divide by 32768 first" if samples.dtype == np.int16 else "convert with .astype('float32')"
        raise SessionError(f"step takes float32 samples in -1..1, not {samples.dtype}: {hint}.")
    if samples.ndim != 1:
        raise SessionError(
            f"step takes one channel [{TURN_SAMPLES}], not shape {list(samples.shape)}: mix it down."
        )
    if len(samples) != TURN_SAMPLES:
        rate = round(len(samples) / TURN_SECONDS)
        usual = rate in (8000, 11025, 22050, 24000, 32000, 44100, 48000)
        hint = f"it looks like {rate} Hz, resample it" if usual else "cut the stream into whole turns"
        raise SessionError(
            f"step takes one turn of {TURN_SAMPLES} samples ({TURN_SECONDS} s at {SAMPLE_RATE} Hz), "
            f"not {len(samples)}: {hint} (tml_lab.signal.audio.StreamResampler)."
        )
    if not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise SessionError(
            f"sample {first} of this turn is {samples[first]}: check where the sound comes from."
        )
    return samples.copy()


def check_text(text: str) -> str:
    """Words typed during one turn. Raises SessionError."""
    if not isinstance(text, str):
        raise SessionError(f"typed words must be a string, not {type(text).__name__}.")
    if len(text) > MAX_TYPED:
        raise SessionError(
            f"{len(text)} characters typed in one turn are too many: at most {MAX_TYPED}, in several turns."
        )
    return text


@dataclass(frozen=True)
class Heard:
    """A turn's input as ids, bins and patches; nothing here depends on the weights.

    Args:
        audio: float32 [3200].
        bins: uint8 [4, 80].
        dmel_tail: the dMel stream's state after this turn.
        typed: token ids.
        patches: float32 [P, 2, 40, 40, 3], or None without a camera.
        gap: whether nothing was heard: `audio` is then silence.
    """

    audio: np.ndarray
    bins: Tensor
    dmel_tail: Tensor
    typed: list[int]
    patches: Tensor | None
    gap: bool = False

    def rows(self) -> list[tuple[int, int]]:
        """`(stream, token id or -1)` of the positions that this input takes, in the order of the layout."""
        n_patches = 0 if self.patches is None else len(self.patches)
        rows: list[tuple[int, int]] = [(Stream.TEXT_IN, i) for i in self.typed]
        return rows + [(Stream.VIDEO_IN, -1)] * n_patches + [(Stream.AUDIO_IN, -1)] * FRAMES_PER_TURN

    def tokens(self, turn: int, left_token: Tensor, left_voice: Tensor, device: torch.device) -> Tokens:
        """Everything fed before the decision of `turn`: what the turn before left over, then this input.

        Args:
            left_token: int64 [], -1 when none. left_voice: uint8 [0 or 1, 320]; it goes before `left_token`.
        """
        rows = self.rows()
        left: list[tuple[int, int]] = []
        if len(left_voice):
            left = [(Stream.AUDIO_OUT, -1)]
        elif int(left_token) >= 0:
            left = [(Stream.TEXT_OUT, int(left_token))]

        def ids(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        return Tokens(
            stream=ids([int(stream) for stream, _ in left + rows]),
            token=ids([max(token, 0) for _, token in left + rows]),
            turn=ids([turn - 1] * len(left) + [turn] * len(rows)),
            first=torch.arange(len(left) + len(rows), device=device) == len(left),
            heard=self.bins.to(device),
            voice=left_voice.to(device),
            patches=None if self.patches is None else self.patches.to(device),
        )


def hear(
    audio: np.ndarray | Tensor | None,
    frames: np.ndarray | None,
    text: str | None,
    tokenizer: TextTokenizer,
    dmel_tail: Tensor,
) -> Heard:
    """Check one turn's input (see `Session.step`) and prepare it; touches nothing.

    A gap is heard as silence, through the same stream of frames: the first frame after it joins silence to sound, as
    `dmel` of the whole does, so that one offline pass over the recording needs to know nothing of gaps.

    Raises SessionError or SignalError, in one sentence.
    """
    samples = np.zeros(TURN_SAMPLES, np.float32) if audio is None else check_audio(audio)
    typed = tokenizer.encode(check_text(text)) if text is not None else []
    patches = None if frames is None else frames_to_patches(frames)  # float32 [P, 2, 40, 40, 3]
    stream = DMelStream()
    stream.load_state_dict({"tail": dmel_tail})
    bins = stream.push(samples)  # uint8 [4, 80]
    return Heard(samples, bins, stream.state_dict()["tail"], typed, patches, audio is None)

"""From mel frames to sound, turn by turn: a causal ConvNeXt stack with an inverse-Fourier head.

After Vocos (Siuzdak 2023, arXiv 2306.00814), made causal: every convolution looks only back, normalisation
is per frame, and the overlap-add of the inverse transform is part of the state. Thinking Machines' own
vocoder is not published; this one is a reconstruction.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.config import N_MELS, OUT_HOP
from tml_lab.signal.out_mel import normalise, out_mel

VOCODER_DELAY = 400  # samples: the sound comes 25 ms after the mel frames that describe it
WINDOW = 640  # samples of one inverse transform: 40 ms, so 3.2 of them overlap
N_BINS_OUT = WINDOW // 2 + 1
MAX_LOG_MAGNITUDE = 5.0  # keeps a wild frame from becoming a bang

VocoderState = dict[str, Tensor]


def overlap_add(frames: Tensor, overlap: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """Lay windows `hop` samples apart and add them up.

    Args: frames `[B, F, window]`; overlap `[B, window - hop]`: what earlier windows left over.
    Returns: the finished samples `[B, F * hop]`, and what is left over for the next call.
    """
    batch, n_frames, window = frames.shape
    length = (n_frames - 1) * hop + window
    columns = frames.transpose(1, 2)  # [B, window, F]
    summed = F.fold(columns, output_size=(1, length), kernel_size=(1, window), stride=(1, hop)).reshape(batch, length)
    summed = torch.cat([summed[:, : window - hop] + overlap, summed[:, window - hop :]], dim=1)
    return summed[:, : n_frames * hop], summed[:, n_frames * hop :]


class CausalDepthwiseConv(nn.Module):
    """One small filter per channel over the last `kernel` frames; `weight [kernel, d]`, newest frame last."""

    def __init__(self, d: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(kernel, d) / kernel**0.5)
        self.bias = nn.Parameter(torch.zeros(d))

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """`x [B, F, d]`, `past [B, kernel - 1, d]` -> (filtered `[B, F, d]`, the new past)."""
        kernel, n_frames = self.weight.shape[0], x.shape[1]
        joined = torch.cat([past, x], dim=1)  # [B, kernel - 1 + F, d]
        # A few shifted products: the same additions per frame however many frames come at once.
        y = self.bias + joined[:, :n_frames] * self.weight[0]  # [B, F, d]
        for k in range(1, kernel):
            y = torch.addcmul(y, joined[:, k : k + n_frames], self.weight[k])
        return y, joined[:, n_frames:]


class VocoderBlock(nn.Module):
    """Depthwise conv over time, LayerNorm, a two-layer MLP per frame; added to the input, small at first."""

    def __init__(self, d: int, kernel: int, expand: int, scale: float) -> None:
        super().__init__()
        self.conv = CausalDepthwiseConv(d, kernel)
        self.norm = nn.LayerNorm(d)
        self.up = nn.Linear(d, expand * d)
        self.down = nn.Linear(expand * d, d)
        self.scale = nn.Parameter(torch.full((d,), scale))

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """`x [B, F, d]`, `past [B, kernel - 1, d]` -> (`[B, F, d]`, the new past)."""
        y, past = self.conv(x, past)
        y = F.gelu(self.up(self.norm(y)), approximate="tanh")  # [B, F, expand * d]
        y = self.down(y)  # [B, F, d]
        return x + self.scale * y, past


class Vocoder(nn.Module):
    """Normalised output mel to sound at 16 kHz, 200 samples a frame, with a delay of `VOCODER_DELAY` samples.

    The sample at `t` belongs to the mel's time `t - VOCODER_DELAY` and depends on no frame after `t // 200`.
    Streaming in any chunking of whole frames equals `forward` within 1e-5.

    Args: width: channels; depth: blocks; kernel: frames a depthwise filter sees; expand: MLP width / width.
    """

    window: Tensor
    silence: Tensor

    def __init__(self, width: int = 192, depth: int = 6, kernel: int = 7, expand: int = 2) -> None:
        super().__init__()
        self.kernel = kernel
        self.width = width
        self.embed = nn.Linear(3 * N_MELS, width)  # this frame and the two before it
        self.embed_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            VocoderBlock(width, kernel, expand, scale=1 / depth) for _ in range(depth)
        )
        self.head_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * N_BINS_OUT)
        window = torch.hann_window(WINDOW)
        steps = -(-WINDOW // OUT_HOP)
        envelope = F.pad(window, (0, steps * OUT_HOP - WINDOW)).reshape(steps, OUT_HOP).sum(dim=0)  # [200]
        even = window / envelope.repeat(steps)[:WINDOW]  # [640]; overlapped, these now add up to one
        self.register_buffer("window", even, persistent=False)
        silence = normalise(out_mel(torch.zeros(OUT_HOP)))  # [1, 80]
        self.register_buffer("silence", silence, persistent=False)

    @property
    def receptive_frames(self) -> int:
        """How many frames back the sound of a frame may depend on, itself included."""
        return 3 + len(self.blocks) * (self.kernel - 1)

    def blank_state(self, batch: int = 1) -> VocoderState:
        """A state of zeros for `batch` sequences: as if nothing came before."""
        zeros = self.embed.weight.new_zeros
        state = {"embed": zeros(batch, 2, N_MELS), "overlap": zeros(batch, WINDOW - OUT_HOP)}
        for i in range(len(self.blocks)):
            state[f"{i}.conv"] = zeros(batch, self.kernel - 1, self.width)
        return state

    def new_state(self, batch: int = 1) -> VocoderState:
        """The state after a long silence, where every reply begins: a plain dict of `[batch, ...]`."""
        state = self.blank_state(1)
        enough = self.receptive_frames + WINDOW // OUT_HOP + 1
        self.step(self.silence.expand(1, enough, N_MELS), state)
        return {name: tensor.repeat(batch, *[1] * (tensor.ndim - 1)) for name, tensor in state.items()}

    def forward(self, mel: Tensor) -> Tensor:
        """Sound of a whole passage after silence.

        Args: mel f32 `[B, F, 80]`, normalised as by `tml_lab.signal.out_mel.normalise`.
        Returns: f32 `[B, F * 200]`.
        Raises: ValueError for another shape.
        """
        return self.step(mel, self.new_state(mel.shape[0]))

    def step(self, mel: Tensor, state: VocoderState) -> Tensor:
        """Sound of the next frames; the entries of `state` are replaced by what the next step needs.

        Args: mel f32 `[B, F, 80]`, any F >= 1 (16 in a turn); state from `new_state` or an earlier step.
        Returns: f32 `[B, F * 200]`. Raises: ValueError for another shape.
        """
        if mel.ndim != 3 or mel.shape[2] != N_MELS or mel.shape[1] == 0:
            raise ValueError(f"the vocoder takes mel [batch, frames, {N_MELS}], got {list(mel.shape)}")
        joined = torch.cat([state["embed"], mel], dim=1)  # [B, 2 + F, 80]
        state["embed"] = joined[:, -2:]
        triple = torch.cat([joined[:, :-2], joined[:, 1:-1], joined[:, 2:]], dim=2)  # [B, F, 240]
        x = self.embed_norm(self.embed(triple))  # [B, F, d]
        for i, block in enumerate(self.blocks):
            x, state[f"{i}.conv"] = block(x, state[f"{i}.conv"])
        spectrum = self.head(self.head_norm(x)).float()  # [B, F, 2 * 321]
        log_magnitude, phase = spectrum.split(N_BINS_OUT, dim=2)  # [B, F, 321] each
        magnitude = log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp()
        frames = torch.fft.irfft(torch.polar(magnitude, phase), n=WINDOW) * self.window  # [B, F, 640]
        sound, state["overlap"] = overlap_add(frames, state["overlap"], OUT_HOP)
        return sound

"""The flow head: from one hidden state to one audio-out token (4 mel frames), by a few Euler steps.

Flow matching (Lipman et al. 2022, arXiv 2210.02747): on the straight path `x_t = (1 - t) noise + t x1` a
small MLP learns the velocity `x1 - noise`. The MLP is MAR's per-token `SimpleMLPAdaLN` (Li et al. 2024,
arXiv 2406.11838); the times follow a log-normal law as in Kyutai's CALM. Thinking Machines' own head is not
published: a reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.config import OUT_DIM
from tml_lab.model.decode import can_fuse_flow, fused_steps

TIME_MEAN = 0.4  # of the logarithm of the noise-to-signal ratio (1 - t) / t
TIME_STD = 1.0
TIME_FREQUENCIES = 64


def sample_times(
    n: int, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Training times: f32 `[n]` in (0, 1), with `(1 - t) / t` log-normal(0.4, 1): mostly noisy ones.

    Uniform times spend most of their lessons where the answer is already visible.
    """
    ratio = (TIME_MEAN + TIME_STD * torch.randn(n, generator=generator, device=device)).exp()  # [n]
    return 1.0 / (1.0 + ratio)


def on_the_path(noise: Tensor, target: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Where the straight path from `noise` to `target [N, n_out]` is at times `t [N]`, and its velocity there.

    Returns `x_t = (1 - t) noise + t target` and `target - noise`, both `[N, n_out]`.
    """
    share = t[:, None]  # [N, 1]
    return (1 - share) * noise + share * target, target - noise


def follow(velocity: Callable[[Tensor, int], Tensor], x: Tensor, n_steps: int) -> Tensor:
    """Euler's method: from `x [N, n_out]` at time 0, `n_steps` equal steps along `velocity(x, step)` to time 1."""
    for step in range(n_steps):
        x = x + velocity(x, step) / n_steps
    return x


class TimeEmbedding(nn.Module):
    """Sines and cosines of the flow time at geometric frequencies, then a two-layer MLP."""

    rates: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # radians per unit of flow time
        rates = torch.linspace(0.0, math.log(1000.0), TIME_FREQUENCIES).exp()  # [64]
        self.register_buffer("rates", rates, persistent=False)
        self.up = nn.Linear(2 * TIME_FREQUENCIES, width)
        self.down = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """`t [N]` in 0..1 -> `[N, width]`."""
        angle = t[:, None] * self.rates  # [N, 64]
        waves = torch.cat([angle.sin(), angle.cos()], dim=1)  # [N, 128]
        return self.down(F.silu(self.up(waves)))  # [N, width]


class FlowBlock(nn.Module):
    """A residual MLP, its normalisation shifted, scaled and gated from outside (plus its own `offset`)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.up = nn.Linear(width, width)
        self.down = nn.Linear(width, width)
        self.offset = nn.Parameter(torch.zeros(3 * width))

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """`x [N, width]`, `modulation [N, 3 * width]` -> `[N, width]`."""
        shift, scale, gate = (modulation + self.offset).chunk(3, dim=1)  # three [N, width]
        y = self.norm(x) * (1 + scale) + shift
        return x + gate * self.down(F.silu(self.up(y)))


class FlowHead(nn.Module):
    """Draws one continuous token `[n_out]` given a hidden state `[d_model]`.

    The modulation is computed once for all blocks (PixArt-alpha's adaLN-single, Chen et al. 2023, arXiv
    2310.00426): at this width one per block would double the weights a CPU must read for each token. It
    starts at zero, so that every block starts as the identity and the head as the zero velocity.

    Args: d_model: width of the hidden state; n_out: numbers in a token (4 frames x 80 mel values); width,
    depth: of the MLP. About 1.6M parameters at 256 / 320 / 3.
    """

    def __init__(self, d_model: int, n_out: int = OUT_DIM, width: int = 320, depth: int = 3) -> None:
        super().__init__()
        self.fused = True  # one token on a CPU: the compiled kernel; False: always the torch code
        self.deterministic = False  # tokens one by one, as a session draws them
        self.n_out = n_out
        self.width = width
        self.embed_x = nn.Linear(n_out, width)
        self.embed_h = nn.Linear(d_model, width)
        self.embed_t = TimeEmbedding(width)
        self.modulate = nn.Linear(width, 5 * width)
        self.blocks = nn.ModuleList(FlowBlock(width) for _ in range(depth))
        self.final_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.out = nn.Linear(width, n_out)
        for layer in (self.modulate, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def velocity(self, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """The velocity `[N, n_out]` at `x [N, n_out]`, flow times `t [N]`, hidden states `h [N, d_model]`."""
        return self._move(x, self._modulation(t, self.embed_h(h)))

    def _modulation(self, t: Tensor, embedded: Tensor) -> Tensor:
        """Times `[N]` and embedded hidden states `[N, width]` -> shifts, scales and gate `[N, 5 * width]`."""
        return self.modulate(F.silu(embedded + self.embed_t(t)))

    def _move(self, x: Tensor, modulation: Tensor) -> Tensor:
        """`x [N, n_out]`, `modulation [N, 5 * width]` -> velocity `[N, n_out]`."""
        x = self.embed_x(x)  # [N, n_out] -> [N, width]
        for block in self.blocks:
            x = block(x, modulation[:, : 3 * self.width])
        shift, scale = modulation[:, 3 * self.width :].chunk(2, dim=1)  # two [N, width]
        return self.out(self.final_norm(x) * (1 + scale) + shift)  # [N, width] -> [N, n_out]

    def loss(
        self, h: Tensor, x1: Tensor, generator: torch.Generator | None = None, repeats: int = 2,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error of the velocity, at `repeats` random times for each hidden state (the head is
        cheap beside the backbone, so each of its outputs is used several times).

        Args: h `[N, d_model]`; x1 f32 `[N, n_out]`, normalised mel; generator: on h's device; weight `[N]`: how much
        each counts, all alike when None.
        Returns: a scalar; 0 with a gradient path when N = 0. Raises: ValueError if the shapes do not fit.
        """
        if x1.shape != (h.shape[0], self.n_out):
            raise ValueError(
                f"the flow loss needs targets [{h.shape[0]}, {self.n_out}], got {list(x1.shape)}"
            )
        if h.shape[0] == 0:
            return h.sum() * 0.0
        n = h.shape[0] * repeats
        t = sample_times(n, generator, h.device)  # [R N]
        noise = torch.randn(n, self.n_out, generator=generator, device=h.device)
        x_t, towards = on_the_path(noise, x1.float().repeat(repeats, 1), t)  # [N, n_out] -> two [R N, n_out]
        embedded = self.embed_h(h).repeat(repeats, 1)  # [N, width] -> [R N, width]
        error = (self._move(x_t, self._modulation(t, embedded)).float() - towards).square().mean(1)  # [R N]
        if weight is None:
            return error.mean()
        return (error * weight.repeat(repeats)).sum() / (repeats * weight.sum()).clamp(min=1.0)

    @torch.no_grad()
    def sample(self, h: Tensor, noise: Tensor, n_steps: int = 4, temperature: float = 1.0) -> Tensor:
        """Follow the velocity from noise to a token by `n_steps` Euler steps; the same noise gives the same
        token.

        Args: h `[N, d_model]`; noise f32 `[N, n_out]`, standard normal; temperature: scales the noise
        (below 1: nearer to the likeliest token; 0: no randomness). Returns: f32 `[N, n_out]`, normalised mel.
        Raises: ValueError if the shapes do not fit or n_steps < 1.
        """
        if noise.shape != (h.shape[0], self.n_out):
            raise ValueError(
                f"the flow head needs noise [{h.shape[0]}, {self.n_out}], got {list(noise.shape)}"
            )
        if n_steps < 1:
            raise ValueError(f"the flow head needs at least one Euler step, got {n_steps}")
        n = h.shape[0]
        if self.deterministic and n > 1:
            each = zip(h.split(1), noise.split(1), strict=True)
            return torch.cat([self.sample(one, its, n_steps, temperature) for one, its in each])
        x = noise * temperature
        times = torch.arange(n_steps, device=h.device, dtype=noise.dtype) / n_steps  # [S]
        if can_fuse_flow(self, x):
            return fused_steps(self, x, h, times)
        embedded = self.embed_h(h).repeat(n_steps, 1)  # [N, width] -> [S N, width]
        # The modulation does not depend on x: all steps share one reading of its weights.
        modulations = self._modulation(times.repeat_interleave(n), embedded)  # [S N, 5 * width]
        modulations = modulations.unflatten(0, (n_steps, n))  # [S, N, 5 * width]
        return follow(lambda x, step: self._move(x, modulations[step]), x, n_steps)

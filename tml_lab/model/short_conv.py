"""ShortConv: a depthwise causal convolution of width 4 with a residual (Inkling's `InklingShortConvolution`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tml_kernels.conv_train import RowConv
from tml_kernels.rmsnorm import triton_available


def takes_launch(x: Tensor, n_tokens: int, kernel: int) -> bool:
    """Whether whole rows with a gradient go through the GPU's kernel."""
    return x.is_cuda and torch.is_grad_enabled() and n_tokens >= kernel and triton_available()


def causal_conv(x: Tensor, tail: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Each channel alone, itself and its last few inputs, in float32: `y[t] = x[t] + sum_j weight[:, j] * x[t - 3 + j]`
    for four taps; what lies before the first x stands in the tail.

    `x [batch, tokens, channels]`, `tail [batch, kernel - 1, channels]`, `weight [channels, kernel]`. Returns `(y, new
    tail)`: the last `kernel - 1` inputs.
    """
    n_tokens = x.shape[1]
    padded = torch.cat([tail.to(x.dtype), x], dim=1)  # [batch, kernel - 1 + tokens, channels]
    y = x.float()
    for j in range(weight.shape[1]):
        y = torch.addcmul(y, padded[:, j : j + n_tokens].float(), weight[:, j])
    return y.to(x.dtype), padded[:, n_tokens:]


class ShortConv(nn.Module):
    """`y[t] = x[t] + sum_j weight[:, j] * x[t - kernel + 1 + j]`, in float32, for each channel alone.

    While streaming, the last `kernel - 1` inputs are its state (the tail).
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.zeros(channels, kernel))  # zero: starts as the identity

    def forward(self, x: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`x [batch, tokens, channels]`, `tail [batch, kernel - 1, channels]` or None for zeros.

        Returns `(y, new tail)`.
        """
        batch, n_tokens, channels = x.shape
        if tail is None and takes_launch(x, n_tokens, self.kernel):
            return RowConv.apply(x, self.weight), x[:, n_tokens - self.kernel + 1 :]  # pyright: ignore[reportReturnType]
        return causal_conv(x, x.new_zeros(batch, self.kernel - 1, channels) if tail is None else tail, self.weight)

"""`model.deterministic = True`: every way of computing a position gives the same bits.

Streaming in any chunking, one offline pass, a batch of any size, any number of threads, and the trainer's forward: all
go through the session's own kernels, which add each number in an order that only the position's own past settles.
Without the flag a session's backbone runs on them as well, bit for bit; its logits and pictures are torch's products,
as is everything that is no session: all that may differ by rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tml_lab.model.decode import decode, runs_fused
from tml_lab.model.state import MAX_CHUNK, State, new_state, row_of
from tml_lab.model.tap import Tap, are_shallow

if TYPE_CHECKING:
    from tml_lab.model.backbone import Backbone


class NotExactError(RuntimeError):
    """What was asked for cannot be computed in the promised order; the message says why and what to do."""


def check_exact(backbone: Backbone, x: Tensor) -> None:
    """Raise NotExactError unless the kernels can take `x [batch, tokens, d_model]` through this backbone."""
    if x.device.type != "cpu" or x.dtype != torch.float32:
        raise NotExactError(
            f"deterministic=True computes in float32 on the CPU, and this is {x.dtype} on {x.device.type}: move the "
            "model there, or set model.deterministic = False."
        )
    training = backbone.training
    with torch.no_grad():
        backbone.training = False  # of this module alone: what stands inside is looked at, not run
        able = backbone.cfg.n_dense_layers == 0 and runs_fused(backbone, x, set(backbone.blocks))
        backbone.training = training
    if not able:
        raise NotExactError(
            "deterministic=True needs the compiled kernels, and a hook inside a block, a replaced forward "
            "(torch.compile's too), a dense layer or a missing Numba keeps them from running: take it away, or set "
            "model.deterministic = False."
        )


@torch.no_grad()
def exact_pass(
    backbone: Backbone, x: Tensor, state: State | None, taps: dict[int, Tap] | None, quiet: bool
) -> Tensor:
    """`x [batch, tokens, d_model]` row by row through the kernels -> the residual after the last block.

    With a `state` of as many rows the tokens are appended to it; without one each row starts at position 0. `quiet`:
    hooks on the blocks are not called.
    """
    if taps is not None and (state is None or len(x) > 1):
        raise NotExactError("deterministic=True shows attention in a session alone: look at a batch without the flag.")
    if not are_shallow(taps):
        raise NotExactError(
            "deterministic=True can show and change what stands between the blocks (resid_pre, resid_post) and nothing "
            "inside one: hook these, or set model.deterministic = False."
        )
    if state is not None and len(x) == 1:
        return _one_row(backbone, x, state, taps, quiet)
    out = []
    for row, tokens in enumerate(x.split(1)):
        own = new_state(backbone.cfg, max_tokens=x.shape[1]) if state is None else row_of(state, row)
        out.append(_one_row(backbone, tokens, own, taps, quiet))
        if state is not None:
            for name, tensor in own.items():
                place = state[name][row : row + 1]
                if place.data_ptr() != tensor.data_ptr():  # a counter or a copied tail: no view any more
                    place.copy_(tensor)
    return torch.cat(out)


def _one_row(
    backbone: Backbone, x: Tensor, state: State, taps: dict[int, Tap] | None, quiet: bool
) -> Tensor:
    pieces = [decode(backbone, piece, state, taps, quiet) for piece in x.detach().split(MAX_CHUNK, dim=1)]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)


class _InPlaceOf(torch.autograd.Function):
    """`exact`, to whoever asks for the value; the tensor it stands in for, to whoever asks for the gradient."""

    @staticmethod
    def forward(ctx: Any, plain: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def in_place_of(plain: Tensor, exact: Tensor) -> Tensor:
    """The value of `exact`, the gradient of `plain` (both of one shape, equal but for rounding)."""
    return _InPlaceOf.apply(plain, exact)  # type: ignore[no-any-return]

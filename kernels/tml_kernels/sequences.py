"""Where several sequences keep their state, as the CPU kernels of a block are told: numbers, not arrays.

A call with six arrays for each of many sessions would be compiled anew for each number of sessions, and would spend
more time on unpacking its arguments than on a token. A table of addresses is one argument.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from tml_kernels.weights import jit

I64 = NDArray[np.int64]
PARTS = ("k", "v", "k_conv", "v_conv", "attn_conv", "mlp_conv")
"""What a sequence keeps of a block: rings `[kv heads, slots, d_head]`, ShortConv tails `[kernel - 1, channels]`."""
K, V, K_CONV, V_CONV, ATTN_CONV, MLP_CONV = range(len(PARTS))


class Sequences(NamedTuple):
    """Some new tokens of each of S sequences, one sequence after the other in the rows of one array.

    Args:
        first: [S + 1], the row where each one's tokens begin, and the number of all rows.
        pos: [S], absolute position of each one's first new token.
        slots: [S], of its rings.
        memory: [S, 6], where its `PARTS` lie: addresses of contiguous float32 arrays, kept alive by the caller.
    """

    first: I64
    pos: I64
    slots: I64
    memory: I64


@intrinsic
def _pointer(typing_context, address):  # an address as what `carray` takes
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@jit
def floats(address, shape):  # the float32 array that lies there: a view, which keeps nothing alive
    return carray(_pointer(address), shape, np.float32)  # pyright: ignore[reportCallIssue] - Numba gives the context


@jit
def ring_of(where, s, part, n_kv, d_head):  # K or V of sequence s: [n_kv, slots, d_head]
    return floats(where.memory[s, part], (n_kv, where.slots[s], d_head))


@jit
def tail_of(where, s, part, weight):  # one of its tails, for a ShortConv's weight [channels, kernel]
    return floats(where.memory[s, part], (weight.shape[1] - 1, weight.shape[0]))

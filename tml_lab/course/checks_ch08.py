"""Exercises of notebooks/08_streaming_sessions.ipynb."""

from __future__ import annotations

import random
import struct
import zlib

from tml_lab.course.exercise import Exercise, Mistake
from tml_lab.serve.journal import FRAME
from tml_lab.stream.together import share_out


def _record(seed: int) -> tuple[int, int, bytes]:
    """Kind, turn and payload of a record; an empty one among them."""
    rng = random.Random(seed)
    return 1 + seed % 3, rng.randrange(100_000), b"" if seed == 1 else rng.randbytes(rng.randint(1, 60))


def _framed(kind: int, turn: int, payload: bytes, length: int, summed: bytes) -> bytes:
    return FRAME.pack(length, zlib.crc32(summed), kind, turn) + payload


def _rest(kind: int, turn: int) -> bytes:
    return struct.pack("<BI", kind, turn)


ch08_framed = Exercise(
    module="tml_lab.serve.journal",
    attribute="framed",
    cases=_record,
    hints=(
        "What must a reader know before it reads the payload, and what can go wrong in the bytes that follow?",
        "rest = struct.pack('<BI', kind, turn); the checksum is zlib.crc32(rest + payload).",
        "struct.pack('<II', len(payload), zlib.crc32(rest + payload)) + rest + payload.",
    ),
    mistakes=(
        Mistake(
            lambda kind, turn, payload: _framed(kind, turn, payload, len(payload), payload),
            "a damaged kind or turn would go unnoticed: the checksum covers them, too",
        ),
        Mistake(
            lambda kind, turn, payload: _framed(
                kind, turn, payload, len(payload) + FRAME.size, _rest(kind, turn) + payload
            ),
            "the length is the payload's alone",
        ),
        Mistake(
            lambda kind, turn, payload: _framed(kind, turn, payload, len(payload), payload + _rest(kind, turn)),
            "the checksum runs over the bytes in their order: kind and turn come first",
        ),
    ),
)


def _loads(seed: int) -> tuple[list[int], int]:
    """Costs of some sessions' turns, and how many threads there are."""
    rng = random.Random(seed)
    if seed == 0:
        return [4, 16, 4, 4, 12, 4], 2
    return [rng.choice((4, 12, 16, 24)) for _ in range(rng.randint(0, 9))], rng.randint(1, 4)


def _dealt(costs: list[int], n: int, ordered: bool) -> list[list[int]]:
    shares: list[list[int]] = [[] for _ in range(n)]
    order = sorted(range(len(costs)), key=lambda i: -costs[i]) if ordered else range(len(costs))
    for k, i in enumerate(order):
        shares[k % n].append(i)
    return shares


def _greedy(costs: list[int], n: int) -> list[list[int]]:
    shares: list[list[int]] = [[] for _ in range(n)]
    sums = [0] * n
    for i in range(len(costs)):
        least = sums.index(min(sums))
        shares[least].append(i)
        sums[least] += costs[i]
    return shares


ch08_share_out = Exercise(
    module="tml_lab.stream.together",
    attribute="share_out",
    cases=_loads,
    hints=(
        "What goes wrong when the dearest turn comes last?",
        "The dearest first; each to the share that has least so far, the first of several.",
        "order = sorted(range(len(costs)), key=lambda i: -costs[i]); least = sums.index(min(sums)).",
    ),
    mistakes=(
        Mistake(
            lambda costs, n: _dealt(costs, n, ordered=False),
            "dealing out like cards ignores what each costs",
        ),
        Mistake(
            lambda costs, n: _dealt(costs, n, ordered=True),
            "dealt out in turn; but each must go to the share that has least so far",
        ),
        Mistake(_greedy, "the dearest first: the small ones then fill what is left"),
        Mistake(
            lambda costs, n: [sorted(share) for share in share_out(costs, n)],
            "within a share the order is that in which they were given to it",
        ),
    ),
)

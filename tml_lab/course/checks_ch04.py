"""Exercises of notebooks/04_attention.ipynb."""

from __future__ import annotations

import torch
from torch import Tensor

from tml_lab.course.exercise import Exercise, Mistake

Sight = tuple[Tensor, Tensor, Tensor]


def _lookers(seed: int) -> tuple[Tensor, Tensor, int, int, int]:
    """Some queries, keys in a ring's order, a window, sinks, an extent that is shorter or longer."""
    generator = torch.Generator().manual_seed(seed)
    batch, n, keys = 1 + seed % 2, 1 + seed % 4, 5 + seed
    window, sinks, extent = 2 + seed % 5, (0, 1, 3)[seed % 3], (4, 12, 2, 6)[seed % 4]
    key_pos = torch.stack([torch.randperm(keys + 2, generator=generator)[:keys] for _ in range(batch)])
    start = torch.randint(2, keys, (batch, 1), generator=generator) * (seed % 6 != 2)  # at 0 sinks may lie ahead
    return start + torch.arange(n), key_pos, sinks, window, extent


def _sight(pos: Tensor, key_pos: Tensor, sinks: int, window: int, extent: int, late: int = 0, wide: int = 0,
           bare: bool = False, least: int = 0, end: int = 0, all_sinks: bool = False) -> Sight:  # fmt: skip
    """As it should be, or not: the future seen, a window too wide, no sinks, a sink in the future, another extent."""
    distance = (pos[:, :, None] - key_pos[:, None, :])[:, None]
    near, sink = distance < window + wide, (key_pos < sinks)[:, None, None, :]
    seen = (distance >= late) & (near if bare else near | sink)
    seen = (near & (distance >= 0)) | sink if all_sinks else seen
    unseen = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    return unseen, distance.clamp(least, extent - 1), (distance < 0) | (distance >= extent + end)


ch04_sight = Exercise(
    module="tml_lab.model.state",
    attribute="sight",
    cases=_lookers,
    hints=(
        "Everything follows from one tensor, distance = position of the query - position of the key.",
        "distance: (pos[:, :, None] - key_pos[:, None, :])[:, None]. Seen: distance >= 0 and (near or a sink).",
        "seen = (distance >= 0) & ((distance < window) | (key_pos[:, None, None, :] < sinks)); unseen is 0 there, else "
        "-inf; then distance.clamp(0, extent - 1), and beyond = (distance < 0) | (distance >= extent).",
    ),
    mistakes=(
        Mistake(lambda *a: _sight(*a, late=-99), "a query must not see the future: distance >= 0"),
        Mistake(lambda *a: _sight(*a, late=1), "a position sees itself: distance 0 counts"),
        Mistake(lambda *a: _sight(*a, wide=1), "the window counts the position itself: distances below `window`"),
        Mistake(lambda *a: _sight(*a, bare=True), "the first `sinks` positions are seen from however far"),
        Mistake(lambda *a: _sight(*a, all_sinks=True), "a sink in the future is still in the future"),
        Mistake(lambda *a: _sight(*a, least=-(10**6)), "a distance is an index into the profiles: clamp it, 0 below"),
        Mistake(lambda *a: _sight(*a, end=1), "the profiles end at `extent`: distance `extent` is beyond"),
    ),
)


def _wishes(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """r, profiles, distances, and where there is no bias."""
    generator = torch.Generator().manual_seed(seed)
    batch, heads, n, keys = 1 + seed % 2, 1 + seed % 3, 1 + seed % 4, 3 + seed % 5
    d_rel, extent = 1 + seed % 4, 4 + seed % 3
    distance = torch.randint(-2, extent + 3, (batch, 1, n, keys), generator=generator)
    beyond = (distance < 0) | (distance >= extent)
    r = torch.randn(batch, heads, n, d_rel, generator=generator)
    rel = torch.randn(d_rel, extent, generator=generator)
    return r, rel, distance.clamp(0, extent - 1), beyond


def _bias(r: Tensor, rel: Tensor, distance: Tensor, beyond: Tensor, fill: float | None = 0.0) -> Tensor:
    by_distance = r @ rel
    found = by_distance.gather(-1, distance.expand(-1, r.shape[1], -1, -1))
    return found if fill is None else found.masked_fill(beyond, fill)


def _backwards(r: Tensor, rel: Tensor, distance: Tensor, beyond: Tensor) -> Tensor:
    return _bias(r, rel.flip(1), distance, beyond)


def _all_alike(r: Tensor, rel: Tensor, distance: Tensor, beyond: Tensor) -> Tensor:
    return _bias(torch.ones_like(r), rel, distance, beyond)


def _one_query(r: Tensor, rel: Tensor, distance: Tensor, beyond: Tensor) -> Tensor:
    return _bias(r[:, :, :1].expand_as(r), rel, distance, beyond)


ch04_relative_bias = Exercise(
    module="tml_lab.model.attention",
    attribute="relative_bias",
    cases=_wishes,
    hints=(
        "First the bias of each query for *every* distance, one matrix product; then pick the distances there are.",
        "by_distance = r @ rel is [batch, heads, n, extent]; torch.gather along the last axis picks.",
        "by_distance.gather(-1, distance.expand(-1, r.shape[1], -1, -1)), and 0.0 where `beyond` is true.",
    ),
    mistakes=(
        Mistake(lambda *a: _bias(*a, fill=None), "beyond the profiles there is no bias: 0, not their last number"),
        Mistake(lambda *a: _bias(*a, fill=-torch.inf), "beyond means no bias, 0; the mask is another matter"),
        Mistake(_backwards, "column d of the profiles is distance d; yours run backwards"),
        Mistake(_all_alike, "each query has a wish of its own: its r says how much of each profile it takes"),
        Mistake(_one_query, "all rows carry the first query's wish; the product is over d_rel, row by row"),
    ),
    atol=1e-5,
)  # fmt: skip


def _stretch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Some tokens, what came before them, the taps; chunks may be shorter than the tail."""
    generator = torch.Generator().manual_seed(seed)
    batch, n, channels, kernel = 1 + seed % 2, 1 + seed % 5, 1 + seed % 3, (4, 4, 2)[seed % 3]
    x, tail = (torch.randn(batch, size, channels, generator=generator) for size in (n, kernel - 1))
    return x, tail, torch.randn(channels, kernel, generator=generator)


def _conv(x: Tensor, tail: Tensor, weight: Tensor, own: bool = True) -> tuple[Tensor, Tensor]:
    padded = torch.cat([tail, x], 1)
    y = (padded.unfold(1, weight.shape[1], 1) * weight).sum(-1)
    return (x + y if own else y), padded[:, x.shape[1] :]


def _flipped(x: Tensor, tail: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return _conv(x, tail, weight.flip(1))


def _forgetful(x: Tensor, tail: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return _conv(x, torch.zeros_like(tail), weight)[0], _conv(x, tail, weight)[1]


def _first_of_tail(x: Tensor, tail: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return _conv(x, tail, weight)[0], torch.cat([tail, x], 1)[:, : tail.shape[1]]


def _tail_of_outputs(x: Tensor, tail: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    y, _ = _conv(x, tail, weight)
    return y, torch.cat([tail, y], 1)[:, x.shape[1] :]


ch04_causal_conv = Exercise(
    module="tml_lab.model.short_conv",
    attribute="causal_conv",
    cases=_stretch,
    hints=(
        "Put the tail in front of x: then every output finds all its inputs, and the new tail is the end of that.",
        "padded = cat([tail, x], dim=1); tap j meets padded[:, j : j + tokens]. The last tap meets x itself.",
        "y = x, then for j in range(kernel): y = y + padded[:, j : j + n] * weight[:, j]; return y, padded[:, n:].",
    ),
    mistakes=(
        Mistake(lambda *a: _conv(*a, own=False), "y[t] begins with x[t] itself, as it is; the taps are added to it"),
        Mistake(_flipped, "the last tap belongs to the newest input; yours run backwards"),
        Mistake(_forgetful, "the tail was taken for zeros: right for the first chunk, wrong for all others"),
        Mistake(_first_of_tail, "the new tail is the end of [tail, x], not its beginning"),
        Mistake(_tail_of_outputs, "the tail holds inputs; yours holds outputs"),
    ),
    atol=1e-5,
)  # fmt: skip


def _places(seed: int) -> tuple[Tensor, int, int]:
    """Positions before and past the wrap, with sinks and without."""
    sinks = (0, 2, 3)[seed % 3]
    slots = sinks + 3 + seed % 4
    return torch.arange(3 * slots + seed)[None], slots, sinks


ch04_slot_of = Exercise(
    module="tml_lab.model.state",
    attribute="slot_of",
    cases=_places,
    hints=(
        "The first `sinks` positions have slots of their own for ever. How many slots are left to go round in?",
        "Behind the sinks count from there: position sinks + p goes to slot sinks + p % (slots - sinks).",
        "torch.where(pos < sinks, pos, sinks + (pos - sinks) % (slots - sinks))",
    ),
    mistakes=(
        Mistake(lambda pos, slots, sinks: pos % slots, "the ring goes over the sinks: they are overwritten"),
        Mistake(
            lambda pos, slots, sinks: torch.where(pos < sinks, pos, sinks + pos % (slots - sinks)),
            "count from the end of the sinks: (pos - sinks) % ring, so that no slot is left out at first",
        ),
        Mistake(
            lambda pos, slots, sinks: torch.where(pos < sinks, pos, (pos - sinks) % (slots - sinks)),
            "what goes round stands behind the sinks: add `sinks`",
        ),
        Mistake(
            lambda pos, slots, sinks: torch.where(pos < slots, pos, slots - 1),
            "a ring goes round: after the last slot comes the first one behind the sinks",
        ),
    ),
)  # fmt: skip


def _written(seed: int) -> tuple[Tensor, int, int]:
    """Two sequences, one of them perhaps shorter than the sinks."""
    sinks = (0, 2, 3)[seed % 3]
    slots = sinks + 3 + seed % 4
    return torch.tensor([seed % 4, 1 + 2 * slots + seed]), slots, sinks


def _held(next_pos: Tensor, slots: int, sinks: int, last: int = 1, hole: int = -1) -> Tensor:
    """Slot by slot, by writing one position after the other."""
    rows = []
    for count in next_pos.tolist():
        row = [hole] * slots
        for p in range(count - 1 + last):
            row[p if p < sinks else sinks + (p - sinks) % (slots - sinks)] = p
        rows.append(row)
    return torch.tensor(rows)


def _no_sinks(next_pos: Tensor, slots: int, sinks: int) -> Tensor:
    return _held(next_pos, slots, 0)


def _no_holes(next_pos: Tensor, slots: int, sinks: int) -> Tensor:
    held = _held(next_pos, slots, sinks)
    return torch.where(held < 0, torch.arange(slots), held)


ch04_positions_held = Exercise(
    module="tml_lab.model.state",
    attribute="positions_held",
    cases=_written,
    hints=(
        "Which is the newest position p < next_pos with slot_of(p) == slot? Before the wrap it may not exist: -1.",
        "From the last position go back until the slot fits: last - (last - slot) % ring, ring = slots - sinks.",
        "The sinks hold themselves once they are written: where(slot < sinks, where(slot <= last, slot, -1), newest); "
        "and a newest that is smaller than `sinks` was never written behind them: -1.",
    ),
    mistakes=(
        Mistake(_no_sinks, "the first `sinks` slots keep the first positions for ever"),
        Mistake(_no_holes, "a slot that nobody has written holds -1, not the position that will come there"),
        Mistake(lambda *a: _held(*a, last=2), "after next_pos tokens the last position is next_pos - 1"),
        Mistake(lambda *a: _held(*a, hole=0), "-1 where nothing is; 0 is the first position"),
    ),
)  # fmt: skip

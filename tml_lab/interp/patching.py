"""Activation patching: where in the model, and when, lies what decided.

Two recordings of one shape: in the *clean* one the model spoke, in the *corrupt* one something heard, seen or read was
other, and it did not (or the other way round). The corrupt one is run again with a piece of the clean one's inside put
in its place; how much of the decision comes back says how much that piece carries.
Source: Meng et al. 2022 (causal tracing); TransformerLens' `patching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from tml_lab.interp.cache import Cache, InterpError, full_name
from tml_lab.interp.hooks import Hook, run_with_hooks
from tml_lab.interp.names import check_turn
from tml_lab.interp.resume import finish, rows_at_once
from tml_lab.model.text import SILENT, SPEAK

BATCH = 8  # turns patched in one forward, at most


@dataclass(frozen=True, eq=False)
class Sweep:
    """What each patch brought back of a turn's decision.

    Args:
        restored: float32 [rows, columns]: 0 as in the corrupt run, 1 as in the clean one; it may lie outside.
        rows, columns: what they are: layers, heads, turns.
        clean, corrupt: `<speak>` less `<silent>` at the decision, in either run.
        turn: whose decision it is.
    """

    restored: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    clean: float
    corrupt: float
    turn: int


def logit_difference(logits: Tensor, cache: Cache) -> Tensor:
    """`logits [..., vocab]` -> `<speak>` less `<silent>` `[...]`."""
    return logits[..., cache.tokenizer.id(SPEAK)] - logits[..., cache.tokenizer.id(SILENT)]


def check_alike(one: Cache, other: Cache, until: int | None = None) -> None:
    """Raises InterpError when two recordings do not have the same positions, or not the same first `until`."""
    tables = [cache.tokens.part(slice(until)) for cache in (one, other)]
    if any(not np.array_equal(getattr(tables[0], part), getattr(tables[1], part)) for part in ("stream", "turn")):
        raise InterpError(
            f"the two recordings lay out other positions ({len(tables[0])} and {len(tables[1])}): they may differ in "
            "what was heard, seen or read, but not in how many words were typed or said in a turn."
        )


def check_pair(clean: Cache, corrupt: Cache, turn: int) -> tuple[float, float]:
    """The decision of both at `turn`. Raises InterpError when they cannot be compared; later turns may differ."""
    for cache in (clean, corrupt):
        check_turn(cache.turns, turn)
    at = int(clean.decision_positions[turn])
    check_alike(clean, corrupt, at + 1)
    first, second = (float(logit_difference(cache.logits[at], cache)) for cache in (clean, corrupt))
    if abs(first - second) < 1e-3:
        raise InterpError(f"both decide turn {turn} alike ({first:.4f}, {second:.4f}): there is nothing to bring back.")
    return first, second


def restored(patched: Tensor, clean: float, corrupt: float) -> Tensor:
    """How much of a decision a patch brought back: 0 as in the corrupt run, 1 as in the clean one."""
    return (patched - corrupt) / (clean - corrupt)


def _batches(cache: Cache, turns: Sequence[int], turn_of: np.ndarray) -> list[list[int]]:
    """Turns, in order, in groups that fit in the memory together; each group runs from its first turn on."""
    groups: list[list[int]] = []
    for turn in turns:
        start = int(np.searchsorted(turn_of, groups[-1][0] if groups else turn))
        if groups and len(groups[-1]) < min(BATCH, rows_at_once(cache, start, len(turn_of))):
            groups[-1].append(turn)
        else:
            groups.append([turn])
    return groups


@torch.no_grad()
def patch_turns(
    clean: Cache,
    corrupt: Cache,
    turn: int,
    layers: Sequence[int] | None = None,
    turns: Sequence[int] | None = None,
    progress: bool = True,
) -> Sweep:
    """The residual stream after each layer, at all positions of each turn, one by one: `[layers, turns]`.

    Args:
        turn: whose decision is looked at.
        layers, turns: which to patch; all, and the turns up to `turn`, by default.
        progress: show how far it is.

    Both caches need `resid_post`, the corrupt one what `tml_lab.interp.resume.finish` reads. Raises InterpError when
    the recordings cannot be compared, or decide alike.
    """
    ends = check_pair(clean, corrupt, turn)
    model = clean.model
    chosen = list(range(model.cfg.n_layers)) if layers is None else list(layers)
    when = list(range(turn + 1)) if turns is None else list(turns)
    at = int(clean.decision_positions[turn])
    turn_of = clean.tokens.turn[: at + 1]
    jobs = [(layer, some) for layer in chosen for some in _batches(corrupt, sorted(when), turn_of)]
    found: dict[tuple[int, int], float] = {}
    for layer, some in track(jobs, "patching", disable=not progress):
        start = int(np.searchsorted(turn_of, some[0]))
        here = torch.as_tensor(turn_of[None, start:] == np.array(some)[:, None], device=clean.logits.device)
        mine, theirs = (cache["resid_post", layer][start : at + 1] for cache in (corrupt, clean))
        x = torch.where(here[..., None], theirs, mine)  # [some, positions, d_model]
        for n, value in zip(some, logit_difference(finish(corrupt, layer, x, start), clean).tolist(), strict=True):
            found[layer, n] = value
    grid = np.array([[found[layer, n] for n in when] for layer in chosen], np.float32)
    labels = tuple(f"L{layer}" for layer in chosen), tuple(f"turn {n}" for n in when)
    return Sweep(restored(torch.from_numpy(grid), *ends).numpy(), *labels, *ends, turn)


@torch.no_grad()
def patch_heads(clean: Cache, corrupt: Cache, turn: int, progress: bool = True) -> Sweep:
    """Each head's output `z`, at all positions: `[layers, heads]`, zero where a layer has fewer heads than another.

    Both caches need `z`. Raises as `patch_turns`.
    """
    ends = check_pair(clean, corrupt, turn)
    cfg, at = clean.model.cfg, int(clean.decision_positions[turn])
    most = max(cfg.heads(layer)[0] for layer in range(cfg.n_layers))
    grid = np.zeros((cfg.n_layers, most), np.float32)
    jobs = [(layer, head) for layer in range(cfg.n_layers) for head in range(cfg.heads(layer)[0])]
    for layer, head in track(jobs, "patching", disable=not progress):

        def put(z: Tensor, hook: Hook, layer: int = layer, head: int = head) -> Tensor:
            z[: at + 1, head] = clean["z", layer][: at + 1, head]
            return z

        hook = (full_name("z", layer), put)
        patched = run_with_hooks(clean.model, clean.tokenizer, corrupt.recording, [hook])
        grid[layer, head] = float(restored(logit_difference(patched.logits[at], clean), *ends))
    return Sweep(grid, tuple(f"L{n}" for n in range(cfg.n_layers)), tuple(f"H{n}" for n in range(most)), *ends, turn)

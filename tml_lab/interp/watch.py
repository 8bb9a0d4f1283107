"""What stands behind every look inside: hook functions, and the observer that calls them in any forward pass.

One and the same function works offline, while a session streams, and in a replay, because it is told which positions
it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import ModelConfig
from tml_lab.interp.names import (
    EMBED,
    FINAL,
    ROUTED,
    InterpError,
    Names,
    choose,
    full_name,
    hook_names,
    layer_of,
    split_name,
)
from tml_lab.model.tap import Tap
from tml_lab.stream.observer import Piece
from tml_lab.stream.tokens import TokenTable

# what is told of a choice already made: changing it would change nothing
READ_ONLY = ("mlp.hook_expert_indices",)


@dataclass(frozen=True, eq=False)
class Hook:
    """Where a hook function stands.

    Args:
        name: the hook's full name; `layer` is None for the embedding and the final norm.
        piece: the positions of the tensor at hand: all of a recording, or those of one forward of a session.
        tap: what the layer has computed in this forward so far, by short name, with a batch axis.
    """

    name: str
    layer: int | None
    piece: Piece
    tap: Tap

    @property
    def tokens(self) -> TokenTable:
        """One row for each position of the tensor: its stream, turn, slot."""
        return self.piece.tokens

    @property
    def pos(self) -> np.ndarray:
        """int64 [n]: absolute positions."""
        return self.piece.pos

    @property
    def turn(self) -> np.ndarray:
        """int32 [n]: absolute turns."""
        return self.tokens.turn

    @property
    def t(self) -> np.ndarray:
        """float64 [n]: the second at which each was heard, or is played if it is the model's own."""
        return self.tokens.starts

    @cached_property
    def keys(self) -> TokenTable:
        """One row for each column of a pattern, in its order (a session's ring is not sorted)."""
        if "key_pos" not in self.tap:
            raise InterpError(f"{self.name} has no keys: only a pattern has them.")
        return self.piece.so_far.part(self.tap["key_pos"][0].cpu().numpy())


HookFunction = Callable[[Tensor, Hook], Tensor | None]
"""`(tensor without a batch axis, hook) -> another of its shape`, or None to look only. It may write into the tensor."""
Hooks = Sequence[tuple[str | Callable[[str], bool], HookFunction]]
"""`(name, or a filter of names; function)`, applied in this order."""


def resolve(hooks: Hooks, names: Sequence[str]) -> dict[str, list[HookFunction]]:
    """The functions of each name. Raises InterpError for an unknown name, a filter that fits none, a name whose tensor
    cannot be changed, and what is no pair of a name and a function."""
    found: dict[str, list[HookFunction]] = {}
    for hook in hooks:
        if not (isinstance(hook, tuple | list) and len(hook) == 2 and callable(hook[1])):
            raise InterpError(f"hooks are a list of (name, function): {hook!r} is no such pair.")
        for name in choose(hook[0], names):
            if name.endswith(READ_ONLY):
                raise InterpError(f"{name} only tells which experts were chosen: edit their weights instead.")
            found.setdefault(name, []).append(hook[1])
    return found


def _act(functions: Sequence[HookFunction], piece: Piece) -> bool:
    """Whether one of them has anything to do with these positions: who knows when it acts says so by `acts(tokens)`."""
    return any(getattr(function, "acts", lambda tokens: True)(piece.tokens) for function in functions)


class Watch:
    """An observer (see `tml_lab.stream.observer`): calls hooks, keeps tensors by name, forward after forward.

    Args:
        cfg: of the model that it will watch.
        hooks: see `Hooks`.
        keep: the tensors to keep (see `Names`); a session of an hour fills the memory with many of them.
        needs: short names that the hooks read from `Hook.tap`.
        on_piece: called after each forward with its positions and what was kept of it; nothing is then gathered.

    Raises InterpError for names there are not.
    """

    def __init__(
        self,
        cfg: ModelConfig,
        hooks: Hooks = (),
        keep: Names = (),
        needs: Collection[str] = (),
        on_piece: Callable[[Piece, dict[str, Tensor]], None] | None = None,
    ) -> None:
        names = hook_names(cfg)
        self._functions = resolve(hooks, names)
        self._keep, self._on_piece = set(choose(keep, names)), on_piece
        self._kept: dict[str, list[Tensor]] = {name: [] for name in names if name in self._keep}
        self._wants: dict[int, set[str]] = {}
        for name in (*self._functions, *self._keep):
            if layer_of(name) is not None:
                layer, short = split_name(name)
                self._wants.setdefault(layer, set()).add(short)
        for layer in {layer_of(name) for name in self._functions} - {None}:
            self._wants[layer] |= set(needs)  # pyright: ignore[reportArgumentType]
        self._holds = {
            layer: {short for short in wants if short in needs or full_name(short, layer) in self._keep}
            for layer, wants in self._wants.items()
        }
        self._taps: dict[int, Tap] = {}
        self._ends: dict[str, Tensor] = {}

    def embedded(self, x: Tensor, piece: Piece) -> Tensor:
        """See `Observer`."""
        self._ends = {EMBED: self._edit(EMBED, x, piece, Tap())}
        return self._ends[EMBED]

    def taps(self, piece: Piece) -> dict[int, Tap]:
        """See `Observer`."""
        self._taps = {}
        for layer, wants in self._wants.items():
            edits = any(layer_of(name) == layer and _act(self._functions[name], piece) for name in self._functions)
            if edits or any(layer_of(name) == layer for name in self._keep):
                tap = self._taps[layer] = Tap(wants=wants, holds=self._holds[layer])  # patterns must not pile up
                tap.edit = self._in_layer(layer, piece, tap) if edits else None
        return self._taps

    def finished(self, hidden: Tensor, piece: Piece) -> Tensor:
        """See `Observer`."""
        self._ends[FINAL] = hidden = self._edit(FINAL, hidden, piece, Tap())
        found = {name: x for name, x in self._ends.items() if name in self._keep}
        for layer, tap in self._taps.items():
            for short, x in tap.items():
                # the experts' tensors come without a batch axis already
                if short != "key_pos" and (name := full_name(short, layer)) in self._keep:
                    found[name] = x if short.startswith(ROUTED) else x[0]
        self._taps, self._ends = {}, {}
        if self._on_piece is not None:
            self._on_piece(piece, found)
        else:
            for name, x in found.items():
                self._kept[name].append(x)
        return hidden

    def tensors(self) -> dict[str, Tensor]:
        """What was kept so far, the forwards joined.

        Raises InterpError for a pattern of more than one forward: its columns are other positions in each.
        """
        for name, x in self._kept.items():
            if len(x) > 1 and name.endswith("pattern"):
                raise InterpError(
                    f"{name} has other keys in each forward of a session: read it in a hook, with hook.keys."
                )
        return {name: x[0] if len(x) == 1 else torch.cat(x) for name, x in self._kept.items() if x}

    def _in_layer(self, layer: int, piece: Piece, tap: Tap) -> Callable[[str, Tensor], Tensor]:
        """The edit of one layer's tap, which knows short names and a batch axis."""

        def inside(short: str, x: Tensor) -> Tensor:
            name = full_name(short, layer)
            if short.startswith(ROUTED):
                return self._edit(name, x, piece, tap)
            return self._edit(name, x[0], piece, tap)[None]

        return inside

    def _edit(self, name: str, x: Tensor, piece: Piece, tap: Tap) -> Tensor:
        """What the hooks at `name` make of `x`, a tensor without a batch axis."""
        functions = self._functions.get(name)
        if not functions:
            return x
        hook = Hook(name, layer_of(name), piece, tap)
        for function in functions:
            changed = function(x.clone(), hook)
            if changed is None:
                continue
            if not isinstance(changed, Tensor):
                raise InterpError(f"a hook at {name} must give a tensor, or None, not {type(changed).__name__}.")
            if changed.shape != x.shape:
                raise InterpError(f"a hook at {name} must keep the shape {list(x.shape)}, got {list(changed.shape)}.")
            x = changed.to(x.dtype)
        return x

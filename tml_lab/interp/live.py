"""Live: lenses, probes and steering on a running session, one number a turn, while somebody talks to it.

    with attached(session, {"lens 2": lens(model, tokenizer, 2), "patience": along(direction, layer=3)}) as live:
        session.step(audio)
        live.latest["lens 2"]

A reader looks at the residual stream between the blocks, where the compiled kernels let it: the session's own numbers
stay the same to the bit, and a turn takes hardly longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tml_lab.config import ModelConfig
from tml_lab.interp.decision import decision_direction, lens_difference
from tml_lab.interp.edits import Edit, each_edit, edit_hooks, edit_needs
from tml_lab.interp.names import InterpError, check_layer, full_name
from tml_lab.interp.watch import Watch
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.clock import heard_start
from tml_lab.stream.observer import Piece
from tml_lab.stream.session import Session


@dataclass(frozen=True)
class Reader:
    """One number from the residual stream after a layer: `read(resid_post [d_model])` at each turn's decision.

    `d_model`: the width it was made for; None: any.
    """

    layer: int
    read: Callable[[Tensor], float]
    d_model: int | None = None


def lens(model: InteractionModel, tokenizer: TextTokenizer, layer: int) -> Reader:
    """`<speak>` less `<silent>` as if the model ended after `layer`; see `decision_lens`. Raises InterpError."""
    check_layer(model.cfg, layer)
    norm, direction = model.backbone.norm, decision_direction(model, tokenizer)

    def read(resid: Tensor) -> float:
        return float(lens_difference(resid[None], norm.weight, norm.eps, direction))

    return Reader(layer, read, model.cfg.d_model)


def along(direction: np.ndarray | Tensor, layer: int, bias: float = 0.0) -> Reader:
    """`direction @ resid + bias`: what a linear probe says. `direction [d_model]`."""
    weight = torch.as_tensor(np.asarray(direction), dtype=torch.float32)
    return Reader(layer, lambda resid: float(resid.cpu() @ weight) + bias, weight.numel())


def check_readers(cfg: ModelConfig, readers: Mapping[str, Reader], edits: Sequence[Edit] = ()) -> None:
    """Raises InterpError for a layer or a width that the model has not, or an edit that it cannot be given."""
    for name, reader in readers.items():
        check_layer(cfg, reader.layer)
        if reader.d_model not in (None, cfg.d_model):
            raise InterpError(f"reader {name!r} reads {reader.d_model} numbers, but this stream has {cfg.d_model}.")
    edit_hooks(cfg, edits)


def _check_to_come(edits: Sequence[Edit], turn: int) -> None:
    """Raises InterpError for an edit of turns that a session has behind it."""
    for edit in each_edit(edits):
        span = edit.at.turns()
        if span is not None and span[1] <= turn:
            raise InterpError(
                f"the edit at {edit.at} ends before turn {turn}, which comes next: what was said stays said; "
                "counterfactual(...) asks what would have been."
            )


class Live(Watch):
    """What the readers of a session said, turn by turn; see `attached`."""

    def __init__(
        self, session: Session, readers: Mapping[str, Reader], edits: Sequence[Edit] = (),
        on_turn: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:  # fmt: skip
        cfg = session.model.cfg
        check_readers(cfg, readers)
        self.readers, self._on_turn = dict(readers), on_turn
        self._turns: list[int] = []
        self._values: list[dict[str, float]] = []
        names = {full_name("resid_post", reader.layer) for reader in readers.values()}
        super().__init__(cfg, edit_hooks(cfg, edits), names, edit_needs(edits), self._read)

    @property
    def latest(self) -> dict[str, float]:
        """What every reader said of the last decision. Raises InterpError before the first."""
        if not self._values:
            raise InterpError("no turn has been heard since the readers were attached.")
        return self._values[-1]

    def values(self) -> xr.DataArray:
        """Everything said so far: `[reader, turn]`, with the seconds at which each turn begins to hear as `t`."""
        grid = np.array([[said[name] for said in self._values] for name in self.readers], np.float32)
        t = [heard_start(turn) for turn in self._turns]
        coords = {"reader": list(self.readers), "turn": self._turns, "t": ("turn", t)}
        return xr.DataArray(grid.reshape(len(self.readers), -1), dims=("reader", "turn"), coords=coords)

    def _read(self, piece: Piece, tensors: dict[str, Tensor]) -> None:
        for row in np.flatnonzero(piece.tokens.decides):
            said = {
                name: reader.read(tensors[full_name("resid_post", reader.layer)][row])
                for name, reader in self.readers.items()
            }
            self._turns.append(int(piece.tokens.turn[row]))
            self._values.append(said)
            if self._on_turn is not None:
                self._on_turn(self._turns[-1], said)


@contextmanager
def attached(
    session: Session,
    readers: Mapping[str, Reader],
    edits: Sequence[Edit] = (),
    on_turn: Callable[[int, dict[str, float]], None] | None = None,
) -> Iterator[Live]:
    """Readers, and edits to steer by, on a session for the turns inside the `with`.

    Args:
        on_turn: called with the turn and what was said of it, before the turn's decision is acted on.

    Raises InterpError for a layer that is not there, and for an edit that the model cannot be given or that lies in the
    session's past.
    """
    _check_to_come(edits, session.turn)
    before, live = session.observer, Live(session, readers, edits, on_turn)
    session.observer = live
    try:
        yield live
    finally:
        session.observer = before

"""Edits: interventions as data. They can be written to JSON, and mean the same offline, while streaming, in a replay.

    edits = [
        Ablate(at=At.parse("L3H2 z")),                                        head 2 of layer 3 adds nothing
        Cut(at=At.parse("L4 pattern of decision @4.2s <- video_in")),         the decision does not look at the camera
        Steer(at=At.parse("L2 resid_post of decision @2s..4s"), vector=direction, strength=3.0),
        Patch.of(other_cache, "L2 resid_post @t20"),                          as it was in another recording
    ]
    run_with_edits(model, tokenizer, recording, edits)                        offline: a Cache
    replay(recording, model, tokenizer, observer=observe(model, edits))       streaming: a Recording

What an edit changes is used by all that is computed afterwards; what was said and heard before stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, ValidationError
from torch import Tensor

from tml_lab.config import ModelConfig
from tml_lab.interp.address import OF_HEADS, At
from tml_lab.interp.cache import Cache, run_offline
from tml_lab.interp.checked import Checked, sentence
from tml_lab.interp.names import InterpError, Names
from tml_lab.interp.watch import Hook, HookFunction, Hooks, Watch
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording
from tml_lab.stream.tokens import TokenTable


def _numbers(value: Any) -> Any:
    """Tensors and arrays as nested lists, which JSON knows."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return value.tolist() if isinstance(value, np.ndarray) else value


def _address(value: Any) -> Any:
    return At.parse(value) if isinstance(value, str) else value


Vector = Annotated[tuple[float, ...], BeforeValidator(_numbers)]
Rows = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(_numbers)]
Place = Annotated[At, BeforeValidator(_address), PlainSerializer(str)]


class _Edit(Checked):
    """What all edits share: where, and how they become a hook."""

    CALLED: ClassVar[str] = "an edit"

    at: Place

    def needs(self) -> tuple[str, ...]:
        """Short names of the layer's other tensors that the hook reads."""
        return ()

    def check(self, cfg: ModelConfig) -> None:
        """Raises InterpError when this model cannot be edited so."""
        self.at.full_name(cfg)

    def check_times(self, tokens: TokenTable) -> None:
        """Raises InterpError when it begins, or looks, outside a recording."""
        self.at.positions(tokens)
        self.at.positions(tokens, of_keys=True)

    def hook(self) -> HookFunction:
        """The edit as a hook function."""
        raise NotImplementedError

    def acts(self, tokens: TokenTable) -> bool:
        """Whether any of these positions is meant."""
        return bool(self.at.mask(tokens).any())

    def _rows(self, hook: Hook, x: Tensor) -> Tensor:
        """bool [positions]: the rows meant, where the tensor is."""
        return torch.as_tensor(self.at.mask(hook.tokens), device=x.device)


class Steer(_Edit):
    """Add `strength * vector` at the positions: `vector [d_model]` (of `q`, `k`, `v`, `z`: `[d_head]`, with a head)."""

    kind: Literal["steer"] = "steer"
    vector: Vector
    strength: float = 1.0

    def check(self, cfg: ModelConfig) -> None:
        """See `_Edit.check`."""
        super().check(cfg)
        if self.at.hook in ("pattern", "expert_weights", "shared_weights"):
            raise InterpError(f"{self.at.hook} cannot be steered: its rows are shares; cut or ablate instead.")
        if self.at.hook in OF_HEADS and self.at.head is None:
            raise InterpError(f"which head of {self.at.hook} shall be steered? Give head= in the address.")
        _check_numbers(self.at, cfg, self.vector)
        _check_numbers(self.at, cfg, (self.strength,), False)

    def hook(self) -> HookFunction:
        """See `_Edit.hook`."""

        def steer(x: Tensor, hook: Hook) -> Tensor:
            push = self.strength * torch.tensor(self.vector, dtype=x.dtype, device=x.device)
            part = x if self.at.head is None else x[:, self.at.head]  # [positions, width], a view
            part[self._rows(hook, x)] += push
            return x

        return steer


class Ablate(_Edit):
    """Put zeros, or a given mean, in the place of what is there: a head's `z`, an expert's weight, a whole output."""

    kind: Literal["ablate"] = "ablate"
    value: float | Vector = 0.0

    def needs(self) -> tuple[str, ...]:
        """See `_Edit.needs`."""
        return ("experts",) if self.at.expert is not None else ()

    def check(self, cfg: ModelConfig) -> None:
        """See `_Edit.check`."""
        super().check(cfg)
        if self.at.hook == "pattern":
            raise InterpError("a pattern is not ablated but cut: Cut(at=...), which lets its rows sum to 1.")
        if isinstance(self.value, float | int):
            _check_numbers(self.at, cfg, (self.value,), False)
        else:
            _check_numbers(self.at, cfg, self.value)

    def hook(self) -> HookFunction:
        """See `_Edit.hook`."""

        def ablate(x: Tensor, hook: Hook) -> Tensor:
            rows = self._rows(hook, x)
            value = torch.tensor(self.value, dtype=x.dtype, device=x.device)
            if self.at.expert is not None:
                chosen = (hook.tap["experts"] == self.at.expert) & rows[:, None]  # [positions, top_k]
                return torch.where(chosen, value, x)
            unit = self.at.head if self.at.head is not None else self.at.shared
            part = x if unit is None else x[:, unit]  # a view
            part[rows] = value
            return x

        return ablate


def _check_numbers(at: At, cfg: ModelConfig, numbers: Sequence[float], whole: bool = True) -> None:
    """Raises InterpError for what is no number, and (`whole`) for more or fewer than a position has."""
    if whole and len(numbers) != at.width(cfg):
        raise InterpError(f"a vector for {at} has {at.width(cfg)} numbers, not {len(numbers)}.")
    if not np.isfinite(numbers).all():
        raise InterpError(f"an edit at {at} would put in what is no finite number.")


def cut_rows(pattern: Tensor, gone: Tensor) -> Tensor:
    """A pattern `[heads, queries, keys]` without the weights where `gone [queries, keys]` is True.

    What is left of a row grows until it sums to 1 again; a row with nothing left stays zero; rows in which nothing goes
    keep their bits.
    """
    left = pattern.masked_fill(gone, 0.0)
    total = left.sum(-1, keepdim=True)  # [heads, queries, 1]
    return torch.where(gone.any(-1)[None, :, None], left / total.clamp(min=1e-20), pattern)


class Cut(_Edit):
    """No attention from the positions to those of `src`: their weights go, the others grow until they sum to 1.

    The same as if these scores had been -inf before the softmax. A query that saw nothing else sees nothing.
    """

    kind: Literal["cut"] = "cut"

    def check(self, cfg: ModelConfig) -> None:
        """See `_Edit.check`."""
        super().check(cfg)
        if self.at.hook != "pattern":
            raise InterpError(f"only a pattern can be cut, not {self.at.hook}: ablate that.")

    def hook(self) -> HookFunction:
        """See `_Edit.hook`."""

        def cut(x: Tensor, hook: Hook) -> Tensor:
            gone = torch.as_tensor(self.at.mask(hook.keys, of_keys=True), device=x.device)[None]  # [1, keys]
            gone = gone & self._rows(hook, x)[:, None]  # [queries, keys]
            heads = slice(None) if self.at.head is None else slice(self.at.head, self.at.head + 1)
            x[heads] = cut_rows(x[heads], gone)
            return x

        return cut


def _check_patch(at: At) -> None:
    """Raises InterpError for what other positions cannot take over as it is."""
    if at.hook == "pattern":
        raise InterpError("a pattern cannot be patched from another recording, whose keys are others: patch z.")
    if at.expert is not None:
        raise InterpError("one expert's weight cannot be patched, since another run may not choose it: patch mlp_out.")


class Patch(_Edit):
    """Put given values in the place of what is there: `values [positions, width]`, in the order of the positions.

    `pos` are the absolute positions that they belong to; the edit does nothing at others.
    """

    kind: Literal["patch"] = "patch"
    pos: tuple[int, ...]
    values: Rows

    @staticmethod
    def of(cache: Cache, at: str | At) -> Patch:
        """What another run computed there. Raises InterpError for a pattern, an expert's weight, or what is not in the
        cache."""
        at = At.read(at)
        _check_patch(at)
        found = cache.at(at)
        values = found.values.reshape(found.sizes["position"], -1)
        rows = tuple(tuple(row) for row in values.tolist())
        return Patch(at=at, pos=tuple(found["position"].values.tolist()), values=rows)

    def check(self, cfg: ModelConfig) -> None:
        """See `_Edit.check`."""
        super().check(cfg)
        _check_patch(self.at)
        if len(self.pos) != len(self.values):
            raise InterpError(f"a patch of {len(self.pos)} positions has {len(self.values)} rows of values.")
        for row in self.values:
            _check_numbers(self.at, cfg, row)

    def check_times(self, tokens: TokenTable) -> None:
        """See `_Edit.check_times`."""
        super().check_times(tokens)
        if self.pos and not 0 <= min(self.pos) <= max(self.pos) < len(tokens):
            raise InterpError(f"a patch's positions must lie in the recording, 0..{len(tokens) - 1}.")

    def hook(self) -> HookFunction:
        """See `_Edit.hook`."""
        row_of = {pos: row for row, pos in enumerate(self.pos)}

        def patch(x: Tensor, hook: Hook) -> Tensor:
            rows = [n for n, pos in enumerate(hook.pos.tolist()) if pos in row_of]
            if rows:
                unit = self.at.head if self.at.head is not None else self.at.shared
                part = x if unit is None else x[:, unit]  # a view
                values = torch.tensor([self.values[row_of[int(hook.pos[n])]] for n in rows], dtype=x.dtype)
                part[rows] = values.to(x.device).view(len(rows), *part.shape[1:])
            return x

        return patch


Edit = Annotated[Steer | Ablate | Cut | Patch, Field(discriminator="kind")]
_EDITS = TypeAdapter(list[Edit])


def edits_to_json(edits: Sequence[Edit]) -> str:
    """All edits as JSON text; `edits_from_json` reads it back."""
    return _EDITS.dump_json(list(edits)).decode()


def edits_from_json(text: str) -> list[Edit]:
    """Read `edits_to_json`'s text. Raises InterpError, in one sentence, for what is none."""
    try:
        return _EDITS.validate_json(text)
    except ValidationError as error:
        raise InterpError(f"these are no edits: {sentence(error)}") from None


def each_edit(edits: Sequence[Edit]) -> list[Edit]:
    """The edits. Raises InterpError for one alone, which is no list, and for what is none."""
    if isinstance(edits, _Edit):
        raise InterpError(f"edits are a list, even when there is one: write [{type(edits).__name__}(...)].")
    for edit in edits:
        if not isinstance(edit, _Edit):
            raise InterpError(f"{edit!r} is no edit: make an Ablate, Cut, Steer or Patch of it.")
    return list(edits)


def edit_hooks(cfg: ModelConfig, edits: Sequence[Edit]) -> Hooks:
    """The edits as hooks, in their order. Raises InterpError for one that this model cannot be given."""
    hooks = []
    for edit in each_edit(edits):
        edit.check(cfg)
        function: Any = edit.hook()
        function.acts = edit.acts  # where it does nothing, a session goes on with the compiled kernels
        hooks.append((edit.at.full_name(cfg), function))
    return hooks


def edit_needs(edits: Sequence[Edit]) -> set[str]:
    """Short names of the tensors that the edits read beside their own."""
    return {need for edit in edits for need in edit.needs()}


def observe(model: InteractionModel, edits: Sequence[Edit], keep: Names = ()) -> Watch:
    """The observer that lets edits act in a session: `session.observer = observe(model, edits)`."""
    return Watch(model.cfg, edit_hooks(model.cfg, edits), keep, edit_needs(edits))


@torch.no_grad()
def run_with_edits(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    recording: Recording,
    edits: Sequence[Edit],
    names: Names | None = (),
) -> Cache:
    """One offline pass over a recording with edits; see `run_with_hooks`.

    Raises InterpError for edits that the model cannot be given, or of a time outside the recording.
    """
    for edit in each_edit(edits):
        edit.check(model.cfg)
        edit.check_times(recording.tokens)
    return run_offline(model, tokenizer, recording, names, edit_hooks(model.cfg, edits), edit_needs(edits))

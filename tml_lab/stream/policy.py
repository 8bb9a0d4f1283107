"""What a session remembers: how far its global layers reach back, and what is typed in again before it is out of reach.

    Session(model, tokenizer, policy=Window())            the recent past alone
    Session(model, tokenizer, policy=SinksAndWindow())    that and the first positions, as the model was made
    Session(model, tokenizer, policy=Compact(...))        that, and a summary in text turns (`tml_lab.stream.compact`)

A policy is data: it stands in the recording, and a replay follows it again. It sees what was typed, what the model's
own listening head heard, and what the model did; it has no say in when the model speaks.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from tml_lab.config import FRAMES_PER_TURN, ModelConfig
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.listen import next_words
from tml_lab.model.state import State, reach
from tml_lab.model.tap import Tap
from tml_lab.model.text import TextTokenizer

MEMORY = "policy.memory"  # uint8, JSON: what a policy keeps from turn to turn


class PolicyError(ValueError):
    """A policy that this model or this lab cannot follow; the message is one sentence that says why."""


@dataclass(frozen=True)
class Policy:
    """What all policies share; this one changes nothing and notes nothing."""

    name: ClassVar[str] = ""
    listens: ClassVar[bool] = False  # whether it wants the words that the listening head hears

    def config(self, cfg: ModelConfig) -> ModelConfig:
        """The model's configuration as this policy has it: how far the global layers reach."""
        return cfg

    def fresh(self) -> dict[str, Any]:
        """What it knows before the first turn, as plain data; empty: it never knows anything."""
        return {}

    def note(self, memory: Mapping[str, Any], turn: int, position: int) -> str | None:
        """What is to be typed in this turn, which begins at `position`, if the user types nothing."""
        return None

    def after(
        self, memory: Mapping[str, Any], turn: int, position: int, typed: str | None, heard: Sequence[str],
        decision: str, said: Sequence[str], note: str | None,
    ) -> dict[str, Any]:  # fmt: skip
        """What it knows after a turn in which `typed` was read, `heard` was heard and `said` was said."""
        return dict(memory)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for a recording."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class SinksAndWindow(Policy):
    """The first `sinks` positions and the last ones, `tokens` in all; None: as many as the model was made for."""

    name: ClassVar[str] = "sinks+window"
    tokens: int | None = None
    sinks: int | None = None

    def config(self, cfg: ModelConfig) -> ModelConfig:
        """See `Policy`. Raises PolicyError for numbers that leave no window."""
        tokens = cfg.global_budget if self.tokens is None else self.tokens
        sinks = cfg.n_sinks if self.sinks is None else self.sinks
        if not 0 <= sinks < tokens:
            raise PolicyError(f"{sinks} sinks leave nothing of {tokens} tokens for the recent past: give more tokens.")
        return cfg.with_(global_budget=tokens, n_sinks=sinks)


@dataclass(frozen=True)
class Window(SinksAndWindow):
    """The last `tokens` positions and nothing else."""

    name: ClassVar[str] = "window"
    sinks: int | None = 0


def with_reach(model: InteractionModel, cfg: ModelConfig) -> InteractionModel:
    """The same weights (not a copy of them) in modules whose global layers reach as far as `cfg` says."""
    if cfg == model.cfg:
        return model
    weights = chain(model.parameters(), model.buffers())
    shared: dict[int, Any] = {id(tensor): tensor for tensor in weights}
    caches = (module.__dict__.get("_inside") for module in model.modules())  # views of modules that are others now
    shared |= {id(cache): None for cache in caches if cache is not None}
    twin = copy.deepcopy(model, shared)
    twin.cfg = twin.backbone.cfg = cfg
    blocks: Any = twin.backbone.blocks
    for layer, block in enumerate(blocks):
        block.attn.window, block.attn.sinks = reach(cfg, layer)
    return twin


def policy_of(spec: Mapping[str, Any]) -> Policy:
    """The policy that `to_dict` wrote; an empty one is today's default of old recordings. Raises PolicyError."""
    from tml_lab.stream.compact import Compact

    if not spec:
        return SinksAndWindow()
    kinds = {kind.name: kind for kind in (SinksAndWindow, Window, Compact)}
    values = dict(spec)
    kind = kinds.get(values.pop("name", ""))
    if kind is None:
        raise PolicyError(f"no policy is called {spec.get('name')!r}; this lab knows {', '.join(kinds)}.")
    try:
        return kind(**values)
    except TypeError as error:
        raise PolicyError(f"the policy {spec['name']!r} of this recording has other settings here: {error}.") from error


class Keeper:
    """Follows a policy through one session: what it knows lies in the session's state, saved and forked with it."""

    def __init__(self, policy: Policy, model: InteractionModel, tokenizer: TextTokenizer) -> None:
        self.policy, self.model, self.tokenizer = policy, model, tokenizer
        self.note: str | None = None  # typed in this turn
        self._ear: Tap | None = None

    def new_state(self) -> State:
        """What a session's state holds of it: nothing, or `policy.memory`, JSON as uint8 [bytes]."""
        memory = self.policy.fresh()
        return {MEMORY: _pack(memory)} if memory else {}

    def before(self, state: State, text: str | None) -> str | None:
        """What is typed in this turn: the user's words, or else a note."""
        self.note = None
        if text is None and MEMORY in state:
            self.note = self.policy.note(_unpack(state[MEMORY]), int(state["turn"]), int(state["pos"]))
        return text if self.note is None else self.note

    def taps(self, taps: dict[int, Tap] | None) -> dict[int, Tap] | None:
        """The turn's taps, and one for the listening head when the policy wants its words."""
        if not self.policy.listens:
            return taps
        taps, layer = taps or {}, self.model.cfg.listen_layer
        self._ear = taps[layer] = taps[layer].also("resid_post") if layer in taps else Tap(wants={"resid_post"})
        return taps

    def after(self, state: State, typed: str | None, decision: str, said: Sequence[str]) -> None:
        """Move on what the policy knows, at the end of a turn."""
        if MEMORY not in state:
            return
        memory, heard = _unpack(state[MEMORY]), ()
        if self._ear is not None:
            frames = self._ear["resid_post"][0, -FRAMES_PER_TURN:]  # [1, n, d_model] -> [4, d_model], what was heard
            ids, memory["last"] = next_words(self.model.listen, frames, memory["last"])
            heard = tuple(self.tokenizer.decode(ids).split())
        now = (int(state["turn"]), int(state["pos"]))
        state[MEMORY] = _pack(self.policy.after(memory, *now, typed, heard, decision, said, self.note))


def _unpack(packed: Tensor) -> dict[str, Any]:
    return json.loads(packed.numpy().tobytes())


def _pack(memory: Mapping[str, Any]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(memory).encode()), dtype=torch.uint8)

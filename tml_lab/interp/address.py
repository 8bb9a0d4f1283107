"""Addresses: which part of which tensor, by layer, head, seconds or turns, and stream.

    At(hook="pattern", layer=3, head=2, t=4.2, of="decision", src="video_in")
    At.parse("L3H2 pattern of decision @4.2s <- video_in")                     the same, as a string

One address serves everything: `cache.at(...)` reads there, an edit (`tml_lab.interp.edits`) changes what is there.
Seconds are on the heard clock unless `clock="played"`; spans are half-open. A stream may have the short name that
people say: video, audio, heard, seen, typed, said, voice.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from pydantic import field_validator, model_validator

from tml_lab.config import ModelConfig
from tml_lab.interp.checked import Checked
from tml_lab.interp.names import (
    EMBED,
    FINAL,
    SHORT_NAMES,
    InterpError,
    check_head,
    check_layer,
    check_short,
    full_name,
)
from tml_lab.interp.spelling import read_spelling, spell
from tml_lab.stream.clock import Clock, turn_hearing
from tml_lab.stream.tokens import STREAMS, TokenTable

Span = tuple[float, float]
ENDS = {"embed": EMBED, "final": FINAL}  # what lies outside the layers
OF_HEADS = {"pattern": False, "q": False, "z": False, "k": True, "v": True}  # hook -> whether its heads are the keys'
SHORT_STREAMS = {
    "video": "video_in", "seen": "video_in", "audio": "audio_in", "heard": "audio_in", "typed": "text_in",
    "said": "text_out", "voice": "audio_out",
}  # fmt: skip


class At(Checked):
    """Where in a model, and when. Raises InterpError, in one sentence, for what is no place.

    Args:
        hook: a layer's short name (`resid_post`, `z`, `pattern`, ...), `embed`, or `final`.
        layer: of the hook; None for `embed` and `final`.
        head, expert, shared: one of the layer's heads (of `k` and `v`: key-value heads), experts, shared experts.
        t: an instant or a span in seconds; `turn`: a turn or a span of turns. Both None: always.
        clock: `heard` or `played`, for `t` and `src_t`.
        of: which positions of these turns: `all`, `decision` (the last heard frame), or a stream.
        src, src_t, src_turn: of a pattern, which keys: a stream, and when.
    """

    CALLED: ClassVar[str] = "an address"

    hook: str = "resid_post"
    layer: int | None = None
    head: int | None = None
    expert: int | None = None
    shared: int | None = None
    t: float | Span | None = None
    turn: int | tuple[int, int] | None = None
    clock: Clock = Clock.HEARD
    of: str = "all"
    src: str | None = None
    src_t: float | Span | None = None
    src_turn: int | tuple[int, int] | None = None

    @field_validator("t", "src_t", "turn", "src_turn", mode="before")
    @classmethod
    def _span(cls, value: Any, info: Any) -> Any:
        """A slice, with or without ends, as a pair."""
        name = info.field_name
        if isinstance(value, slice):
            if value.step is not None:
                raise ValueError(f"{name}={value} leaves something out between its ends: give it without a step")
            end = math.inf if name.endswith("t") else 2**31 - 1
            value = (value.start or 0, end if value.stop is None else value.stop)
        if isinstance(value, tuple | list) and len(value) == 2 and not float(value[0]) < float(value[1]):
            raise ValueError(f"{name}={tuple(value)} is empty: it must end after it begins")
        first = value[0] if isinstance(value, tuple | list) and len(value) else value
        if isinstance(first, int | float) and not 0 <= first < math.inf:
            raise ValueError(f"{name} must begin at 0 or later, not at {first}")
        return value

    @field_validator("of", "src")
    @classmethod
    def _stream(cls, value: str | None, info: Any) -> str | None:
        value = SHORT_STREAMS.get(value or "", value)
        if value is None or value in STREAMS or (info.field_name == "of" and value in ("all", "decision")):
            return value
        raise ValueError(f"no stream is called {value!r}; choose one of {', '.join(STREAMS)}")

    @model_validator(mode="after")
    def _fits(self) -> At:
        for one, other in (("t", "turn"), ("src_t", "src_turn")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"give {one} or {other}, not both")
        if self.hook not in ENDS:
            check_short(self.hook)
        if self.hook in ENDS and self.layer is not None:
            raise ValueError(f"{self.hook} lies outside the layers: leave layer out")
        if self.head is not None and self.hook not in OF_HEADS:
            raise ValueError(f"{self.hook} has no heads: {', '.join(OF_HEADS)} have")
        if self.expert is not None and self.hook != "expert_weights":
            raise ValueError(f"{self.hook} has no experts: expert_weights has")
        if self.shared is not None and self.hook != "shared_weights":
            raise ValueError(f"{self.hook} has no shared experts: shared_weights has")
        if self.hook != "pattern" and (self.src, self.src_t, self.src_turn) != (None, None, None):
            raise ValueError(f"{self.hook} looks at nothing: only a pattern has a src")
        return self

    @staticmethod
    def read(where: str | At | None = None, **parts: Any) -> At:
        """From an `At`, its string form, a hook's name, short or full, or fields; fields win. Raises InterpError."""
        if isinstance(where, str):
            where = At.parse(where) if " " in where or where in ENDS else At(**_of_name(where))
        given = {} if where is None else {name: getattr(where, name) for name in where.model_fields_set}
        return At(**{**given, **parts})

    @staticmethod
    def parse(text: str) -> At:
        """Read the string form (see `tml_lab.interp.spelling`). Raises InterpError."""
        return At(**read_spelling(text))

    def __str__(self) -> str:
        """The string form; `At.parse` reads it back."""
        return spell({"hook": self.hook, **self.model_dump(exclude_defaults=True)})

    def full_name(self, cfg: ModelConfig) -> str:
        """The hook's full name. Raises InterpError for a layer, head or expert that the model has not."""
        if self.hook in ENDS:
            return ENDS[self.hook]
        if self.layer is None:
            raise InterpError(f"{self.hook} of which layer? Give layer=0..{cfg.n_layers - 1}.")
        check_layer(cfg, self.layer)
        if self.head is not None:
            check_head(cfg, self.layer, self.head, OF_HEADS[self.hook])
        experts = (("expert", self.expert, cfg.n_experts), ("shared expert", self.shared, cfg.n_shared_experts))
        for kind, given, n in experts:
            if given is not None and not 0 <= given < n:
                raise InterpError(f"there is no {kind} {given} in layer {self.layer}: it has 0..{n - 1}.")
        return full_name(self.hook, self.layer)

    def width(self, cfg: ModelConfig) -> int:
        """How many numbers a position has there; of a pattern, as many as there are heads for each key."""
        if self.hook in OF_HEADS:
            n_heads, n_kv_heads, d_head = cfg.heads(self.layer or 0)
            many = 1 if self.head is not None else n_kv_heads if OF_HEADS[self.hook] else n_heads
            return many if self.hook == "pattern" else many * d_head
        if self.hook in ("experts", "expert_weights"):
            return 1 if self.expert is not None else cfg.top_k
        if self.hook == "shared_weights":
            return 1 if self.shared is not None else cfg.n_shared_experts
        return cfg.d_model

    def turns(self, of_keys: bool = False) -> tuple[int, int] | None:
        """The turns `[first, end)`; None: all."""
        t, turn = (self.src_t, self.src_turn) if of_keys else (self.t, self.turn)
        if turn is not None:
            return turn if isinstance(turn, tuple) else (turn, turn + 1)
        if t is None:
            return None
        late = 1 if self.clock is Clock.PLAYED else 0  # what is played in a span was heard a turn before
        begin, end = t if isinstance(t, tuple) else (t, None)
        first = turn_hearing(begin) - late
        if end is None:
            return first, first + 1
        return first, 2**31 - 1 if math.isinf(end) else max(first + 1, turn_hearing(math.nextafter(end, 0)) + 1 - late)

    def mask(self, tokens: TokenTable, of_keys: bool = False) -> np.ndarray:
        """bool [positions]: the rows meant; `of_keys`: those of `src`."""
        keep = np.ones(len(tokens), bool)
        if (turns := self.turns(of_keys)) is not None:
            keep &= (tokens.turn >= turns[0]) & (tokens.turn < turns[1])
        stream = self.src if of_keys else self.of
        if stream == "decision":
            return keep & tokens.decides
        return keep if stream in (None, "all") else keep & (tokens.stream == STREAMS.index(stream))

    def positions(self, tokens: TokenTable, of_keys: bool = False) -> np.ndarray:
        """int64 [k]: positions in a whole recording. Raises InterpError for turns that begin outside it; a span may end
        after it."""
        have = int(tokens.turn[-1]) + 1 if len(tokens) else 0
        turns = self.turns(of_keys)
        if turns is not None and turns[0] < 0:
            raise InterpError(f"nothing is played before 0.2 s: {self} begins earlier.")
        if turns is not None and turns[0] >= have:
            raise InterpError(
                f"{'src ' if of_keys else ''}turn {turns[0]} ({turns[0] / 5:.1f} s) lies outside the recording: it has "
                f"turns 0..{have - 1}, {have / 5:.1f} s."
            )
        return np.flatnonzero(self.mask(tokens, of_keys))


def _of_name(name: str) -> dict[str, Any]:
    """A hook's short or full name as fields of an address."""
    for short, full in ENDS.items():
        if name == full:
            return {"hook": short}
    layer, _, inside = name.removeprefix("blocks.").partition(".")
    if name.startswith("blocks.") and layer.isdigit() and inside in SHORT_NAMES:
        return {"hook": SHORT_NAMES[inside], "layer": int(layer)}
    return {"hook": name}

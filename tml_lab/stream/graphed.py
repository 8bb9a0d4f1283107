"""A session's turn as a few CUDA graphs: what costs hundreds of launches becomes one each.

    turn      everything fed before the decision, for one arrangement of streams (with a camera, without, after speech)
    word      one word of the model's own
    sound     four own-voice tokens: flow head, voice, backbone
    vocoder   sixteen mel frames to sound

A graph works in fixed memory: the session's state moves there at the first replay and stays; where somebody has put
other tensors in its place (a fork, a loaded session, a turn on the ordinary path), they are copied in. What cannot be
captured goes the ordinary way, and `failed` says why.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tml_lab.config import N_MELS, OUT_FRAMES_PER_TURN
from tml_lab.model.decode import inside
from tml_lab.model.fixed_step import backbone_step, embed_turn, fill_gaps, is_backbone, sound_steps, word_step
from tml_lab.model.interaction import InteractionModel, Tokens
from tml_lab.model.state import MAX_CHUNK, State

MOST_TURNS = 8  # arrangements of a turn that are captured; rarer ones go the ordinary way
Outputs = tuple[Tensor, ...]


class Graphed:
    """The graphs of one session.

    Args:
        model: on the device where the session runs.
        capture: False runs the same functions without a graph: for looking at them on a CPU.
    """

    def __init__(self, model: InteractionModel, capture: bool = True) -> None:
        self.model, self.capture = model, capture
        self.failed: dict[tuple[Any, ...], str] = {}
        self.kept: dict[tuple[Any, ...], tuple[Any, Outputs, Outputs]] = {}  # graph, its inputs, its outputs
        self.memory: State = {}
        self.seen: Counter[tuple[Any, ...]] = Counter()
        self.parts: list[Any] = [
            model.backbone, model.flow, model.vocoder, model.embed_text, model.embed_audio, model.embed_voice,
            model.embed_video, model.clock,
        ]  # fmt: skip
        self.places: tuple[int, ...] = ()

    def ready(self) -> bool:
        """Whether this turn may run by graphs: nobody listens inside the model, and its weights lie where they lay."""
        heard = any(p._forward_hooks or p._forward_pre_hooks or "forward" in p.__dict__ for p in self.parts)
        if heard or self.model.deterministic or not all(inside(p).is_plain(()) for p in self.parts):
            return False
        places = tuple(p.data_ptr() for p in self.model.parameters())
        if places != self.places:
            self.places = places
            self.kept.clear()
        return True

    def turn(self, tokens: Tokens, state: State) -> Tensor | None:
        """Append a turn's tokens (on the CPU) to the state; the last hidden state `[d_model]`.

        None: not by a graph (a rare arrangement, or one that could not be captured); nothing has happened then.
        """
        streams, first = tuple(tokens.stream.tolist()), int(tokens.first.nonzero()[0])
        key = ("turn", streams, first)
        self.seen[key] += 1
        known = key in self.kept or len([k for k in self.kept if k[0] == "turn"]) < MOST_TURNS
        if len(streams) > MAX_CHUNK or tokens.heard is None or not known or self.seen[key] < 2:
            return None
        model, (heard, voice, patches) = self.model, (tokens.heard, tokens.voice, tokens.patches)
        empty = heard[:0] if voice is None else voice
        inputs = [tokens.token, tokens.turn, heard, empty, *([] if patches is None else [patches])]

        def run(token: Tensor, turn: Tensor, heard: Tensor, voice: Tensor, *patches: Tensor) -> Outputs:
            x = embed_turn(model, streams, first, token, turn, heard, voice, patches[0] if patches else None)
            return (backbone_step(model.backbone, x, self.memory)[-1],)

        out = self.run(key, run, inputs, state, is_backbone)
        return None if out is None else out[0]

    def word(self, stream: int, token: int, state: State) -> Tensor | None:
        """Append one word; the hidden state `[d_model]`, or None as in `turn`."""
        out = self.run(
            ("word", stream), lambda token: (word_step(self.model, self.memory, stream, token),),
            [torch.tensor([token])], state, is_backbone,
        )  # fmt: skip
        return None if out is None else out[0]

    def sound(self, hidden: Tensor, noise: Tensor, state: State) -> Outputs | None:
        """`sound_steps`, or None as in `turn`."""
        out = self.run(
            ("sound",), lambda *inputs: sound_steps(self.model, self.memory, *inputs), [hidden, noise], state,
            is_backbone,
        )  # fmt: skip
        return None if out is None else tuple(t.clone() for t in out)  # the next turn's feeding waits in these

    def vocoder(self, frames: Tensor, state: State) -> Tensor | None:
        """Mel `[16, 80]` -> sound `[3200]`, the `vocoder.` part of the state moved on; or None as in `turn`."""

        def run(frames: Tensor) -> Outputs:
            names = [name for name in self.memory if _is_vocoder(name)]
            inner = {name.removeprefix("vocoder."): self.memory[name] for name in names}
            sound = self.model.vocoder.step(frames.view(1, OUT_FRAMES_PER_TURN, N_MELS), inner)[0]
            for name in names:
                self.memory[name].copy_(inner[name.removeprefix("vocoder.")])
            return (sound.float(),)

        out = self.run(("vocoder",), run, [frames], state, _is_vocoder)
        return None if out is None else out[0]

    def run(
        self, key: tuple[Any, ...], function: Callable[..., Outputs], inputs: list[Tensor], state: State,
        mine: Callable[[str], bool],
    ) -> Outputs | None:  # fmt: skip
        """Replay the graph of `function`, captured at its first call. `mine` tells which entries it writes."""
        if key in self.failed:
            return None
        self._move_in(state, mine)
        if not self.capture:
            return function(*(t.to(self.device) for t in inputs))
        if key not in self.kept:
            try:
                self.kept[key] = self._captured(function, inputs, [n for n in self.memory if mine(n)])
            except Exception:  # whatever a driver, a library or a kernel does not like: there is another way
                self.failed[key] = traceback.format_exc()
                return None
        graph, fixed, outputs = self.kept[key]
        for place, value in zip(fixed, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        graph.replay()
        return outputs

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.embed_stream.device

    def _move_in(self, state: State, mine: Callable[[str], bool]) -> None:
        """Make the graphs' memory the session's state, with the values that the state has now."""
        for name in state:
            if not mine(name) or state[name] is self.memory.get(name):
                continue
            if name not in self.memory:
                self.memory[name] = state[name].clone()
            else:
                self.memory[name].copy_(state[name])
            fill_gaps({name: self.memory[name]})
            state[name] = self.memory[name]

    def _captured(
        self, function: Callable[..., Outputs], inputs: list[Tensor], names: list[str]
    ) -> tuple[Any, Outputs, Outputs]:
        """Run twice aside, so that all kernels are compiled and all libraries awake; put the state back; capture."""
        device = self.device
        fixed = tuple(t.to(device, copy=True) for t in inputs)
        before = {name: self.memory[name].clone() for name in names}
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        try:
            with torch.cuda.stream(aside):
                for _ in range(2):
                    function(*fixed)
            torch.cuda.current_stream(device).wait_stream(aside)
            torch.cuda.synchronize(device)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="relaxed"):
                outputs = function(*fixed)
        finally:
            torch.cuda.synchronize(device)
            for name, tensor in before.items():
                self.memory[name].copy_(tensor)
        return graph, fixed, outputs


def _is_vocoder(name: str) -> bool:
    return name.startswith("vocoder.") and name != "vocoder.ringing"

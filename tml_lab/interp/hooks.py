"""Hooks: look at an inner tensor of a forward pass, or put another in its place, under TransformerLens' names.

    def silence_head_2(z, hook):                     # z [positions, heads, d_head]
        z[:, 2] = 0.0
        return z

    edited = run_with_hooks(model, tokenizer, recording, [("blocks.3.attn.hook_z", silence_head_2)])
    decision(edited).p_speak

Everything that was fed stays as it was said and heard: a hook changes what the model makes of it, not the past.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tml_lab.interp.cache import Cache, InterpError, hook_names, run_offline
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording
from tml_lab.stream.tokens import TokenTable

# what is told of a choice already made: changing it would change nothing
READ_ONLY = ("mlp.hook_expert_indices",)


@dataclass(frozen=True)
class Hook:
    """Where a hook function stands.

    Args:
        name: the hook's full name; `layer` is None for the embedding and the final norm.
        tokens: one row for each position of the tensor: its stream, turn, slot, and when it was heard or played.
    """

    name: str
    layer: int | None
    tokens: TokenTable


HookFunction = Callable[[Tensor, Hook], Tensor | None]
"""`(tensor without a batch axis, hook) -> another of its shape`, or None to look only. It may write into the tensor."""
Hooks = Sequence[tuple[str | Callable[[str], bool], HookFunction]]
"""`(name, or a filter of names; function)`, applied in this order."""


def check_name(name: str, names: Collection[str]) -> None:
    """Raises InterpError for a name there is not, with the nearest one there is."""
    if name not in names:
        near = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else "hook_names(model.cfg) lists every name there is."
        raise InterpError(f"nothing is called {name!r}; {hint}")


def resolve(hooks: Hooks, names: Sequence[str]) -> dict[str, list[HookFunction]]:
    """The functions of each name. Raises InterpError for an unknown name, a filter that fits none, or a name whose
    tensor cannot be changed."""
    found: dict[str, list[HookFunction]] = {}
    for where, function in hooks:
        if isinstance(where, str):
            check_name(where, names)
        chosen = [where] if isinstance(where, str) else [name for name in names if where(name)]
        if not chosen:
            raise InterpError("a filter of hook names fits none of them; hook_names(model.cfg) lists them all.")
        for name in chosen:
            if name.endswith(READ_ONLY):
                raise InterpError(f"{name} only tells which experts were chosen: edit their weights instead.")
            found.setdefault(name, []).append(function)
    return found


@torch.no_grad()
def run_with_hooks(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    recording: Recording,
    hooks: Hooks,
    names: Collection[str] | None = (),
) -> Cache:
    """One offline pass over a recording with hooks; its logits, and the inner tensors `names` as they then were.

    Args:
        hooks: see `Hooks`. A function gets the tensor without its batch axis, as a `Cache` holds it.
        names: what to keep; nothing by default, None keeps all.

    Raises InterpError for names there are not and for a tensor of another shape than it was; what `run_with_cache`
    raises.
    """
    functions = resolve(hooks, hook_names(model.cfg))

    def edit(name: str, x: Tensor) -> Tensor:
        layer = int(name.split(".")[1]) if name.startswith("blocks.") else None
        hook = Hook(name, layer, recording.tokens)
        for function in functions.get(name, ()):
            changed = function(x.clone(), hook)
            if changed is None:
                continue
            if changed.shape != x.shape:
                raise InterpError(f"a hook at {name} must keep the shape {list(x.shape)}, got {list(changed.shape)}.")
            x = changed.to(x.dtype)
        return x

    return run_offline(model, tokenizer, recording, names, edit if functions else None)

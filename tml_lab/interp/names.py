"""The names of a forward pass's inner tensors: TransformerLens' own, where it has them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Sequence

from tml_lab.config import ModelConfig

LAYER_HOOKS = {  # short name -> name inside `blocks.N.`
    "resid_pre": "hook_resid_pre",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "pattern": "attn.hook_pattern",
    "z": "attn.hook_z",
    "attn_out": "hook_attn_out",
    "resid_mid": "hook_resid_mid",
    "experts": "mlp.hook_expert_indices",
    "expert_weights": "mlp.hook_expert_weights",
    "shared_weights": "mlp.hook_shared_weights",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
SHORT_NAMES = {full: short for short, full in LAYER_HOOKS.items()}
ROUTED = ("expert", "shared")  # what a layer with a dense MLP has not
EMBED, FINAL = "hook_embed", "ln_final.hook_normalized"
Names = str | Collection[str] | Callable[[str], bool]
"""Hooks by full name: one, several, or a filter of names (TransformerLens' `names_filter`)."""


class InterpError(ValueError):
    """A tensor, head, time or edit that cannot be had; the message is one sentence that says why."""


def full_name(short: str, layer: int) -> str:
    """`("z", 3)` -> `blocks.3.attn.hook_z`."""
    return f"blocks.{layer}.{LAYER_HOOKS[short]}"


def split_name(full: str) -> tuple[int, str]:
    """`blocks.3.attn.hook_z` -> `(3, "z")`; only for names inside a layer."""
    _, layer, inside = full.split(".", 2)
    return int(layer), SHORT_NAMES[inside]


def layer_of(full: str) -> int | None:
    """The layer of a full name; None for the embedding and the final norm."""
    return split_name(full)[0] if full.startswith("blocks.") else None


def hook_names(cfg: ModelConfig) -> list[str]:
    """Every name there is in this model, in the order of the computation.

    A layer with a dense MLP has no experts, hence no names for them.
    """
    names = [EMBED]
    for layer in range(cfg.n_layers):
        for short in LAYER_HOOKS:
            if not short.startswith(ROUTED) or layer >= cfg.n_dense_layers:
                names.append(full_name(short, layer))
    return [*names, FINAL]


def check_layer(cfg: ModelConfig, layer: int) -> None:
    """Raises InterpError naming the layers there are."""
    if not 0 <= layer < cfg.n_layers:
        raise InterpError(f"there is no layer {layer}: the model has layers 0..{cfg.n_layers - 1}.")


def check_head(cfg: ModelConfig, layer: int, head: int, of_keys: bool = False) -> None:
    """Raises InterpError naming the heads (`of_keys`: those of keys and values) that the layer has."""
    check_layer(cfg, layer)
    n = cfg.heads(layer)[1 if of_keys else 0]
    if not 0 <= head < n:
        kind = "key-value head" if of_keys else "head"
        raise InterpError(f"there is no {kind} {head} in layer {layer}: it has {kind}s 0..{n - 1}.")


def check_turn(turns: int, turn: int) -> None:
    """Raises InterpError naming the turns there are, and for what is no whole number."""
    if int(turn) != turn:
        raise InterpError(f"{turn} is no turn: turns are whole numbers, and turn n begins to hear at n / 5 seconds.")
    if not 0 <= turn < turns:
        raise InterpError(f"there is no turn {turn}: the recording has turns 0..{turns - 1}.")


def check_name(name: str, names: Collection[str]) -> None:
    """Raises InterpError for a name there is not, with the nearest one there is."""
    if name not in names:
        raise InterpError(f"nothing is called {name!r}; {_hint(str(name), names)}")


def _hint(name: str, names: Collection[str]) -> str:
    """What was perhaps meant by a name there is not."""
    last = max((layer for each in names if (layer := layer_of(each)) is not None), default=0)
    asked = re.match(r"blocks\.(\d+)\.", name)
    if asked and int(asked[1]) > last:
        return f"the model has layers 0..{last}."
    if name in LAYER_HOOKS:
        return f"that is the short name of {full_name(name, 0)!r} and its like in other layers."
    near = difflib.get_close_matches(name, names, 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else "hook_names(model.cfg) lists every name there is."


def choose(names: Names, every: Sequence[str]) -> list[str]:
    """Those of `every` name that are meant. Raises InterpError for one there is not, and a filter that fits none."""
    if callable(names):
        found = [name for name in every if names(name)]
        if not found:
            raise InterpError("a filter of hook names fits none of them; hook_names(model.cfg) lists them all.")
        return found
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        check_name(name, every)
    return [name for name in every if name in wanted]


def check_short(short: str) -> None:
    """Raises InterpError for a short name that no layer has, with those there are."""
    if short not in LAYER_HOOKS:
        near = difflib.get_close_matches(short, LAYER_HOOKS, 1, 0.6)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InterpError(f"a layer has nothing called {short!r}; {hint}it has {', '.join(LAYER_HOOKS)}.")

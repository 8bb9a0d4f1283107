"""Hooks: look at an inner tensor of a forward pass, or put another in its place, under TransformerLens' names.

    def silence_head_2(z, hook):                     # z [positions, heads, d_head]
        z[:, 2] = 0.0
        return z

    edited = run_with_hooks(model, tokenizer, recording, [("blocks.3.attn.hook_z", silence_head_2)])
    decision(edited).p_speak

    with hooked(session, [("blocks.3.attn.hook_z", silence_head_2)]):       # the same function, live
        session.step(audio)

Offline, everything that was fed stays as it was said and heard: a hook changes what the model makes of it, not the
past. In a session what it then says is its own future.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tml_lab.interp.cache import Cache, run_offline
from tml_lab.interp.names import Names
from tml_lab.interp.watch import Hook, HookFunction, Hooks, Watch, resolve
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording
from tml_lab.stream.session import Session

__all__ = ["Hook", "HookFunction", "Hooks", "hooked", "resolve", "run_with_hooks"]


@torch.no_grad()
def run_with_hooks(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    recording: Recording,
    hooks: Hooks,
    names: Names | None = (),
) -> Cache:
    """One offline pass over a recording with hooks; its logits, and the inner tensors `names` as they then were.

    Args:
        hooks: see `Hooks`. A function gets the tensor without its batch axis, as a `Cache` holds it.
        names: what to keep; nothing by default, None keeps all but patterns nobody hooked.

    Raises InterpError for names there are not and for a tensor of another shape than it was; what `run_with_cache`
    raises.
    """
    return run_offline(model, tokenizer, recording, names, hooks)


@contextmanager
def hooked(session: Session, hooks: Hooks, keep: Names = ()) -> Iterator[Watch]:
    """Hooks in a running session, for the turns inside the `with`; gives the `Watch` that holds what was kept.

    What reads or changes `resid_pre`, `resid_post`, the embedding or the final norm costs next to nothing; anything
    deeper makes these turns run the torch code, about twice as slow.
    """
    before, watch = session.observer, Watch(session.model.cfg, hooks, keep)
    session.observer = watch
    try:
        yield watch
    finally:
        session.observer = before

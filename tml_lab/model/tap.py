"""A tap: where an observer sees one layer's inner tensors, and may put others in their place."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor

Edit = Callable[[str, Tensor], Tensor | None]
"""`(short name, tensor) -> another tensor of its shape`, or None to leave it as it is."""


class Tap(dict[str, Tensor]):
    """Collects what one layer computes, by short name; `edit` is asked about each tensor before it is used.

    A layer without a tap pays nothing. Compiled kernels fill a tap in, too, but ask no `edit`: who edits runs the torch
    code. `keep`: the names to hold on to, None all; what is not kept can be freed while the pass goes on.
    """

    def __init__(self, edit: Edit | None = None, keep: Collection[str] | None = None) -> None:
        super().__init__()
        self.edit, self.keep = edit, keep

    def look(self, name: str, x: Tensor) -> Tensor:
        """Return `x`, or what the edit made of it, and keep it under `name`. Raises ValueError for another shape."""
        if self.edit is not None:
            changed = self.edit(name, x)
            if changed is not None:
                if changed.shape != x.shape:
                    raise ValueError(f"an edit of {name} must keep shape {list(x.shape)}, not {list(changed.shape)}")
                x = changed.to(x.dtype)
        if self.keep is None or name in self.keep:
            self[name] = x
        return x

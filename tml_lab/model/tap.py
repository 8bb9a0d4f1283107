"""A tap: where an observer sees one layer's inner tensors, and may put others in their place."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor

Edit = Callable[[str, Tensor], Tensor | None]
"""`(short name, tensor) -> another tensor of its shape`, or None to leave it as it is."""

BETWEEN_BLOCKS = frozenset({"resid_pre", "resid_post"})  # what compiled kernels can be asked about, too


class Tap(dict[str, Tensor]):
    """Collects what one layer computes, by short name; `edit` is asked about each tensor before it is used.

    A layer without a tap pays nothing. The compiled kernels of a session fill in `pattern`, and ask about what stands
    between the blocks; who wants more runs the torch code, which agrees with them to rounding.

    Args:
        edit: see `Edit`.
        wants: the short names that are kept, and asked about; None: all that there are.
        holds: those of them that are kept, None: all; what is not can be freed while the pass goes on.
    """

    def __init__(
        self, edit: Edit | None = None, wants: Collection[str] | None = None, holds: Collection[str] | None = None
    ) -> None:
        super().__init__()
        self.edit, self.holds = edit, holds
        self.wants = None if wants is None else set(wants)

    def want(self, name: str) -> bool:
        """Whether the tensor of that name is looked at."""
        return self.wants is None or name in self.wants

    def also(self, *names: str) -> Tap:
        """This tap, which now wants the tensors of these names, too."""
        if self.wants is not None:
            self.wants.update(names)
        if self.holds is not None:
            self.holds = {*self.holds, *names}
        return self

    @property
    def is_shallow(self) -> bool:
        """Whether compiled kernels can serve it."""
        if self.wants is None:
            return self.edit is None  # a session's view of a pattern
        return self.wants <= (BETWEEN_BLOCKS if self.edit else BETWEEN_BLOCKS | {"pattern"})

    @property
    def only_listens(self) -> bool:
        """Whether it changes nothing, and wants nothing but what stands between the blocks."""
        return self.edit is None and self.wants is not None and self.wants <= BETWEEN_BLOCKS

    def look(self, name: str, x: Tensor) -> Tensor:
        """Return `x`, or what the edit made of it, and keep it under `name`. Raises ValueError for another shape."""
        if not self.want(name):
            return x
        if self.edit is not None:
            changed = self.edit(name, x)
            if changed is not None:
                if changed.shape != x.shape:
                    raise ValueError(f"an edit of {name} must keep shape {list(x.shape)}, not {list(changed.shape)}")
                x = changed.to(x.dtype)
        if self.holds is None or name in self.holds:
            self[name] = x
        return x


def are_shallow(taps: dict[int, Tap] | None) -> bool:
    """Whether compiled kernels can serve all of them."""
    return taps is None or all(tap.is_shallow for tap in taps.values())


def only_listen(taps: dict[int, Tap] | None) -> bool:
    """Whether none of them asks for more than `Tap.only_listens`."""
    return taps is None or all(tap.only_listens for tap in taps.values())

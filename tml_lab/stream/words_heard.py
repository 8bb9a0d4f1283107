"""Words heard, turn by turn: the model's listening head, read while a session steps.

The head looks at the residual stream after one block and names the word that a 50 ms frame of sound completes. No
decision passes through it: what it names is what that block has understood, right or wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tml_lab.config import FRAMES_PER_TURN
from tml_lab.model.listen import BLANK, next_words


class WordsHeard:
    """Reads the words of one session; `ear_of` makes one where that can be.

    Args:
        session: a `tml_lab.stream.session.Session`; its model must have a listening head.
    """

    def __init__(self, session: Any) -> None:
        self.model, self.tokenizer = session.model, session.tokenizer
        self.words: tuple[str, ...] = ()  # of the last turn
        self._last = BLANK

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around `session.step`: afterwards `words` holds the words completed in this turn."""
        seen: list[torch.Tensor] = []
        here = threading.get_ident()

        def keep(_module: Any, _args: Any, out: torch.Tensor) -> None:
            # The turn's input is one forward of several positions; output tokens are fed one by one. The same
            # model may be at work in a cell meanwhile: that is another thread.
            if threading.get_ident() == here and out.shape[1] > 1:
                seen.append(out[0, -FRAMES_PER_TURN:])  # [1, n, d_model] -> [4, d_model], the frames heard

        handle = self.model.backbone.blocks[self.model.cfg.listen_layer].register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()
        self.words = self._read(seen[-1]) if seen else ()

    def _read(self, resid: torch.Tensor) -> tuple[str, ...]:
        ids, self._last = next_words(self.model.listen, resid, self._last)
        return tuple(self.tokenizer.decode(ids).split())


def ear_of(session: Any) -> WordsHeard | None:
    """Reads the words that this session hears; None where they cannot be read: its model is on a server, or deaf."""
    return WordsHeard(session) if hasattr(getattr(session, "model", None), "listen") else None

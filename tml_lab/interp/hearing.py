"""What the model heard: the listening head's words, read offline from a cache."""

from __future__ import annotations

import torch

from tml_lab.config import FRAMES_PER_TURN
from tml_lab.interp.cache import Cache
from tml_lab.model.listen import BLANK, read_words


@torch.no_grad()
def words_heard(cache: Cache) -> tuple[tuple[str, ...], ...]:
    """Per turn, the words that the listening head took to be complete in it.

    The head looks at the residual stream after block `listen_layer`; no decision passes through it. It names
    a word when it is sure, which is often a little after the word ended. Untrained weights give nonsense.

    Raises InterpError when the cache was made without that block's `resid_post`.
    """
    resid = cache["resid_post", cache.model.cfg.listen_layer]  # [positions, d_model]
    at = torch.as_tensor(cache.tokens.where("audio_in"), device=resid.device)
    guesses = cache.model.listen(resid[at]).argmax(-1)  # [turns * 4]
    turns, last = [], BLANK
    for frames in guesses.view(-1, FRAMES_PER_TURN).tolist():
        ids, last = read_words(frames, last)  # a word held over a turn's edge is still one word
        turns.append(tuple(cache.tokenizer.decode(ids).split()))
    return tuple(turns)

"""Words heard are the listening head's, collapsed over repeats, also across the edge of a turn."""

from __future__ import annotations

import pytest
import torch

from tml_lab.interp.cache import Cache
from tml_lab.interp.hearing import words_heard


def test_repeats_collapse_and_blanks_part(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = cache.tokenizer.id("one"), cache.tokenizer.id("two")
    frames = [0, one, one, 0] + [one, one, two, two] + [two, two, 0, two] + [0] * 4 * (cache.turns - 3)
    seen: list[torch.Tensor] = []

    def listen(resid: torch.Tensor) -> torch.Tensor:
        seen.append(resid)
        return torch.nn.functional.one_hot(torch.tensor(frames), cache.tokenizer.size)

    monkeypatch.setattr(cache.model.listen, "forward", listen)
    heard = words_heard(cache)
    assert heard[:3] == (("one",), ("one", "two"), ("two",))
    assert len(heard) == cache.turns and not any(heard[3:])
    # it is given the frames heard, after the block it was trained on, and nothing else
    layer = cache.model.cfg.listen_layer
    assert torch.equal(seen[0], cache["resid_post", layer][cache.tokens.where("audio_in")])

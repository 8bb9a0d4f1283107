"""The live widget on a server's session: the same turns as here, and its place on the server is given back."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np

from tests.serve.loopback import eventually, served
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.serve.engine import Engine
from tml_lab.serve.session import Session
from tml_widgets import Clip


def test_a_clip_goes_through_on_a_server(open_live: Callable, pico: str, clip: Clip) -> None:
    here, _ = open_live(pico, clip)
    here.pick(1, 0)
    here.run()
    with Engine(*load_checkpoint(pico)) as engine, served(engine) as url:
        there, sent = open_live(lambda: Session.connect(url), clip)
        there.pick(1, 0)
        for _ in range(2):  # the second start is a fresh session, and the first one's place is free again
            there.run()
            assert there.phase == "stopped", there.notice
            assert [row.decision for row in there.turns] == [row.decision for row in here.turns]
            assert [row.p_speak for row in there.turns] == [row.p_speak for row in here.turns]
        assert all(message["shares"] for message in sent if message["kind"] == "turn")
        assert np.array_equal(there.recording.audio_out, here.recording.audio_out)
        assert there.recording.attention.layer == 1
        gc.collect()
        eventually(lambda: engine.stats().sessions == 1)

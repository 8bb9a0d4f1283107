"""A class in a process of its own, to be killed: several learners speak at once, and note each reply that they get.

    python -m tests.serve.classroom FOLDER

It writes one line of JSON for each session, and then one for each reply: learner, chunk number, p(speak) and a hash of
the sound. It goes on until it is killed; SIGTERM is turned into an exit.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from itertools import count
from pathlib import Path

import torch

from tests.serve.scene import PATIENCE, chunk
from tests.stream.conftest import model as model_fixture
from tests.stream.conftest import tokenizer as tokenizer_fixture
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.engine import Engine
from tml_lab.serve.limits import Limits
from tml_lab.stream.turn_result import TurnResult

LEARNERS = 4
LIMITS = Limits(batch=2, snapshot=7, shed=False)


def tiny() -> tuple[InteractionModel, TextTokenizer]:
    """The model of the tests' fixtures."""
    tokenizer = tokenizer_fixture._get_wrapped_function()()
    return model_fixture._get_wrapped_function()(tokenizer), tokenizer


def mark(turn: TurnResult) -> list[object]:
    """What is noted of a turn."""
    return [turn.turn, turn.p_speak, hashlib.sha256(turn.audio.tobytes()).hexdigest()]


def note(entry: object) -> None:
    """Written through: what stands there was answered."""
    os.write(1, json.dumps(entry).encode() + b"\n")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Engine(*tiny(), folder=folder, limits=LIMITS) as engine:
        opened = [engine.open(seed=who) for who in range(LEARNERS)]
        for who, each in enumerate(opened):
            note({"who": who, "id": each.id, "writer": each.writer})
        for n in count():
            futures = [engine.append(each.id, each.writer, chunk(n, who)) for who, each in enumerate(opened)]
            for who, future in enumerate(futures):
                note([who, *mark(future.result(PATIENCE).turn)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))

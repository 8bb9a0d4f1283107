"""What a turn asks of the model while it is computed, so that whoever runs several turns can answer them together.

A turn is a generator: it yields a request, is sent the answer, and returns its `TurnResult`. `run_alone` answers one
turn's requests by calling the model; `tml_lab.stream.together` answers those of many sessions by one call for all.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from tml_lab.model.interaction import InteractionModel
from tml_lab.model.state import State
from tml_lab.model.tap import Tap


@dataclass(frozen=True, eq=False)
class Append:
    """Append embeddings `x [1, n, d_model]` to a session's state; answered by hidden states of the same shape."""

    model: InteractionModel
    state: State
    x: Tensor
    taps: dict[int, Tap] | None = None

    def alone(self) -> Tensor:
        """The answer, by a call of the model."""
        return self.model(self.x, self.state, self.taps)


@dataclass(frozen=True, eq=False)
class Draw:
    """Draw one own-voice token from `noise [1, 320]`, given the hidden state `[1, d_model]`; answered by `[1, 320]`."""

    model: InteractionModel
    hidden: Tensor
    noise: Tensor

    def alone(self) -> Tensor:
        """The answer, by a call of the flow head."""
        cfg = self.model.cfg
        return self.model.flow.sample(self.hidden, self.noise, cfg.flow_steps, cfg.flow_temperature)


Request = Append | Draw
Result = TypeVar("Result")
Steps = Generator[Request, Tensor, Result]


def run_alone(steps: Steps[Result]) -> Result:
    """Run a turn to its end, each request by itself."""
    try:
        request = next(steps)
        while True:
            request = steps.send(request.alone())
    except StopIteration as end:
        return end.value

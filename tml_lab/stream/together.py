"""Many sessions on one model, a turn of each at once: every one bitwise what it is alone.

    results = step_together([a, b, c], [(sound_a,), (sound_b, frames_b), (sound_c, None, "hello")])

Sessions go in lock-step: what their turns ask of the model (see `turn_steps`) is answered in rounds, by one call of the
kernels for all. A silent session takes part in the first round only; words come before sound, so that all own voices
are drawn together. What cannot be joined (a hook, an observer, a watched head, a GPU) is answered one by one; a policy
of memory that listens along is no hindrance.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import FRAMES_PER_TURN, OUT_TOKENS_PER_TURN, PATCH
from tml_lab.model.decode import one_turn
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.joint import append_jointly, can_append_jointly, can_draw_jointly, draw_jointly
from tml_lab.model.tap import only_listen
from tml_lab.stream.session import Session
from tml_lab.stream.turn_input import SessionError
from tml_lab.stream.turn_result import TurnResult
from tml_lab.stream.turn_steps import Append, Draw, Request, Steps

Input = Sequence[Any]
"""What `Session.step` takes, in its order: audio, and if there are any frames and typed words."""
Outcome = TurnResult | Exception
"""What a turn brought, or why there was none."""


def step_together(sessions: Sequence[Session], inputs: Sequence[Input]) -> list[Outcome]:
    """One turn of each session, each with its own input, in lock-step on this thread.

    Returns, for each session, what its `step` returns or raises: after bad input (SessionError, SignalError) it is as
    it was and the others have had their turn. `timings` include the waiting for others.

    Raises SessionError, before anything is touched, when a session comes twice or inputs are missing. Any other
    exception (Ctrl-C, a failure of what was computed for all) is raised; sessions that stood half-way in their turn
    then say so at the next one, as after an interrupted `step`.
    """
    with Together(threads=1) as together:
        return together.step(sessions, inputs)


class Together:
    """Steps many sessions, shared out among threads; which session falls to which thread changes no bit.

    The kernels and torch's operators leave Python's lock, so that two threads keep two cores busy. Torch's own threads
    then only get in the way: `torch.set_num_threads(1)`.

    Args:
        threads: that compute at once, the caller's included.
    """

    def __init__(self, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"sessions are stepped by at least one thread, not {threads}.")
        self.threads = threads
        self._others = ThreadPoolExecutor(threads - 1, "together") if threads > 1 else None

    def __enter__(self) -> Together:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads go."""
        if self._others is not None:
            self._others.shutdown()

    def step(self, sessions: Sequence[Session], inputs: Sequence[Input]) -> list[Outcome]:
        """As `step_together`, by all threads. Ctrl-C is heard when the other threads have done their part."""
        if len(inputs) != len(sessions):
            raise SessionError(f"{len(sessions)} sessions need as many inputs, not {len(inputs)}.")
        if len({id(session) for session in sessions}) < len(sessions):
            raise SessionError("a session comes twice: it can have one turn at a time.")
        outcomes: list[Outcome | None] = [None] * len(sessions)
        shares = share_out([cost(*pair) for pair in zip(sessions, inputs, strict=True)], self.threads)
        with ExitStack() as turn:
            for backbone, flow in {(s.model.backbone, s.model.flow) for s in sessions}:
                turn.enter_context(one_turn(backbone, flow))
            work = [({i: sessions[i] for i in share}, inputs, outcomes) for share in shares if share]
            futures = [self._others.submit(_run, *each) for each in work[1:]] if self._others else []
            try:
                for each in work[:1]:
                    _run(*each)
            finally:
                errors = [future.exception() for future in futures]  # nobody computes any more after this
            for error in errors:
                if error is not None:
                    raise error
        return [outcome for outcome in outcomes if outcome is not None]


def cost(session: Session, given: Input) -> int:
    """About how many positions a turn will take: one that spoke will most often go on."""
    frames = given[1] if len(given) > 1 else None
    patches = frames[0, ..., 0].size // PATCH**2 if isinstance(frames, np.ndarray) and frames.ndim == 4 else 0
    spoke = len(session.state["pending.voice"]) > 0
    return FRAMES_PER_TURN + patches + (2 * OUT_TOKENS_PER_TURN if spoke else 0)


def share_out(costs: Sequence[int], n: int) -> list[list[int]]:
    """Indices into `n` shares of about the same cost: the dearest first, each to the share that has least."""
    shares: list[list[int]] = [[] for _ in range(n)]
    sums = [0] * n
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        least = sums.index(min(sums))
        shares[least].append(i)
        sums[least] += costs[i]
    return shares


@torch.no_grad()  # of this thread alone
def _run(sessions: dict[int, Session], inputs: Sequence[Input], outcomes: list[Outcome | None]) -> None:
    """A turn of each session; what comes of it goes to its place among the outcomes."""
    turns: dict[int, Steps[TurnResult]] = {}
    asked: dict[int, Request] = {}

    def go_on(i: int, answer: Tensor | None) -> None:
        try:
            asked[i] = turns[i].send(answer)  # type: ignore[arg-type]  (the first time there is no answer)
        except StopIteration as end:
            outcomes[i] = end.value
        except Exception as error:  # of this session alone
            outcomes[i] = error

    for i, session in sessions.items():
        try:
            turns[i] = session.steps(*inputs[i])
        except TypeError as error:
            outcomes[i] = error
    for i in turns:
        go_on(i, None)
    while asked:
        words = [i for i, request in asked.items() if isinstance(request, Append)]
        now = {i: asked.pop(i) for i in words or list(asked)}
        for i, answer in _answers(now).items():
            if isinstance(answer, Exception):
                outcomes[i] = answer
                turns[i].close()
            else:
                go_on(i, answer)


def _answers(requests: dict[int, Request]) -> dict[int, Tensor | Exception]:
    """The answers to requests of one kind: jointly for those that have it in them, the others one by one."""
    groups: dict[InteractionModel, list[int]] = {}
    answers: dict[int, Tensor | Exception] = {}
    for i, request in requests.items():
        model = _joinable(request)
        if model is not None:
            groups.setdefault(model, []).append(i)
            continue
        try:
            answers[i] = request.alone()
        except Exception as error:  # of this session alone
            answers[i] = error
    for model, members in groups.items():
        answers |= zip(members, _jointly(model, [requests[i] for i in members]), strict=True)
    return answers


def _joinable(request: Request) -> InteractionModel | None:
    """The model that the request may go through beside others, or None."""
    model = getattr(request.model, "through", request.model)  # a wrapper says what a call of it amounts to
    if not isinstance(model, InteractionModel):
        return None
    if isinstance(request, Draw):
        return model if can_draw_jointly(model, request.noise) else None
    return model if only_listen(request.taps) and can_append_jointly(model, request.x) else None


def _jointly(model: InteractionModel, requests: Sequence[Request]) -> Sequence[Tensor]:
    appends = [request for request in requests if isinstance(request, Append)]
    if appends:
        return append_jointly(model, [a.x for a in appends], [a.state for a in appends], [a.taps for a in appends])
    draws = [request for request in requests if isinstance(request, Draw)]
    hidden, noise = torch.cat([d.hidden for d in draws]), torch.cat([d.noise for d in draws])
    return draw_jointly(model, hidden, noise).split(1)  # N times [1, n_out]

"""Many sessions a turn at a time: each bitwise what it is alone, whoever else is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tml_lab.bench.runner import SteeredModel
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.state import clone_state
from tml_lab.model.tap import Tap
from tml_lab.model.text import DELEGATE, SILENT, SPEAK, TextTokenizer
from tml_lab.stream import together
from tml_lab.stream.compact import Compact, Rule
from tml_lab.stream.policy import MEMORY, Policy
from tml_lab.stream.recording import SKIPPED
from tml_lab.stream.reels import Pictures
from tml_lab.stream.replay import differences
from tml_lab.stream.session import Session
from tml_lab.stream.together import Together, share_out, step_together
from tml_lab.stream.turn_input import SessionError

pytest.importorskip("tml_kernels.decode", reason="Numba does not run here")
MODES = pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
LIVED = 30  # turns that an old session has behind it: its rings have wrapped
DECIDES = (None, SILENT, SPEAK, DELEGATE)
BAD: dict[str, tuple[Any, ...]] = {
    "too short": (np.zeros(7, np.float32),),
    "not finite": (np.full(TURN_SAMPLES, np.nan, np.float32),),
    "not float": (np.zeros(TURN_SAMPLES, np.int16),),
    "no picture": (np.zeros(TURN_SAMPLES, np.float32), np.zeros((2, 3), np.uint8)),
    "too much typed": (np.zeros(TURN_SAMPLES, np.float32), None, "one " * 1000),
}


class Pair:
    """Two sessions with the same life: one that is stepped beside others, and one alone."""

    def __init__(
        self, model: InteractionModel, tokenizer: TextTokenizer, seed: int, past: Session | None,
        policy: Policy | None = None,
    ) -> None:  # fmt: skip
        self.steered = [SteeredModel(model, tokenizer) for _ in range(2)]
        self.beside, self.alone = (Session(m, tokenizer, seed, policy=policy) for m in self.steered)  # pyright: ignore
        if past is not None:
            for session in (self.beside, self.alone):
                session.state, session.tape = clone_state(past.state), past.tape.copy()

    def impose(self, decision: str | None) -> None:
        for model in self.steered:
            model.imposed = decision

    def must_agree(self, outcome: Any, given: tuple[Any, ...]) -> None:
        """The turn alone, and all of it compared, state included."""
        before = bits(self.alone)
        try:
            own = self.alone.step(*given)
        except (ValueError, TypeError) as error:
            assert type(outcome) is type(error)
            assert str(outcome) == str(error) or isinstance(error, TypeError)  # which names the function
            assert bits(self.alone) == before
        else:
            assert not isinstance(outcome, Exception), outcome
            for name, value in vars(own).items():
                if name != "timings":
                    assert same(value, getattr(outcome, name)), name
            assert outcome.timings.keys() == own.timings.keys()
        assert bits(self.beside) == bits(self.alone)

    def recordings_must_agree(self) -> None:
        one, other = self.beside.recording(), self.alone.recording()
        assert differences(one, other) == []
        for name in ("stream", "turn", "slot", "token_id"):
            assert np.array_equal(getattr(one.tokens, name), getattr(other.tokens, name))
        assert np.array_equal(one.voice, other.voice) and np.array_equal(one.inputs.audio, other.inputs.audio)
        for name in ("typed", "gaps", "skipped"):
            assert getattr(one.inputs, name) == getattr(other.inputs, name)
        assert same(*(list(recording.inputs.frames or ()) for recording in (one, other)))
        if one.attention is not None and other.attention is not None:
            assert np.array_equal(one.attention.lag, other.attention.lag)
        assert (one.attention is None) == (other.attention is None)


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, NaN included."""
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple | Pictures):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def bits(session: Session) -> dict[str, bytes]:
    """The session's state; `torch.equal` would not find a ring's NaN equal to itself."""
    return {name: tensor.contiguous().numpy().tobytes() for name, tensor in session.state.items()}


@pytest.fixture(scope="module")
def past(model: InteractionModel, tokenizer: TextTokenizer, run: Callable[..., Session]) -> Session:
    """A session that has lived past the end of its rings."""
    session = run(Session(model, tokenizer, seed=9), LIVED)
    longest = max(t.shape[2] for name, t in session.state.items() if name.endswith(".k"))
    assert int(session.state["pos"]) > longest + 40
    return session


@pytest.fixture
def mode(model: InteractionModel, deterministic: bool) -> Iterator[InteractionModel]:
    model.deterministic = deterministic
    yield model
    model.deterministic = False


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many sessions each joint answer was for."""
    seen: dict[str, list[int]] = {"append_jointly": [], "draw_jointly": []}
    for name, sizes in seen.items():
        usual = getattr(together, name)

        def counted(model: Any, first: Any, *rest: Any, usual: Any = usual, sizes: list[int] = sizes) -> Any:
            sizes.append(len(first))
            return usual(model, first, *rest)

        monkeypatch.setattr(together, name, counted)
    return seen


def heard(rng: np.random.Generator, camera: bool = False, text: str | None = None) -> tuple[Any, ...]:
    """One turn's input."""
    loud = 10.0 ** rng.uniform(-4, -0.5)
    frames = rng.integers(0, 256, (2, 60, 80, 3), np.uint8) if camera else None
    return (loud * rng.standard_normal(TURN_SAMPLES)).astype(np.float32), frames, text


TURN = st.fixed_dictionaries(
    {
        "there": st.sampled_from([True, True, True, False]),
        "decides": st.sampled_from(DECIDES),
        "hears": st.sampled_from(["sound", "sound", "sound", "a gap", "skipped"]),
        "camera": st.booleans(),
        "text": st.sampled_from([None, None, "stop", "remind me in two seconds please " * 12]),
        "bad": st.sampled_from([None] * 6 + list(BAD)),
    }
)


@MODES
@given(
    lives=st.lists(
        st.tuples(st.booleans(), st.lists(TURN, min_size=3, max_size=3)), min_size=1, max_size=5
    ),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_session_is_what_it_is_alone(
    mode: InteractionModel, tokenizer: TextTokenizer, past: Session, lives: Any, threads: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pairs = [Pair(mode, tokenizer, i, past if old else None) for i, (old, _) in enumerate(lives)]
    with Together(threads) as stepper:
        for n in range(3):
            due, inputs = [], []
            for pair, (_, turns) in zip(pairs, lives, strict=True):
                turn = turns[n]
                if turn["there"]:
                    pair.impose(turn["decides"])
                    due.append(pair)
                    sound, *rest = heard(rng, turn["camera"], turn["text"])
                    usual = {"sound": (sound, *rest), "a gap": (None, *rest), "skipped": (SKIPPED,)}[turn["hears"]]
                    inputs.append(BAD[turn["bad"]] if turn["bad"] else usual)
            outcomes = stepper.step([pair.beside for pair in due], inputs)
            for pair, outcome, given_ in zip(due, outcomes, inputs, strict=True):
                pair.must_agree(outcome, given_)
    for pair in pairs:
        pair.recordings_must_agree()


@MODES
def test_what_can_be_joined_is_joined(
    mode: InteractionModel, tokenizer: TextTokenizer, past: Session, joined: dict[str, list[int]]
) -> None:
    pairs = [Pair(mode, tokenizer, i, past if i % 2 else None) for i in range(6)]
    rng = np.random.default_rng(3)
    for n in range(6):
        for i, pair in enumerate(pairs):
            pair.impose((SPEAK, SILENT, SPEAK)[(n + i) % 3])
        inputs = [heard(rng, camera=i % 2 == 0, text="stop" if i == n else None) for i in range(len(pairs))]
        joined["append_jointly"].clear()
        joined["draw_jointly"].clear()
        outcomes = step_together([pair.beside for pair in pairs], inputs)
        assert joined["append_jointly"][0] == 6, "all are heard in one call"
        assert joined["draw_jointly"] == [4, 4, 4, 4], "own voices are drawn together, however many words were said"
        for pair, outcome, given_ in zip(pairs, outcomes, inputs, strict=True):
            pair.must_agree(outcome, given_)
    for pair in pairs:
        pair.recordings_must_agree()


def test_looking_at_one_session_changes_none(
    model: InteractionModel, tokenizer: TextTokenizer, past: Session, joined: dict[str, list[int]]
) -> None:
    class Looking:
        """Keeps one layer's stream, and turns it down."""

        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def embedded(self, x: torch.Tensor, piece: Any) -> torch.Tensor:
            return x

        def taps(self, piece: Any) -> dict[int, Tap]:
            return {1: Tap(lambda name, x: x * 0.9, {"resid_pre"})}

        def finished(self, hidden: torch.Tensor, piece: Any) -> torch.Tensor:
            self.seen.append(hidden)
            return hidden

    pairs = [Pair(model, tokenizer, i, past) for i in range(4)]
    pairs[1].beside.attention = pairs[1].alone.attention = (1, 0)
    observers = [Looking(), Looking()]
    pairs[2].beside.observer, pairs[2].alone.observer = observers
    rng = np.random.default_rng(4)
    for n in range(5):
        for pair in pairs:
            pair.impose(SPEAK if n % 2 else SILENT)
        inputs = [heard(rng, camera=n == 2) for _ in pairs]
        outcomes = step_together([pair.beside for pair in pairs], inputs)
        for pair, outcome, given_ in zip(pairs, outcomes, inputs, strict=True):
            pair.must_agree(outcome, given_)
        assert outcomes[1].attention is not None  # type: ignore[union-attr]
    for pair in pairs:
        pair.recordings_must_agree()
    assert len(observers[0].seen) > 5 and all(map(torch.equal, *(o.seen for o in observers)))
    assert max(joined["append_jointly"]) == 3, "a watched head is asked for with what is heard, not with own words"
    assert {joined["append_jointly"][0], joined["draw_jointly"][0]} == {2, 4}


@MODES
def test_a_policy_that_listens_hears_its_own_session_in_the_joint_call(
    mode: InteractionModel, tokenizer: TextTokenizer, joined: dict[str, list[int]]
) -> None:
    rule = Rule("standing", "remind", ("remind me in two seconds please",))
    policies = (*(Compact(rules=(rule,), standing_every=every) for every in (40, 24)), None, Compact())
    pairs = [Pair(mode, tokenizer, i, None, policy) for i, policy in enumerate(policies)]
    rng = np.random.default_rng(5)
    for n in range(14):
        for i, pair in enumerate(pairs):
            pair.impose(SPEAK if n < 4 and i > 1 else SILENT)
        inputs = [heard(rng, text=rule.wordings[0] if n == i else None) for i in range(len(pairs))]
        joined["append_jointly"].clear()
        outcomes = step_together([pair.beside for pair in pairs], inputs)
        assert joined["append_jointly"][0] == len(pairs)
        for pair, outcome, given_ in zip(pairs, outcomes, inputs, strict=True):
            pair.must_agree(outcome, given_)
    for pair in pairs:
        pair.recordings_must_agree()
    assert [bool(pair.beside.recording().notes) for pair in pairs] == [True, True, False, False]
    assert [MEMORY in pair.beside.state for pair in pairs] == [True, True, False, True]


def test_whoever_listens_to_a_block_hears_each_session(model: InteractionModel, tokenizer: TextTokenizer) -> None:
    pairs = [Pair(model, tokenizer, i, None) for i in range(3)]
    inputs = [heard(np.random.default_rng(i)) for i in range(3)]
    for where in (model.backbone.blocks[0], model.backbone, model, model.backbone.blocks[1].mlp):
        called: list[tuple[int, ...]] = []
        handle = where.register_forward_hook(lambda _, __, out, called=called: called.append(tuple(out.shape)))
        try:
            outcomes = step_together([pair.beside for pair in pairs], inputs)
            heard_together = list(called)
            for pair, outcome, given_ in zip(pairs, outcomes, inputs, strict=True):
                pair.must_agree(outcome, given_)
        finally:
            handle.remove()
        assert heard_together and sorted(heard_together) == sorted(called[len(heard_together) :])


def test_the_torch_code_serves_where_the_kernels_are_off(
    model: InteractionModel, tokenizer: TextTokenizer, joined: dict[str, list[int]]
) -> None:
    pairs = [Pair(model, tokenizer, i, None) for i in range(3)]
    model.backbone.fused = model.flow.fused = False
    try:
        for n in range(3):
            for pair in pairs:
                pair.impose(SPEAK)
            inputs = [heard(np.random.default_rng(9 * n + i), camera=i == 1) for i in range(3)]
            outcomes = step_together([pair.beside for pair in pairs], inputs)
            for pair, outcome, given_ in zip(pairs, outcomes, inputs, strict=True):
                pair.must_agree(outcome, given_)
    finally:
        model.backbone.fused = model.flow.fused = True
    assert not joined["append_jointly"] and not joined["draw_jointly"]


class Failing:
    """An observer that raises, in the middle of a turn."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def embedded(self, x: torch.Tensor, piece: Any) -> torch.Tensor:
        return x

    def taps(self, piece: Any) -> dict[int, Tap]:
        return {}

    def finished(self, hidden: torch.Tensor, piece: Any) -> torch.Tensor:
        raise self.error


@pytest.mark.parametrize("threads", [1, 2])
def test_a_turn_that_fails_is_one_sessions_own_affair(
    model: InteractionModel, tokenizer: TextTokenizer, threads: int
) -> None:
    pairs = [Pair(model, tokenizer, i, None) for i in range(4)]
    broken, error = pairs[2].beside, RuntimeError("an observer's own")
    broken.observer = Failing(error)
    with Together(threads) as stepper:
        for n in range(2):
            inputs = [heard(np.random.default_rng(9 * n + i)) for i in range(4)]
            outcomes = stepper.step([pair.beside for pair in pairs], inputs)
            for i in (0, 1, 3):
                pairs[i].must_agree(outcomes[i], inputs[i])
            assert outcomes[2] is error if n == 0 else "interrupted half-way" in str(outcomes[2])
    assert broken.fork(at=broken.turn).turn == 0


def test_ctrl_c_leaves_whole_and_half_turns_apart(model: InteractionModel, tokenizer: TextTokenizer) -> None:
    sessions = [Session(model, tokenizer, seed=i) for i in range(3)]
    sessions[1].observer = Failing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        step_together(sessions, [heard(np.random.default_rng(i)) for i in range(3)])
    for session in sessions:
        if session.turn == 0:
            with pytest.raises(SessionError, match="interrupted half-way"):
                session.step(*heard(np.random.default_rng(0)))
            session.observer = None
        assert session.fork(at=session.turn).step(*heard(np.random.default_rng(0))).turn == session.turn


def test_a_wrong_call_touches_nothing(model: InteractionModel, tokenizer: TextTokenizer) -> None:
    one, other = (Session(model, tokenizer, seed=i) for i in range(2))
    before, given_ = bits(one), heard(np.random.default_rng(0))
    with pytest.raises(SessionError, match="comes twice"):
        step_together([one, other, one], [given_] * 3)
    with pytest.raises(SessionError, match="2 sessions need as many inputs, not 1"):
        step_together([one, other], [given_])
    with pytest.raises(ValueError, match="at least one thread"):
        Together(0)
    assert bits(one) == before and one.step(*given_).turn == 0
    assert step_together([], []) == []


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(1, 4))
def test_shares_hold_everybody_once_and_weigh_about_the_same(costs: list[int], n: int) -> None:
    shares = share_out(costs, n)
    assert sorted(i for share in shares for i in share) == list(range(len(costs)))
    sums = [sum(costs[i] for i in share) for share in shares]
    assert max(sums) - min(sums) <= max(costs, default=0)

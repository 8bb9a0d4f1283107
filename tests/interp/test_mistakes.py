"""What a person gets wrong at the bench: each mistake is one sentence that says what to do, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tml_lab.interp.ablation import ablate
from tml_lab.interp.address import At
from tml_lab.interp.attention import attention_by
from tml_lab.interp.attribution import attribute_decision
from tml_lab.interp.cache import Cache, InterpError, hook_names, run_with_cache
from tml_lab.interp.cause import smallest_flip
from tml_lab.interp.counterfactual import counterfactual
from tml_lab.interp.edits import Ablate, Cut, Edit, Patch, Steer, edits_from_json, observe, run_with_edits
from tml_lab.interp.hooks import Hook, hooked, run_with_hooks
from tml_lab.interp.live import along, attached
from tml_lab.interp.variants import blank, shifted, without_each_span, without_each_word
from tml_lab.stream.session import Session

untyped: Any = Ablate  # what a type checker would catch, in a notebook nobody does
NAN, INF = float("nan"), float("inf")


def named(cache: Cache, names: Any) -> Cache:
    return run_with_cache(cache.model, cache.tokenizer, cache.recording, names)


def hook(cache: Cache, *hooks: Any) -> Cache:
    return run_with_hooks(cache.model, cache.tokenizer, cache.recording, hooks)


def edited(cache: Cache, *edits: Edit) -> Cache:
    return run_with_edits(cache.model, cache.tokenizer, cache.recording, edits)


def from_2s(cache: Cache, *edits: Edit) -> Any:
    return counterfactual(cache.recording, cache.model, cache.tokenizer, t=2.0, edits=edits)


def wide(cache: Cache, value: float = 0.0) -> np.ndarray:
    return np.full(cache.model.cfg.d_model, value)


MISTAKES: dict[str, tuple[Callable[[Cache], Any], str]] = {
    "a layer in a name": (lambda c: named(c, "blocks.9.hook_mlp_out"), r"the model has layers 0\.\.2"),
    "a short name": (lambda c: named(c, ["mlp_out"]), r"short name of 'blocks\.0\.hook_mlp_out'"),
    "a filter": (lambda c: named(c, lambda name: "resid_pots" in name), "fits none"),
    "a filter of a watch": (lambda c: observe(c.model, [], lambda name: False), "fits none"),
    "a key of three": (lambda c: c["z", 3, 2], r"cache\.at\('z', layer=3, head=2\)"),
    "a key turned round": (lambda c: c[1, "z"], r"nothing at \(1, 'z'\)"),
    "a number as key": (lambda c: c[3], "nothing at 3"),
    "a query after the end": (lambda c: c.pattern(1, np.array([10**6])), "positions of this recording"),
    "a query before it": (lambda c: c.pattern(1, np.array([-1])), "positions of this recording"),
    "a pooling": (lambda c: attention_by(c, "streams"), "not pooled by 'streams'; choose stream, turn"),
    "nobody looks": (lambda c: attention_by(c, of="video", turn=0), "nothing of video_in at that time"),
    "a field": (lambda c: c.at("z", layer=0, heads=1), "has no 'heads'; did you mean 'head'"),
    "a time below zero": (lambda c: c.at("z", layer=0, t=-1.0), "must begin at 0 or later, not at -1"),
    "no time": (lambda c: c.at("z", layer=0, t=NAN), "not at nan"),
    "a time without end": (lambda c: c.at("z", layer=0, t=INF), "not at inf"),
    "a turn below zero": (lambda c: c.at("z", layer=0, turn=-1), "must begin at 0 or later"),
    "a step": (lambda c: c.at("z", layer=0, t=slice(1, 3, 2)), "without a step"),
    "before anything plays": (lambda c: c.at("z", layer=0, t=0.1, clock="played"), r"nothing is played before 0\.2 s"),
    "an address": (lambda c: At(hook="zz", layer=0), "nothing called 'zz'; did you mean 'z'"),
    "an edit's address": (lambda c: Ablate(at="L0 zz"), "^a layer has nothing called 'zz'; did you mean 'z'"),
    "an edit's time": (lambda c: Ablate(at="L0 z @noon"), "^the time '@noon'"),
    "an edit's field": (lambda c: untyped(at="L0 z", valu=1), "an edit has no 'valu'; did you mean 'value'"),
    "no address": (lambda c: untyped(), "^this is not an edit: at: field required"),
    "a mean by name": (lambda c: Ablate(at="L0 z", value="mean"), "value: input should be a valid number"),
    "a mean's width": (lambda c: edited(c, Ablate(at="L0H1 z", value=[1.0])), "has .* numbers, not 1"),
    "a mean that is none": (lambda c: edited(c, Ablate(at="L0H1 z", value=NAN)), "no finite number"),
    "a push that is none": (lambda c: edited(c, Steer(at="L0 resid_post", vector=wide(c, NAN))), "no finite number"),
    "a strength that is none": (
        lambda c: edited(c, Steer(at="L0 resid_post", vector=wide(c), strength=INF)), "no finite number",
    ),
    "a patch's width": (lambda c: edited(c, Patch(at="L0 z", pos=(1,), values=((1.0,),))), "numbers, not 1"),
    "a patch's place": (
        lambda c: edited(c, Patch(at="L0 resid_post", pos=(10**6,), values=(tuple(wide(c)),))), "positions must lie in",
    ),
    "a patch of an expert": (lambda c: Patch.of(c, "L0E1 expert_weights @t5"), "another run may not choose it"),
    "one edit alone": (
        lambda c: run_with_edits(c.model, c.tokenizer, c.recording, Ablate(at="L0 z")), r"write \[Ablate\(",
    ),
    "a string as edits": (lambda c: run_with_edits(c.model, c.tokenizer, c.recording, "L0"), "is no edit: make an"),
    "an edit in JSON": (lambda c: edits_from_json('[{"kind": "ablate", "at": "L0 zz"}]'), "no edits: 0.*called 'zz'"),
    "an edit after the end": (lambda c: from_2s(c, Ablate(at="L0 z @50s")), "after the end: there are turns"),
    "a look after the end": (
        lambda c: from_2s(c, Cut(at="L0 pattern @2s..3s <- audio @50s")), "names turn 250, after the end",
    ),
    "the first edit after the end": (
        lambda c: counterfactual(c.recording, c.model, c.tokenizer, edits=[Ablate(at="L0 z @50s")]), "after the end",
    ),
    "no function": (lambda c: hook(c, ("hook_embed", 3)), "list of .name, function"),
    "a pair alone": (lambda c: hook(c, *("hook_embed", print)), "'hook_embed' is no such pair"),
    "no tensor": (lambda c: hook(c, ("hook_embed", lambda x, hook: 0.0)), "must give a tensor, or None, not float"),
    "half a turn": (lambda c: smallest_flip(c.recording, c.model, c.tokenizer, 5.5), "5.5 is no turn"),
    "no seconds": (lambda c: smallest_flip(c.recording, c.model, c.tokenizer, 5, seconds=0), "needs a turn and a run"),
    "no budget": (lambda c: smallest_flip(c.recording, c.model, c.tokenizer, 5, budget=0), "needs a turn and a run"),
    "a word back to front": (lambda c: without_each_word(c.recording.inputs, [("one", 2.0, 1.0)]), "must end after"),
    "a stretch of nothing": (lambda c: without_each_span(c.recording.inputs, 0), "one turn at least"),
    "a cue back to front": (lambda c: shifted(c.recording.inputs, 6, 3, [1]), "no stretch"),
    "no recordings": (lambda c: ablate(c.model, c.tokenizer, [], ["L0H0"], baseline="zero"), "no recording"),
    "a turn of an attribution": (lambda c: attribute_decision(c).top(999), "no turn 999"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str, cache: Cache) -> None:
    ask, says = MISTAKES[mistake]
    with pytest.raises(InterpError, match=says) as caught:
        ask(cache)
    told = str(caught.value)
    assert told.endswith((".", "?")) and "\n" not in told and "pydantic" not in told


def test_names_are_one_several_or_a_filter(cache: Cache) -> None:
    ends = [f"blocks.{n}.hook_resid_post" for n in range(3)]
    by_filter = named(cache, lambda name: name.endswith("resid_post"))
    assert list(by_filter) == ends == list(named(cache, ends[::-1]))
    assert list(named(cache, ends[1])) == [ends[1]]
    assert all(torch.equal(by_filter[name], cache[name]) for name in ends)


def test_a_session_keeps_what_a_filter_names(cache: Cache) -> None:
    session = Session(cache.model, cache.tokenizer, seed=cache.recording.seed)
    with hooked(session, [], keep=lambda name: "hook_attn_out" in name) as watch:
        for turn in range(3):
            session.step(*cache.recording.inputs.turn(turn))
    kept = watch.tensors()
    assert list(kept) == [name for name in hook_names(cache.model.cfg) if name.endswith("hook_attn_out")]
    for name, x in kept.items():
        torch.testing.assert_close(x, cache[name][: len(x)], atol=1e-4, rtol=1e-4)


def test_a_full_name_is_an_address(cache: Cache) -> None:
    assert cache.at("blocks.1.attn.hook_z", head=0, turn=3).identical(cache.at("L1H0 z @t3"))
    assert cache.at("ln_final.hook_normalized", turn=3).identical(cache.at("final", turn=3))


def test_a_session_goes_on_after_a_mistake_in_a_hook(cache: Cache) -> None:
    """It is told in the turn in which it is made; without the hook the same session goes on as if nothing had been."""
    session, plain = (Session(cache.model, cache.tokenizer, seed=cache.recording.seed) for _ in range(2))
    turns = [cache.recording.inputs.turn(n) for n in range(4)]

    def wrong(x: torch.Tensor, hook: Hook) -> Any:
        return x[:1]

    session.step(*turns[0])
    before = session.fork()
    with pytest.raises(InterpError, match="must keep the shape"), hooked(session, [("hook_embed", wrong)]):
        session.step(*turns[1])
    for turn in turns:
        plain.step(*turn)
    for turn in turns[1:]:
        before.step(*turn)
    assert np.array_equal(before.recording().p_speak, plain.recording().p_speak)


def test_a_reader_of_another_width_is_told_before_it_is_attached(cache: Cache) -> None:
    session = Session(cache.model, cache.tokenizer)
    with pytest.raises(InterpError, match=r"reader 'mine' reads 3 numbers, but this stream has"):
        attached(session, {"mine": along(np.ones(3), 1)}).__enter__()
    assert session.observer is None


def test_an_edit_of_the_past_is_not_attached(cache: Cache) -> None:
    session = Session(cache.model, cache.tokenizer)
    for turn in range(3):
        session.step(*cache.recording.inputs.turn(turn))
    with (
        pytest.raises(InterpError, match=r"ends before turn 3, which comes next: .*counterfactual"),
        attached(session, {}, [Ablate(at="L1H0 z @0.2s..0.6s")]),
    ):
        pass
    with attached(session, {}, [Ablate(at="L1H0 z @0.2s..0.8s")]):  # one that lasts acts from now on
        session.step(*cache.recording.inputs.turn(3))
    assert session.observer is None


def test_a_counterfactual_of_other_weights_is_warned_of(cache: Cache) -> None:
    foreign = replace(cache.recording.until(4), checkpoint={"name": "pico", "sha256": "0" * 16})
    with pytest.warns(UserWarning, match="made with weights 0{16}, other than .* its past comes out otherwise"):
        counterfactual(foreign, cache.model, cache.tokenizer, t=0.4)


def test_one_part_may_be_named_alone(cache: Cache) -> None:
    inputs = cache.recording.inputs
    assert np.array_equal(blank(inputs, [3], "audio").audio, blank(inputs, [3], ["audio"]).audio)

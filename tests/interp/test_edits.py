"""Edits: data that survives JSON, and does the same offline and while streaming."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tml_lab.interp.address import At
from tml_lab.interp.cache import Cache, InterpError, hook_names, run_with_cache
from tml_lab.interp.decision import decision
from tml_lab.interp.edits import (
    Ablate,
    Cut,
    Patch,
    Steer,
    edits_from_json,
    edits_to_json,
    observe,
    run_with_edits,
)
from tml_lab.interp.hooks import Hook, hooked
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session


def direction(cache: Cache) -> np.ndarray:
    """From silence to speech in the unembedding: float32 [d_model]."""
    rows = cache.model.unembed.weight[[cache.tokenizer.id(name) for name in ("<speak>", "<silent>")]]
    return (rows[0] - rows[1]).numpy()


EDITS = {
    "steer": lambda c: Steer(at="L1 resid_post of decision @t9..t14", vector=direction(c), strength=0.5),
    "steer the embedding": lambda c: Steer(at="embed of audio_in @1.0s..2.0s", vector=direction(c), strength=0.2),
    "steer the end": lambda c: Steer(at="final of decision @t6", vector=direction(c), strength=0.1),
    "ablate a head": lambda c: Ablate(at="L1H1 z"),
    "ablate an expert": lambda c: Ablate(at="L2E0 expert_weights"),
    "ablate a shared expert": lambda c: Ablate(at="L2S0 shared_weights @t4"),
    "ablate to a mean": lambda c: Ablate(at="L0 mlp_out of audio_in", value=c["mlp_out", 0].mean(0)),
    "cut": lambda c: Cut(at="L2 pattern <- audio_in @0.0s..1.0s"),
    "cut a head": lambda c: Cut(at="L0H1 pattern of decision @t5..t15 <- audio_in"),
    "patch": lambda c: Patch(at="L0 resid_post", pos=(40, 41), values=c["resid_post", 0][10:12]),
    "patch a head": lambda c: Patch(at="L0H1 z", pos=(40, 41), values=c["z", 0][10:12, 1]),
}


@pytest.fixture(params=EDITS)
def edit(request: pytest.FixtureRequest, cache: Cache):
    return EDITS[request.param](cache)


def streamed(cache: Cache, edits: list) -> tuple[Recording, torch.Tensor]:
    """A replay with edits, and the hidden states of all its forwards: [positions fed, d_model]."""
    watch = observe(cache.model, edits, keep=["ln_final.hook_normalized"])
    recording = replay(cache.recording, cache.model, cache.tokenizer, observer=watch)
    return recording, watch.tensors()["ln_final.hook_normalized"]


def test_json_brings_the_same_edit_back(edit, cache: Cache) -> None:
    text = edits_to_json([edit, edit])
    assert edits_from_json(text) == [edit, edit] and edits_to_json(edits_from_json(text)) == text


def test_streamed_equals_offline(edit, cache: Cache) -> None:
    recording, hidden = streamed(cache, [edit])
    offline = run_with_edits(cache.model, cache.tokenizer, recording, [edit])
    live = cache.model.text_logits(hidden).float()
    scale = max(1.0, offline.logits.abs().max().item())
    assert (live - offline.logits[: len(live)]).abs().max().item() <= 1e-5 * scale
    assert decision(offline).names == recording.decisions


def test_an_edit_changes_what_comes_after_it_and_nothing_before(edit, cache: Cache) -> None:
    edited = run_with_edits(cache.model, cache.tokenizer, cache.recording, [edit])
    turns = edit.at.turns()
    first = turns[0] if turns else 0
    moved = (edited.logits != cache.logits).any(-1).numpy()
    assert moved.any()
    assert not moved[cache.tokens.turn < first].any()


@pytest.mark.parametrize("name", ["steer", "steer the embedding", "steer the end"])
def test_between_the_blocks_an_edit_is_the_same_to_the_bit(name: str, cache: Cache) -> None:
    model = copy.deepcopy(cache.model)
    model.deterministic = True
    edits = [EDITS[name](cache)]
    watch = observe(model, edits, keep=["ln_final.hook_normalized", "blocks.1.hook_resid_post"])
    recording = replay(cache.recording, model, cache.tokenizer, observer=watch)
    kept = watch.tensors()
    offline = run_with_edits(model, cache.tokenizer, recording, edits, names=list(kept))
    for hook, live in kept.items():
        assert torch.equal(live, offline[hook][: len(live)])
    unedited = run_with_edits(model, cache.tokenizer, recording, [])
    assert not torch.equal(offline.logits, unedited.logits)
    with pytest.raises(RuntimeError, match="between the blocks"):
        run_with_edits(model, cache.tokenizer, recording, [Ablate(at="L1H1 z")])


def test_looking_changes_no_bit_of_a_session(cache: Cache) -> None:
    """Between the blocks: the compiled kernels serve it. Deeper, the torch code runs: equal to rounding."""
    own = (cache.recording, cache.model, cache.tokenizer)
    keep = [name for name in hook_names(cache.model.cfg) if "resid_p" in name or "block" not in name]
    watch = observe(cache.model, [], keep)
    again = replay(*own, observer=watch)
    assert differences(again, cache.recording) == []
    for name, live in watch.tensors().items():
        torch.testing.assert_close(live, cache[name][: len(live)], atol=1e-4, rtol=1e-4)
    deep = observe(cache.model, [], [name for name in hook_names(cache.model.cfg) if "pattern" not in name])
    assert replay(*own, observer=deep).decisions == cache.recording.decisions
    for name, live in deep.tensors().items():
        torch.testing.assert_close(live, cache[name][: len(live)], atol=1e-4, rtol=1e-4)


def test_a_hook_in_a_session_knows_where_it_stands(cache: Cache) -> None:
    session = Session(cache.model, cache.tokenizer, seed=cache.recording.seed)
    seen: list[Hook] = []
    for turn in range(3):
        session.step(*cache.recording.inputs.turn(turn))
    with hooked(session, [("blocks.2.attn.hook_pattern", lambda x, hook: seen.append(hook))]):
        for turn in range(3, 8):
            session.step(*cache.recording.inputs.turn(turn))
    session.step(*cache.recording.inputs.turn(8))
    table = cache.tokens
    for hook in seen:
        assert np.array_equal(hook.turn, table.turn[hook.pos]) and np.array_equal(hook.t, table.starts[hook.pos])
        assert np.array_equal(hook.tokens.rank, table.rank[hook.pos])
        assert np.array_equal(hook.tokens.decides, table.decides[hook.pos])
        held = hook.tap["key_pos"][0].numpy()
        assert np.array_equal(hook.keys.stream, table.stream[held]) and held.max() == hook.pos[-1]
    assert seen[0].pos[0] >= len(table.until(3)) - 1 and seen[-1].turn.max() == 7
    with pytest.raises(InterpError, match="only a pattern has"):
        _ = Hook("hook_embed", None, seen[0].piece, type(seen[0].tap)()).keys


def test_ablating_all_heads_is_ablating_their_output(cache: Cache) -> None:
    heads = [Ablate(at=At(hook="z", layer=1, head=head)) for head in range(2)]
    one = run_with_edits(cache.model, cache.tokenizer, cache.recording, heads)
    other = run_with_edits(cache.model, cache.tokenizer, cache.recording, [Ablate(at="L1 attn_out")])
    torch.testing.assert_close(one.logits, other.logits)


def test_a_cut_row_sums_to_one_over_what_is_left(cache: Cache) -> None:
    at = At.parse("L2H0 pattern of decision @t8..t12 <- audio_in @t0..t6")
    name = at.full_name(cache.model.cfg)
    edited = run_with_edits(cache.model, cache.tokenizer, cache.recording, [Cut(at=at)], names=[name])
    rows = at.positions(cache.tokens)
    assert edited.at(at).values.max() == 0.0
    np.testing.assert_allclose(edited[name][0, rows].sum(-1), 1.0, atol=1e-6)
    left = cache.pattern(2, rows)[0].clone()
    left[:, at.positions(cache.tokens, of_keys=True)] = 0
    torch.testing.assert_close(edited[name][0, rows], left / left.sum(-1, keepdim=True), atol=1e-6, rtol=1e-5)


def test_patching_a_recording_with_itself_changes_nothing(cache: Cache) -> None:
    patch = Patch.of(cache, "L1 resid_post @t5..t9")
    assert torch.equal(run_with_edits(cache.model, cache.tokenizer, cache.recording, [patch]).logits, cache.logits)


def test_mistakes_are_one_sentence(cache: Cache) -> None:
    def run(edit) -> None:
        run_with_edits(cache.model, cache.tokenizer, cache.recording, [edit])

    with pytest.raises(InterpError, match="has 64 numbers, not 3"):
        run(Steer(at="L1 resid_post", vector=(1.0, 2.0, 3.0)))
    with pytest.raises(InterpError, match="which head of z"):
        run(Steer(at="L1 z", vector=(1.0,)))
    with pytest.raises(InterpError, match="shares; cut or ablate"):
        run(Steer(at="L1 pattern", vector=(1.0,)))
    with pytest.raises(InterpError, match="not ablated but cut"):
        run(Ablate(at="L1 pattern"))
    with pytest.raises(InterpError, match="only a pattern can be cut"):
        run(Cut(at="L1 z"))
    with pytest.raises(InterpError, match="2 positions has 1 rows"):
        run(Patch(at="L1 z", pos=(1, 2), values=((0.0,),)))
    with pytest.raises(InterpError, match="whose keys are others"):
        Patch.of(cache, "L1 pattern")
    with pytest.raises(InterpError, match=r"turn 50 .* lies outside"):
        run(Ablate(at="L1 z @t50"))
    with pytest.raises(InterpError, match="these are no edits"):
        edits_from_json('[{"kind": "melt", "at": {}}]')
    with pytest.raises(InterpError, match="other keys in each forward"):
        watch = observe(cache.model, [], keep=["blocks.0.attn.hook_pattern"])
        replay(cache.recording, cache.model, cache.tokenizer, observer=watch)
        watch.tensors()
    assert torch.equal(run_with_cache(cache.model, cache.tokenizer, cache.recording, []).logits, cache.logits)

"""TransformerLens computes the same patterns, lens, patches and ablations on a dense toy with copied weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.transformer_lens_twin import bridge, check_twin, dense_model, hugging_face_twin
from tml_lab.config import TURN_SAMPLES, preset
from tml_lab.interp.cache import LAYER_HOOKS, Cache, full_name, hook_names, run_with_cache
from tml_lab.interp.decision import decision_lens
from tml_lab.interp.hooks import Hook, run_with_hooks
from tml_lab.interp.patching import Sweep, patch_heads, patch_turns
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.stream.recording import Inputs
from tml_lab.stream.session import Session

MISSING = "transformer-lens is not installed: pip install -e '.[rivals]'"
their_patching = pytest.importorskip("transformer_lens.patching", reason=MISSING)
their_analysis = pytest.importorskip("transformer_lens.tools.analysis", reason=MISSING)
pandas = pytest.importorskip("pandas", reason=MISSING)

TURNS, LAYERS, HEADS, WINDOW = 16, 4, 4, 64
CHANGED = (12, 13)  # turns in which something else is heard
CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 0.0}
# TransformerLens' q and k are those before their norm; its RMSNorm's `hook_normalized` is before the weight
RENAMED = {"attn.hook_q": "attn.hook_q_normed", "attn.hook_k": "attn.hook_k_normed"}


@dataclass(frozen=True)
class Pair:
    """Two recordings of one shape, and the twin: its word i is position i of the clean one, word `positions + i`
    of the corrupt one."""

    clean: Cache
    corrupt: Cache
    twin: Any

    @property
    def words(self) -> tuple[Tensor, Tensor]:
        """Both recordings as the twin reads them, each `[1, positions]`."""
        clean, corrupt = torch.arange(2 * len(self.clean.tokens)).chunk(2)
        return clean[None], corrupt[None]

    def difference(self, logits: Tensor, turn: int) -> Tensor:
        """`<speak>` less `<silent>` at a turn's decision, from logits `[1, positions, vocab]`."""
        ids = [self.clean.tokenizer.id(name) for name in (SPEAK, SILENT)]
        at = logits[0, int(self.clean.decision_positions[turn])]
        return at[ids[0]] - at[ids[1]]


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Four layers, three of them local, their window shorter than the recording."""
    tokenizer = TextTokenizer.build(["one", "two", "three", "remind", "me"])
    cfg = preset("pico").with_(
        vocab_size=tokenizer.size, n_layers=LAYERS, global_every=LAYERS, d_dense=96, n_heads=HEADS, n_kv_heads=2,
        d_head=16, window=WINDOW,
    )  # fmt: skip
    model = dense_model(cfg, seed=3)
    model.unembed.weight.mul_(10.0)  # decisions that differ by whole logits
    rng = np.random.default_rng(1)
    session = Session(model, tokenizer, seed=2)
    for turn in range(TURNS):
        frames = rng.integers(0, 256, (2, 80, 80, 3), np.uint8) if turn % 3 == 1 else None
        session.step(0.2 * rng.standard_normal(TURN_SAMPLES).astype(np.float32), frames)
    recording = session.recording()
    audio = recording.inputs.audio.copy()
    for turn in CHANGED:
        audio[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES] = 0.001 * rng.standard_normal(TURN_SAMPLES)
    other = replace(recording, inputs=Inputs(audio, recording.inputs.typed, recording.inputs.frames))
    clean, corrupt = (run_with_cache(model, tokenizer, each) for each in (recording, other))
    embedded = torch.cat([clean["hook_embed"], corrupt["hook_embed"]])
    return Pair(clean, corrupt, bridge(hugging_face_twin(model, embedded)))


@pytest.fixture(scope="module")
def theirs(pair: Pair) -> Any:
    """Their cache of the clean recording."""
    with torch.no_grad():
        return pair.twin.run_with_cache(pair.words[0])[1].remove_batch_dim()


def test_the_toy_is_worth_comparing(pair: Pair) -> None:
    """Else equal numbers would say little: windows that bind, heads that choose, decisions that differ."""
    assert len(pair.clean.tokens) > 2 * WINDOW
    for layer in range(LAYERS):
        top = pair.clean["pattern", layer][:, WINDOW:].max(-1).values  # [heads, queries]
        assert top.mean() > 5 / WINDOW
        beyond = pair.clean["pattern", layer].tril(-WINDOW).any()
        assert beyond == (layer == LAYERS - 1)
    at = pair.clean.decision_positions[CHANGED[1] :]
    assert (pair.clean.logits[at] - pair.corrupt.logits[at]).abs().max() > 0.1


def test_every_tensor_both_have_is_the_same(pair: Pair, theirs: Any) -> None:
    torch.testing.assert_close(theirs["hook_embed"], pair.clean["hook_embed"], **CLOSE)
    compared = 0
    for layer in range(LAYERS):
        for short, name in LAYER_HOOKS.items():
            if full_name(short, layer) not in hook_names(pair.clean.model.cfg):
                continue  # experts, which a dense layer has not
            tensor = theirs[f"blocks.{layer}.{RENAMED.get(name, name)}"]
            tensor = tensor.transpose(0, 1) if name in RENAMED else tensor  # heads come first there
            torch.testing.assert_close(tensor, pair.clean[short, layer], **CLOSE)
            compared += 1
    assert compared == 10 * LAYERS
    torch.testing.assert_close(theirs["ln_final.hook_out"], pair.clean["ln_final.hook_normalized"], **CLOSE)


def test_logits_are_the_same(pair: Pair) -> None:
    for cache, words in zip((pair.clean, pair.corrupt), pair.words, strict=True):
        torch.testing.assert_close(pair.twin(words)[0], cache.logits, **CLOSE)


def test_the_lens_is_the_same(pair: Pair) -> None:
    ids = [pair.clean.tokenizer.id(name) for name in (SPEAK, SILENT)]
    at = list(pair.clean.decision_positions)
    found = their_analysis.logit_lens(pair.twin, pair.words[0], positions=at, vocab=ids)
    values = found.values[1:, 0]  # [layers, turns, 2]; the first row is the embedding
    assert found.labels[-1] == "final_post" and len(values) == LAYERS
    lens = decision_lens(pair.clean)
    np.testing.assert_allclose(lens, (values[..., 0] - values[..., 1]).numpy(), **CLOSE)
    assert lens.std(1).min() > 0.05


def in_logits(sweep: Sweep) -> np.ndarray:
    """What a sweep measured before it was scaled to 0..1."""
    return sweep.restored * (sweep.clean - sweep.corrupt) + sweep.corrupt


def test_64_patches_are_the_same(pair: Pair) -> None:
    """The residual stream after each of 4 layers, at all positions of each of 16 turns."""
    turn = TURNS - 1
    ours = in_logits(patch_turns(pair.clean, pair.corrupt, turn, progress=False))
    positions = [pair.clean.tokens.where(turn=when) for when in range(TURNS)]

    def put(x: Tensor, index: list[int], clean: Tensor) -> Tensor:
        x[:, positions[index[1]]] = clean[:, positions[index[1]]]
        return x

    clean = pair.twin.run_with_cache(pair.words[0])[1]
    cells = pandas.DataFrame(list(product(range(LAYERS), range(TURNS))), columns=["layer", "turn"])
    found = their_patching.generic_activation_patch(
        pair.twin, pair.words[1], clean, partial(pair.difference, turn=turn), put, "resid_post", index_df=cells
    )
    assert found.shape == (64,) and ours.shape == (LAYERS, TURNS)
    np.testing.assert_allclose(ours, found.reshape(LAYERS, TURNS).numpy(), **CLOSE)
    assert ours.std() > 0.1


def test_patched_heads_are_the_same(pair: Pair) -> None:
    turn = CHANGED[1]
    ours = in_logits(patch_heads(pair.clean, pair.corrupt, turn, progress=False))
    clean = pair.twin.run_with_cache(pair.words[0])[1]
    found = their_patching.get_act_patch_attn_head_out_all_pos(
        pair.twin, pair.words[1], clean, partial(pair.difference, turn=turn)
    )
    np.testing.assert_allclose(ours, found.numpy(), **CLOSE)
    assert ours.std() > 0.01


@pytest.mark.parametrize("layer", range(LAYERS))
def test_logits_without_a_head_are_the_same(layer: int, pair: Pair) -> None:
    def silence(head: int) -> Callable[[Tensor, Any], Tensor]:
        def function(z: Tensor, hook: Hook | Any) -> Tensor:  # [positions, heads, d_head], theirs with a batch axis
            z[..., head, :] = 0.0
            return z

        return function

    name = full_name("z", layer)
    for head in range(HEADS):
        hooks = [(name, silence(head))]
        ours = run_with_hooks(pair.clean.model, pair.clean.tokenizer, pair.clean.recording, hooks).logits
        found = pair.twin.run_with_hooks(pair.words[0], fwd_hooks=hooks)[0]
        torch.testing.assert_close(found, ours, **CLOSE)
        assert (ours - pair.clean.logits).abs().max() > 1e-2


def test_a_model_that_transformer_lens_cannot_hold_is_named() -> None:
    with pytest.raises(ValueError, match="experts, relative bias has no twin"):
        check_twin(new_model("pico", TextTokenizer.build(["one"])))

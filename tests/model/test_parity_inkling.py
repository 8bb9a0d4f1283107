"""Our backbone and embeddings against a tiny `InklingForConditionalGeneration`, part by part and whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tml_lab.config import ModelConfig
from tml_lab.model.export import config_from_inkling, export_inkling, import_inkling, inkling_config
from tml_lab.model.interaction import InteractionModel, Tokens
from tml_lab.model.state import new_state
from tml_lab.model.tap import Tap
from tml_lab.signal.patches import frames_to_patches

modeling = pytest.importorskip("transformers.models.inkling.modeling_inkling")
configuration = pytest.importorskip("transformers.models.inkling.configuration_inkling")

IMAGE, AUDIO, VOCAB = 38, 37, 40
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB, "d_model": 32, "n_layers": 4, "global_every": 3, "n_heads": 4, "n_kv_heads": 2,
    "d_head": 8, "local_n_heads": 2, "local_n_kv_heads": 1, "local_d_head": 16, "window": 6, "rel_extent": 10,
    "d_rel": 4, "d_dense": 48, "n_experts": 6, "n_shared_experts": 2, "top_k": 2, "d_expert": 24,
    "mup_width_multiplier": 4.0, "flow_width": 32, "flow_depth": 1, "vocoder_width": 16, "vocoder_depth": 1,
    "hmlp_widths": (8, 16, 32),
}  # fmt: skip
VARIANTS = {
    "all sparse": {},
    "first layer dense, log scaling": {"n_dense_layers": 1, "log_scaling_n_floor": 5},
    "all dense, one head size": {"n_dense_layers": 4, "local_n_heads": None, "local_n_kv_heads": None,
                                 "local_d_head": None},
    "one shared expert, all local": {"n_shared_experts": 1, "global_every": 5},
    "all global, log scaling": {"global_every": 1, "log_scaling_n_floor": 3},
}  # fmt: skip
STREAM_TEXT, STREAM_VIDEO, STREAM_HEARD = 0, 1, 2


def inkling(cfg: ModelConfig) -> Any:
    """Transformers' model of these sizes in which every weight, bias and norm is random."""
    config = configuration.InklingConfig(**inkling_config(cfg), image_token_id=IMAGE, audio_token_id=AUDIO)
    planned = modeling.plan_out_scales(2, 40, 4, 3)
    planned[1:4, 3] = torch.tensor(cfg.hmlp_widths)  # the full widths are in test_parity_vision.py
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling, "plan_out_scales", lambda *_: planned)
        model = modeling.InklingForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            scale = (
                0.3 if name.endswith(("proj", "gate.weight", "correction_bias")) else weight.shape[-1] ** -0.5
            )
            weight.normal_(std=scale, generator=generator)
            if "norm" in name or "global_scale" in name:
                weight.mul_(0.3).add_(1.0)
    return model


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request: pytest.FixtureRequest) -> tuple[InteractionModel, Any]:
    """(ours, transformers') with the same weights."""
    cfg = ModelConfig(name="tiny", **(SIZES | VARIANTS[request.param]))
    theirs = inkling(cfg)
    ours = import_inkling(theirs.state_dict(), theirs.config.to_dict()).eval()
    assert ours.cfg == cfg
    ours.embed_stream.data.zero_()  # Inkling has none
    return ours, theirs


def layer_pairs(ours: InteractionModel, theirs: Any) -> list[tuple[Any, Any]]:
    """(our block, their layer), from the first to the last."""
    return list(zip(ours.backbone.blocks, theirs.model.language_model.layers, strict=True))


def masks(n: int, window: int) -> tuple[Tensor, Tensor]:
    """(causal, sliding) additive masks f32 `[1, 1, n, n]`."""
    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    causal = torch.zeros(n, n).masked_fill(distance < 0, -torch.inf)
    sliding = causal.masked_fill(distance >= window, -torch.inf)
    return causal[None, None], sliding[None, None]


@torch.no_grad()
def test_attention(pair: tuple[InteractionModel, Any]) -> None:
    ours, theirs = pair
    n = 23  # beyond the window, the extent and the log-scaling floor
    x = torch.randn(2, n, ours.cfg.d_model)
    causal, sliding = masks(n, ours.cfg.window)
    pos = torch.arange(n).expand(2, n)
    for block, layer in layer_pairs(ours, theirs):
        mask = sliding if layer.self_attn.is_sliding else causal
        expected, pattern = layer.self_attn(x, attention_mask=mask)
        tap = Tap()
        torch.testing.assert_close(block.attn(x, None, pos, tap), expected, atol=1e-5, rtol=1e-4)
        if pattern is not None:
            torch.testing.assert_close(tap["pattern"], pattern, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("n", [5, 40], ids=["few tokens", "many tokens"])
def test_mlp(pair: tuple[InteractionModel, Any], n: int) -> None:
    ours, theirs = pair
    x = torch.randn(1, n, ours.cfg.d_model)
    for block, layer in layer_pairs(ours, theirs):
        torch.testing.assert_close(block.mlp(x), layer.mlp(x), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_router_bias_chooses_but_does_not_weigh(pair: tuple[InteractionModel, Any]) -> None:
    ours, theirs = pair
    x = torch.randn(30, ours.cfg.d_model)
    for block, layer in layer_pairs(ours, theirs)[ours.cfg.n_dense_layers :]:
        weights, experts, shared = block.mlp.router(x)
        _, their_weights, their_experts, their_shared = layer.mlp.gate(x)
        assert torch.equal(experts.sort(-1).values, their_experts.sort(-1).values)
        torch.testing.assert_close(weights.sort(-1).values, their_weights.sort(-1).values)
        torch.testing.assert_close(shared, their_shared)


@torch.no_grad()
def test_short_convs(pair: tuple[InteractionModel, Any]) -> None:
    ours, theirs = pair
    for block, layer in layer_pairs(ours, theirs):
        pairs = [
            (block.attn.k_conv, layer.self_attn.k_sconv),
            (block.attn.v_conv, layer.self_attn.v_sconv),
            (block.attn_conv, layer.attn_sconv),
            (block.mlp_conv, layer.mlp_sconv),
        ]
        for conv, their_conv in pairs:
            x = torch.randn(2, 9, len(conv.weight))
            y, _ = conv(x)
            torch.testing.assert_close(y, their_conv(x), atol=1e-6, rtol=1e-5)
            assert (y - x).abs().max() > 0.1  # the convolution does something


@torch.no_grad()
def test_embeddings(pair: tuple[InteractionModel, Any]) -> None:
    ours, theirs = pair
    tokens = torch.randint(0, VOCAB, (9,))
    torch.testing.assert_close(
        ours.embed_text(tokens), theirs.get_input_embeddings()(tokens), atol=1e-6, rtol=1e-5
    )
    bins = torch.randint(0, 16, (5, 80))
    expected = theirs.model.audio_tower(bins).last_hidden_state
    torch.testing.assert_close(ours.embed_audio(bins), expected, atol=1e-5, rtol=1e-5)
    patches = torch.randn(3, 2, 40, 40, 3)
    expected = theirs.model.vision_tower(patches).pooler_output.flatten(1)
    torch.testing.assert_close(ours.embed_video(patches), expected, atol=1e-5, rtol=1e-5)


def prompt() -> tuple[Tensor, Tensor, Tensor]:
    """Text, 8 frames of sound, a picture of 12 patches, text again: `(ids [30], bins [8, 80], patches)`."""
    ids = torch.randint(0, IMAGE - 2, (30,))
    ids[4:12], ids[14:26] = AUDIO, IMAGE
    frames = torch.randint(0, 256, (2, 120, 160, 3), dtype=torch.uint8)
    return ids, torch.randint(0, 16, (8, 80)), frames_to_patches(frames)


def our_embeddings(model: InteractionModel, ids: Tensor, bins: Tensor, patches: Tensor) -> Tensor:
    """`[1, n, d_model]`, by the way that a session takes; without the clock."""
    stream = torch.full_like(ids, STREAM_TEXT)
    stream[ids == AUDIO], stream[ids == IMAGE] = STREAM_HEARD, STREAM_VIDEO
    none = torch.zeros_like(ids)
    return model.embed(Tokens(stream, ids, none, none.bool(), heard=bins, patches=patches))[None]


@torch.no_grad()
def test_logits_of_text_sound_and_picture(pair: tuple[InteractionModel, Any]) -> None:
    ours, theirs = pair
    ids, bins, patches = prompt()
    expected = theirs(input_ids=ids[None], audio_input_ids=bins[None], pixel_values=patches).logits
    assert expected.std() > 0.05
    logits = ours.text_logits(ours(our_embeddings(ours, ids, bins, patches)))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 5])
def test_streaming_gives_their_offline_logits(pair: tuple[InteractionModel, Any], chunk: int) -> None:
    ours, theirs = pair
    ids, bins, patches = prompt()
    expected = theirs(input_ids=ids[None], audio_input_ids=bins[None], pixel_values=patches).logits
    x = our_embeddings(ours, ids, bins, patches)
    state = new_state(ours.cfg)
    hidden = torch.cat([ours(piece, state) for piece in x.split(chunk, dim=1)], dim=1)
    torch.testing.assert_close(ours.text_logits(hidden), expected, atol=1e-4, rtol=1e-4)


def test_there_and_back_is_bitwise(pair: tuple[InteractionModel, Any]) -> None:
    ours, theirs = pair
    state, config = export_inkling(ours)
    their_state = theirs.state_dict()
    assert state.keys() == their_state.keys()
    assert all(torch.equal(state[name], their_state[name]) for name in state)
    again = import_inkling(state, config, into=InteractionModel(ours.cfg))
    fresh = InteractionModel(ours.cfg).state_dict()
    kept = import_inkling(state, config, into=again).state_dict()
    for name, tensor in ours.state_dict().items():
        if name.startswith(("embed_voice", "embed_stream", "clock", "flow", "vocoder", "listen")):
            assert kept[name].shape == fresh[name].shape  # ours alone: not in Inkling, not overwritten
        else:
            assert torch.equal(kept[name], tensor), name
    assert config_from_inkling(config) == ours.cfg


def test_what_does_not_fit_is_named() -> None:
    cfg = ModelConfig(name="tiny", **SIZES)
    state, config = export_inkling(InteractionModel(cfg))
    with pytest.raises(ValueError, match=r"has no 'lm_head\.weight'"):
        import_inkling({k: t for k, t in state.items() if k != "lm_head.weight"}, config)
    with pytest.raises(ValueError, match="1 unknown tensors, first surplus"):
        import_inkling(state | {"surplus": torch.zeros(1)}, config)
    import_inkling(state | {"model.mtp.0.weight": torch.zeros(1)}, config)  # left out by design
    odd = config | {
        "text_config": config["text_config"] | {"layer_types": ["hybrid", *["hybrid_sliding"] * 3]}
    }
    with pytest.raises(ValueError, match="cannot follow this Inkling's layer_types"):
        config_from_inkling(odd)
    with pytest.raises(ValueError, match="16 bins"):
        config_from_inkling(config | {"audio_config": {"n_mel_bins": 80, "mel_vocab_size": 256}})
    with pytest.raises(ValueError, match="epsilon"):
        export_inkling(InteractionModel(cfg.with_(rms_eps=1e-5)))

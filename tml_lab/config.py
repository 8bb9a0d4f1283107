"""Sizes of everything: the time grid, the signal, and the model presets.

The time grid is the project's law: one turn is 0.2 s = 3200 samples = 4 dMel frames = 2 video frames.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

SAMPLE_RATE = 16_000  # samples per second, everywhere
TURN_SECONDS = 0.2
TURN_SAMPLES = 3_200
FRAMES_PER_TURN = 4  # dMel frames of 50 ms
N_MELS = 80
N_BINS = 16
VIDEO_FPS = 10
VIDEO_FRAMES_PER_TURN = 2
PATCH = 40
VIDEO_SIZE = (160, 120)  # width, height of the default camera picture: 12 patches a turn

OUT_HOP = 200  # samples: the 12.5 ms hop of the output mel
OUT_FRAMES_PER_TURN = 16
OUT_TOKENS_PER_TURN = 4
OUT_FRAMES_PER_TOKEN = 4
OUT_DIM = OUT_FRAMES_PER_TOKEN * N_MELS  # 320 numbers in one audio_out token

CLOCK_DIGITS = 6  # decimal digits of the absolute turn number: 10^6 turns = 55 hours


@dataclass(frozen=True)
class ModelConfig:
    """Every size of an interaction model (Inkling's `InklingTextConfig` names are given in brackets).

    `layer_types` is derived: layer i attends globally when `(i + 1) % global_every == 0`, else inside
    `window` tokens.
    """

    name: str = "nano"
    d_model: int = 256
    n_layers: int = 6
    global_every: int = 5  # of six layers the fifth: what it finds far back, the sixth can still work on
    n_heads: int = 4
    n_kv_heads: int = 2
    d_head: int = 64
    local_n_heads: int | None = None  # [swa_num_attention_heads]; None: as n_heads
    local_n_kv_heads: int | None = None
    local_d_head: int | None = None
    window: int = 256  # tokens a local layer sees, itself included [sliding_window_size]
    rel_extent: int = 1024  # tokens of relative bias in global layers
    d_rel: int = 16
    log_scaling_n_floor: int | None = None
    log_scaling_alpha: float = 0.1
    conv_kernel: int = 4
    n_dense_layers: int = 0  # the first layers may carry a dense MLP [dense_mlp_idx]
    d_dense: int = 768  # inner width of a dense MLP
    n_experts: int = 10
    n_shared_experts: int = 1
    top_k: int = 2
    d_expert: int = 256
    route_scale: float = 3.0
    rms_eps: float = 1e-6
    mup_width_multiplier: float = 1.0
    vocab_size: int = 0  # filled in from the tokenizer when 0
    hmlp_widths: tuple[int, int, int] = (32, 64, 128)
    listen_layer: int = 3  # the block after which the listening head reads what was heard
    flow_width: int = 320
    flow_depth: int = 3
    flow_steps: int = 4
    flow_temperature: float = 1.0  # of the noise the mouth starts from; less than in training blurs what it says
    vocoder_width: int = 192
    vocoder_depth: int = 6
    global_budget: int = 4096  # tokens a global layer keeps while streaming
    n_sinks: int = 16  # of which the first ones are never dropped

    @property
    def layer_types(self) -> tuple[str, ...]:
        """`local` or `global` for each layer."""
        return tuple("global" if (i + 1) % self.global_every == 0 else "local" for i in range(self.n_layers))

    def heads(self, layer: int) -> tuple[int, int, int]:
        """`(n_heads, n_kv_heads, d_head)` of one layer."""
        if self.layer_types[layer] == "global":
            return self.n_heads, self.n_kv_heads, self.d_head
        return (
            self.local_n_heads or self.n_heads,
            self.local_n_kv_heads or self.n_kv_heads,
            self.local_d_head or self.d_head,
        )

    @property
    def heads_by_layer(self) -> tuple[int, ...]:
        """How many query heads each layer has, `[n_layers]`."""
        return tuple(self.heads(layer)[0] for layer in range(self.n_layers))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ModelConfig:
        """Read back `to_dict`. Raises ValueError naming a field this version does not know."""
        unknown = set(values) - set(ModelConfig.__dataclass_fields__)
        if unknown:
            raise ValueError(f"model config has unknown fields {sorted(unknown)}; was it written by a newer version?")
        values = dict(values)
        values["hmlp_widths"] = tuple(values.get("hmlp_widths", (32, 64, 128)))
        return ModelConfig(**values)

    def with_(self, **changes: Any) -> ModelConfig:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class TrainConfig:
    """How one preset is trained; times are measured on two CPU cores."""

    steps: int = 4000
    minutes: float | None = None  # a run that must end sooner: then the schedule follows the clock
    budget: int = 5_000  # tokens in one process's batch
    cuda_budget: int = 49_152  # the same on a GPU
    lr_muon: float = 0.02
    lr_adamw: float = 2e-3
    lr_tables: float = 5e-4  # embeddings of sound
    lr_fast: float = 1e-2  # norm gains, ShortConv taps, relative bias
    weight_decay: float = 0.05
    warmup: int = 60
    cooldown: float = 0.6  # share of the run over which the learning rate falls to zero
    silent_weight: float = 0.3  # of a silent decision at first; it rises to 1 while the learning rate falls
    word_weight: float = 4.0  # what is said is decided once in many turns
    onset_weight: float = 1.0  # of the decision to begin, at first; it falls to 1 while the learning rate falls
    late_share: float = 0.0  # of the replies that begin later than they are due, though it was right to begin
    flow_weight: float = 0.3
    listen_weight: float = 0.5
    sight_weight: float = 1.0  # of what is made out in scenes, where a lesson has any
    ahead_weight: float = 0.0  # of the word after the one that is said
    curriculum: tuple[tuple[str, float], ...] = (("easy", 0.2), ("all", 1.0))  # lesson, until which share of the run
    n_episodes: int = 20_000  # rendered for each lesson
    camera_share: float = 0.3  # of the batches (of episodes that are not too long) in which the camera is on
    camera_budget: float = 0.5  # of a batch's tokens where it is on and shows nothing: a CPU is slow with long rows
    as_shipped_from: float = 0.75  # from this share of the run on the model computes with the few bits it is shipped in
    vocoder_steps: int = 3000
    only: tuple[str, ...] = ()  # parameters whose names begin so learn and all others stay; empty: all learn
    seed: int = 0

    def going_on(self) -> TrainConfig:
        """How a checkpoint that is trained already is trained further: lower rates that fall nearly from the start,
        silence at its full weight sooner, less for the mouth, more for the ears; its vocoder stays as it is. The camera
        is on more often: the first nano lost count of time with it."""
        return replace(
            self, lr_muon=0.6 * self.lr_muon, lr_adamw=0.6 * self.lr_adamw, lr_tables=0.6 * self.lr_tables,
            lr_fast=0.5 * self.lr_fast, cooldown=0.925, warmup=80, silent_weight=0.6, flow_weight=0.2,
            listen_weight=0.7, camera_share=0.45, vocoder_steps=0,
        )  # fmt: skip


PRESETS: dict[str, ModelConfig] = {
    "pico": ModelConfig(
        name="pico", d_model=64, n_layers=3, listen_layer=1, global_every=3, n_heads=2, n_kv_heads=1, d_head=32,
        window=64, rel_extent=256, n_experts=4, d_expert=64, hmlp_widths=(8, 16, 32), flow_width=96, flow_depth=2,
        vocoder_width=64, vocoder_depth=2, global_budget=1024,
    ),
    # what the eyes learn first can be learned by few weights, but for the eye itself, which has more of them
    "pico_eyes": ModelConfig(
        name="pico_eyes", d_model=128, n_layers=4, listen_layer=1, global_every=4, n_heads=4, n_kv_heads=2, d_head=32,
        window=256, rel_extent=1024, n_experts=4, d_expert=128, flow_width=96, flow_depth=2,
        vocoder_width=64, vocoder_depth=2,
    ),
    "nano": ModelConfig(),
    "mini": ModelConfig(
        name="mini", d_model=512, n_layers=12, n_heads=8, n_kv_heads=2, d_head=64, window=512, n_experts=32,
        top_k=4, d_expert=512, hmlp_widths=(64, 160, 512), flow_width=512, flow_depth=4, global_budget=8192,
    ),
    # the released configurations, for arithmetic (what is not published: the flow head and the vocoder)
    "inkling_small": ModelConfig(
        name="inkling_small", d_model=4096, n_layers=42, global_every=6, n_heads=32, n_kv_heads=8, d_head=128,
        window=512, log_scaling_n_floor=128_000, n_experts=256, n_shared_experts=2, top_k=6, d_expert=2048,
        n_dense_layers=2, d_dense=16_384, route_scale=8.0, mup_width_multiplier=16.0, vocab_size=201_024,
        hmlp_widths=(128, 320, 4800), flow_width=1024, flow_depth=6, global_budget=1_048_576,
    ),
    "inkling": ModelConfig(
        name="inkling", d_model=6144, n_layers=66, global_every=6, n_heads=64, n_kv_heads=8, d_head=128,
        local_n_kv_heads=16, window=512, n_experts=256, n_shared_experts=2, top_k=6, d_expert=3072,
        n_dense_layers=2, d_dense=24_576, route_scale=8.0, mup_width_multiplier=24.0, vocab_size=201_024,
        hmlp_widths=(128, 320, 4800), flow_width=1024, flow_depth=6, global_budget=1_048_576,
    ),
}

TRAIN_PRESETS: dict[str, TrainConfig] = {
    "pico": TrainConfig(steps=300, curriculum=(("easy", 1.0),), n_episodes=600, vocoder_steps=0),
    "pico_eyes": TrainConfig(
        steps=12_000, budget=2_500, warmup=60, n_episodes=12_000,
        curriculum=(("glimpses", 0.2), ("typed_sight", 1.0)), silent_weight=0.5, onset_weight=2.0, late_share=0.3,
        flow_weight=0.4, listen_weight=0.3, sight_weight=1.5, ahead_weight=0.5, vocoder_steps=0,
    ),
    "nano": TrainConfig(),
    "mini": TrainConfig(steps=20_000, budget=48_000, cuda_budget=98_304, n_episodes=200_000),
}


def preset(name: str) -> ModelConfig:
    """The model configuration of that name. Raises ValueError listing the names there are."""
    if name not in PRESETS:
        raise ValueError(f"no preset is called {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]

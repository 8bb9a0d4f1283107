"""What a model costs, counted and not measured: parameters, operations, bytes, and the time these take at least.

Nothing here builds a model, so that 975 billion parameters cost no more than nano's nine million. A test compares the
counts with real modules, ours and transformers' Inkling, to the last parameter.
"""

from __future__ import annotations

from dataclasses import dataclass

from tml_lab.config import FRAMES_PER_TURN, OUT_TOKENS_PER_TURN, TURN_SECONDS, ModelConfig
from tml_lab.model.state import MAX_CHUNK, reach


def attention_parameters(cfg: ModelConfig, layer: int) -> int:
    """Of one attention layer: projections, the bank of bias profiles, two ShortConvs, two norms."""
    n_heads, n_kv_heads, d_head = cfg.heads(layer)
    extent = cfg.window if cfg.layer_types[layer] == "local" else cfg.rel_extent
    rows = 2 * n_heads * d_head + 2 * n_kv_heads * d_head + n_heads * cfg.d_rel  # q and o, k and v, r
    return rows * cfg.d_model + cfg.d_rel * extent + 2 * n_kv_heads * d_head * cfg.conv_kernel + 2 * d_head


def expert_parameters(cfg: ModelConfig) -> int:
    """Of one expert: gate, up and down."""
    return 3 * cfg.d_model * cfg.d_expert


def block_parameters(cfg: ModelConfig, layer: int, experts: float | None = None) -> float:
    """Of one block when `experts` of its routed experts count; None: all of them.

    With `experts=cfg.top_k` these are the parameters that one token reads. Shared experts always count.
    """
    around = 2 * cfg.d_model + 2 * cfg.d_model * cfg.conv_kernel  # two norms, two ShortConvs
    around += attention_parameters(cfg, layer)
    if layer < cfg.n_dense_layers:
        return around + 3 * cfg.d_model * cfg.d_dense + 1
    routed = cfg.n_experts if experts is None else experts
    router = (cfg.n_experts + cfg.n_shared_experts) * cfg.d_model + 1
    return around + router + (routed + cfg.n_shared_experts) * expert_parameters(cfg)


def backbone_parameters(cfg: ModelConfig, experts: float | None = None) -> float:
    """Of all blocks and the final norm (see `block_parameters`)."""
    return cfg.d_model + sum(block_parameters(cfg, layer, experts) for layer in range(cfg.n_layers))


def text_parameters(cfg: ModelConfig, experts: float | None = None) -> float:
    """Of the backbone with its text: embedding, the embedding's norm, unembedding."""
    return backbone_parameters(cfg, experts) + 2 * cfg.vocab_size * cfg.d_model + cfg.d_model


def experts_touched(n_experts: int, top_k: int, tokens: int) -> float:
    """How many different experts `tokens` tokens need between them, on average, if each chooses at random."""
    missed = (1 - top_k / n_experts) ** tokens  # the chance that nobody wants a given expert
    return n_experts * (1 - missed)


def passes(typed: int, patches: int, words: int, speaking: bool) -> list[int]:
    """Tokens of each forward of one turn, in order; each has to wait for the one before (see `Session`).

    The first takes what the turn before left over, what was typed, seen and heard, and yields the decision. Speaking,
    the decision, each word and all but the last token of the own voice are passes of one token each.
    """
    first = 1 + typed + patches + FRAMES_PER_TURN
    return [first] + ([1] * (1 + words + OUT_TOKENS_PER_TURN - 1) if speaking else [])


def ring_slots(cfg: ModelConfig, layer: int) -> int:
    """Positions for which a streaming layer has room."""
    window, sinks = reach(cfg, layer)
    return sinks + window + MAX_CHUNK - 1


def kept_bytes(positions: int, slots: int, n_kv_heads: int, d_head: int, number: float = 2) -> float:
    """Keys and values that one layer keeps of a session after `positions` tokens, in bytes; `number`: bytes of one."""
    return 2 * min(positions, slots) * n_kv_heads * d_head * number


def cache_bytes(cfg: ModelConfig, positions: int, number: float = 2) -> float:
    """Keys and values of a session in all layers, in bytes."""
    layers = range(cfg.n_layers)
    return sum(kept_bytes(positions, ring_slots(cfg, i), *cfg.heads(i)[1:], number) for i in layers)


def tokens_of_turns(turns: float, patches: int, speaking: float = 0.0) -> float:
    """Positions after `turns` turns with `patches` patches in each, a share `speaking` of which is spoken in."""
    silent = patches + FRAMES_PER_TURN + 1
    return turns * (silent + speaking * OUT_TOKENS_PER_TURN)


def pass_flops(cfg: ModelConfig, tokens: float, keys: int) -> float:
    """Operations of a forward over `tokens` tokens, each of which sees up to `keys` positions: 2 a weight, 4 a key."""
    products = 2 * backbone_parameters(cfg, cfg.top_k) * tokens
    scores = 0
    for layer in range(cfg.n_layers):
        n_heads, _, d_head = cfg.heads(layer)
        scores += 4 * n_heads * d_head * min(keys, sum(reach(cfg, layer)))
    return products + scores * tokens


def pass_bytes(
    cfg: ModelConfig, tokens: int, sessions: int, positions: int, weight: float = 2, number: float = 2
) -> float:
    """Bytes that a forward reads: weights once for all, of routed experts those that somebody needs, and each
    session's keys and values.

    Args: tokens: of all sessions together; positions: that a session has behind it; weight, number: bytes of one
    weight, of one number in the cache.
    """
    touched = experts_touched(cfg.n_experts, cfg.top_k, tokens)
    return weight * backbone_parameters(cfg, touched) + sessions * cache_bytes(cfg, positions, number)


@dataclass(frozen=True)
class Device:
    """What a machine can do at best: bytes of memory, bytes a second from it, operations a second in bfloat16, bytes a
    second to its neighbours in one direction, watts."""

    name: str
    memory: float
    bandwidth: float
    flops: float
    link: float
    watts: float

    def least_seconds(self, n_bytes: float, flops: float) -> float:
        """The roofline (Williams et al. 2009): whichever takes longer, reading or computing."""
        return max(n_bytes / self.bandwidth, flops / self.flops)


# the makers' sheets, without sparsity; an H200 gave 4.2 TB/s and 764 TFLOP/s when we measured one
DEVICES = {
    device.name: device
    for device in (
        Device("H100", 80e9, 3.35e12, 989e12, 450e9, 700),
        Device("H200", 141e9, 4.8e12, 989e12, 450e9, 700),
        Device("B200", 180e9, 7.7e12, 2250e12, 900e9, 1000),
        Device("GB300", 279e9, 8e12, 2500e12, 900e9, 1400),
    )
}


@dataclass(frozen=True)
class Load:
    """What each of many sessions does in a turn, on average.

    Args: patches: seen in each turn; positions: that each session has behind it; speaking: share of turns; words: in a
    spoken turn; weight, number: bytes of one weight, of one number in the cache; hop: seconds that one step of an
    exchange between devices takes, whatever its size.
    """

    patches: int = 12
    positions: int = 60_000
    speaking: float = 0.2
    words: int = 1
    weight: float = 2.0
    number: float = 2.0
    hop: float = 2e-6


def exchange_seconds(n_bytes: float, device: Device, devices: int, way: str, hop: float) -> float:
    """One sum over `devices` devices: by a `ring`, or in the `switch` (NVLS); see docs/collectives.md."""
    if devices == 1:
        return 0.0
    ways = {"ring": (2 * (devices - 1) / devices, 2 * (devices - 1)), "switch": (1 + 1 / devices, 2)}
    if way not in ways:
        raise ValueError(f"there is no way {way!r} to add over devices: choose one of {', '.join(ways)}.")
    traffic, steps = ways[way]
    return traffic * n_bytes / device.link + steps * hop


def turn_seconds(
    cfg: ModelConfig, device: Device, devices: int, sessions: int, load: Load, way: str = "switch"
) -> float:
    """The least time for one turn of `sessions` sessions together, on a model divided over `devices` devices.

    All sessions take the first pass; those that speak take the others, one after the other. Two sums over the devices
    a layer.
    """
    total = 0.0
    speakers = sessions * load.speaking
    for i, tokens in enumerate(passes(0, load.patches, load.words, True)):
        who = sessions if i == 0 else max(1.0, speakers)
        if not load.speaking and i:
            break
        n_bytes = pass_bytes(cfg, round(who * tokens), round(who), load.positions, load.weight, load.number)
        total += device.least_seconds(n_bytes / devices, pass_flops(cfg, who * tokens, load.positions) / devices)
        moved = who * tokens * cfg.d_model * 2
        total += 2 * cfg.n_layers * exchange_seconds(moved, device, devices, way, load.hop)
    return total


def sessions_held(cfg: ModelConfig, device: Device, devices: int, load: Load, way: str = "switch") -> int:
    """The most sessions whose turn fits into 0.2 s and whose caches fit beside the weights; 0: not even one."""
    room = device.memory * devices - load.weight * text_parameters(cfg)
    least, most = 0, int(max(0.0, room) // cache_bytes(cfg, load.positions, load.number))
    while least < most:  # the time grows with the sessions: halve the interval
        middle = (least + most + 1) // 2
        if turn_seconds(cfg, device, devices, middle, load, way) <= TURN_SECONDS:
            least = middle
        else:
            most = middle - 1
    return least

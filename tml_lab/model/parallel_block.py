"""One block over several processes, with the bits of one: tensor, expert and sequence parallelism in miniature.

An all-reduce adds in whatever order the ring or the switch likes, and another number of processes is another order.
Here a sum is cut into parts that the *model* names (a head, an expert, a quarter of a shared expert), every part is
computed whole by one process, the parts are gathered instead of reduced, and everybody adds them up in the same order.
One process does the same with all parts its own. `docs/collectives.md` counts what that costs, and what a switch does
instead.

For inference in float32 on a CPU, one sequence from position 0; heads, experts and tokens are divided, norms are done
on each process's own tokens. The parameters are views of a whole `Block`: a miniature divides work, not memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.matmul import matmul
from tml_kernels.split_attention import split_attention
from tml_lab.model.attention import Attention
from tml_lab.model.backbone import Block
from tml_lab.model.moe import MoE

SHARED_PARTS = 4  # into which a shared expert's inner width is cut: as many processes may take part in it


class Group:
    """The processes that share a block: this one's `rank` among `world`, alone where nobody else joined."""

    def __init__(self) -> None:
        joined = dist.is_initialized()
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if joined else (0, 1)

    def mine(self, n: int) -> range:
        """Which of `n` parts this process computes: neighbours, shared out as evenly as it goes."""
        edge = [n * r // self.world for r in range(self.world + 1)]
        return range(edge[self.rank], edge[self.rank + 1])

    def gather(self, parts: Sequence[Tensor], n: int, like: Tensor) -> list[Tensor]:
        """All `n` parts in order, given this process's own (see `mine`); all have the shape of `like`."""
        if self.world == 1:
            return list(parts)
        most = -(-n // self.world)
        own = like.new_zeros(most, *like.shape)
        for i, part in enumerate(parts):
            own[i] = part
        everyone = [torch.empty_like(own) for _ in range(self.world)]
        dist.all_gather(everyone, own)
        counts = [n * (r + 1) // self.world - n * r // self.world for r in range(self.world)]
        return [part for theirs, count in zip(everyone, counts, strict=True) for part in theirs[:count]]

    def gather_rows(self, own: Tensor, n: int) -> Tensor:
        """The whole `[n, d]`, given this process's own rows."""
        if self.world == 1:
            return own
        blank = own.new_zeros(1, own.shape[1])
        return torch.cat(self.gather(list(own.split(1)), n, blank))


def in_order(parts: Sequence[Tensor]) -> Tensor:
    """The sum, from left to right."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


def sequence_parallel_norm(norm: torch.nn.Module, x: Tensor, group: Group) -> Tensor:
    """`norm` of `x [n, d]`: each process does its own tokens, then all have all."""
    rows = group.mine(len(x))
    return group.gather_rows(norm(x[rows.start : rows.stop]), len(x))


def head_out(attn: Attention, x: Tensor, head: int) -> Tensor:
    """What one head adds to the output: `x [n, d_model]` -> `[n, d_model]`."""
    d, n = attn.d_head, len(x)
    kv = head * attn.n_kv_heads // attn.n_heads
    of_q, of_kv = slice(head * d, (head + 1) * d), slice(kv * d, (kv + 1) * d)
    of_r = slice(head * attn.d_rel, (head + 1) * attn.d_rel)
    q = attn.q_norm(matmul(x, attn.q_proj.weight[of_q])) / d  # [n, d_head]
    k = attn.k_norm(_conv(matmul(x, attn.k_proj.weight[of_kv]), attn.k_conv.weight[of_kv]))
    v = _conv(matmul(x, attn.v_proj.weight[of_kv]), attn.v_conv.weight[of_kv])
    by_distance = matmul(matmul(x, attn.r_proj.weight[of_r]), attn.rel.T.contiguous())  # [n, extent]
    behind = torch.arange(n)[:, None] - torch.arange(n)  # [n, n]
    bias = by_distance.gather(1, behind.clamp(0, attn.extent - 1)).masked_fill(behind >= attn.extent, 0.0)
    unseen = (behind < 0) | ((behind >= attn.window) & (torch.arange(n) >= attn.sinks))
    mixed = split_attention(q, k, v, bias.masked_fill(unseen, -torch.inf))
    return matmul(mixed, attn.o_proj.weight[:, of_q].contiguous())


def attention(attn: Attention, x: Tensor, group: Group) -> Tensor:
    """Tensor parallel: each process its own heads, the heads added in order. Raises ValueError for log scaling."""
    if attn.n_floor is not None:
        raise ValueError("the parallel block has no log scaling of scores: use a configuration without it")
    own = [head_out(attn, x, head) for head in group.mine(attn.n_heads)]
    return in_order(group.gather(own, attn.n_heads, torch.empty_like(x)))


def experts(mlp: MoE, x: Tensor, group: Group) -> Tensor:
    """Expert parallel: each process its own experts and parts of the shared ones, all added in order."""
    scores = matmul(x, mlp.router.weight).split([mlp.n_experts, mlp.n_shared], dim=-1)
    chosen = torch.topk(scores[0].sigmoid() + mlp.router.bias, mlp.router.top_k, dim=-1, sorted=False).indices
    kept = torch.zeros_like(scores[0]).scatter_(1, chosen, 1.0)
    score = torch.cat([scores[0].sigmoid() * kept, scores[1].sigmoid()], 1)  # [n, n_experts + n_shared], 0: not chosen
    weight = score / in_order(score.split(1, dim=1)) * (mlp.router.route_scale * mlp.router.global_scale)

    def part(i: int) -> Tensor:
        if i < mlp.n_experts:
            said = _swiglu(x, mlp.gate_up[i], mlp.down[i])
            return torch.where(weight[:, i, None] > 0, said * weight[:, i, None], 0.0)
        shared, quarter = divmod(i - mlp.n_experts, SHARED_PARTS)
        inner = mlp.shared_down.shape[2]
        some = slice(quarter * inner // SHARED_PARTS, (quarter + 1) * inner // SHARED_PARTS)
        gate_up = torch.cat([half[some] for half in mlp.shared_gate_up[shared].chunk(2)])
        said = _swiglu(x, gate_up, mlp.shared_down[shared][:, some].contiguous())
        return said * weight[:, mlp.n_experts + shared, None]

    n_parts = mlp.n_experts + SHARED_PARTS * mlp.n_shared
    return in_order(group.gather([part(i) for i in group.mine(n_parts)], n_parts, torch.empty_like(x)))


@torch.no_grad()
def parallel_block(block: Block, x: Tensor, group: Group) -> Tensor:
    """`x [n, d_model]`, the same in every process -> the residual after the block, the same bits for any `world`."""
    if not isinstance(block.mlp, MoE):
        raise ValueError("the parallel block divides experts: this one has a dense MLP")
    attn = attention(block.attn, sequence_parallel_norm(block.attn_norm, x, group), group)
    x = x + _conv(attn, block.attn_conv.weight)
    mlp = experts(block.mlp, sequence_parallel_norm(block.mlp_norm, x, group), group)
    return x + _conv(mlp, block.mlp_conv.weight)


def _conv(x: Tensor, weight: Tensor) -> Tensor:
    """ShortConv from the beginning: `x [n, channels]`, `weight [channels, kernel]`."""
    kernel = weight.shape[1]
    padded = F.pad(x, (0, 0, kernel - 1, 0))  # [kernel - 1 + n, channels]
    return in_order([x, *(padded[j : j + len(x)] * weight[:, j] for j in range(kernel))])


def _swiglu(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = matmul(x, gate_up).chunk(2, dim=-1)  # [n, inner] twice
    return matmul(F.silu(gate) * up, down)

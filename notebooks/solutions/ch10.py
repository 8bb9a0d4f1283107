"""Solutions of chapter 10's puzzles, kernel and launch in one function; each stands where the stub stood."""

import torch
import triton
import triton.language as tl


def rms_norm_triton(x, weight, eps):
    @triton.jit
    def kernel(x_ptr, weight_ptr, out_ptr, d, eps, BLOCK: tl.constexpr):
        row, column = tl.program_id(0), tl.arange(0, BLOCK)
        inside = column < d
        value = tl.load(x_ptr + row * d + column, mask=inside, other=0.0)
        mean_square = tl.sum(value * value, axis=0) / d
        weight = tl.load(weight_ptr + column, mask=inside, other=0.0)
        tl.store(out_ptr + row * d + column, weight * value * tl.rsqrt(mean_square + eps), mask=inside)

    rows = x.reshape(-1, x.shape[-1]).contiguous()
    out = torch.empty_like(rows)
    kernel[(len(rows),)](rows, weight, out, rows.shape[1], eps, BLOCK=triton.next_power_of_2(rows.shape[1]))
    return out.view(x.shape)


def matmul_triton(x, weight):
    @triton.jit
    def kernel(x_ptr, w_ptr, out_ptr, n, rows, cols, TILE: tl.constexpr):
        token = tl.program_id(0) * TILE + tl.arange(0, TILE)
        row = tl.program_id(1) * TILE + tl.arange(0, TILE)
        total = tl.zeros((TILE, TILE), dtype=tl.float32)
        for start in range(0, cols, TILE):
            column = start + tl.arange(0, TILE)
            x_mask = (token[:, None] < n) & (column[None, :] < cols)
            w_mask = (row[:, None] < rows) & (column[None, :] < cols)
            x = tl.load(x_ptr + token[:, None] * cols + column[None, :], mask=x_mask, other=0.0)
            w = tl.load(w_ptr + row[:, None] * cols + column[None, :], mask=w_mask, other=0.0)
            total = tl.dot(x, tl.trans(w), total, input_precision="ieee")
        mask = (token[:, None] < n) & (row[None, :] < rows)
        tl.store(out_ptr + token[:, None] * rows + row[None, :], total, mask=mask)

    out = torch.empty(len(x), len(weight), device=x.device)
    grid = (triton.cdiv(len(x), 16), triton.cdiv(len(weight), 16))
    kernel[grid](x.contiguous(), weight.contiguous(), out, len(x), len(weight), x.shape[1], TILE=16)
    return out


def experts_triton(x, weight, chosen, gate_up, down):
    @triton.jit
    def kernel(x_ptr, weight_ptr, chosen_ptr, gate_up_ptr, down_ptr, out_ptr, d, inner, top_k, D: tl.constexpr):
        """One program a token, one inner row at a time: slow, short and right."""
        token, column = tl.program_id(0), tl.arange(0, D)
        inside = column < d
        x = tl.load(x_ptr + token * d + column, mask=inside, other=0.0)
        total = tl.zeros((D,), dtype=tl.float32)
        for k in range(top_k):
            expert = tl.load(chosen_ptr + token * top_k + k)
            factor = tl.load(weight_ptr + token * top_k + k)
            for i in range(inner):
                at = (expert * 2 * inner + i) * d + column
                g = tl.sum(x * tl.load(gate_up_ptr + at, mask=inside, other=0.0), axis=0)
                u = tl.sum(x * tl.load(gate_up_ptr + at + inner * d, mask=inside, other=0.0), axis=0)
                hidden = g / (1.0 + tl.exp(-g)) * u
                into = tl.load(down_ptr + (expert * d + column) * inner + i, mask=inside, other=0.0)
                total += hidden * factor * into
        tl.store(out_ptr + token * d + column, total, mask=inside)

    chosen, slot = chosen.sort(dim=1)
    weight = weight.gather(1, slot).contiguous()
    out = torch.empty_like(x)
    args = (x.contiguous(), weight, chosen, gate_up.contiguous(), down.contiguous(), out)
    kernel[(len(x),)](*args, x.shape[1], down.shape[2], chosen.shape[1], D=triton.next_power_of_2(x.shape[1]))
    return out

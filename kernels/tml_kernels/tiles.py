"""Tiles of products in vectors that are written out, not hoped for: some rows of weights, or keys, times some tokens.

A compiler that turns a sum into vectors picks their length and number by what else the loop holds, and so by how many
rows and tokens share it. Here the order is stated once, for every tile and every machine: 32 running sums, each over
every 32nd column; then `((s1 + s0) + s2) + s3` of the four groups of eight, then halves of what is left. Which tile a
number falls into changes how fast it comes, and no bit of it. What lies beyond the last whole 32 is the caller's.

Written as LLVM's instructions (Numba's `intrinsic`), which become the widest vectors that the machine has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tml_kernels import vectors as v
from tml_kernels.vectors import I32, I64, LANES, WIDE, WIDE_REGISTERS, F, Value

MIXED = 2 * LANES if WIDE_REGISTERS else LANES  # columns of values at a time: what registers hold


def product_tile(rows: int, tokens: int) -> Any:
    """`tile(weight, i, x, t, out, at)`: `out[t + k, at + r] = weight[i + r] . x[t + k]`, of whole `LANES`.

    For r below `rows` and k below `tokens`. `weight [.., cols]`, `x [.., cols]` and `out [.., ..]` are float32 and
    C-contiguous, and nothing checks the bounds.
    """

    @intrinsic
    def tile(typing_context, weight, i, x, t, out, at):
        def generate(context, builder, signature, arguments):
            w, x, out = (v.array(context, builder, signature, arguments, n) for n in (0, 2, 4))
            _product(builder, w, arguments[1], x, arguments[3], out, arguments[5], rows, tokens)
            return context.get_dummy_value()

        return types.void(weight, types.intp, x, types.intp, out, types.intp), generate

    return tile


def mixing_tile(tokens: int, lanes: int = LANES) -> Any:
    """`tile(weight, t, first, last, values, seen, out, column)`: weighted values are added to `lanes` columns of out.

    For k below `tokens` and the keys `first .. last`, whole fours of them:
    `out[t + k] += (weight[t + k, i] * values[seen[i]] + ..[i + 1]) + (..[i + 2] + ..[i + 3])`, nothing fused.
    """

    @intrinsic
    def tile(typing_context, weight, t, first, last, values, seen, out, column):
        def generate(context, builder, signature, arguments):
            weight, values, seen, out = (v.array(context, builder, signature, arguments, n) for n in (0, 4, 5, 6))
            t, first, last, column = (arguments[n] for n in (1, 2, 3, 7))
            _mixing(builder, weight, t, first, last, values, seen, out, column, tokens, lanes)
            return context.get_dummy_value()

        index = types.intp
        return types.void(weight, index, index, index, values, seen, out, index), generate

    return tile


def _product(
    builder: Any, weight: Any, i: Value, x: Any, t: Value, out: Any, at: Value, rows: int, tokens: int
) -> None:
    """The instructions of `product_tile`."""
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(WIDE, [WIDE] * 3), f"llvm.fmuladd.v{LANES}f32"
    )
    whole = builder.and_(builder.extract_value(x.shape, 1), I64(-LANES))
    w_rows = [v.row(builder, weight, i, r) for r in range(rows)]
    x_rows = [v.row(builder, x, t, k) for k in range(tokens)]
    loop = v.Loop(builder, I64(0), whole, LANES, [ir.Constant(WIDE, [0.0] * LANES)] * (rows * tokens))
    values = [v.load(builder, row, loop.j) for row in x_rows]
    new = []
    for r in range(rows):
        w = v.load(builder, w_rows[r], loop.j)
        new += [builder.call(fma, [w, values[k], loop.carried[r * tokens + k]]) for k in range(tokens)]
    sums = loop.close(new)
    for k in range(tokens):
        v.store(builder, _totals(builder, sums[k::tokens]), v.row(builder, out, t, k), at)


def _totals(builder: Any, sums: Sequence[Value]) -> Value:
    """The sums over the lanes of each of the vectors, in one vector."""
    eights = []
    for s in sums:
        a, b, c, d = (v.pick(builder, s, s, range(8 * g, 8 * g + 8)) for g in range(4))
        eights.append(builder.fadd(builder.fadd(builder.fadd(b, a), c), d))
    while len(eights) > 1:  # side by side in one vector
        size = eights[0].type.count
        eights = [v.pick(builder, *eights[p : p + 2], range(2 * size)) for p in range(0, len(eights), 2)]
    flat, size = eights[0], 8
    while size > 1:
        size //= 2
        low = [2 * size * r + lane for r in range(len(sums)) for lane in range(size)]
        high = [lane + size for lane in low]
        flat = builder.fadd(v.pick(builder, flat, flat, low), v.pick(builder, flat, flat, high))
    return flat


def _mixing(
    builder: Any, weight: Any, t: Value, first: Value, last: Value, values: Any, seen: Any, out: Any, column: Value,
    tokens: int, lanes: int,
) -> None:  # fmt: skip
    """The instructions of `mixing_tile`."""
    weights = [v.row(builder, weight, t, k) for k in range(tokens)]
    outs = [v.row(builder, out, t, k) for k in range(tokens)]
    width = builder.extract_value(values.shape, 1)
    loop = v.Loop(builder, first, last, 4, [v.load(builder, row, column, F, lanes) for row in outs])
    at = [builder.add(loop.j, I64(key)) for key in range(4)]
    slots = [builder.load(builder.gep(seen.data, [i])) for i in at]
    rows = [builder.gep(values.data, [builder.mul(slot, width)]) for slot in slots]
    said = [v.load(builder, row, column, F, lanes) for row in rows]  # 4 x lanes
    new = []
    for row, so_far in zip(weights, loop.carried, strict=True):
        a, b, c, d = (builder.fmul(v.spread(builder, row, i, lanes), heard) for i, heard in zip(at, said, strict=True))
        new.append(builder.fadd(so_far, builder.fadd(builder.fadd(a, b), builder.fadd(c, d))))
    for row, total in zip(outs, loop.close(new), strict=True):
        v.store(builder, total, row, column)


@intrinsic
def largest(typing_context, x):
    """The largest of the whole `LANES` of `x [n]`, or its first number: a maximum has no order. None may be NaN."""

    def generate(context, builder, signature, arguments):
        x = v.array(context, builder, signature, arguments, 0)
        whole = builder.and_(builder.extract_value(x.shape, 0), I64(-LANES))
        loop = v.Loop(builder, I64(0), whole, LANES, [v.spread(builder, x.data, I64(0))])
        more = v.load(builder, x.data, loop.j)
        (top,) = loop.close([_larger(builder, more, *loop.carried)])
        while (size := top.type.count // 2) > 1:
            top = _larger(builder, *(v.pick(builder, top, top, range(at, at + size)) for at in (0, size)))
        return _larger(builder, *(builder.extract_element(top, I32(lane)) for lane in (0, 1)))

    return types.float32(x), generate


def _larger(builder: Any, a: Value, b: Value) -> Value:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


product_4x2, product_4x1 = product_tile(4, 2), product_tile(4, 1)
product_1x2, product_1x1 = product_tile(1, 2), product_tile(1, 1)
mixing_2, mixing_1 = mixing_tile(2), mixing_tile(1)
mixing_wide_2, mixing_wide_1 = mixing_tile(2, MIXED), mixing_tile(1, MIXED)

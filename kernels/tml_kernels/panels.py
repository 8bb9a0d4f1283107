"""Products whose lanes are outputs: weights, or keys, in panels of 32 outputs side by side.

The order of additions is the one that `tiles` states, number by number, so that either file may make any number. There
the lanes are columns, and in the end each output has to be summed across them, which for few columns costs more than
the products. Here every output has a lane, and each of its 32 running sums is finished before the next one begins: no
number ever leaves its lane. The price is that weights must lie in the order of their use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from tml_kernels import vectors as v
from tml_kernels.vectors import I8, I64, LANES, WIDE_REGISTERS, F, Value

OUTS = 32  # outputs of a panel
GROUPS = (1, 0, 2, 3)  # of eight columns, in the order in which their sums are added
AT_ONCE = OUTS if WIDE_REGISTERS else OUTS // 2  # outputs: what registers hold


def columns_of(cols: int) -> NDArray[np.int64]:
    """The columns of a panel, one under the other; those from `cols` on are filled up with zeros."""
    whole = cols // LANES * LANES
    return np.concatenate([_order(0, whole), _order(whole, whole + LANES if cols > whole else whole)])


def _order(first: int, last: int) -> NDArray[np.int64]:
    columns = np.arange(first, last).reshape(-1, 4, 8)  # [rounds, groups, eight]
    return columns[:, GROUPS].transpose(2, 1, 0).reshape(-1)


def panel_tile(tokens: int) -> Any:
    """`tile(panel, scale, x, t, out, at)`: `out[t + k, at + o] = panel[:, o] . x[t + k]`, for all `OUTS`.

    For k below `tokens`, of the whole `LANES` of `x [.., cols]`. `panel [cols, OUTS]` is float32, or int8 to be
    multiplied by `scale [OUTS]`. All C-contiguous, and nothing checks the bounds.
    """

    @intrinsic
    def tile(typing_context, panel, scale, x, t, out, at):
        def generate(context, builder, signature, arguments):
            panel, scale, x, out = (v.array(context, builder, signature, arguments, n) for n in (0, 1, 2, 4))
            cols = builder.and_(builder.extract_value(x.shape, 1), I64(-LANES))
            rows = [v.row(builder, x, arguments[3], k) for k in range(tokens)]
            integers = signature.args[0].dtype == types.int8
            for lane in range(0, OUTS, AT_ONCE):
                scales = v.load(builder, scale.data, I64(lane), F, AT_ONCE) if integers else None
                sums = _sums(builder, builder.gep(panel.data, [I64(lane)]), scales, rows, cols)
                for k, total in enumerate(sums):
                    v.store(builder, total, v.row(builder, out, arguments[3], k), builder.add(arguments[5], I64(lane)))
            return context.get_dummy_value()

        return types.void(panel, scale, x, types.intp, out, types.intp), generate

    return tile


def _sums(builder: Any, place: Value, scales: Value | None, rows: Sequence[Value], cols: Value) -> list[Value]:
    """`AT_ONCE` outputs for each of these rows of x: `place` is where the first number of the first one lies."""
    vector = ir.VectorType(F, AT_ONCE)
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{AT_ONCE}f32"
    )
    zeros, nothing = ([ir.Constant(vector, [number] * AT_ONCE)] * len(rows) for number in (0.0, -0.0))
    with builder.goto_entry_block():
        eights = builder.alloca(ir.ArrayType(ir.ArrayType(vector, len(rows)), 8))
    one = len(rows) == 1
    eight = v.Loop(builder, I64(0), I64(8), 1, [place], unrolled=one)
    group = v.Loop(builder, I64(0), I64(4), 1, [*eight.carried, *nothing], unrolled=one)  # -0 + s is s, be it -0
    place, *totals = group.carried
    first_two = builder.icmp_signed("<", group.j, I64(2))  # change places, see `GROUPS`
    column = builder.add(builder.shl(builder.xor(group.j, builder.zext(first_two, I64)), I64(3)), eight.j)
    loop = v.Loop(builder, column, cols, LANES, [place, *zeros], unrolled=one)
    place, *sums = loop.carried
    w = v.load(builder, place, I64(0), F if scales is None else I8, AT_ONCE)
    if scales is not None:
        w = builder.fmul(builder.sitofp(w, vector), scales)
    numbers = [v.spread(builder, row, loop.j, AT_ONCE) for row in rows]
    sums = [builder.call(fma, [w, x, so_far]) for x, so_far in zip(numbers, sums, strict=True)]
    place, *sums = loop.close([builder.gep(place, [I64(OUTS)]), *sums])
    place, *totals = group.close([place, *map(builder.fadd, totals, sums)])
    for k, total in enumerate(totals):
        builder.store(total, builder.gep(eights, [I64(0), eight.j, I64(k)]))
    eight.close([place])
    return [
        _halved(builder, [builder.load(builder.gep(eights, [I64(0), I64(e), I64(k)])) for e in range(8)])
        for k in range(len(rows))
    ]


def _halved(builder: Any, sums: Sequence[Value]) -> Value:
    """The sum of eight, by halves."""
    while len(sums) > 1:
        half = len(sums) // 2
        sums = [builder.fadd(a, b) for a, b in zip(sums[:half], sums[half:], strict=True)]
    return sums[0]


@intrinsic
def lay(typing_context, source, rows, panel):
    """`lay(source, rows, panel)`: panel `[cols, OUTS]` of the rows `rows [OUTS]` of source `[.., cols]`.

    Of whole `LANES` of cols. All are C-contiguous, and nothing checks the bounds.
    """

    def generate(context, builder, signature, arguments):
        source, rows, panel = (v.array(context, builder, signature, arguments, n) for n in range(3))
        rounds = builder.sdiv(builder.extract_value(source.shape, 1), I64(LANES))
        outputs = v.Loop(builder, I64(0), I64(OUTS), 8, [], unrolled=False)
        places = [builder.load(builder.gep(rows.data, [builder.add(outputs.j, I64(o))])) for o in range(8)]
        eight = [v.row(builder, source, place, 0) for place in places]
        each = v.Loop(builder, I64(0), rounds, 1, [], unrolled=False)
        for at, g in enumerate(GROUPS):
            column = builder.add(builder.mul(each.j, I64(LANES)), I64(8 * g))
            square = _turned(builder, [v.load(builder, row, column, F, 8) for row in eight])
            for e in range(8):
                row = builder.add(builder.mul(rounds, I64(4 * e + at)), each.j)
                v.store(builder, square[e], v.row(builder, panel, row, 0), outputs.j)
        each.close([])
        outputs.close([])
        return context.get_dummy_value()

    return types.void(source, rows, panel), generate


def _turned(builder: Any, rows: Sequence[Value]) -> Sequence[Value]:
    """Eight rows of eight as eight columns."""
    for step in (1, 2, 4):  # squares of so many change places
        low = [lane if not lane & step else lane - step + 8 for lane in range(8)]
        high = [lane + step for lane in low]
        new = list(rows)
        for i in range(8):
            if not i & step:
                new[i] = v.pick(builder, rows[i], rows[i + step], low)
                new[i + step] = v.pick(builder, rows[i], rows[i + step], high)
        rows = new
    return rows


tile_1, tile_2, tile_3, tile_4, tile_5, tile_6 = (panel_tile(tokens) for tokens in range(1, 7))

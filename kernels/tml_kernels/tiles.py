"""Tiles of a matrix product in vectors that are written out, not hoped for: some rows of weights times some tokens.

A compiler that turns a sum into vectors picks their length and number by what else the loop holds, and so by how many
rows and tokens share it. Here the order is stated once, for every tile and every machine: 32 running sums, each over
every 32nd column; then `((s1 + s0) + s2) + s3` of the four groups of eight, then halves of what is left. Which tile a
number falls into changes how fast it comes, and no bit of it. Columns beyond the last whole 32 are the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32
ROWS = 4  # of weights in a tile


def _tile(tokens: int, integers: bool) -> Callable[..., Any]:
    """`tile(weight, scale, i, x, t, out)`: `out[t : t + tokens, i : i + ROWS]`, of the columns in whole `LANES`.

    `weight [rows, cols]` is float32, or int8 to be multiplied by `scale [rows]`; `x [n, cols]`, `out [n, rows]`: float32.
    """

    @intrinsic
    def tile(typing_context, weight, scale, i, x, t, out):
        def generate(context, builder, signature, arguments):
            make = [context.make_array(ty)(context, builder, arg) if isinstance(ty, types.Array) else arg
                    for ty, arg in zip(signature.args, arguments, strict=True)]  # fmt: skip
            _emit(builder, *make, tokens, integers)
            return context.get_dummy_value()

        return types.void(weight, scale, types.intp, x, types.intp, out), generate

    return tile


F = ir.FloatType()
WIDE = ir.VectorType(F, LANES)
I32, I64 = ir.IntType(32), ir.IntType(64)


def _emit(builder: Any, weight: Any, scale: Any, i: Any, x: Any, t: Any, out: Any, tokens: int, integers: bool) -> None:
    """The tile's instructions."""
    cols = builder.extract_value(x.shape, 1)
    whole = builder.and_(cols, I64(-LANES))

    def row_of(array: Any, first: Any, k: int, width: Any) -> Any:  # pointer to the start of a row
        return builder.gep(array.data, [builder.mul(builder.add(first, I64(k)), width)])

    def load(pointer: Any, j: Any, kind: Any) -> Any:  # LANES numbers from column j on
        return builder.load(builder.bitcast(builder.gep(pointer, [j]), ir.VectorType(kind, LANES).as_pointer()), align=1)

    rows = [row_of(weight, i, r, cols) for r in range(ROWS)]
    xs = [row_of(x, t, k, cols) for k in range(tokens)]
    scales = []
    for r in range(ROWS if integers else 0):
        one = builder.load(builder.gep(scale.data, [builder.add(i, I64(r))]))
        scales.append(_spread(builder, one))
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(WIDE, [WIDE] * 3), f"llvm.fmuladd.v{LANES}f32")
    zero = ir.Constant(WIDE, [0.0] * LANES)

    before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.cbranch(builder.icmp_signed(">", whole, I64(0)), loop, after)
    builder.position_at_end(loop)
    j = builder.phi(I64)
    sums = [[builder.phi(WIDE) for _ in range(ROWS)] for _ in range(tokens)]
    new = [list(each) for each in sums]
    values = [load(pointer, j, F) for pointer in xs]
    for r in range(ROWS):
        if integers:
            w = builder.fmul(builder.sitofp(load(rows[r], j, ir.IntType(8)), WIDE), scales[r])
        else:
            w = load(rows[r], j, F)
        for k in range(tokens):
            new[k][r] = builder.call(fma, [w, values[k], sums[k][r]])
    following = builder.add(j, I64(LANES))
    builder.cbranch(builder.icmp_signed("<", following, whole), loop, after)
    j.add_incoming(I64(0), before)
    j.add_incoming(following, loop)
    for k in range(tokens):
        for r in range(ROWS):
            sums[k][r].add_incoming(zero, before)
            sums[k][r].add_incoming(new[k][r], loop)
    builder.position_at_end(after)
    ends = [[builder.phi(WIDE) for _ in range(ROWS)] for _ in range(tokens)]
    for k in range(tokens):
        for r in range(ROWS):
            ends[k][r].add_incoming(zero, before)
            ends[k][r].add_incoming(new[k][r], loop)
    width = builder.extract_value(out.shape, 1)
    for k in range(tokens):
        place = builder.gep(row_of(out, t, k, width), [i])
        builder.store(_totals(builder, ends[k]), builder.bitcast(place, ir.VectorType(F, ROWS).as_pointer()), align=4)


def _pick(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:  # lanes of a, then of b, in one vector
    mask = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return builder.shuffle_vector(a, b, mask)


def _spread(builder: Any, number: Any) -> Any:  # one number in every lane
    single = builder.insert_element(ir.Constant(WIDE, ir.Undefined), number, I32(0))
    return _pick(builder, single, single, [0] * LANES)


def _totals(builder: Any, sums: list[Any]) -> Any:
    """The sums over the lanes of each of `ROWS` vectors, in one vector."""
    eight = []
    for s in sums:
        a, b, c, d = (_pick(builder, s, s, list(range(8 * g, 8 * g + 8))) for g in range(4))
        eight.append(builder.fadd(builder.fadd(builder.fadd(b, a), c), d))
    size, joined = 8, eight
    both = [_pick(builder, *joined[p : p + 2], list(range(16))) for p in (0, 2)]
    flat = _pick(builder, *both, list(range(32)))  # 4 rows x 8
    while size > 1:
        half = size // 2
        low = [r * size + lane for r in range(ROWS) for lane in range(half)]
        flat = builder.fadd(
            _pick(builder, flat, flat, low), _pick(builder, flat, flat, [lane + half for lane in low])
        )
        size = half
    return flat


tile_1, tile_2 = _tile(1, False), _tile(2, False)
tile_small_1, tile_small_2 = _tile(1, True), _tile(2, True)

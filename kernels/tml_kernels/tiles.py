"""Tiles of products in vectors that are written out, not hoped for: some rows of weights, or keys, times some tokens.

A compiler that turns a sum into vectors picks their length and number by what else the loop holds, and so by how many
rows and tokens share it. Here the order is stated once, for every tile and every machine: 32 running sums, each over
every 32nd column; then `((s1 + s0) + s2) + s3` of the four groups of eight, then halves of what is left. Which tile a
number falls into changes how fast it comes, and no bit of it. What lies beyond the last whole 32 is the caller's.

Written as LLVM's instructions (Numba's `intrinsic`), which become the widest vectors that the machine has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32
F = ir.FloatType()
WIDE = ir.VectorType(F, LANES)
I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
Value = Any  # of LLVM


def product_tile(rows: int, tokens: int, integers: bool = False) -> Any:
    """`tile(weight, scale, i, x, t, out, at)`: `out[t + k, at + r] = weight[i + r] . x[t + k]`, of whole `LANES`.

    For r below `rows` and k below `tokens`. `weight [.., cols]` is float32, or int8 to be multiplied by `scale [..]`;
    `x [.., cols]` and `out [.., ..]` are float32; all C-contiguous, and nothing checks the bounds.
    """

    @intrinsic
    def tile(typing_context, weight, scale, i, x, t, out, at):
        def generate(context, builder, signature, arguments):
            w, s, x, out = (_array(context, builder, signature, arguments, n) for n in (0, 1, 3, 5))
            _product(builder, w, s, arguments[2], x, arguments[4], out, arguments[6], rows, tokens, integers)
            return context.get_dummy_value()

        return types.void(weight, scale, types.intp, x, types.intp, out, types.intp), generate

    return tile


def mixing_tile(tokens: int) -> Any:
    """`tile(weight, t, first, last, values, seen, out, column)`: weighted values are added to `LANES` columns of out.

    For k below `tokens` and the keys `first .. last`, whole fours of them:
    `out[t + k] += (weight[t + k, i] * values[seen[i]] + ..[i + 1]) + (..[i + 2] + ..[i + 3])`, nothing fused.
    """

    @intrinsic
    def tile(typing_context, weight, t, first, last, values, seen, out, column):
        def generate(context, builder, signature, arguments):
            weight, values, seen, out = (_array(context, builder, signature, arguments, n) for n in (0, 4, 5, 6))
            t, first, last, column = (arguments[n] for n in (1, 2, 3, 7))
            _mixing(builder, weight, t, first, last, values, seen, out, column, tokens)
            return context.get_dummy_value()

        index = types.intp
        return types.void(weight, index, index, index, values, seen, out, index), generate

    return tile


def _array(context: Any, builder: Any, signature: Any, arguments: Sequence[Value], n: int) -> Any:
    return context.make_array(signature.args[n])(context, builder, arguments[n])


def _row(builder: Any, array: Any, i: Value, k: int) -> Value:
    """Pointer to row `i + k` of a two-dimensional array."""
    width = builder.extract_value(array.shape, 1)
    return builder.gep(array.data, [builder.mul(builder.add(i, I64(k)), width)])


def _load(builder: Any, row: Value, j: Value, kind: Any = F, lanes: int = LANES) -> Value:
    """Numbers from column `j` of a row on."""
    place = builder.bitcast(builder.gep(row, [j]), ir.VectorType(kind, lanes).as_pointer())
    return builder.load(place, align=1 if kind is I8 else 4)


def _store(builder: Any, value: Value, row: Value, j: Value) -> None:
    builder.store(value, builder.bitcast(builder.gep(row, [j]), value.type.as_pointer()), align=4)


def _spread(builder: Any, row: Value, i: Value) -> Value:
    """The number in column `i` of a row, in every lane."""
    number = builder.load(builder.gep(row, [i]))
    single = builder.insert_element(ir.Constant(WIDE, ir.Undefined), number, I32(0))
    return _pick(builder, single, single, [0] * LANES)


def _pick(builder: Any, a: Value, b: Value, lanes: Iterable[int]) -> Value:
    """Lanes of `a`, and behind them of `b`, as a vector."""
    chosen = list(lanes)
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(chosen)), chosen))


class _Loop:
    """`for j in range(first, last, step)` in LLVM: `with` its body; what is carried from one round to the next."""

    def __init__(self, builder: Any, first: Value, last: Value, step: int, carried: Sequence[Value]) -> None:
        self.builder, self.last, self.step, self.start = builder, last, step, list(carried)
        self.before = builder.block
        self.body, self.after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", first, last), self.body, self.after)
        builder.position_at_end(self.body)
        self.j = builder.phi(I64)
        self.j.add_incoming(first, self.before)
        self.carried = [builder.phi(value.type) for value in carried]

    def close(self, new: Sequence[Value]) -> list[Value]:
        """End the body, which made `new` of what was carried; what is carried at the end."""
        builder, end = self.builder, self.builder.block
        following = builder.add(self.j, I64(self.step))
        builder.cbranch(builder.icmp_signed("<", following, self.last), self.body, self.after)
        self.j.add_incoming(following, end)
        builder.position_at_end(self.after)
        results = [builder.phi(value.type) for value in new]
        for phi, result, start, value in zip(self.carried, results, self.start, new, strict=True):
            for each in (phi, result):
                each.add_incoming(start, self.before)
                each.add_incoming(value, end)
        return results


def _product(
    builder: Any, weight: Any, scale: Any, i: Value, x: Any, t: Value, out: Any, at: Value, rows: int, tokens: int,
    integers: bool,
) -> None:  # fmt: skip
    """The instructions of `product_tile`."""
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(WIDE, [WIDE] * 3), f"llvm.fmuladd.v{LANES}f32"
    )
    whole = builder.and_(builder.extract_value(x.shape, 1), I64(-LANES))
    w_rows = [_row(builder, weight, i, r) for r in range(rows)]
    x_rows = [_row(builder, x, t, k) for k in range(tokens)]
    scales = [_spread(builder, scale.data, builder.add(i, I64(r))) for r in range(rows if integers else 0)]
    loop = _Loop(builder, I64(0), whole, LANES, [ir.Constant(WIDE, [0.0] * LANES)] * (rows * tokens))
    values = [_load(builder, row, loop.j) for row in x_rows]
    new = []
    for r in range(rows):
        if integers:
            w = builder.fmul(builder.sitofp(_load(builder, w_rows[r], loop.j, I8), WIDE), scales[r])
        else:
            w = _load(builder, w_rows[r], loop.j)
        new += [builder.call(fma, [w, values[k], loop.carried[r * tokens + k]]) for k in range(tokens)]
    sums = loop.close(new)
    for k in range(tokens):
        _store(builder, _totals(builder, sums[k::tokens]), _row(builder, out, t, k), at)


def _totals(builder: Any, sums: Sequence[Value]) -> Value:
    """The sums over the lanes of each of the vectors, in one vector."""
    eights = []
    for s in sums:
        a, b, c, d = (_pick(builder, s, s, range(8 * g, 8 * g + 8)) for g in range(4))
        eights.append(builder.fadd(builder.fadd(builder.fadd(b, a), c), d))
    while len(eights) > 1:  # side by side in one vector
        size = eights[0].type.count
        eights = [_pick(builder, *eights[p : p + 2], range(2 * size)) for p in range(0, len(eights), 2)]
    flat, size = eights[0], 8
    while size > 1:
        size //= 2
        low = [2 * size * r + lane for r in range(len(sums)) for lane in range(size)]
        high = [lane + size for lane in low]
        flat = builder.fadd(_pick(builder, flat, flat, low), _pick(builder, flat, flat, high))
    return flat


def _mixing(
    builder: Any, weight: Any, t: Value, first: Value, last: Value, values: Any, seen: Any, out: Any, column: Value,
    tokens: int,
) -> None:  # fmt: skip
    """The instructions of `mixing_tile`."""
    weights = [_row(builder, weight, t, k) for k in range(tokens)]
    outs = [_row(builder, out, t, k) for k in range(tokens)]
    width = builder.extract_value(values.shape, 1)
    loop = _Loop(builder, first, last, 4, [_load(builder, row, column) for row in outs])
    at = [builder.add(loop.j, I64(key)) for key in range(4)]
    slots = [builder.load(builder.gep(seen.data, [i])) for i in at]
    said = [
        _load(builder, builder.gep(values.data, [builder.mul(slot, width)]), column) for slot in slots
    ]  # 4 x LANES
    new = []
    for row, so_far in zip(weights, loop.carried, strict=True):
        a, b, c, d = (builder.fmul(_spread(builder, row, i), v) for i, v in zip(at, said, strict=True))
        new.append(builder.fadd(so_far, builder.fadd(builder.fadd(a, b), builder.fadd(c, d))))
    for row, total in zip(outs, loop.close(new), strict=True):
        _store(builder, total, row, column)


product_4x2, product_4x1 = product_tile(4, 2), product_tile(4, 1)
product_1x2, product_1x1 = product_tile(1, 2), product_tile(1, 1)
integer_4x2, integer_4x1 = product_tile(4, 2, integers=True), product_tile(4, 1, integers=True)
mixing_2, mixing_1 = mixing_tile(2), mixing_tile(1)

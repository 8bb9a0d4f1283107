"""LLVM's instructions for loops over vectors of float32, as `tiles` and `panels` write them.

Numba's `intrinsic` takes them as they are: no compiler chooses how a sum is grouped, nor how wide a vector is in the
end (LLVM splits what is wider than the machine's).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llvmlite import binding, ir

LANES = 32
F = ir.FloatType()
WIDE = ir.VectorType(F, LANES)
I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
WIDE_REGISTERS = bool(binding.get_host_cpu_features().get("avx512f"))  # how much is held in them, no bit of it
Value = Any  # of LLVM


def array(context: Any, builder: Any, signature: Any, arguments: Sequence[Value], n: int) -> Any:
    return context.make_array(signature.args[n])(context, builder, arguments[n])


def row(builder: Any, array: Any, i: Value, k: int) -> Value:
    """Pointer to row `i + k` of a two-dimensional array."""
    width = builder.extract_value(array.shape, 1)
    return builder.gep(array.data, [builder.mul(builder.add(i, I64(k)), width)])


def load(builder: Any, row: Value, j: Value, kind: Any = F, lanes: int = LANES) -> Value:
    """Numbers from column `j` of a row on."""
    place = builder.bitcast(builder.gep(row, [j]), ir.VectorType(kind, lanes).as_pointer())
    return builder.load(place, align=1 if kind is I8 else 4)


def store(builder: Any, value: Value, row: Value, j: Value) -> None:
    builder.store(value, builder.bitcast(builder.gep(row, [j]), value.type.as_pointer()), align=4)


def spread(builder: Any, row: Value, i: Value, lanes: int = LANES) -> Value:
    """The number in column `i` of a row, in every lane."""
    number = builder.load(builder.gep(row, [i]))
    single = builder.insert_element(ir.Constant(ir.VectorType(F, lanes), ir.Undefined), number, I32(0))
    return pick(builder, single, single, [0] * lanes)


def pick(builder: Any, a: Value, b: Value, lanes: Iterable[int]) -> Value:
    """Lanes of `a`, and behind them of `b`, as a vector."""
    chosen = list(lanes)
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(chosen)), chosen))


class Loop:
    """`for j in range(first, last, step)` in LLVM, and what is carried from one round to the next.

    `unrolled`: whether LLVM may write the body several times over, which wins little for a long one, and compiles for
    longer.
    """

    def __init__(
        self, builder: Any, first: Value, last: Value, step: int, carried: Sequence[Value], unrolled: bool = True
    ) -> None:
        self.builder, self.last, self.step, self.start = builder, last, step, list(carried)
        self.unrolled = unrolled
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
        back = builder.cbranch(builder.icmp_signed("<", following, self.last), self.body, self.after)
        if not self.unrolled:
            back.set_metadata("llvm.loop", _as_it_is(builder.module))
        self.j.add_incoming(following, end)
        builder.position_at_end(self.after)
        results = [builder.phi(value.type) for value in new]
        for phi, result, start, value in zip(self.carried, results, self.start, new, strict=True):
            for each in (phi, result):
                each.add_incoming(start, self.before)
                each.add_incoming(value, end)
        return results


def _as_it_is(module: Any) -> Any:
    """What tells LLVM to write a loop's body once."""
    told = module.add_metadata([module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])])
    if told.operands[0] is not told:  # its first operand is itself, or it is no loop's
        told.operands = (told, *told.operands)
    return told

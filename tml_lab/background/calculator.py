"""A calculator that never evaluates code: it walks the syntax tree of an arithmetic expression."""

from __future__ import annotations

import ast
import asyncio
import math
import operator
from collections.abc import AsyncGenerator, Callable, Generator, Iterator

MAX_LENGTH = 200  # characters
MAX_DIGITS = 60  # of any result: keeps every single step short

Number = int | float
_BINARY: dict[type[ast.operator], tuple[str, Callable[[Number, Number], Number]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
}
_UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class ToolError(ValueError):
    """A tool cannot do what it was asked; the message is one sentence that says why."""


class Calculator:
    """The built-in tool: `+ - * / // % **` and brackets. Streams each step, the result last."""

    name = "calculator"

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """`"2 + 3 * 4"` -> `"3 * 4 = 12"`, `"2 + 12 = 14"`, `"14"`. Raises ToolError."""
        for step in calculate(request):
            yield step
            await asyncio.sleep(0)  # let other calls go on, and a cancellation arrive, between two steps


def calculate(expression: str) -> Iterator[str]:
    """The steps of an arithmetic expression, innermost first, and its result as the last item.

    Raises ToolError for anything that is not arithmetic, and for results of more than 60 digits.
    """
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"{len(expression)} characters are too long a sum: at most {MAX_LENGTH}.")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ToolError(f"{expression!r} is not an arithmetic expression.") from error
    result = yield from _evaluate(tree.body)
    yield _text(result)


def _evaluate(node: ast.expr) -> Generator[str, None, Number]:
    """Yields the steps, returns the number."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _checked(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        value = yield from _evaluate(node.operand)
        return _UNARY[type(node.op)](value)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left = yield from _evaluate(node.left)
        right = yield from _evaluate(node.right)
        sign, apply = _BINARY[type(node.op)]
        result = _apply(sign, apply, left, right)
        yield f"{_text(left)} {sign} {_text(right)} = {_text(result)}"
        return result
    raise ToolError(f"{ast.unparse(node)!r} is not arithmetic: use numbers, + - * / // % ** and brackets.")


def _apply(sign: str, apply: Callable[[Number, Number], Number], left: Number, right: Number) -> Number:
    if sign == "**" and left and right * math.log10(abs(left)) > MAX_DIGITS:  # before it is computed
        raise ToolError(f"{_text(left)} ** {_text(right)} is too large: at most {MAX_DIGITS} digits.")
    try:
        return _checked(apply(left, right))
    except ZeroDivisionError as error:
        raise ToolError(f"{_text(left)} {sign} {_text(right)} divides by zero.") from error
    except OverflowError as error:
        raise ToolError(f"{_text(left)} {sign} {_text(right)} is too large.") from error


def _checked(value: object) -> Number:
    if not isinstance(value, int | float):  # a root of a negative number is complex
        raise ToolError("the result is not a real number.")
    if not abs(value) < 10**MAX_DIGITS:
        raise ToolError(f"a number here is too large: at most {MAX_DIGITS} digits.")
    return value


def _text(value: Number) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)

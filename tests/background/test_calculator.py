"""The calculator computes what Python computes, and refuses everything that is not arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.background.calculator import ToolError, calculate

SUMS = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({' '.join(t)})"),
    max_leaves=8,
)


@given(SUMS)
def test_sums_agree_with_python(expression: str) -> None:
    steps = list(calculate(expression))
    assert steps[-1] == str(eval(expression))
    assert len(steps) == 1 + sum(expression.count(sign) for sign in "+-*")
    for step in steps[:-1]:
        left, right = step.rsplit(" = ", 1)
        assert eval(left) == int(right)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        (" 7 / 2 ", "3.5"), ("7 // 2", "3"), ("7 % 4", "3"), ("-(2 ** 10)", "-1024"), ("0.1 + 0.2", "0.3"),
        ("0.5 ** 100", "7.888609052e-31"), ("10 ** -2", "0.01"), ("1 ** 999999999", "1"), ("9 ** 0.5", "3"),
    ],
)  # fmt: skip
def test_single_sums(expression: str, result: str) -> None:
    assert list(calculate(expression))[-1] == result


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("__import__('os').getcwd()", "not arithmetic"),
        ("x + 1", "'x' is not arithmetic"),
        ("'a' * 9", "not arithmetic"),
        ("True + 1", "not arithmetic"),
        ("1 < 2", "not arithmetic"),
        ("1j * 2", "not arithmetic"),
        ("(lambda: 1)()", "not arithmetic"),
        ("2 +", "not an arithmetic expression"),
        ("", "not an arithmetic expression"),
        ("(" * 150, "not an arithmetic expression"),
        ("1" * 201, "at most 200"),
        ("1 / 0", "divides by zero"),
        ("5 % 0", "divides by zero"),
        ("0 ** -1", "divides by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("9" * 61, "too large"),
        ("1e59 * 100", "too large"),
        ("1e999", "too large"),
        ("(-1) ** 0.5", "not a real number"),
    ],
)
def test_everything_else_is_refused_in_one_sentence(expression: str, says: str) -> None:
    with pytest.raises(ToolError, match=says) as caught:
        list(calculate(expression))
    assert "\n" not in str(caught.value)

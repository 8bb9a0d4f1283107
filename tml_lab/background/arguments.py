"""What tools take: plain data, checked before anything is done with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tml_lab.background.calculator import ToolError

T = TypeVar("T", bound=BaseModel)


class Plain(BaseModel):
    """Plain data: never changed, nothing that was not asked for, no infinite numbers; there and back through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Only what is not as it is by default: short enough to be read."""
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            if name is None or name not in fields or value != fields[name].default:
                yield name, value


def checked(kind: type[T], /, **arguments: object) -> T:
    """The arguments as pydantic takes them. Raises ToolError in one sentence."""
    try:
        return kind(**arguments)
    except ValidationError as error:
        raise ToolError(first_fault(error)) from error


def checked_json(kind: type[T], text: str) -> T:
    """The same for arguments that come as a JSON object."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise ToolError(first_fault(error)) from error


def first_fault(error: ValidationError) -> str:
    """Where the first fault is and what it is, in one sentence."""
    first = error.errors()[0]
    what = " ".join(first["msg"].removeprefix("Value error, ").split()).rstrip(".")
    return f"{'.'.join(map(str, first['loc'])) or 'the arguments'}: {what}."

"""Data whose mistakes are one sentence: pydantic's checks, told as the rest of this folder tells them."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tml_lab.interp.names import InterpError


class Checked(BaseModel):
    """A frozen record. Raises InterpError, in one sentence, for a field that is wrong, missing or not its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    CALLED: ClassVar[str] = "a record"

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InterpError(sentence(error, self.CALLED, type(self).model_fields)) from None


def sentence(error: ValidationError, called: str = "", fields: Collection[str] = ()) -> str:
    """The first of an error's complaints. `called`: what it is about, as "an address"; `fields`: those that it has."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    where = ".".join(str(part) for part in first["loc"]) if not fields else str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden" and fields:
        near = difflib.get_close_matches(where, fields, 1, 0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{called} has no {where!r}; {hint}it has {', '.join(fields)}."
    if isinstance(cause, InterpError):
        return f"{where}: {cause}" if where and not fields else str(cause)
    said = first["msg"].removeprefix("Value error, ").rstrip(".")
    about = f"this is not {called}: " if called else ""
    return f"{about}{where + ': ' if where else ''}{said[0].lower() + said[1:]}."

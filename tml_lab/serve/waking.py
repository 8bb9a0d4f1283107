"""Sessions that are not there yet: the server listens while the model is loaded, and asks its callers to come back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

from tml_lab.serve.contract import BusyError, Sessions


class Waking:
    """Makes an engine in a thread of its own; until it is there every call raises BusyError.

    Args:
        make: makes the engine; may take as long as it likes.
        failed: called in that thread when it could not be made; `error` says why.
    """

    def __init__(self, make: Callable[[], Sessions], failed: Callable[[], None] = lambda: None) -> None:
        self._make, self._failed = make, failed
        self.engine: Sessions | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="tml-waking", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.engine = self._make()
        except Exception as error:
            self.error = error
            self._failed()

    @property
    def waking(self) -> bool:
        """Whether the model is still being loaded."""
        return self.engine is None

    def wait(self, seconds: float | None = None) -> Sessions | None:
        """The engine as soon as it is there; None when it could not be made, or not within `seconds`."""
        self._thread.join(seconds)
        return self.engine

    @property
    def sessions(self) -> Sessions:
        """What keeps the contract: the engine, or a refusal in each call."""
        return cast(Sessions, _Passing(self))


class _Passing:
    def __init__(self, waking: Waking) -> None:
        self._waking = waking

    def __getattr__(self, name: str) -> Any:
        engine = self._waking.engine
        if engine is not None:
            return getattr(engine, name)

        def refuse(*_: Any, **__: Any) -> Any:
            if (there := self._waking.engine) is not None:  # it came between the look and the call
                return getattr(there, name)(*_, **__)
            raise BusyError("the model is being loaded: try again in a moment.", retry_after=0.5)

        return refuse

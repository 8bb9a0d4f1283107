"""Recordings on their way to the disk, beside the session that goes on."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

NICE = 10  # of the writing threads: no turn waits for the disk


class Writers:
    """Writes recordings, each in a thread of its own: ten minutes with a camera take seconds.

    The threads are no daemons: a kernel that is shut down ends when everything is written.
    """

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def write(
        self, recording: Any, path: Path, done: Callable[[], None], failed: Callable[[Exception], None]
    ) -> None:
        """Begin to write; one of `done` and `failed` is called from the writing thread."""

        def run() -> None:
            if sys.platform == "linux":  # where a thread has a priority of its own
                with suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
            try:
                recording.save(path)
            except Exception as error:
                failed(error)
            else:
                done()

        thread = threading.Thread(target=run, name="tml-save")
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def wait(self, deadline: float) -> bool:
        """Wait until all is written, or until `deadline` (`time.monotonic`); returns whether all is."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                return False
        return True

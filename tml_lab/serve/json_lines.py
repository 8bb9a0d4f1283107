"""The server's log: one JSON object a line, and never a word, a sound, a picture, a token or a key in it.

What may be logged is named by whoever logs it (`note`); of an exception that nobody expected, its type and where it was
raised are kept, but not its message, which may quote what somebody said.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

_log = logging.getLogger("tml_lab.serve")
_FRAMES = 6  # of a traceback, the innermost


def note(event: str, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Log an event with plain fields: numbers, codes, names."""
    _log.log(level, event, extra={"fields": fields}, exc_info=error)


def short(session: str) -> str:
    """Enough of a session's name to follow it through the log, and too little to use it."""
    return session[:6]


class JsonLines(logging.Formatter):
    """A log record as one line of JSON: time (UTC), level, event, its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; of records that are not this server's own, only what their code says, without arguments."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{when}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        own = record.name == _log.name
        line |= {"event": str(record.msg)} if own else {"event": "message", "logger": record.name, "text": record.msg}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
            where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
            line |= {"error": type(error).__name__, "where": where}
        return json.dumps(line, default=lambda thing: type(thing).__name__)


def start_log(stream: TextIO | None = None, level: int = logging.INFO) -> logging.Handler:
    """Send this server's log, and uvicorn's warnings, to a stream as JSON lines; returns the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name, least in (("tml_lab", level), ("uvicorn", logging.WARNING), ("websockets", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(least)
        logger.propagate = False
        logger.addHandler(handler)
    return handler


def stop_log(handler: logging.Handler) -> None:
    """Undo `start_log`."""
    for name in ("tml_lab", "uvicorn", "websockets"):
        logger = logging.getLogger(name)
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True

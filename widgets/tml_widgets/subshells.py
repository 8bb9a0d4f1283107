"""Keep messages from the browser flowing while a cell runs.

Since ipykernel 7, a widget's messages may be handled on a subshell, beside the running cell. ipykernel 7.4
sends each message to the shell that last *published* on the same comm; a widget that is published to from its
own thread or from a cell is then handled on the main shell, behind the running cell: 0 of 30 chunks arrived
during a blocking cell. Asking for the default route restores all of them.
"""

from __future__ import annotations

from typing import Any


def handle_on_subshell(comm: Any) -> bool:
    """Route the comm's incoming messages as the front end asked; whether this kernel needed it.

    `_reply_subshell_for` is a private method of ipykernel 7.4; kernels without it route that way already.
    """
    if comm is None or not hasattr(comm, "_reply_subshell_for"):
        return False
    comm._reply_subshell_for = lambda data, default: default
    return True

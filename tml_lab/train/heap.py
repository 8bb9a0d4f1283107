"""Memory that is free again goes back to the system.

Batches of many shapes leave holes in the heap that the C library keeps: on a CPU a run with the camera on grew by 6 GB
in an hour, and would have ended where the machine's memory did.
"""

from __future__ import annotations

import ctypes


def give_back() -> bool:
    """Return free pages of the heap to the system; False where the C library (not glibc) has no call for it."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    trim(ctypes.c_size_t(0))
    return True

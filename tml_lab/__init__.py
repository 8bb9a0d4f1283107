"""TML Lab: a workbench that opens up the interaction model."""

from __future__ import annotations

import os as _os

# A turn is a hundred small operations. On a busy machine (a browser, a server and this process on two cores) torch's
# threads would spin while they wait for each other, and a turn of 20 ms would take seconds. Waiting asleep costs
# microseconds. The OpenMP runtime reads this once, when torch is first imported.
_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

"""JupyterHub for a class: each learner a notebook server of their own, and all of them one session server.

    TML_LESSONS=/srv/tml-lab/notebooks jupyterhub -f docs/classroom/jupyterhub_config.py

The hub starts `tml serve` as its service and restarts it when it ends. The token is made anew at each start of the hub
and handed to the service and to the learners in their environment; it is in no file. Without TML_SERVER the server is
on this machine; set TML_SERVER (and TML_TOKEN) to use one that runs elsewhere, and the hub starts none.
"""

import os
import secrets
import sys
from pathlib import Path

c = get_config()  # type: ignore[name-defined]  # noqa: F821  (JupyterHub provides it)

PORT = int(os.environ.get("TML_PORT", "8321"))
elsewhere = os.environ.get("TML_SERVER", "")
server = elsewhere or f"ws://127.0.0.1:{PORT}"
token = os.environ.get("TML_TOKEN") or secrets.token_urlsafe(24)
lessons = Path(os.environ.get("TML_LESSONS", "notebooks")).resolve()

# What a learner's notebook needs: `Session.start()` reads these two.
c.Spawner.environment = {
    "TML_SERVER": server,
    "TML_TOKEN": token,
    "OMP_NUM_THREADS": "1",  # forty kernels on a few cores: what is computed here is small
    "HF_HUB_OFFLINE": "1",
}
c.Spawner.default_url = "/lab/tree/00_start_here.ipynb"
c.Spawner.notebook_dir = str(lessons)  # for spawners that give each learner a machine: a copy of it there
c.Spawner.mem_limit = "1500M"  # a kernel with torch takes half of it; kept only by spawners that can limit
c.Spawner.start_timeout = 120
# Idle notebooks give their memory back; sessions on the session server end by its own time-out.
c.Spawner.args = [
    "--ServerApp.shutdown_no_activity_timeout=3600",
    "--MappingKernelManager.cull_idle_timeout=1800",
]

if not elsewhere:
    c.JupyterHub.services = [
        {
            "name": "tml",
            "command": [
                sys.executable, "-m", "tml_lab.cli", "serve",
                "--port", str(PORT),
                "--max-sessions", os.environ.get("TML_SESSIONS", "48"),
                "--folder", os.environ.get("TML_FOLDER", "tml-sessions"),
            ],
            "environment": {"TML_TOKEN": token, "HF_HUB_OFFLINE": "1"},
        }
    ]  # fmt: skip

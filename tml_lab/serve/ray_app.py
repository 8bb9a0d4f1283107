"""The session server on several processes or machines, by Ray Serve; each session stays with the replica that has it.

    pip install "ray[serve]>=2.60"
    serve run tml_lab.serve.ray_app:build checkpoint=nano replicas=2 token=...

Every call about a session carries the header X-Session-Id (our client does so). Ray Serve's `ConsistentHashRouter`
hashes it to a replica; with no fall-back replica, so that a call never reaches one that does not know the session.

What this does not do: sessions are not moved. When a replica dies, or their number changes, sessions whose place then
belongs to another replica are lost, and their callers are told that there is no such session. So the number is fixed,
and there is no folder: to keep sessions over a restart, run one `tml serve --folder` a machine instead.
"""

from __future__ import annotations

from typing import Any

from tml_lab.serve.gate import Settings

ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
SOCKETS = 256  # of one replica; to Ray Serve an open socket is a request under way


def build(arguments: dict[str, Any] | None = None, **more: Any) -> Any:
    """The application for `serve run` or `serve.run`.

    Args (as a dict, as `serve run` gives them, or by name):
        checkpoint: a shipped name or a folder, on each machine.
        replicas: how many; cores: of each, with as many threads (`Limits.threads`).
        token: who has it may come in; without one only calls to localhost are answered.
        origin: pages of this origin may come too.
        sessions: at a time, of one replica.
    """
    from ray import serve  # pyright: ignore[reportMissingImports]
    from ray.serve.config import RequestRouterConfig  # pyright: ignore[reportMissingImports]

    given = {"checkpoint": "nano", "replicas": 2, "cores": 1, "token": "", "origin": "", "sessions": 32}
    given |= {**(arguments or {}), **more}
    if unknown := set(given) - {"checkpoint", "replicas", "cores", "token", "origin", "sessions"}:
        raise ValueError(f"there are no settings {sorted(unknown)}: see the help of {__name__}.build.")
    deployment = serve.deployment(
        serve.ingress(lambda: _replica(given))(),
        name="sessions",
        num_replicas=int(given["replicas"]),
        max_ongoing_requests=2 * SOCKETS,
        ray_actor_options={"num_cpus": float(given["cores"])},
        request_router_config=RequestRouterConfig(
            request_router_class=ROUTER, request_router_kwargs={"num_fallback_replicas": 0}
        ),
    )
    return deployment.bind()


def _replica(given: dict[str, Any]) -> Any:
    """One replica's application: an engine of its own."""
    import torch

    from tml_lab.serve.app import create_app
    from tml_lab.serve.engine import Engine
    from tml_lab.serve.limits import Limits
    from tml_lab.serve.metrics import registry
    from tml_lab.serve.warm import load_warm
    from tml_lab.worlds.remembered import usual_policy

    torch.set_num_threads(1)  # see `Limits.threads`
    limits = Limits(sessions=int(given["sessions"]), threads=max(1, int(float(given["cores"]))))
    engine = Engine(*load_warm(given["checkpoint"]), limits=limits, policy=usual_policy())
    tokens, origins = ((given[name],) if given[name] else () for name in ("token", "origin"))
    settings = Settings(tokens, origins, max_sockets=SOCKETS)
    return create_app(engine, settings, lambda: registry(engine))

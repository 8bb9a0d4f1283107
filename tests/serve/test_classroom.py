"""The JupyterHub recipe: it loads, and what it hands to the learners fits what it starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader
from typer.testing import CliRunner

from tml_lab import cli

RECIPE = Path(__file__).parents[2] / "docs" / "classroom" / "jupyterhub_config.py"


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Config:
    for name in ("TML_SERVER", "TML_TOKEN", "TML_PORT", "TML_LESSONS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return PyFileConfigLoader(RECIPE.name, path=str(RECIPE.parent)).load_config()


def test_the_hub_starts_a_server_and_tells_the_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    c = load(monkeypatch, TML_PORT="9123", TML_LESSONS=str(RECIPE.parents[2] / "notebooks"))
    told, (service,) = c.Spawner.environment, c.JupyterHub.services
    assert told["TML_SERVER"] == "ws://127.0.0.1:9123"
    assert len(told["TML_TOKEN"]) >= 32 and service["environment"]["TML_TOKEN"] == told["TML_TOKEN"]
    assert told["TML_TOKEN"] not in service["command"]  # where everybody on the machine could read it
    assert told["TML_TOKEN"] != load(monkeypatch).Spawner.environment["TML_TOKEN"]
    assert (Path(c.Spawner.notebook_dir) / c.Spawner.default_url.removeprefix("/lab/tree/")).exists()
    # The command is one that `tml` takes, and it does what it says.
    calls: list[dict] = []
    monkeypatch.setattr("tml_lab.serve.launch.serve", lambda **options: calls.append(options))
    asked = service["command"][3:]
    assert CliRunner().invoke(cli.app, asked, env=service["environment"]).exit_code == 0
    assert calls[0]["port"] == 9123 and calls[0]["tokens"] == [told["TML_TOKEN"]] and calls[0]["sessions"] == 48


def test_a_server_elsewhere_is_used_and_none_started(monkeypatch: pytest.MonkeyPatch) -> None:
    c = load(monkeypatch, TML_SERVER="wss://teacher.example.org:8321", TML_TOKEN="a-token-for-this-class")
    assert c.Spawner.environment["TML_SERVER"] == "wss://teacher.example.org:8321"
    assert c.Spawner.environment["TML_TOKEN"] == "a-token-for-this-class"
    assert "services" not in c.JupyterHub

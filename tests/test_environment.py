"""The ways to install agree: pyproject.toml, constraints.txt, environment.yml, the machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_NAMES = {"torch": "pytorch", "soundfile": "pysoundfile", "soxr": "soxr-python"}


def ranges(lines: list[str]) -> dict[str, SpecifierSet]:
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "constraints.txt must hold exact pins, name==version"
    names = [canonicalize_name(name) for name, _ in pairs]
    assert len(set(names)) == len(names), "constraints.txt pins a package twice"
    return {canonicalize_name(name): pinned for name, pinned in pairs}


def test_conda_and_pip_ask_for_the_same_packages() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    lines = [entry for entry in conda["dependencies"] if isinstance(entry, str)]
    expected = {"pip": SpecifierSet(""), "python": SpecifierSet(PROJECT["requires-python"])}
    for name, allowed in ranges(PROJECT["dependencies"] + EXTRAS["lab"]).items():
        expected[CONDA_NAMES.get(name, name)] = allowed
    ((*by_pip, project),) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    assert project == "-e .[serve]"  # as `make lab` does
    assert ranges([*lines, *by_pip]) == expected


UNPINNED = {"offline", "ray", "rivals"}  # installed by `make offline`, `make rivals`, or by hand


def test_every_direct_requirement_is_pinned_inside_its_range() -> None:
    pinned = pins()
    listed = [r for extra, requirements in EXTRAS.items() if extra not in UNPINNED for r in requirements]
    for name, allowed in ranges(PROJECT["dependencies"] + listed).items():
        assert name in pinned, f"constraints.txt lacks {name}: run `make constraints`"
        assert allowed.contains(pinned[name]), (
            f"constraints.txt pins {name}=={pinned[name]}, outside {allowed}"
        )


def test_constraints_are_the_whole_transitive_set() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "pin.py")], capture_output=True, text=True, check=False
    )
    if run.returncode:
        pytest.skip(f"this environment was not made by `make install-test`: {run.stderr.strip()}")
    needed = {line.split("==")[0] for line in run.stdout.splitlines() if not line.startswith("#")}
    assert not needed - set(pins()), "constraints.txt is behind pyproject.toml: run `make constraints`"


def test_the_torch_of_the_pins_is_the_one_that_runs() -> None:
    if sys.platform != "linux":
        pytest.skip("the pins are checked on Linux, where CI runs")
    assert version("torch").split("+")[0] == pins()["torch"]


def test_library_imports_resolve_from_any_folder(tmp_path: Path) -> None:
    code = "import tml_lab, tml_kernels, tml_widgets; print(tml_lab.__file__)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(run.stdout.strip()).parent == ROOT / "tml_lab"


def test_makefile_installs_every_extra_for_the_tests() -> None:
    lists = re.findall(r'^\t\$\(PIP\).* -e "\.\[(.*?)\]"', (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {extra for listed in lists for extra in listed.split(",")} == set(EXTRAS) - {"ray"}


def third_party_imports(path: Path) -> set[str]:
    """Top-level names of everything a file imports that is neither Python's own nor ours."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"tml_lab", "tml_kernels", "tml_widgets", "tests"}


def test_everything_the_library_imports_is_a_stated_requirement() -> None:
    stated = set(ranges(PROJECT["dependencies"] + [r for extra in EXTRAS.values() for r in extra]))
    distributions = packages_distributions()
    unstated = {}
    for path in (p for folder in ("tml_lab", "kernels", "widgets") for p in (ROOT / folder).rglob("*.py")):
        for name in third_party_imports(path):
            sources = {canonicalize_name(d) for d in distributions.get(name, [name])}
            if not sources & stated:
                unstated[name] = str(path.relative_to(ROOT))
    assert not unstated, f"state these in pyproject.toml: {unstated}"


def test_commit_hooks_use_the_pinned_tools() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    used = dict(need.split("==") for hook in hooks for need in hook["additional_dependencies"])
    assert used == {name: pins()[name] for name in ("ruff", "nbstripout")}

"""Who may import whom: downwards only. Reads every file's imports, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    [*ROOT.glob("tml_lab/**/*.py"), *ROOT.glob("kernels/**/*.py"), *ROOT.glob("widgets/**/*.py")]
)

FLOORS = [
    {"tml_lab.config"},
    {"tml_lab.signal", "tml_kernels"},
    {"tml_lab.model"},
    {"tml_lab.stream"},
    {"tml_lab.interp", "tml_lab.train", "tml_lab.worlds"},
    {"tml_lab.course", "tml_lab.plot", "tml_lab.bench", "tml_lab.serve", "tml_lab.background"},
    {"tml_widgets"},
    {"tml_lab.cli", "tml_lab.doctor", "tml_lab.play"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FORBIDDEN = {  # beyond the floors: room -> what it must not import
    "tml_lab.plot": ("tml_lab.model", "tml_lab.train", "tml_lab.worlds"),
    "tml_lab": ("tml_widgets", "tests", "notebooks", "benchmarks"),
    "tml_kernels": ("tests", "notebooks", "benchmarks"),
    "tml_widgets": ("tests", "notebooks", "benchmarks"),
}
ONLY_INSIDE = {"triton": "tml_kernels", "transformers": "tests"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] in ("kernels", "widgets") else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """`tml_lab.stream.session` -> `tml_lab.stream`; `tml_kernels.rmsnorm` -> `tml_kernels`."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "tml_lab" else parts[0]


def imports_of(source: str, module: str, is_package: bool) -> Iterator[tuple[str, int]]:
    """Every module that `source` imports, inside functions too: absolute name and line number."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                stem = package[: len(package) - node.level + 1]
                base = ".".join([*stem, *([node.module] if node.module else [])])
            # `from tml_lab import plot` imports the room tml_lab.plot.
            yield from (
                (f"{base}.{alias.name}" if base == "tml_lab" else base, node.lineno) for alias in node.names
            )
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            named = [arg for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            yield from ((str(arg.value), node.lineno) for arg in named)


def violations(module: str, imported: str) -> Iterator[str]:
    """The rules that `module` breaks by importing `imported`."""
    here, there = room_of(module), room_of(imported)
    for outside, home in ONLY_INSIDE.items():
        if imported.split(".")[0] == outside and not module.startswith(home):
            yield f"{outside} may be imported in {home} alone"
    for room, banned in FORBIDDEN.items():
        if (module == room or module.startswith(room + ".")) and imported.startswith(banned):
            yield f"{room} must not import {imported}"
    if here in FLOOR and there in FLOOR and FLOOR[there] > FLOOR[here]:
        yield f"{here} (floor {FLOOR[here]}) must not import {there} (floor {FLOOR[there]})"


def edges() -> list[tuple[str, str, str]]:
    """`(importing module, imported module, file:line)` for all sources."""
    found = []
    for path in SOURCES:
        module = module_name(path)
        for imported, line in imports_of(
            path.read_text(encoding="utf-8"), module, path.name == "__init__.py"
        ):
            found.append((module, imported, f"{path.relative_to(ROOT)}:{line}"))
    return found


def test_every_module_has_a_floor() -> None:
    rooms = {room_of(module_name(path)) for path in SOURCES} - {"tml_lab"}
    assert rooms <= set(FLOOR), f"give these a floor in the design first: {sorted(rooms - set(FLOOR))}"


def test_imports_go_downwards_only() -> None:
    broken = [
        f"{where}: {rule}" for module, imported, where in edges() for rule in violations(module, imported)
    ]
    assert not broken, "\n" + "\n".join(broken)


def test_rooms_of_one_floor_do_not_import_each_other_in_a_circle() -> None:
    pairs = {
        (room_of(a), room_of(b)) for a, b, _ in edges() if room_of(b) in FLOOR and room_of(a) != room_of(b)
    }
    circles = sorted((a, b) for a, b in pairs if (b, a) in pairs and a < b)
    assert not circles, f"these import each other: {circles}"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tml_lab.signal.dmel", "from tml_lab.model.backbone import Backbone"),
        ("tml_lab.model.backbone", "def f():\n    from ..stream import session"),
        ("tml_lab.plot.timeline", "import tml_lab.model.attention"),
        ("tml_lab.stream.session", "from tml_lab import bench"),
        ("tml_lab.bench.registry", "import tml_widgets.live"),
        ("tml_lab.model.norm", "import triton.language as tl"),
        ("tml_lab.train.loop", "importlib.import_module('transformers')"),
    ],
)
def test_the_check_catches(module: str, source: str) -> None:
    found = [
        rule for imported, _ in imports_of(source, module, False) for rule in violations(module, imported)
    ]
    assert found

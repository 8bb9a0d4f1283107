"""The linker: what the browser gets is whole, and no import is left that leads nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tml_widgets.esm import link, modules
from tml_widgets.live_session import STATIC


def write(folder: Path, **files: str) -> Path:
    for name, source in files.items():
        (folder / f"{name}.js").write_text(source, encoding="utf-8")
    return folder / "a.js"


def test_every_module_comes_once_and_before_those_that_import_it(tmp_path: Path) -> None:
    shared = 'export const text = "50 % of #1 \\\\ ü";\n'
    a = write(
        tmp_path,
        a='import { text } from "./b.js";\nimport { c } from "./c.js";\nexport default text + c;\n',
        b=shared,
        c='import { text } from "./b.js";\nimport raw from "./b.js?raw";\nexport const c = text + raw;\n',
    )
    found = modules(a)
    assert [name for name, _, _ in found] == ["b.js", "b.js?raw", "c.js", "a.js"]
    assert found[0][1] == shared and json.loads(found[1][1].removeprefix("export default ").rstrip(";")) == shared
    assert found[2][2] == {"./b.js": "b.js", "./b.js?raw": "b.js?raw"}
    assert json.dumps(shared, ensure_ascii=False) in link(a)


def test_a_module_that_imports_nothing_stays_as_it_is(tmp_path: Path) -> None:
    assert link(write(tmp_path, a="export default 1;\n")) == "export default 1;\n"


def test_a_circle_is_named(tmp_path: Path) -> None:
    a = write(tmp_path, a='import { b } from "./b.js";\n', b='import a from "./a.js";\nexport const b = a;\n')
    with pytest.raises(ValueError, match=r"a\.js imports b\.js imports a\.js"):
        link(a)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { x } from "./nowhere.js";\n')
    with pytest.raises(FileNotFoundError, match=r"a\.js imports \./nowhere\.js"):
        link(tmp_path / "a.js")


def test_the_widgets_are_whole() -> None:
    entries = [STATIC / "live_session.js", STATIC / "console.js"]
    found = {name.removesuffix("?raw") for entry in entries for name, _, _ in modules(entry)}
    assert found == {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")}

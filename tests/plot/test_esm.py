"""The linker: what the browser gets is whole, in an order that works, and no import is left that leads nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tml_lab.plot.esm import link


def sources(linked: str) -> list[str]:
    return json.loads(linked.split("const sources = ", 1)[1].split(";\nconst addresses", 1)[0])


def test_what_is_imported_stands_before_and_once(tmp_path: Path) -> None:
    (tmp_path / "c.js").write_text('export const text = "50 % of #1 \\\\ ü </script>";\n', encoding="utf-8")
    (tmp_path / "b.js").write_text('import { text } from "./c.js";\nexport const b = text;\n')
    (tmp_path / "a.js").write_text('import { text } from "./c.js";\nimport { b } from "./b.js";\nexport default b;\n')
    linked = link(tmp_path / "a.js")
    c, b, a = sources(linked)
    assert c.startswith((tmp_path / "c.js").read_text(encoding="utf-8")) and c.endswith("//# sourceURL=tml/c.js")
    assert b.startswith('import { text } from "module:0";')
    assert a.startswith('import { text } from "module:0";\nimport { b } from "module:1";\nexport default b;')
    assert "</script" not in linked and '"./' not in linked


def test_raw_text_is_the_default_export(tmp_path: Path) -> None:
    (tmp_path / "worklet.js").write_text('import { x } from "./nowhere.js";\n')
    (tmp_path / "a.js").write_text('import CODE from "./worklet.js?raw";\nexport default CODE;\n')
    raw, _ = sources(link(tmp_path / "a.js"))
    assert json.loads(raw.split("export default ", 1)[1].split(";\n//#")[0]) == 'import { x } from "./nowhere.js";\n'


def test_what_cannot_be_joined_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { x } from "./nowhere.js";\n')
    with pytest.raises(FileNotFoundError, match=r"a\.js imports \./nowhere\.js"):
        link(tmp_path / "a.js")
    (tmp_path / "a.js").write_text('import { x } from "./b.js";\n')
    (tmp_path / "b.js").write_text('import { y } from "./a.js";\n')
    with pytest.raises(ValueError, match="imports itself"):
        link(tmp_path / "a.js")

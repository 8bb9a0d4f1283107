"""The linker: what the browser gets is whole, and no import is left that leads nowhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from tml_widgets.console import Console
from tml_widgets.esm import link
from tml_widgets.live_session import STATIC, LiveSession


def test_imports_become_addresses_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "b.js").write_text('export const text = "50 % of #1 \\\\ ü";\n', encoding="utf-8")
    (tmp_path / "a.js").write_text('import { text } from "./b.js";\nexport default text;\n')
    linked = link(tmp_path / "a.js")
    address = linked.split('"')[1]
    assert address.startswith("data:text/javascript")
    assert unquote(address.split(",", 1)[1]).startswith((tmp_path / "b.js").read_text(encoding="utf-8"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { x } from "./nowhere.js";\n')
    with pytest.raises(FileNotFoundError, match=r"a\.js imports \./nowhere\.js"):
        link(tmp_path / "a.js")


def test_the_widgets_are_whole() -> None:
    text = f"{LiveSession._esm}\n{Console._esm}"
    while "%" in text and unquote(text) != text:
        text = unquote(text)
    assert 'from "./' not in text
    for module in [*STATIC.glob("*.js"), *STATIC.glob("worklets/*.js")]:
        first = module.read_text(encoding="utf-8").splitlines()[0]
        assert first in text, f"{module.name} is imported by nothing"

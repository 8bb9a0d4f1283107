"""The repository stays light and portable: sizes, names, stripped notebooks, no absolute machine paths."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MB = 1_000_000
MAX_FILE, MAX_RECORDING, MAX_CHECKPOINT, MAX_REPOSITORY = 5 * MB, 8 * MB, 40 * MB, 150 * MB
MAX_NOTEBOOK = 200_000
MAX_LINES = 450
STRICT_NOTEBOOKS: set[str] = set()  # committed with outputs, which are compared exactly
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".yml",
    ".yaml",
    ".txt",
    ".json",
    ".js",
    ".css",
    ".html",
    ".ipynb",
    ".svg",
    ".cfg",
    "",
}
# A home or work folder of somebody's machine; /usr, /tmp and /dev are the same everywhere.
MACHINE_PATH = re.compile(r"(?<![\w./~-])(?:/(?:home|Users|root|work)/\w|[A-Z]:\\Users\\)")


def tracked_files() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_no_file_is_called_utils() -> None:
    assert not named(
        [p for p in tracked_files() if re.fullmatch(r"_?(utils?|helpers?|misc)", p.stem.lower())]
    )


def limit_of(path: Path) -> int:
    """Bytes a file may have: weights and recordings of people more than the rest."""
    data = ROOT / "data"
    if data / "checkpoints" in path.parents:
        return MAX_CHECKPOINT
    return MAX_RECORDING if data / "recordings" in path.parents else MAX_FILE


def test_files_are_small() -> None:
    assert not named([p for p in tracked_files() if p.stat().st_size > limit_of(p)])


def test_the_checkout_is_small() -> None:
    total = sum(p.stat().st_size for p in tracked_files())
    assert total < MAX_REPOSITORY, f"{total / MB:.0f} MB"


def test_python_files_have_one_subject() -> None:
    lengths = {
        p: len(p.read_text(encoding="utf-8").splitlines()) for p in tracked_files() if p.suffix == ".py"
    }
    assert not {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > MAX_LINES}


def test_notebooks_are_small_and_stripped() -> None:
    for path in (p for p in tracked_files() if p.suffix == ".ipynb"):
        name = str(path.relative_to(ROOT))
        assert path.stat().st_size <= MAX_NOTEBOOK, f"{name} has more than {MAX_NOTEBOOK} bytes"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert notebook["metadata"].get("kernelspec", {}).get("name") == "python3", (
            f"{name} names no kernelspec"
        )
        assert "widgets" not in notebook["metadata"], f"{name} holds saved widget state"
        if name in STRICT_NOTEBOOKS:
            continue
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in cells), (
            f"{name}: run nbstripout on it"
        )


def test_markdown_holds_no_embedded_images() -> None:
    texts = {p: p.read_text(encoding="utf-8") for p in tracked_files() if p.suffix in (".md", ".ipynb")}
    assert not named([p for p, text in texts.items() if re.search(r"data:image/[\w+.-]+;base64", text)])


def test_no_path_of_somebodys_machine() -> None:
    found = []
    for path in (p for p in tracked_files() if p.suffix in TEXT and p != Path(__file__)):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n" + "\n".join(found)


def test_the_path_check_catches_one() -> None:
    assert MACHINE_PATH.search('open("/home/' + 'ada/x.wav")') and not MACHINE_PATH.search(
        "see /usr/bin/chromium"
    )


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path in (p for p in tracked_files() if p.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if (
                "://" not in target
                and not target.startswith("mailto:")
                and not (path.parent / target).exists()
            ):
                broken.append(f"{path.relative_to(ROOT)} -> {target}")
    assert not broken, "\n" + "\n".join(broken)


def test_the_timeline_picture_is_what_its_script_draws() -> None:
    script = ROOT / "docs" / "draw_timeline.py"
    drawn = runpy.run_path(str(script))["draw"]()
    assert script.with_name("timeline.svg").read_text(encoding="utf-8") == drawn

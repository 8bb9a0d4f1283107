"""Episodes that are rendered while a model trains: processes that end are told of."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

import pytest

from tml_lab.train import lessons


def test_a_renderer_that_ends_is_told_of_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = lessons.threading.Event()
    fork = get_context("fork")
    may_end = fork.Event()  # else the first one could end before the other's files are there, which is told otherwise

    def write_and_end(folder: Path, first: int, step: int, lesson: str) -> None:
        """What a renderer does whose engine fails after its first files."""
        for index in range(first, first + lessons.FIRST * step, step):
            (folder / f"episodes-{index:05d}.safetensors").write_bytes(b"")
        if first == 0:
            may_end.wait(60)
            raise SystemExit(1)
        while True:
            pass

    def tell(processes: object, over: object) -> None:
        real(processes, over)  # type: ignore[arg-type]
        told.set()

    real = lessons._tell_of_the_first_to_end
    monkeypatch.setattr(lessons, "_go_on", write_and_end)
    monkeypatch.setattr(lessons, "_tell_of_the_first_to_end", tell)
    monkeypatch.setattr(lessons, "get_context", lambda _: fork)
    with lessons.rendered_meanwhile(tmp_path, 2):
        may_end.set()
        assert told.wait(60)
        said = capsys.readouterr().err
        assert "has ended" in said and "1 of 2 go on" in said


def test_a_run_whose_renderers_all_end_at_once_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "_go_on", lambda *_: None)
    monkeypatch.setattr(lessons, "get_context", lambda _: get_context("fork"))
    with pytest.raises(RuntimeError, match="has ended"), lessons.rendered_meanwhile(tmp_path, 1):
        pass

"""Items from the held-out splits, and Full-Duplex-Bench's folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.bench.scenes import answer, scene, user
from tml_lab.bench import human_numbers
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.emissions import from_chunks
from tml_lab.bench.fdb_io import write_folders
from tml_lab.bench.items import bank_of, cut, draw, graded
from tml_lab.bench.own_voice import voice_of
from tml_lab.bench.quick import right
from tml_lab.model.vocoder import Vocoder


def test_items_are_drawn_from_held_out_splits_only() -> None:
    with pytest.raises(ValueError, match="nothing else is held out"):
        bank_of("train")


def test_human_items_depend_on_the_seed_alone_and_can_be_graded() -> None:
    one, two, other = (draw(("next_number",), 2, seed, "human", graded) for seed in (0, 0, 1))
    assert all(
        np.array_equal(a.audio, b.audio) and a.expects == b.expects for a, b in zip(one, two, strict=True)
    )
    assert all(a.n_turns != b.n_turns or not np.array_equal(a.audio, b.audio) for a in one for b in other)
    assert {item.split for item in one} == {"human"}
    result = human_numbers.measure(one, OracleLatePlayer().play(one), 0)
    assert result["strict"].value == result["per_number"].value == 1.0


def test_a_family_without_usable_items_is_named() -> None:
    with pytest.raises(ValueError, match="'next_number' gave 0 usable items"):
        draw(("next_number",), 1, 0, "human", lambda item: None)


def test_cutting_keeps_the_beginning_only() -> None:
    whole = scene(
        "a", 30, [(3, "two"), (20, "six")], [answer("two", 0.4), answer("six", 4.0)], [user(0.0, 0.4)]
    )
    part = cut(whole, 10)
    assert (part.n_turns, [say.word for say in part.script], len(part.expects)) == (10, ["two"], 1)
    assert whole.n_turns == 30 and len(whole.expects) == 2


@pytest.mark.parametrize("family", ["noise", "background"])
def test_quick_wants_silence_where_nobody_asked(family: str) -> None:
    quiet = scene(family, 20)
    talks = scene(family, 20, [(5, "yeah")])
    assert right(quiet, SilentPlayer().play([quiet])[0])
    assert not right(talks, OracleLatePlayer(0).play([talks])[0])


def test_quick_wants_the_list_to_end_at_stop() -> None:
    stop = [user(0.4, 2.0, "count to ten"), user(3.0, 3.4, "stop")]
    ends = scene("interrupt", 40, [(11, "one"), (13, "two"), (15, "three"), (17, "four")], [], stop)
    goes_on = scene("interrupt", 40, [(turn, "one") for turn in range(11, 30, 2)], [], stop)
    assert right(ends, OracleLatePlayer(0).play([ends])[0])
    assert not right(goes_on, OracleLatePlayer(0).play([goes_on])[0])


def test_fdb_folders_hold_what_its_scripts_read(tmp_path: Path) -> None:
    item = scene(
        "interrupt", 50, [(12, "one"), (16, "two"), (32, "five")], [answer("five", 6.0)],
        [user(0.4, 2.0, "count to ten"), user(4.0, 6.0, "what is two plus three")],
    )  # fmt: skip
    logs = OracleLatePlayer(0).play([item])
    (folder,) = write_folders(tmp_path, "fdb_interruption", [item], logs)
    assert folder == tmp_path / "user_interruption" / "1"
    output = json.loads((folder / "output.json").read_text())
    assert output["text"] == "five" and output["chunks"][0]["timestamp"][0] == pytest.approx(6.6)
    assert json.loads((folder / "interrupt.json").read_text()) == [
        {"context": "count to ten", "interrupt": "what is two plus three", "timestamp": [4.0, 6.0]}
    ]
    sound, rate = soundfile.read(folder / "output.wav")
    assert rate == 16_000 and len(sound) == 50 * 3200
    assert np.abs(sound[: int(2.6 * rate)]).max() == 0.0 and np.abs(sound[int(6.6 * rate) :]).max() > 0.01
    (smooth,) = write_folders(tmp_path, "fdb_smooth_turn", [item], logs)
    assert json.loads((smooth / "turn_taking.json").read_text())[0]["timestamp"] == [6.0, 6.0]
    assert [w.text for w in from_chunks(json.loads((smooth / "output.json").read_text()))] == [
        "one",
        "two",
        "five",
    ]


def test_fdb_folders_hold_the_own_voice_where_there_is_one(tmp_path: Path) -> None:
    """Speech in turns 12 and 13 is heard from 2.6 s on, and nothing else is."""
    item = scene("arithmetic", 30, [(12, "five")], [answer("five", 2.0)], [user(0.4, 2.0, "what is two plus three")])
    torch.manual_seed(0)
    mel = {turn: torch.randn(16, 80) for turn in (12, 13)}
    log = replace(OracleLatePlayer(0).play([item])[0], voice=mel)
    vocoder = Vocoder(32, 2).eval()
    with torch.no_grad():
        for parameter in vocoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    (folder,) = write_folders(tmp_path, "fdb_smooth_turn", [item], [log], vocoder)
    sound, _ = soundfile.read(folder / "output.wav", dtype="float32")
    np.testing.assert_allclose(sound, voice_of(log, vocoder), atol=1e-4)
    assert not sound[: 13 * 3200].any() and not sound[15 * 3200 :].any() and sound[13 * 3200 : 15 * 3200].any()

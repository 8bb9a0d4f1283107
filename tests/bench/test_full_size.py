"""`--full`: every headline figure stands on so many items that its interval is at most five points to either side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count

import pytest

from tests.bench.scenes import answer, cue, scene, user
from tml_lab.bench import items as drawing
from tml_lab.bench import long_memory
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.benchmark import FULL_SIZE
from tml_lab.bench.registry import BENCHMARKS
from tml_lab.worlds.stage import Episode, Expect

CASES = [(name, split) for name, benchmark in BENCHMARKS.items() for split in benchmark.splits]
NOTHING_DUE = {
    "background", "others", "unasked", "noise", "called_off", "overlap_none", "overlap_backchannel",
    "overlap_to_others", "overlap_background",
}  # fmt: skip


@cache
def plan(family: str, nothing_due: bool) -> Episode:
    """An episode without voices that the family's benchmarks take for an item; one thing is due in it, where any is."""
    segments = [user(0.2, 1.0, "count to ten"), user(2.0, 4.0, "what is three plus four")]
    item = scene(family, 30, [(6, "one"), (8, "two")], [answer("seven", 4.0)], segments)
    if family == "start_stop":
        item.expects = [cue("zero", 2.0), cue("one", 4.0)]
    elif nothing_due:
        item.expects = []
    elif family in ("appears", "new_colour", "which_way", "read"):
        item.expects = [Expect(("seven",), 4.0, None, answer("seven", 4.0).contrast, "cue", 6.0)]
    return item


@pytest.fixture
def no_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is rendered: what is counted is what a benchmark draws."""

    def episodes_of(family: str, seed: int, split: str) -> Iterator[Episode]:
        for index in count():
            yield plan(family, family in NOTHING_DUE or (family == "wrong" and index % 7 == 0))

    def asked_at(family: str, seed: int, bank: object, minutes: list[float], fill: str) -> Iterator[Episode]:
        for minute in minutes:
            item = plan(family, False)
            yield long_memory.LongEpisode(
                f"{family}@{minute}", item.audio, [], [], {}, item.expects, item.segments, seed, "test",
                wait=int(300 * minute),
            )  # fmt: skip

    monkeypatch.setattr(drawing, "episodes_of", episodes_of)
    monkeypatch.setattr(long_memory, "asked_at", asked_at)
    monkeypatch.setattr(long_memory, "bank_of", lambda split: None)


@pytest.mark.usefixtures("no_sound")
@pytest.mark.parametrize(("name", "split"), CASES)
def test_each_headline_figure_of_a_full_run_stands_on_enough_items(name: str, split: str) -> None:
    benchmark = BENCHMARKS[name]
    items = benchmark.items(benchmark.full_size(split), 0, split)
    metrics = benchmark.measure(items, SilentPlayer().play(items), 0)
    shares = {figure for figure in (benchmark.headline, *benchmark.goals) if not figure.endswith("_s")}
    stands_on = {figure: metrics[figure].n for figure in shares}
    assert min(stands_on.values()) >= FULL_SIZE, stands_on
    assert min(stands_on.values()) <= 1.1 * FULL_SIZE, "hours of items that nothing needs"


def test_385_items_are_five_points() -> None:
    assert 1.96 * (0.25 / FULL_SIZE) ** 0.5 <= 0.05 < 1.96 * (0.25 / (FULL_SIZE - 1)) ** 0.5

"""With the camera on: the same sound, script and grading, and a picture in every turn in which nothing happens."""

from __future__ import annotations

import numpy as np

from tests.bench.scenes import answer, scene, user
from tml_lab.bench import camera_on, timespeak
from tml_lab.bench.registry import select


def test_the_item_is_the_same_and_is_seen() -> None:
    item = scene("remind", 12, [(9, "reminder")], [answer("reminder", 2.0)], [user(0.2, 1.0, "remind me")])
    seen = camera_on.looked_on(item)
    assert item.pictures() is None and seen.pictures().shape == (12, 2, 120, 160, 3)
    assert np.array_equal(seen.audio, item.audio) and seen.expects == item.expects and seen.script == item.script
    again, other = camera_on.looked_on(item).pictures(), camera_on.looked_on(scene("remind", 12, [], [], [])).pictures()
    assert np.array_equal(again, seen.pictures())
    still = np.abs(np.diff(again.astype(int).reshape(24, -1), axis=0)).mean()
    assert still < 12  # grain and a little unrest; nobody waves
    assert other.shape == again.shape


def test_the_rules_are_those_without_it() -> None:
    assert [b.name for b in select(["camera"])] == ["timespeak_camera", "cuespeak_camera"]
    assert camera_on.TIMESPEAK.measure is timespeak.BENCHMARK.measure
    assert camera_on.TIMESPEAK.goals == timespeak.BENCHMARK.goals

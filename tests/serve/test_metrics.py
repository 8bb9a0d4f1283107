"""The engine's figures as Prometheus reads them."""

from __future__ import annotations

import pytest

pytest.importorskip("prometheus_client")
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.serve.scene import PATIENCE, chunk
from tml_lab.serve.contract import ChunkGapError
from tml_lab.serve.engine import Engine
from tml_lab.serve.limits import Limits
from tml_lab.serve.metrics import registry
from tml_lab.serve.stats import Histogram


def test_figures_are_what_the_engine_counts(model, tokenizer):
    with Engine(model, tokenizer, limits=Limits(shed=False)) as engine:
        metrics = registry(engine)
        opened = engine.open()
        for n in range(3):
            engine.append(opened.id, opened.writer, chunk(n)).result(PATIENCE)
        engine.append(opened.id, opened.writer, chunk(4, lost=1)).result(PATIENCE)
        with pytest.raises(ChunkGapError):
            engine.append(opened.id, opened.writer, chunk(9))
        stats = engine.stats()
        text = generate_latest(metrics).decode()
    read = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert read["tml_sessions",] == 1 and read["tml_turns_total",] == 5 and read["tml_gaps_total",] == 1
    assert read["tml_refused_total", "chunk_gap"] == 1 and read["tml_waiting",] == 0
    assert read["tml_reply_seconds_count",] == 4 == read["tml_reply_seconds_bucket", "+Inf"]
    assert read["tml_reply_seconds_sum",] == pytest.approx(stats.since.reply.sum)
    assert read["tml_memory_bytes",] == stats.memory > 0
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"tml_missed", "tml_shed_pictures", "tml_step_seconds", "tml_late_seconds"} <= names
    assert opened.id not in text and opened.writer not in text


def test_a_histogram_counts_between_its_bounds():
    seen = Histogram()
    for seconds in (0.0, 0.005, 0.0051, 0.2, 100.0):
        seen.observe(seconds)
    assert (seen.counts[0], seen.counts[1], seen.counts[8], seen.counts[-1]) == (2, 1, 1, 1)
    assert seen.count == 5 and seen.sum == pytest.approx(100.2101)
    other = seen.copy()
    other.observe(1.0)
    assert seen.count == 5

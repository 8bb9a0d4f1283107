"""An engine's figures in Prometheus's form; read from `Engine.stats` whenever they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tml_lab.serve.stats import Histogram, Stats

GAUGES = {
    "sessions": "Sessions that are open.",
    "behind": "Sessions that run turns again, after a restart or as forks into the past.",
    "waiting": "Chunks that wait for their turn.",
    "late": "Seconds by which the most urgent waiting chunk is past its deadline.",
    "memory": "Bytes that the sessions take in the process.",
    "kept": "Bytes of the sessions' recordings, in memory and on disk.",
    "snapshots": "Snapshots written of the sessions that are open.",
    "snapshots_failed": "Snapshots that the disk did not take, of the sessions that are open.",
}
COUNTERS = {
    "turns": "Turns run, gap turns included.",
    "gaps": "Gap turns, for chunks that never came.",
    "replayed": "Turns run again.",
    "again": "Chunks answered with the reply that they got before.",
    "missed": "Replies later than their deadline.",
    "shed_pictures": "Turns that lost their pictures because they were late.",
    "opened": "Sessions opened.",
    "forked": "Sessions forked.",
    "closed": "Sessions closed by their writers.",
    "idled": "Sessions closed because no chunk came.",
    "failed": "Turns in which the model failed.",
    "restored": "Sessions that came back at the start.",
    "unrestored": "Sessions that could not come back.",
}
HISTOGRAMS = {"step": "Seconds in the model, by batch.", "reply": "Seconds from a chunk's arrival to its reply."}
UNITS = {"late": "_seconds", "memory": "_bytes", "kept": "_bytes"}


class HasStats(Protocol):
    """What is read (see `tml_lab.serve.engine.Engine`)."""

    def stats(self) -> Stats: ...


class EngineCollector(Collector):
    """Makes metric families of one look at the engine."""

    def __init__(self, engine: HasStats) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """All figures, as of now."""
        stats = self._engine.stats()
        for name, about in GAUGES.items():
            yield GaugeMetricFamily(f"tml_{name}{UNITS.get(name, '')}", about, value=getattr(stats, name))
        for name, about in COUNTERS.items():
            yield CounterMetricFamily(f"tml_{name}", about, value=getattr(stats.since, name))
        refused = CounterMetricFamily("tml_refused", "Calls refused, by the error's code.", labels=["code"])
        for code, times in sorted(stats.since.refused.items()):
            refused.add_metric([code], times)
        yield refused
        for name, about in HISTOGRAMS.items():
            yield _family(f"tml_{name}_seconds", about, getattr(stats.since, name))


def _family(name: str, about: str, seen: Histogram) -> HistogramMetricFamily:
    bounds = [*(str(bound) for bound in seen.bounds), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(seen.counts)), strict=True))
    return HistogramMetricFamily(name, about, buckets=buckets, sum_value=seen.sum)


def registry(engine: HasStats) -> CollectorRegistry:
    """A registry of its own with the engine's figures, for `prometheus_client.generate_latest`."""
    made = CollectorRegistry()
    made.register(EngineCollector(engine))
    return made

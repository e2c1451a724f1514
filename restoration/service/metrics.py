"""What a server tells Prometheus of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from restoration.service.schema import Restoration

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
_NFE = (1, 2, 5, 10, 15, 20, 30, 50, 100, 300, 1000)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry, "namespace": "restoration"}
        self.accepted = Counter("accepted", "Restorations taken on.", **made)
        self.refused = Counter("refused", "Restorations not taken on.", ["why"], **made)
        self.finished = Counter("ended", "Restorations that have ended.", ["how"], **made)
        self.deadlines = Counter("deadlines", "Restorations with a deadline.", ["kept"], **made)
        self.first_preview = Histogram(
            "first_preview_seconds", "From acceptance to the first complete preview.", buckets=_SECONDS, **made
        )
        self.seconds = Histogram("seconds", "From acceptance to the end.", buckets=_SECONDS, **made)
        self.nfe = Histogram("nfe", "Network evaluations given to a restoration.", buckets=_NFE, **made)
        self.watchers = Gauge("watchers", "Clients that follow events.", **made)

    def follow(
        self, counts: Callable[[], tuple[int, int]], engines: Callable[[], Iterable[tuple[str, Any]]]
    ) -> None:
        """Read at every scrape.

        Args:
            counts: unfinished restorations, and their pixels.
            engines: names of priors, and what their engines count.
        """
        self.registry.register(_Read(counts, engines))

    def ended(self, facts: Restoration) -> None:
        """Count a restoration that has ended."""
        self.finished.labels(facts.stopped_by or "failed").inc()
        took = (facts.ended or facts.created) - facts.created
        self.seconds.observe(took)
        self.nfe.observe(facts.nfe)
        if facts.options.deadline is not None:
            kept = facts.stopped_by is not None and took <= facts.options.deadline
            self.deadlines.labels("yes" if kept else "no").inc()

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)


class _Read(Collector):
    def __init__(
        self, counts: Callable[[], tuple[int, int]], engines: Callable[[], Iterable[tuple[str, Any]]]
    ) -> None:
        self._counts, self._engines = counts, engines

    def collect(self) -> Iterable[Metric]:
        runs, pixels = self._counts()
        yield GaugeMetricFamily("restoration_open", "Restorations that have not ended.", runs)
        yield GaugeMetricFamily("restoration_open_pixels", "Their pixels.", pixels)
        calls = CounterMetricFamily("restoration_calls", "Calls of the network.", labels=["prior"])
        pieces = CounterMetricFamily("restoration_call_pieces", "Images in them: batch fill.", labels=["prior"])
        for name, stats in self._engines():
            calls.add_metric([name], stats.calls)
            pieces.add_metric([name], stats.pieces)
        yield calls
        yield pieces

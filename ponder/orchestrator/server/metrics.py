"""Counters for Prometheus, read from the engines and from the requests as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ponder.runtime import Engine, Usage

GAUGES = ("branches", "pages", "pages_held", "pages_cached", "pages_shared", "steps")
"""Of `EngineStats`."""


class Metrics:
    """One registry a server, so that several in a process do not mix."""

    def __init__(self, engines: Mapping[str, Engine], under_way: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(engines, under_way))
        self._requests = Counter(
            "ponder_requests", "Requests that ended.", ("model", "status"), registry=self._registry
        )
        self._tokens = Counter(
            "ponder_tokens", "Tokens of answered requests.", ("kind",), registry=self._registry
        )
        self._kinds = {f.name: self._tokens.labels(kind=f.name) for f in fields(Usage)}
        self._seconds = Histogram(
            "ponder_request_seconds",
            "From request to the end of its reply.",
            registry=self._registry,
        )

    def ended(self, model: str, status: int, seconds: float, usage: Usage) -> None:
        self._requests.labels(model=model, status=str(status)).inc()
        self._seconds.observe(seconds)
        for kind, counter in self._kinds.items():
            counter.inc(getattr(usage, kind))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Engines(Collector):
    """Engines' own counters, as of now."""

    def __init__(self, engines: Mapping[str, Engine], under_way: Callable[[], int]) -> None:
        self._engines = engines
        self._under_way = under_way

    def collect(self) -> Iterable[GaugeMetricFamily]:
        under_way = GaugeMetricFamily("ponder_requests_under_way", "Requests being answered.")
        under_way.add_metric([], self._under_way())
        yield under_way
        stats = {name: engine.stats() for name, engine in self._engines.items()}
        for name in GAUGES:
            gauge = GaugeMetricFamily(
                f"ponder_engine_{name}", f"{name} of the engine.", labels=["engine"]
            )
            for engine, counted in stats.items():
                gauge.add_metric([engine], getattr(counted, name))
            yield gauge

"""One page of metrics for all workers: each sample with the label `worker`, each family once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

LABEL: Final = "worker"


def merged(texts: Mapping[str, str]) -> list[Metric]:
    """Merge OpenMetrics texts by the name of the worker that each came from. Families keep their first order."""
    found: dict[str, Metric] = {}
    for worker, text in texts.items():
        for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
            whole = found.setdefault(family.name, Metric(family.name, family.documentation, family.type, family.unit))
            whole.samples += _labelled(family.samples, worker)
    return list(found.values())


def _labelled(samples: Iterable[Sample], worker: str) -> Iterator[Sample]:
    for sample in samples:
        yield sample._replace(labels={LABEL: worker, **sample.labels})


class _Page(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def page(texts: Mapping[str, str], accept: str) -> tuple[str, bytes]:
    """Return content type and body for a scraper's Accept field. Takes some ten milliseconds: call it in a thread."""
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(merged(texts)))
    return content_type, encode(registry)

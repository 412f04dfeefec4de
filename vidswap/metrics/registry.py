"""All measures of this project: of a report on one clip, and of the evaluation of a checkpoint.

The report, its comparison, the evaluation, its gate and the tables read names, units, directions,
tolerances and limits from here. docs/metrics.md and docs/evaluation.md list the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vidswap.errors import BadOptionError
from vidswap.metrics.evaluation_measures import EVALUATION, SECTIONS, Section
from vidswap.metrics.measure import Measure
from vidswap.metrics.report_metrics import METRICS, Metric

__all__ = [
    "EVALUATION",
    "METRICS",
    "SECTIONS",
    "Measure",
    "Metric",
    "Section",
    "metric",
    "metric_names",
    "with_limits",
]

_BY_NAME = {metric.name: metric for metric in METRICS}


def metric_names() -> tuple[str, ...]:
    """The names of all metrics, in the order of a report."""
    return tuple(_BY_NAME)


def metric(name: str) -> Metric:
    """The metric of that name. Raises BadOptionError, which lists all names."""
    if name not in _BY_NAME:
        raise BadOptionError(f"no metric is called {name!r}; allowed: {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def with_limits(limits: Mapping[str, float | None]) -> tuple[Metric, ...]:
    """All metrics, the default limits replaced by those given; None takes a limit away.

    Raises BadOptionError for an unknown name, a limit that is no finite number, or a limit on a
    metric that is only there to compare with.
    """
    for name, limit in limits.items():
        known = metric(name)
        if limit is not None and not np.isfinite(limit):
            raise BadOptionError(f"limit {limit} of {name}; it must be a finite number")
        if limit is not None and known.better == "neither":
            raise BadOptionError(f"{name} is there to compare with; it takes no limit")
    return tuple(replace(m, limit=limits.get(m.name, m.limit)) for m in METRICS)

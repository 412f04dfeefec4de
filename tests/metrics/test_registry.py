from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidswap.errors import BadOptionError
from vidswap.metrics.measure import Direction, Measure, change_of
from vidswap.metrics.registry import (
    EVALUATION,
    METRICS,
    Metric,
    metric,
    metric_names,
    with_limits,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_metric_has_a_name_of_its_own_a_source_and_a_way_or_a_reason() -> None:
    assert len(set(metric_names())) == len(METRICS)
    for m in METRICS:
        assert m.title and m.unit and m.source and m.better in ("higher", "lower", "neither")
        assert m.function is not None or m.absent or m.name == "missing_frames"


@pytest.mark.parametrize("m", [m for m in METRICS if m.columns], ids=lambda m: m.name)
def test_a_metric_is_summed_up_from_its_curves_frame_by_frame(m: Metric) -> None:
    rows = np.random.default_rng(0).uniform(0.5, 1, (3, 40, len(m.columns)))
    found = m.summary(rows)
    assert found.shape == (3,) and np.isfinite(found).all()
    rows[:, 5] = np.nan
    assert np.isfinite(m.summary(rows)).all()


def test_limits_are_on_the_side_that_a_perfect_clip_keeps() -> None:
    for m in METRICS:
        if m.limit is not None and m.perfect is not None:
            kept = m.perfect >= m.limit if m.better == "higher" else m.perfect <= m.limit
            assert kept, m.name


def test_limits_can_be_replaced_and_taken_away() -> None:
    changed = {m.name: m.limit for m in with_limits({"seam": 2.5, "colour_shift": None})}
    assert changed["seam"] == 2.5 and changed["colour_shift"] is None
    assert changed["pose_distance"] == metric("pose_distance").limit


def test_limits_that_make_no_sense_are_refused_with_the_names_that_do() -> None:
    with pytest.raises(BadOptionError, match=r"'beauty'.*ssim_face"):
        with_limits({"beauty": 1.0})
    with pytest.raises(BadOptionError, match="finite"):
        with_limits({"seam": float("nan")})
    with pytest.raises(BadOptionError, match="no limit"):
        with_limits({"flow_warp_target": 1.0})


def test_the_documentation_lists_every_metric_with_its_unit_and_limit() -> None:
    lines = {
        line.split("|")[1].strip(" `"): line
        for line in (DOCS / "metrics.md").read_text().splitlines()
        if line.startswith("| `")
    }
    assert list(lines) == list(metric_names())
    for m in METRICS:
        assert m.unit in lines[m.name]
        if m.limit is not None:
            assert f"{m.limit:g}" in lines[m.name]


@pytest.mark.parametrize("measures", EVALUATION.values(), ids=EVALUATION.keys())
def test_the_documentation_lists_every_measure_of_the_evaluation(
    measures: tuple[Measure, ...],
) -> None:
    text = (DOCS / "evaluation.md").read_text()
    for m in measures:
        limit = "" if m.limit is None else f"{m.limit:g}"
        tolerance = "" if m.better == "neither" else f"{m.tolerance:g}"
        cells = [f"`{m.name}`", m.title, m.unit, m.better, tolerance, limit, m.source]
        assert f"| {' | '.join(cells)} |" in text, m.name


def test_what_is_measured_in_both_has_one_unit_and_direction() -> None:
    both = [
        (m, metric(m.name))
        for measures in EVALUATION.values()
        for m in measures
        if m.name in metric_names() and m.name != "fid"  # there in the features of dlib's net
    ]
    assert len(both) > 10
    for one, other in both:
        assert (one.unit, one.better, one.source) == (other.unit, other.better, other.source)


def test_every_measure_that_can_get_worse_has_a_tolerance_and_only_such_a_one_a_limit() -> None:
    for measures in EVALUATION.values():
        for m in measures:
            assert (m.tolerance > 0) == (m.better != "neither"), m.name
            assert m.limit is None or m.better != "neither", m.name


@pytest.mark.parametrize(
    ("better", "value", "kept"),
    [("higher", 1.0, True), ("higher", 0.9, False), ("lower", 1.0, True), ("lower", 1.1, False)],
)
def test_a_limit_is_kept_from_the_better_side(better: Direction, value: float, kept: bool) -> None:
    limited = Measure("a", "a", "ratio", better, "here", "", limit=1.0)
    assert limited.keeps_limit(value) == kept
    assert not limited.keeps_limit(float("nan"))
    assert Measure("a", "a", "ratio", better, "here", "").keeps_limit(value)


def test_a_change_counts_where_its_interval_leaves_out_zero() -> None:
    assert change_of(0.2, 0.1, 0.3, "higher") == "better"
    assert change_of(0.2, 0.1, 0.3, "lower") == "worse"
    assert change_of(-0.2, -0.3, -0.1, "lower") == "better"
    assert change_of(0.2, 0.0, 0.4, "higher") == change_of(0.2, -0.1, 0.5, "higher") == "same"

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidswap.errors import BadOptionError
from vidswap.metrics.registry import METRICS, Metric, metric, metric_names, with_limits

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


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
        for line in DOCS.read_text().splitlines()
        if line.startswith("| `")
    }
    assert list(lines) == list(metric_names())
    for m in METRICS:
        assert m.unit in lines[m.name]
        if m.limit is not None:
            assert f"{m.limit:g}" in lines[m.name]
